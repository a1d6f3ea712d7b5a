//! Every interleaving of appender, trimmer, subscriber and a client that comes back, in small worlds.
//!
//! Believe this: log, window, fragments, index, seat and handoff are the real ones. The appender runs the real code of [`Log`] and
//! is interrupted before every lock that it takes; the stream obeys the handoff as [`crate::subscription`] does, one lock at a time.
//! Whoever is not named runs at no time; whoever is may run at any.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::Arc;

use crate::event::ItemKey;
use crate::handoff::tests::client::Client;
use crate::handoff::tests::stream::{Doing, Saved, Stream};
use crate::handoff::tests::world::{Act, Truth};
use crate::interest::Detail;
use crate::interest::index::Seat;
use crate::link::Link;
use crate::log::Log;
use crate::offset::Offset;
use crate::testing::explorer::Explorer;
use crate::testing::{at_every_lock, in_session, interests, link_before, only, point, session};

/// More than any run needs: beyond it somebody spins.
const STEPS_MAX: u32 = 2000;

/// How the first stream starts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Begin {
    Oldest,
    Now,
    Snapshot,
}

/// How often the optional things may happen in one run.
#[derive(Clone, Copy, Debug)]
pub(super) struct Allowed {
    pub(super) trims: u32,
    pub(super) cuts: u32,
    pub(super) heartbeats: u32,
}

/// One thing that may happen next, beside the appender.
#[derive(Clone, Copy, Debug)]
enum Choice {
    /// The appender goes on, or everything rests.
    GoOn,
    Enter,
    Stream,
    Trim,
    Heartbeat,
    Cut(usize),
}

pub(super) struct World {
    pub(super) truth: Rc<Truth>,
    pub(super) explorer: Rc<RefCell<Explorer>>,
    pub(super) begin: Begin,
    pub(super) log: Log,
    pub(super) allowed: Cell<Allowed>,
    /// How far the appender is: counts its scheduling points.
    pub(super) position: Cell<u32>,
    pub(super) finished: Cell<bool>,
    pub(super) committed: Cell<Offset>,
    pub(super) unseen: Cell<u64>,
    /// Whether a stream ever began ahead of what was announced: it is woken when that is.
    pub(super) ahead: Cell<bool>,
    pub(super) steps: Cell<u32>,
    pub(super) state: RefCell<Viewer>,
}

/// The client's side.
pub(super) struct Viewer {
    pub(super) client: Client,
    pub(super) stream: Option<Stream>,
    /// With what it comes back; none before its first stream.
    pub(super) resume: Option<(Offset, Link)>,
    /// Every different frame of this stream so far.
    pub(super) saved: Vec<Saved>,
}

impl World {
    /// Lets all others run for as long as the explorer says.
    fn interleave(&self) {
        self.position.set(self.position.get() + 1);
        while let Some(choice) = self.choose() {
            self.steps.set(self.steps.get() + 1);
            assert!(self.steps.get() < STEPS_MAX, "somebody spins");
            match choice {
                Choice::GoOn => return,
                Choice::Enter => self.enter(),
                Choice::Stream => self.stream(),
                Choice::Trim => self.trim(),
                Choice::Heartbeat => self.heartbeat(),
                Choice::Cut(at) => self.cut(at),
            }
        }
    }

    fn choose(&self) -> Option<Choice> {
        let state = self.state.borrow();
        let mut choices = Vec::new();
        let rests = match &state.stream {
            None => {
                choices.push(Choice::Enter);
                false
            }
            Some(stream) if stream.runnable() => {
                choices.push(Choice::Stream);
                false
            }
            Some(_) => true,
        };
        if !self.finished.get() || rests {
            choices.insert(0, Choice::GoOn);
        }
        let allowed = self.allowed.get();
        if let Some(stream) = &state.stream {
            if allowed.heartbeats > 0 && matches!(stream.doing, Doing::Park) {
                choices.push(Choice::Heartbeat);
            }
            if allowed.cuts > 0 {
                choices.extend((0..state.saved.len()).map(Choice::Cut));
            }
        }
        let window = self.log.window();
        if allowed.trims > 0 && window.start() < window.end() {
            choices.push(Choice::Trim);
        }
        drop(window);
        let tell = || self.tell(&state);
        let choice = self.explorer.borrow_mut().choose(choices.len(), tell)?;
        Some(choices[choice])
    }

    /// All that decides what can come.
    fn tell(&self, state: &Viewer) -> String {
        let Viewer {
            client,
            stream,
            resume,
            saved,
        } = state;
        let stream = stream.as_ref().map(|stream| {
            let reach = self.log.view(&stream.seat).reach;
            let Stream {
                handoff,
                doing,
                texts_due,
                entered,
                entering,
                ..
            } = stream;
            (handoff, doing, texts_due, entered, entering, stream.is_woken(), reach)
        });
        let (position, window) = (self.position.get(), self.log.window().start());
        let mine = (client, stream, resume, saved);
        format!("{position} {:?} {window} {:?} {mine:?}", self.finished, self.allowed)
    }

    fn trim(&self) {
        let mut allowed = self.allowed.get();
        allowed.trims -= 1;
        self.allowed.set(allowed);
        let mut window = self.log.window();
        let oldest = window.start().next();
        window.trim(oldest);
    }

    /// The connection breaks. The client comes back with what it had at one of the frames that it took.
    fn cut(&self, at: usize) {
        let mut allowed = self.allowed.get();
        allowed.cuts -= 1;
        self.allowed.set(allowed);
        let mut state = self.state.borrow_mut();
        if let Some(stream) = state.stream.take() {
            self.log.leave(stream.seat_id, &self.truth.interests);
        }
        let Saved { client, next, link } = state.saved[at].clone();
        state.saved.clear();
        state.client = client;
        state.resume = Some((next, link));
    }

    /// Everything rests: nothing may be missing.
    fn check_rest(&self) {
        let state = self.state.borrow();
        let stream = state.stream.as_ref().unwrap();
        let tail = self.committed.get();
        assert_eq!(self.log.tail(), (tail, link_before(tail)));
        let (next, _) = stream.handoff.as_ref().unwrap().place();
        let until = state.client.until.unwrap();
        let lacking = state.client.lacks(&self.truth, until, tail);
        assert!(lacking.is_empty(), "reliable: {lacking:?} are missing behind {until}");
        for event in self.truth.events.iter().filter(|event| self.truth.enters(event)) {
            let session = &in_session(event).routing.session;
            let floor = state.client.floors.get(session);
            let is_whole = state.client.begun > Some(event.offset) || floor.is_some_and(|floor| *floor > event.offset);
            let stays = self.truth.stands_inside(session, tail);
            assert!(
                is_whole || !stays,
                "{session} entered at {} and came without its past",
                event.offset
            );
        }
        assert!(until <= next && state.client.caught_up, "caught up, and told so");
        for (number, item) in self.truth.items.iter().enumerate() {
            if let (true, true, Some(whole)) = (item.wanted, self.truth.interests.live(), self.text_length(number)) {
                assert_eq!(
                    state.client.have[number], whole,
                    "no fragment of item {number} is missing"
                );
            }
        }
    }

    /// Bytes of the text so far of an item of session `a`; none when it is not open, or without a text.
    pub(super) fn text_length(&self, number: usize) -> Option<u64> {
        let key = ItemKey::of(&number.to_string());
        let texts = self.log.deltas().texts_of(&session("a"), key);
        let text = texts.first()?.text.as_ref()?;
        Some(text.len() as u64)
    }
}

/// The appender's acts, and whom each may wake.
fn append(world: &World, bystander: &Seat) {
    for act in &world.truth.acts {
        let seat = world.state.borrow().stream.as_ref().map(|stream| stream.seat.clone());
        let before = (seat.as_ref().map(|seat| seat.wakes()), bystander.wakes());
        let (mine, all) = match act {
            Act::Batch(range) => {
                world.committed.set(Offset(range.end));
                let events = &world.truth.events[range.start as usize..range.end as usize];
                world
                    .log
                    .announce(events, Offset(range.end), link_before(Offset(range.end)));
                (events.iter().any(|event| world.truth.wants(event)), false)
            }
            Act::Unseen(range) => {
                world.committed.set(Offset(range.end));
                world.unseen.set(world.unseen.get() + 1);
                world.log.catch_up(Offset(range.end), link_before(Offset(range.end)));
                (true, true)
            }
            Act::Delta(delta) => {
                let taken = world.log.push_delta(delta).is_ok();
                let number: usize = delta.item_id.parse().unwrap();
                (
                    taken && world.truth.items[number].wanted && world.truth.interests.live(),
                    false,
                )
            }
        };
        let after = (seat.as_ref().map(|seat| seat.wakes()), bystander.wakes());
        let gone = || match &world.state.borrow().stream {
            Some(stream) => !seat.as_ref().is_some_and(|seat| Arc::ptr_eq(seat, &stream.seat)),
            None => true,
        };
        assert_eq!(
            after.1 - before.1,
            u64::from(all),
            "cost: who receives nothing is not woken"
        );
        if let (Some(before), Some(after)) = (before.0, after.0) {
            let woken = after - before;
            let unasked = woken == 1 && world.ahead.get() || woken == 0 && gone();
            assert!(woken == u64::from(mine) || unasked, "cost: {woken} wake-ups by {act:?}");
        }
    }
}

/// One run of the world, along the explorer's path.
pub(super) fn run(truth: &Rc<Truth>, explorer: &Rc<RefCell<Explorer>>, log: Log, begin: Begin, allowed: Allowed) {
    let (_, bystander) = log.enter(&interests([(only("nobody"), Detail::Live)]));
    let world = Rc::new(World {
        truth: truth.clone(),
        explorer: explorer.clone(),
        begin,
        log,
        allowed: Cell::new(allowed),
        position: Cell::new(0),
        finished: Cell::new(false),
        committed: Cell::new(Offset::ZERO),
        unseen: Cell::new(0),
        ahead: Cell::new(false),
        steps: Cell::new(0),
        state: RefCell::new(Viewer {
            client: Client::new(truth),
            stream: None,
            resume: None,
            saved: Vec::new(),
        }),
    });
    let others = world.clone();
    at_every_lock(Rc::new(move || others.interleave()), || {
        append(&world, &bystander);
        world.finished.set(true);
        point();
    });
    if explorer.borrow().is_new() {
        world.check_rest();
    }
}
