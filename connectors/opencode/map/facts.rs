//! What opencode says about a session as a whole.
//!
//! The one thing to believe: opencode tells a session anew at every step, so only what differs from what was told before is
//! an event. Which differs is compared by value; the first time a session is seen it is opened with all of it.

use std::sync::Arc;

use bellboard_proto::v1::event::Payload;
use bellboard_proto::v1::{
    HistoryReverted, SessionArchived, SessionConfig, SessionConfigChanged, SessionDeleted, SessionFacts, SessionOpened,
    SessionOrigin, SessionRef, SessionUnarchived, SessionUpdated, Witness, session_ref,
};
use prost::Message as _;
use prost_types::FieldMask;
use serde_json::Value;
use sha2::{Digest, Sha256};

use super::content;
use super::emit::{At, Emit, Name};
use crate::long_text::clipped;
use crate::opencode::frame::{number, text};

/// Longest title that the hub takes, in characters.
const TITLE_CHARACTERS_MAX: usize = 1024;

/// What was told about one session.
#[derive(Debug, Default)]
pub(super) struct Facts {
    opened: bool,
    deleted: bool,
    update_ms: u64,
    facts: SessionFacts,
    config: SessionConfig,
    parent: Option<SessionRef>,
    archive_ms: Option<u64>,
    reverted_to: Option<(String, String)>,
}

/// What stands around a session when its facts are taken in.
#[derive(Debug)]
pub(super) struct Around {
    pub(super) host: Arc<str>,
    pub(super) parent: Option<SessionRef>,
}

impl Facts {
    pub(super) const fn opened(&self) -> bool {
        self.opened
    }

    pub(super) const fn deleted(&self) -> bool {
        self.deleted
    }

    /// When opencode last changed the session, as far as was heard.
    pub(super) const fn update_ms(&self) -> u64 {
        self.update_ms
    }

    pub(super) fn agent(&self) -> &str {
        &self.facts.agent
    }

    /// Takes in a session as opencode tells it.
    pub(super) fn told(&mut self, emit: &mut Emit<'_>, name: &Name, info: &Value, around: Around) {
        let update_ms = number(info, "/time/updated").unwrap_or(0);
        if self.opened && update_ms < self.update_ms {
            emit.report.repeated += 1;
            return;
        }
        self.update_ms = update_ms;
        let before = emit.report.events;
        let facts = facts(name, info, &around.host);
        let config = config(info);
        // Which change it was: opencode's event, or in a list the value at that time.
        let change = if emit.cause.id.is_empty() {
            format!("{update_ms}:{}", digest(&facts, &config))
        } else {
            emit.cause.id.to_owned()
        };
        if self.opened {
            self.changed(emit, name, &facts, around.parent.as_ref(), &change);
        } else {
            self.open(emit, name, info, &facts, around.parent.as_ref());
            // A session found by its listing was opened before with what held then.
            if emit.cause.kind != "session.created" {
                self.tell_all(emit, name, &facts, around.parent.as_ref(), &change);
            }
        }
        if config != self.config && config != SessionConfig::default() {
            let changed = SessionConfigChanged {
                config: Some(config.clone()),
                capabilities: None,
                model_rerouted: false,
            };
            emit.fact(
                name,
                At::default(),
                &format!("config:{change}"),
                Payload::SessionConfigChanged(changed),
            );
        }
        self.facts = facts;
        self.config = config;
        if around.parent.is_some() {
            self.parent = around.parent;
        }
        self.archived(emit, name, info, &change);
        self.reverted(emit, name, info, &change);
        if emit.report.events == before {
            emit.report.repeated += 1;
        }
    }

    /// opencode deleted the session.
    pub(super) fn delete(&mut self, emit: &mut Emit<'_>, name: &Name) {
        if !self.deleted {
            self.deleted = true;
            let deleted = SessionDeleted {
                reason: "deleted in opencode".to_owned(),
            };
            emit.fact(name, At::default(), "session:deleted", Payload::SessionDeleted(deleted));
        }
    }

    fn open(
        &mut self,
        emit: &mut Emit<'_>,
        name: &Name,
        info: &Value,
        facts: &SessionFacts,
        parent: Option<&SessionRef>,
    ) {
        self.opened = true;
        let seen_made = emit.cause.kind == "session.created";
        let origin = match (parent, seen_made) {
            (Some(_), _) => SessionOrigin::Agent,
            (None, true) => SessionOrigin::User,
            (None, false) => SessionOrigin::Discovered,
        };
        let key = name.reference().r#ref.and_then(|reference| match reference {
            session_ref::Ref::Key(key) => Some(key),
            session_ref::Ref::SessionId(_) => None,
        });
        let opened = SessionOpened {
            key,
            facts: Some(facts.clone()),
            config: None,
            capabilities: None,
            origin: origin.into(),
            forked_from_session_id: String::new(),
            parent_session: parent.cloned(),
        };
        let at = At {
            time_ms: number(info, "/time/created"),
            ..At::default()
        };
        if seen_made && emit.cause.witness == Witness::Structured {
            emit.fact(name, at, "session:opened", Payload::SessionOpened(opened));
        } else {
            emit.derived(name, at, "session:opened", Payload::SessionOpened(opened));
        }
    }

    fn tell_all(
        &self,
        emit: &mut Emit<'_>,
        name: &Name,
        facts: &SessionFacts,
        parent: Option<&SessionRef>,
        change: &str,
    ) {
        let updated = SessionUpdated {
            facts: Some(facts.clone()),
            update_mask: None,
            parent_session: parent.cloned(),
        };
        emit.fact(
            name,
            At::default(),
            &format!("facts:{change}"),
            Payload::SessionUpdated(updated),
        );
    }

    fn changed(
        &self,
        emit: &mut Emit<'_>,
        name: &Name,
        facts: &SessionFacts,
        parent: Option<&SessionRef>,
        change: &str,
    ) {
        let pairs = [
            ("title", &self.facts.title, &facts.title),
            ("agent", &self.facts.agent, &facts.agent),
            ("agent_version", &self.facts.agent_version, &facts.agent_version),
            ("cwd", &self.facts.cwd, &facts.cwd),
            ("share_url", &self.facts.share_url, &facts.share_url),
        ];
        let paths: Vec<String> = pairs
            .into_iter()
            .filter(|(_, old, new)| old != new)
            .map(|(field, _, _)| field.to_owned())
            .collect();
        let new_parent = parent.filter(|parent| self.parent.as_ref() != Some(*parent));
        if paths.is_empty() && new_parent.is_none() {
            return;
        }
        let updated = SessionUpdated {
            facts: Some(facts.clone()),
            update_mask: Some(FieldMask { paths }),
            parent_session: new_parent.cloned(),
        };
        emit.fact(
            name,
            At::default(),
            &format!("facts:{change}"),
            Payload::SessionUpdated(updated),
        );
    }

    fn archived(&mut self, emit: &mut Emit<'_>, name: &Name, info: &Value, change: &str) {
        let archive_ms = number(info, "/time/archived").filter(|time_ms| *time_ms > 0);
        if archive_ms == self.archive_ms {
            return;
        }
        let at = At {
            time_ms: archive_ms,
            ..At::default()
        };
        match archive_ms {
            Some(time_ms) => {
                let archived = SessionArchived { reason: String::new() };
                emit.fact(
                    name,
                    at,
                    &format!("archived:{time_ms}"),
                    Payload::SessionArchived(archived),
                );
            }
            None => {
                let unarchived = SessionUnarchived { reason: String::new() };
                emit.fact(
                    name,
                    at,
                    &format!("unarchived:{change}"),
                    Payload::SessionUnarchived(unarchived),
                );
            }
        }
        self.archive_ms = archive_ms;
    }

    fn reverted(&mut self, emit: &mut Emit<'_>, name: &Name, info: &Value, change: &str) {
        let to = info.get("revert").filter(|revert| revert.is_object());
        let to = to.map(|revert| {
            (
                text(revert, "/messageID").to_owned(),
                text(revert, "/partID").to_owned(),
            )
        });
        if to == self.reverted_to {
            return;
        }
        let (message, part) = to.clone().or_else(|| self.reverted_to.take()).unwrap_or_default();
        let reverted = HistoryReverted {
            files_reverted: !text(info, "/revert/snapshot").is_empty(),
            first_reverted_item_id: if part.is_empty() { message } else { part },
            undone: to.is_none(),
        };
        emit.fact(
            name,
            At::default(),
            &format!("revert:{change}"),
            Payload::HistoryReverted(reverted),
        );
        self.reverted_to = to;
    }
}

fn facts(name: &Name, info: &Value, host: &str) -> SessionFacts {
    SessionFacts {
        title: text(info, "/title").chars().take(TITLE_CHARACTERS_MAX).collect(),
        project: name.directory.to_string(),
        agent: clipped(text(info, "/agent"), 256),
        agent_version: clipped(text(info, "/version"), 128),
        host: host.to_owned(),
        cwd: clipped(text(info, "/directory"), 4096),
        share_url: clipped(text(info, "/share/url"), 4096),
        ..SessionFacts::default()
    }
}

fn config(info: &Value) -> SessionConfig {
    SessionConfig {
        model: content::model(&info["model"]),
        mode: clipped(text(info, "/agent"), 256),
        effort: clipped(text(info, "/model/variant"), 128),
        ..SessionConfig::default()
    }
}

/// Tells values apart. The first half of a SHA-256 is plenty for what one session ever was.
fn digest(facts: &SessionFacts, config: &SessionConfig) -> String {
    let mut hash = Sha256::new();
    hash.update(facts.encode_to_vec());
    hash.update(config.encode_to_vec());
    hash.finalize()
        .iter()
        .take(16)
        .map(|byte| format!("{byte:02x}"))
        .collect()
}
