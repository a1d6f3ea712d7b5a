//! Where the stream stands in opencode's own numbering of durable events.
//!
//! The one thing to believe: the stream tells a place with each durable event, from 0 for each session without holes. So a
//! place above the next one proves that something was lost, and the history has it.

use std::collections::{BTreeSet, HashMap};

use serde_json::{Map, Value};

use super::frame::{Frame, Place};

/// Most sessions whose place in opencode's numbering is kept; as many as the list of sessions is asked for, and as many
/// again for those that come later.
const PLACES_MAX: usize = 20_000;

/// A number above every place, which keeps a session out of an answer of the history. JavaScript's largest safe integer.
const BEYOND: u64 = 9_007_199_254_740_991;

/// The places in opencode's numbering of durable events, which show what the stream has lost.
#[derive(Debug, Default)]
pub(super) struct Places {
    /// For each session the next place, or nothing when it is only known to exist.
    next: HashMap<String, Option<u64>>,
}

/// What a place in the stream shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Seen {
    /// The next one, or one that was seen before.
    Expected,
    /// Others before it have not come.
    Gap,
}

impl Places {
    /// Notes a place that the stream tells.
    pub(super) fn saw(&mut self, place: &Place) -> Seen {
        let known = self.next.get(&place.aggregate).copied().flatten();
        let swept = known.is_none() && self.next.contains_key(&place.aggregate);
        let next = known.unwrap_or(0);
        if place.seq > next && !swept {
            return Seen::Gap;
        }
        self.set(&place.aggregate, Some(next.max(place.seq + 1)));
        Seen::Expected
    }

    /// A gap before this place was looked into, whatever came of it.
    pub(super) fn reached(&mut self, place: &Place) {
        let next = self.next.get(&place.aggregate).copied().flatten().unwrap_or(0);
        self.set(&place.aggregate, Some(next.max(place.seq + 1)));
    }

    /// The session's record was read in another way: whatever place comes next is the first.
    pub(super) fn swept(&mut self, session: &str) {
        self.set(session, None);
    }

    /// A session exists; nothing of it was read yet.
    pub(super) fn exists(&mut self, session: &str) {
        if !session.is_empty() && !self.next.contains_key(session) {
            self.set(session, Some(0));
        }
    }

    /// The history of one session from where it is known, and of no other that is known.
    #[must_use]
    pub(super) fn history_request(&self, session: &str) -> Value {
        let mut known: Map<String, Value> = self
            .next
            .keys()
            .map(|other| (other.clone(), Value::from(BEYOND)))
            .collect();
        match self.next.get(session).copied().flatten() {
            Some(next) if next > 0 => known.insert(session.to_owned(), Value::from(next - 1)),
            Some(_) | None => known.remove(session),
        };
        Value::Object(known)
    }

    /// Takes the rows of the history that are about this session, in order; rows of sessions that were not known to exist
    /// are noted as existing and left out.
    pub(super) fn history(&mut self, session: &str, rows: &Value) -> Vec<Frame> {
        let mut frames: Vec<Frame> = Vec::new();
        let mut others: BTreeSet<String> = BTreeSet::new();
        for row in rows.as_array().map(Vec::as_slice).unwrap_or_default() {
            let frame = Frame::from_history(row);
            match &frame.place {
                Some(place) if place.aggregate == session => frames.push(frame),
                Some(place) => {
                    others.insert(place.aggregate.clone());
                }
                None => {}
            }
        }
        for other in others {
            self.exists(&other);
        }
        frames.sort_by_key(|frame| frame.place.as_ref().map(|place| place.seq));
        for frame in &frames {
            if let Some(place) = &frame.place {
                self.reached(place);
            }
        }
        frames
    }

    fn set(&mut self, session: &str, next: Option<u64>) {
        if self.next.contains_key(session) || self.next.len() < PLACES_MAX {
            self.next.insert(session.to_owned(), next);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(session: &str, seq: u64) -> Place {
        Place {
            aggregate: session.to_owned(),
            seq,
        }
    }

    #[test]
    fn a_session_whose_first_place_is_not_the_first_has_a_gap() {
        let mut places = Places::default();
        assert_eq!(places.saw(&place("a", 0)), Seen::Expected);
        assert_eq!(places.saw(&place("a", 1)), Seen::Expected);
        assert_eq!(places.saw(&place("a", 1)), Seen::Expected);
        assert_eq!(places.saw(&place("a", 3)), Seen::Gap);
        assert_eq!(places.saw(&place("b", 5)), Seen::Gap);
    }

    #[test]
    fn what_was_swept_begins_at_whatever_comes() {
        let mut places = Places::default();
        places.swept("a");
        assert_eq!(places.saw(&place("a", 5)), Seen::Expected);
        assert_eq!(places.saw(&place("a", 7)), Seen::Gap);
    }

    #[test]
    fn the_history_is_asked_for_one_session_only() {
        let mut places = Places::default();
        places.exists("other");
        places.saw(&place("a", 0));
        places.saw(&place("a", 1));
        assert_eq!(
            places.history_request("a"),
            serde_json::json!({ "a": 1, "other": BEYOND })
        );
        assert_eq!(
            places.history_request("new"),
            serde_json::json!({ "a": BEYOND, "other": BEYOND })
        );
    }

    #[test]
    fn rows_of_others_are_left_out_and_noted() {
        let mut places = Places::default();
        let row = |session: &str, seq: u64| {
            serde_json::json!({ "id": format!("evt_{session}{seq}"), "aggregate_id": session, "seq": seq,
            "type": "session.updated.1", "data": {} })
        };
        let frames = places.history("a", &serde_json::json!([row("a", 1), row("b", 0), row("a", 0)]));
        assert_eq!(
            frames.iter().map(|frame| frame.id.as_str()).collect::<Vec<_>>(),
            ["evt_a0", "evt_a1"]
        );
        assert_eq!(places.saw(&place("a", 2)), Seen::Expected);
        assert_eq!(places.history_request("a")["b"], BEYOND);
    }
}
