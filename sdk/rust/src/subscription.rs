//! A stream of frames that outlives its connections.
//!
//! The one thing to believe: dialling again is not the application's business. Losses of the connection, of the hub and of the
//! whole machine's wakefulness lead to a new `subscribed` frame in the same stream, which goes on right after the last frame that
//! was handed out. Resets, gaps and snapshots are frames too; an error is what somebody has to act upon.

pub mod interest;
mod frame;
mod wire;
mod accounting;
mod revisions;
pub(crate) mod watchdog;
mod place;
mod control;
mod calls;
mod dial;
mod ends;
mod follow;
mod item_texts;

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bellboard_proto::v1::{Interest, OnGap};
use futures_util::stream::{BoxStream, Stream, StreamExt as _};

pub use control::Control;
pub use frame::{Events, Frame, UndecodableEvent, UnknownFrame};
pub use item_texts::{ItemTexts, TextChange};

use crate::client::Client;
use crate::error::Result;
use crate::resume_token_store::ResumeTokenStore;
use crate::retry::RetryPolicy;
use control::Shared;
use follow::Follower;
use place::Place;

/// Where a stream starts when its store holds no resume token.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Start {
    /// At the tail: the first event is the next one stored.
    #[default]
    Now,
    /// At the oldest event kept.
    Oldest,
    /// At the newest so many matching events: 1 to 10,000.
    Last(u32),
    /// With a snapshot, then what follows it.
    Snapshot,
    /// Right after what this resume token covers.
    ResumeToken(String),
}

/// What to do after something came that cannot be read. The resume token moves past it in either case.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum OnUndecodable {
    /// Dial again with a snapshot, so that what the application holds is right again: at most once a minute, and not for
    /// something in a snapshot. For applications that fold events into a state.
    #[default]
    Snapshot,
    /// Go on. For applications that only pass events along.
    Continue,
}

/// What to subscribe to, and how.
#[derive(Debug, Clone)]
pub struct SubscribeOptions {
    /// Where to start. Default: now. A resume token in `store` goes before it.
    pub start: Start,
    /// What to stream: 1 to 64, made by [`interest`](crate::interest).
    pub interests: Vec<Interest>,
    /// What to do when a resume token's events are not all to be had. Default: a snapshot.
    pub on_gap: OnGap,
    /// The raw vendor bytes too. Default: no.
    pub include_raw: bool,
    /// End once all sessions of the interests are closed and delivered; only with session selectors. Default: no.
    pub stop_when_closed: bool,
    /// How long the stream may be silent: 1 s to 60 s. `None`: 15 s.
    pub heartbeat_interval: Option<Duration>,
    /// How long an event may wait for company: up to 1 s. `None`: not at all.
    pub linger: Option<Duration>,
    /// The running application's own lasting id: a later stream of the same id replaces this one. Default: empty, none.
    pub client_id: String,
    /// How long a frame may be, in bytes. 0, the default: as the hub likes.
    pub max_frame_bytes: u32,
    /// Where the place is kept between two runs. `None`: nowhere.
    pub store: Option<Arc<dyn ResumeTokenStore>>,
    /// Save the place at most this often. 0, the default: with every frame, so that a restarted program never sees a frame
    /// again that it had asked to follow. A longer one saves work and may repeat so much after a crash.
    pub save_interval: Duration,
    /// What to do after something that cannot be read. Default: a snapshot.
    pub on_undecodable: OnUndecodable,
    /// How to dial again. Default [`RetryPolicy::stream`], which never gives up.
    pub retry: RetryPolicy,
}

impl Default for SubscribeOptions {
    fn default() -> SubscribeOptions {
        SubscribeOptions {
            start: Start::Now,
            interests: Vec::new(),
            on_gap: OnGap::Snapshot,
            include_raw: false,
            stop_when_closed: false,
            heartbeat_interval: None,
            linger: None,
            client_id: String::new(),
            max_frame_bytes: 0,
            store: None,
            save_interval: Duration::ZERO,
            on_undecodable: OnUndecodable::Snapshot,
            retry: RetryPolicy::stream(),
        }
    }
}

impl SubscribeOptions {
    /// These interests, from now on.
    #[must_use]
    pub fn to(interests: impl IntoIterator<Item = Interest>) -> SubscribeOptions {
        SubscribeOptions {
            interests: interests.into_iter().collect(),
            ..SubscribeOptions::default()
        }
    }

    /// Starting there.
    #[must_use]
    pub fn starting(mut self, start: Start) -> SubscribeOptions {
        self.start = start;
        self
    }

    /// As this client: see [`client_id`](SubscribeOptions::client_id).
    #[must_use]
    pub fn as_client(mut self, client_id: impl Into<String>) -> SubscribeOptions {
        self.client_id = client_id.into();
        self
    }

    /// Keeping its place there.
    #[must_use]
    pub fn with_store(mut self, store: impl ResumeTokenStore + 'static) -> SubscribeOptions {
        self.store = Some(Arc::new(store));
        self
    }
}

/// A stream of frames. Nothing happens before it is polled, and dropping it cancels it at the hub.
///
/// **Place.** The resume token of a frame is saved once the application asks for the next frame, or calls
/// [`acknowledge`](Subscription::acknowledge): what a crash interrupts is delivered again, what was followed by another frame is
/// not. An application that must rather skip than repeat acknowledges before it acts.
///
/// **Errors.** After [`Error::ResumeTokenStore`](crate::Error::ResumeTokenStore) (but for the first load), after
/// [`Error::StartFromSnapshot`](crate::Error::StartFromSnapshot) with `RESUME_TOKEN_INVALID`, and after the refusal of an
/// [`update`](Subscription::update) or of a [new key](crate::Client::use_key) the stream goes on: from a snapshot, with the interests and
/// with the key that it had. Any other error is followed by the end.
///
/// **End.** `None` comes after `closing` COMPLETE, which means that there is no more, and after a last error:
///
/// | the hub closed with | what comes |
/// | --- | --- |
/// | COMPLETE | the end |
/// | DRAINING, MAX_AGE | the stream dials again when the hub said, over a new connection |
/// | CREDENTIAL_EXPIRED | it dials again with the key given to [`Client::use_key`](crate::Client::use_key); without one, [`Error::Credential`](crate::Error::Credential) and the end |
/// | PERMISSION_REVOKED | [`Error::Permission`](crate::Error::Permission) and the end |
/// | REPLACED | [`Error::Replaced`](crate::Error::Replaced) and the end |
///
/// **Memory.** Nothing is queued here: an application that does not ask for frames holds the hub back through HTTP/2, whose
/// window is 1 MiB for each stream.
///
/// ```no_run
/// use bellboard_sdk::{Client, FileResumeTokenStore, Frame, Options, SubscribeOptions, interest, local_key};
/// use futures_util::StreamExt as _;
///
/// # async fn example() -> bellboard_sdk::Result<()> {
/// let client = Client::connect(Options::default().with_key(local_key(None)?))?;
/// let options = SubscribeOptions::to([interest::all()]).with_store(FileResumeTokenStore::new("place"));
/// let mut frames = client.subscribe(options);
/// while let Some(frame) = frames.next().await {
///     match frame? {
///         Frame::Events(batch) => batch.events.iter().for_each(|event| println!("{} {}", event.offset, event.session_id)),
///         Frame::Gap(gap) => println!("events {} to {} are gone", gap.from, gap.until),
///         _ => {}
///     }
/// }
/// # Ok(()) }
/// ```
pub struct Subscription {
    frames: BoxStream<'static, Result<Frame>>,
    // The other holder is the follower within `frames`.
    shared: Arc<Shared>,
}

impl Client {
    /// Subscribes. It dials when the stream is first polled, so that every error comes through the stream.
    #[must_use]
    pub fn subscribe(&self, options: SubscribeOptions) -> Subscription {
        let place = Place::new(options.store.clone(), options.save_interval);
        let shared = Arc::new(Shared::new(place, options.interests.clone()));
        let follower = Follower::new(self.clone(), options, Arc::clone(&shared));
        let frames = futures_util::stream::unfold(follower, |mut follower| async move {
            let frame = Box::pin(follower.next()).await?;
            Some((frame, follower))
        });
        Subscription {
            // Fused: who asks again after the end is told the end again.
            frames: frames.fuse().boxed(),
            shared,
        }
    }
}

impl Subscription {
    /// The resume token of the frame that was handed out last. `None` before the first.
    #[must_use]
    pub fn resume_token(&self) -> Option<String> {
        self.shared.place.handed_out()
    }

    /// Saves the place of the frame that was handed out last, now: for applications that want it saved before they act on it,
    /// or before they stop.
    ///
    /// # Errors
    /// [`Error::ResumeTokenStore`](crate::Error::ResumeTokenStore).
    pub async fn acknowledge(&mut self) -> Result<()> {
        self.shared.place.acknowledge().await
    }

    /// Replaces the interests, whole, while the stream goes on: 1 to 64 of them. Gives the number of the change.
    ///
    /// It returns at once, and of several calls the newest wins. The change is in force from the frame
    /// [`Frame::SubscriptionUpdated`] with this number or a higher one on, and a snapshot of what it added follows. It is kept over
    /// redials; a cut before that snapshot's end may undo it for a moment, which a `SubscriptionUpdated` with the lower number says, and
    /// the change comes again. What the hub will not have is told by an error of the stream, which goes on with the interests that it had.
    ///
    /// ```no_run
    /// # use bellboard_sdk::interest::{self, Detailed as _};
    /// # use bellboard_sdk::{Frame, Subscription};
    /// # use futures_util::StreamExt as _;
    /// # async fn example(mut frames: Subscription) -> bellboard_sdk::Result<()> {
    /// // The board stays; another session is on the screen.
    /// let change = frames.update([interest::all().summary(), interest::tree("s-2").live()]);
    /// while let Some(frame) = frames.next().await {
    ///     match frame? {
    ///         Frame::SubscriptionUpdated(updated) if updated.revision >= change => println!("from here on it is s-2"),
    ///         Frame::SnapshotPage(page) => println!("{} sessions as they are", page.sessions.len()),
    ///         _ => {}
    ///     }
    /// }
    /// # Ok(()) }
    /// ```
    pub fn update(&self, interests: impl IntoIterator<Item = Interest>) -> u64 {
        self.control().update(interests)
    }

    /// A handle that steers the stream from elsewhere while it is being read.
    #[must_use]
    pub fn control(&self) -> Control {
        Control {
            shared: Arc::clone(&self.shared),
        }
    }
}

impl Stream for Subscription {
    type Item = Result<Frame>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame>>> {
        self.frames.poll_next_unpin(context)
    }
}

impl fmt::Debug for Subscription {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Subscription").finish_non_exhaustive()
    }
}
