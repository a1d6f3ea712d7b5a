//! What the hub tells a Prometheus about itself: the table of all metrics.
//!
//! Believe this: a metric is one row of [`Sources::now`], its numbers are counted elsewhere whether or not anybody looks, and no label ever
//! names a tenant, a session or a person: what is counted grows, how many rows there are does not.

mod text;
pub(super) mod page;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bellboard_core::appender::counters::{Became, STORE_MICROSECONDS};
use bellboard_core::hub::Hub;
use bellboard_core::log::Log;
use bellboard_core::meter::{Spread, Tally};
use bellboard_core::subscription::frame::{Answer, ClosingReason, ResetReason};

use super::connections::Cut;
use super::method::Kind;
use super::open::Open;
use super::peers::Peers;
use super::quotas::{Quota, Quotas};

/// Whoever counts.
#[derive(Debug)]
pub(super) struct Sources {
    pub(super) hub: Arc<Hub>,
    pub(super) peers: Arc<Peers>,
    pub(super) cuts: Arc<Tally<Cut>>,
    pub(super) open: Arc<Open>,
    pub(super) quotas: Arc<Quotas>,
}

/// One metric as it is now.
struct Metric {
    /// Without the `bellboard_` before it and the `_total` behind a counter.
    name: &'static str,
    help: &'static str,
    value: Value,
}

enum Value {
    Counter(u64),
    /// By the value of one label, whose name comes first.
    Counters(&'static str, Vec<(&'static str, u64)>),
    Gauge(u64),
    Gauges(&'static str, Vec<(&'static str, u64)>),
    /// And by what its values are divided to be of the unit that the name says.
    Histogram(Spread, f64),
}

const MICROSECONDS: f64 = 1e6;

impl Sources {
    /// All metrics, in the order in which they are shown.
    fn now(&self) -> Vec<Metric> {
        let logs = self.hub.opened();
        let mut all = self.appends();
        all.extend(deliveries(&logs));
        all.extend(self.memory());
        all.extend(self.peers());
        all
    }

    fn appends(&self) -> Vec<Metric> {
        let counters = self.hub.appender().counters();
        let appends = counters.appends.counts();
        let appends = [
            ("stored", Became::Stored),
            ("duplicate", Became::Duplicate),
            ("unchanged", Became::Unchanged),
            ("rejected", Became::Rejected),
            ("failed", Became::Failed),
        ]
        .map(|(name, became)| (name, appends.get(&became).copied().unwrap_or_default()));
        vec![
            counters_by(
                "appends",
                "Events that writers sent, by what became of them.",
                "outcome",
                appends.into(),
            ),
            counter(
                "events_stored",
                "Events that were stored, the hub's own included.",
                load(&counters.events),
            ),
            counter("event_bytes_stored", "Bytes of those events.", load(&counters.bytes)),
            histogram(
                "commit_events",
                "Events in one commit.",
                counters.commit_events.spread(),
                1.0,
            ),
            histogram(
                "commit_seconds",
                "Time from the beginning of a commit until it was durable.",
                counters.commit_microseconds.spread(),
                MICROSECONDS,
            ),
        ]
    }

    fn memory(&self) -> Vec<Metric> {
        let snapshots = self.hub.snapshots().counters();
        vec![
            gauge(
                "window_bytes",
                "Bytes of the newest events in memory.",
                self.hub.window_bytes() as u64,
            ),
            gauge(
                "snapshot_bytes",
                "Bytes of the snapshots that streams are given at the moment.",
                self.hub.snapshots().held_bytes() as u64,
            ),
            gauge(
                "request_bytes",
                "Bytes of requests that arrived and are not answered, and of writers' messages that are not whole.",
                self.quotas.request_bytes() as u64,
            ),
            counter(
                "snapshots_asked",
                "Snapshots that streams asked for.",
                load(&snapshots.asked),
            ),
            counter(
                "snapshots_read",
                "Snapshots that were read from the store for them.",
                load(&snapshots.taken),
            ),
            counter(
                "snapshots_revoked",
                "Snapshots that were taken back from readers that had not finished.",
                load(&snapshots.revoked),
            ),
        ]
    }

    fn peers(&self) -> Vec<Metric> {
        let kinds = [("subscription", Kind::Subscription), ("publisher", Kind::Publisher)];
        let streams = kinds.map(|(name, kind)| (name, self.open.count(kind)));
        let [open, stalled] = [
            streams.map(|(name, count)| (name, count.open as u64)),
            streams.map(|(name, count)| (name, count.stalled as u64)),
        ];
        let cuts = self.cuts.counts();
        let cuts = Cut::ALL.map(|cut| (cut.name(), cuts.get(&cut).copied().unwrap_or_default()));
        let refused = self.quotas.refused();
        let refused = Quota::ALL.map(|quota| (quota.name(), refused.get(&quota).copied().unwrap_or_default()));
        vec![
            gauges("streams_open", "Open streams.", "kind", open.into()),
            gauges(
                "streams_stalled",
                "Open streams whose peer has taken nothing of what it was given for 10 s.",
                "kind",
                stalled.into(),
            ),
            gauge("connections_open", "Open connections.", self.peers.open() as u64),
            counter(
                "connections_accepted",
                "Connections that were accepted.",
                self.peers.accepted(),
            ),
            counter(
                "connections_refused",
                "Connections that were closed at once: their address has as many as it may have.",
                self.peers.refused(),
            ),
            counters_by(
                "connections_cut",
                "Connections that the hub ended, by why.",
                "reason",
                cuts.into(),
            ),
            counters_by(
                "quota_refusals",
                "Calls that were refused because a quota of their principal was used up.",
                "quota",
                refused.into(),
            ),
        ]
    }
}

/// What was done for subscribers, over all logs.
fn deliveries(logs: &[Arc<Log>]) -> Vec<Metric> {
    let sum = |of: fn(&Log) -> u64| logs.iter().map(|log| of(log)).sum();
    let answers = |wanted: Answer| {
        logs.iter()
            .map(|log| {
                log.counters()
                    .answers
                    .counts()
                    .get(&wanted)
                    .copied()
                    .unwrap_or_default()
            })
            .sum()
    };
    let closings = |wanted: ClosingReason| {
        logs.iter()
            .map(|log| {
                log.counters()
                    .closings
                    .counts()
                    .get(&wanted)
                    .copied()
                    .unwrap_or_default()
            })
            .sum()
    };
    let resets = RESETS.map(|reason| (reset(reason), answers(Answer::Reset(reason))));
    let answered = vec![
        ("started", answers(Answer::Started)),
        ("resumed", answers(Answer::Resumed)),
        ("reset", resets.iter().map(|(_, count)| count).sum()),
    ];
    let closings = CLOSINGS.map(|reason| (closing(reason), closings(reason)));
    let mut reads = Spread::none(STORE_MICROSECONDS);
    logs.iter()
        .for_each(|log| reads += log.counters().read_microseconds.spread());
    vec![
        counter(
            "deliveries",
            "Events that were handed to subscribers.",
            sum(|log| load(&log.counters().deliveries)),
        ),
        counters_by(
            "answers",
            "Starts of subscriptions, by how they were answered.",
            "answer",
            answered,
        ),
        counters_by(
            "resets",
            "Starts that were answered by a snapshot instead, by why.",
            "reason",
            resets.into(),
        ),
        counters_by(
            "closings",
            "Subscriptions that the hub ended politely, by why.",
            "reason",
            closings.into(),
        ),
        counter("wakeups", "Times that a waiting subscriber was woken.", sum(Log::wakes)),
        counter(
            "slots_visited",
            "Events in memory that were looked at for subscribers.",
            sum(|log| load(&log.counters().slots_visited)),
        ),
        counter(
            "store_reads",
            "Reads of the store for subscribers.",
            sum(|log| load(&log.counters().store_reads)),
        ),
        histogram(
            "store_read_seconds",
            "Time that each of those reads took.",
            reads,
            MICROSECONDS,
        ),
        counter(
            "deltas_dropped",
            "Deltas that went no further: of unknown or finished items, repeated or out of place.",
            sum(Log::dropped_deltas),
        ),
    ]
}

const RESETS: [ResetReason; 7] = [
    ResetReason::EpochChanged,
    ResetReason::HistoryChanged,
    ResetReason::ResumeTokenAhead,
    ResetReason::ResumeTokenTooOld,
    ResetReason::TooFarBehind,
    ResetReason::InterestsChanged,
    ResetReason::SnapshotIncomplete,
];

const fn reset(reason: ResetReason) -> &'static str {
    match reason {
        ResetReason::EpochChanged => "epoch_changed",
        ResetReason::HistoryChanged => "history_changed",
        ResetReason::ResumeTokenAhead => "resume_token_ahead",
        ResetReason::ResumeTokenTooOld => "resume_token_too_old",
        ResetReason::TooFarBehind => "too_far_behind",
        ResetReason::InterestsChanged => "interests_changed",
        ResetReason::SnapshotIncomplete => "snapshot_incomplete",
    }
}

const CLOSINGS: [ClosingReason; 6] = [
    ClosingReason::Draining,
    ClosingReason::Replaced,
    ClosingReason::CredentialExpired,
    ClosingReason::PermissionRevoked,
    ClosingReason::MaxAge,
    ClosingReason::Complete,
];

const fn closing(reason: ClosingReason) -> &'static str {
    match reason {
        ClosingReason::Draining => "draining",
        ClosingReason::Replaced => "replaced",
        ClosingReason::CredentialExpired => "credential_expired",
        ClosingReason::PermissionRevoked => "permission_revoked",
        ClosingReason::MaxAge => "max_age",
        ClosingReason::Complete => "complete",
    }
}

fn load(counter: &AtomicU64) -> u64 {
    counter.load(Ordering::Relaxed)
}

const fn counter(name: &'static str, help: &'static str, value: u64) -> Metric {
    let value = Value::Counter(value);
    Metric { name, help, value }
}

const fn counters_by(
    name: &'static str,
    help: &'static str,
    label: &'static str,
    values: Vec<(&'static str, u64)>,
) -> Metric {
    let value = Value::Counters(label, values);
    Metric { name, help, value }
}

const fn gauge(name: &'static str, help: &'static str, value: u64) -> Metric {
    let value = Value::Gauge(value);
    Metric { name, help, value }
}

const fn gauges(
    name: &'static str,
    help: &'static str,
    label: &'static str,
    values: Vec<(&'static str, u64)>,
) -> Metric {
    let value = Value::Gauges(label, values);
    Metric { name, help, value }
}

const fn histogram(name: &'static str, help: &'static str, spread: Spread, per_unit: f64) -> Metric {
    let value = Value::Histogram(spread, per_unit);
    Metric { name, help, value }
}
