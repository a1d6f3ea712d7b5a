//! Subscribers that account for everything they are given.
//!
//! Believe this: a subscriber that was given an event twice, too late or not at all makes the sample void; so does one whose stream
//! ends.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bellboard_proto::v1::{self, interest::Selector, subscribe_request::Start};
use prost::Message as _;
use tokio::task::JoinSet;

use crate::clock;
use crate::error::{Error, Result};
use crate::load::connection::{Connection, Outgoing, Target, Windows};
use crate::load::frame::{self, Frame, Stamps};
use crate::load::messages::Messages;

const SUBSCRIBE: &str = "/bellboard.v1.SubscribeService/Subscribe";

/// How long to wait for what must come.
const PATIENCE: Duration = Duration::from_secs(60);

/// Between two looks at how far subscribers are.
const LOOK_EVERY: Duration = Duration::from_millis(2);

/// What a subscription asks for: all sessions, durable events.
pub(crate) fn request(start: Start, linger: Duration) -> v1::SubscribeRequest {
    let all = v1::Interest {
        selector: Some(Selector::All(v1::AllSelector {})),
        families: Vec::new(),
        detail: v1::Detail::Content.into(),
    };
    v1::SubscribeRequest {
        start: Some(start),
        interests: vec![all],
        linger: prost_types::Duration::try_from(linger)
            .ok()
            .filter(|_| !linger.is_zero()),
        ..v1::SubscribeRequest::default()
    }
}

/// Begins at the tail.
pub(crate) const fn from_now() -> Start {
    Start::FromNow(v1::FromNow {})
}

/// Begins at the oldest event.
pub(crate) const fn from_start() -> Start {
    Start::FromStart(v1::FromStart {})
}

/// What one subscriber was given.
#[derive(Debug, Default)]
struct Seen {
    /// Where it began.
    from: AtomicU64,
    /// One past the last event that it was given; before the first frame nothing.
    next: AtomicU64,
    events: AtomicU64,
    frames: AtomicU64,
    bytes: AtomicU64,
    /// When it had all that it was to have, in nanoseconds of the clock; 0 before.
    reached: AtomicU64,
    /// From sending to receiving, while that is measured. Held for one push.
    latencies: Mutex<Vec<Duration>>,
    /// Its newest resume token. Held for one look.
    token: Mutex<Vec<u8>>,
}

#[derive(Debug)]
struct Shared {
    seen: Vec<Seen>,
    /// Where everybody is to come to.
    target: AtomicU64,
    measuring: AtomicBool,
    /// Why the sample is void, if it is.
    fault: Mutex<Option<Error>>,
}

/// Many subscribers, spread over a few connections. Dropped, all are cut.
#[derive(Debug)]
pub(crate) struct Subscribers {
    shared: Arc<Shared>,
    readers: JoinSet<()>,
    /// Kept as long as their streams are wanted.
    _connections: Vec<Arc<Connection>>,
}

/// What all were given up to now.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Delivered {
    /// Events.
    pub(crate) events: u64,
    /// Frames that held them.
    pub(crate) frames: u64,
    /// Bytes of those frames.
    pub(crate) bytes: u64,
}

impl Subscribers {
    /// Connects, subscribes and waits until every stream has its first frame.
    pub(crate) async fn open(
        target: &Target,
        count: usize,
        connections: usize,
        request: &v1::SubscribeRequest,
    ) -> Result<Subscribers> {
        let mut subscribers = Self::begin(target, count, connections, request, u64::MAX).await?;
        subscribers.all_subscribed().await?;
        Ok(subscribers)
    }

    /// Connects and subscribes, for a measurement that begins here: everybody is to come to `until`.
    pub(crate) async fn begin(
        target: &Target,
        count: usize,
        connections: usize,
        request: &v1::SubscribeRequest,
        until: u64,
    ) -> Result<Subscribers> {
        let shared = Arc::new(Shared {
            seen: (0..count).map(|_| Seen::default()).collect(),
            target: AtomicU64::new(until),
            measuring: AtomicBool::new(false),
            fault: Mutex::default(),
        });
        let mut open = JoinSet::new();
        for _ in 0..connections {
            let target = target.clone();
            open.spawn(async move { Connection::open(&target, Windows::Wide).await.map(Arc::new) });
        }
        let connections: Vec<_> = open.join_all().await.into_iter().collect::<Result<_>>()?;
        let request = Arc::new(request.encode_to_vec());
        let mut readers = JoinSet::new();
        for (number, connection) in (0..count).zip(connections.iter().cycle()) {
            let (connection, request, shared) = (connection.clone(), request.clone(), shared.clone());
            readers.spawn(async move {
                if let Err(error) = read(&connection, &request, &shared, number).await {
                    fault(&shared).get_or_insert(error);
                }
            });
        }
        Ok(Subscribers {
            shared,
            readers,
            _connections: connections,
        })
    }

    /// How many there are.
    pub(crate) fn count(&self) -> usize {
        self.shared.seen.len()
    }

    /// Waits until every stream has its first frame.
    async fn all_subscribed(&mut self) -> Result<()> {
        self.wait("the first frame", |seen| seen.frames.load(Ordering::Acquire) > 0)
            .await
    }

    /// Waits until everybody has everything before `until`, and checks that nobody has more or less than that.
    pub(crate) async fn complete(&self, until: u64) -> Result<()> {
        self.shared.target.store(until, Ordering::Release);
        self.wait("the last event", |seen| seen.next.load(Ordering::Acquire) >= until)
            .await?;
        for (number, seen) in self.shared.seen.iter().enumerate() {
            let (from, next) = (seen.from.load(Ordering::Acquire), seen.next.load(Ordering::Acquire));
            let events = seen.events.load(Ordering::Acquire);
            if next != until || events != until - from {
                return Err(Error::Void(format!(
                    "subscriber {number} was given {events} events from {from} up to {next}, not all up to {until}"
                )));
            }
        }
        Ok(())
    }

    /// When the slowest had everything, for those that were to come to a place known before.
    pub(crate) fn reached(&self) -> Duration {
        let reached = self.shared.seen.iter().map(|seen| seen.reached.load(Ordering::Acquire));
        Duration::from_nanos(reached.max().unwrap_or_default())
    }

    /// What all were given up to now.
    pub(crate) fn delivered(&self) -> Delivered {
        let mut total = Delivered::default();
        for seen in &self.shared.seen {
            total.events += seen.events.load(Ordering::Relaxed);
            total.frames += seen.frames.load(Ordering::Relaxed);
            total.bytes += seen.bytes.load(Ordering::Relaxed);
        }
        total
    }

    /// Begins to note how long events take.
    pub(crate) fn measure(&self) {
        self.shared.measuring.store(true, Ordering::Release);
    }

    /// How long events took since [`Self::measure`], sorted.
    pub(crate) fn latencies(&self) -> Vec<Duration> {
        self.shared.measuring.store(false, Ordering::Release);
        let mut all = Vec::new();
        for seen in &self.shared.seen {
            all.append(&mut seen.latencies.lock().unwrap_or_else(PoisonError::into_inner));
        }
        all.sort_unstable();
        all
    }

    /// The newest resume token of the first subscriber.
    pub(crate) fn token(&self) -> String {
        let token = self.shared.seen.first().map(|seen| {
            let token = seen.token.lock().unwrap_or_else(PoisonError::into_inner);
            String::from_utf8_lossy(&token).into_owned()
        });
        token.unwrap_or_default()
    }

    async fn wait(&self, what: &str, done: impl Fn(&Seen) -> bool) -> Result<()> {
        let began = clock::now();
        loop {
            if let Some(error) = fault(&self.shared).take() {
                return Err(error);
            }
            if self.shared.seen.iter().all(&done) {
                return Ok(());
            }
            if clock::since(began) > PATIENCE {
                let there = self.shared.seen.iter().filter(|seen| done(seen)).count();
                return Err(Error::Void(format!(
                    "only {there} of {} subscribers have {what} after {PATIENCE:?}",
                    self.count()
                )));
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }
}

impl Drop for Subscribers {
    fn drop(&mut self) {
        self.readers.abort_all();
    }
}

fn fault(shared: &Shared) -> std::sync::MutexGuard<'_, Option<Error>> {
    shared.fault.lock().unwrap_or_else(PoisonError::into_inner)
}

async fn read(connection: &Connection, request: &[u8], shared: &Shared, number: usize) -> Result<()> {
    let (mut outgoing, answer) = connection.call(SUBSCRIBE, request).await?;
    outgoing.finish()?;
    let mut messages = answer.messages().await?;
    let seen = &shared.seen[number];
    while let Some(message) = messages.next().await? {
        take(shared, seen, &message)?;
    }
    Err(Error::Void(format!("the stream of subscriber {number} ended")))
}

fn take(shared: &Shared, seen: &Seen, message: &[u8]) -> Result<()> {
    let measuring = shared.measuring.load(Ordering::Relaxed);
    let stamps = if measuring { Stamps::Read } else { Stamps::Skip };
    let (frame, token) = frame::read(message, stamps)?;
    let expected = seen.next.load(Ordering::Relaxed);
    match frame {
        Frame::Subscribed { answer, from } => {
            if answer == v1::Answer::Reset as u64 {
                return Err(Error::Void("the start was answered with a reset".to_owned()));
            }
            seen.from.store(from, Ordering::Release);
            seen.next.store(from, Ordering::Release);
        }
        Frame::Events {
            from,
            until,
            count,
            stamp,
        } => {
            if from != expected || until - from != count {
                return Err(Error::Void(format!(
                    "a frame holds {count} events of {from} to {until}, after {expected}"
                )));
            }
            seen.next.store(until, Ordering::Release);
            seen.events.fetch_add(count, Ordering::Release);
            seen.bytes.fetch_add(message.len() as u64, Ordering::Relaxed);
            if let Some(stamp) = stamp {
                let mut latencies = seen.latencies.lock().unwrap_or_else(PoisonError::into_inner);
                latencies.push(clock::since(stamp));
            }
            if until >= shared.target.load(Ordering::Acquire) && seen.reached.load(Ordering::Relaxed) == 0 {
                let now = u64::try_from(clock::now().as_nanos()).unwrap_or(u64::MAX);
                seen.reached.store(now, Ordering::Release);
            }
        }
        Frame::Closing => return Err(Error::Void("the stream was closed".to_owned())),
        Frame::Other => {}
    }
    if !token.is_empty() {
        let mut newest = seen.token.lock().unwrap_or_else(PoisonError::into_inner);
        newest.clear();
        newest.extend_from_slice(token);
    }
    seen.frames.fetch_add(1, Ordering::Release);
    Ok(())
}

/// Streams that are opened and never read. Dropped, they are cut.
#[derive(Debug)]
pub(crate) struct Stalled {
    _streams: Vec<(Outgoing, Messages)>,
    _connections: Vec<Arc<Connection>>,
}

impl Stalled {
    /// Opens one for each request, on a connection of its own, as a phone in a tunnel would be: with the windows that HTTP/2 has by default.
    pub(crate) async fn open(target: &Target, requests: &[v1::SubscribeRequest]) -> Result<Stalled> {
        let mut stalled = Stalled {
            _streams: Vec::with_capacity(requests.len()),
            _connections: Vec::with_capacity(requests.len()),
        };
        for request in requests {
            let connection = Arc::new(Connection::open(target, Windows::Usual).await?);
            let (mut outgoing, answer) = connection.call(SUBSCRIBE, &request.encode_to_vec()).await?;
            outgoing.finish()?;
            stalled._streams.push((outgoing, answer.messages().await?));
            stalled._connections.push(connection);
        }
        Ok(stalled)
    }
}

#[cfg(test)]
mod tests {
    use bellboard_proto::v1::subscribe_response::Frame as Sent;

    use super::*;

    fn shared() -> Shared {
        Shared {
            seen: vec![Seen::default()],
            target: AtomicU64::new(u64::MAX),
            measuring: AtomicBool::new(false),
            fault: Mutex::default(),
        }
    }

    fn give(shared: &Shared, frame: Sent) -> Result<()> {
        let response = v1::SubscribeResponse {
            resume_token: String::new(),
            frame: Some(frame),
        };
        take(shared, &shared.seen[0], &response.encode_to_vec())
    }

    fn events(from: u64, until: u64, count: usize) -> Sent {
        Sent::Events(v1::EventsFrame {
            from,
            until,
            events: vec![v1::Event::default(); count],
            raws: Vec::new(),
        })
    }

    #[test]
    fn what_is_missing_or_comes_twice_is_void() {
        let subscribed = |answer: v1::Answer| {
            Sent::Subscribed(v1::Subscribed {
                answer: answer.into(),
                from: 5,
                ..v1::Subscribed::default()
            })
        };
        for wrong in [events(8, 9, 1), events(6, 7, 1), events(7, 9, 1), events(7, 8, 2)] {
            let shared = shared();
            give(&shared, subscribed(v1::Answer::Started)).unwrap();
            give(&shared, events(5, 7, 2)).unwrap();
            assert!(matches!(give(&shared, wrong.clone()), Err(Error::Void(_))), "{wrong:?}");
        }
        assert!(matches!(
            give(&shared(), subscribed(v1::Answer::Reset)),
            Err(Error::Void(_))
        ));
    }
}
