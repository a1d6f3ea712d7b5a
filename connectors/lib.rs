//! Ties coding agents to a Bellboard hub: one folder per vendor, all of one shape.
//!
//! The one thing to believe: **map is pure and everything else is plumbing.** What a vendor says becomes events and
//! deltas in a state machine that knows no network and no clock; its recordings are its tests.
//!
//! | part | what it does | may touch |
//! | --- | --- | --- |
//! | tap | follows the vendor's live stream, redials, asks for what a stream cannot tell | network |
//! | map | turns what was heard into [`Out`]: events with dedupe keys, deltas with places | nothing |
//! | reconcile | compares the vendor's own record with what map knows, and has map say the rest as `derived` | nothing |
//! | control | hands commands and answers to the vendor | network |
//!
//! [`Sink`] takes what comes out; [`publish`] is the one that writes to a hub. `HOWTO.md` says how to add a vendor.

pub mod installation;
pub mod long_text;
pub mod opencode;
pub mod out;
pub mod presence;
pub mod publish;

pub mod report;

pub use out::{Out, Sink, SinkError};
pub use report::Report;
