//! One thing that opencode said, taken apart as far as every part of the connector needs it.
//!
//! The one thing to believe: parsing is lenient. What is missing or of another type reads as absent, and whatever has no
//! place keeps its bytes and becomes `vendor_raw`.

use serde_json::Value;

/// An event of `/global/event` or `/event`, or a row of `/sync/history`.
#[derive(Debug, Clone, PartialEq)]
pub struct Frame {
    /// The folder of the instance that said it. Empty when not told.
    pub directory: String,
    /// opencode's id of the event, `evt_...`. Empty when not told.
    pub id: String,
    /// Its kind, without the version that durable kinds carry in the history.
    pub kind: String,
    /// What it says.
    pub properties: Value,
    /// Its place in its session's durable events. Told by `sync` wrappers and history rows only.
    pub place: Option<Place>,
}

/// A place in opencode's own numbering: the durable events of one session, from 0.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// The session.
    pub aggregate: String,
    /// The number.
    pub seq: u64,
}

impl Frame {
    /// Reads the data of one server-sent event. `None` for what is no JSON object.
    #[must_use]
    pub fn parse(data: &[u8]) -> Option<Frame> {
        let outer: Value = serde_json::from_slice(data).ok()?;
        outer.is_object().then(|| Frame::from_value(&outer))
    }

    /// Reads an event that is already JSON: a bare one of `/event`, or one in the wrapping of `/global/event`.
    #[must_use]
    pub fn from_value(outer: &Value) -> Frame {
        let event = outer.get("payload").unwrap_or(outer);
        let directory = text(outer, "/directory").to_owned();
        if text(event, "/type") == "sync" {
            return Frame {
                directory,
                ..Frame::from_history(&event["syncEvent"])
            };
        }
        Frame {
            directory,
            id: text(event, "/id").to_owned(),
            kind: text(event, "/type").to_owned(),
            properties: event["properties"].clone(),
            place: None,
        }
    }

    /// Reads a row of `/sync/history`, which is also the inside of a `sync` wrapper.
    #[must_use]
    pub fn from_history(row: &Value) -> Frame {
        let aggregate = [text(row, "/aggregateID"), text(row, "/aggregate_id")].concat();
        let kind = text(row, "/type");
        let unversioned = match kind.rsplit_once('.') {
            Some((name, version)) if version.bytes().all(|byte| byte.is_ascii_digit()) => name,
            Some(_) | None => kind,
        };
        Frame {
            directory: String::new(),
            id: text(row, "/id").to_owned(),
            kind: unversioned.to_owned(),
            properties: row["data"].clone(),
            place: number(row, "/seq").map(|seq| Place { aggregate, seq }),
        }
    }

    /// The session that it is about. Empty when it is about none.
    #[must_use]
    pub fn session(&self) -> &str {
        ["/sessionID", "/info/sessionID", "/part/sessionID"]
            .into_iter()
            .map(|pointer| text(&self.properties, pointer))
            .find(|session| !session.is_empty())
            .unwrap_or_else(|| {
                if self.kind.starts_with("session.") {
                    text(&self.properties, "/info/id")
                } else {
                    ""
                }
            })
    }
}

/// The text at a JSON pointer; empty when there is none.
pub(crate) fn text<'a>(value: &'a Value, pointer: &str) -> &'a str {
    value.pointer(pointer).and_then(Value::as_str).unwrap_or_default()
}

/// The whole number, 0 or above, at a JSON pointer. opencode writes some of them with a fraction.
pub(crate) fn number(value: &Value, pointer: &str) -> Option<u64> {
    let found = value.pointer(pointer)?;
    // A fraction of a millisecond or of a token means nothing; the cast saturates.
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "saturates, which is meant"
    )]
    found.as_u64().or_else(|| {
        found
            .as_f64()
            .filter(|number| *number >= 0.0)
            .map(|number| number as u64)
    })
}

/// The list at a JSON pointer; empty when there is none.
pub(crate) fn list<'a>(value: &'a Value, pointer: &str) -> &'a [Value] {
    value
        .pointer(pointer)
        .and_then(Value::as_array)
        .map_or(&[], Vec::as_slice)
}

/// Whether opencode made an id after another of the same kind. Ids begin with 48 bits of time, which start again from 0 every
/// 26 months, so that the plain order of texts is not that of time.
pub(crate) fn is_later(id: &str, than: &str) -> bool {
    match (clock(id), clock(than)) {
        (Some(one), Some(other)) if one != other => one.wrapping_sub(other) & CLOCK_MASK <= CLOCK_MASK / 2,
        (Some(_) | None, _) => id > than,
    }
}

/// The bits of an id that are time.
const CLOCK_MASK: u64 = (1 << 48) - 1;

fn clock(id: &str) -> Option<u64> {
    let digits = id.split_once('_')?.1.get(..12)?;
    u64::from_str_radix(digits, 16).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_keep_their_order_when_their_clock_starts_again() {
        for (earlier, later) in [
            ("msg_1f9bd0307001Uwm4", "msg_1f9bd0311001GLWP"),
            ("msg_fffffffff001Uwm4", "msg_000000001001GLWP"),
            ("msg_1f9bd0307001AAAA", "msg_1f9bd0307001BBBB"),
            ("", "msg_1f9bd0307001AAAA"),
        ] {
            assert!(
                is_later(later, earlier) && !is_later(earlier, later),
                "{earlier} {later}"
            );
        }
        assert!(!is_later("msg_1f9bd0307001Uwm4", "msg_1f9bd0307001Uwm4"));
    }

    #[test]
    fn both_wrappings_and_the_history_say_the_same() {
        let data = serde_json::json!({ "sessionID": "ses_1" });
        let bare = serde_json::json!({ "id": "evt_1", "type": "session.updated", "properties": data });
        let global = serde_json::json!({ "directory": "/d", "payload": bare });
        let row = serde_json::json!({ "id": "evt_1", "type": "session.updated.1", "seq": 4, "aggregate_id": "ses_1", "data": data });
        let sync = serde_json::json!({ "directory": "/d", "payload": { "type": "sync", "syncEvent":
            { "id": "evt_1", "type": "session.updated.1", "seq": 4, "aggregateID": "ses_1", "data": data } } });
        let place = Some(Place {
            aggregate: "ses_1".to_owned(),
            seq: 4,
        });
        for (frame, directory, place) in [
            (Frame::from_value(&bare), "", None),
            (Frame::from_value(&global), "/d", None),
            (Frame::from_history(&row), "", place.clone()),
            (Frame::from_value(&sync), "/d", place),
        ] {
            assert_eq!((frame.id.as_str(), frame.kind.as_str()), ("evt_1", "session.updated"));
            assert_eq!((frame.session(), frame.directory.as_str()), ("ses_1", directory));
            assert_eq!(frame.place, place);
        }
    }

    #[test]
    fn what_is_no_object_is_no_frame() {
        assert_eq!(Frame::parse(b"[1]"), None);
        assert_eq!(Frame::parse(b"{\"type\""), None);
    }
}
