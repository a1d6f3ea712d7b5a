//! Follows a running opencode: its live stream, and the lists that tell what the stream does not.
//!
//! The one thing to believe: the stream's first events are lost now and then, so the lists are read once it lives, beside it;
//! and a session that may have said something unheard is compared with its record before its next word is mapped.

use std::collections::HashSet;
use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

use bytes::Bytes;
use futures_util::StreamExt as _;
use serde_json::Value;
use tracing::{debug, info};

use super::answer::{Answer, Told, ask, messages};
use super::api::{self, Api};
use super::frame::{Frame, text};
use super::map::Mapper;
use super::places::{Places, Seen};
use super::reconcile::{Read, Sweeps};
use super::sse::Sse;
use crate::out::{Out, Sink, SinkError};
use crate::presence::Presence;
use crate::report::Report;
use bellboard_sdk::{Backoff, RetryPolicy};

/// Ticks (one a second) without a byte after which the stream counts as dead. opencode's heartbeat comes every ten seconds.
const SILENT_TICKS: u32 = 35;

/// Ticks between two lines of the log that tell the counters.
const REPORT_TICKS: u64 = 300;

/// Ticks after which a session whose record could not be read is tried again.
const UNREADABLE_TICKS: u64 = 30;

/// Most sessions whose record could not be read that are remembered.
const UNREADABLE_MAX: usize = 1_000;

/// Deepest chain of parents whose sessions are read before a child's.
const PARENTS_MAX: usize = 16;

/// What the tap does not decide itself.
#[derive(Debug, Clone)]
pub(super) struct Settings {
    /// How to dial again.
    pub(super) retry: RetryPolicy,
    /// How long a tick is.
    pub(super) tick: Duration,
}

type Job = Pin<Box<dyn Future<Output = Answer> + Send>>;

/// Why a connection ended.
enum Lost {
    /// The stream; it is dialled again.
    Stream(&'static str),
    /// The sink; nothing is.
    Sink(SinkError),
}

impl From<SinkError> for Lost {
    fn from(error: SinkError) -> Self {
        Lost::Sink(error)
    }
}

/// One opencode server, followed.
pub(super) struct Tap<S> {
    api: Api,
    settings: Settings,
    pub(super) sink: S,
    mapper: Mapper,
    presence: Presence,
    places: Places,
    sweeps: Sweeps,
    /// Sessions whose record could not be read. Cleared every [`UNREADABLE_TICKS`].
    unreadable: HashSet<String>,
    ticks: u64,
}

impl<S: Sink> Tap<S> {
    pub(super) fn new(api: Api, settings: Settings, mapper: Mapper, presence: Presence, sink: S) -> Tap<S> {
        Tap {
            api,
            settings,
            sink,
            mapper,
            presence,
            places: Places::default(),
            sweeps: Sweeps::default(),
            unreadable: HashSet::new(),
            ticks: 0,
        }
    }

    pub(super) const fn report(&self) -> &Report {
        self.mapper.report()
    }

    /// Follows until the sink is closed, the server refuses the password, or the retry policy gives up. Dropping the future
    /// ends it at any time; what was mapped and not yet taken by the sink is found again by the next run.
    pub(super) async fn follow(&mut self) -> Result<(), super::Error> {
        let mut backoff = Backoff::new(self.settings.retry.clone());
        loop {
            let failure = match self.connection(&mut backoff).await {
                Ok(Lost::Sink(error)) => return Err(super::Error::Sink(error)),
                Ok(Lost::Stream(why)) => {
                    info!(why, "opencode's stream was lost");
                    self.mapper.on_stream_lost();
                    self.mapper.report_mut().reconnects += 1;
                    self.leave(&format!("opencode's stream was lost: {why}"))
                        .await
                        .map_err(super::Error::Sink)?;
                    None
                }
                Err(error @ (api::Error::Password | api::Error::Address(_))) => {
                    return Err(super::Error::Refused(error));
                }
                Err(error) => {
                    debug!(%error, "opencode is not there");
                    Some(error)
                }
            };
            let Some(delay) = backoff.next_delay(None) else {
                return Err(failure.map_or(super::Error::Lost, super::Error::Refused));
            };
            tokio::time::sleep(delay).await;
        }
    }

    /// Says that opencode is followed no longer, if it was.
    pub(super) async fn leave(&mut self, why: &str) -> Result<(), SinkError> {
        match self.presence.left(why) {
            Some(offline) => self.sink.append(offline).await,
            None => Ok(()),
        }
    }

    /// One connection. An error is one that came before the stream lived.
    async fn connection(&mut self, backoff: &mut Backoff) -> Result<Lost, api::Error> {
        let stream = self.api.stream().await?;
        let mut stream = std::pin::pin!(stream);
        let mut sse = Sse::default();
        let mut ticker = tokio::time::interval(self.settings.tick);
        ticker.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let (mut job, mut silent, mut live): (Option<Job>, u32, bool) = (None, 0, false);
        loop {
            if job.is_none() && live {
                job = self.next_job();
            }
            tokio::select! {
                chunk = stream.next() => {
                    silent = 0;
                    let Some(Ok(chunk)) = chunk else {
                        return Ok(Lost::Stream("it ended"));
                    };
                    if sse.push(&chunk).is_err() {
                        return Ok(Lost::Stream("a frame is too long"));
                    }
                    while let Some(data) = sse.next() {
                        if !live {
                            live = true;
                            backoff.reset();
                            info!("following opencode");
                            self.sweeps.begin();
                            if let Some(online) = self.presence.came()
                                && let Err(error) = self.sink.append(online).await
                            {
                                return Ok(Lost::Sink(error));
                            }
                        }
                        if let Err(lost) = self.heard(data).await {
                            return Ok(lost);
                        }
                    }
                }
                answer = finished(&mut job) => {
                    job = None;
                    if let Err(lost) = self.answered(answer).await {
                        return Ok(lost);
                    }
                }
                _ = ticker.tick() => {
                    silent += 1;
                    if silent > SILENT_TICKS {
                        return Ok(Lost::Stream("it fell silent"));
                    }
                    if let Err(lost) = self.ticked().await {
                        return Ok(lost);
                    }
                }
            }
        }
    }

    /// A frame of the live stream.
    async fn heard(&mut self, data: Bytes) -> Result<(), Lost> {
        let Some(frame) = Frame::parse(&data) else {
            self.mapper.report_mut().malformed += 1;
            return Ok(());
        };
        self.sweeps.lives(&frame.directory);
        let wanted = self.mapper.wants_record_of(&frame).map(str::to_owned);
        let gap = frame
            .place
            .as_ref()
            .is_some_and(|place| self.places.saw(place) == Seen::Gap);
        if gap {
            self.mapper.report_mut().gaps += 1;
        }
        let wanted = wanted.or_else(|| {
            frame
                .place
                .as_ref()
                .filter(|_| gap)
                .map(|place| place.aggregate.clone())
        });
        // A message's parent is a message.
        let parent = if frame.kind.starts_with("session.") {
            text(&frame.properties, "/info/parentID")
        } else {
            ""
        };
        let parent = (!parent.is_empty() && !self.mapper.knows(parent)).then(|| parent.to_owned());
        for session in [parent, wanted].into_iter().flatten() {
            if !self.unreadable.contains(&session) {
                self.compare(&session).await?;
            }
        }
        if let Some(place) = frame.place.as_ref().filter(|_| gap) {
            self.places.reached(place);
        }
        let out = self.mapper.on_frame(&frame, &data);
        if frame.kind == "session.created" {
            self.places.exists(frame.session());
        }
        self.publish(out).await
    }

    /// Reads a session's record now, its parents' first, and maps what is new in it.
    async fn compare(&mut self, session: &str) -> Result<(), Lost> {
        let mut chain = vec![session.to_owned()];
        while let Some(parent) = self.unknown_parent(chain.last().map_or("", String::as_str)).await {
            if chain.len() >= PARENTS_MAX || chain.contains(&parent) {
                break;
            }
            chain.push(parent);
        }
        for session in chain.into_iter().rev() {
            let read = Read::Record(session);
            let request = self.history_request(&read);
            let answer = ask(self.api.clone(), read, request, self.mapper.order()).await;
            self.answered(answer).await?;
        }
        Ok(())
    }

    /// The parent of a session that is not known, if that is not known either.
    async fn unknown_parent(&self, session: &str) -> Option<String> {
        if session.is_empty() || self.mapper.knows(session) {
            return None;
        }
        let info = self.api.session(session).await.ok()?;
        let parent = text(&info, "/parentID");
        (!parent.is_empty() && !self.mapper.knows(parent)).then(|| parent.to_owned())
    }

    fn next_job(&mut self) -> Option<Job> {
        loop {
            let read = self.sweeps.next()?;
            if read == Read::Lists {
                self.sweeps.lists(self.mapper.running_directories());
                continue;
            }
            let request = self.history_request(&read);
            return Some(Box::pin(ask(self.api.clone(), read, request, self.mapper.order())));
        }
    }

    fn history_request(&self, read: &Read) -> Value {
        match read {
            Read::Record(session) => self.places.history_request(session),
            Read::Home | Read::Sessions | Read::Lists | Read::Status(_) | Read::Permissions(_) | Read::Questions(_) => {
                Value::Null
            }
        }
    }

    async fn answered(&mut self, answer: Answer) -> Result<(), Lost> {
        let Answer {
            read,
            asked_order,
            told,
        } = answer;
        let told = match told {
            Ok(told) => told,
            Err(error) => {
                self.failed(&read, &error);
                return Ok(());
            }
        };
        let out = match (read, told) {
            (Read::Home, Told::List(home)) => {
                self.sweeps.lives(text(&home, "/directory"));
                Vec::new()
            }
            (Read::Sessions, Told::List(listed)) => {
                self.listed(&listed);
                Vec::new()
            }
            (Read::Record(session), Told::History(rows)) => return self.history(&session, &rows).await,
            (Read::Record(session), Told::Messages { info, messages }) => {
                self.places.swept(&session);
                let mut out = self.mapper.on_session(&info);
                out.extend(self.mapper.on_messages(&session, &messages));
                out
            }
            (Read::Status(directory), Told::List(list)) => self.mapper.on_status(&directory, &list, asked_order),
            (Read::Permissions(directory), Told::List(list)) => {
                self.mapper.on_permissions(&directory, &list, asked_order)
            }
            (Read::Questions(directory), Told::List(list)) => self.mapper.on_questions(&directory, &list, asked_order),
            (_, Told::List(_) | Told::History(_) | Told::Messages { .. }) => Vec::new(),
        };
        self.publish(out).await
    }

    fn listed(&mut self, listed: &Value) {
        for session in listed.as_array().map(Vec::as_slice).unwrap_or_default() {
            self.places.exists(text(session, "/id"));
        }
        let wanted = Sweeps::wanted(
            listed,
            |info| self.mapper.wants_listed(info),
            |session| self.mapper.knows(session),
        );
        self.sweeps.records(wanted);
    }

    /// Maps a session's history. One that does not begin with the session's making is followed by what the session is now.
    async fn history(&mut self, session: &str, rows: &Value) -> Result<(), Lost> {
        let rows = self.places.history(session, rows);
        for row in &rows {
            let out = self.mapper.on_history(row);
            self.publish(out).await?;
        }
        if self.mapper.knows(session) {
            let out = self.mapper.on_history_end(session);
            return self.publish(out).await;
        }
        match messages(&self.api, session).await {
            Ok(Told::Messages { info, messages }) => {
                let mut out = self.mapper.on_session(&info);
                out.extend(self.mapper.on_messages(session, &messages));
                self.publish(out).await
            }
            Ok(Told::List(_) | Told::History(_)) => Ok(()),
            Err(error) => {
                self.failed(&Read::Record(session.to_owned()), &error);
                Ok(())
            }
        }
    }

    fn failed(&mut self, read: &Read, error: &api::Error) {
        self.mapper.report_mut().sweep_failures += 1;
        debug!(?read, %error, "opencode did not tell");
        if let Read::Record(session) = read {
            if self.unreadable.len() >= UNREADABLE_MAX {
                self.unreadable.clear();
            }
            self.unreadable.insert(session.clone());
        }
    }

    async fn ticked(&mut self) -> Result<(), Lost> {
        self.ticks += 1;
        if self.ticks.is_multiple_of(UNREADABLE_TICKS) {
            self.unreadable.clear();
        }
        if self.ticks.is_multiple_of(REPORT_TICKS) {
            self.report().log();
        }
        self.sweeps.tick(self.mapper.running_directories());
        let out = self.mapper.on_tick();
        self.publish(out).await
    }

    async fn publish(&mut self, out: Vec<Out>) -> Result<(), Lost> {
        for out in out {
            match out {
                Out::Event(event) => self.sink.append(*event).await?,
                Out::Delta(delta) => self.sink.delta(*delta),
            }
        }
        Ok(())
    }
}

/// Resolves with the job's answer; never, while there is none. Cancel safe: the job goes on where it was.
async fn finished(job: &mut Option<Job>) -> Answer {
    match job {
        Some(job) => job.as_mut().await,
        None => std::future::pending().await,
    }
}
