//! Puts envelopes around what the map found: session, ids, witness, dedupe key, raw bytes.
//!
//! The one thing to believe: a dedupe key names the *fact*, in opencode's own ids, never the way in which it was heard.
//! So a sweep, a repeat and a restart give the same key, and the hub stores the fact once.

use std::sync::Arc;

use bellboard_proto::v1::event::Payload;
use bellboard_proto::v1::session_ref::Ref;
use bellboard_proto::v1::{
    Attribution, Delta, DeltaAppend, Event, EventAppend, Native, Notice, NoticeSeverity, RawContent, SessionKey,
    SessionRef, Witness, delta::Fragment,
};
use bytes::Bytes;
use prost::Message as _;
use prost_types::Timestamp;

use crate::long_text::{EVENT_BYTES_MAX, RAW_BYTES_MAX, clipped};
use crate::out::Out;
use crate::report::Report;

/// The vendor, as the contract's keys name it.
pub(crate) const VENDOR: &str = "opencode";

/// Longest dedupe key that the hub takes, in bytes.
const DEDUPE_KEY_BYTES_MAX: usize = 256;

/// What names a session: the parts of its key that are opencode's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Name {
    /// The connector's own id.
    pub(crate) installation: Arc<str>,
    /// The folder that the session was made in. It never changes here, for it is part of the key.
    pub(crate) directory: Arc<str>,
    /// opencode's id.
    pub(crate) native_id: Arc<str>,
}

impl Name {
    pub(crate) fn reference(&self) -> SessionRef {
        SessionRef {
            r#ref: Some(Ref::Key(SessionKey {
                vendor: VENDOR.to_owned(),
                installation: self.installation.to_string(),
                project: self.directory.to_string(),
                native_id: self.native_id.to_string(),
            })),
        }
    }
}

/// Where a fact belongs beside its session, and when it happened.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct At<'a> {
    pub(crate) turn: &'a str,
    pub(crate) item: &'a str,
    pub(crate) ask: &'a str,
    /// Milliseconds since 1970, by opencode's clock.
    pub(crate) time_ms: Option<u64>,
}

/// What opencode said that the map now speaks about.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Cause<'a> {
    pub(crate) kind: &'a str,
    pub(crate) id: &'a str,
    pub(crate) witness: Witness,
    /// The bytes as they came; `None` in a sweep.
    pub(crate) raw: Option<&'a Bytes>,
    /// How many live frames were heard before, so that a sweep's answer can be told from later news.
    pub(crate) order: u64,
}

/// Gathers what one cause gives.
#[derive(Debug)]
pub(crate) struct Emit<'a> {
    pub(crate) cause: Cause<'a>,
    pub(crate) report: &'a mut Report,
    pub(crate) out: Vec<Out>,
}

impl<'a> Emit<'a> {
    pub(crate) fn new(cause: Cause<'a>, report: &'a mut Report) -> Self {
        Emit {
            cause,
            report,
            out: Vec::new(),
        }
    }

    /// A fact as its cause tells it.
    pub(crate) fn fact(&mut self, name: &Name, at: At<'_>, key: &str, payload: Payload) {
        self.push(name, at, key, payload, self.cause.witness);
    }

    /// A fact that follows from its cause and is not said by it.
    pub(crate) fn derived(&mut self, name: &Name, at: At<'_>, key: &str, payload: Payload) {
        self.push(name, at, key, payload, Witness::Derived);
    }

    /// A live fragment.
    pub(crate) fn delta(&mut self, name: &Name, turn: &str, item: &str, at: u64, fragment: Fragment) {
        self.report.deltas += 1;
        let delta = Delta {
            session_id: String::new(),
            item_id: item.to_owned(),
            turn_id: turn.to_owned(),
            at,
            fragment: Some(fragment),
        };
        self.out.push(Out::Delta(Box::new(DeltaAppend {
            session: Some(name.reference()),
            delta: Some(delta),
        })));
    }

    fn push(&mut self, name: &Name, at: At<'_>, key: &str, payload: Payload, witness: Witness) {
        self.report.events += 1;
        self.report.derived += u64::from(witness == Witness::Derived);
        let raw = if witness == Witness::Structured && !matches!(payload, Payload::VendorRaw(_)) {
            self.raw()
        } else {
            None
        };
        let event = self.fitting(Event {
            turn_id: at.turn.to_owned(),
            item_id: at.item.to_owned(),
            ask_id: at.ask.to_owned(),
            occurred_time: at.time_ms.map(timestamp),
            attribution: Some(Attribution {
                witness: witness.into(),
                native: Some(Native {
                    vendor: VENDOR.to_owned(),
                    r#type: clipped(self.cause.kind, 128),
                    id: clipped(self.cause.id, 128),
                }),
                ..Attribution::default()
            }),
            payload: Some(payload),
            ..Event::default()
        });
        self.out.push(Out::Event(Box::new(EventAppend {
            session: Some(name.reference()),
            event: Some(event),
            seq: 0,
            dedupe_key: clipped(key, DEDUPE_KEY_BYTES_MAX),
            raw,
        })));
    }

    fn raw(&mut self) -> Option<RawContent> {
        let bytes = self.cause.raw?;
        if bytes.len() > RAW_BYTES_MAX {
            self.report.raw_omitted += 1;
            return None;
        }
        Some(RawContent {
            media_type: "application/json".to_owned(),
            content: bytes.clone(),
        })
    }

    /// The event, or in place of one that the hub would refuse a notice that says what is missing.
    fn fitting(&mut self, event: Event) -> Event {
        let bytes = event.encoded_len();
        if bytes <= EVENT_BYTES_MAX {
            return event;
        }
        self.report.too_large += 1;
        let notice = Notice {
            severity: NoticeSeverity::Warning.into(),
            title: "An event of the agent is too large to keep".to_owned(),
            text: format!("{} of {bytes} bytes was left out", clipped(self.cause.kind, 128)),
            code: "too_large".to_owned(),
            show_duration: None,
        };
        Event {
            payload: Some(Payload::Notice(notice)),
            ..event
        }
    }
}

/// Milliseconds since 1970 as the contract has them.
pub(crate) fn timestamp(time_ms: u64) -> Timestamp {
    let seconds = i64::try_from(time_ms / 1000).unwrap_or(i64::MAX);
    let nanos = i32::try_from(time_ms % 1000).unwrap_or(0) * 1_000_000;
    // The contract's times end with the year 9999; what lies beyond is a mistake of the vendor's clock.
    Timestamp {
        seconds: seconds.min(253_402_300_799),
        nanos,
    }
}

/// A length of time from milliseconds.
pub(crate) fn duration(milliseconds: u64) -> prost_types::Duration {
    let seconds = i64::try_from(milliseconds / 1000).unwrap_or(i64::MAX);
    prost_types::Duration {
        seconds,
        nanos: i32::try_from(milliseconds % 1000).unwrap_or(0) * 1_000_000,
    }
}
