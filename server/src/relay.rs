//! The only room that knows whether there are other nodes.
//!
//! Believe this: a relay never carries the truth, it only says that there is news. What it loses costs time, never an event, because
//! every node compares its tails with the store by itself.

pub mod local;
