//! Inputs, turns, messages, reasoning and tool calls in a few words.

use bellboard_sdk::v1::{
    InputAdmitted, InputMode, ItemEnd, MessageCompleted, RawContent, ReasoningCompleted, ToolCompleted, ToolProgress,
    ToolStarted, TurnCompleted, TurnFailed, TurnStarted,
};

use super::words::{aside, bytes, clip, content, duration, join, long, some, usage, word};

pub(super) fn input_admitted(admitted: &InputAdmitted) -> String {
    let mode = match admitted.mode() {
        // What is usual needs no word.
        InputMode::Unspecified | InputMode::Start => String::new(),
        mode @ (InputMode::Queue | InputMode::Steer) => aside(&word(mode.as_str_name(), "INPUT_MODE_")),
    };
    join([mode, said(&admitted.author, content(&admitted.content))])
}

pub(super) fn turn_started(started: &TurnStarted) -> String {
    let trigger = word(started.trigger().as_str_name(), "TURN_TRIGGER_");
    join([some("by", &trigger), some("with", &started.model)])
}

pub(super) fn turn_completed(completed: &TurnCompleted) -> String {
    let background = match completed.background_count {
        0 => String::new(),
        count => format!("{count} in the background"),
    };
    let reason = word(completed.stop_reason().as_str_name(), "TURN_STOP_REASON_");
    let cost = usage(completed.usage.as_ref());
    let took = duration(completed.duration.as_ref());
    join([reason, some("after", &took), aside(&cost), background])
}

pub(super) fn turn_failed(failed: &TurnFailed) -> String {
    let class = word(failed.failure_class().as_str_name(), "FAILURE_CLASS_");
    let again = if failed.retryable { "(retryable)" } else { "" };
    join([said(&class, failed.message.clone()), again.to_owned()])
}

pub(super) fn message_completed(completed: &MessageCompleted) -> String {
    let role = word(completed.role().as_str_name(), "MESSAGE_ROLE_");
    join([end(completed.end()), said(&role, content(&completed.content))])
}

pub(super) fn reasoning_completed(completed: &ReasoningCompleted) -> String {
    let text = [&completed.summary, &completed.text]
        .into_iter()
        .map(|text| long(text.as_ref()));
    let text = text.into_iter().find(|text| !text.is_empty()).unwrap_or_default();
    let hidden = if completed.encrypted { "(encrypted)" } else { "" };
    join([end(completed.end()), hidden.to_owned(), text])
}

pub(super) fn tool_started(started: &ToolStarted) -> String {
    let title = if started.title.is_empty() {
        input(started.input.as_ref())
    } else {
        started.title.clone()
    };
    said(&started.tool, title)
}

pub(super) fn tool_progress(progress: &ToolProgress) -> String {
    let percent = progress
        .percent
        .map(|percent| format!("{percent:.0}%"))
        .unwrap_or_default();
    join([&percent, &progress.message, &progress.output_tail])
}

pub(super) fn tool_completed(completed: &ToolCompleted) -> String {
    let status = word(completed.status().as_str_name(), "TOOL_STATUS_");
    let exit = completed
        .exit_code
        .map(|code| format!("exit code {code}"))
        .unwrap_or_default();
    let took = duration(completed.duration.as_ref());
    let title = if completed.title.is_empty() {
        input(completed.input.as_ref())
    } else {
        completed.title.clone()
    };
    let output = if completed.error_message.is_empty() {
        long(completed.output.as_ref())
    } else {
        completed.error_message.clone()
    };
    let outcome = aside(
        &[status, exit, took]
            .into_iter()
            .filter(|word| !word.is_empty())
            .collect::<Vec<_>>()
            .join(", "),
    );
    join([said(&completed.tool, title), outcome, some("→", &output)])
}

/// `who: what`, or either alone.
fn said(who: &str, what: String) -> String {
    match (who, what.as_str()) {
        ("", _) => what,
        (who, "") => clip(who).to_owned(),
        (who, what) => format!("{}: {}", clip(who), clip(what)),
    }
}

/// How it ended, where that is not as usual.
fn end(end: ItemEnd) -> String {
    match end {
        ItemEnd::Unspecified | ItemEnd::Complete => String::new(),
        end @ (ItemEnd::Truncated | ItemEnd::Interrupted | ItemEnd::MaxTokens) => {
            aside(&word(end.as_str_name(), "ITEM_END_"))
        }
    }
}

/// What a tool was given: as text if it is text.
fn input(input: Option<&RawContent>) -> String {
    let Some(input) = input else {
        return String::new();
    };
    match std::str::from_utf8(&input.content) {
        Ok(text) => clip(text).to_owned(),
        Err(_) => bytes(input.content.len() as u64),
    }
}
