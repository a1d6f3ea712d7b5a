//! Attention and commands in a few words: what the hub writes about people.

use bellboard_sdk::v1::command::Action;
use bellboard_sdk::v1::{AttentionItem, AttentionPrincipalStateChanged, CommandAccepted, CommandFailure};

use super::words::{content, join, some, word};

pub(super) fn attention(item: Option<&AttentionItem>) -> String {
    let Some(item) = item else {
        return String::new();
    };
    let tier = word(item.tier().as_str_name(), "ATTENTION_TIER_").to_uppercase();
    let reason = word(item.reason().as_str_name(), "ATTENTION_REASON_");
    join([&tier, &reason, &item.title])
}

pub(super) fn principal_state(changed: &AttentionPrincipalStateChanged) -> String {
    let state = changed.principal_state.clone().unwrap_or_default();
    let told = |told: bool, what: &str| if told { what.to_owned() } else { String::new() };
    let snoozed = state.snoozed_until_change || state.snooze_until_time.is_some();
    join([
        told(state.acknowledged, "acknowledged"),
        told(snoozed, "snoozed"),
        told(state.dismissed, "dismissed"),
        told(state.unread, "unread"),
    ])
}

pub(super) fn accepted(accepted: &CommandAccepted) -> String {
    let Some(command) = &accepted.command else {
        return String::new();
    };
    let action = match &command.action {
        Some(Action::StartSession(start)) => join(["start a session:".to_owned(), content(&start.prompt)]),
        Some(Action::Prompt(prompt)) => join(["prompt:".to_owned(), content(&prompt.content)]),
        Some(Action::EditInput(edit)) => join(["edit:".to_owned(), content(&edit.content)]),
        Some(Action::PromoteInput(_)) => "promote an input".to_owned(),
        Some(Action::CancelInput(_)) => "cancel an input".to_owned(),
        Some(Action::PauseQueue(_)) => "pause the queue".to_owned(),
        Some(Action::ResumeQueue(_)) => "resume the queue".to_owned(),
        Some(Action::Interrupt(_)) => "interrupt".to_owned(),
        Some(Action::InterruptAndSend(send)) => join(["interrupt and send:".to_owned(), content(&send.content)]),
        Some(Action::Answer(answer)) => some("answer", &answer.ask_id),
        Some(Action::SetTitle(set)) => some("set the title:", &set.title),
        Some(Action::SetMode(set)) => join([some("set the mode", &set.mode), some("model", &set.model)]),
        Some(Action::ExitAgent(_)) => "end the agent".to_owned(),
        // A later hub's.
        None => String::new(),
    };
    join([action, some("by", &command.principal)])
}

pub(super) fn failure(failure: Option<&CommandFailure>) -> String {
    let Some(failure) = failure else {
        return String::new();
    };
    let reason = bellboard_proto::reason_name(failure.reason()).to_owned();
    let reason = if failure.reason == 0 { String::new() } else { reason };
    join([&reason, &failure.connector_code, &failure.message])
}
