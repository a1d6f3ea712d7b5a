//! What the hub tells about itself: structured logs on standard error.
//!
//! Believe this: standard output belongs to what a command prints; logs never go there, and never hold an event's body or a key.

use std::io;

use tracing_subscriber::EnvFilter;
use tracing_subscriber::util::SubscriberInitExt as _;

/// How log lines are written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Format {
    /// For people, with colours where standard error is a terminal that wants them.
    #[default]
    Text,
    /// For programs: one JSON object a line.
    Json,
}

/// What is logged, and how.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Logging {
    /// A level, or several with the module they are for: `info`, `debug,hyper=warn`.
    pub filter: String,
    /// See [`Format`].
    pub format: Format,
}

/// Why there are no logs.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The filter is none.
    #[error("{0:?} is no filter for logs; write for instance info, or debug,hyper=warn")]
    Filter(String),
    /// Somebody in this process logs already.
    #[error("logs are set up already")]
    Twice,
}

/// Whether this is a filter that [`init`] takes.
#[must_use]
pub fn is_filter(text: &str) -> bool {
    filter(text).is_some()
}

fn filter(text: &str) -> Option<EnvFilter> {
    // A filter that names no level would switch everything off without a word.
    let named = text.split(',').all(|part| !part.trim().is_empty());
    EnvFilter::builder().parse(text).ok().filter(|_| named)
}

/// Starts logging for the whole process.
///
/// # Errors
/// See [`Error`].
pub fn init(logging: &Logging) -> Result<(), Error> {
    let filter = filter(&logging.filter).ok_or_else(|| Error::Filter(logging.filter.clone()))?;
    let colours = anstream::AutoStream::choice(&io::stderr()) != anstream::ColorChoice::Never;
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(io::stderr)
        .with_ansi(colours);
    let started = match logging.format {
        Format::Text => builder.finish().try_init(),
        Format::Json => builder.json().flatten_event(true).finish().try_init(),
    };
    started.map_err(|_| Error::Twice)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_filter_names_levels() {
        for good in ["info", "off", "debug,hyper=warn", "bellboard::auth=trace"] {
            assert!(is_filter(good), "{good}");
        }
        for bad in ["", ",", "loud=very", "info,,", "[", "hyper=loud"] {
            assert!(!is_filter(bad), "{bad}");
        }
    }
}
