//! What an event says, in a few words.
//!
//! Believe this: every payload of the contract has a row here, so one that is added stops the build; one that only a later hub knows is
//! shown as such. The words are as the agent wrote them: who prints them makes them printable.

pub(super) mod words;
mod session;
mod item;
mod ask;
mod work;
mod health;
mod steered;

use bellboard_sdk::v1::Event;
use bellboard_sdk::v1::event::Payload as P;

use words::{some, word};

/// An event in a few words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Summary {
    /// Family and kind, with a dot between.
    pub(super) kind: &'static str,
    /// The words. They may hold anything.
    pub(super) text: String,
}

/// The event in a few words.
pub(super) fn of(event: &Event) -> Summary {
    let unknown = || ("unknown", "of a kind that this program does not know yet".to_owned());
    let (kind, text) = event.payload.as_ref().map_or_else(unknown, row);
    Summary { kind, text }
}

/// The table: longer than a screen because the contract is.
fn row(payload: &P) -> (&'static str, String) {
    match payload {
        P::Redacted(redacted) => ("redacted", word(redacted.reason().as_str_name(), "REDACTION_REASON_")),
        P::SessionOpened(opened) => ("session.opened", session::opened(opened)),
        P::SessionAliased(aliased) => ("session.aliased", session::aliased(aliased)),
        P::SessionUpdated(updated) => ("session.updated", session::updated(updated)),
        P::SessionConfigChanged(changed) => ("session.config_changed", session::config_changed(changed)),
        P::SessionClosed(closed) => ("session.closed", session::closed(closed)),
        P::SessionArchived(archived) => ("session.archived", archived.reason.clone()),
        P::SessionUnarchived(unarchived) => ("session.unarchived", unarchived.reason.clone()),
        P::SessionDeleted(deleted) => ("session.deleted", deleted.reason.clone()),
        P::SessionForked(forked) => ("session.forked", some("as", &forked.forked_session_id)),
        P::SessionSwept(swept) => ("session.swept", format!("{} items compared", swept.item_count)),
        P::SessionStateChanged(changed) => ("session.state_changed", session::state_changed(changed)),
        P::ConnectorOnline(online) => ("connector.online", session::online(online)),
        P::ConnectorOffline(offline) => ("connector.offline", session::offline(offline)),
        P::ConnectorLost(lost) => ("connector.lost", session::lost(lost)),
        P::InputAdmitted(admitted) => ("input.admitted", item::input_admitted(admitted)),
        P::InputEdited(edited) => ("input.edited", words::content(&edited.content)),
        P::InputCancelled(cancelled) => ("input.cancelled", cancelled.reason.clone()),
        P::InputPromoted(promoted) => ("input.promoted", word(promoted.mode().as_str_name(), "INPUT_MODE_")),
        P::TurnStarted(started) => ("turn.started", item::turn_started(started)),
        P::TurnCompleted(completed) => ("turn.completed", item::turn_completed(completed)),
        P::TurnFailed(failed) => ("turn.failed", item::turn_failed(failed)),
        P::TurnInterrupted(stopped) => (
            "turn.interrupted",
            word(stopped.cause().as_str_name(), "INTERRUPT_CAUSE_"),
        ),
        P::MessageStarted(started) => ("message.started", word(started.role().as_str_name(), "MESSAGE_ROLE_")),
        P::MessageCompleted(completed) => ("message.completed", item::message_completed(completed)),
        P::ReasoningStarted(_) => ("reasoning.started", String::new()),
        P::ReasoningCompleted(completed) => ("reasoning.completed", item::reasoning_completed(completed)),
        P::ToolStarted(started) => ("tool.started", item::tool_started(started)),
        P::ToolProgress(progress) => ("tool.progress", item::tool_progress(progress)),
        P::ToolCompleted(completed) => ("tool.completed", item::tool_completed(completed)),
        P::AskOpened(opened) => ("ask.opened", ask::content(opened.content.as_ref())),
        P::AskUpdated(updated) => ("ask.updated", ask::content(updated.content.as_ref())),
        P::AskAnswering(answering) => ("ask.answering", some("by", &answering.principal)),
        P::AskResolved(resolved) => ("ask.resolved", ask::resolved(resolved)),
        P::AskWithdrawn(withdrawn) => (
            "ask.withdrawn",
            word(withdrawn.reason().as_str_name(), "ASK_WITHDRAW_REASON_"),
        ),
        P::AskExpired(expired) => ("ask.expired", expired.reason.clone()),
        P::AskOrphaned(orphaned) => (
            "ask.orphaned",
            word(orphaned.reason().as_str_name(), "ASK_ORPHAN_REASON_"),
        ),
        P::AskUnconfirmed(unconfirmed) => ("ask.unconfirmed", some("of", &unconfirmed.writer_id)),
        P::SubagentSpawned(spawned) => ("subagent.spawned", work::subagent_spawned(spawned)),
        P::SubagentUpdated(updated) => ("subagent.updated", updated.status_text.clone()),
        P::SubagentEnded(ended) => ("subagent.ended", work::subagent_ended(ended)),
        P::BackgroundStarted(started) => ("background.started", work::background_started(started)),
        P::BackgroundUpdated(updated) => ("background.updated", updated.status_text.clone()),
        P::BackgroundEnded(ended) => ("background.ended", work::background_ended(ended)),
        P::FilesChanged(changed) => ("work.files_changed", work::changes(&changed.changes)),
        P::DiffUpdated(diff) => ("work.diff_updated", work::diff(diff)),
        P::PlanUpdated(plan) => ("work.plan_updated", work::plan(plan)),
        P::WorkspaceUpdated(workspace) => ("work.workspace_updated", work::workspace(workspace)),
        P::ChangeRequestUpdated(request) => ("work.change_request_updated", work::change_request(request)),
        P::ArtifactUpdated(artifact) => ("work.artifact_updated", artifact.title.clone()),
        P::RetryScheduled(retry) => ("health.retry_scheduled", health::retry(retry)),
        P::QuotaUpdated(quota) => ("health.quota_updated", health::quota_updated(quota)),
        P::QuotaBlocked(blocked) => ("health.quota_blocked", health::quota_blocked(blocked)),
        P::QuotaResumed(resumed) => ("health.quota_resumed", resumed.quota.clone()),
        P::UsageRecorded(usage) => ("health.usage_recorded", words::usage(usage.usage.as_ref())),
        P::CompactionStarted(started) => (
            "health.compaction_started",
            word(started.trigger().as_str_name(), "COMPACTION_TRIGGER_"),
        ),
        P::CompactionCompleted(completed) => ("health.compaction_completed", health::compaction_completed(completed)),
        P::HistoryReverted(reverted) => ("health.history_reverted", health::history_reverted(reverted)),
        P::Notice(notice) => ("health.notice", health::notice(notice)),
        P::AttentionRaised(raised) => ("attention.raised", steered::attention(raised.item.as_ref())),
        P::AttentionRevised(revised) => ("attention.revised", steered::attention(revised.item.as_ref())),
        P::AttentionCleared(cleared) => (
            "attention.cleared",
            word(cleared.cause().as_str_name(), "ATTENTION_CLEAR_CAUSE_"),
        ),
        P::AttentionPrincipalStateChanged(changed) => ("attention.principal_state", steered::principal_state(changed)),
        P::CommandAccepted(accepted) => ("command.accepted", steered::accepted(accepted)),
        P::CommandDispatched(dispatched) => ("command.dispatched", some("to", &dispatched.writer_id)),
        P::CommandDelivered(delivered) => ("command.delivered", some("by", &delivered.writer_id)),
        P::CommandApplied(_) => ("command.applied", String::new()),
        P::CommandRejected(rejected) => ("command.rejected", steered::failure(rejected.failure.as_ref())),
        P::CommandExpired(_) => ("command.expired", String::new()),
        P::CommandCancelled(cancelled) => ("command.cancelled", some("by", &cancelled.principal)),
        P::CommandFailed(failed) => ("command.failed", steered::failure(failed.failure.as_ref())),
        P::CommandUnknown(unknown) => ("command.unknown", steered::failure(unknown.failure.as_ref())),
        P::VendorRaw(raw) => (
            "vendor.raw",
            words::join([&raw.vendor, &raw.r#type, &words::bytes(raw.content.len() as u64)]),
        ),
    }
}

#[cfg(test)]
mod tests;
