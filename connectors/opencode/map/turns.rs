//! When the agent runs, and how a run ends.
//!
//! The one thing to believe: a turn is named by the user message that it runs on, begins once and ends once. opencode says
//! "idle" twice after an error, and before the last words of what it stopped: so a turn that is over ends with its message.
//!
//! ```text
//! none    --(busy | assistant message)-->            running
//! running --(idle, message complete)-->              none      completed, failed or interrupted
//! running --(idle, message open)-->                  ending
//! ending  --(message complete | settled)-->          none      completed, failed or interrupted
//! running --(message on a newer input)-->            running   the older turn is completed
//! ```

use std::collections::{HashMap, VecDeque};

use bellboard_proto::v1::event::Payload;
use bellboard_proto::v1::{
    CompactionCompleted, CompactionTrigger, FailureClass, InputMode, InputPromoted, RetryScheduled, TurnStarted,
    TurnTrigger,
};
use serde_json::Value;

use super::content::{self, Failure};
use super::emit::{At, Emit, Name, timestamp};
use super::inputs::{Inputs, Speaker};
use super::turn::{Message, Over, Turn};
use crate::long_text::{clipped, long_text};
use crate::opencode::frame::{is_later, number, text};

/// How many ended turns are remembered, so that opencode's late notes about them begin none anew.
const ENDED_MAX: usize = 64;

/// Most messages of a turn that are remembered. A step is a message, and opencode stops long before.
const MESSAGES_MAX: usize = 4096;

/// How many ticks of the clock (one a second) a turn that is over waits for the end of its message.
const SETTLE_TICKS: u8 = 3;

/// The turns of one session.
#[derive(Debug, Default)]
pub(super) struct Turns {
    running: Option<Turn>,
    messages: HashMap<String, Message>,
    ended: VecDeque<String>,
    /// How the last turn failed, so that its error is not told again on its own.
    last_failure: Option<Failure>,
}

impl Turns {
    /// The running turn's id.
    pub(super) fn running(&self) -> Option<&str> {
        self.running.as_ref().map(|turn| turn.id.as_str())
    }

    /// The turn that this message belongs to; the running one when the message is not known.
    pub(super) fn of(&self, message: &str) -> &str {
        match self.messages.get(message) {
            Some(known) => &known.turn,
            None => self.running().unwrap_or_default(),
        }
    }

    pub(super) fn knows(&self, message: &str) -> bool {
        self.messages.contains_key(message)
    }

    pub(super) fn model_of(&self, message: &str) -> &str {
        self.messages.get(message).map_or("", |known| &known.model)
    }

    /// Whether what opencode says of this message now is the broken-off rest of something that a person stopped.
    pub(super) fn stopped(&self, message: &str) -> bool {
        let aborted = |failure: &Option<Failure>| failure.as_ref().is_some_and(Failure::aborted);
        let Some(turn) = self.running.as_ref().filter(|turn| turn.last_message == message) else {
            return false;
        };
        aborted(&turn.failure) || self.messages.get(message).is_some_and(|known| aborted(&known.failure))
    }

    pub(super) fn has_ended(&self, turn: &str) -> bool {
        self.ended.iter().any(|ended| ended == turn)
    }

    /// The agent has said this to its end.
    pub(super) fn said(&mut self, message: &str, said: String) {
        if let Some(turn) = self.running.as_mut().filter(|turn| turn.last_message == message) {
            turn.final_text = said;
        }
    }

    /// opencode is busy: the newest input runs, if nothing does.
    pub(super) fn busy(&mut self, emit: &mut Emit<'_>, name: &Name, inputs: &mut Inputs, speaker: Speaker) {
        let waiting = inputs
            .newest()
            .map(str::to_owned)
            .filter(|input| !self.has_ended(input));
        let Some(input) = waiting else {
            return;
        };
        let over = self
            .running
            .as_ref()
            .is_some_and(|turn| turn.ending.is_some() && turn.id != input);
        if over {
            self.finish(emit, name, inputs, Over::Derived);
        }
        if self.running.is_none() {
            self.start(emit, name, inputs, speaker, &input);
        }
    }

    /// A message of the agent: begun, grown or complete.
    pub(super) fn message(
        &mut self,
        emit: &mut Emit<'_>,
        name: &Name,
        inputs: &mut Inputs,
        speaker: Speaker,
        info: &Value,
    ) {
        let id = text(info, "/id").to_owned();
        let turn = self.turn_of_parent(text(info, "/parentID"), inputs);
        self.note(&id, &turn, info);
        let later = self.ended.back().is_none_or(|ended| is_later(&turn, ended));
        match self.running.as_ref() {
            Some(running) if running.id == turn => {}
            // A note about an earlier turn.
            Some(running) if is_later(&running.id, &turn) => return,
            Some(_) => {
                self.finish(emit, name, inputs, Over::Superseded);
                self.start(emit, name, inputs, speaker, &turn);
            }
            None if later && !turn.is_empty() => self.start(emit, name, inputs, speaker, &turn),
            None => return,
        }
        if let Some(running) = self.running.as_mut()
            && is_later(&id, &running.last_message)
        {
            running.last_message.clone_from(&id);
            running.final_text.clear();
        }
    }

    /// A message of the agent is complete, and so are its parts.
    pub(super) fn message_complete(
        &mut self,
        emit: &mut Emit<'_>,
        name: &Name,
        inputs: &mut Inputs,
        info: &Value,
    ) -> bool {
        let id = text(info, "/id");
        if info.get("summary") == Some(&Value::Bool(true)) {
            self.compacted(emit, name, info);
        }
        let ending = self
            .running
            .as_ref()
            .is_some_and(|turn| turn.ending.is_some() && turn.last_message == id);
        if ending {
            self.finish(emit, name, inputs, Over::Told);
        }
        ending
    }

    /// Something failed. Answers whether it belongs to a turn: the running one, which then ends by it, or the last one.
    pub(super) fn failed(&mut self, failure: &Failure) -> bool {
        let Some(turn) = self.running.as_mut() else {
            return self.last_failure.as_ref() == Some(failure);
        };
        turn.failure = Some(failure.clone());
        true
    }

    /// Whether the running turn's end would be that of a person who stopped it.
    pub(super) fn interrupted(&self) -> bool {
        self.running
            .as_ref()
            .is_some_and(|turn| self.stopped(&turn.last_message))
    }

    /// opencode is idle. Answers whether the turn ended by that.
    pub(super) fn idle(&mut self, emit: &mut Emit<'_>, name: &Name, inputs: &mut Inputs) -> bool {
        let Some(turn) = self.running.as_mut() else {
            return false;
        };
        let last = self.messages.get(&turn.last_message);
        if last.is_some_and(|message| message.complete_ms.is_none()) {
            turn.ending.get_or_insert(0);
            return false;
        }
        self.finish(emit, name, inputs, Over::Told);
        true
    }

    /// A second has passed. Answers whether a turn ended that waited for the end of its message.
    pub(super) fn tick(&mut self, emit: &mut Emit<'_>, name: &Name, inputs: &mut Inputs) -> bool {
        let Some(ticks) = self.running.as_mut().and_then(|turn| turn.ending.as_mut()) else {
            return false;
        };
        *ticks += 1;
        let settled = *ticks >= SETTLE_TICKS;
        if settled {
            self.finish(emit, name, inputs, Over::Derived);
        }
        settled
    }

    /// Whether the running turn's last message says itself that nothing follows.
    pub(super) fn said_its_last(&self) -> bool {
        let last = self
            .running
            .as_ref()
            .and_then(|turn| self.messages.get(&turn.last_message));
        last.is_some_and(|message| {
            message.complete_ms.is_some()
                && (message.failure.is_some() || !matches!(message.finish.as_str(), "" | "tool-calls"))
        })
    }

    /// opencode waits to try a failed model call again.
    pub(super) fn retry(&self, emit: &mut Emit<'_>, name: &Name, status: &Value) {
        let Some(turn) = self.running() else {
            emit.report.repeated += 1;
            return;
        };
        let (attempt, next_ms) = (number(status, "/attempt").unwrap_or(0), number(status, "/next"));
        let scheduled = RetryScheduled {
            attempt: u32::try_from(attempt).unwrap_or(u32::MAX),
            retry_time: next_ms.map(timestamp),
            failure_class: FailureClass::Unspecified.into(),
            message: clipped(text(status, "/message"), 8 * 1024),
            action_url: clipped(text(status, "/action/link"), 4096),
        };
        let key = format!("retry:{turn}:{attempt}:{}", next_ms.unwrap_or(0));
        emit.fact(
            name,
            At { turn, ..At::default() },
            &key,
            Payload::RetryScheduled(scheduled),
        );
    }

    /// Ends the running turn. Its input and those before it have been run.
    pub(super) fn finish(&mut self, emit: &mut Emit<'_>, name: &Name, inputs: &mut Inputs, over: Over) {
        let Some(turn) = self.running.take() else {
            return;
        };
        let payload = turn.terminal(&self.messages, over);
        let time_ms = self
            .messages
            .get(&turn.last_message)
            .and_then(|message| message.complete_ms);
        let (at, key) = (
            At {
                turn: &turn.id,
                time_ms,
                ..At::default()
            },
            format!("turn:{}:ended", turn.id),
        );
        match over {
            Over::Told => emit.fact(name, at, &key, payload),
            Over::Derived | Over::Superseded | Over::Died => emit.derived(name, at, &key, payload),
        }
        inputs.run_through(&turn.id);
        self.last_failure = self
            .messages
            .get(&turn.last_message)
            .and_then(|message| message.failure.clone())
            .or(turn.failure);
        self.messages.retain(|_, message| is_later(&message.turn, &turn.id));
        if self.ended.len() >= ENDED_MAX {
            self.ended.pop_front();
        }
        self.ended.push_back(turn.id);
    }

    fn start(&mut self, emit: &mut Emit<'_>, name: &Name, inputs: &mut Inputs, speaker: Speaker, id: &str) {
        if self.has_ended(id) {
            return;
        }
        // Nobody waits for more parts of an input that runs.
        inputs.admit(emit, name, speaker, Some(id));
        let input = inputs.get(id);
        let start_ms = input.and_then(|input| input.create_ms);
        let queued = input.is_some_and(|input| input.mode == Some(InputMode::Queue));
        let at = At {
            turn: id,
            time_ms: start_ms,
            ..At::default()
        };
        if queued {
            let promoted = InputPromoted {
                mode: InputMode::Queue.into(),
            };
            emit.derived(
                name,
                At { item: id, ..at },
                &format!("input:{id}:promoted"),
                Payload::InputPromoted(promoted),
            );
        }
        let trigger = match speaker {
            Speaker::Agent => TurnTrigger::Automation,
            Speaker::Person if queued => TurnTrigger::Queue,
            Speaker::Person => TurnTrigger::User,
        };
        let model = input.map(|input| input.model.clone()).unwrap_or_default();
        let started = TurnStarted {
            trigger: trigger.into(),
            input_item_id: id.to_owned(),
            model,
        };
        emit.fact(name, at, &format!("turn:{id}:started"), Payload::TurnStarted(started));
        self.running = Some(Turn {
            id: id.to_owned(),
            start_ms,
            ..Turn::default()
        });
    }

    /// A message that runs on what opencode said to itself goes on with the turn that runs.
    fn turn_of_parent(&self, parent: &str, inputs: &Inputs) -> String {
        let own = inputs.get(parent).is_some_and(super::inputs::Input::agent_made);
        match self.running() {
            Some(running) if own || parent.is_empty() => running.to_owned(),
            Some(_) | None => parent.to_owned(),
        }
    }

    fn note(&mut self, id: &str, turn: &str, info: &Value) {
        if self.messages.len() >= MESSAGES_MAX && !self.messages.contains_key(id) {
            self.messages.clear();
        }
        let model = content::model(info);
        let message = self.messages.entry(id.to_owned()).or_default();
        turn.clone_into(&mut message.turn);
        message.usage = content::usage(info, &model);
        message.model = model;
        // An older copy of it, from a sweep, does not reopen it.
        message.complete_ms = message.complete_ms.or_else(|| number(info, "/time/completed"));
        if !text(info, "/finish").is_empty() {
            message.finish = clipped(text(info, "/finish"), 64);
        }
        message.failure = Failure::read(info.get("error")).or_else(|| message.failure.take());
    }

    fn compacted(&self, emit: &mut Emit<'_>, name: &Name, info: &Value) {
        let id = text(info, "/id");
        let summary = self
            .running
            .as_ref()
            .map(|turn| turn.final_text.as_str())
            .unwrap_or_default();
        let completed = CompactionCompleted {
            compaction_id: text(info, "/parentID").to_owned(),
            trigger: CompactionTrigger::Unspecified.into(),
            summary: (!summary.is_empty()).then(|| long_text(summary)),
            failed: info.get("error").is_some_and(Value::is_object),
        };
        emit.fact(
            name,
            At {
                turn: self.of(id),
                ..At::default()
            },
            &format!("{id}:compacted"),
            Payload::CompactionCompleted(completed),
        );
    }
}
