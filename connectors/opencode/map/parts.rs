//! Parts of the agent's messages in the contract's words: texts and reasoning, usage, patches, files.
//!
//! The one thing to believe: nothing here remembers anything; which of it is news is decided by `items`.

use bellboard_proto::v1::event::Payload;
use bellboard_proto::v1::{
    ArtifactUpdated, ContentPart, FilesChanged, ItemEnd, MessageCompleted, MessagePhase, MessageRole, MessageStarted,
    ReasoningCompleted, ReasoningStarted, Usage, UsageRecorded, content_part,
};
use serde_json::Value;

use super::content;
use super::emit::{At, Emit, Name, duration};
use crate::long_text::long_text;
use crate::opencode::frame::list;

/// A part as opencode tells it, with what its session knows about it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Part<'a> {
    pub(super) value: &'a Value,
    pub(super) id: &'a str,
    pub(super) message: &'a str,
    pub(super) turn: &'a str,
    pub(super) model: &'a str,
    /// How it ended, if it has.
    pub(super) end: ItemEnd,
}

/// What an item is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Text,
    Reasoning,
    Tool,
}

/// A text or a block of reasoning that is complete.
pub(super) struct Prose<'a> {
    pub(super) message: &'a str,
    pub(super) model: &'a str,
    pub(super) text: &'a str,
    pub(super) end: ItemEnd,
    pub(super) took_ms: Option<u64>,
}

impl Prose<'_> {
    pub(super) fn completed(&self, kind: Kind) -> Payload {
        match kind {
            Kind::Reasoning => Payload::ReasoningCompleted(ReasoningCompleted {
                message_id: self.message.to_owned(),
                text: Some(long_text(self.text)),
                summary: None,
                encrypted: false,
                model: self.model.to_owned(),
                end: self.end.into(),
                duration: self.took_ms.map(duration),
            }),
            Kind::Text | Kind::Tool => Payload::MessageCompleted(MessageCompleted {
                role: MessageRole::Agent.into(),
                message_id: self.message.to_owned(),
                phase: MessagePhase::Unspecified.into(),
                content: vec![ContentPart {
                    part: Some(content_part::Part::Text(long_text(self.text))),
                }],
                model: self.model.to_owned(),
                end: self.end.into(),
                usage: None,
            }),
        }
    }
}

/// A text or a block of reasoning that begins.
pub(super) fn started(kind: Kind, message: &str) -> Payload {
    match kind {
        Kind::Reasoning => Payload::ReasoningStarted(ReasoningStarted {
            message_id: message.to_owned(),
        }),
        Kind::Text | Kind::Tool => Payload::MessageStarted(MessageStarted {
            role: MessageRole::Agent.into(),
            message_id: message.to_owned(),
            phase: MessagePhase::Unspecified.into(),
        }),
    }
}

/// What a step has used.
pub(super) fn step_finished(emit: &mut Emit<'_>, name: &Name, part: Part<'_>) {
    let at = At {
        turn: part.turn,
        item: part.id,
        ..At::default()
    };
    let usage = content::usage(part.value, part.model);
    if usage
        == (Usage {
            model: usage.model.clone(),
            ..Usage::default()
        })
    {
        emit.report.repeated += 1;
        return;
    }
    emit.fact(
        name,
        at,
        &format!("{}:usage", part.id),
        Payload::UsageRecorded(UsageRecorded {
            usage: Some(usage),
            cumulative: false,
        }),
    );
}

/// What a step has changed.
pub(super) fn patched(emit: &mut Emit<'_>, name: &Name, part: Part<'_>) {
    let at = At {
        turn: part.turn,
        item: part.id,
        ..At::default()
    };
    let changes = list(part.value, "/files")
        .iter()
        .filter_map(Value::as_str)
        .take(content::FILES_MAX)
        .map(content::touched)
        .collect();
    emit.fact(
        name,
        at,
        &format!("{}:patch", part.id),
        Payload::FilesChanged(FilesChanged {
            changes,
            by_agent: true,
        }),
    );
}

/// A file that the agent made.
pub(super) fn artifact(emit: &mut Emit<'_>, name: &Name, part: Part<'_>) {
    let at = At {
        turn: part.turn,
        item: part.id,
        ..At::default()
    };
    let resource = content::resource(part.value);
    let artifact = ArtifactUpdated {
        artifact_id: part.id.to_owned(),
        title: resource.title.clone(),
        resource: Some(resource),
        sha256: bytes::Bytes::new(),
        complete: true,
    };
    emit.fact(
        name,
        at,
        &format!("{}:artifact", part.id),
        Payload::ArtifactUpdated(artifact),
    );
}
