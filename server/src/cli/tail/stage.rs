//! The text that grows on the screen while an agent writes it.
//!
//! Believe this: one text grows at a time; others are held, and shown when they are complete. What is on the screen of a text is always
//! a beginning of it. When it is complete its event says whether all of it stood there; if not, the event says it itself.

use bellboard_sdk::v1::content_part::Part;
use bellboard_sdk::v1::delta::Fragment;
use bellboard_sdk::v1::event::Payload;
use bellboard_sdk::v1::{Delta, DeltaChannel, Event, ItemText, MessageCompleted};
use bellboard_sdk::{ItemTexts, TextChange};

use crate::cli::lines::{INDENT, Lines, QUIET};
use crate::cli::printable::push_lines;

/// What is said of an item whose whole text stands above its event.
const SHOWN: &str = "(as above)";

/// Which text it is.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Place {
    session_id: String,
    item_id: String,
    channel: DeltaChannel,
}

/// The text that grows.
#[derive(Debug)]
struct Growing {
    place: Place,
    /// Bytes of it that are on the screen.
    shown: usize,
    /// Whether its last line is the screen's last and can go on.
    open: bool,
}

/// The growing text, and all that are held.
#[derive(Debug, Default)]
pub(super) struct Stage {
    texts: ItemTexts,
    growing: Option<Growing>,
}

impl Stage {
    /// Takes a fragment, and shows it if its text has the stage or the stage is free.
    pub(super) fn delta(&mut self, delta: &Delta, lines: &Lines, out: &mut String) {
        let channel = match &delta.fragment {
            Some(Fragment::MessageText(_)) => DeltaChannel::MessageText,
            Some(Fragment::ReasoningText(_)) => DeltaChannel::ReasoningText,
            // What tools say is shown with their events. The rest is a later hub's.
            Some(Fragment::ToolInput(_) | Fragment::ToolOutput(_)) | None => return,
        };
        if self.texts.apply_delta(delta) == TextChange::Grew {
            let (session_id, item_id) = (delta.session_id.clone(), delta.item_id.clone());
            self.grow(
                Place {
                    session_id,
                    item_id,
                    channel,
                },
                lines,
                out,
            );
        }
    }

    /// Takes a text so far, as it comes to who joins late or fell behind.
    pub(super) fn item_text(&mut self, text: &ItemText, lines: &Lines, out: &mut String) {
        let channel = text.channel();
        if !matches!(channel, DeltaChannel::MessageText | DeltaChannel::ReasoningText) {
            return;
        }
        let (session_id, item_id) = (text.session_id.clone(), text.item_id.clone());
        let place = Place {
            session_id,
            item_id,
            channel,
        };
        let before = self.held(&place).to_vec();
        if self.texts.apply_item_text(text) != TextChange::Replaced {
            return;
        }
        // A text that was replaced by another is no longer what is on the screen: it is shown anew.
        if !self.held(&place).starts_with(&before) && self.has_stage(&place) {
            self.step_aside(out);
            self.growing = None;
        }
        self.grow(place, lines, out);
    }

    /// Shows an event, and what it means for the texts.
    pub(super) fn event(&mut self, event: &Event, lines: &mut Lines, out: &mut String) {
        let shown = self.is_shown_whole(event);
        self.step_aside(out);
        if shown {
            lines.event_saying(event, SHOWN, out);
        } else {
            lines.event(event, out);
        }
        self.texts.apply_event(event);
        if self.growing.as_ref().is_some_and(|growing| ends(event, &growing.place)) {
            self.growing = None;
        }
    }

    /// Ends the growing text's line, so that another can stand below it.
    pub(super) fn step_aside(&mut self, out: &mut String) {
        if let Some(growing) = &mut self.growing
            && growing.open
        {
            out.push('\n');
            growing.open = false;
        }
    }

    fn grow(&mut self, place: Place, lines: &Lines, out: &mut String) {
        // An agent that writes another item has left the one before.
        let free = self
            .growing
            .as_ref()
            .is_none_or(|growing| growing.place.session_id == place.session_id);
        if !self.has_stage(&place) {
            if !free {
                return;
            }
            self.step_aside(out);
            self.growing = Some(Growing {
                place,
                shown: 0,
                open: false,
            });
        }
        let Some(growing) = &mut self.growing else {
            return;
        };
        let Place {
            session_id,
            item_id,
            channel,
        } = &growing.place;
        let held = self.texts.text(session_id, item_id, *channel).unwrap_or_default();
        // Fragments are cut between characters; what is not text all the same is shown when it is complete.
        let Some(Ok(more)) = held.get(growing.shown..).map(std::str::from_utf8) else {
            return;
        };
        let quiet = *channel == DeltaChannel::ReasoningText;
        let mut text = String::new();
        if !growing.open {
            if growing.shown == 0 {
                let kind = if quiet { "reasoning" } else { "message" };
                out.push_str(&format!("          {}\n", lines.left(session_id, kind).trim_end()));
            }
            text.push_str(INDENT);
        }
        push_lines(&mut text, more, INDENT);
        out.push_str(&if quiet { lines.look.paint(QUIET, &text) } else { text });
        growing.shown = held.len();
        growing.open = true;
    }

    fn has_stage(&self, place: &Place) -> bool {
        self.growing.as_ref().is_some_and(|growing| growing.place == *place)
    }

    fn held(&self, place: &Place) -> &[u8] {
        self.texts
            .text(&place.session_id, &place.item_id, place.channel)
            .unwrap_or_default()
    }

    /// Whether the event completes the growing text, and says nothing that is not on the screen.
    fn is_shown_whole(&self, event: &Event) -> bool {
        let Some(growing) = &self.growing else {
            return false;
        };
        let text = match &event.payload {
            Some(Payload::MessageCompleted(completed)) if growing.place.channel == DeltaChannel::MessageText => {
                only_text(completed)
            }
            Some(Payload::ReasoningCompleted(completed)) if growing.place.channel == DeltaChannel::ReasoningText => {
                completed.text.as_ref().map(|text| text.text.as_str())
            }
            Some(_) | None => None,
        };
        let Place {
            session_id,
            item_id,
            channel: _,
        } = &growing.place;
        let held = self.held(&growing.place);
        let same = *session_id == event.session_id && *item_id == event.item_id;
        same && growing.shown == held.len() && text.is_some_and(|text| text.as_bytes() == held)
    }
}

/// The text of a message that has nothing else.
fn only_text(completed: &MessageCompleted) -> Option<&str> {
    match completed.content.as_slice() {
        [part] => match &part.part {
            Some(Part::Text(text)) if text.omitted_bytes == 0 => Some(&text.text),
            Some(Part::Text(_) | Part::ResourceLink(_) | Part::Embedded(_)) | None => None,
        },
        _ => None,
    }
}

/// Whether nothing more can be expected of that text.
fn ends(event: &Event, place: &Place) -> bool {
    let completed = matches!(
        event.payload,
        Some(Payload::MessageCompleted(_) | Payload::ReasoningCompleted(_))
    );
    let over = matches!(
        event.payload,
        Some(
            Payload::TurnCompleted(_)
                | Payload::TurnFailed(_)
                | Payload::TurnInterrupted(_)
                | Payload::SessionClosed(_)
        )
    );
    event.session_id == place.session_id && (over || completed && event.item_id == place.item_id)
}
