//! Small words that the summaries are made of.
//!
//! Believe this: nothing long is copied: of a text only its beginning is taken, more than any line shows.

use std::borrow::Borrow;

use bellboard_sdk::v1::content_part::Part;
use bellboard_sdk::v1::{ContentPart, LongText, Usage};

/// Bytes of a text that a summary takes: several lines of any terminal.
const TEXT_BYTES_MAX: usize = 4_096;

/// An enum's value as a word: without its prefix, in small letters; nothing for the unspecified one.
pub(in crate::cli) fn word(name: &str, prefix: &str) -> String {
    match name.strip_prefix(prefix).unwrap_or(name) {
        "UNSPECIFIED" => String::new(),
        name => name.to_lowercase().replace('_', " "),
    }
}

/// The parts that say something, with spaces between.
pub(super) fn join<const N: usize>(parts: [impl Borrow<String>; N]) -> String {
    let said = parts
        .iter()
        .map(Borrow::borrow)
        .filter(|part: &&String| !part.is_empty());
    said.map(|part| clip(part)).collect::<Vec<_>>().join(" ")
}

/// `label value`, or nothing without a value.
pub(super) fn some(label: &str, value: &str) -> String {
    if value.is_empty() {
        String::new()
    } else {
        format!("{label} {}", clip(value))
    }
}

/// In brackets, or nothing.
pub(super) fn aside(text: &str) -> String {
    if text.is_empty() {
        String::new()
    } else {
        format!("({})", clip(text))
    }
}

/// The text's beginning.
pub(super) fn clip(text: &str) -> &str {
    &text[..text.floor_char_boundary(TEXT_BYTES_MAX)]
}

/// The beginning of a long text.
pub(super) fn long(text: Option<&LongText>) -> String {
    text.map(|text| clip(&text.text).to_owned()).unwrap_or_default()
}

/// What parts say: their texts, and the names of the others.
pub(super) fn content(parts: &[ContentPart]) -> String {
    let mut said = String::new();
    for part in parts {
        let text = match &part.part {
            Some(Part::Text(text)) => clip(&text.text).to_owned(),
            Some(Part::ResourceLink(link)) if link.title.is_empty() => format!("[{}]", clip(&link.uri)),
            Some(Part::ResourceLink(link)) => format!("[{}]", clip(&link.title)),
            Some(Part::Embedded(raw)) => format!("[{} {}]", clip(&raw.media_type), bytes(raw.content.len() as u64)),
            // A later hub's.
            None => "[?]".to_owned(),
        };
        if !said.is_empty() {
            said.push(' ');
        }
        said.push_str(&text);
        if said.len() > TEXT_BYTES_MAX {
            break;
        }
    }
    said
}

/// A number of bytes, short.
pub(in crate::cli) fn bytes(count: u64) -> String {
    match count {
        0..1_024 => format!("{count} B"),
        1_024..1_048_576 => format!("{} KiB", count / 1_024),
        1_048_576.. => format!("{} MiB", count / 1_048_576),
    }
}

/// A number of tokens, short.
fn count(count: u64) -> String {
    match count {
        0..10_000 => count.to_string(),
        10_000..10_000_000 => format!("{}k", count / 1_000),
        10_000_000.. => format!("{}M", count / 1_000_000),
    }
}

/// How long, short.
pub(super) fn duration(duration: Option<&prost_types::Duration>) -> String {
    let Some(duration) = duration else {
        return String::new();
    };
    match duration.seconds {
        ..1 => format!("{} ms", duration.nanos / 1_000_000),
        1..60 => format!("{}.{} s", duration.seconds, duration.nanos / 100_000_000),
        60.. => format!("{} min {} s", duration.seconds / 60, duration.seconds % 60),
    }
}

/// What model calls used.
pub(super) fn usage(usage: Option<&Usage>) -> String {
    let Some(usage) = usage else {
        return String::new();
    };
    let tokens = format!(
        "{} tokens in, {} out",
        count(usage.input_tokens),
        count(usage.output_tokens)
    );
    let cost = usage.cost.as_ref().filter(|cost| cost.amount_micros > 0).map(|cost| {
        let cents = cost.amount_micros / 10_000;
        format!("{}.{:02} {}", cents / 100, cents % 100, clip(&cost.currency))
    });
    join([tokens, cost.map(|cost| aside(&cost)).unwrap_or_default()])
}
