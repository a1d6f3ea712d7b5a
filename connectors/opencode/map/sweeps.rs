//! What opencode's lists say, compared with what was heard. Whatever is missing is said as `derived`.
//!
//! The one thing to believe: a list tells how things stood when it was asked for. Each answer comes with the number of live
//! frames heard at that time, and never overrides what the stream said later.

use std::collections::HashMap;

use bellboard_proto::v1::Witness;
use serde_json::Value;

use super::Mapper;
use super::asks::Store;
use super::emit::{Cause, Emit};
use super::session::{Session, messages};
use crate::opencode::frame::{list, number, text};
use crate::out::Out;

/// What a sweep's events say their kind at the vendor was: the list that told it.
const SESSIONS: &str = "GET /session";
const MESSAGES: &str = "GET /session/{id}/message";
const HISTORY: &str = "POST /sync/history";
const STATUS: &str = "GET /session/status";
const PERMISSIONS: &str = "GET /permission";
const QUESTIONS: &str = "GET /question";

impl Mapper {
    /// Takes in one session as opencode's list has it. A parent that is told first keeps its children's place.
    pub fn on_session(&mut self, info: &Value) -> Vec<Out> {
        let id = text(info, "/id");
        if id.is_empty() {
            return Vec::new();
        }
        self.make_room(id);
        let around = self.around(info);
        let directory = text(info, "/directory");
        let directory = if directory.is_empty() {
            &self.directory
        } else {
            directory
        };
        let installation = &self.installation;
        let session = self
            .sessions
            .entry(id.to_owned())
            .or_insert_with(|| Session::new(installation.clone(), directory, id));
        let mut emit = Emit::new(sweep(SESSIONS, self.order), &mut self.report);
        if !session.facts.deleted() {
            session.told(&mut emit, info, around);
        }
        emit.out
    }

    /// Takes in a session's messages with their parts, oldest first. Afterwards the session is no longer doubtful.
    pub fn on_messages(&mut self, session: &str, record: &Value) -> Vec<Out> {
        let Some(known) = self.sessions.get_mut(session) else {
            return Vec::new();
        };
        let mut emit = Emit::new(sweep(MESSAGES, self.order), &mut self.report);
        if !known.facts.deleted() {
            for (info, parts) in messages(record) {
                known.recorded(&mut emit, info, parts);
            }
            known.record_ended(&mut emit);
        }
        emit.out
    }

    /// A session's history was told to its end. Afterwards the session is no longer doubtful.
    pub fn on_history_end(&mut self, session: &str) -> Vec<Out> {
        let mut emit = Emit::new(sweep(HISTORY, self.order), &mut self.report);
        if let Some(known) = self.sessions.get_mut(session) {
            known.record_ended(&mut emit);
        }
        emit.out
    }

    /// Takes in what runs in a folder. A session of it that is not listed does not run.
    pub fn on_status(&mut self, directory: &str, statuses: &Value, asked_order: u64) -> Vec<Out> {
        let mut emit = Emit::new(sweep(STATUS, self.order), &mut self.report);
        let mut ids: Vec<&String> = self.sessions.keys().collect();
        ids.sort();
        for id in ids.into_iter().cloned().collect::<Vec<_>>() {
            if let Some(session) = self.sessions.get_mut(&id) {
                let status = statuses.get(&id);
                // opencode may list a session that was made in another folder of the same project.
                if status.is_some() || session.instance() == directory {
                    session.listed(&mut emit, status, asked_order);
                }
            }
        }
        emit.out
    }

    /// Takes in the permissions that are asked for in a folder.
    pub fn on_permissions(&mut self, directory: &str, requests: &Value, asked_order: u64) -> Vec<Out> {
        self.on_asks(PERMISSIONS, Store::Permissions, directory, requests, asked_order)
    }

    /// Takes in the questions that are asked in a folder.
    pub fn on_questions(&mut self, directory: &str, requests: &Value, asked_order: u64) -> Vec<Out> {
        self.on_asks(QUESTIONS, Store::Questions, directory, requests, asked_order)
    }

    /// The folders of sessions that run, as far as is known: there something may wait for an answer.
    #[must_use]
    pub fn running_directories(&self) -> Vec<String> {
        let mut directories: Vec<String> = self
            .sessions
            .values()
            .filter(|session| session.runs())
            .map(|session| session.instance().to_owned())
            .collect();
        directories.sort();
        directories.dedup();
        directories
    }

    /// Whether a listed session's record has to be read: it is new, it changed since it was heard of, or it ran when the
    /// stream was lost.
    #[must_use]
    pub fn wants_listed(&self, info: &Value) -> bool {
        let update_ms = number(info, "/time/updated").unwrap_or(0);
        self.sessions.get(text(info, "/id")).is_none_or(|known| {
            !known.facts.opened() || known.facts.update_ms() < update_ms || (known.doubtful && known.runs())
        })
    }

    fn on_asks(
        &mut self,
        kind: &'static str,
        store: Store,
        directory: &str,
        requests: &Value,
        asked_order: u64,
    ) -> Vec<Out> {
        let mut by_session: HashMap<&str, Vec<&Value>> = HashMap::new();
        for request in list(requests, "") {
            by_session.entry(text(request, "/sessionID")).or_default().push(request);
        }
        let mut ids: Vec<String> = self.sessions.keys().cloned().collect();
        ids.sort();
        let mut out = Vec::new();
        for id in ids {
            let path = self.agent_path(&id);
            let Some(session) = self.sessions.get_mut(&id) else {
                continue;
            };
            let requests = by_session.get(id.as_str()).map(Vec::as_slice);
            if requests.is_none() && session.instance() != directory {
                continue;
            }
            let mut emit = Emit::new(sweep(kind, self.order), &mut self.report);
            session.asks_listed(&mut emit, store, requests.unwrap_or_default(), &path, asked_order);
            out.append(&mut emit.out);
        }
        out
    }
}

fn sweep(kind: &'static str, order: u64) -> Cause<'static> {
    Cause {
        kind,
        id: "",
        witness: Witness::Derived,
        raw: None,
        order,
    }
}
