//! What the agent waits for a person to answer: permissions and questions.
//!
//! The one thing to believe: an ask ends once. opencode says nothing of an ask whose turn was stopped, keeps it in its list
//! and answers a late reply to it, so the end of the turn withdraws it here and whatever comes later is not heard.

use std::collections::{BTreeMap, VecDeque};

use bellboard_proto::v1::event::Payload;
use bellboard_proto::v1::{AskOpened, AskOutcome, AskResolved, AskWithdrawReason, AskWithdrawn};
use serde_json::Value;

use super::ask_content::{Asker, answered, declined, digest, permission, permitted, questions};
use super::emit::{At, Emit, Name};
use crate::opencode::frame::text;

/// Most asks of one session that are open at once, and most ended ones remembered.
const ASKS_MAX: usize = 256;

/// Most refused asks that a later equal one is compared with.
const REFUSED_MAX: usize = 64;

/// How many ticks of the clock (one a second) an open ask may be missing from opencode's list before it counts as gone: its
/// reply may still be on its way in the stream.
const MISSING_TICKS: u8 = 3;

/// The two kinds of asks, which opencode keeps in two stores.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Store {
    Permissions,
    Questions,
}

/// How an ask was replied to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Reply {
    Answered,
    Rejected,
}

/// The asks of one session.
#[derive(Debug, Default)]
pub(super) struct Asks {
    open: BTreeMap<String, Open>,
    ended: VecDeque<String>,
    refused: VecDeque<(Vec<u8>, String)>,
}

#[derive(Debug)]
struct Open {
    store: Store,
    turn: String,
    item: String,
    digest: Vec<u8>,
    /// The labels of each question.
    labels: Vec<Vec<String>>,
    /// When it was last heard of in the stream.
    order: u64,
    /// Ticks since it was missing from the list.
    missing: Option<u8>,
}

impl Asks {
    /// Takes in a request as the stream or the list tells it.
    pub(super) fn opened(&mut self, emit: &mut Emit<'_>, name: &Name, asker: Asker<'_>, store: Store, request: &Value) {
        let id = text(request, "/id").to_owned();
        if let Some(open) = self.open.get_mut(&id) {
            open.missing = None;
            emit.report.repeated += 1;
            return;
        }
        if self.has_ended(&id) || self.open.len() >= ASKS_MAX {
            emit.report.repeated += 1;
            return;
        }
        let content = match store {
            Store::Permissions => permission(name, asker, request),
            Store::Questions => questions(name, asker, request),
        };
        let digest = digest(name, asker, request);
        let repeat_of = self
            .refused
            .iter()
            .rev()
            .find(|(refused, _)| *refused == digest)
            .map(|(_, ask)| ask.clone());
        let labels = content
            .questions
            .iter()
            .map(|question| question.options.iter().map(|option| option.label.clone()).collect());
        let open = Open {
            store,
            turn: asker.turn.to_owned(),
            item: asker.item.to_owned(),
            digest: digest.clone(),
            labels: labels.collect(),
            order: emit.cause.order,
            missing: None,
        };
        self.open.insert(id.clone(), open);
        let opened = AskOpened {
            content: Some(content),
            digest: digest.into(),
            repeat_of_ask_id: repeat_of.unwrap_or_default(),
            agent_path: asker.agent_path.to_vec(),
        };
        let at = At {
            turn: asker.turn,
            item: asker.item,
            ask: &id,
            time_ms: None,
        };
        emit.fact(name, at, &format!("ask:{id}:opened"), Payload::AskOpened(opened));
    }

    /// Takes in a reply.
    pub(super) fn replied(&mut self, emit: &mut Emit<'_>, name: &Name, reply: &Value, told: Reply) {
        let id = text(reply, "/requestID").to_owned();
        if self.has_ended(&id) {
            emit.report.repeated += 1;
            return;
        }
        let open = self.open.remove(&id);
        let resolution = match text(reply, "/reply") {
            "" if told == Reply::Rejected => declined(),
            "" => answered(reply, open.as_ref().map_or(&[], |open| &open.labels)),
            word => permitted(word),
        };
        if let Some(open) = open.as_ref().filter(|_| resolution.outcome() == AskOutcome::Denied) {
            if self.refused.len() >= REFUSED_MAX {
                self.refused.pop_front();
            }
            self.refused.push_back((open.digest.clone(), id.clone()));
        }
        let (turn, item) = open
            .as_ref()
            .map_or(("", ""), |open| (open.turn.as_str(), open.item.as_str()));
        let at = At {
            turn,
            item,
            ask: &id,
            time_ms: None,
        };
        emit.fact(
            name,
            at,
            &format!("ask:{id}:ended"),
            Payload::AskResolved(AskResolved {
                resolution: Some(resolution),
            }),
        );
        self.remember(id);
    }

    /// Nobody waits for an answer any more.
    pub(super) fn withdraw_all(&mut self, emit: &mut Emit<'_>, name: &Name, reason: AskWithdrawReason) {
        for (id, open) in std::mem::take(&mut self.open) {
            withdrawn(emit, name, &id, &open, reason);
            self.remember(id);
        }
    }

    /// Compares with opencode's list, which was asked for after `asked_order` live frames.
    pub(super) fn listed(&mut self, store: Store, ids: &[&str], asked_order: u64) {
        for (id, open) in self
            .open
            .iter_mut()
            .filter(|(_, open)| open.store == store && open.order <= asked_order)
        {
            if ids.contains(&id.as_str()) {
                open.missing = None;
            } else {
                open.missing.get_or_insert(0);
            }
        }
    }

    /// A second has passed: what stayed missing from the list was answered where nobody told how.
    pub(super) fn tick(&mut self, emit: &mut Emit<'_>, name: &Name) {
        let mut gone = Vec::new();
        for (id, open) in &mut self.open {
            if let Some(ticks) = open.missing.as_mut() {
                *ticks += 1;
                if *ticks >= MISSING_TICKS {
                    gone.push(id.clone());
                }
            }
        }
        for id in gone {
            if let Some(open) = self.open.remove(&id) {
                withdrawn(emit, name, &id, &open, AskWithdrawReason::AnsweredElsewhere);
                self.remember(id);
            }
        }
    }

    fn has_ended(&self, id: &str) -> bool {
        self.ended.iter().any(|ended| ended == id)
    }

    fn remember(&mut self, id: String) {
        if self.ended.len() >= ASKS_MAX {
            self.ended.pop_front();
        }
        self.ended.push_back(id);
    }
}

fn withdrawn(emit: &mut Emit<'_>, name: &Name, id: &str, open: &Open, reason: AskWithdrawReason) {
    let at = At {
        turn: &open.turn,
        item: &open.item,
        ask: id,
        time_ms: None,
    };
    emit.derived(
        name,
        at,
        &format!("ask:{id}:ended"),
        Payload::AskWithdrawn(AskWithdrawn { reason: reason.into() }),
    );
}
