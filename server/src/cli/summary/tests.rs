use bellboard_sdk::v1::{self, Event};
use prost_reflect::{DescriptorPool, DynamicMessage, ReflectMessage as _, Value};

use super::*;
use crate::cli::json;

/// The summary of an event that is written as JSON.
fn summary(payload: &str) -> (&'static str, String) {
    let event: Event = json::parse(&format!("{{{payload}}}")).unwrap().unwrap();
    let Summary { kind, text } = of(&event);
    (kind, text)
}

#[test]
fn every_family_is_told_in_a_few_words() {
    for (payload, kind, text) in [
        (
            r#""sessionOpened":{"key":{"vendor":"opencode","project":"/p"},"facts":{"title":"Fix it"}}"#,
            "session.opened",
            "Fix it (opencode) in /p",
        ),
        (
            r#""sessionClosed":{"cause":"SESSION_CLOSE_CAUSE_USER","reason":"done"}"#,
            "session.closed",
            "user done",
        ),
        (
            r#""connectorOnline":{"vendor":"opencode","host":"h"}"#,
            "connector.online",
            "opencode on h",
        ),
        (
            r#""connectorOffline":{"connectorId":"c","reason":"it was ended"}"#,
            "connector.offline",
            "c: it was ended",
        ),
        (
            r#""connectorLost":{"connectorId":"c","writerId":"w","reason":"CONNECTOR_LOST_REASON_LEASE_ENDED"}"#,
            "connector.lost",
            "c: went away without a word",
        ),
        (
            r#""connectorLost":{"writerId":"w","reason":"CONNECTOR_LOST_REASON_ACKNOWLEDGED_LOST","lostFromSeq":"101","lostUntilSeq":"151"}"#,
            "connector.lost",
            "w: the hub lost 50 events that it had acknowledged (seq 101 to 150)",
        ),
        (
            r#""inputAdmitted":{"author":"ada","mode":"INPUT_MODE_QUEUE","content":[{"text":{"text":"go"}}]}"#,
            "input.admitted",
            "(queue) ada: go",
        ),
        (
            r#""turnCompleted":{"stopReason":"TURN_STOP_REASON_END_TURN","duration":"61.5s","usage":{"inputTokens":"12345","outputTokens":"7"}}"#,
            "turn.completed",
            "end turn after 1 min 1 s (12k tokens in, 7 out)",
        ),
        (
            r#""messageCompleted":{"role":"MESSAGE_ROLE_AGENT","end":"ITEM_END_TRUNCATED","content":[{"text":{"text":"a"}},{"embedded":{"mediaType":"image/png","content":"AAAA"}}]}"#,
            "message.completed",
            "(truncated) agent: a [image/png 3 B]",
        ),
        (
            r#""reasoningCompleted":{"text":{"text":"hm"},"encrypted":true}"#,
            "reasoning.completed",
            "(encrypted) hm",
        ),
        (
            r#""toolCompleted":{"tool":"bash","title":"ls","status":"TOOL_STATUS_OK","exitCode":0,"duration":"0.020s","output":{"text":"a b"}}"#,
            "tool.completed",
            "bash: ls (ok, exit code 0, 20 ms) → a b",
        ),
        (
            r#""askOpened":{"content":{"kind":"ASK_KIND_PERMISSION","title":"Run it?","subject":{"commandLine":"rm -r x"}}}"#,
            "ask.opened",
            "permission: Run it? rm -r x",
        ),
        (
            r#""askResolved":{"resolution":{"outcome":"ASK_OUTCOME_ALLOWED","principal":"ada","scope":"GRANT_SCOPE_ONCE"}}"#,
            "ask.resolved",
            "allowed (once) by ada",
        ),
        (
            r#""subagentSpawned":{"agentType":"explore","prompt":{"text":"look"}}"#,
            "subagent.spawned",
            "explore look",
        ),
        (
            r#""backgroundEnded":{"taskId":"t","status":"TASK_STATUS_ERROR","exitCode":2}"#,
            "background.ended",
            "t error exit code 2",
        ),
        (
            r#""planUpdated":{"entries":[{"content":"a","status":"PLAN_ENTRY_STATUS_COMPLETED"},{"content":"b","status":"PLAN_ENTRY_STATUS_IN_PROGRESS"}]}"#,
            "work.plan_updated",
            "1 of 2 done now: b",
        ),
        (
            r#""retryScheduled":{"attempt":3,"message":"slow down"}"#,
            "health.retry_scheduled",
            "attempt 3 slow down",
        ),
        (
            r#""attentionRaised":{"item":{"tier":"ATTENTION_TIER_P0","reason":"ATTENTION_REASON_PERMISSION","title":"t"}}"#,
            "attention.raised",
            "P0 permission t",
        ),
        (
            r#""commandAccepted":{"command":{"principal":"ada","prompt":{"content":[{"text":{"text":"go"}}]}}}"#,
            "command.accepted",
            "prompt: go by ada",
        ),
        (
            r#""commandFailed":{"failure":{"reason":"ERROR_REASON_BUSY","message":"m"}}"#,
            "command.failed",
            "BUSY m",
        ),
        (
            r#""vendorRaw":{"vendor":"v","type":"t","content":"AAAA"}"#,
            "vendor.raw",
            "v t 3 B",
        ),
        (
            r#""redacted":{"reason":"REDACTION_REASON_SESSION_DELETED"}"#,
            "redacted",
            "session deleted",
        ),
    ] {
        assert_eq!(summary(payload), (kind, text.to_owned()));
    }
}

#[test]
fn every_payload_is_named_after_its_family_and_can_be_empty() {
    let contract = DescriptorPool::decode(bellboard_proto::FILE_DESCRIPTOR_SET).unwrap();
    let event = contract.get_message_by_name("bellboard.v1.Event").unwrap();
    let payloads = event.oneofs().find(|oneof| oneof.name() == "payload").unwrap();
    for field in payloads.fields() {
        let mut message = DynamicMessage::new(event.clone());
        let empty = DynamicMessage::new(field.kind().as_message().unwrap().clone());
        message.set_field(&field, Value::Message(empty));
        let summary = of(&message.transcode_to().unwrap());
        let family = bellboard_proto::family_of(field.number());
        let family = family.map_or_else(
            || "redacted".to_owned(),
            |family| words::word(family.as_str_name(), "EVENT_FAMILY_"),
        );
        assert_eq!(
            summary.kind.split('.').next(),
            Some(family.as_str()),
            "{}",
            field.name()
        );
        assert_eq!(message.descriptor(), event);
    }
}

#[test]
fn what_a_later_hub_says_is_told_as_unknown() {
    assert_eq!(of(&Event::default()).kind, "unknown");
}

#[test]
fn nothing_long_is_copied() {
    let text = v1::LongText {
        text: "ž".repeat(100_000),
        ..v1::LongText::default()
    };
    let part = v1::ContentPart {
        part: Some(v1::content_part::Part::Text(text)),
    };
    let completed = v1::MessageCompleted {
        content: vec![part; 100],
        ..v1::MessageCompleted::default()
    };
    let event = Event {
        payload: Some(P::MessageCompleted(completed)),
        ..Event::default()
    };
    assert!(of(&event).text.len() < 10_000);
}
