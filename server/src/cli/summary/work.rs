//! Sub-agents, background tasks and what changed in files and plans, in a few words.

use bellboard_sdk::v1::{
    BackgroundEnded, BackgroundStarted, ChangeRequestUpdated, DiffUpdated, FileChange, PlanEntryStatus, PlanUpdated,
    SubagentEnded, SubagentSpawned, WorkspaceUpdated,
};

use super::words::{aside, clip, join, long, some, word};

/// Files that are named; the others are counted.
const FILES_NAMED_MAX: usize = 3;

pub(super) fn subagent_spawned(spawned: &SubagentSpawned) -> String {
    let background = if spawned.background { "(background)" } else { "" };
    join([
        spawned.agent_type.clone(),
        background.to_owned(),
        long(spawned.prompt.as_ref()),
    ])
}

pub(super) fn subagent_ended(ended: &SubagentEnded) -> String {
    let status = word(ended.status().as_str_name(), "TASK_STATUS_");
    join([
        ended.agent_id.clone(),
        aside(&status),
        long(ended.last_message.as_ref()),
    ])
}

pub(super) fn background_started(started: &BackgroundStarted) -> String {
    let kind = word(started.kind().as_str_name(), "BACKGROUND_KIND_");
    let what = if started.description.is_empty() {
        &started.command_line
    } else {
        &started.description
    };
    join([&aside(&kind), what])
}

pub(super) fn background_ended(ended: &BackgroundEnded) -> String {
    let status = word(ended.status().as_str_name(), "TASK_STATUS_");
    let exit = ended
        .exit_code
        .map(|code| format!("exit code {code}"))
        .unwrap_or_default();
    join([
        ended.task_id.clone(),
        status,
        exit,
        some("→", &long(ended.output.as_ref())),
    ])
}

pub(super) fn changes(changes: &[FileChange]) -> String {
    let named = changes.iter().take(FILES_NAMED_MAX).map(|change| {
        let kind = word(change.kind().as_str_name(), "FILE_CHANGE_KIND_");
        join([clip(&change.path).to_owned(), aside(&kind)])
    });
    let named = named.collect::<Vec<_>>().join(", ");
    match changes.len().saturating_sub(FILES_NAMED_MAX) {
        0 => named,
        more => format!("{named} and {more} more"),
    }
}

pub(super) fn diff(diff: &DiffUpdated) -> String {
    format!(
        "+{} -{} in {} files",
        diff.added_lines,
        diff.removed_lines,
        diff.files.len()
    )
}

pub(super) fn plan(plan: &PlanUpdated) -> String {
    let with = |status| plan.entries.iter().filter(move |entry| entry.status() == status);
    let done = with(PlanEntryStatus::Completed).count();
    let now = with(PlanEntryStatus::InProgress)
        .next()
        .map(|entry| some("now:", &entry.content))
        .unwrap_or_default();
    if plan.entries.is_empty() {
        return long(plan.text.as_ref());
    }
    join([format!("{done} of {} done", plan.entries.len()), now])
}

pub(super) fn workspace(workspace: &WorkspaceUpdated) -> String {
    let told = |count: Option<u32>, what: &str| match count {
        None | Some(0) => String::new(),
        Some(count) => format!("{count} {what}"),
    };
    join([
        some("on", &workspace.branch),
        told(workspace.dirty_files, "dirty"),
        told(workspace.unpushed_commits, "unpushed"),
        told(workspace.conflicted_files, "conflicted"),
    ])
}

pub(super) fn change_request(request: &ChangeRequestUpdated) -> String {
    let state = word(request.state().as_str_name(), "CHANGE_REQUEST_STATE_");
    let checks = word(request.checks().as_str_name(), "CHECK_STATE_");
    join([
        request.title.clone(),
        aside(&state),
        some("checks", &checks),
        request.url.clone(),
    ])
}
