//! The promises of the opencode connector, on recordings of a real opencode and against a scripted one.

#![allow(
    clippy::expect_used,
    clippy::wildcard_enum_match_arm,
    reason = "a test that cannot go on says so, and looks at the events it is about"
)]

mod fake;
mod recordings;
mod replay;
mod states;
mod tap;
