//! Retries, quotas, compaction and notices in a few words.

use bellboard_sdk::v1::{CompactionCompleted, HistoryReverted, Notice, QuotaBlocked, QuotaUpdated, RetryScheduled};

use super::words::{aside, join, long, word};

pub(super) fn retry(retry: &RetryScheduled) -> String {
    let class = word(retry.failure_class().as_str_name(), "FAILURE_CLASS_");
    join([
        format!("attempt {}", retry.attempt),
        aside(&class),
        retry.message.clone(),
    ])
}

pub(super) fn quota_updated(quota: &QuotaUpdated) -> String {
    let used = quota
        .used_percent
        .map(|percent| format!("{percent:.0}% used"))
        .unwrap_or_default();
    join([&quota.quota, &used])
}

pub(super) fn quota_blocked(blocked: &QuotaBlocked) -> String {
    let reason = word(blocked.reason().as_str_name(), "BLOCKED_REASON_");
    join([&reason, &blocked.quota, &blocked.message])
}

pub(super) fn compaction_completed(completed: &CompactionCompleted) -> String {
    let failed = if completed.failed { "failed" } else { "" };
    join([failed.to_owned(), long(completed.summary.as_ref())])
}

pub(super) fn history_reverted(reverted: &HistoryReverted) -> String {
    let files = if reverted.files_reverted { "with files" } else { "" };
    let undone = if reverted.undone { "undone" } else { "" };
    join([undone.to_owned(), files.to_owned()])
}

pub(super) fn notice(notice: &Notice) -> String {
    let severity = word(notice.severity().as_str_name(), "NOTICE_SEVERITY_");
    join([&aside(&severity), &notice.title, &notice.text])
}
