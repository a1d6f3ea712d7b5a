//! The model's stream: [`crate::subscription::Subscription`] in steps that nothing can interrupt.
//!
//! Believe this: it decides nothing. It obeys the real handoff, and takes one lock of the real log at a time.

use std::collections::VecDeque;
use std::sync::Arc;

use crate::handoff::tests::client::{Client, Told};
use crate::handoff::tests::model::{Begin, Viewer, World};
use crate::handoff::{Handoff, Live, Source, Step, View};
use crate::interest::index::{Reach, Seat, SeatId};
use crate::link::Link;
use crate::offset::{Epoch, Offset};
use crate::resume_token::{Kind, Place};
use crate::store::Page;
use crate::subscription::entering::{Entry, Held, Read as Sifted, sift};
use crate::subscription::snapshots::Shared;
use crate::subscription::start::{Present, Weighed, weigh};
use crate::testing::link_before;
use crate::window::batch::Batch;
use crate::window::deltas::Opened;

const EPOCH: Epoch = Epoch(5);
const HASH: u64 = 9;

/// One open stream.
pub(super) struct Stream {
    pub(super) seat_id: SeatId,
    pub(super) seat: Arc<Seat>,
    /// None until it is decided where it begins.
    pub(super) handoff: Option<Handoff>,
    pub(super) doing: Doing,
    /// Items whose texts come before anything else is done.
    pub(super) texts_due: VecDeque<Opened>,
    /// Wake-ups that it has answered.
    pub(super) answered: u64,
    /// Where it was when it entered: what lies behind it is due for sure.
    pub(super) entered: Offset,
    /// What becomes of sessions that enter its interests.
    pub(super) entering: Entering,
}

/// Sessions that enter.
#[derive(Debug, Default)]
pub(super) struct Entering {
    held: Held,
    /// A snapshot of these comes next.
    due: Option<Entry>,
}

#[derive(Clone, Copy, Debug)]
pub(super) enum Doing {
    Look,
    /// It has looked at the tail, and not yet at the window.
    Looked(Reach),
    Obey(Step),
    Park,
}

/// What the client may come back with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Saved {
    pub(super) client: Client,
    pub(super) next: Offset,
    pub(super) link: Link,
}

impl World {
    pub(super) fn enter(&self) {
        let (seat_id, seat) = self.log.enter(&self.truth.interests);
        let (entered, _) = self.log.tail();
        self.state.borrow_mut().stream = Some(Stream {
            seat_id,
            seat,
            handoff: None,
            doing: Doing::Look,
            texts_due: VecDeque::new(),
            answered: 0,
            entered,
            entering: Entering::default(),
        });
    }

    pub(super) fn stream(&self) {
        let mut state = self.state.borrow_mut();
        let mut stream = state.stream.take().unwrap();
        match (stream.handoff.take(), stream.doing) {
            (None, _) => stream.handoff = Some(self.begin(&mut state, stream.seat_id)),
            (Some(mut handoff), Doing::Look) if stream.entering.due.is_some() => {
                self.give_snapshot(&mut state, &mut handoff, &mut stream.entering);
                stream.handoff = Some(handoff);
            }
            (Some(mut handoff), Doing::Look) if !stream.texts_due.is_empty() => {
                self.copy_next_texts(&mut state, &mut handoff, &mut stream.texts_due);
                stream.handoff = Some(handoff);
            }
            (Some(handoff), Doing::Look) => {
                stream.doing = Doing::Looked(self.log.view(&stream.seat).reach);
                stream.handoff = Some(handoff);
            }
            (Some(mut handoff), Doing::Looked(reach)) => {
                let window_start = self.log.window().start();
                let step = handoff.step(View {
                    reach,
                    oldest: Offset::ZERO,
                    window_start,
                });
                self.check_worth(&stream, step);
                stream.doing = Doing::Obey(step);
                stream.handoff = Some(handoff);
            }
            (Some(mut handoff), Doing::Obey(step)) => {
                stream.doing = if step == Step::Wait { Doing::Park } else { Doing::Look };
                let Stream {
                    texts_due, entering, ..
                } = &mut stream;
                self.obey(&mut state, &mut handoff, texts_due, entering, step);
                stream.handoff = Some(handoff);
            }
            (Some(handoff), Doing::Park) => {
                stream.answered = stream.seat.wakes();
                stream.doing = Doing::Look;
                stream.handoff = Some(handoff);
            }
        }
        state.stream = Some(stream);
    }

    /// Decides where the stream begins, as `subscription::open` does.
    fn begin(&self, state: &mut Viewer, seat_id: SeatId) -> Handoff {
        let (tail, link) = self.log.tail();
        let anew = (self.committed.get(), link_before(self.committed.get()));
        let (from, link) = match (state.resume, self.begin) {
            // Such a resume token is answered with a snapshot of everything: see `start::weigh`.
            (Some(_), _) if state.client.pending => anew,
            (Some((next, link)), _) => {
                let present = Present {
                    epoch: EPOCH,
                    tail: if next > tail { self.committed.get() } else { tail },
                    interests: HASH,
                    before: None,
                };
                let place = Place {
                    epoch: EPOCH,
                    next,
                    link,
                    interests: HASH,
                    kind: Kind::Complete,
                };
                let weighed = weigh(&place, &present);
                assert_eq!(
                    weighed,
                    Weighed::IfLinked(link_before(next)),
                    "resumable: {place:?} in {present:?}"
                );
                (next, link)
            }
            (None, Begin::Oldest) => (Offset::ZERO, link_before(Offset::ZERO)),
            (None, Begin::Now) => (tail, link),
            (None, Begin::Snapshot) => anew,
        };
        let live = match self.truth.interests.live() {
            true => Live::Wanted,
            false => Live::Unwanted,
        };
        let mut handoff = Handoff::new(from, link, live);
        if live == Live::Wanted {
            self.log.await_tail(seat_id, from);
            self.ahead.set(self.ahead.get() || from > tail);
        }
        self.tell_client(state, &mut handoff, |_| Told::Begins(from));
        handoff
    }

    /// Gives the snapshot that is due, as of what is stored.
    fn give_snapshot(&self, state: &mut Viewer, handoff: &mut Handoff, entering: &mut Entering) {
        let Some(entry) = entering.due.take() else { return };
        let offset = self.committed.get();
        let mut sessions = vec![entry.routing.session.clone()];
        sessions.retain(|session| self.truth.stands_inside(session, offset));
        handoff.has_snapshot(offset);
        entering.held.hold(Shared::of_sessions(offset, &sessions));
        self.tell_client(state, handoff, |_| Told::Snapshot(offset, &sessions));
    }

    /// Gives what was read, as `Subscription::deliver` does.
    fn deliver(&self, state: &mut Viewer, handoff: &mut Handoff, entering: &mut Entering, read: Page) {
        let Page { events, until, link } = read;
        let batch = Arc::new(Batch::new(events, until, link));
        let (batch, sifted) = sift(batch, &self.truth.interests, &entering.held);
        handoff.has_read(batch.until, batch.link);
        if let Sifted::Entered(entry) = sifted {
            entering.due = Some(entry);
        }
        let events = &batch.events;
        let (next, _) = handoff.place();
        entering.held.pass(next);
        if entering.due.is_some() {
            self.tell_client(state, handoff, |(from, until)| Told::Entering(from, until, events));
        } else if !events.is_empty() {
            self.tell_client(state, handoff, |(from, until)| Told::Events(from, until, events));
        }
    }

    fn obey(
        &self,
        state: &mut Viewer,
        handoff: &mut Handoff,
        texts_due: &mut VecDeque<Opened>,
        entering: &mut Entering,
        step: Step,
    ) {
        let interests = &self.truth.interests;
        let (next, _) = handoff.place();
        match step {
            Step::Read {
                source: Source::Window,
                from,
                until,
            } => {
                // One event a read, so that every frame is one of several.
                let found = self.log.window().read(interests, from, until, 1);
                let Some(found) = found else {
                    let start = self.log.window().start();
                    assert!(start > from, "readable first, announced second: {until} was announced");
                    return;
                };
                if interests.single_sessions().is_some() {
                    let wanted = self.truth.wanted(from, until).count();
                    assert!(found.visited <= wanted, "cost: slots of other sessions are not visited");
                }
                let (events, until, link) = (found.events, found.until, found.link);
                self.deliver(state, handoff, entering, Page { events, until, link });
            }
            Step::Read {
                source: Source::Store,
                from,
                until,
            } => {
                // Two events looked at a read, so that a page may hold nothing.
                let until = until.min(Offset(from.0 + 2));
                assert!(
                    until <= self.committed.get(),
                    "reliable: nothing is read before it is durable"
                );
                let events: Vec<_> = self.truth.events[from.0 as usize..until.0 as usize]
                    .iter()
                    .filter(|event| self.truth.wants(event))
                    .cloned()
                    .collect();
                let link = link_before(until);
                self.deliver(state, handoff, entering, Page { events, until, link });
            }
            Step::CaughtUp(tail) => {
                if handoff.untold() {
                    self.tell_client(state, handoff, |(from, until)| Told::Events(from, until, &[]));
                }
                self.tell_client(state, handoff, |_| Told::CaughtUp(tail));
            }
            Step::Gone(oldest) => panic!("nothing is trimmed here, and {oldest} is named as the oldest"),
            Step::FellBehind(by) => self.tell_client(state, handoff, |_| Told::FellBehind(by)),
            Step::SyncTexts => *texts_due = self.sync_texts(state, handoff),
            Step::ReadDeltas(number) => {
                let found = self.log.deltas().read(interests, number, next);
                let Some(found) = found else {
                    return handoff.lose_texts();
                };
                handoff.has_deltas(found.until);
                if !found.messages.is_empty() {
                    self.tell_client(state, handoff, |_| Told::Deltas(&found.messages));
                }
            }
            Step::Wait => {}
        }
    }

    fn sync_texts(&self, state: &mut Viewer, handoff: &mut Handoff) -> VecDeque<Opened> {
        let (next, _) = handoff.place();
        let opened = self.log.deltas().opened(&self.truth.interests, next);
        let Some((opened, number)) = opened else {
            return VecDeque::new();
        };
        handoff.has_texts(number);
        // Nothing happened since the number was taken: whatever is in the texts now comes in no fragment.
        for (number, item) in self.truth.items.iter().enumerate() {
            state.client.sent[number] = self.text_length(number).unwrap_or(state.client.sent[number]);
            let due = opened.iter().any(|opened| opened.started == item.started);
            let has_text = item.wanted && self.text_length(number).is_some() && item.started < next;
            assert_eq!(due, has_text, "reliable: the text of item {number} is due");
        }
        opened
    }

    /// Copies the texts of one item, as `Subscription::copy_next_texts` does.
    fn copy_next_texts(&self, state: &mut Viewer, handoff: &mut Handoff, due: &mut VecDeque<Opened>) {
        let Some(opened) = due.pop_front() else { return };
        let texts = self.log.deltas().texts_so_far(&opened);
        for text in texts {
            self.tell_client(state, handoff, |_| Told::Text(&text));
        }
    }

    /// Gives the client a frame, and remembers what it may come back with. A frame that accounts for offsets tells them.
    fn tell_client<'t>(
        &self,
        state: &mut Viewer,
        handoff: &mut Handoff,
        frame: impl FnOnce((Offset, Offset)) -> Told<'t>,
    ) {
        let mut tried = handoff.clone();
        let told = frame(tried.tell());
        if matches!(told, Told::Events(..) | Told::Entering(..) | Told::Heartbeat(..)) {
            *handoff = tried;
        }
        let (next, link) = handoff.told();
        state.client.take(&self.truth, &told, (next, link));
        let saved = Saved {
            client: state.client.clone(),
            next,
            link,
        };
        if !state.saved.contains(&saved) {
            state.saved.push(saved);
        }
    }

    pub(super) fn heartbeat(&self) {
        let mut allowed = self.allowed.get();
        allowed.heartbeats -= 1;
        self.allowed.set(allowed);
        let mut state = self.state.borrow_mut();
        let mut stream = state.stream.take().unwrap();
        let view = self.log.view(&stream.seat);
        let handoff = stream.handoff.as_mut().unwrap();
        let mut tried = handoff.clone();
        if tried.step(view) == Step::Wait {
            *handoff = tried;
            self.tell_client(&mut state, handoff, |(from, until)| Told::Heartbeat(from, until));
        } else {
            stream.doing = Doing::Look;
        }
        state.stream = Some(stream);
    }

    /// Cost: after it was level with the log, a stream reads only when there is something for it.
    fn check_worth(&self, stream: &Stream, step: Step) {
        if let Step::Read { from, until, .. } = step
            && from >= stream.entered
            && self.unseen.get() == 0
        {
            assert!(
                self.truth.wanted(from, until).count() > 0,
                "cost: [{from}, {until}) is nothing to this stream"
            );
        }
    }
}

impl Stream {
    pub(super) fn is_woken(&self) -> bool {
        self.seat.wakes() > self.answered
    }

    pub(super) fn runnable(&self) -> bool {
        self.handoff.is_none() || !matches!(self.doing, Doing::Park) || self.is_woken()
    }
}
