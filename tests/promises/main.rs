//! The promises, over the real wire. Names begin with the id of the scenario that they settle.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::disallowed_methods, reason = "a test fails by panicking, and owns its process")]

mod append;
mod resume;
mod reset;
mod live;
mod identity;
mod history;
mod kill;
mod durability;
mod every_frame;
mod hostile;
mod sdk;
mod interop;
mod opencode;
mod cli;
