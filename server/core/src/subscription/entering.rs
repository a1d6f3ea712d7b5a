//! Which events bring sessions into the interests of a stream, and which are left out because a snapshot had them.
//!
//! Believe this: a frame ends with the event at which sessions enter, and their snapshot follows it. That snapshot may be newer than the
//! event; what it holds of a session is not sent once more, be it an event that was read before or one that moves the session again.

use std::sync::Arc;

use crate::event::{Event, InSession, Routing};
use crate::id::SessionId;
use crate::interest::Interests;
use crate::interest::gain::{self, Gain};
use crate::limits;
use crate::offset::Offset;
use crate::subscription::snapshots::Shared;
use crate::window::batch::Batch;

/// An event at which sessions enter.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Entry {
    /// Its place.
    pub at: Offset,
    /// Where its session stands from there on.
    pub routing: Arc<Routing>,
    /// The interests before, where the stream is not past the snapshot of what was added to them: until then it is given what they want too.
    pub before: Vec<Interests>,
}

impl Entry {
    /// Which of the sessions that it moved enter: more of their events are wanted where they stand now than where they stood. Its own
    /// session comes first.
    #[must_use]
    pub fn entering(&self, moved: &[Arc<Routing>], interests: &Interests) -> Vec<SessionId> {
        let all: Vec<&Interests> = self.before.iter().chain([interests]).collect();
        let enters = |stood: &&Arc<Routing>| {
            let below = stood.below(&self.routing);
            gain::by_move(&all, stood, below.as_ref().unwrap_or(&self.routing)) == Gain::Events
        };
        let mut entering: Vec<_> = moved.iter().filter(enters).map(|stood| stood.session.clone()).collect();
        if let Some(own) = entering.iter().position(|id| *id == self.routing.session) {
            entering.swap(0, own);
        }
        entering
    }
}

/// What becomes of the events that were read.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Read {
    /// Nothing that matters here.
    Plain,
    /// Deltas are wanted that were not wanted before: they need the texts before them.
    TextsLost,
    /// They end with the one at which sessions enter.
    Entered(Entry),
}

/// Ends a batch behind the first event at which sessions enter, and leaves out what is held already. One to which neither happens stays as
/// it is, shared with others.
pub(crate) fn sift(batch: Arc<Batch>, interests: &Interests, held: &Held) -> (Arc<Batch>, Read) {
    let mut read = Read::Plain;
    let mut end = None;
    for (at, event) in batch.events.iter().enumerate() {
        match gain_at(event, interests, held) {
            Gain::Nothing => {}
            Gain::Deltas => read = Read::TextsLost,
            Gain::Events => {
                let Some(of) = event.in_session() else { continue };
                read = Read::Entered(Entry {
                    at: event.offset,
                    routing: of.routing.clone(),
                    before: held.before(event.offset).cloned().collect(),
                });
                end = Some((at + 1, event.offset.next(), event.link));
                break;
            }
        }
    }
    if end.is_none() && held.0.is_none() {
        return (batch, read);
    }
    let (count, until, link) = end.unwrap_or((batch.events.len(), batch.until, batch.link));
    let is_new = |event: &&Event| !held.has(event) && held.before(event.offset).all(|before| before.want_event(event));
    let events = batch.events.iter().take(count).filter(is_new).cloned().collect();
    (Arc::new(Batch::new(events, until, link)), read)
}

fn gain_at(event: &Event, interests: &Interests, held: &Held) -> Gain {
    let Some(InSession {
        routing,
        moved_from: Some(stood),
        ..
    }) = event.in_session()
    else {
        return Gain::Nothing;
    };
    let all: Vec<&Interests> = held.before(event.offset).chain([interests]).collect();
    let own = gain::by_move(&all, stood, routing);
    // A snapshot that is newer than the event was given already: it holds the session as it came to be. What lies below it may not be in it.
    let own = if held.has(event) { own.min(Gain::Deltas) } else { own };
    own.max(gain::below(&all, stood, routing))
}

/// What was given ahead of the place: snapshots of sessions, as of offsets that the stream has yet to come past. Nothing once it has.
#[derive(Debug, Default)]
pub(crate) struct Held(Option<Box<Ahead>>);

#[derive(Debug, Default)]
struct Ahead {
    snapshots: Vec<Arc<Shared>>,
    /// The interests before each change of them, and the offset of the snapshot of what that added.
    before: Vec<(Interests, Offset)>,
}

impl Held {
    /// A snapshot was given. Where they are of too many sessions the oldest are forgotten: then events come that a client drops by itself.
    pub(crate) fn hold(&mut self, snapshot: Arc<Shared>) {
        let Ahead { snapshots, .. } = self.0.get_or_insert_default().as_mut();
        snapshots.push(snapshot);
        let sessions = |held: &[Arc<Shared>]| held.iter().map(|snapshot| snapshot.of().len()).sum::<usize>();
        while snapshots.len() > limits::SNAPSHOTS_HELD_MAX || sessions(snapshots) > limits::SNAPSHOTS_HELD_SESSIONS_MAX
        {
            snapshots.remove(0);
        }
    }

    /// The snapshot of what was added to these interests was given, as of this offset. What they did not want before it is in the
    /// snapshot, or has gone again.
    pub(crate) fn hold_before(&mut self, before: Interests, offset: Offset) {
        let ahead = self.0.get_or_insert_default();
        // One that was begun anew.
        ahead.before.retain(|(earlier, _)| *earlier != before);
        ahead.before.push((before, offset));
        if ahead.before.len() > limits::SNAPSHOTS_HELD_MAX {
            ahead.before.remove(0);
        }
    }

    /// Forgets what the stream has come past.
    pub(crate) fn pass(&mut self, place: Offset) {
        let Some(ahead) = &mut self.0 else { return };
        ahead.snapshots.retain(|snapshot| snapshot.offset > place);
        ahead.before.retain(|(_, offset)| *offset > place);
        if ahead.snapshots.is_empty() && ahead.before.is_empty() {
            self.0 = None;
        }
    }

    /// Whether it holds nothing.
    #[cfg(test)]
    pub(crate) const fn is_empty(&self) -> bool {
        self.0.is_none()
    }

    /// Whether a snapshot has this event.
    fn has(&self, event: &Event) -> bool {
        let Some(of) = event.in_session() else { return false };
        let session = &of.routing.session;
        let snapshots = self.0.iter().flat_map(|ahead| &ahead.snapshots);
        let mut newer = snapshots.filter(|snapshot| event.offset < snapshot.offset);
        newer.any(|snapshot| snapshot.of().binary_search(session).is_ok())
    }

    /// The interests that an event at this offset must be wanted by, beside the stream's own.
    fn before(&self, offset: Offset) -> impl Iterator<Item = &Interests> {
        let before = self.0.iter().flat_map(|ahead| &ahead.before);
        before
            .filter(move |(_, until)| offset < *until)
            .map(|(interests, _)| interests)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::interest::{Detail, Selector};
    use crate::testing::{MESSAGE, OPENED, event, interests, link_before, moved, only, routing, session};

    fn at(id: &str, project: &str) -> Arc<Routing> {
        Arc::new(Routing {
            project: project.into(),
            ..(*routing(id)).clone()
        })
    }

    /// `a` speaks, moves into `/p`, speaks, and moves out of it; `b` is in it all the time.
    fn batch() -> Arc<Batch> {
        let moved = |offset, from: &str, to: &str| moved(event(offset, &at("a", to), OPENED), at("a", from));
        let events = vec![
            event(0, &at("b", "/p"), MESSAGE),
            moved(1, "/q", "/p"),
            event(2, &at("a", "/p"), MESSAGE),
            event(3, &at("b", "/p"), MESSAGE),
            moved(4, "/p", "/q"),
        ];
        Arc::new(Batch::new(events, Offset(9), link_before(Offset(9))))
    }

    fn project(name: &str, detail: Detail) -> (Selector, Detail) {
        (Selector::Project(name.into()), detail)
    }

    fn sifted(interests: &Interests, held: &Held) -> (Vec<u64>, Offset, Read) {
        let whole = batch();
        let (batch, read) = sift(whole.clone(), interests, held);
        let is_whole = held.is_empty() && !matches!(read, Read::Entered(_));
        assert_eq!(
            Arc::ptr_eq(&batch, &whole),
            is_whole,
            "what is not changed stays shared"
        );
        assert_eq!(batch.link, link_before(batch.until));
        let offsets = batch.events.iter().map(|event| event.offset.0).collect();
        (offsets, batch.until, read)
    }

    fn entered(before: Vec<Interests>) -> Read {
        Read::Entered(Entry {
            at: Offset(1),
            routing: at("a", "/p"),
            before,
        })
    }

    #[test]
    fn a_batch_ends_where_a_session_enters_and_is_whole_where_none_does() {
        let whole = || (vec![0, 1, 2, 3, 4], Offset(9));
        let nothing = Held::default();
        let inside = interests([project("/p", Detail::Content)]);
        assert_eq!(sifted(&inside, &nothing), (vec![0, 1], Offset(2), entered(Vec::new())));
        let both = interests([project("/p", Detail::Content), project("/q", Detail::Summary)]);
        assert_eq!(sifted(&both, &nothing), (vec![0, 1], Offset(2), entered(Vec::new())));
        let all = interests([(Selector::All, Detail::Content)]);
        assert_eq!(sifted(&all, &nothing), (whole().0, whole().1, Read::Plain));
        let texts = interests([(Selector::All, Detail::Content), project("/p", Detail::Live)]);
        assert_eq!(sifted(&texts, &nothing), (whole().0, whole().1, Read::TextsLost));
    }

    #[test]
    fn what_a_snapshot_has_is_left_out_and_enters_once() {
        let inside = interests([project("/p", Detail::Content)]);
        let held = |offset| {
            let mut held = Held::default();
            held.hold(Shared::of_sessions(Offset(offset), &[session("a"), session("z")]));
            held
        };
        let texts = Read::TextsLost;
        assert_eq!(sifted(&inside, &held(9)), (vec![0, 3], Offset(9), texts));
        let behind = (vec![0, 3, 4], Offset(9), Read::TextsLost);
        assert_eq!(sifted(&inside, &held(4)), behind, "only before its offset");
        assert_eq!(sifted(&inside, &held(1)), (vec![0, 1], Offset(2), entered(Vec::new())));
        let mut passed = held(4);
        passed.pass(Offset(3));
        assert!(!passed.is_empty());
        passed.pass(Offset(4));
        assert!(passed.is_empty());
    }

    #[test]
    fn until_an_addition_is_passed_only_what_was_wanted_before_comes() {
        let new = interests([project("/p", Detail::Content), project("/q", Detail::Content)]);
        let old = |selector| interests([(selector, Detail::Content)]);
        let held = |before| {
            let mut held = Held::default();
            held.hold_before(before, Offset(9));
            held
        };
        // It is wanted at both places now, and was wanted at one of them before: it enters there.
        let inside = old(Selector::Project("/p".into()));
        let (offsets, until, read) = sifted(&new, &held(inside.clone()));
        assert_eq!((offsets, until, read), (vec![0, 1], Offset(2), entered(vec![inside])));
        let (offsets, ..) = sifted(&new, &held(old(only("b"))));
        assert_eq!(offsets, [0, 3], "the rest is in the snapshot");
    }

    #[test]
    fn too_many_sessions_are_forgotten_oldest_first() {
        let mut held = Held::default();
        let ids: Vec<_> = (0..limits::SNAPSHOTS_HELD_SESSIONS_MAX)
            .map(|nth| session(&format!("s{nth}")))
            .collect();
        held.hold(Shared::of_sessions(Offset(9), &[session("a")]));
        held.hold(Shared::of_sessions(Offset(9), &ids));
        let inside = interests([project("/p", Detail::Content)]);
        assert_eq!(
            sifted(&inside, &held).2,
            entered(Vec::new()),
            "it is forgotten that it came"
        );
    }
}
