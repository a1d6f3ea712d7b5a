//! Permissions and questions, and the answers to them, in the contract's words.
//!
//! The one thing to believe: an ask's digest is made of what is asked, where and by whom, and of nothing that differs when
//! the same is asked again.

use bellboard_proto::v1::{
    Answerable, Answerer, AskAnswer, AskChoice, AskContent, AskDecline, AskKind, AskOption, AskOptionKind, AskOutcome,
    AskQuestion, AskQuestionAnswer, AskQuestionAnswers, AskResolution, AskSubject, FileChange, FileChangeKind,
    GrantScope, ask_answer,
};
use serde_json::Value;
use sha2::{Digest, Sha256};

use super::emit::Name;
use crate::long_text::{clipped, json_content, shortened};
use crate::opencode::frame::{list, text};

/// Most questions of one ask, and most options of one question, that are shown.
const CHOICES_MAX: usize = 64;

/// Bytes kept of an edit's diff at either end.
const DIFF_BYTES: usize = 32 * 1024;

/// Where an ask stands in its session and its tree.
#[derive(Debug, Clone, Copy)]
pub(super) struct Asker<'a> {
    pub(super) turn: &'a str,
    pub(super) item: &'a str,
    pub(super) agent_path: &'a [String],
}

/// A permission to run a tool.
pub(super) fn permission(name: &Name, asker: Asker<'_>, request: &Value) -> AskContent {
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

/// Questions to a person.
pub(super) fn questions(name: &Name, asker: Asker<'_>, request: &Value) -> AskContent {
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

/// The answer to a permission, in opencode's word.
pub(super) fn permitted(word: &str) -> AskResolution {
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

/// Questions that were dismissed.
pub(super) fn declined() -> AskResolution {
    resolution(
        AskOutcome::Cancelled,
        ask_answer::Answer::Decline(AskDecline::default()),
        GrantScope::Unspecified,
    )
}

/// The answers to questions, whose options have these labels.
pub(super) fn answered(reply: &Value, labels: &[Vec<String>]) -> AskResolution {
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
pub(super) fn digest(name: &Name, asker: Asker<'_>, request: &Value) -> Vec<u8> {
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
