//! Keeps vendor content within an event: long texts lose their middle, long JSON loses the middle of its strings.
//!
//! The one thing to believe: what is left out is always told, by length and digest or by a mark in its place.

use bellboard_proto::v1::{LongText, RawContent};
use serde_json::Value;
use sha2::{Digest, Sha256};

/// Largest event that the hub takes, in bytes, less room for the envelope that the hub adds.
pub const EVENT_BYTES_MAX: usize = 256 * 1024 - 8 * 1024;

/// Largest raw vendor record beside an event, in bytes: the hub's own limit.
pub const RAW_BYTES_MAX: usize = 256 * 1024;

/// Bytes kept of a long text's beginning. With [`TAIL_BYTES`] half of an event: a tool call has an input beside its output.
pub const HEAD_BYTES: usize = 96 * 1024;

/// Bytes kept of a long text's end, where commands print what went wrong.
pub const TAIL_BYTES: usize = 32 * 1024;

/// Largest JSON value kept as it is, in bytes.
const JSON_BYTES_MAX: usize = 48 * 1024;

/// Longest string in a JSON value that had to be shortened, tried in this order until the whole fits.
const JSON_STRING_BYTES: [usize; 3] = [8 * 1024, 1024, 128];

/// A text for an event, shortened in its middle when it is long.
#[must_use]
pub fn long_text(text: &str) -> LongText {
    shortened(text, HEAD_BYTES, TAIL_BYTES)
}

/// As [`long_text`], with other lengths of head and tail, in bytes.
#[must_use]
pub fn shortened(text: &str, head_bytes: usize, tail_bytes: usize) -> LongText {
    if text.len() <= head_bytes + tail_bytes {
        return LongText {
            text: text.to_owned(),
            ..LongText::default()
        };
    }
    let head = &text[..floor_boundary(text, head_bytes)];
    let tail = &text[ceil_boundary(text, text.len() - tail_bytes)..];
    LongText {
        text: head.to_owned(),
        tail: tail.to_owned(),
        omitted_bytes: (text.len() - head.len() - tail.len()) as u64,
        sha256: Sha256::digest(text.as_bytes()).to_vec().into(),
    }
}

/// The beginning of a text, at most so many bytes, for fields that are shown in one line.
#[must_use]
pub fn clipped(text: &str, bytes_max: usize) -> String {
    text[..floor_boundary(text, bytes_max)].to_owned()
}

/// A JSON value for an event. One that is too long keeps its shape, and its long strings say what they left out.
#[must_use]
pub fn json_content(value: &Value) -> RawContent {
    let whole = value.to_string();
    let content = if whole.len() <= JSON_BYTES_MAX {
        whole
    } else {
        shortened_json(value)
    };
    RawContent {
        media_type: "application/json".to_owned(),
        content: content.into_bytes().into(),
    }
}

fn shortened_json(value: &Value) -> String {
    for string_bytes in JSON_STRING_BYTES {
        let text = with_short_strings(value, string_bytes).to_string();
        if text.len() <= JSON_BYTES_MAX {
            return text;
        }
    }
    let bytes = value.to_string().len();
    serde_json::json!({ "omitted_bytes": bytes }).to_string()
}

fn with_short_strings(value: &Value, bytes_max: usize) -> Value {
    match value {
        Value::String(text) if text.len() > bytes_max => {
            let short = shortened(text, bytes_max / 2, bytes_max / 4);
            Value::String(format!(
                "{}[{} bytes omitted]{}",
                short.text, short.omitted_bytes, short.tail
            ))
        }
        Value::Array(items) => items.iter().map(|item| with_short_strings(item, bytes_max)).collect(),
        Value::Object(fields) => Value::Object(
            fields
                .iter()
                .map(|(name, field)| (name.clone(), with_short_strings(field, bytes_max)))
                .collect(),
        ),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => value.clone(),
    }
}

fn floor_boundary(text: &str, at: usize) -> usize {
    (0..=at.min(text.len()))
        .rev()
        .find(|index| text.is_char_boundary(*index))
        .unwrap_or(0)
}

fn ceil_boundary(text: &str, at: usize) -> usize {
    (at..=text.len())
        .find(|index| text.is_char_boundary(*index))
        .unwrap_or(text.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_that_fits_is_kept_whole() {
        let kept = long_text("hello");
        assert_eq!(
            kept,
            LongText {
                text: "hello".to_owned(),
                ..LongText::default()
            }
        );
    }

    #[test]
    fn a_long_text_keeps_its_ends_and_says_what_is_missing() {
        let text = "é".repeat(HEAD_BYTES);
        let kept = long_text(&text);
        let kept_bytes = kept.text.len() + kept.tail.len();
        assert!(kept_bytes <= HEAD_BYTES + TAIL_BYTES);
        assert_eq!(kept_bytes as u64 + kept.omitted_bytes, text.len() as u64);
        assert_eq!(kept.sha256, Sha256::digest(text.as_bytes()).to_vec());
    }

    #[test]
    fn long_json_stays_json_and_fits() {
        let value = serde_json::json!({ "filePath": "/a", "content": "x".repeat(300_000) });
        let content = json_content(&value).content;
        assert!(content.len() <= JSON_BYTES_MAX);
        let back: Value = serde_json::from_slice(&content).expect("still JSON");
        assert_eq!(back["filePath"], "/a");
        assert!(back["content"].as_str().expect("a string").contains("bytes omitted"));
    }

    #[test]
    fn json_of_very_many_small_strings_fits_too() {
        let value: Value = (0..20_000)
            .map(|number| Value::from(format!("line {number}")))
            .collect();
        assert!(json_content(&value).content.len() <= JSON_BYTES_MAX);
    }
}
