//! What a session has changed and what it plans, of which the latest counts.
//!
//! The one thing to believe: opencode says both again at every step, so only what differs is an event.

use bellboard_proto::v1::event::Payload;
use bellboard_proto::v1::{DiffUpdated, PlanEntry, PlanEntryStatus, PlanUpdated};
use serde_json::Value;

use super::content;
use super::emit::{At, Emit, Name};
use crate::long_text::clipped;
use crate::opencode::frame::{list, number, text};

/// Most entries of a plan that are kept.
const PLAN_ENTRIES_MAX: usize = 256;

/// The latest of one session.
#[derive(Debug, Default)]
pub(super) struct Work {
    diff: Option<DiffUpdated>,
    plan: Option<PlanUpdated>,
}

impl Work {
    /// The session's changes, all together.
    pub(super) fn diff(&mut self, emit: &mut Emit<'_>, name: &Name, turn: &str, properties: &Value) {
        let told = list(properties, "/diff");
        let files: Vec<_> = told.iter().take(content::FILES_MAX).map(content::changed).collect();
        let lines = |pointer| {
            told.iter()
                .filter_map(|file| number(file, pointer))
                .fold(0u64, u64::saturating_add)
        };
        let diff = DiffUpdated {
            added_lines: u32::try_from(lines("/additions")).unwrap_or(u32::MAX),
            removed_lines: u32::try_from(lines("/deletions")).unwrap_or(u32::MAX),
            files,
        };
        // A session begins without changes, and opencode says so at every step.
        if self.diff.clone().unwrap_or_default() == diff {
            emit.report.repeated += 1;
            return;
        }
        self.diff = Some(diff.clone());
        let key = format!("diff:{}", emit.cause.id);
        emit.fact(name, At { turn, ..At::default() }, &key, Payload::DiffUpdated(diff));
    }

    /// The session's list of things to do.
    pub(super) fn plan(&mut self, emit: &mut Emit<'_>, name: &Name, turn: &str, properties: &Value) {
        let entries = list(properties, "/todos")
            .iter()
            .take(PLAN_ENTRIES_MAX)
            .map(plan_entry)
            .collect();
        let plan = PlanUpdated {
            plan_id: String::new(),
            entries,
            text: None,
        };
        if self.plan.as_ref() == Some(&plan) {
            emit.report.repeated += 1;
            return;
        }
        self.plan = Some(plan.clone());
        let key = format!("plan:{}", emit.cause.id);
        emit.fact(name, At { turn, ..At::default() }, &key, Payload::PlanUpdated(plan));
    }
}

fn plan_entry(told: &Value) -> PlanEntry {
    let status = match text(told, "/status") {
        "pending" => PlanEntryStatus::Pending,
        "in_progress" => PlanEntryStatus::InProgress,
        "completed" => PlanEntryStatus::Completed,
        "cancelled" => PlanEntryStatus::Cancelled,
        _ => PlanEntryStatus::Unspecified,
    };
    PlanEntry {
        entry_id: clipped(text(told, "/id"), 128),
        content: clipped(text(told, "/content"), 512),
        status: status.into(),
        priority: clipped(text(told, "/priority"), 64),
    }
}
