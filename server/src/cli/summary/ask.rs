//! Asks in a few words.

use bellboard_sdk::v1::ask_answer::Answer;
use bellboard_sdk::v1::{AskAnswer, AskContent, AskResolved, AskSubject};

use super::words::{aside, clip, join, long, some, word};

pub(super) fn content(content: Option<&AskContent>) -> String {
    let Some(content) = content else {
        return String::new();
    };
    let kind = word(content.kind().as_str_name(), "ASK_KIND_");
    let AskSubject {
        tool,
        command_line,
        url,
        ..
    } = content.subject.clone().unwrap_or_default();
    let question = content
        .questions
        .first()
        .map(|question| clip(&question.text).to_owned())
        .unwrap_or_default();
    let detail = [question, command_line, url, long(content.detail.as_ref()), tool];
    let detail = detail.into_iter().find(|detail| !detail.is_empty()).unwrap_or_default();
    let kind = if kind.is_empty() { kind } else { format!("{kind}:") };
    let title = if content.title == detail {
        String::new()
    } else {
        content.title.clone()
    };
    join([kind, title, detail])
}

pub(super) fn resolved(resolved: &AskResolved) -> String {
    let Some(resolution) = &resolved.resolution else {
        return String::new();
    };
    let who = if resolution.principal.is_empty() {
        word(resolution.answerer().as_str_name(), "ANSWERER_")
    } else {
        resolution.principal.clone()
    };
    let scope = word(resolution.scope().as_str_name(), "GRANT_SCOPE_");
    let outcome = word(resolution.outcome().as_str_name(), "ASK_OUTCOME_");
    join([
        outcome,
        aside(&scope),
        some("by", &who),
        resolution.answer.as_ref().map(answer).unwrap_or_default(),
    ])
}

fn answer(answer: &AskAnswer) -> String {
    match &answer.answer {
        Some(Answer::Choice(choice)) => join([&choice.option_id, &choice.message]),
        Some(Answer::QuestionAnswers(answers)) => {
            let texts = answers.answers.iter().map(|answer| {
                let chosen = answer.option_ids.join(", ");
                join([&chosen, &answer.text])
            });
            texts.collect::<Vec<_>>().join("; ")
        }
        Some(Answer::FormValues(values)) => clip(values).to_owned(),
        Some(Answer::Decline(decline)) => some("declined:", &decline.message),
        // A later hub's.
        None => String::new(),
    }
}
