//! The parts of the agent's messages: texts, reasoning, tool calls, and the small facts between them.
//!
//! The one thing to believe: a delta leaves only when the length before it is certain. After a cut an open text is silent
//! until opencode tells it whole, for lost deltas cannot be asked for; the completed event has the full value anyway.

use std::collections::HashMap;

use bellboard_proto::v1::delta::Fragment;
use bellboard_proto::v1::event::Payload;
use bellboard_proto::v1::{ItemEnd, OutputStream, ToolCompleted, ToolOutput, ToolStatus, Witness};

use super::emit::{At, Emit, Name};
use super::parts::{Kind, Part, Prose, artifact, patched, started, step_finished};
use super::tools;
use crate::opencode::frame::{number, text};

/// Most parts of one session that are remembered. Beyond it the completed ones are forgotten: their dedupe keys still hold.
const ITEMS_MAX: usize = 10_000;

/// Longest text in flight that is kept, in bytes, to complete a part whose end never comes. Four times what an event can carry.
const TEXT_BYTES_MAX: usize = 1024 * 1024;

/// What is known of the parts of one session.
#[derive(Debug, Default)]
pub(super) struct Items {
    known: HashMap<String, Item>,
}

/// A text, a block of reasoning or a tool call.
#[derive(Debug)]
struct Item {
    kind: Kind,
    message: String,
    stage: Stage,
    flow: Flow,
    /// What its deltas said so far; for a tool call its output.
    text: String,
    call: String,
    tool: String,
    file: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    Known,
    Started,
    Completed,
}

/// Whether the text so far is known to the last byte.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Flow {
    Whole,
    Broken,
}

/// What a session has to know about a part that was taken in.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Taken {
    /// Nothing.
    Nothing,
    /// The agent has said this to its end.
    Said(String),
    /// It belongs to no family.
    Unknown,
}

impl Items {
    /// Takes in a part of an agent's message.
    pub(super) fn part(&mut self, emit: &mut Emit<'_>, name: &Name, part: Part<'_>) -> Taken {
        match text(part.value, "/type") {
            "text" => self.prose(emit, name, part, Kind::Text),
            "reasoning" => self.prose(emit, name, part, Kind::Reasoning),
            "tool" => {
                self.tool(emit, name, part);
                Taken::Nothing
            }
            "step-finish" => {
                step_finished(emit, name, part);
                Taken::Nothing
            }
            "patch" => {
                patched(emit, name, part);
                Taken::Nothing
            }
            "file" => {
                artifact(emit, name, part);
                Taken::Nothing
            }
            // A step's beginning, a git snapshot and the name of an agent say nothing that another event does not.
            "step-start" | "snapshot" | "agent" => {
                emit.report.repeated += 1;
                Taken::Nothing
            }
            _ => Taken::Unknown,
        }
    }

    /// Takes in a fragment of a text or a block of reasoning, or drops it when its place is not certain.
    pub(super) fn fragment(&mut self, emit: &mut Emit<'_>, name: &Name, turn: &str, id: &str, fragment: &str) {
        let placed = self.known.get_mut(id).filter(|item| {
            item.kind != Kind::Tool
                && item.stage == Stage::Started
                && item.flow == Flow::Whole
                && item.text.len() + fragment.len() <= TEXT_BYTES_MAX
        });
        let Some(item) = placed else {
            emit.report.deltas_unplaced += 1;
            self.broken(id);
            return;
        };
        item.say(emit, name, turn, id, fragment);
    }

    /// The stream was cut: no open text is whole any more.
    pub(super) fn stream_lost(&mut self) {
        for item in self.known.values_mut().filter(|item| item.kind != Kind::Tool) {
            item.flow = Flow::Broken;
        }
    }

    /// A message ended: texts of it that were never told whole end with what was heard, if that is all of them.
    pub(super) fn message_ended(&mut self, emit: &mut Emit<'_>, name: &Name, turn: &str, message: &str) {
        let mut open: Vec<String> = self
            .known
            .iter()
            .filter(|(_, item)| item.message == message && item.stage == Stage::Started && item.kind != Kind::Tool)
            .filter(|(_, item)| item.flow == Flow::Whole && !item.text.is_empty())
            .map(|(id, _)| id.clone())
            .collect();
        open.sort();
        for id in open {
            if let Some(item) = self.known.get_mut(&id) {
                item.stage = Stage::Completed;
                let told = Prose {
                    message,
                    model: "",
                    text: &item.text,
                    end: ItemEnd::Interrupted,
                    took_ms: None,
                };
                let at = At {
                    turn,
                    item: &id,
                    ..At::default()
                };
                emit.derived(name, at, &format!("{id}:completed"), told.completed(item.kind));
            }
        }
    }

    /// opencode ended in the middle of a turn: what was open ends with what was heard of it. Should opencode tell more of it
    /// after all, that is another event, and counts instead.
    pub(super) fn died(&mut self, emit: &mut Emit<'_>, name: &Name, turn: &str) {
        let mut open: Vec<(&String, &mut Item)> = self
            .known
            .iter_mut()
            .filter(|(_, item)| item.stage == Stage::Started)
            .collect();
        open.sort_by_key(|(id, _)| *id);
        for (id, item) in open {
            item.stage = Stage::Completed;
            let payload = match item.kind {
                Kind::Text | Kind::Reasoning => Prose {
                    message: &item.message,
                    model: "",
                    text: &item.text,
                    end: ItemEnd::Truncated,
                    took_ms: None,
                }
                .completed(item.kind),
                Kind::Tool => Payload::ToolCompleted(ToolCompleted {
                    tool: item.tool.clone(),
                    kind: tools::kind(&item.tool).into(),
                    status: ToolStatus::Cancelled.into(),
                    error_message: "opencode ended while it ran".to_owned(),
                    message_id: item.message.clone(),
                    ..ToolCompleted::default()
                }),
            };
            let at = At {
                turn,
                item: id,
                ..At::default()
            };
            emit.derived(name, at, &format!("{id}:truncated"), payload);
        }
    }

    /// Forgets what is complete; opencode repeats some of it later, and the dedupe keys hold.
    pub(super) fn turn_ended(&mut self) {
        self.known.retain(|_, item| item.stage != Stage::Completed);
    }

    /// The part that is this call of this message; empty when it is not known.
    pub(super) fn of_call(&self, message: &str, call: &str) -> String {
        let found = self
            .known
            .iter()
            .find(|(_, item)| item.message == message && item.call == call);
        found.map(|(id, _)| id.clone()).unwrap_or_default()
    }

    /// The running call that works on this file, with its tool's name.
    pub(super) fn working_on(&self, file: &str) -> Option<(&str, &str)> {
        self.known
            .iter()
            .find(|(_, item)| item.kind == Kind::Tool && item.stage == Stage::Started && item.file == file)
            .map(|(id, item)| (id.as_str(), item.message.as_str()))
    }

    fn broken(&mut self, id: &str) {
        if let Some(item) = self.known.get_mut(id) {
            item.flow = Flow::Broken;
        }
    }

    fn prose(&mut self, emit: &mut Emit<'_>, name: &Name, part: Part<'_>, kind: Kind) -> Taken {
        let so_far = text(part.value, "/text");
        let (start_ms, end_ms) = (number(part.value, "/time/start"), number(part.value, "/time/end"));
        let live = emit.cause.witness == Witness::Structured;
        let item = self.item(part, kind);
        if item.stage == Stage::Completed {
            emit.report.repeated += 1;
            return Taken::Nothing;
        }
        // A part without times was written in one piece.
        let ended = end_ms.is_some() || start_ms.is_none();
        if item.stage == Stage::Known {
            item.stage = Stage::Started;
            item.flow = if live { Flow::Whole } else { Flow::Broken };
            let at = At {
                turn: part.turn,
                item: part.id,
                time_ms: start_ms,
                ..At::default()
            };
            let key = format!("{}:started", part.id);
            match (live, ended) {
                (true, false) => emit.fact(name, at, &key, started(kind, part.message)),
                (true, true) | (false, _) => emit.derived(name, at, &key, started(kind, part.message)),
            }
        }
        if !ended {
            if live {
                item.catch_up(emit, name, part, so_far);
            }
            return Taken::Nothing;
        }
        item.stage = Stage::Completed;
        item.text = String::new();
        let took_ms = end_ms.zip(start_ms).map(|(end, start)| end.saturating_sub(start));
        let told = Prose {
            message: part.message,
            model: part.model,
            text: so_far,
            end: part.end,
            took_ms,
        };
        let at = At {
            turn: part.turn,
            item: part.id,
            time_ms: end_ms,
            ..At::default()
        };
        emit.fact(name, at, &format!("{}:completed", part.id), told.completed(kind));
        if kind == Kind::Text {
            Taken::Said(so_far.to_owned())
        } else {
            Taken::Nothing
        }
    }

    fn tool(&mut self, emit: &mut Emit<'_>, name: &Name, part: Part<'_>) {
        let call = tools::Call::read(part.value, part.message);
        let item = self.item(part, Kind::Tool);
        call.id.clone_into(&mut item.call);
        call.tool.clone_into(&mut item.tool);
        call.file().clone_into(&mut item.file);
        if item.stage == Stage::Completed || call.state == tools::State::Pending {
            emit.report.repeated += u64::from(item.stage == Stage::Completed);
            return;
        }
        let at = At {
            turn: part.turn,
            item: part.id,
            time_ms: call.start_ms,
            ..At::default()
        };
        if item.stage == Stage::Known {
            item.stage = Stage::Started;
            let key = format!("{}:started", part.id);
            match call.state {
                tools::State::Pending | tools::State::Running => emit.fact(name, at, &key, call.started()),
                tools::State::Ended => emit.derived(name, at, &key, call.started()),
            }
        }
        if let Some(spawned) = call.spawned(part.id) {
            if item.text.is_empty() {
                emit.derived(name, at, &format!("{}:spawned", part.id), spawned);
                // A sub-agent's call has no output of its own, so its text remembers that it was told.
                call.child().clone_into(&mut item.text);
            }
        } else if call.state == tools::State::Running && emit.cause.witness == Witness::Structured {
            item.output(emit, name, part, call.output_so_far());
        }
        if call.state == tools::State::Ended {
            item.stage = Stage::Completed;
            item.text = String::new();
            let at = At {
                time_ms: call.end_ms,
                ..at
            };
            emit.fact(name, at, &format!("{}:completed", part.id), call.completed());
            if let Some(ended) = call.subagent_ended() {
                emit.derived(name, at, &format!("{}:ended", part.id), ended);
            }
        }
    }

    fn item(&mut self, part: Part<'_>, kind: Kind) -> &mut Item {
        if self.known.len() >= ITEMS_MAX && !self.known.contains_key(part.id) {
            self.turn_ended();
            if self.known.len() >= ITEMS_MAX {
                self.known.clear();
            }
        }
        self.known.entry(part.id.to_owned()).or_insert_with(|| Item {
            kind,
            message: part.message.to_owned(),
            stage: Stage::Known,
            flow: Flow::Broken,
            text: String::new(),
            call: String::new(),
            tool: String::new(),
            file: String::new(),
        })
    }
}

impl Item {
    fn say(&mut self, emit: &mut Emit<'_>, name: &Name, turn: &str, id: &str, fragment: &str) {
        let at = self.text.len() as u64;
        self.text.push_str(fragment);
        let said = match self.kind {
            Kind::Reasoning => Fragment::ReasoningText(fragment.to_owned()),
            Kind::Text | Kind::Tool => Fragment::MessageText(fragment.to_owned()),
        };
        emit.delta(name, turn, id, at, said);
    }

    /// Continues from a text that opencode told whole in mid-stream; what deltas said before must be its beginning.
    fn catch_up(&mut self, emit: &mut Emit<'_>, name: &Name, part: Part<'_>, so_far: &str) {
        let Some(rest) = so_far
            .strip_prefix(self.text.as_str())
            .filter(|_| so_far.len() <= TEXT_BYTES_MAX)
        else {
            return;
        };
        self.flow = Flow::Whole;
        if !rest.is_empty() {
            self.say(emit, name, part.turn, part.id, rest);
        }
    }

    /// opencode tells a running command's output whole each time; what is new of it is the fragment.
    fn output(&mut self, emit: &mut Emit<'_>, name: &Name, part: Part<'_>, so_far: &str) {
        let Some(rest) = so_far.strip_prefix(self.text.as_str()) else {
            return;
        };
        if rest.is_empty() || so_far.len() > TEXT_BYTES_MAX {
            return;
        }
        let at = self.text.len() as u64;
        let output = ToolOutput {
            stream: OutputStream::Terminal.into(),
            content: rest.as_bytes().to_vec().into(),
        };
        self.text.push_str(rest);
        emit.delta(name, part.turn, part.id, at, Fragment::ToolOutput(output));
    }
}
