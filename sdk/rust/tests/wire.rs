//! The SDK against a hub that plays a script, over real sockets.
//!
//! The one thing to believe: the test is the hub. It takes each call as it comes and says every frame itself, so that what
//! real hubs do rarely happens here every time.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a script that does not play as written is a failed test"
)]

#[path = "wire/codec.rs"]
mod codec;
#[path = "wire/hub.rs"]
mod hub;
#[path = "wire/frames.rs"]
mod frames;
#[path = "wire/client.rs"]
mod client;
#[path = "wire/subscription.rs"]
mod subscription;
#[path = "wire/entering.rs"]
mod entering;
#[path = "wire/update.rs"]
mod update;
#[path = "wire/key.rs"]
mod key;
#[path = "wire/patience.rs"]
mod patience;
#[path = "wire/place.rs"]
mod place;
#[path = "wire/writer.rs"]
mod writer;
#[path = "wire/spool.rs"]
mod spool;
