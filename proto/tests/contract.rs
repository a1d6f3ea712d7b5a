//! What the committed Rust promises about the wire: both flavours share it, it resolves, and it can grow.
//!
//! The one thing to believe: these tests read the descriptor set and the bytes, not the Rust names.
#![allow(clippy::unwrap_used, reason = "tests")]

use bellboard_proto::{
    FILE_DESCRIPTOR_SET, family_of, hub, reason_from_name, reason_name,
    v1::{self, EventFamily, event::Payload},
};
use prost::{Message, bytes::Bytes};
use prost_reflect::DescriptorPool;

const EVENT: &str = "bellboard.v1.Event";

fn pool() -> DescriptorPool {
    DescriptorPool::decode(FILE_DESCRIPTOR_SET).unwrap()
}

fn sample_event() -> v1::Event {
    v1::Event {
        event_id: "e-1".into(),
        offset: 7,
        index: 3,
        link: 0x0123_4567_89ab_cdef,
        session_id: "s-1".into(),
        root_session_id: "s-0".into(),
        life: 2,
        item_id: "i-1".into(),
        occurred_time: Some(prost_types::Timestamp {
            seconds: 1_700_000_000,
            nanos: 5,
        }),
        attribution: Some(v1::Attribution {
            writer_id: "w-1".into(),
            witness: v1::Witness::Structured.into(),
            ..Default::default()
        }),
        payload: Some(Payload::ToolCompleted(v1::ToolCompleted {
            tool: "bash".into(),
            status: v1::ToolStatus::Ok.into(),
            output: Some(v1::LongText {
                text: "grüße\n".into(),
                ..Default::default()
            }),
            exit_code: Some(0),
            ..Default::default()
        })),
        ..Default::default()
    }
}

/// Encodes the typed message, reads it as the hub's, and back; returns the hub's.
fn same_wire<T, H>(typed: &T) -> H
where
    T: Message + Default + PartialEq + std::fmt::Debug,
    H: Message + Default,
{
    let bytes = typed.encode_to_vec();
    let hub = H::decode(Bytes::from(bytes.clone())).unwrap();
    assert_eq!(
        hub.encode_to_vec(),
        bytes,
        "the hub's view writes other bytes than it read"
    );
    assert_eq!(&T::decode(hub.encode_to_vec().as_slice()).unwrap(), typed);
    hub
}

#[test]
fn a_streamed_event_is_its_stored_bytes() {
    let event = sample_event();
    let typed = v1::SubscribeResponse {
        resume_token: "r".into(),
        frame: Some(v1::subscribe_response::Frame::Events(v1::EventsFrame {
            from: 7,
            until: 9,
            events: vec![
                event.clone(),
                v1::Event {
                    offset: 8,
                    ..event.clone()
                },
            ],
            raws: vec![v1::EventRaw {
                offset: 7,
                raw: Some(v1::RawContent {
                    media_type: "application/json".into(),
                    content: Bytes::from_static(b"{}"),
                }),
            }],
        })),
    };
    let hub: hub::v1::SubscribeResponse = same_wire(&typed);
    let Some(hub::v1::subscribe_response::Frame::Events(frame)) = hub.frame else {
        panic!("not an events frame");
    };
    assert_eq!(frame.events[0], event.encode_to_vec());
}

#[test]
fn every_message_that_holds_events_has_one_wire_in_both_flavours() {
    let event = sample_event();
    let append = v1::EventAppend {
        session: Some(v1::SessionRef {
            r#ref: Some(v1::session_ref::Ref::SessionId("s-1".into())),
        }),
        event: Some(event.clone()),
        seq: 9,
        dedupe_key: "k".into(),
        raw: None,
    };
    let appended: hub::v1::AppendEventsRequest = same_wire(&v1::AppendEventsRequest {
        writer_id: "w-1".into(),
        fence: 4,
        appends: vec![append.clone()],
    });
    assert_eq!(appended.appends[0].event, event.encode_to_vec());

    let delta = v1::DeltaAppend {
        delta: Some(v1::Delta {
            item_id: "i-1".into(),
            at: 12,
            fragment: Some(v1::delta::Fragment::MessageText("ü".into())),
            ..Default::default()
        }),
        ..Default::default()
    };
    let entries = [
        v1::publish_entry::Entry::Append(append),
        v1::publish_entry::Entry::Delta(delta),
    ];
    let _: hub::v1::PublishEventsRequest = same_wire(&v1::PublishEventsRequest {
        frame: Some(v1::publish_events_request::Frame::Batch(v1::PublishBatch {
            entries: entries.map(|entry| v1::PublishEntry { entry: Some(entry) }).into(),
        })),
    });

    let listed: hub::v1::ListEventsResponse = same_wire(&v1::ListEventsResponse {
        events: vec![event.clone()],
        resume_token: "r".into(),
        ..Default::default()
    });
    assert_eq!(listed.events[0], event.encode_to_vec());

    let _: hub::v1::SnapshotPage = same_wire(&v1::SnapshotPage {
        sessions: vec![v1::SessionSnapshot {
            session: Some(v1::Session {
                session_id: "s-1".into(),
                ..Default::default()
            }),
            items: vec![event.clone()],
            queue: vec![v1::QueuedInput {
                admitted: Some(event),
                ..Default::default()
            }],
            ..Default::default()
        }],
        ..Default::default()
    });
}

#[test]
fn the_hub_may_append_the_link_to_bytes_it_has_stored() {
    let event = sample_event();
    let mut bytes = v1::Event {
        link: 0,
        ..event.clone()
    }
    .encode_to_vec();
    // Field 4, fixed64.
    bytes.push(4 << 3 | 1);
    bytes.extend(event.link.to_le_bytes());
    assert_eq!(v1::Event::decode(bytes.as_slice()).unwrap(), event);
}

#[test]
fn an_unknown_payload_leaves_its_envelope_readable() {
    let event = v1::Event {
        payload: None,
        ..sample_event()
    };
    let mut bytes = event.encode_to_vec();
    // Field 219, the last of the vendor family, which nothing uses: a message of length 2.
    prost::encoding::encode_key(219, prost::encoding::WireType::LengthDelimited, &mut bytes);
    bytes.extend([2, 8, 1]);
    assert_eq!(v1::Event::decode(bytes.as_slice()).unwrap(), event);
}

#[test]
fn reflection_can_serve_the_four_services_and_the_error_details() {
    let pool = pool();
    let mut found: Vec<String> = pool
        .services()
        .map(|service| {
            let methods: Vec<String> = service.methods().map(|method| method.name().to_owned()).collect();
            format!("{}: {}", service.full_name(), methods.join(" "))
        })
        .collect();
    found.sort();
    assert_eq!(
        found,
        [
            "bellboard.v1.AttentionService: ListAttentionItems WatchAttention GetAttentionSummary \
             AcknowledgeAttentionItem SnoozeAttentionItem DismissAttentionItem SetPresence",
            "bellboard.v1.CommandService: SendCommand AnswerAsk GetCommand ListCommands CancelCommand ListConnectors \
             ReceiveCommands ReportCommand",
            "bellboard.v1.SessionEventsService: CreateSession GetSession ListSessions UpdateSession CloseSession \
             ArchiveSession DeleteSession ForkSession AppendEvents PublishEvents ListEvents OpenWriter RenewWriter",
            "bellboard.v1.SubscribeService: Subscribe UpdateSubscription RefreshCredential",
        ]
    );
    for name in [
        "google.rpc.ErrorInfo",
        "google.rpc.BadRequest",
        "google.rpc.RetryInfo",
        "google.rpc.Status",
    ] {
        assert!(pool.get_message_by_name(name).is_some(), "{name} is missing");
    }
}

#[test]
fn only_publish_events_streams_both_ways() {
    let both: Vec<String> = pool()
        .services()
        .flat_map(|service| service.methods().collect::<Vec<_>>())
        .filter(prost_reflect::MethodDescriptor::is_client_streaming)
        .map(|method| method.name().to_owned())
        .collect();
    assert_eq!(both, ["PublishEvents"]);
}

/// The family that a payload's name says.
fn family_by_name(field: &str) -> EventFamily {
    let family = |name: &str| EventFamily::from_str_name(&format!("EVENT_FAMILY_{}", name.to_uppercase()));
    match field {
        "files_changed"
        | "diff_updated"
        | "plan_updated"
        | "workspace_updated"
        | "change_request_updated"
        | "artifact_updated" => EventFamily::Work,
        "retry_scheduled"
        | "quota_updated"
        | "quota_blocked"
        | "quota_resumed"
        | "usage_recorded"
        | "compaction_started"
        | "compaction_completed"
        | "history_reverted"
        | "notice" => EventFamily::Health,
        other => family(other.split('_').next().unwrap()).unwrap_or_else(|| panic!("{other} names no family")),
    }
}

#[test]
fn every_payload_number_lies_in_the_range_of_its_family() {
    let event = pool().get_message_by_name(EVENT).unwrap();
    let payload = event.oneofs().find(|oneof| oneof.name() == "payload").unwrap();
    let mut seen = Vec::new();
    for field in payload.fields().filter(|field| field.name() != "redacted") {
        let family = family_of(field.number());
        assert_eq!(
            family,
            Some(family_by_name(field.name())),
            "{} = {}",
            field.name(),
            field.number()
        );
        seen.extend(family);
    }
    let missing: Vec<_> = (1..=15)
        .filter(|number| !seen.iter().any(|family| *family as i32 == *number))
        .collect();
    assert!(missing.is_empty(), "families without a payload: {missing:?}");
    for number in (0..20).chain([220, 1_000]) {
        assert_eq!(family_of(number), None, "field {number} has no family");
    }
}

#[test]
fn a_reason_is_written_without_its_prefix_and_read_back() {
    assert_eq!(reason_name(v1::ErrorReason::SessionOwned), "SESSION_OWNED");
    assert_eq!(reason_from_name("SESSION_OWNED"), Some(v1::ErrorReason::SessionOwned));
    assert_eq!(reason_from_name("OF_A_LATER_HUB"), None);
}

#[test]
fn the_readme_says_of_every_reason_once_when_to_retry() {
    let readme = include_str!("../README.md");
    let table: Vec<&str> = readme.lines().filter(|line| line.starts_with("| **")).collect();
    let reasons = pool().get_enum_by_name("bellboard.v1.ErrorReason").unwrap();
    for reason in reasons.values().filter(|reason| reason.number() != 0) {
        let name = format!("`{}`", reason.name().trim_start_matches("ERROR_REASON_"));
        let rows = table.iter().filter(|row| row.contains(&name)).count();
        assert_eq!(rows, 1, "{name} stands in {rows} rows of the retry table");
    }
}
