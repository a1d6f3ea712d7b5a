//! What opencode says, turned into events and deltas. A state machine without a network, a clock or a file.
//!
//! The one thing to believe: the same facts give the same dedupe keys, whether they come by the stream, twice, or by a
//! sweep after a loss. The events a hub ends up with do not depend on what was missed on the way.

mod ask_content;
mod asks;
mod content;
mod emit;
mod facts;
mod inputs;
mod items;
mod parts;
mod session;
mod sweeps;
mod tools;
mod turn;
mod turns;
mod work;

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::Arc;

use bellboard_proto::v1::Witness;
use bytes::Bytes;
use serde_json::Value;

use self::asks::{Reply, Store};
use self::emit::{Cause, Emit};
use self::facts::Around;
use self::session::Session;
use super::frame::{Frame, text};
use crate::out::Out;
use crate::report::Report;

pub(crate) use self::emit::VENDOR;

/// Most sessions that are remembered. Beyond it those that do nothing and were longest silent are forgotten; when they
/// speak again they are compared with opencode's record, and their dedupe keys hold.
const SESSIONS_MAX: usize = 2_000;

/// How many of opencode's event ids are remembered, to pass over an event's second copy in its `sync` wrapper and in the
/// history.
const SEEN_MAX: usize = 8_192;

/// Deepest chain of parents that is followed.
const DEPTH_MAX: usize = 64;

/// What the map must know beside what opencode says.
#[derive(Debug, Clone)]
pub struct Origin {
    /// The connector's own lasting id.
    pub installation: String,
    /// The machine, as a person knows it. May be empty.
    pub host: String,
    /// The folder of sessions for which opencode tells none.
    pub directory: String,
}

/// The state machine.
#[derive(Debug)]
pub struct Mapper {
    installation: Arc<str>,
    host: Arc<str>,
    directory: String,
    sessions: HashMap<String, Session>,
    seen: HashSet<String>,
    seen_order: VecDeque<String>,
    order: u64,
    report: Report,
}

impl Mapper {
    /// A map that has heard nothing yet.
    #[must_use]
    pub fn new(origin: Origin) -> Mapper {
        let Origin {
            installation,
            host,
            directory,
        } = origin;
        Mapper {
            installation: installation.into(),
            host: host.into(),
            directory,
            sessions: HashMap::new(),
            seen: HashSet::new(),
            seen_order: VecDeque::new(),
            order: 0,
            report: Report::default(),
        }
    }

    /// What was counted.
    #[must_use]
    pub const fn report(&self) -> &Report {
        &self.report
    }

    /// For the tap, which counts what the map cannot see.
    pub(crate) const fn report_mut(&mut self) -> &mut Report {
        &mut self.report
    }

    /// How many live frames were heard. A sweep notes it when it asks, so that its answer never overrides later news.
    #[must_use]
    pub const fn order(&self) -> u64 {
        self.order
    }

    /// The session of this frame, if opencode's record of it must be read before the frame is mapped: it is not known, or
    /// the stream was lost since it was last compared.
    #[must_use]
    pub fn wants_record_of<'a>(&self, frame: &'a Frame) -> Option<&'a str> {
        let session = frame.session();
        let fresh = frame.kind == "session.created" || frame.kind == "session.deleted";
        let known = self
            .sessions
            .get(session)
            .is_some_and(|known| known.facts.opened() && !known.doubtful);
        (!session.is_empty() && !fresh && !known).then_some(session)
    }

    /// Whether a session's facts are known.
    #[must_use]
    pub fn knows(&self, session: &str) -> bool {
        self.sessions.get(session).is_some_and(|known| known.facts.opened())
    }

    /// Maps a live frame; `raw` are its bytes as they came.
    pub fn on_frame(&mut self, frame: &Frame, raw: &Bytes) -> Vec<Out> {
        self.order += 1;
        self.map(frame, Witness::Structured, Some(raw))
    }

    /// Maps a row of the history.
    pub fn on_history(&mut self, row: &Frame) -> Vec<Out> {
        self.map(row, Witness::Derived, None)
    }

    /// The live stream was lost: open texts have no certain length any more, and every session is doubtful.
    pub fn on_stream_lost(&mut self) {
        for session in self.sessions.values_mut() {
            session.stream_lost();
        }
    }

    /// A second has passed: what waited for its last words ends without them.
    pub fn on_tick(&mut self) -> Vec<Out> {
        let cause = Cause {
            kind: "",
            id: "",
            witness: Witness::Derived,
            raw: None,
            order: self.order,
        };
        let mut emit = Emit::new(cause, &mut self.report);
        for session in self.sessions.values_mut() {
            session.tick(&mut emit);
        }
        emit.out
    }

    fn map(&mut self, frame: &Frame, witness: Witness, raw: Option<&Bytes>) -> Vec<Out> {
        if !self.first_time(&frame.id) {
            self.report.repeated += 1;
            return Vec::new();
        }
        let cause = Cause {
            kind: &frame.kind,
            id: &frame.id,
            witness,
            raw,
            order: self.order,
        };
        let native_id = frame.session();
        if native_id.is_empty() {
            return self.sessionless(frame, cause);
        }
        self.make_room(native_id);
        let told = frame
            .properties
            .get("info")
            .filter(|_| frame.kind.starts_with("session."));
        let around = told.map(|info| self.around(info));
        let path = if frame.kind.ends_with(".asked") {
            self.agent_path(native_id)
        } else {
            Vec::new()
        };
        let directory = told
            .map(|info| text(info, "/directory"))
            .filter(|directory| !directory.is_empty());
        let directory = directory.unwrap_or(if frame.directory.is_empty() {
            &self.directory
        } else {
            &frame.directory
        });
        let installation = &self.installation;
        let session = self
            .sessions
            .entry(native_id.to_owned())
            .or_insert_with(|| Session::new(installation.clone(), directory, native_id));
        session.heard(self.order, &frame.directory);
        let mut emit = Emit::new(cause, &mut self.report);
        if session.facts.deleted() {
            emit.report.repeated += 1;
            return emit.out;
        }
        match (told, around) {
            (Some(info), Some(around)) if matches!(frame.kind.as_str(), "session.created" | "session.updated") => {
                session.told(&mut emit, info, around);
            }
            (Some(_) | None, _) => dispatch(session, &mut emit, frame, &path),
        }
        emit.out
    }

    /// Events of no session. Only an edit of a file can be laid at somebody's door.
    fn sessionless(&mut self, frame: &Frame, cause: Cause<'_>) -> Vec<Out> {
        let kind = frame.kind.as_str();
        let mut emit = Emit::new(cause, &mut self.report);
        if matches!(kind, "server.connected" | "server.heartbeat") {
            emit.report.repeated += 1;
            return emit.out;
        }
        let file = text(&frame.properties, "/file");
        let edited = kind == "file.edited"
            && self
                .sessions
                .values_mut()
                .any(|session| session.edited(&mut emit, file));
        if !edited {
            emit.report.count_sessionless(kind);
        }
        emit.out
    }

    fn first_time(&mut self, id: &str) -> bool {
        if id.is_empty() {
            return true;
        }
        if !self.seen.insert(id.to_owned()) {
            return false;
        }
        self.seen_order.push_back(id.to_owned());
        if self.seen_order.len() > SEEN_MAX
            && let Some(oldest) = self.seen_order.pop_front()
        {
            self.seen.remove(&oldest);
        }
        true
    }

    fn around(&self, info: &Value) -> Around {
        let parent = text(info, "/parentID");
        let reference = (!parent.is_empty()).then(|| match self.sessions.get(parent) {
            Some(known) => known.name.reference(),
            // Not heard of yet; opencode keeps a child in its parent's folder.
            None => Session::new(self.installation.clone(), text(info, "/directory"), parent)
                .name
                .reference(),
        });
        Around {
            host: self.host.clone(),
            parent: reference,
        }
    }

    /// The agents from the root's child down to this session.
    fn agent_path(&self, native_id: &str) -> Vec<String> {
        let mut path = Vec::new();
        let mut next = self.sessions.get(native_id);
        while let Some(session) = next.filter(|session| !session.parent.is_empty() && path.len() < DEPTH_MAX) {
            path.push(session.agents().to_owned());
            next = self.sessions.get(&session.parent);
        }
        path.reverse();
        path
    }

    fn make_room(&mut self, native_id: &str) {
        if self.sessions.len() < SESSIONS_MAX || self.sessions.contains_key(native_id) {
            return;
        }
        let idle = self.sessions.iter().filter(|(_, session)| !session.runs());
        let oldest = idle
            .min_by_key(|(_, session)| session.order)
            .or_else(|| self.sessions.iter().min_by_key(|(_, session)| session.order));
        if let Some(oldest) = oldest.map(|(id, _)| id.clone()) {
            self.sessions.remove(&oldest);
        }
    }
}

fn dispatch(session: &mut Session, emit: &mut Emit<'_>, frame: &Frame, agent_path: &[String]) {
    let properties = &frame.properties;
    match frame.kind.as_str() {
        "session.deleted" => session.deleted(emit),
        "session.status" => session.status(emit, &properties["status"]),
        "session.idle" => session.idle(emit),
        "session.error" => session.failed(emit, properties.get("error")),
        "session.diff" => session.diff(emit, properties),
        "todo.updated" => session.plan(emit, properties),
        "message.updated" => session.message(emit, &properties["info"]),
        "message.part.updated" => session.part(emit, &properties["part"]),
        "message.part.delta" => session.fragment(emit, properties),
        "permission.asked" => session.asked(emit, Store::Permissions, properties, agent_path),
        "question.asked" => session.asked(emit, Store::Questions, properties, agent_path),
        "permission.replied" | "question.replied" => session.replied(emit, properties, Reply::Answered),
        "question.rejected" => session.replied(emit, properties, Reply::Rejected),
        // The summary that says so is an event of its own.
        "session.compacted" => emit.report.repeated += 1,
        // The fragments of the second interface, whose ends come as raw events.
        kind if kind.starts_with("session.next.") && kind.ends_with(".delta") => emit.report.deltas_unplaced += 1,
        _ => session.raw(emit),
    }
}
