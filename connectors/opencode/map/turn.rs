//! One turn and its messages, and what is said at its end.
//!
//! The one thing to believe: a message's own error says best how its turn ended, then the session's, then the way in which
//! the message finished. A turn that opencode forgot in its middle has failed, and is not shown as done.

use std::collections::HashMap;

use bellboard_proto::v1::event::Payload;
use bellboard_proto::v1::{
    FailureClass, InterruptCause, TurnCompleted, TurnFailed, TurnInterrupted, TurnStopReason, Usage,
};

use super::content::{self, Failure};
use super::emit::duration;
use crate::long_text::long_text;

/// One run of the agent.
#[derive(Debug, Default)]
pub(super) struct Turn {
    pub(super) id: String,
    pub(super) start_ms: Option<u64>,
    pub(super) failure: Option<Failure>,
    /// Set once opencode said that it is idle: the ticks since.
    pub(super) ending: Option<u8>,
    pub(super) last_message: String,
    pub(super) final_text: String,
}

/// One message of the agent, which is one step of a turn.
#[derive(Debug, Default)]
pub(super) struct Message {
    pub(super) turn: String,
    pub(super) model: String,
    pub(super) complete_ms: Option<u64>,
    pub(super) finish: String,
    pub(super) failure: Option<Failure>,
    pub(super) usage: Usage,
}

/// Why a turn is taken to be over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Over {
    /// opencode says so.
    Told,
    /// It follows: its last message says so, or nothing more comes.
    Derived,
    /// A later turn runs. opencode runs one message at a time, so a message that is open was forgotten.
    Superseded,
    /// A list says that nothing runs, and the agent was in the middle of something.
    Died,
}

impl Turn {
    /// The event that ends it, with what all of the session's messages say that belong to it.
    pub(super) fn terminal(&self, messages: &HashMap<String, Message>, over: Over) -> Payload {
        let turn = self;
        let last = messages.get(&turn.last_message);
        let failure = last
            .and_then(|message| message.failure.as_ref())
            .or(turn.failure.as_ref());
        let mut used = Usage::default();
        for message in messages.values().filter(|message| message.turn == turn.id) {
            content::add(&mut used, &message.usage);
        }
        // What a context holds is not a sum, and which message was counted last is not known here.
        used.context = None;
        let nothing = Usage {
            model: used.model.clone(),
            ..Usage::default()
        };
        let usage = (used != nothing).then_some(used);
        let end_ms = last.and_then(|message| message.complete_ms);
        let took = end_ms
            .zip(turn.start_ms)
            .map(|(end, start)| duration(end.saturating_sub(start)));
        match failure {
            Some(failure) if failure.aborted() => Payload::TurnInterrupted(TurnInterrupted {
                cause: InterruptCause::User.into(),
                usage,
                duration: took,
            }),
            Some(failure) => Payload::TurnFailed(TurnFailed {
                failure_class: failure.class().into(),
                message: failure.message.clone(),
                retryable: failure.retryable(),
                native_code: failure.native_code(),
                usage,
                duration: took,
            }),
            None if end_ms.is_none() && (over == Over::Died || (over == Over::Superseded && last.is_some())) => {
                Payload::TurnFailed(TurnFailed {
                    failure_class: FailureClass::Process.into(),
                    message: "opencode runs nothing, and this turn never ended".to_owned(),
                    retryable: true,
                    native_code: String::new(),
                    usage,
                    duration: took,
                })
            }
            None => Payload::TurnCompleted(TurnCompleted {
                stop_reason: stop_reason(last.map_or("", |message| &message.finish)).into(),
                final_text: (!turn.final_text.is_empty()).then(|| long_text(&turn.final_text)),
                usage,
                duration: took,
                background_count: 0,
            }),
        }
    }
}

/// Why a message ended, as the AI SDK under opencode words it. A turn that ends after a tool call was ended by a refusal.
fn stop_reason(finish: &str) -> TurnStopReason {
    match finish {
        "stop" => TurnStopReason::EndTurn,
        "length" => TurnStopReason::MaxTokens,
        "content-filter" => TurnStopReason::Refusal,
        _ => TurnStopReason::Unspecified,
    }
}
