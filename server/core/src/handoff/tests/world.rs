//! A small world: what happens in it, and what is true of it.

use std::collections::HashMap;
use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;

use crate::event::{Event, InSession, ItemKey, ItemStep, Routing};
use crate::id::SessionId;
use crate::interest::Interests;
use crate::interest::gain::{self, Gain};
use crate::limits;
use crate::offset::Offset;
use crate::testing::{MESSAGE, OPENED, event, in_session, item_event, moved, routing, session};
use crate::window::deltas::{Channel, Delta};

/// What the appender does next.
#[derive(Debug)]
pub(super) enum Act {
    /// Commits these events and announces them.
    Batch(Range<u64>),
    /// Another process committed these; this one finds out.
    Unseen(Range<u64>),
    /// A fragment comes.
    Delta(Delta),
}

/// One item's life.
#[derive(Debug)]
pub(super) struct Item {
    pub(super) started: Offset,
    pub(super) completed: Option<Offset>,
    pub(super) text: String,
    pub(super) wanted: bool,
    routing: Arc<Routing>,
}

/// Everything that happens, known beforehand.
#[derive(Debug)]
pub(super) struct Truth {
    pub(super) events: Vec<Event>,
    pub(super) items: Vec<Item>,
    pub(super) acts: Vec<Act>,
    pub(super) interests: Interests,
    /// Where sessions stand that moved.
    stand: HashMap<String, Arc<Routing>>,
}

impl Truth {
    /// Nothing yet, for a subscriber of these interests. Session `a` is theirs, `b` is not.
    pub(super) fn new(interests: Interests) -> Truth {
        Truth {
            events: Vec::new(),
            items: Vec::new(),
            acts: Vec::new(),
            interests,
            stand: HashMap::new(),
        }
    }

    /// Whether the event brings its session into the interests.
    pub(super) fn enters(&self, event: &Event) -> bool {
        let InSession {
            routing, moved_from, ..
        } = in_session(event);
        let gained = |before: &Arc<Routing>| gain::by_move(&[&self.interests], before, routing) == Gain::Events;
        moved_from.as_ref().is_some_and(gained)
    }

    /// Whether the session is wanted where it stands at this offset.
    pub(super) fn stands_inside(&self, session: &SessionId, offset: Offset) -> bool {
        let newest = self.events[..offset.0 as usize]
            .iter()
            .rfind(|event| in_session(event).routing.session == *session);
        newest.is_some_and(|event| self.interests.detail(&in_session(event).routing).is_some())
    }

    /// The offsets of `[from, until)` that the subscriber wants.
    pub(super) fn wanted(&self, from: Offset, until: Offset) -> impl Iterator<Item = Offset> {
        let range = from.0.min(until.0) as usize..until.0 as usize;
        self.events[range]
            .iter()
            .filter(|event| self.wants(event))
            .map(|event| event.offset)
    }

    pub(super) fn wants(&self, event: &Event) -> bool {
        self.interests.want_event(event)
    }

    /// One commit. Each event is a session and, where it does something to an item, `+` or `-` and the item's number; or `>` where it moves
    /// its session to where `a` is, and `<` where it moves it away.
    pub(super) fn batch<const N: usize>(mut self, events: [&str; N]) -> Truth {
        let range = self.write(events);
        self.acts.push(Act::Batch(range));
        self
    }

    /// One commit of another process.
    pub(super) fn unseen<const N: usize>(mut self, events: [&str; N]) -> Truth {
        let range = self.write(events);
        self.acts.push(Act::Unseen(range));
        self
    }

    /// A fragment that continues an item's text.
    pub(super) fn delta(self, item: usize, text: &str) -> Truth {
        self.sized(item, text, 0)
    }

    /// The same in a message so large that the window holds one at a time.
    pub(super) fn big_delta(self, item: usize, text: &str) -> Truth {
        self.sized(item, text, limits::DELTA_WINDOW_BYTES_MAX / 2 + 1)
    }

    fn sized(mut self, number: usize, text: &str, size: usize) -> Truth {
        let item = &mut self.items[number];
        let at = item.text.len() as u64;
        let mut message = format!("{number}@{at}+{};", text.len()).into_bytes();
        message.resize(message.len().max(size), b' ');
        item.text.push_str(text);
        self.acts.push(Act::Delta(Delta {
            session: item.routing.session.clone(),
            item: ItemKey::of(&number.to_string()),
            item_id: number.to_string().into(),
            channel: Channel::Message,
            at,
            text: Bytes::copy_from_slice(text.as_bytes()),
            message: message.into(),
        }));
        self
    }

    fn write<const N: usize>(&mut self, events: [&str; N]) -> Range<u64> {
        let first = self.events.len() as u64;
        for text in events {
            let offset = self.events.len() as u64;
            let id = &text[..1];
            // Other sessions lie elsewhere in every respect, so that no selector of `a`'s finds them.
            let elsewhere = || {
                Arc::new(Routing {
                    session: session(id),
                    project: "/elsewhere".into(),
                    vendor: "other".into(),
                    ancestors: Box::default(),
                })
            };
            let begun = || if id == "a" { routing("a") } else { elsewhere() };
            let stands = self.stand.entry(id.to_owned()).or_insert_with(begun);
            let moved_from = match text.get(1..2) {
                Some(">") => Some(std::mem::replace(stands, routing(id))),
                Some("<") => Some(std::mem::replace(stands, elsewhere())),
                _ => None,
            };
            let routing = stands.clone();
            let written = match (text.get(1..2), text.get(2..)) {
                (Some("+"), Some(number)) => {
                    assert_eq!(number.parse(), Ok(self.items.len()), "items start in order");
                    let written = item_event(offset, &routing, number, ItemStep::Started);
                    self.items.push(Item {
                        started: Offset(offset),
                        completed: None,
                        text: String::new(),
                        wanted: self.wants(&written),
                        routing,
                    });
                    written
                }
                (Some("-"), Some(number)) => {
                    self.items[number.parse::<usize>().unwrap()].completed = Some(Offset(offset));
                    item_event(offset, &routing, number, ItemStep::Completed)
                }
                _ => match moved_from {
                    Some(from) => moved(event(offset, &routing, OPENED), from),
                    None if offset == 0 => event(offset, &routing, OPENED),
                    None => event(offset, &routing, MESSAGE),
                },
            };
            self.events.push(written);
        }
        first..self.events.len() as u64
    }
}

/// Item, place and length of a fragment's message.
pub(super) fn parse(message: &[u8]) -> (usize, u64, u64) {
    let end = message.iter().position(|byte| *byte == b';').unwrap();
    let text = std::str::from_utf8(&message[..end]).unwrap();
    let (item, rest) = text.split_once('@').unwrap();
    let (at, length) = rest.split_once('+').unwrap();
    (item.parse().unwrap(), at.parse().unwrap(), length.parse().unwrap())
}
