//! How a server serves, settled.
//!
//! Believe this: nothing here came from a default by accident: [`crate::config`] fills every field, and a test that starts a server
//! begins with [`Settings::new`], which is the same as no flag at all.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use bellboard_core::limits;
use bellboard_core::retention::Retention;

use crate::auth::rules::{Host, Origin};
use crate::store::{self, Database, Synchronous};

/// The port that the hub has unless another is chosen.
pub const PORT: u16 = 2355;

/// Least memory for the newest events: room for a few of the largest.
pub const WINDOW_BYTES_MIN: usize = 1024 * 1024;

/// Most memory for the newest events: more is a mistyped unit.
pub const WINDOW_BYTES_MAX: usize = 64 * 1024 * 1024 * 1024;

/// Least bytes of events that may be kept: less would not hold a few of the largest events.
pub const RETAIN_BYTES_MIN: u64 = 1024 * 1024;

/// Longest time for which events may be kept: a century. More is a mistyped unit, and all are kept where nothing is said.
pub const RETAIN_AGE_MAX: Duration = Duration::from_secs(36_500 * 24 * 60 * 60);

/// How long open streams may take to end, unless another time is chosen: below what service managers wait before they kill.
pub const DRAIN_DEADLINE_DEFAULT: Duration = Duration::from_secs(10);

/// Longest such time that may be chosen.
pub const DRAIN_DEADLINE_MAX: Duration = Duration::from_secs(600);

/// Whether a proxy that speaks TLS stands in front.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Proxy {
    /// Nobody says so.
    #[default]
    None,
    /// The owner says so.
    InFront,
}

/// Where certificate and key lie, as PEM.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsFiles {
    /// The certificate, and those that vouch for it behind it.
    pub certificate: PathBuf,
    /// Its key.
    pub key: PathBuf,
}

/// How a server serves.
#[derive(Clone, Debug, PartialEq)]
pub struct Settings {
    /// Where it listens; port 0 for one that is free.
    pub listen: SocketAddr,
    /// Where its data lies. Made if it is not there.
    pub data_dir: PathBuf,
    /// The PostgreSQL database that holds the logs; none for a file in `data_dir`.
    pub database_url: Option<store::Url>,
    /// When an append is acknowledged.
    pub synchronous: Synchronous,
    /// Memory for the newest events, in bytes.
    pub window_bytes: usize,
    /// Most events that a resume replays; 0 for no limit.
    pub replay_events: u64,
    /// How much of each tenant's log is kept.
    pub retention: Retention,
    /// Time between two heartbeats, for clients that ask for none.
    pub heartbeat: Duration,
    /// Age at which streams are asked to come back; none for never.
    pub max_stream_age: Option<Duration>,
    /// How long open streams may take to end.
    pub drain_deadline: Duration,
    /// Hosts that requests may name, beside loopback.
    pub allowed_hosts: Vec<Host>,
    /// Origins of web pages that may call, beside the hub's own.
    pub allowed_origins: Vec<Origin>,
    /// Whether a proxy stands in front.
    pub proxy: Proxy,
    /// TLS, if the hub itself is to speak it.
    pub tls: Option<TlsFiles>,
    /// Time between two pings of a connection, and how long their answers may take.
    pub keepalive: Duration,
    /// Most connections at a time.
    pub connections: usize,
    /// Most connections of one address; 0 for no limit. See [`limits::CONNECTIONS_PER_ADDRESS_DEFAULT`].
    pub connections_per_address: usize,
    /// What one principal may have open at a time.
    pub per_principal: PrincipalLimits,
    /// Where metrics are shown, if they are.
    pub metrics: Option<Metrics>,
}

/// Where metrics are shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Metrics {
    /// Where; port 0 for one that is free.
    pub listen: SocketAddr,
    /// Who may read them.
    pub reach: Reach,
}

/// From where something may be reached.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Reach {
    /// From this machine.
    #[default]
    Loopback,
    /// From anywhere: the owner says so.
    Anywhere,
}

/// What one principal may have open at a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PrincipalLimits {
    /// Streams out of the hub.
    pub subscriptions: usize,
    /// Streams into the hub.
    pub publishers: usize,
    /// Calls in flight.
    pub calls: usize,
}

impl Default for PrincipalLimits {
    fn default() -> Self {
        PrincipalLimits {
            subscriptions: limits::SUBSCRIPTIONS_PER_PRINCIPAL_DEFAULT,
            publishers: limits::PUBLISHERS_PER_PRINCIPAL_DEFAULT,
            calls: limits::CALLS_PER_PRINCIPAL_DEFAULT,
        }
    }
}

impl Settings {
    /// The defaults, for data in this folder.
    #[must_use]
    pub fn new(data_dir: PathBuf) -> Settings {
        Settings {
            listen: SocketAddr::new(Ipv4Addr::LOCALHOST.into(), PORT),
            data_dir,
            database_url: None,
            synchronous: Synchronous::Full,
            window_bytes: limits::WINDOW_BYTES_DEFAULT,
            replay_events: limits::REPLAY_EVENTS_DEFAULT,
            retention: Retention::default(),
            heartbeat: limits::HEARTBEAT_DEFAULT,
            max_stream_age: None,
            drain_deadline: DRAIN_DEADLINE_DEFAULT,
            allowed_hosts: Vec::new(),
            allowed_origins: Vec::new(),
            proxy: Proxy::None,
            tls: None,
            keepalive: limits::KEEPALIVE_DEFAULT,
            connections: limits::CONNECTIONS_DEFAULT,
            connections_per_address: limits::CONNECTIONS_PER_ADDRESS_DEFAULT,
            per_principal: PrincipalLimits::default(),
            metrics: None,
        }
    }

    /// Most connections of one address; none where one address may have all of them, as a proxy does.
    pub(super) fn connections_per_address(&self) -> Option<usize> {
        Some(self.connections_per_address).filter(|limit| *limit > 0 && self.proxy == Proxy::None)
    }

    /// Where the logs are.
    #[must_use]
    pub fn database(&self) -> Database {
        Database::at(self.database_url.as_ref(), &self.data_dir)
    }
}
