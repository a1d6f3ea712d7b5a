//! The handoff alone, then in small worlds that are walked whole.

mod client;
mod model;
mod steps;
mod stream;
mod world;
mod worlds;
