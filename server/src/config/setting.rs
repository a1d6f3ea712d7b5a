//! The settings: one row each.
//!
//! Believe this: a setting's key in the file is its name; its flag and its variable are the name in other letters.

use clap::{Arg, ArgAction};

/// How often a setting may be given, and how.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Takes {
    /// One value.
    One,
    /// Several: the flag repeated, values with commas between them, or a list in the file.
    Many,
    /// True or false; the flag alone means true.
    Truth,
}

/// One row.
#[derive(Debug)]
pub struct Setting {
    /// Its key in the file, by which it is known everywhere.
    pub name: &'static str,
    /// Its flag, without the dashes.
    pub flag: &'static str,
    /// Its variable.
    pub variable: &'static str,
    /// What stands for its value in the help.
    pub value: &'static str,
    /// How often it may be given.
    pub takes: Takes,
    /// Its default, as one would write it. Empty: none.
    pub default: &'static str,
    /// What the help says instead, where the default depends on the machine.
    pub default_in_words: &'static str,
    /// A good value, for error texts.
    pub example: &'static str,
    /// What it does.
    pub help: &'static str,
}

impl Setting {
    /// The flag, for the command line's parser. Values stay text: every source passes the same parser later.
    pub(super) fn arg(&self) -> Arg {
        let default = match (self.default_in_words, self.default) {
            ("", "") => "none",
            ("", default) => default,
            (words, _) => words,
        };
        let help = format!("{} [env: {}] [default: {default}]", self.help, self.variable);
        let arg = Arg::new(self.name).long(self.flag).value_name(self.value).help(help);
        match self.takes {
            Takes::One => arg.action(ArgAction::Set),
            Takes::Many => arg.action(ArgAction::Append),
            Takes::Truth => {
                let arg = arg.action(ArgAction::Set).num_args(0..=1);
                arg.require_equals(true).default_missing_value("true")
            }
        }
    }
}

macro_rules! settings {
    ($($(#[doc = $help:literal])+ $constant:ident = $name:literal, $flag:literal, $variable:literal, $value:literal, $takes:ident,
        default $default:literal $($words:literal)?, example $example:literal;)*) => {$(
        #[doc = concat!("The setting `", $name, "`.")]
        pub static $constant: Setting = Setting {
            name: $name,
            flag: $flag,
            variable: $variable,
            value: $value,
            takes: Takes::$takes,
            default: $default,
            default_in_words: concat!($($words)?),
            example: $example,
            help: concat!($($help),+).trim_ascii(),
        };)*
    };
}

settings! {
    /// Address and port to listen on. Elsewhere than on loopback it takes a key made with `bellboard key create`, and either TLS
    /// or --behind-proxy.
    LISTEN = "listen", "listen", "BELLBOARD_LISTEN", "ADDRESS", One,
        default "127.0.0.1:2355", example "127.0.0.1:2355";
    /// Folder of the database, the local key and the lock. Made if it is not there, readable by its owner only.
    DATA_DIR = "data_dir", "data-dir", "BELLBOARD_DATA_DIR", "FOLDER", One,
        default "" "$XDG_DATA_HOME/bellboard or ~/.local/share/bellboard; macOS: ~/Library/Application Support/bellboard",
        example "/var/lib/bellboard";
    /// PostgreSQL database that holds the logs in place of a file in the data folder; several hubs may share it. Better given by the
    /// variable, which other users of the machine cannot see.
    DATABASE_URL = "database_url", "database-url", "BELLBOARD_DATABASE_URL", "URL", One,
        default "" "a SQLite file in the data folder", example "postgres://bellboard@db.example.com/bellboard?sslmode=verify-full";
    /// TOML file with settings: the names of these flags, with _ for -.
    CONFIG = "config", "config", "BELLBOARD_CONFIG", "FILE", One,
        default "" "bellboard.toml in the data folder, if it is there", example "/etc/bellboard.toml";
    /// When an append is acknowledged: full, once it survives a loss of power; relaxed, once it survives the end of the process.
    SYNCHRONOUS = "synchronous", "synchronous", "BELLBOARD_SYNCHRONOUS", "full|relaxed", One,
        default "full", example "full";
    /// Memory for the newest events, of all tenants together.
    WINDOW_BYTES = "window_bytes", "window-bytes", "BELLBOARD_WINDOW_BYTES", "SIZE", One,
        default "64MiB", example "64MiB";
    /// Most events that a resumed stream replays before it is offered a snapshot instead; 0 for no limit.
    REPLAY_LIMIT = "replay_limit", "replay-limit", "BELLBOARD_REPLAY_LIMIT", "EVENTS", One,
        default "100000", example "100000";
    /// How long events are kept and given out, for instance 30d or 12h: 1s to 36500d. What is older is trimmed; sessions stay.
    RETAIN_AGE = "retain_age", "retain-age", "BELLBOARD_RETAIN_AGE", "TIME", One,
        default "" "all are kept", example "30d";
    /// How many bytes of events are kept per tenant: 1MiB and more. The oldest are trimmed beyond it; sessions stay.
    RETAIN_BYTES = "retain_bytes", "retain-bytes", "BELLBOARD_RETAIN_BYTES", "SIZE", One,
        default "" "all are kept", example "10GiB";
    /// Time between two heartbeats of a quiet stream, for clients that ask for none: 1s to 60s.
    HEARTBEAT = "heartbeat", "heartbeat", "BELLBOARD_HEARTBEAT", "TIME", One,
        default "15s", example "15s";
    /// Age at which an open stream is asked to come back, up to a tenth earlier, so that streams spread anew over several hubs:
    /// 10s or more, or 0s for never.
    MAX_STREAM_AGE = "max_stream_age", "max-stream-age", "BELLBOARD_MAX_STREAM_AGE", "TIME", One,
        default "0s", example "24h";
    /// How long open streams may take to end after SIGTERM or Ctrl-C, before they are cut: 0s to 10m.
    DRAIN_DEADLINE = "drain_deadline", "drain-deadline", "BELLBOARD_DRAIN_DEADLINE", "TIME", One,
        default "10s", example "10s";
    /// Host name that requests may use, beside loopback and the listening address. May be repeated.
    ALLOW_HOST = "allow_host", "allow-host", "BELLBOARD_ALLOW_HOST", "HOST[:PORT]", Many,
        default "", example "hub.example.com";
    /// Origin of web pages that may call the hub, beside its own. May be repeated.
    ALLOW_ORIGIN = "allow_origin", "allow-origin", "BELLBOARD_ALLOW_ORIGIN", "ORIGIN", Many,
        default "", example "https://board.example.com";
    /// States that a proxy that speaks TLS stands in front, so that another address than loopback may be listened on without it.
    BEHIND_PROXY = "behind_proxy", "behind-proxy", "BELLBOARD_BEHIND_PROXY", "true|false", Truth,
        default "false", example "true";
    /// PEM file with the TLS certificate, and those that vouch for it behind it.
    TLS_CERT = "tls_cert", "tls-cert", "BELLBOARD_TLS_CERT", "FILE", One,
        default "", example "/etc/bellboard/cert.pem";
    /// PEM file with the key of the TLS certificate.
    TLS_KEY = "tls_key", "tls-key", "BELLBOARD_TLS_KEY", "FILE", One,
        default "", example "/etc/bellboard/key.pem";
    /// Time between two pings of a connection, and how long their answers may take: a peer that vanished is noticed within both. 1s to 10m.
    KEEPALIVE = "keepalive", "keepalive", "BELLBOARD_KEEPALIVE", "TIME", One,
        default "20s", example "20s";
    /// Most connections at a time. It is less where the system gives the hub too few open files.
    CONNECTIONS = "connections", "connections", "BELLBOARD_CONNECTIONS", "NUMBER", One,
        default "10000", example "10000";
    /// Most connections of one address, or of one /64 in IPv6; 0 for no limit. Not applied to loopback, nor --behind-proxy.
    CONNECTIONS_PER_ADDRESS = "connections_per_address", "connections-per-address", "BELLBOARD_CONNECTIONS_PER_ADDRESS", "NUMBER", One,
        default "256", example "256";
    /// Most open subscriptions of one principal.
    SUBSCRIPTIONS_PER_PRINCIPAL = "subscriptions_per_principal", "subscriptions-per-principal", "BELLBOARD_SUBSCRIPTIONS_PER_PRINCIPAL", "NUMBER", One,
        default "1024", example "1024";
    /// Most open writers' streams of one principal.
    PUBLISHERS_PER_PRINCIPAL = "publishers_per_principal", "publishers-per-principal", "BELLBOARD_PUBLISHERS_PER_PRINCIPAL", "NUMBER", One,
        default "256", example "256";
    /// Most other calls of one principal in flight.
    CALLS_PER_PRINCIPAL = "calls_per_principal", "calls-per-principal", "BELLBOARD_CALLS_PER_PRINCIPAL", "NUMBER", One,
        default "256", example "256";
    /// Address and port on which GET /metrics answers a Prometheus, without a key. On loopback, unless --metrics-anywhere.
    METRICS_ADDRESS = "metrics_address", "metrics-address", "BELLBOARD_METRICS_ADDRESS", "ADDRESS", One,
        default "", example "127.0.0.1:2356";
    /// States that metrics may be read from elsewhere than this machine.
    METRICS_ANYWHERE = "metrics_anywhere", "metrics-anywhere", "BELLBOARD_METRICS_ANYWHERE", "true|false", Truth,
        default "false", example "true";
    /// What is logged, to standard error: a level, or several with the module they are for.
    LOG = "log", "log", "BELLBOARD_LOG", "FILTER", One,
        default "info,sea_orm_migration=warn", example "debug,hyper=warn";
    /// How it is logged: text for people, json for programs, one object a line.
    LOG_FORMAT = "log_format", "log-format", "BELLBOARD_LOG_FORMAT", "text|json", One,
        default "text", example "json";
}

/// The settings of `serve`, in the order of its help.
pub static SERVE: &[&Setting] = &[
    &LISTEN,
    &DATA_DIR,
    &DATABASE_URL,
    &CONFIG,
    &SYNCHRONOUS,
    &WINDOW_BYTES,
    &REPLAY_LIMIT,
    &RETAIN_AGE,
    &RETAIN_BYTES,
    &HEARTBEAT,
    &MAX_STREAM_AGE,
    &DRAIN_DEADLINE,
    &ALLOW_HOST,
    &ALLOW_ORIGIN,
    &BEHIND_PROXY,
    &TLS_CERT,
    &TLS_KEY,
    &KEEPALIVE,
    &CONNECTIONS,
    &CONNECTIONS_PER_ADDRESS,
    &SUBSCRIPTIONS_PER_PRINCIPAL,
    &PUBLISHERS_PER_PRINCIPAL,
    &CALLS_PER_PRINCIPAL,
    &METRICS_ADDRESS,
    &METRICS_ANYWHERE,
    &LOG,
    &LOG_FORMAT,
];

/// The settings by which the data folder is found.
pub static FOLDER: &[&Setting] = &[&DATA_DIR, &CONFIG];

/// The settings by which the database is found.
pub static DATABASE: &[&Setting] = &[&DATA_DIR, &DATABASE_URL, &CONFIG];
