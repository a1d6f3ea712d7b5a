//! What was said to the agent, gathered from a user message and its parts.
//!
//! The one thing to believe: opencode tells a user message before its parts and never says which part is the last. So an
//! input is admitted at the next news of its session, and a part that comes later still edits it.

use std::collections::BTreeMap;

use bellboard_proto::v1::event::Payload;
use bellboard_proto::v1::{
    CompactionStarted, CompactionTrigger, ContentPart, InputAdmitted, InputEdited, InputMode, InputOrigin, content_part,
};
use serde_json::Value;

use super::content;
use super::emit::{At, Emit, Name};
use crate::long_text::shortened;
use crate::opencode::frame::{is_later, number, text};

/// Most inputs of one session that wait to be run. opencode's own queue holds a few; beyond it the oldest is forgotten.
const INPUTS_MAX: usize = 256;

/// Most parts of one input that are kept.
const PARTS_MAX: usize = 64;

/// Bytes kept of a part's text, at its beginning and at its end, so that an input of [`PARTS_MAX`] short parts still fits.
const TEXT_HEAD_BYTES: usize = 96 * 1024;
const TEXT_TAIL_BYTES: usize = 16 * 1024;

/// Who speaks to a session: a person to a root, another agent to its child.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Speaker {
    Person,
    Agent,
}

/// The inputs of one session that have not ended with their turn.
#[derive(Debug, Default)]
pub(super) struct Inputs {
    known: BTreeMap<String, Input>,
}

/// One user message.
#[derive(Debug, Default)]
pub(super) struct Input {
    parts: BTreeMap<String, ContentPart>,
    /// opencode itself wrote a part of it: a summary's order, a note to go on.
    own_parts: bool,
    pub(super) mode: Option<InputMode>,
    pub(super) model: String,
    pub(super) create_ms: Option<u64>,
    edits: u64,
}

impl Input {
    /// Made by opencode and by nobody else: it continues a turn instead of beginning one.
    pub(super) fn agent_made(&self) -> bool {
        self.own_parts && self.parts.is_empty()
    }

    fn ready(&self) -> bool {
        self.mode.is_none() && !self.parts.is_empty()
    }
}

impl Inputs {
    pub(super) fn get(&self, message: &str) -> Option<&Input> {
        self.known.get(message)
    }

    /// The newest input that was not run yet.
    pub(super) fn newest(&self) -> Option<&str> {
        self.known
            .iter()
            .filter(|(_, input)| input.mode.is_some())
            .map(|(message, _)| message.as_str())
            .reduce(|newest, message| if is_later(message, newest) { message } else { newest })
    }

    /// A turn ended: its input and all before it have been run.
    pub(super) fn run_through(&mut self, message: &str) {
        self.known.retain(|known, _| is_later(known, message));
    }

    pub(super) fn told(&mut self, info: &Value) {
        let input = self.entry(text(info, "/id"));
        input.model = content::model(&info["model"]);
        input.create_ms = number(info, "/time/created");
    }

    /// Takes in a part of a user message.
    pub(super) fn part(&mut self, emit: &mut Emit<'_>, name: &Name, message: &str, part: &Value) {
        let id = text(part, "/id");
        if text(part, "/type") == "compaction" {
            let auto = part.get("auto") == Some(&Value::Bool(true));
            let trigger = if auto {
                CompactionTrigger::Auto
            } else {
                CompactionTrigger::Manual
            };
            let started = CompactionStarted {
                compaction_id: message.to_owned(),
                trigger: trigger.into(),
            };
            emit.fact(
                name,
                At::default(),
                &format!("{id}:compaction"),
                Payload::CompactionStarted(started),
            );
            self.entry(message).own_parts = true;
            return;
        }
        let input = self.entry(message);
        let Some(content) = shown(part) else {
            input.own_parts = true;
            return;
        };
        if input.parts.len() >= PARTS_MAX || input.parts.get(id) == Some(&content) {
            emit.report.repeated += 1;
            return;
        }
        input.parts.insert(id.to_owned(), content);
        if input.mode.is_some() {
            input.edits += 1;
            let edited = InputEdited {
                content: input.parts.values().cloned().collect(),
                revision: input.edits,
            };
            emit.fact(
                name,
                At {
                    item: message,
                    ..At::default()
                },
                &format!("input:{message}:{id}"),
                Payload::InputEdited(edited),
            );
        }
    }

    /// Admits what is ready. `running` says whether a turn runs, so that the input waits.
    pub(super) fn admit(&mut self, emit: &mut Emit<'_>, name: &Name, speaker: Speaker, running: Option<&str>) {
        for (message, input) in self.known.iter_mut().filter(|(_, input)| input.ready()) {
            let waits = running.is_some_and(|turn| turn != message);
            let mode = if waits { InputMode::Queue } else { InputMode::Start };
            input.mode = Some(mode);
            let origin = match speaker {
                Speaker::Person => InputOrigin::Local,
                Speaker::Agent => InputOrigin::Automation,
            };
            let admitted = InputAdmitted {
                content: input.parts.values().cloned().collect(),
                mode: mode.into(),
                author: String::new(),
                origin: origin.into(),
            };
            let at = At {
                item: message,
                time_ms: input.create_ms,
                ..At::default()
            };
            // The parts tell it; which of them was the last follows from what came after.
            emit.fact(name, at, &format!("input:{message}"), Payload::InputAdmitted(admitted));
        }
    }

    fn entry(&mut self, message: &str) -> &mut Input {
        if self.known.len() >= INPUTS_MAX && !self.known.contains_key(message) {
            self.known.pop_first();
        }
        self.known.entry(message.to_owned()).or_default()
    }
}

/// A part of a user message as it is shown; `None` for what opencode added for the model.
fn shown(part: &Value) -> Option<ContentPart> {
    let set = |field: &str| part.get(field) == Some(&Value::Bool(true));
    let part = match text(part, "/type") {
        "text" if set("synthetic") || set("ignored") => return None,
        "text" => content_part::Part::Text(shortened(text(part, "/text"), TEXT_HEAD_BYTES, TEXT_TAIL_BYTES)),
        "file" => content_part::Part::ResourceLink(content::resource(part)),
        "subtask" => content_part::Part::Text(shortened(text(part, "/prompt"), TEXT_HEAD_BYTES, TEXT_TAIL_BYTES)),
        _ => return None,
    };
    Some(ContentPart { part: Some(part) })
}
