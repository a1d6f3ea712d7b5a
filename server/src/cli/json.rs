//! Messages of the contract as lines of protobuf-JSON, and back.
//!
//! Believe this: it is the canonical mapping, written from the contract's own descriptors: 64-bit numbers are strings, bytes are base64,
//! times are RFC 3339. What other tools print and read is the same. This is the only file that knows how.

use std::sync::LazyLock;

use bellboard_sdk::v1;
use prost::Message;
use prost_reflect::{DescriptorPool, DeserializeOptions, DynamicMessage, MessageDescriptor};

/// A message that has a line.
pub(super) trait Line: Message + Default {
    /// Its name in the contract.
    const NAME: &'static str;
}

macro_rules! lines {
    ($($message:ident),+) => {$(
        impl Line for v1::$message {
            const NAME: &'static str = concat!("bellboard.v1.", stringify!($message));
        }
    )+};
}

lines!(AppendResult, Event, EventAppend, Session, SubscribeResponse);

/// Why a message has no line. Every one is a fault of this program.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The contract's descriptors cannot be read.
    #[error("the built-in description of the contract cannot be read; this is a fault of this program")]
    Descriptors,
    /// The message does not fit its own description.
    #[error("a message does not fit the built-in description of the contract; this is a fault of this program")]
    Bytes(#[from] prost::DecodeError),
    /// The message cannot be written.
    #[error("a message cannot be written as JSON")]
    Write(#[from] serde_json::Error),
}

/// Why a line is no message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Problem {
    /// The path of the field at fault, as it stands in the line; empty for the line as a whole.
    pub(super) field: String,
    /// What is wrong with it.
    pub(super) message: String,
}

static CONTRACT: LazyLock<Option<DescriptorPool>> =
    LazyLock::new(|| DescriptorPool::decode(bellboard_proto::FILE_DESCRIPTOR_SET).ok());

fn descriptor(name: &str) -> Result<MessageDescriptor, Error> {
    let contract = CONTRACT.as_ref().ok_or(Error::Descriptors)?;
    contract.get_message_by_name(name).ok_or(Error::Descriptors)
}

/// The message as one line, without the line's end.
pub(super) fn line<M: Line>(message: &M) -> Result<String, Error> {
    let message = DynamicMessage::decode(descriptor(M::NAME)?, message.encode_to_vec().as_slice())?;
    Ok(serde_json::to_string(&message)?)
}

/// Reads a line. Fields may be named as in JSON or as in the contract; one that does not exist is a problem, so that a mistyped name
/// is told and not lost.
pub(super) fn parse<M: Line>(line: &str) -> Result<Result<M, Problem>, Error> {
    let descriptor = descriptor(M::NAME)?;
    let mut json = serde_json::Deserializer::from_str(line);
    let mut track = serde_path_to_error::Track::new();
    let tracked = serde_path_to_error::Deserializer::new(&mut json, &mut track);
    let options = DeserializeOptions::new().deny_unknown_fields(true);
    let read = DynamicMessage::deserialize_with_options(descriptor, tracked, &options);
    let read = read.and_then(|message| json.end().map(|()| message));
    match read {
        Ok(message) => Ok(Ok(M::decode(message.encode_to_vec().as_slice())?)),
        Err(error) => Ok(Err(problem(&error, &track.path()))),
    }
}

fn problem(error: &serde_json::Error, path: &serde_path_to_error::Path) -> Problem {
    let text = error.to_string();
    // The line is counted by whoever reads lines; within one it is always 1.
    let message = match text.split_once(" at line 1 column ") {
        Some((message, column)) => format!("{message} (column {column})"),
        None => text,
    };
    let path = path.to_string();
    let field = if path == "." { String::new() } else { path };
    Problem { field, message }
}

#[cfg(test)]
mod tests {
    use bellboard_sdk::v1::event::Payload;
    use bellboard_sdk::v1::subscribe_response::Frame;

    use super::*;

    fn round_trip<M: Line + PartialEq + std::fmt::Debug>(message: &M) -> String {
        let line = line(message).unwrap();
        assert!(!line.contains('\n'));
        assert_eq!(&parse::<M>(&line).unwrap().unwrap(), message, "{line}");
        line
    }

    fn event() -> v1::Event {
        let mut event = v1::Event {
            event_id: "e-1".into(),
            offset: u64::MAX - 1,
            link: 1 << 63,
            session_id: "s-1".into(),
            ..v1::Event::default()
        };
        event.recorded_time = Some(prost_types::Timestamp {
            seconds: 1_700_000_000,
            nanos: 5_000_000,
        });
        event.payload = Some(Payload::VendorRaw(v1::VendorRaw {
            vendor: "v".into(),
            content: vec![0, 255, 254].into(),
            ..v1::VendorRaw::default()
        }));
        event
    }

    #[test]
    fn numbers_of_64_bits_are_strings_and_bytes_are_base64() {
        let line = round_trip(&event());
        assert!(line.contains(r#""offset":"18446744073709551614""#), "{line}");
        assert!(line.contains(r#""link":"9223372036854775808""#), "{line}");
        assert!(line.contains(r#""content":"AP/+""#), "{line}");
        assert!(line.contains(r#""recordedTime":"2023-11-14T22:13:20.005Z""#), "{line}");
    }

    #[test]
    fn every_message_that_has_a_line_comes_back_whole() {
        let response = v1::SubscribeResponse {
            resume_token: "t".into(),
            frame: Some(Frame::Events(v1::EventsFrame {
                from: 0,
                until: 1 << 60,
                events: vec![event()],
                raws: Vec::new(),
            })),
        };
        assert!(round_trip(&response).starts_with(r#"{"resumeToken":"t","events":{"until":"1152921504606846976""#));
        round_trip(&v1::Session {
            session_id: "s".into(),
            last_offset: Some(0),
            ..v1::Session::default()
        });
        round_trip(&v1::EventAppend {
            event: Some(event()),
            ..v1::EventAppend::default()
        });
        let rejected = v1::append_result::Outcome::Rejected(v1::EventRejected {
            reason: v1::ErrorReason::PayloadMissing.into(),
            ..v1::EventRejected::default()
        });
        let result = v1::AppendResult {
            outcome: Some(rejected),
            ..v1::AppendResult::default()
        };
        assert_eq!(
            round_trip(&result),
            r#"{"rejected":{"reason":"ERROR_REASON_PAYLOAD_MISSING"}}"#
        );
    }

    #[test]
    fn names_of_the_contract_are_read_too() {
        let line = r#"{"session":{"session_id":"s"},"event":{"item_id":"m","message_completed":{}}}"#;
        let append = parse::<v1::EventAppend>(line).unwrap().unwrap();
        assert!(matches!(
            append.event.unwrap().payload,
            Some(Payload::MessageCompleted(_))
        ));
    }

    #[test]
    fn a_bad_line_names_its_field() {
        let problem = |line: &str| parse::<v1::EventAppend>(line).unwrap().unwrap_err();
        let field = |line: &str| problem(line).field;
        assert_eq!(
            field(r#"{"event":{"messageCompleted":{"content":[{"text":{"text":5}}]}}}"#),
            "event.messageCompleted.content[0].text.text"
        );
        assert_eq!(
            field(r#"{"event":{"turnStarted":{"trigger":"NO_SUCH"}}}"#),
            "event.turnStarted.trigger"
        );
        let unknown = problem(r#"{"event":{"mesage":{}}}"#);
        assert!(
            unknown.field.starts_with("event") && unknown.message.contains("mesage"),
            "{unknown:?}"
        );
        let broken = problem(r#"{"event":"#);
        assert!(broken.message.contains("(column 9)"), "{broken:?}");
        assert!(!problem("{} {}").message.is_empty());
    }
}
