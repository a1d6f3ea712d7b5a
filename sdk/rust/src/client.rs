//! The connection to a hub: one HTTP/2 connection that many calls and streams share.
//!
//! The one thing to believe: making a client touches no network. It dials at the first call, and dials anew by itself
//! whenever the connection is lost.

mod credential;
mod local_key;

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bellboard_proto::v1::attention_service_client::AttentionServiceClient;
use bellboard_proto::v1::command_service_client::CommandServiceClient;
use bellboard_proto::v1::session_events_service_client::SessionEventsServiceClient;
use bellboard_proto::v1::subscribe_service_client::SubscribeServiceClient;
use tonic::service::interceptor::InterceptedService;
use tonic::transport::{Certificate, Channel, ClientTlsConfig, Endpoint};

pub use credential::Credential;
pub(crate) use credential::KeyChanges;
pub use local_key::{default_data_dir, local_key};

use crate::error::{Error, Result};
use crate::retry::RetryPolicy;

/// Where a hub on this machine listens unless told otherwise.
pub const DEFAULT_ADDRESS: &str = "http://127.0.0.1:2355";

/// No message from a hub is longer: its frames are at most 1 MiB but for one with a single large event or snapshot.
pub const MESSAGE_BYTES_MAX: usize = 8 * 1024 * 1024;

/// A hub that does not accept a connection for this long is treated as away.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// How often a quiet connection is asked whether it lives, and how long it has to say so: a dead one is found within 20 s
/// even when nothing is sent on it.
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(10);
const KEEPALIVE_TIMEOUT: Duration = Duration::from_secs(10);
/// What one stream may have on its way before its reader takes it. This is the memory that a slow application costs.
const STREAM_WINDOW_BYTES: u32 = 1024 * 1024;
/// What all streams of the connection may have on their way: so many that one which is not read does not hold up the others.
const CONNECTION_WINDOW_BYTES: u32 = 32 * 1024 * 1024;

/// What calls go through: the connection, with the key put onto each.
pub type Transport = InterceptedService<Channel, Credential>;

/// How to reach a hub. `Options::default()` is a hub on this machine, without a key.
#[derive(Clone)]
pub struct Options {
    /// `http://` or `https://`, host and port. Default [`DEFAULT_ADDRESS`].
    pub address: String,
    /// The API key, sent as `authorization: Bearer KEY`. `None`: no credential. [`local_key`] reads that of a hub on this
    /// machine.
    pub key: Option<String>,
    /// Certificates in PEM to trust instead of the system's, for `https`. `None`: the system's.
    pub ca_certificate: Option<String>,
    /// How to try calls again that may be repeated. Default [`RetryPolicy::call`].
    pub retry: RetryPolicy,
}

impl Default for Options {
    fn default() -> Options {
        Options {
            address: DEFAULT_ADDRESS.to_owned(),
            key: None,
            ca_certificate: None,
            retry: RetryPolicy::call(),
        }
    }
}

impl Options {
    /// A hub at this address.
    #[must_use]
    pub fn at(address: impl Into<String>) -> Options {
        Options {
            address: address.into(),
            ..Options::default()
        }
    }

    /// With this key.
    #[must_use]
    pub fn with_key(mut self, key: impl Into<String>) -> Options {
        self.key = Some(key.into());
        self
    }

    /// With these certificates in PEM instead of the system's.
    #[must_use]
    pub fn with_ca_certificate(mut self, pem: impl Into<String>) -> Options {
        self.ca_certificate = Some(pem.into());
        self
    }

    /// With this policy for calls.
    #[must_use]
    pub fn with_retry(mut self, retry: RetryPolicy) -> Options {
        self.retry = retry;
        self
    }
}

// The key stays out of logs.
impl fmt::Debug for Options {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Options")
            .field("address", &self.address)
            .field("key", &self.key.as_ref().map(|_| "(hidden)"))
            .field("ca_certificate", &self.ca_certificate.is_some())
            .field("retry", &self.retry)
            .finish()
    }
}

/// A hub, as its clients see it. Cheap to clone; clones share one connection.
#[derive(Clone, Debug)]
pub struct Client {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    endpoint: Endpoint,
    credential: Credential,
    retry: RetryPolicy,
    // Held for a clone or a swap only, never over an await.
    connection: Mutex<Connection>,
}

/// The connection that new calls go through. Calls and streams under way keep the one that they began on.
#[derive(Debug, Clone)]
pub(crate) struct Connection {
    /// Which one in a row it is, so that of several streams that find it dead one replaces it.
    number: u64,
    pub(crate) transport: Transport,
}

impl Client {
    /// Makes a client. Nothing is dialled yet: a hub that is away is told by the first call. Must be called within a tokio
    /// runtime.
    ///
    /// # Errors
    /// [`Error::Option`] when the address, the key or the certificate cannot be used.
    ///
    /// ```
    /// use bellboard_sdk::{Client, Options};
    ///
    /// # #[tokio::main(flavor = "current_thread")] async fn main() {
    /// let client = Client::connect(Options::default().with_key("bb_example")).unwrap();
    /// assert!(Client::connect(Options::at("127.0.0.1:2355")).is_err(), "the address needs http:// or https://");
    /// # drop(client);
    /// # }
    /// ```
    pub fn connect(options: Options) -> Result<Client> {
        let Options {
            address,
            key,
            ca_certificate,
            retry,
        } = options;
        if tokio::runtime::Handle::try_current().is_err() {
            return Err(unusable("runtime", "make the client within a tokio runtime"));
        }
        let credential = Credential::parse(key.as_deref())?;
        let endpoint = endpoint(&address, ca_certificate.as_deref())?;
        let connection = Mutex::new(Connection {
            number: 0,
            transport: InterceptedService::new(endpoint.connect_lazy(), credential.clone()),
        });
        Ok(Client {
            shared: Arc::new(Shared {
                endpoint,
                credential,
                retry,
                connection,
            }),
        })
    }

    /// Goes on with another key: every call from now on carries it, of all clones of this client, and every open
    /// [`Subscription`](crate::Subscription) moves to it without ending, as it is read. For applications that are told by
    /// [`Frame::CredentialExpiring`](crate::Frame) that theirs is about to expire.
    ///
    /// A key that the hub refuses is told by the next call, and by the streams, which stay with the old one as long as it lasts.
    ///
    /// # Errors
    /// [`Error::Option`] when it is no key at all; nothing is changed then.
    pub fn use_key(&self, key: &str) -> Result<()> {
        self.shared.credential.replace(key)
    }

    /// The generated client of sessions and events, for what the SDK has no method for.
    #[must_use]
    pub fn session_events(&self) -> SessionEventsServiceClient<Transport> {
        SessionEventsServiceClient::new(self.connection().transport).max_decoding_message_size(MESSAGE_BYTES_MAX)
    }

    /// The generated client of streams. [`Client::subscribe`] is what a program wants.
    #[must_use]
    pub fn subscriptions(&self) -> SubscribeServiceClient<Transport> {
        SubscribeServiceClient::new(self.connection().transport).max_decoding_message_size(MESSAGE_BYTES_MAX)
    }

    /// The generated client of attention.
    #[must_use]
    pub fn attention(&self) -> AttentionServiceClient<Transport> {
        AttentionServiceClient::new(self.connection().transport).max_decoding_message_size(MESSAGE_BYTES_MAX)
    }

    /// The generated client of commands.
    #[must_use]
    pub fn commands(&self) -> CommandServiceClient<Transport> {
        CommandServiceClient::new(self.connection().transport).max_decoding_message_size(MESSAGE_BYTES_MAX)
    }

    /// Gives this connection up for new calls: it is known or thought to be dead, which the system may not notice for long.
    pub(crate) fn give_up(&self, dead: &Connection) {
        let mut current = self.shared.connection.lock().unwrap_or_else(PoisonError::into_inner);
        if current.number == dead.number {
            let channel = self.shared.endpoint.connect_lazy();
            *current = Connection {
                number: dead.number + 1,
                transport: InterceptedService::new(channel, self.shared.credential.clone()),
            };
        }
    }

    pub(crate) fn connection(&self) -> Connection {
        self.shared
            .connection
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    pub(crate) fn key_changes(&self) -> KeyChanges {
        self.shared.credential.changes()
    }

    pub(crate) fn retry(&self) -> &RetryPolicy {
        &self.shared.retry
    }
}

fn endpoint(address: &str, ca_certificate: Option<&str>) -> Result<Endpoint> {
    let secure = address.starts_with("https://");
    if !secure && !address.starts_with("http://") {
        let problem = format!("{address:?} has no scheme; write http:// or https:// before it");
        return Err(unusable("address", problem));
    }
    let endpoint = Endpoint::from_shared(address.to_owned())
        .map_err(|_| {
            unusable(
                "address",
                format!("{address:?} is no address; write {DEFAULT_ADDRESS}, for instance"),
            )
        })?
        .user_agent(concat!("bellboard-sdk-rust/", env!("CARGO_PKG_VERSION")))
        .map_err(|_| unusable("address", "the user agent is refused"))?
        .connect_timeout(CONNECT_TIMEOUT)
        .tcp_nodelay(true)
        .http2_keep_alive_interval(KEEPALIVE_INTERVAL)
        .keep_alive_timeout(KEEPALIVE_TIMEOUT)
        .keep_alive_while_idle(true)
        .initial_stream_window_size(STREAM_WINDOW_BYTES)
        .initial_connection_window_size(CONNECTION_WINDOW_BYTES);
    if !secure {
        return Ok(endpoint);
    }
    let tls = match ca_certificate {
        Some(pem) => ClientTlsConfig::new().ca_certificate(Certificate::from_pem(pem)),
        None => ClientTlsConfig::new().with_native_roots(),
    };
    endpoint
        .tls_config(tls)
        .map_err(|_| unusable("ca_certificate", "no certificate can be read from it; give PEM"))
}

fn unusable(option: &'static str, problem: impl Into<String>) -> Error {
    Error::Option {
        option,
        problem: problem.into(),
    }
}
