//! Writers, each on a stream of its own.
//!
//! Believe this: every event that was sent is acknowledged as stored before a count is given, and how long that took is measured from
//! the moment it was sent.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use bellboard_proto::v1::{
    self, append_result::Outcome, content_part::Part, event::Payload, publish_events_request::Frame as Sent,
    publish_events_response::Frame as Answered, session_ref::Ref,
};
use prost::Message as _;
use tokio::task::JoinSet;
use tokio::time::MissedTickBehavior;

use crate::clock;
use crate::error::{Error, Result};
use crate::load::connection::{Connection, Outgoing, Target, Windows};
use crate::load::messages::Messages;

const OPEN_WRITER: &str = "/bellboard.v1.SessionEventsService/OpenWriter";
const PUBLISH: &str = "/bellboard.v1.SessionEventsService/PublishEvents";

/// Bytes of text in an event: with the rest of it about 345, which is what agents' events are most often.
pub(crate) const TEXT_BYTES: usize = 200;

/// Most events that are on their way where nothing else bounds them: below what the hub lets a stream have.
const IN_FLIGHT_MAX: u64 = 1000;

/// How a writer sends.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Pace {
    /// So many events per second, evenly, whatever is acknowledged.
    PerSecond(f64),
    /// One, and the next once it is acknowledged.
    OneByOne,
    /// This many events in batches of this size, as fast as they are taken.
    Batches {
        /// How many in all.
        events: u64,
        /// How many in one frame.
        size: u64,
    },
}

#[derive(Debug, Default)]
struct Shared {
    stop: AtomicBool,
    stored: AtomicU64,
    /// One past the highest offset that was acknowledged.
    tail: AtomicU64,
}

/// Open writers that send nothing yet.
#[derive(Debug)]
pub(crate) struct Writers {
    streams: Vec<Stream>,
    shared: Arc<Shared>,
}

/// Writers that send. Dropped, they are cut.
#[derive(Debug)]
pub(crate) struct Writing {
    tasks: JoinSet<Result<Vec<(Duration, Duration)>>>,
    shared: Arc<Shared>,
}

/// What writers did.
#[derive(Debug)]
pub(crate) struct Written {
    /// When each acknowledgement of one event came, and how long after the event was sent. Only for [`Pace::OneByOne`].
    pub(crate) acknowledgements: Vec<(Duration, Duration)>,
    /// One past the last offset.
    pub(crate) tail: u64,
}

impl Writers {
    /// Opens writers on a few connections, and a session for each with a first event in it.
    pub(crate) async fn open(target: &Target, count: usize, connections: usize) -> Result<Writers> {
        let shared = Arc::new(Shared::default());
        let mut open = Vec::with_capacity(connections);
        for _ in 0..connections {
            open.push(Arc::new(Connection::open(target, Windows::Wide).await?));
        }
        let mut streams = JoinSet::new();
        for (number, connection) in (0..count).zip(open.iter().cycle()) {
            let (connection, shared) = (connection.clone(), shared.clone());
            streams.spawn(async move { Stream::open(connection, number, shared).await });
        }
        let streams = streams.join_all().await.into_iter().collect::<Result<_>>()?;
        Ok(Writers { streams, shared })
    }

    /// Lets all of them send, each at this pace.
    pub(crate) fn start(self, pace: Pace) -> Writing {
        self.shared.stored.store(0, Ordering::Release);
        let mut tasks = JoinSet::new();
        for stream in self.streams {
            tasks.spawn(stream.run(pace));
        }
        Writing {
            tasks,
            shared: self.shared,
        }
    }
}

impl Writing {
    /// Events stored since the start.
    pub(crate) fn stored(&self) -> u64 {
        self.shared.stored.load(Ordering::Acquire)
    }

    /// Ends all writers once everything they sent is acknowledged.
    pub(crate) async fn stop(self) -> Result<Written> {
        self.shared.stop.store(true, Ordering::Release);
        self.finish().await
    }

    /// Waits for writers that end by themselves.
    pub(crate) async fn finish(mut self) -> Result<Written> {
        let mut acknowledgements = Vec::new();
        while let Some(ended) = self.tasks.join_next().await {
            let ended = ended.map_err(|error| Error::Server(format!("a writer broke: {error}")))?;
            acknowledgements.extend(ended?);
        }
        Ok(Written {
            acknowledgements,
            tail: self.shared.tail.load(Ordering::Acquire),
        })
    }
}

/// One writer's stream.
#[derive(Debug)]
struct Stream {
    outgoing: Outgoing,
    messages: Messages,
    /// An event of this writer, put together but for its seq and its time.
    event: v1::EventAppend,
    seq: u64,
    acknowledged: u64,
    shared: Arc<Shared>,
    /// Kept as long as the stream is.
    _connection: Arc<Connection>,
}

impl Stream {
    async fn open(connection: Arc<Connection>, number: usize, shared: Arc<Shared>) -> Result<Stream> {
        let writer_id = format!("bench-{number}");
        let event = event(number);
        let open = v1::OpenWriterRequest {
            writer_id: writer_id.clone(),
            sessions: vec![v1::WriterSession {
                session: event.session.clone(),
                run_active: true,
                life: 1,
            }],
            take_over: false,
            acknowledged_seq: 0,
        };
        let opened = connection.unary(OPEN_WRITER, &open.encode_to_vec()).await?;
        let v1::OpenWriterResponse { fence, last_seq, .. } = v1::OpenWriterResponse::decode(opened)?;
        let open = Sent::Open(v1::PublishOpen { writer_id, fence });
        let (outgoing, answer) = connection.call(PUBLISH, &framed(open)).await?;
        let mut stream = Stream {
            outgoing,
            messages: answer.messages().await?,
            event,
            seq: last_seq,
            acknowledged: last_seq,
            shared,
            _connection: connection,
        };
        stream.send(1)?;
        stream.acknowledged(stream.seq).await?;
        Ok(stream)
    }

    async fn run(mut self, pace: Pace) -> Result<Vec<(Duration, Duration)>> {
        let mut acknowledgements = Vec::new();
        match pace {
            Pace::PerSecond(rate) => self.evenly(rate).await?,
            Pace::OneByOne => {
                while !self.shared.stop.load(Ordering::Acquire) {
                    let sent = clock::now();
                    self.send(1)?;
                    self.acknowledged(self.seq).await?;
                    let now = clock::now();
                    acknowledgements.push((now, now.saturating_sub(sent)));
                }
            }
            Pace::Batches { events, size } => {
                let mut left = events;
                while left > 0 {
                    let batch = left.min(size);
                    left -= batch;
                    self.send(batch)?;
                    self.acknowledged(self.seq.saturating_sub(IN_FLIGHT_MAX - size.min(IN_FLIGHT_MAX)))
                        .await?;
                }
            }
        }
        self.acknowledged(self.seq).await?;
        Ok(acknowledgements)
    }

    async fn evenly(&mut self, rate: f64) -> Result<()> {
        let mut ticks = tokio::time::interval(Duration::from_secs_f64(1.0 / rate));
        // What a late timer left out is sent with the next tick, so that the rate holds.
        ticks.set_missed_tick_behavior(MissedTickBehavior::Burst);
        while !self.shared.stop.load(Ordering::Acquire) {
            tokio::select! {
                _ = ticks.tick() => self.send(1)?,
                message = self.messages.next() => self.take(message?)?,
            }
            if self.seq - self.acknowledged > IN_FLIGHT_MAX {
                return Err(Error::Void(format!("the server does not keep up with {rate} events/s")));
            }
        }
        Ok(())
    }

    fn send(&mut self, events: u64) -> Result<()> {
        let now = clock::now();
        let entries = (0..events).map(|_| {
            self.seq += 1;
            let mut append = self.event.clone();
            append.seq = self.seq;
            if let Some(event) = &mut append.event {
                event.occurred_time = Some(prost_types::Timestamp {
                    seconds: now.as_secs().cast_signed(),
                    nanos: now.subsec_nanos().cast_signed(),
                });
            }
            v1::PublishEntry {
                entry: Some(v1::publish_entry::Entry::Append(append)),
            }
        });
        let batch = v1::PublishBatch {
            entries: entries.collect(),
        };
        self.outgoing.send(&framed(Sent::Batch(batch)))
    }

    /// Waits until everything up to this seq is acknowledged.
    async fn acknowledged(&mut self, seq: u64) -> Result<()> {
        while self.acknowledged < seq {
            let message = self.messages.next().await?;
            self.take(message)?;
        }
        Ok(())
    }

    fn take(&mut self, message: Option<bytes::Bytes>) -> Result<()> {
        let ended = || Error::Server("a writer's stream was ended by the server".to_owned());
        let response = v1::PublishEventsResponse::decode(message.ok_or_else(ended)?)?;
        match response.frame {
            Some(Answered::Acknowledged(v1::PublishAcknowledged { results })) => {
                for result in &results {
                    let Some(Outcome::Stored(stored)) = &result.outcome else {
                        return Err(Error::Void(format!("an append was not stored: {result:?}")));
                    };
                    self.shared.tail.fetch_max(stored.offset + 1, Ordering::AcqRel);
                }
                self.acknowledged += results.len() as u64;
                self.shared.stored.fetch_add(results.len() as u64, Ordering::AcqRel);
                Ok(())
            }
            Some(Answered::Closing(_)) => Err(ended()),
            Some(Answered::Opened(_) | Answered::Heartbeat(_)) | None => Ok(()),
        }
    }
}

fn framed(frame: Sent) -> Vec<u8> {
    v1::PublishEventsRequest { frame: Some(frame) }.encode_to_vec()
}

/// What the writer of this number appends, again and again.
pub(crate) fn event(writer: usize) -> v1::EventAppend {
    let text = v1::LongText {
        text: "x".repeat(TEXT_BYTES),
        ..v1::LongText::default()
    };
    let completed = v1::MessageCompleted {
        role: v1::MessageRole::Agent.into(),
        content: vec![v1::ContentPart {
            part: Some(Part::Text(text)),
        }],
        ..v1::MessageCompleted::default()
    };
    let event = v1::Event {
        item_id: format!("item-{writer}"),
        payload: Some(Payload::MessageCompleted(completed)),
        ..v1::Event::default()
    };
    v1::EventAppend {
        session: Some(v1::SessionRef {
            r#ref: Some(Ref::SessionId(format!("bench-{writer}"))),
        }),
        event: Some(event),
        ..v1::EventAppend::default()
    }
}
