//! Sessions and connectors in a few words.

use bellboard_sdk::v1::{
    ConnectorLost, ConnectorLostReason, ConnectorOffline, ConnectorOnline, SessionAliased, SessionClosed,
    SessionConfig, SessionConfigChanged, SessionOpened, SessionStateChanged, SessionUpdated,
};

use super::words::{aside, join, some, word};

pub(super) fn opened(opened: &SessionOpened) -> String {
    let facts = opened.facts.clone().unwrap_or_default();
    let key = opened.key.clone().unwrap_or_default();
    let vendor = if facts.vendor.is_empty() {
        key.vendor
    } else {
        facts.vendor
    };
    let project = if facts.project.is_empty() {
        key.project
    } else {
        facts.project
    };
    join([facts.title, aside(&vendor), some("in", &project)])
}

pub(super) fn aliased(aliased: &SessionAliased) -> String {
    let now = aliased
        .key
        .as_ref()
        .map(|key| some("now", &key.native_id))
        .unwrap_or_default();
    join([word(aliased.reason().as_str_name(), "SESSION_ALIAS_REASON_"), now])
}

pub(super) fn updated(updated: &SessionUpdated) -> String {
    let facts = updated.facts.clone().unwrap_or_default();
    let fields = updated
        .update_mask
        .as_ref()
        .map(|mask| mask.paths.join(", "))
        .unwrap_or_default();
    join([aside(&fields), facts.title])
}

pub(super) fn config_changed(changed: &SessionConfigChanged) -> String {
    let SessionConfig {
        model, mode, effort, ..
    } = changed.config.clone().unwrap_or_default();
    join([some("model", &model), some("mode", &mode), some("effort", &effort)])
}

pub(super) fn closed(closed: &SessionClosed) -> String {
    let cause = word(closed.cause().as_str_name(), "SESSION_CLOSE_CAUSE_");
    join([
        cause,
        closed.reason.clone(),
        some("merged into", &closed.merged_into_session_id),
    ])
}

pub(super) fn state_changed(changed: &SessionStateChanged) -> String {
    let Some(state) = &changed.state else {
        return String::new();
    };
    let chip = word(state.chip().as_str_name(), "CHIP_");
    if !chip.is_empty() {
        return chip;
    }
    let execution = word(state.execution().as_str_name(), "EXECUTION_");
    join([word(state.lifecycle().as_str_name(), "LIFECYCLE_"), execution])
}

pub(super) fn online(online: &ConnectorOnline) -> String {
    let version = join([&online.vendor, &online.connector_version]);
    let who = if version.is_empty() {
        online.connector_id.clone()
    } else {
        version
    };
    join([who, some("on", &online.host), online.reconcile_note.clone()])
}

pub(super) fn offline(offline: &ConnectorOffline) -> String {
    match offline.reason.as_str() {
        "" => offline.connector_id.clone(),
        reason => format!("{}: {reason}", offline.connector_id),
    }
}

pub(super) fn lost(lost: &ConnectorLost) -> String {
    let who = match lost.connector_id.as_str() {
        "" => &lost.writer_id,
        connector => connector,
    };
    match lost.reason() {
        ConnectorLostReason::AcknowledgedLost => {
            let (from, until) = (lost.lost_from_seq, lost.lost_until_seq);
            let count = until.saturating_sub(from);
            let events = if count == 1 { "event" } else { "events" };
            let last = until.saturating_sub(1);
            format!("{who}: the hub lost {count} {events} that it had acknowledged (seq {from} to {last})")
        }
        ConnectorLostReason::LeaseEnded => format!("{who}: went away without a word"),
        ConnectorLostReason::Unspecified => who.to_owned(),
    }
}
