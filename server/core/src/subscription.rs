//! One open stream: obeys the handoff and turns what it reads into frames.
//!
//! Believe this: a subscription holds a place, a seat and a few numbers. It has no queue but the frames of a snapshot that it
//! is about to send, so a slow reader costs nobody anything.

pub mod frame;
pub mod start;

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;

use crate::clock::{Clock, Sleep};
use crate::event::Family;
use crate::handoff::{Handoff, Live, Source, Step};
use crate::interest::index::{Seat, SeatId};
use crate::interest::{Detail, Interest, Interests, Selector};
use crate::limits;
use crate::link::Link;
use crate::log::{Counters, Log};
use crate::offset::Offset;
use crate::resume_token::{Keyring, Kind, Place};
use crate::session::Lifecycle;
use crate::store::{self, Page, Read, SnapshotLimits};
use crate::window::deltas::ItemText;
use frame::{Answer, ClosingReason, Frame, ResetReason, Sent, SnapshotEntry};
use start::{OnGap, Present, Start, Weighed, weigh};

/// What a subscriber asks for.
#[derive(Clone, Debug)]
pub struct Request {
    /// Where to begin.
    pub start: Start,
    /// What is wanted.
    pub interests: Interests,
    /// What to do when history is missing, or too much.
    pub on_gap: OnGap,
    /// Whether raw records are wanted too.
    pub include_raw: bool,
    /// Whether to end once all sessions of the interests are closed and told.
    pub stop_when_closed: bool,
    /// How long to gather events after a wake-up.
    pub linger: Duration,
    /// Time between two heartbeats, before jitter.
    pub heartbeat: Duration,
    /// Bytes after which a frame is full.
    pub frame_bytes: usize,
    /// Most events that a resume replays.
    pub replay_events: u64,
}

/// Why there is no stream, or why it broke off. The resume token of the last frame stays good.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The resume token is malformed, was changed, or belongs to another tenant.
    #[error("resume token is not valid here; start from a snapshot")]
    ResumeTokenInvalid,
    /// History is missing, and `on_gap` is FAIL.
    #[error("events from {from} on are no longer kept; the oldest is {oldest}; start from a snapshot")]
    HistoryGone {
        /// What was asked for.
        from: Offset,
        /// What there is.
        oldest: Offset,
    },
    /// Too much history, and `on_gap` is FAIL.
    #[error("more than {0} events lie behind; start from a snapshot, or set on_gap to CONTINUE to replay them all")]
    TooFarBehind(u64),
    /// The store cannot be read now.
    #[error("the log cannot be read now; try again")]
    Store(#[from] store::Error),
}

/// What may end a stream from outside: the node, the credential.
pub type Closing = watch::Receiver<Option<(ClosingReason, Option<Duration>)>>;

/// What a subscription is given by the hub.
#[derive(Debug)]
pub struct Surroundings {
    /// The log.
    pub log: Arc<Log>,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// The resume token keys as they are now.
    pub keyring: Arc<Keyring>,
    /// The end of the node.
    pub draining: Closing,
    /// The end of the credential.
    pub credential: Closing,
}

/// One open stream.
pub struct Subscription {
    around: Surroundings,
    request: Request,
    interests_hash: u64,
    seat_id: SeatId,
    /// Shared with the index, which stamps it; given back on drop.
    seat: Arc<Seat>,
    handoff: Handoff,
    /// Frames that are decided but not sent: the answer, a snapshot's pages, texts.
    ready: VecDeque<(Frame, Kind)>,
    heartbeat: Option<Sleep>,
    /// Whether the next frame where there is nothing to read is a heartbeat.
    heartbeat_due: bool,
    /// Whether the sessions may have closed since it was looked.
    check_closed: bool,
    ended: bool,
}

impl std::fmt::Debug for Subscription {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Subscription")
            .field("handoff", &self.handoff)
            .finish_non_exhaustive()
    }
}

impl Drop for Subscription {
    fn drop(&mut self) {
        self.around.log.leave(self.seat_id, &self.request.interests);
    }
}

impl Subscription {
    /// Takes a seat and decides where to begin. The first frames are ready when this returns.
    ///
    /// # Errors
    /// When the start is refused or the store cannot be read.
    pub async fn open(around: Surroundings, request: Request) -> Result<Subscription, Error> {
        let (seat_id, seat) = around.log.enter(&request.interests);
        let live = if request.interests.live() {
            Live::Wanted
        } else {
            Live::Unwanted
        };
        let interests_hash = request.interests.hash();
        let (tail, link) = around.log.tail();
        // From here on the seat is given back when this is dropped, also on an early return.
        let mut subscription = Subscription {
            around,
            interests_hash,
            seat_id,
            seat,
            handoff: Handoff::new(tail, link, live),
            ready: VecDeque::new(),
            heartbeat: None,
            heartbeat_due: false,
            check_closed: request.stop_when_closed,
            ended: false,
            request,
        };
        let (answer, begin) = subscription.begin().await?;
        subscription.start(answer, begin, live).await?;
        Ok(subscription)
    }

    /// The next frame; none after the last one. Not cancel safe: drop the subscription instead of retrying.
    ///
    /// # Errors
    /// When the store cannot be read. Nothing comes after an error.
    pub async fn next(&mut self) -> Option<Result<Sent, Error>> {
        if self.ended {
            return None;
        }
        match self.advance().await {
            Ok(frame) => {
                self.ended = matches!(frame.0, Frame::Closing { .. });
                Some(Ok(self.sent(frame)))
            }
            Err(error) => {
                self.ended = true;
                Some(Err(error))
            }
        }
    }

    /// How often it was woken.
    #[must_use]
    pub fn wakes(&self) -> u64 {
        self.seat.wakes()
    }

    async fn advance(&mut self) -> Result<(Frame, Kind), Error> {
        loop {
            if let Some(closing) = self.closing() {
                return Ok(closing);
            }
            if let Some(frame) = self.ready.pop_front() {
                return Ok(frame);
            }
            match self.handoff.step(self.around.log.view(&self.seat)) {
                Step::Read {
                    source: Source::Window,
                    from,
                    until,
                } => {
                    if let Some(frame) = self.read_window(from, until).await? {
                        return Ok(complete(frame));
                    }
                }
                Step::Read {
                    source: Source::Store,
                    from,
                    until,
                } => {
                    let frame = Box::pin(self.read_store(from, until)).await?;
                    return Ok(complete(frame));
                }
                Step::CaughtUp(tail) => {
                    self.check_closed = self.request.stop_when_closed;
                    if self.handoff.untold() {
                        let frame = self.events(Vec::new(), Vec::new());
                        self.ready.push_back(complete(frame));
                    }
                    self.ready.push_back(complete(Frame::CaughtUp(tail)));
                }
                Step::FellBehind(by) => return Ok(complete(Frame::FellBehind(by))),
                Step::SyncTexts => self.sync_texts(),
                Step::ReadDeltas(number) => {
                    if let Some(frame) = self.read_deltas(number) {
                        return Ok(complete(frame));
                    }
                }
                Step::Wait => {
                    if let Some(frame) = self.wait().await? {
                        return Ok(complete(frame));
                    }
                }
            }
        }
    }

    fn sent(&self, (frame, kind): (Frame, Kind)) -> Sent {
        let (next, link) = self.handoff.place();
        let place = Place {
            epoch: self.around.log.row().epoch,
            next,
            link,
            interests: self.interests_hash,
            kind,
        };
        Sent { frame, place }
    }

    /// The last frame, if somebody outside wants the stream to end. Never the first one: how the start was answered comes before it.
    fn closing(&self) -> Option<(Frame, Kind)> {
        if matches!(self.ready.front(), Some((Frame::Subscribed { .. }, _))) {
            return None;
        }
        // The credential first: what it may no longer see is not even said goodbye to as if it could come back.
        let credential = *self.around.credential.borrow();
        let (reason, retry_after) = credential.or_else(|| *self.around.draining.borrow())?;
        // A snapshot that is cut short was not given, however its place reads.
        let whole = !self
            .ready
            .iter()
            .any(|(frame, _)| matches!(frame, Frame::SnapshotEnd { .. }));
        let kind = if whole { Kind::Complete } else { Kind::SnapshotPending };
        Some((Frame::Closing { reason, retry_after }, kind))
    }

    /// The frame that is due where there is nothing to read: the end, or a heartbeat. Parks until woken where none is.
    async fn wait(&mut self) -> Result<Option<Frame>, Error> {
        if std::mem::take(&mut self.check_closed) && Box::pin(self.all_closed()).await? {
            return Ok(Some(Frame::Closing {
                reason: ClosingReason::Complete,
                retry_after: None,
            }));
        }
        if std::mem::take(&mut self.heartbeat_due) {
            let (from, until) = self.handoff.tell();
            return Ok(Some(Frame::Heartbeat { from, until }));
        }
        let clock = &self.around.clock;
        let interval = self.request.heartbeat;
        let heartbeat = self.heartbeat.get_or_insert_with(|| clock.sleep(jittered(interval)));
        tokio::select! {
            biased;
            () = changed(&mut self.around.credential) => {}
            () = changed(&mut self.around.draining) => {}
            () = self.seat.woken() => {
                if !self.request.linger.is_zero() {
                    self.around.clock.sleep(self.request.linger).await;
                }
            }
            () = heartbeat => {
                // It is sent once everything is read that came until then, so that it names a tail it covers.
                self.heartbeat = None;
                self.heartbeat_due = true;
                self.check_closed = self.request.stop_when_closed;
            }
        }
        Ok(None)
    }

    async fn read_window(&mut self, from: Offset, until: Offset) -> Result<Option<Frame>, Error> {
        let found = self
            .around
            .log
            .window()
            .read(&self.request.interests, from, until, self.request.frame_bytes);
        // Gone since we looked: the next view says so.
        let Some(found) = found else { return Ok(None) };
        Log::count(&self.around.log.counters().slots_visited, found.visited);
        if found.events.is_empty() {
            self.handoff.has_read(found.until, found.link);
            return Ok(None);
        }
        self.deliver(found.events, found.until, found.link).await.map(Some)
    }

    async fn read_store(&mut self, from: Offset, until: Offset) -> Result<Frame, Error> {
        let log = &self.around.log;
        Log::count(&log.counters().store_reads, 1);
        let read = Read {
            log: log.row(),
            interests: &self.request.interests,
            from,
            until,
            events_max: limits::FRAME_EVENTS_MAX,
            bytes_max: self.request.frame_bytes,
            scan_max: limits::SCAN_EVENTS_MAX,
        };
        let Page { events, until, link } = log.store().read(read).await?;
        self.deliver(events, until, link).await
    }

    /// The frame of what was read up to `until`, or less of it where a frame does not take the raw records beside it.
    async fn deliver(
        &mut self,
        mut events: Vec<crate::event::Event>,
        until: Offset,
        link: Link,
    ) -> Result<Frame, Error> {
        let log = &self.around.log;
        let (read, mut raws) = (events.len(), Vec::new());
        if self.request.include_raw {
            raws = store::raws_beside(log.store(), log.row().key, &mut events, self.request.frame_bytes).await?;
        }
        match events.last().filter(|_| events.len() < read) {
            Some(last) => self.handoff.has_read(last.offset.next(), last.link),
            None => self.handoff.has_read(until, link),
        }
        let counters: &Counters = log.counters();
        Log::count(&counters.deliveries, events.len());
        if self.request.stop_when_closed && events.iter().any(|event| event.family == Family::Session) {
            self.check_closed = true;
        }
        Ok(self.events(events, raws))
    }

    fn events(&mut self, events: Vec<crate::event::Event>, raws: Vec<(Offset, crate::event::Raw)>) -> Frame {
        let (from, until) = self.handoff.tell();
        Frame::Events {
            from,
            until,
            events,
            raws,
        }
    }

    fn sync_texts(&mut self) {
        let (next, _) = self.handoff.place();
        let texts = self.around.log.deltas().texts(&self.request.interests, next);
        // None: an event came before the newest fragment, and is read first.
        if let Some((texts, number)) = texts {
            self.handoff.has_texts(number);
            self.ready
                .extend(texts.into_iter().map(|text| complete(Frame::ItemText(text))));
        }
    }

    fn read_deltas(&mut self, number: u64) -> Option<Frame> {
        let (next, _) = self.handoff.place();
        let Some(found) = self.around.log.deltas().read(&self.request.interests, number, next) else {
            self.handoff.lose_texts();
            return None;
        };
        self.handoff.has_deltas(found.until);
        (!found.messages.is_empty()).then_some(Frame::Deltas(found.messages))
    }

    /// Whether all sessions of the interests are closed, and their closing was told.
    async fn all_closed(&self) -> Result<bool, Error> {
        let log = &self.around.log;
        let limits = SnapshotLimits {
            items: 0,
            scan: 0,
            bytes: 0,
            sessions: limits::SNAPSHOT_SESSIONS_MAX,
        };
        let now = log
            .store()
            .snapshot(log.row().key, &self.request.interests, limits)
            .await?;
        let (next, _) = self.handoff.place();
        let ended =
            |session: &crate::session::Session| session.lifecycle == Lifecycle::Closed && session.last_offset < next;
        // A session that is wanted by name and not there yet is still to come.
        let is_there = |interest: &Interest| match &interest.selector {
            Selector::Session(id) | Selector::Subtree(id) => now.sessions.iter().any(|entry| entry.session.id == *id),
            Selector::All | Selector::Project(_) | Selector::Vendor(_) => !now.sessions.is_empty(),
        };
        Ok(!now.truncated
            && self.request.interests.iter().all(is_there)
            && now.sessions.iter().all(|entry| ended(&entry.session)))
    }
}

// === How a stream begins ===

impl Subscription {
    /// How the start is answered, and where the stream begins; nowhere when a snapshot says where.
    async fn begin(&self) -> Result<(Answer, Option<(Offset, Link)>), Error> {
        let log = &self.around.log;
        let (tail, link) = log.tail();
        let row = log.row();
        let from = match &self.request.start {
            Start::Resume(token) => return self.resume(token).await,
            Start::Snapshot => return Ok((Answer::Started, None)),
            Start::Now => return Ok((Answer::Started, Some((tail, link)))),
            Start::Oldest => row.oldest,
            Start::Last(0) => return Ok((Answer::Started, Some((tail, link)))),
            Start::Last(count) => {
                log.store()
                    .seek_back(row, &self.request.interests, tail, *count)
                    .await?
            }
        };
        Ok((Answer::Started, Some((from, self.link_before(from).await?))))
    }

    async fn resume(&self, token: &str) -> Result<(Answer, Option<(Offset, Link)>), Error> {
        let log = &self.around.log;
        let reset = |reason| Ok((Answer::Reset(reason), None));
        let place = match self.around.keyring.parse(&log.row().tenant, token) {
            Ok(place) => place,
            Err(crate::resume_token::Error::Invalid) => return Err(Error::ResumeTokenInvalid),
            Err(crate::resume_token::Error::TooOld) => return reset(ResetReason::ResumeTokenTooOld),
        };
        let present = self.present(place.next).await?;
        let link = match weigh(&place, &present) {
            Weighed::IfLinked(link) => link,
            Weighed::Reset(ResetReason::ResumeTokenTooOld) => return self.gone(place.next, present.oldest).await,
            Weighed::Reset(reason) => return reset(reason),
        };
        if self.link_before(place.next).await? != link {
            return reset(ResetReason::HistoryChanged);
        }
        let most = self.request.replay_events;
        if place.next.distance(present.tail) > most && self.request.on_gap != OnGap::Continue {
            let count = log
                .store()
                .count(log.row(), &self.request.interests, place.next, present.tail, most + 1)
                .await?;
            if count > most {
                return match self.request.on_gap {
                    OnGap::Fail => Err(Error::TooFarBehind(most)),
                    OnGap::Snapshot | OnGap::Continue => reset(ResetReason::TooFarBehind),
                };
            }
        }
        Ok((Answer::Resumed, Some((place.next, link))))
    }

    /// The log as it is now. What is announced may lag what is stored by a moment, and a snapshot's resume token may be that new.
    async fn present(&self, next: Offset) -> Result<Present, Error> {
        let log = &self.around.log;
        let row = log.row();
        let (mut tail, _) = log.tail();
        if next > tail {
            let fresh = log.store().open_log(&row.tenant).await?;
            if fresh.epoch == row.epoch {
                tail = fresh.tail;
            }
        }
        Ok(Present {
            epoch: row.epoch,
            oldest: row.oldest,
            tail,
            interests: self.interests_hash,
        })
    }

    async fn gone(&self, from: Offset, oldest: Offset) -> Result<(Answer, Option<(Offset, Link)>), Error> {
        match self.request.on_gap {
            OnGap::Snapshot => Ok((Answer::Reset(ResetReason::ResumeTokenTooOld), None)),
            OnGap::Continue => Ok((Answer::Resumed, Some((oldest, self.link_before(oldest).await?)))),
            OnGap::Fail => Err(Error::HistoryGone { from, oldest }),
        }
    }

    async fn link_before(&self, offset: Offset) -> Result<Link, Error> {
        let log = &self.around.log;
        let in_window = log.window().link_before(offset);
        match in_window {
            Some(link) => Ok(link),
            None => Ok(log.store().link_before(log.row(), offset).await?),
        }
    }

    async fn start(&mut self, answer: Answer, begin: Option<(Offset, Link)>, live: Live) -> Result<(), Error> {
        let (tail, _) = self.around.log.tail();
        let row = self.around.log.row();
        let (epoch, oldest) = (row.epoch, row.oldest);
        if let Some((from, link)) = begin {
            self.place(from, link, live);
            self.ready.push_back(complete(Frame::Subscribed {
                answer,
                epoch,
                from,
                oldest,
                tail,
            }));
            return Ok(());
        }
        let limits = SnapshotLimits {
            sessions: limits::SNAPSHOT_SESSIONS_MAX,
            items: limits::SNAPSHOT_ITEMS_MAX,
            scan: limits::SNAPSHOT_SCAN_MAX,
            bytes: limits::SNAPSHOT_BYTES_MAX,
        };
        let snapshot = self
            .around
            .log
            .store()
            .snapshot(row.key, &self.request.interests, limits)
            .await?;
        let from = snapshot.log.tail;
        self.place(from, snapshot.log.link, live);
        let reason = match answer {
            Answer::Reset(reason) => Some(reason),
            Answer::Started | Answer::Resumed => None,
        };
        let mut frames = vec![
            Frame::Subscribed {
                answer,
                epoch,
                from,
                oldest,
                tail: tail.max(from),
            },
            Frame::SnapshotBegin { reason, offset: from },
        ];
        let entries = snapshot.sessions.into_iter().map(|entry| self.entry(entry)).collect();
        frames.extend(pages(entries, self.request.frame_bytes).map(Frame::SnapshotPage));
        self.ready
            .extend(frames.into_iter().map(|frame| (frame, Kind::SnapshotPending)));
        self.ready.push_back(complete(Frame::SnapshotEnd {
            truncated: snapshot.truncated,
        }));
        Ok(())
    }

    fn place(&mut self, from: Offset, link: Link, live: Live) {
        self.handoff = Handoff::new(from, link, live);
        if live == Live::Wanted {
            self.around.log.await_tail(self.seat_id, from);
        }
    }

    fn entry(&self, mut snapshot: store::SessionSnapshot) -> SnapshotEntry {
        fit(&mut snapshot);
        let detail = self.request.interests.detail(&snapshot.session.routing());
        let open = snapshot
            .items
            .iter()
            .filter(|event| event.item_step == Some(crate::event::ItemStep::Started));
        let texts = match detail {
            Some(Detail::Content | Detail::Live) => {
                let deltas = self.around.log.deltas();
                let texts = open
                    .filter_map(|event| event.item)
                    .flat_map(|item| deltas.texts_of(&snapshot.session.id, item));
                fitting(texts)
            }
            Some(Detail::Summary) | None => Vec::new(),
        };
        SnapshotEntry { snapshot, texts }
    }
}

/// Keeps the newest items that fit one frame, at least one; the others are read by `ListEvents`.
fn fit(snapshot: &mut store::SessionSnapshot) {
    let mut bytes = 0;
    let kept = snapshot
        .items
        .iter()
        .rev()
        .take_while(|event| {
            bytes += event.bytes.len();
            bytes <= limits::SNAPSHOT_SESSION_BYTES_MAX || bytes == event.bytes.len()
        })
        .count();
    let left_out = snapshot.items.len() - kept;
    if left_out > 0 {
        snapshot.items.drain(..left_out);
        snapshot.more_below = snapshot.items.first().map(|event| event.offset);
    }
}

/// Texts of one session, as many as fit a frame beside its items; the others are unavailable here.
fn fitting(texts: impl Iterator<Item = ItemText>) -> Vec<ItemText> {
    let mut bytes = 0;
    let fit = |mut text: ItemText| {
        bytes += text.text.as_ref().map_or(0, bytes::Bytes::len);
        text.text = text.text.filter(|_| bytes <= limits::SNAPSHOT_SESSION_BYTES_MAX);
        text
    };
    texts.map(fit).collect()
}

/// Sessions in pages that are not too large for a frame, at least one session each.
fn pages(entries: Vec<SnapshotEntry>, bytes_max: usize) -> impl Iterator<Item = Vec<SnapshotEntry>> {
    let mut entries = entries.into_iter().peekable();
    std::iter::from_fn(move || {
        let mut page = Vec::new();
        let mut bytes = 0;
        while let Some(entry) = entries.next_if(|entry| {
            bytes += cost(entry);
            page.is_empty() || (bytes <= bytes_max && page.len() < limits::SNAPSHOT_PAGE_SESSIONS_MAX)
        }) {
            page.push(entry);
        }
        (!page.is_empty()).then_some(page)
    })
}

fn cost(entry: &SnapshotEntry) -> usize {
    // A row is mostly what was told of the session (a list of models may be long); 512 bytes is what the rest of it has.
    let facts = &entry.snapshot.session.facts.other;
    let facts: usize = facts.iter().map(|(_, value)| value.len()).sum();
    let items: usize = entry.snapshot.items.iter().map(|event| event.bytes.len()).sum();
    let texts: usize = entry
        .texts
        .iter()
        .filter_map(|text| text.text.as_ref())
        .map(bytes::Bytes::len)
        .sum();
    512 + facts + items + texts
}

const fn complete(frame: Frame) -> (Frame, Kind) {
    (frame, Kind::Complete)
}

/// Waits for news on a channel; for ever when nobody can send any more.
async fn changed(channel: &mut Closing) {
    if channel.changed().await.is_err() {
        std::future::pending::<()>().await;
    }
}

/// An interval made up to [`limits::HEARTBEAT_JITTER`] shorter or longer.
fn jittered(interval: Duration) -> Duration {
    // Without randomness from the machine all beat together, which is only a matter of comfort.
    let random = getrandom::u32().unwrap_or(u32::MAX / 2);
    let spread = f64::from(random) / f64::from(u32::MAX) * 2.0 - 1.0;
    interval.mul_f64(1.0 + spread * limits::HEARTBEAT_JITTER)
}

#[cfg(test)]
mod tests;
