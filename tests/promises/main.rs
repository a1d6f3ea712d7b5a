//! The promises, over the real wire. Names begin with the id of the scenario that they settle.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::disallowed_methods,
    clippy::wildcard_enum_match_arm,
    reason = "a test fails by panicking, owns its process, and looks for one kind among many"
)]

mod append;
mod resume;
mod facts;
mod reset;
mod closings;
mod asked;
mod retention;
mod live;
mod identity;
mod history;
mod kill;
mod nodes;
mod durability;
mod landed;
mod verify;
mod rebuild;
mod backup;
mod connectors;
mod every_frame;
mod ownership;
mod watching;
mod hostile;
mod limits;
mod permission;
mod door;
mod sdk;
mod interop;
mod opencode;
mod cli;
