//! What a client of the model has, and what it demands of every frame.
//!
//! Believe this: it knows the whole truth, so it notices at once what a real client would notice late or never.

use std::collections::BTreeMap;

use crate::event::Event;
use crate::handoff::tests::world::{Truth, parse};
use crate::id::SessionId;
use crate::offset::Offset;
use crate::testing::{in_session, link_before};
use crate::window::deltas::ItemText;

/// A frame of the model's streams.
#[derive(Debug)]
pub(super) enum Told<'a> {
    /// The stream begins here; everything before is in a snapshot, or not asked for.
    Begins(Offset),
    Events(Offset, Offset, &'a [Event]),
    /// The same, and the last event brings its session in: a snapshot of it is to follow.
    Entering(Offset, Offset, &'a [Event]),
    /// A snapshot of these sessions, as of this offset. The place stays.
    Snapshot(Offset, &'a [SessionId]),
    Heartbeat(Offset, Offset),
    CaughtUp(Offset),
    FellBehind(u64),
    Deltas(&'a [bytes::Bytes]),
    Text(&'a ItemText),
}

/// What an application has after some frame.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Client {
    /// All before it is accounted for; none before the first frame.
    pub(super) until: Option<Offset>,
    /// Bytes of each item's text.
    pub(super) have: Vec<u64>,
    /// Bytes of each item's text that came in fragments so far, or before the number from which they come: none comes twice.
    pub(super) sent: Vec<u64>,
    /// Whether it was told that it has caught up, and not since that it fell behind.
    pub(super) caught_up: bool,
    /// Where its first stream began, or the last one that began anew.
    pub(super) begun: Option<Offset>,
    /// Whether a snapshot is to come, without which its resume token is good for nothing.
    pub(super) pending: bool,
    /// Per session that came in a snapshot: what that is as of.
    pub(super) floors: BTreeMap<SessionId, Offset>,
}

impl Client {
    pub(super) fn new(truth: &Truth) -> Client {
        Client {
            until: None,
            have: vec![0; truth.items.len()],
            sent: vec![0; truth.items.len()],
            caught_up: false,
            begun: None,
            pending: false,
            floors: BTreeMap::new(),
        }
    }

    /// What it lacks of `[from, until)`: what is wanted and in no snapshot that it has.
    pub(super) fn lacks(&self, truth: &Truth, from: Offset, until: Offset) -> Vec<Offset> {
        let lacking = |offset: &Offset| !self.has(&truth.events[offset.0 as usize]);
        truth.wanted(from, until).filter(lacking).collect()
    }

    fn has(&self, event: &Event) -> bool {
        let floor = self.floors.get(&in_session(event).routing.session);
        floor.is_some_and(|floor| event.offset < *floor)
    }

    /// The events of a frame: nothing is missing, nothing was told before, and none but the last brings a session in.
    fn events(&mut self, truth: &Truth, (from, until): (Offset, Offset), events: &[Event]) {
        assert!(!self.pending, "the snapshot comes right behind the event");
        let lacking = self.lacks(truth, from, until);
        self.account(from, until);
        // What a snapshot has the client leaves out, whether the hub remembers that or not.
        let new: Vec<_> = events.iter().filter(|event| !self.has(event)).collect();
        let got: Vec<_> = new.iter().map(|event| event.offset).collect();
        assert_eq!(got, lacking, "ordered, unique, announced: events of [{from}, {until})");
        let links = |event: &Event| event.link == link_before(event.offset.next());
        assert!(events.iter().all(links));
        let entering = new.iter().filter(|event| truth.enters(event)).count();
        let last = new.last().is_some_and(|event| truth.enters(event));
        assert_eq!(entering, usize::from(last), "a frame ends where a session enters");
    }

    /// Takes one frame, whose resume token names `place`.
    pub(super) fn take(&mut self, truth: &Truth, told: &Told<'_>, place: (Offset, crate::link::Link)) {
        match told {
            Told::Begins(from) => {
                self.until = Some(*from);
                self.caught_up = false;
                if self.begun.is_none() || self.pending {
                    self.begun = Some(*from);
                    self.floors.clear();
                    self.pending = false;
                }
            }
            Told::Events(from, until, events) => {
                self.events(truth, (*from, *until), events);
                let enters = |event: &Event| truth.enters(event) && !self.has(event);
                assert!(!events.iter().any(enters), "who enters is announced");
            }
            Told::Entering(from, until, events) => {
                self.events(truth, (*from, *until), events);
                self.pending = true;
            }
            Told::Snapshot(offset, sessions) => {
                assert!(Some(*offset) >= self.until, "it has all that was told");
                let floors = sessions.iter().map(|session| (session.clone(), *offset));
                self.floors.extend(floors);
                self.pending = false;
                self.caught_up = false;
            }
            Told::Heartbeat(from, until) => {
                self.account(*from, *until);
                let lacking = self.lacks(truth, *from, *until);
                assert!(
                    lacking.is_empty(),
                    "a heartbeat covers nothing that is wanted: {lacking:?}"
                );
            }
            Told::CaughtUp(tail) => {
                assert_eq!(Some(*tail), self.until, "caught up means everything was told");
                self.caught_up = true;
            }
            Told::FellBehind(by) => {
                assert!(*by > 0 && self.caught_up, "only who was there can fall behind");
                self.caught_up = false;
            }
            Told::Deltas(messages) => messages.iter().for_each(|message| self.extend(truth, message)),
            Told::Text(text) => self.replace(truth, text),
        }
        let (next, link) = place;
        let until = self.until.expect("a stream begins with its beginning");
        assert!(next >= until, "the resume token covers this frame and all before it");
        let lacking = self.lacks(truth, until, next);
        assert!(lacking.is_empty(), "the resume token covers nothing after: {lacking:?}");
        assert_eq!(link, link_before(next), "resumable: the link before {next}");
    }

    fn account(&mut self, from: Offset, until: Offset) {
        assert_eq!(
            Some(from),
            self.until,
            "announced: a batch begins where the last one ended"
        );
        assert!(until >= from, "ordered: offsets only grow");
        self.until = Some(until);
    }

    fn extend(&mut self, truth: &Truth, message: &[u8]) {
        let (item, at, length) = parse(message);
        self.check_open(truth, item);
        assert_eq!(
            at, self.sent[item],
            "a fragment of item {item} comes once, behind the one before"
        );
        self.sent[item] = at + length;
        // A text may be copied later than the place was taken from where fragments come: then it holds the first of them whole.
        if at < self.have[item] {
            assert!(
                self.sent[item] <= self.have[item],
                "a fragment is not in a text in part"
            );
            return;
        }
        assert_eq!(
            at, self.have[item],
            "a fragment fits what the client has of item {item}"
        );
        self.have[item] += length;
    }

    fn replace(&mut self, truth: &Truth, text: &ItemText) {
        let item: usize = text.item_id.parse().unwrap();
        self.check_open(truth, item);
        let so_far = text.text.as_ref().expect("the hub has the text");
        let whole = truth.items[item].text.as_bytes();
        assert!(whole.starts_with(so_far), "a text is a prefix of the truth");
        assert!(so_far.len() as u64 >= self.have[item], "a text never grows shorter");
        self.have[item] = so_far.len() as u64;
    }

    fn check_open(&self, truth: &Truth, item: usize) {
        let until = self.until.unwrap();
        let item = &truth.items[item];
        assert!(item.wanted, "only what is wanted");
        assert!(item.started < until, "nothing of an item before its start");
        assert!(
            item.completed.is_none_or(|end| end >= until),
            "nothing of an item after its end"
        );
    }
}
