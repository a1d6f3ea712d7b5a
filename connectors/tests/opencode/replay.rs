//! Runs a recording through the map, and reads what comes out.

use std::collections::BTreeMap;
use std::path::PathBuf;

use bellboard_connectors::Out;
use bellboard_connectors::opencode::{Frame, Mapper, Origin};
use bellboard_proto::v1::content_part::Part;
use bellboard_proto::v1::delta::Fragment;
use bellboard_proto::v1::event::Payload;
use bellboard_proto::v1::session_ref::Ref;
use bellboard_proto::v1::{EventAppend, LongText, SessionKey, Witness};
use bytes::Bytes;
use serde_json::Value;

/// Where the recordings lie.
pub(crate) fn fixtures() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("fixtures/opencode")
}

/// The names of all recordings.
pub(crate) fn names() -> Vec<String> {
    let mut names: Vec<String> = std::fs::read_dir(fixtures())
        .expect("the folder of recordings")
        .filter_map(|entry| {
            entry
                .expect("an entry")
                .file_name()
                .to_str()
                .and_then(|name| name.strip_suffix(".jsonl"))
                .map(str::to_owned)
        })
        .collect();
    names.sort();
    names
}

/// The lines of a recording.
pub(crate) fn lines(name: &str) -> Vec<Value> {
    let text = std::fs::read_to_string(fixtures().join(format!("{name}.jsonl"))).expect("a recording");
    text.lines()
        .map(|line| serde_json::from_str(line).expect("a line of JSON"))
        .collect()
}

/// What the live streams said, in order.
pub(crate) fn frames(name: &str) -> Vec<Value> {
    lines(name)
        .into_iter()
        .filter(|line| matches!(line["src"].as_str(), Some("/event" | "/global/event")))
        .map(|line| line["data"].clone())
        .collect()
}

pub(crate) fn mapper() -> Mapper {
    Mapper::new(Origin {
        installation: "test-installation".into(),
        host: "demo-host".into(),
        directory: "/workspace/demo".into(),
    })
}

/// Maps one frame of a recording.
pub(crate) fn map(mapper: &mut Mapper, data: &Value) -> Vec<Out> {
    let bytes = Bytes::from(data.to_string());
    let frame = Frame::parse(&bytes).expect("a frame");
    mapper.on_frame(&frame, &bytes)
}

/// Maps a whole recording. A second `server.connected` is a new connection after a cut.
pub(crate) fn replay(mapper: &mut Mapper, name: &str) -> Vec<Out> {
    let mut out = Vec::new();
    let mut connections = 0;
    for data in frames(name) {
        if Frame::from_value(&data).kind == "server.connected" {
            connections += 1;
            if connections > 1 {
                mapper.on_stream_lost();
            }
        }
        out.extend(map(mapper, &data));
    }
    out
}

pub(crate) fn events(out: &[Out]) -> Vec<&EventAppend> {
    out.iter()
        .filter_map(|out| match out {
            Out::Event(event) => Some(&**event),
            Out::Delta(_) => None,
        })
        .collect()
}

pub(crate) fn payload(append: &EventAppend) -> &Payload {
    append
        .event
        .as_ref()
        .and_then(|event| event.payload.as_ref())
        .expect("a payload")
}

pub(crate) fn key(append: &EventAppend) -> &SessionKey {
    match append.session.as_ref().and_then(|session| session.r#ref.as_ref()) {
        Some(Ref::Key(key)) => key,
        other => panic!("no key: {other:?}"),
    }
}

/// Session and dedupe key of each event: what a hub tells events apart by.
pub(crate) fn identities(out: &[Out]) -> Vec<(String, String)> {
    events(out)
        .into_iter()
        // What the connector says of itself is of no session.
        .filter(|event| event.session.is_some())
        .map(|event| (key(event).native_id.clone(), event.dedupe_key.clone()))
        .collect()
}

/// The text of a message or a block of reasoning that is complete, by item.
pub(crate) fn completed_texts(out: &[Out]) -> BTreeMap<String, String> {
    let whole = |text: &LongText| text.text.clone();
    events(out)
        .into_iter()
        .filter_map(|append| {
            let text = match payload(append) {
                Payload::MessageCompleted(message) => match message.content.first()?.part.as_ref()? {
                    Part::Text(text) => whole(text),
                    other => panic!("unexpected content {other:?}"),
                },
                Payload::ReasoningCompleted(reasoning) => whole(reasoning.text.as_ref()?),
                _ => return None,
            };
            Some((append.event.as_ref()?.item_id.clone(), text))
        })
        .collect()
}

/// What a client of the hub has of each item after all deltas, applied as the contract says; panics at a delta that lies
/// about its place, has no started event before it, or comes after the end.
pub(crate) fn delta_texts(out: &[Out]) -> BTreeMap<String, String> {
    let mut texts: BTreeMap<String, String> = BTreeMap::new();
    let mut open: BTreeMap<String, bool> = BTreeMap::new();
    for out in out {
        match out {
            Out::Event(append) => {
                let item = append.event.as_ref().expect("an event").item_id.clone();
                match payload(append) {
                    Payload::MessageStarted(_) | Payload::ReasoningStarted(_) | Payload::ToolStarted(_) => {
                        open.insert(item, true);
                    }
                    Payload::MessageCompleted(_) | Payload::ReasoningCompleted(_) | Payload::ToolCompleted(_) => {
                        open.insert(item, false);
                    }
                    _ => {}
                }
            }
            Out::Delta(append) => {
                let delta = append.delta.as_ref().expect("a delta");
                assert_eq!(
                    open.get(&delta.item_id),
                    Some(&true),
                    "a delta of {} outside of its item's life",
                    delta.item_id
                );
                let text = texts.entry(delta.item_id.clone()).or_default();
                assert_eq!(
                    delta.at,
                    text.len() as u64,
                    "a delta of {} lies about its place",
                    delta.item_id
                );
                match delta.fragment.as_ref().expect("a fragment") {
                    Fragment::MessageText(fragment) | Fragment::ReasoningText(fragment) => text.push_str(fragment),
                    Fragment::ToolOutput(output) => text.push_str(std::str::from_utf8(&output.content).expect("text")),
                    Fragment::ToolInput(_) => panic!("opencode tells no input in pieces"),
                }
            }
        }
    }
    texts
}

/// One line for each thing that came out, for people and for comparison.
pub(crate) fn summary(out: &[Out]) -> String {
    out.iter().map(|out| line(out) + "\n").collect()
}

fn line(out: &Out) -> String {
    match out {
        Out::Delta(append) => {
            let delta = append.delta.as_ref().expect("a delta");
            format!(
                "  delta {} at {} {:?}",
                delta.item_id,
                delta.at,
                delta.fragment.as_ref().expect("a fragment")
            )
        }
        Out::Event(append) => {
            let event = append.event.as_ref().expect("an event");
            let attribution = event.attribution.as_ref().expect("an attribution");
            let derived = if attribution.witness() == Witness::Derived {
                " derived"
            } else {
                ""
            };
            let told = match payload(append) {
                Payload::VendorRaw(raw) => format!("VendorRaw({}, {} bytes)", raw.r#type, raw.content.len()),
                other => format!("{other:?}"),
            };
            let session = &key(append).native_id;
            format!(
                "{session} {}{derived} turn={} item={} ask={} {told}",
                append.dedupe_key, event.turn_id, event.item_id, event.ask_id
            )
        }
    }
}
