//! Frames as lines for people.
//!
//! Believe this: whatever changes what the reader may rely on (a reset, a gap, falling behind, a closing) has a line of its own.

use bellboard_sdk::v1::{
    Answer, Closing, ClosingReason, Gap, Session, SessionSnapshot, SnapshotBegin, SnapshotPage, SnapshotReason,
    Subscribed,
};
use bellboard_sdk::{Events, Frame};

use super::stage::Stage;
use crate::cli::lines::{Lines, QUIET, WARNING};
use crate::cli::output::Look;
use crate::cli::summary::words::word;

/// What the reader sees.
#[derive(Debug)]
pub(super) struct View {
    lines: Lines,
    /// The text that grows. None where nobody watches it grow.
    stage: Option<Stage>,
}

impl View {
    pub(super) fn new(look: Look) -> View {
        View::of(Lines::new(look))
    }

    fn of(lines: Lines) -> View {
        let stage = lines.look.terminal.then(Stage::default);
        View { lines, stage }
    }

    /// Writes what a frame says.
    pub(super) fn frame(&mut self, frame: &Frame, out: &mut String) {
        match frame {
            Frame::Subscribed(subscribed) => self.subscribed(subscribed, out),
            Frame::SnapshotBegin(begin) => self.snapshot_begin(begin, out),
            Frame::SnapshotPage(page) => self.snapshot_page(page, out),
            Frame::SnapshotEnd(end) if end.truncated => {
                self.warning(
                    "the snapshot is cut short: there are more sessions than it may hold",
                    out,
                );
            }
            Frame::Events(events) => self.events(events, out),
            Frame::Deltas(deltas) => {
                if let Some(stage) = &mut self.stage {
                    deltas
                        .deltas
                        .iter()
                        .for_each(|delta| stage.delta(delta, &self.lines, out));
                }
            }
            Frame::ItemText(text) => {
                if let Some(stage) = &mut self.stage {
                    stage.item_text(text, &self.lines, out);
                }
            }
            Frame::CaughtUp(caught_up) => self.remark(&format!("live from {}", caught_up.tail), out),
            Frame::FellBehind(behind) => {
                self.warning(
                    &format!(
                        "fell behind by {} events: growing text is left out until caught up",
                        behind.by
                    ),
                    out,
                );
            }
            Frame::Gap(gap) => self.gap(gap, out),
            Frame::CredentialExpiring(_) => self.warning("the key is about to expire", out),
            Frame::Closing(closing) => self.closing(closing, out),
            Frame::Undecodable(unread) => {
                self.warning(&format!("a frame cannot be read (field {})", unread.field_number), out);
            }
            Frame::Unknown(unknown) => {
                self.remark(
                    &format!(
                        "a frame that this program does not know yet (field {})",
                        unknown.field_number
                    ),
                    out,
                );
            }
            // Signs of life and of what this program did itself. Frames that a later SDK knows say something when it is built in.
            Frame::SnapshotEnd(_) | Frame::SubscriptionUpdated(_) | Frame::Heartbeat(_) | _ => {}
        }
    }

    /// Ends a line that is still open.
    pub(super) fn end(&mut self, out: &mut String) {
        if let Some(stage) = &mut self.stage {
            stage.step_aside(out);
        }
    }

    fn subscribed(&mut self, subscribed: &Subscribed, out: &mut String) {
        match subscribed.answer() {
            Answer::Unspecified | Answer::Started => {}
            Answer::Resumed => self.remark(&format!("going on from {}", subscribed.from), out),
            Answer::Reset => {
                let reason = word(subscribed.reason().as_str_name(), "RESET_REASON_");
                self.warning(
                    &format!("reset ({reason}): the place is lost, what follows starts anew"),
                    out,
                );
            }
        }
    }

    fn snapshot_begin(&mut self, begin: &SnapshotBegin, out: &mut String) {
        let offset = begin.offset;
        let text = match begin.reason() {
            SnapshotReason::SessionEntered => {
                let who = entering(&begin.session_ids);
                format!("{who} here, having begun elsewhere; this is how it stands at {offset}")
            }
            SnapshotReason::InterestAdded => format!("from here on more is shown; this is how it stands at {offset}"),
            SnapshotReason::Unspecified | SnapshotReason::Start | SnapshotReason::Reset => {
                let reason = word(begin.reason().as_str_name(), "SNAPSHOT_REASON_");
                format!("snapshot at {offset} ({reason})")
            }
        };
        self.remark(&text, out);
    }

    fn snapshot_page(&mut self, page: &SnapshotPage, out: &mut String) {
        for session in &page.sessions {
            self.session(session, out);
        }
    }

    fn session(&mut self, snapshot: &SessionSnapshot, out: &mut String) {
        let Session {
            session_id,
            facts,
            event_count,
            ..
        } = snapshot.session.clone().unwrap_or_default();
        let title = facts.unwrap_or_default().title;
        self.remark(&format!("session {session_id} {title} ({event_count} events)"), out);
        snapshot.items.iter().for_each(|event| self.lines.event(event, out));
        for text in &snapshot.item_texts {
            if let Some(stage) = &mut self.stage {
                stage.item_text(text, &self.lines, out);
            }
        }
    }

    fn events(&mut self, events: &Events, out: &mut String) {
        for event in &events.events {
            match &mut self.stage {
                Some(stage) => stage.event(event, &mut self.lines, out),
                None => self.lines.event(event, out),
            }
        }
        for unread in &events.undecodable {
            let offset = unread
                .offset
                .map_or_else(|| "?".to_owned(), |offset| offset.to_string());
            self.warning(&format!("the event at {offset} cannot be read"), out);
        }
    }

    fn gap(&mut self, gap: &Gap, out: &mut String) {
        let reason = word(gap.reason().as_str_name(), "GAP_REASON_");
        let Gap { from, until, .. } = gap;
        self.warning(
            &format!("gap ({reason}): what lies from {from} to before {until} will not come"),
            out,
        );
    }

    fn closing(&mut self, closing: &Closing, out: &mut String) {
        let reason = word(closing.reason().as_str_name(), "CLOSING_REASON_");
        match closing.reason() {
            ClosingReason::Complete => self.remark("all sessions are closed", out),
            ClosingReason::Draining | ClosingReason::MaxAge => {
                self.remark(&format!("the hub closes the stream ({reason}); dialling again"), out);
            }
            ClosingReason::Unspecified
            | ClosingReason::Replaced
            | ClosingReason::CredentialExpired
            | ClosingReason::PermissionRevoked => self.warning(&format!("the hub closes the stream ({reason})"), out),
        }
    }

    fn remark(&mut self, text: &str, out: &mut String) {
        self.end(out);
        self.lines.remark(QUIET, text, out);
    }

    fn warning(&mut self, text: &str, out: &mut String) {
        self.end(out);
        self.lines.remark(WARNING, text, out);
    }
}

/// Who enters, in words. The first is the session of the event, the others are below it.
fn entering(session_ids: &[String]) -> String {
    match session_ids {
        [] => "a session enters".to_owned(),
        [session_id] => format!("session {session_id} enters"),
        [session_id, below @ ..] => format!("session {session_id} enters with {} below it", below.len()),
    }
}

#[cfg(test)]
mod tests;
