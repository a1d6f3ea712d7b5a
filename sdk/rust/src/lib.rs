//! Write to and read from a Bellboard hub.
//!
//! The one thing to believe: losing the connection, the hub or the process is the SDK's business, not yours. A [`Writer`] stores
//! each event once, and a [`Subscription`] goes on right after the frame that you took last.
//!
//! | you want to | use |
//! | --- | --- |
//! | reach a hub | [`Client::connect`], with [`local_key`] for the one on this machine |
//! | look at sessions and history | [`Client::get_session`], [`Client::list_sessions`], [`Client::list_events`] |
//! | append a few events | [`Client::append_events`] |
//! | append many, with deltas, from a connector | [`Writer::open`] |
//! | follow what happens | [`Client::subscribe`], with [`interest`] and a [`FileResumeTokenStore`] |
//! | follow something else on the same stream | [`Subscription::update`] |
//! | wake a stream, or steer it from elsewhere | [`Subscription::control`] |
//! | go on with another key | [`Client::use_key`] |
//! | show text while it is typed | [`ItemTexts`] |
//! | call anything else | the generated clients, for instance [`Client::session_events`], with the messages of [`v1`] |
//!
//! Everything that can fail fails with an [`Error`] whose variant says what to do next.
//!
//! # Reading
//!
//! ```no_run
//! use bellboard_sdk::interest::{self, Detailed as _};
//! use bellboard_sdk::{Client, Frame, Options, Start, SubscribeOptions, local_key};
//! use futures_util::StreamExt as _;
//!
//! # #[tokio::main(flavor = "current_thread")] async fn main() -> bellboard_sdk::Result<()> {
//! let client = Client::connect(Options::default().with_key(local_key(None)?))?;
//! let options = SubscribeOptions::to([interest::all().live()]).starting(Start::Last(20));
//! let mut frames = client.subscribe(options);
//! while let Some(frame) = frames.next().await {
//!     if let Frame::Events(batch) = frame? {
//!         for event in batch.events {
//!             println!("{:>6}  {}", event.offset, event.session_id);
//!         }
//!     }
//! }
//! # Ok(()) }
//! ```
//!
//! A stream changes while it is read: [`Subscription::update`] asks for other interests, and the frame
//! [`Frame::SubscriptionUpdated`] says from where on they are in force. What it adds comes with a snapshot, as does a session that
//! enters (it is linked to a parent that is followed, or moved to a project that is); the events that the snapshot had already are not
//! handed out again.
//!
//! ```no_run
//! use bellboard_sdk::interest::{self, Detailed as _};
//! use bellboard_sdk::{Client, Frame, SubscribeOptions};
//! use futures_util::StreamExt as _;
//!
//! # async fn example(client: Client, mut chosen: tokio::sync::mpsc::Receiver<String>) -> bellboard_sdk::Result<()> {
//! // A board: a list of all, and everything of the session on the screen.
//! let board = |session: &str| [interest::all().summary(), interest::tree(session).live()];
//! let mut frames = client.subscribe(SubscribeOptions::to(board("s-1")).as_client("this-window"));
//! let control = frames.control();
//! loop {
//!     tokio::select! {
//!         Some(session) = chosen.recv() => { control.update(board(&session)); }
//!         Some(frame) = frames.next() => match frame? {
//!             Frame::SnapshotPage(page) => println!("{} sessions, as they are", page.sessions.len()),
//!             Frame::Events(batch) => println!("{} events", batch.events.len()),
//!             Frame::CredentialExpiring(_) => client.use_key("bb_another_key")?,
//!             _ => {}
//!         },
//!         else => return Ok(()),
//!     }
//! }
//! # }
//! ```
//!
//! # Writing
//!
//! ```no_run
//! use bellboard_sdk::v1::{Event, EventAppend, TurnStarted, event::Payload};
//! use bellboard_sdk::{Client, Options, Writer, WriterOptions, session_id};
//!
//! # #[tokio::main(flavor = "current_thread")] async fn main() -> bellboard_sdk::Result<()> {
//! let client = Client::connect(Options::default())?;
//! let writer = Writer::open(&client, WriterOptions::new("my-connector")).await?;
//! let event = Event { payload: Some(Payload::TurnStarted(TurnStarted::default())), ..Event::default() };
//! let append = EventAppend { session: Some(session_id("s-1")), event: Some(event), ..EventAppend::default() };
//! let ticket = writer.append(append).await?; // taken: it will be stored, once
//! ticket.await?; // stored, duplicate or rejected
//! writer.close().await
//! # }
//! ```

mod client;
mod error;
mod resume_token_store;
mod retry;
mod session;
mod subscription;
mod writer;

/// The contract's messages.
pub use bellboard_proto::v1;

pub use client::{
    Client, Credential, DEFAULT_ADDRESS, MESSAGE_BYTES_MAX, Options, Transport, default_data_dir, local_key,
};
pub use error::{Error, Failure, FieldProblem, Result};
pub use resume_token_store::{FileResumeTokenStore, MemoryResumeTokenStore, ResumeTokenStore};
pub use retry::{Backoff, RetryPolicy, retrying};
pub use session::{accepted, session_id};
pub use subscription::{
    Control, Events, Frame, ItemTexts, OnUndecodable, Start, SubscribeOptions, Subscription, TextChange,
    UndecodableEvent, UnknownFrame, interest,
};
pub use writer::{APPEND_BYTES_MAX, DELTA_BYTES_MAX, Recovered, Spool, Ticket, Writer, WriterOptions, WriterStats};
