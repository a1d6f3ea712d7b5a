//! The server: puts the rooms together, keeps them running, and ends them politely.
//!
//! Believe this: [`start`] returns when the port answers, and [`Running`] owns everything that runs. [`Running::shutdown`] ends it in
//! order, streams first and the store last; dropping it cuts everything at once, as `kill -9` would.

pub mod settings;
pub mod folder;
pub mod lock;
pub mod tls;
mod files;
mod timer;
mod socket;
mod peers;
mod method;
mod quotas;
mod open;
mod calls;
mod partial;
mod arriving;
mod admission;
mod connections;
mod cork;
mod metrics;
mod services;

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use bellboard_core::clock::Clock;
use bellboard_core::hub::Hub;
use bellboard_core::lease;
use bellboard_core::retention::{self, Retention};
use bellboard_core::store;
use bellboard_core::subscription::registry::Nodes;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tonic_health::server::HealthReporter;
use tracing::{info, warn};

use crate::auth::rules::Scheme;
use crate::auth::{Keys, Rules, keys, local};
use crate::relay;
use crate::store::{Options, Sql};
use crate::tasks::{Ended, Tasks};
use crate::wire;
use crate::wire::encode::Protobuf;
use connections::{Listener, Speech};
use lock::Lock;
use metrics::Sources;
use metrics::page::{self, Page};
use open::Open;
use peers::Peers;
use quotas::Quotas;
pub use settings::Settings;
use settings::{Proxy, Reach};
use timer::Timer;

/// How often the resume token keys are read anew. A new one mints only after a multiple of this.
const RESUME_KEYS_INTERVAL: Duration = keys::REFRESH_INTERVAL;

/// How long the last commits may take at the end, once nobody waits for them any more.
const LAST_COMMITS_MAX: Duration = Duration::from_secs(5);

/// Why a server does not start.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The data folder cannot be used.
    #[error(transparent)]
    Folder(#[from] folder::Error),
    /// Another server has the data folder, or the lock cannot be used.
    #[error(transparent)]
    Lock(#[from] lock::Error),
    /// Certificate or key cannot be used.
    #[error(transparent)]
    Tls(#[from] tls::Error),
    /// The database cannot be opened.
    #[error("cannot open the database")]
    Open(#[from] crate::store::Error),
    /// The database was opened and then failed.
    #[error("cannot use the database")]
    Store(#[from] store::Error),
    /// There is no local key.
    #[error(transparent)]
    LocalKey(#[from] local::Error),
    /// Others could reach the hub and nothing would protect them, or it.
    #[error("{listen} can be reached from elsewhere, and {missing}")]
    Exposed {
        /// Where it would listen.
        listen: SocketAddr,
        /// What is missing, and how to have it.
        missing: &'static str,
    },
    /// Nobody can listen there.
    #[error("cannot listen on {listen}; choose another address, or stop what listens there")]
    Listen {
        /// Where it would listen.
        listen: SocketAddr,
        /// What the system said.
        source: io::Error,
    },
    /// The services cannot be put together.
    #[error(transparent)]
    Services(#[from] services::Error),
}

/// A server that runs.
#[derive(Debug)]
pub struct Running {
    /// Where it listens; the port that was given where 0 was asked for.
    pub local_addr: SocketAddr,
    /// The same as a URL that clients on this machine can use.
    pub url: String,
    /// Where its metrics are, if it shows them.
    pub metrics_url: Option<String>,
    /// Where its data lies.
    pub data_dir: PathBuf,
    /// The text of the local key, as it stands in `local.key`.
    pub local_key: String,
    clock: Arc<dyn Clock>,
    drain_deadline: Duration,
    hub: Arc<Hub>,
    health: HealthReporter,
    draining: watch::Sender<bool>,
    /// The socket and, through it, all connections.
    connections: Tasks,
    /// What keeps keys fresh.
    background: Tasks,
    /// The committer. It ends by itself once nobody holds the hub.
    committer: Tasks,
    store: Arc<Sql>,
    /// Let go of last.
    lock: Lock,
}

/// Starts a server. When this returns, its port answers.
///
/// # Errors
/// See [`Error`]; then nothing runs.
pub async fn start(settings: Settings, clock: Arc<dyn Clock>) -> Result<Running, Error> {
    folder::make(&settings.data_dir)?;
    let mut lock = Lock::take(&settings.data_dir)?;
    let tls = settings.tls.as_ref().map(tls::acceptor).transpose()?;
    let encode = Arc::new(Protobuf);
    let options = Options {
        synchronous: settings.synchronous,
        ..Options::default()
    };
    let database = settings.database();
    let store = Arc::new(Sql::open(database.clone(), encode.clone(), options).await?);
    let api_keys = Arc::new(store.api_keys());
    let nodes = if database.is_shared() {
        Nodes::Several
    } else {
        Nodes::One
    };
    let local_key = local::ensure(&settings.data_dir, &api_keys, nodes, clock.now()).await?;
    let keys = Keys::new(clock.clone());
    keys.load(&*api_keys).await?;
    let others = local::others(&api_keys, clock.now()).await?;
    may_listen(&settings, others)?;

    let (socket, local_addr) = listen(settings.listen).await?;
    let metrics = match &settings.metrics {
        Some(metrics) => Some((listen(metrics.listen).await?, metrics.reach)),
        None => None,
    };
    let scheme = settings.tls.as_ref().map_or(Scheme::Http, |_| Scheme::Https);
    let url = url(local_addr, scheme);
    lock.tell(&url)?;
    let (window, retention) = (settings.window_bytes, settings.retention);
    let logs = crate::store::bounded(store.clone(), &database);
    let (hub, committer) = Hub::open(logs, encode, clock.clone(), window, nodes, retention).await?;
    let state = wire::State {
        hub: hub.clone(),
        replay_events: settings.replay_events,
        heartbeat: settings.heartbeat,
        max_stream_age: settings.max_stream_age,
    };
    let rules = Rules::new(
        local_addr,
        scheme,
        settings.allowed_hosts.clone(),
        settings.allowed_origins.clone(),
    );
    let health = HealthReporter::new();
    services::well(&health).await;
    let origins = &settings.allowed_origins;
    let (open, quotas) = (Arc::<Open>::default(), Quotas::new(settings.per_principal));
    let (state, rules) = (Arc::new(state), Arc::new(rules));
    let service = services::assemble(state, health.clone(), keys.clone(), rules, origins, quotas.clone())?;

    let (mut connections, mut background, mut committing) = (Tasks::default(), Tasks::default(), Tasks::default());
    committing.spawn("committer", committer.run());
    background.spawn("keys", keys.refresh(api_keys));
    background.spawn("resume-keys", refresh_resume_keys(hub.clone()));
    background.spawn("relay", relay::run(hub.clone()));
    background.spawn("leases", lease::run(hub.clone()));
    if retention != Retention::default() {
        background.spawn("retention", retention::run(hub.clone()));
    }
    background.spawn("snapshots", hub.snapshots().clone().sweep());
    let draining = watch::Sender::new(false);
    let (timer, peers) = (
        Timer::new(clock.clone()),
        Peers::new(settings.connections_per_address()),
    );
    let sources = Sources {
        hub: hub.clone(),
        peers: peers.clone(),
        cuts: Arc::default(),
        open,
        quotas,
    };
    let listener = Listener {
        socket,
        speech: Speech {
            tls,
            clock: clock.clone(),
            timer: timer.clone(),
            keepalive: settings.keepalive,
            open: sources.open.clone(),
            cuts: sources.cuts.clone(),
        },
        connections: files::for_connections(settings.connections),
        peers,
    };
    let metrics_url = metrics.map(|((socket, listen), reach)| {
        background.spawn("metrics", page::serve(socket, Page::new(sources, listen, reach, timer)));
        format!("{}/metrics", self::url(listen, Scheme::Http))
    });
    connections.spawn(
        "connections",
        connections::accept(listener, service, draining.subscribe()),
    );
    info!(%url, %database, data_dir = %settings.data_dir.display(), "the hub runs");
    Ok(Running {
        local_addr,
        url,
        metrics_url,
        data_dir: settings.data_dir,
        local_key,
        clock,
        drain_deadline: settings.drain_deadline,
        hub,
        health,
        draining,
        connections,
        background,
        committer: committing,
        store,
        lock,
    })
}

impl Running {
    /// The hub, for tests that look at its counters.
    #[must_use]
    pub fn hub(&self) -> &Hub {
        &self.hub
    }

    /// Waits until something that should run for ever ends by itself, which is a broken promise inside: the server should then be shut
    /// down. Cancel safe.
    pub async fn wait(&mut self) -> Ended {
        let ended = tokio::select! {
            ended = self.connections.ended() => ended,
            ended = self.background.ended() => ended,
            ended = self.committer.ended() => ended,
        };
        match ended {
            Some(ended) => ended,
            // Everything was told of before; there is nothing more to wait for.
            None => std::future::pending().await,
        }
    }

    /// Ends politely: streams are told to come back, no connection is accepted, health says no. What has not ended at the deadline is
    /// cut. Whatever was acknowledged is durable, as always.
    pub async fn shutdown(self) {
        let Running {
            local_addr: _,
            url: _,
            metrics_url: _,
            data_dir: _,
            local_key: _,
            clock,
            drain_deadline,
            hub,
            mut health,
            draining,
            mut connections,
            mut background,
            mut committer,
            store,
            lock,
        } = self;
        info!("the hub is going");
        hub.drain();
        draining.send_replace(true);
        services::going(&mut health).await;
        tokio::select! {
            _ = connections.ended() => {}
            () = clock.sleep(drain_deadline) => {
                warn!("streams have not ended in time; cutting them");
                connections.stop().await;
            }
        }
        background.stop().await;
        // Ours is the last handle: now the committer ends, after what is queued.
        drop(hub);
        tokio::select! {
            _ = committer.ended() => {}
            () = clock.sleep(LAST_COMMITS_MAX) => {
                warn!("the last commits have not ended in time; leaving them");
                committer.stop().await;
            }
        }
        if let Err(error) = store.close().await {
            warn!(%error, "the database was not closed well; it will be repaired at the next start");
        }
        drop(lock);
        info!("the hub is gone");
    }
}

/// Elsewhere than on loopback there must be a key that others can have, and something that keeps it secret on its way.
fn may_listen(settings: &Settings, others: bool) -> Result<(), Error> {
    if let Some(metrics) = &settings.metrics
        && metrics.reach == Reach::Loopback
        && !metrics.listen.ip().is_loopback()
    {
        return Err(Error::Exposed {
            listen: metrics.listen,
            missing: "metrics need no key; give --metrics-address an address of loopback, or say --metrics-anywhere",
        });
    }
    let listen = settings.listen;
    if listen.ip().is_loopback() {
        return Ok(());
    }
    let missing = if !others {
        "there is no key but the local one; make one with `bellboard key create --principal NAME`"
    } else if settings.tls.is_none() && settings.proxy == Proxy::None {
        "keys would travel in the clear; give --tls-cert and --tls-key, or say --behind-proxy if a proxy that speaks TLS stands in front"
    } else {
        return Ok(());
    };
    Err(Error::Exposed { listen, missing })
}

async fn listen(listen: SocketAddr) -> Result<(TcpListener, SocketAddr), Error> {
    let failed = |source| Error::Listen { listen, source };
    let socket = TcpListener::bind(listen).await.map_err(failed)?;
    let local_addr = socket.local_addr().map_err(failed)?;
    Ok((socket, local_addr))
}

fn url(listener: SocketAddr, scheme: Scheme) -> String {
    let mut address = listener;
    match address.ip() {
        std::net::IpAddr::V4(ip) if ip.is_unspecified() => address.set_ip(std::net::Ipv4Addr::LOCALHOST.into()),
        std::net::IpAddr::V6(ip) if ip.is_unspecified() => address.set_ip(std::net::Ipv6Addr::LOCALHOST.into()),
        std::net::IpAddr::V4(_) | std::net::IpAddr::V6(_) => {}
    }
    match scheme {
        Scheme::Http => format!("http://{address}"),
        Scheme::Https => format!("https://{address}"),
    }
}

/// `bellboard key rotate-resume` and `remove-resume` act on the store; this is how a server learns of it.
async fn refresh_resume_keys(hub: Arc<Hub>) {
    let mut failing = false;
    loop {
        hub.clock().sleep(RESUME_KEYS_INTERVAL).await;
        let outcome = hub.reload_keys().await;
        match &outcome {
            Err(error) if !failing => warn!(%error, "resume token keys cannot be read; those known stay good"),
            Ok(()) | Err(_) => {}
        }
        failing = outcome.is_err();
    }
}

#[cfg(test)]
mod tests;
