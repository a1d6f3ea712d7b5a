//! opencode: a server with a live stream of events and lists to compare it with.
//!
//! The one thing to believe: the stream loses events, at its beginning and at every cut, and says so nowhere. What counts is
//! what the lists say; the stream is for being quick.
//!
//! `tap` follows, `map` understands, `reconcile` says what to compare. Control is not built yet: the connector only listens.

mod answer;
mod api;
mod frame;
mod held;
mod map;
mod places;
mod reconcile;
mod sse;
mod tap;

use std::future::Future;
use std::path::PathBuf;
use std::time::Duration;

use bellboard_sdk::{Client, RetryPolicy};
use sha2::{Digest, Sha256};

use crate::installation;
use crate::out::{Sink, SinkError};
use crate::presence::{Identity, Presence};
use crate::publish::{self, Hub};
use crate::report::Report;

pub use api::Error as ApiError;
pub use frame::{Frame, Place};
pub use map::{Mapper, Origin};
pub use reconcile::RECENT_SESSIONS;

/// Which opencode to follow, and as whom.
#[derive(Debug, Clone)]
pub struct Options {
    /// The server's address, for instance `http://127.0.0.1:4096`. Plain HTTP: opencode speaks nothing else.
    pub url: String,
    /// What the server was started with as `OPENCODE_SERVER_PASSWORD`. Default: none.
    pub password: Option<String>,
    /// The connector's state folder, made if it is missing: it holds the installation's id and the events that wait for the
    /// hub.
    pub state_dir: PathBuf,
    /// The machine as a person knows it. Default: empty.
    pub host: String,
    /// How to dial opencode again. Default [`RetryPolicy::stream`], which never gives up.
    pub retry: RetryPolicy,
    /// The length of the connector's tick, for tests. Default: one second. What waits, waits a number of ticks.
    pub tick: Duration,
}

impl Options {
    /// Follows the server at this address, with this state folder.
    #[must_use]
    pub fn new(url: impl Into<String>, state_dir: impl Into<PathBuf>) -> Options {
        Options {
            url: url.into(),
            password: None,
            state_dir: state_dir.into(),
            host: String::new(),
            retry: RetryPolicy::stream(),
            tick: Duration::from_secs(1),
        }
    }
}

/// Why the connector ended.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Its own id cannot be had.
    #[error("the connector has no id of its own")]
    Installation(#[from] installation::Error),
    /// opencode cannot be followed at all, or not within the retries that were allowed.
    #[error("opencode cannot be followed")]
    Refused(#[source] ApiError),
    /// opencode's stream was lost more often in a row than the retries that were allowed.
    #[error("opencode's stream is lost again and again; look at its log")]
    Lost,
    /// The hub's side could not be opened.
    #[error("the hub cannot be written to")]
    Hub(#[source] bellboard_sdk::Error),
    /// The hub takes no more.
    #[error("the hub takes no more events")]
    Sink(#[source] SinkError),
}

/// Follows an opencode server and publishes what it says to the hub, until `shutdown` resolves. Both may be away for any time:
/// events wait in the state folder, and what opencode said meanwhile is compared afterwards. Prints nothing; logs by `tracing`.
///
/// Answers what was counted.
///
/// # Errors
/// [`Error`], whose variants are what the caller can do something about.
pub async fn run(
    options: Options,
    client: &Client,
    shutdown: impl Future<Output = ()> + Send,
) -> Result<Report, Error> {
    let installation = installation::load_or_create(&options.state_dir)?;
    let writer_id = writer_id(&installation, &options.url);
    let spool = options.state_dir.join("spool").join(&writer_id);
    let api = api::Api::new(&options.url, options.password.clone()).map_err(Error::Refused)?;
    let opened = async {
        let sessions = held::sessions(client, &api, &writer_id).await?;
        Hub::open(client, &writer_id, spool, sessions).await
    };
    tokio::pin!(shutdown);
    let hub = tokio::select! {
        hub = opened => hub.map_err(Error::Hub)?,
        () = &mut shutdown => return Ok(Report::default()),
    };
    let (followed, hub, report) = follow(&options, installation, hub, shutdown).await;
    hub.close(publish::CLOSE_TIMEOUT).await;
    followed.map(|()| report)
}

/// As [`run`], into any sink, under the installation's id that is given. Gives the sink back.
///
/// # Errors
/// As [`run`].
pub async fn follow<S: Sink>(
    options: &Options,
    installation: String,
    sink: S,
    shutdown: impl Future<Output = ()> + Send,
) -> (Result<(), Error>, S, Report) {
    let api = match api::Api::new(&options.url, options.password.clone()) {
        Ok(api) => api,
        Err(error) => return (Err(Error::Refused(error)), sink, Report::default()),
    };
    let presence = Presence::new(Identity {
        connector_id: writer_id(&installation, &options.url),
        vendor: map::VENDOR.to_owned(),
        host: options.host.clone(),
    });
    let mapper = Mapper::new(Origin {
        installation,
        host: options.host.clone(),
        directory: String::new(),
    });
    let settings = tap::Settings {
        retry: options.retry.clone(),
        tick: options.tick,
    };
    let mut tap = tap::Tap::new(api, settings, mapper, presence, sink);
    let (followed, why) = tokio::select! {
        followed = tap.follow() => (followed, "opencode cannot be followed any more"),
        () = shutdown => (Ok(()), "the connector was ended"),
    };
    // A sink that has no room, or takes nothing any more, does not hold the end up: its hub finds out by the lease.
    let left = tokio::time::timeout(publish::CLOSE_TIMEOUT, tap.leave(why)).await;
    let followed = followed.and_then(|()| left.unwrap_or(Ok(())).map_err(Error::Sink));
    tap.report().log();
    let report = tap.report().clone();
    (followed, tap.sink, report)
}

/// The writer's own lasting id: one for each server that this installation follows.
#[must_use]
pub fn writer_id(installation: &str, url: &str) -> String {
    let digest = Sha256::digest(url.trim_end_matches('/').as_bytes());
    let server: String = digest.iter().take(4).map(|byte| format!("{byte:02x}")).collect();
    format!("{}-{installation}-{server}", map::VENDOR)
}
