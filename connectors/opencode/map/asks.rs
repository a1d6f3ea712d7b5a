//! What the agent waits for a person to answer: permissions and questions.
//!
//! The one thing to believe: an ask ends once. opencode says nothing of an ask whose turn was stopped, keeps it in its list
//! and answers a late reply to it, so the end of the turn withdraws it here and whatever comes later is not heard.

use std::collections::{BTreeMap, VecDeque};

use bellboard_proto::v1::event::Payload;
use bellboard_proto::v1::{
    Answerable, Answerer, AskAnswer, AskChoice, AskContent, AskDecline, AskKind, AskOpened, AskOption, AskOptionKind,
    AskOutcome, AskQuestion, AskQuestionAnswer, AskQuestionAnswers, AskResolution, AskResolved, AskSubject,
    AskWithdrawReason, AskWithdrawn, FileChange, FileChangeKind, GrantScope, ask_answer,
};
use serde_json::Value;
use sha2::{Digest, Sha256};

use super::emit::{At, Emit, Name};
use crate::long_text::{clipped, json_content, shortened};
use crate::opencode::frame::{list, text};

/// Most asks of one session that are open at once, and most ended ones remembered.
const ASKS_MAX: usize = 256;

/// Most refused asks that a later equal one is compared with.
const REFUSED_MAX: usize = 64;

/// Most questions of one ask, and most options of one question, that are shown.
const CHOICES_MAX: usize = 64;

/// Bytes kept of an edit's diff at either end.
const DIFF_BYTES: usize = 32 * 1024;

/// How many ticks of the clock (one a second) an open ask may be missing from opencode's list before it counts as gone: its
/// reply may still be on its way in the stream.
const MISSING_TICKS: u8 = 3;

/// The two kinds of asks, which opencode keeps in two stores.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Store {
    Permissions,
    Questions,
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

/// Where an ask stands in its session and its tree.
#[derive(Debug, Clone, Copy)]
pub(super) struct Asker<'a> {
    pub(super) turn: &'a str,
    pub(super) item: &'a str,
    pub(super) agent_path: &'a [String],
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
    pub(super) fn replied(&mut self, emit: &mut Emit<'_>, name: &Name, reply: &Value, rejected: bool) {
        let id = text(reply, "/requestID").to_owned();
        if self.has_ended(&id) {
            emit.report.repeated += 1;
            return;
        }
        let open = self.open.remove(&id);
        let resolution = match text(reply, "/reply") {
            "" if rejected => declined(),
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

fn permission(name: &Name, asker: Asker<'_>, request: &Value) -> AskContent {
    let permission = text(request, "/permission");
    let command = text(request, "/metadata/command");
    let file = text(request, "/metadata/filepath");
    let patterns: Vec<&str> = list(request, "/patterns")
        .iter()
        .filter_map(Value::as_str)
        .take(CHOICES_MAX)
        .collect();
    let shown = [command, file]
        .into_iter()
        .find(|text| !text.is_empty())
        .map_or_else(|| patterns.join(", "), str::to_owned);
    let diff = text(request, "/metadata/diff");
    let change = FileChange {
        path: clipped(file, 4096),
        kind: FileChangeKind::Unspecified.into(),
        diff: (!diff.is_empty()).then(|| shortened(diff, DIFF_BYTES, DIFF_BYTES)),
        ..FileChange::default()
    };
    AskContent {
        kind: AskKind::Permission.into(),
        title: clipped(
            &format!("{permission}: {}", shown.lines().next().unwrap_or_default()),
            512,
        ),
        subject: Some(AskSubject {
            item_id: asker.item.to_owned(),
            tool: clipped(permission, 256),
            command_line: clipped(command, 32 * 1024),
            cwd: name.directory.to_string(),
            files: if file.is_empty() { Vec::new() } else { vec![change] },
            url: clipped(text(request, "/metadata/url"), 4096),
            // An edit's metadata is its diff, which is told above.
            input: request.get("metadata").filter(|_| diff.is_empty()).map(json_content),
        }),
        options: permission_options(request),
        answerable: Answerable::LocalOnly.into(),
        ..AskContent::default()
    }
}

fn permission_options(request: &Value) -> Vec<AskOption> {
    let rules: Vec<&str> = list(request, "/always")
        .iter()
        .filter_map(Value::as_str)
        .take(CHOICES_MAX)
        .collect();
    let option = |id: &str, label: &str, kind: AskOptionKind, scope: GrantScope, rule: &str| AskOption {
        option_id: id.to_owned(),
        label: label.to_owned(),
        kind: kind.into(),
        scope: scope.into(),
        rule: clipped(rule, 4096),
    };
    vec![
        option("once", "Allow once", AskOptionKind::Allow, GrantScope::Once, ""),
        option(
            "always",
            "Allow always",
            AskOptionKind::Allow,
            GrantScope::Project,
            &rules.join(", "),
        ),
        option("reject", "Reject", AskOptionKind::DenyAndStop, GrantScope::Once, ""),
    ]
}

fn questions(name: &Name, asker: Asker<'_>, request: &Value) -> AskContent {
    let asked: Vec<AskQuestion> = list(request, "/questions")
        .iter()
        .take(CHOICES_MAX)
        .enumerate()
        .map(question)
        .collect();
    AskContent {
        kind: AskKind::Question.into(),
        title: asked
            .first()
            .map(|question| clipped(&question.text, 512))
            .unwrap_or_default(),
        subject: Some(AskSubject {
            item_id: asker.item.to_owned(),
            tool: "question".to_owned(),
            cwd: name.directory.to_string(),
            ..AskSubject::default()
        }),
        questions: asked,
        answerable: Answerable::LocalOnly.into(),
        ..AskContent::default()
    }
}

fn question((number, asked): (usize, &Value)) -> AskQuestion {
    let flag = |field: &str| asked.get(field).and_then(Value::as_bool);
    let option = |told: &Value| {
        let label = clipped(text(told, "/label"), 512);
        AskOption {
            option_id: label.clone(),
            label,
            kind: AskOptionKind::Answer.into(),
            ..AskOption::default()
        }
    };
    AskQuestion {
        question_id: number.to_string(),
        heading: clipped(text(asked, "/header"), 256),
        text: clipped(text(asked, "/question"), 4 * 1024),
        options: list(asked, "/options").iter().take(CHOICES_MAX).map(option).collect(),
        multiple: flag("multiple").unwrap_or(false),
        // opencode takes an answer of one's own unless the question says otherwise.
        free_text: flag("custom").unwrap_or(true),
    }
}

fn resolution(outcome: AskOutcome, answer: ask_answer::Answer, scope: GrantScope) -> AskResolution {
    AskResolution {
        outcome: outcome.into(),
        answer: Some(AskAnswer { answer: Some(answer) }),
        answerer: Answerer::Local.into(),
        principal: String::new(),
        scope: scope.into(),
        vendor_acknowledged: true,
        resolve_time: None,
    }
}

fn permitted(word: &str) -> AskResolution {
    let (outcome, scope) = match word {
        "once" => (AskOutcome::Allowed, GrantScope::Once),
        "always" => (AskOutcome::Allowed, GrantScope::Project),
        "reject" => (AskOutcome::Denied, GrantScope::Once),
        _ => (AskOutcome::Unknown, GrantScope::Unspecified),
    };
    let choice = AskChoice {
        option_id: clipped(word, 128),
        ..AskChoice::default()
    };
    resolution(outcome, ask_answer::Answer::Choice(choice), scope)
}

fn declined() -> AskResolution {
    resolution(
        AskOutcome::Cancelled,
        ask_answer::Answer::Decline(AskDecline::default()),
        GrantScope::Unspecified,
    )
}

fn answered(reply: &Value, labels: &[Vec<String>]) -> AskResolution {
    let answer = |(number, told): (usize, &Value)| {
        let words = list(told, "")
            .iter()
            .filter_map(Value::as_str)
            .take(CHOICES_MAX)
            .map(|word| clipped(word, 4 * 1024));
        let (option_ids, own): (Vec<String>, Vec<String>) =
            words.partition(|word| labels.get(number).is_none_or(|known| known.contains(word)));
        AskQuestionAnswer {
            question_id: number.to_string(),
            option_ids,
            text: own.join("\n"),
        }
    };
    let answers = list(reply, "/answers")
        .iter()
        .take(CHOICES_MAX)
        .enumerate()
        .map(answer)
        .collect();
    let answer = ask_answer::Answer::QuestionAnswers(AskQuestionAnswers { answers });
    resolution(AskOutcome::Answered, answer, GrantScope::Unspecified)
}

/// Identifies what is asked: equal for an equal request in the same folder, on the same machine, by the same agent.
fn digest(name: &Name, asker: Asker<'_>, request: &Value) -> Vec<u8> {
    let mut hash = Sha256::new();
    let mut add = |part: &str| {
        hash.update((part.len() as u64).to_le_bytes());
        hash.update(part.as_bytes());
    };
    for field in ["permission", "patterns", "metadata", "questions"] {
        add(&request.get(field).map(Value::to_string).unwrap_or_default());
    }
    add(&name.directory);
    add(&name.installation);
    for agent in asker.agent_path {
        add(agent);
    }
    hash.finalize().to_vec()
}
