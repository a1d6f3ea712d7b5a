//! The hub between coding agents and the people who run them, as a library: the program is `main.rs`, tests start it by
//! `serve::start`.
//!
//! Believe this: two rooms talk only as the modules below stand. `wire` knows tonic and prost, `auth` knows credentials, `store` knows
//! sea-orm; what is decided is decided in `bellboard_core`. `serve` puts them together, `config` says how, `cli` is the rest.

pub mod config;
pub mod telemetry;
pub mod tasks;
pub mod serve;
pub mod wire;
pub mod auth;
pub mod store;
pub mod relay;
pub mod cli;
