//! The two ways to be told to end: SIGTERM and Ctrl-C.
//!
//! Believe this: from [`Signals::new`] on they no longer end the process by themselves, so whoever makes one must listen.

use std::io;

use tokio::signal::unix::{Signal, SignalKind, signal};

/// Both of them.
#[derive(Debug)]
pub(super) struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

/// They cannot be listened for.
#[derive(Debug, thiserror::Error)]
#[error("cannot listen for signals")]
pub struct Error(#[source] io::Error);

impl Signals {
    pub(super) fn new() -> Result<Signals, Error> {
        Ok(Signals {
            terminate: signal(SignalKind::terminate()).map_err(Error)?,
            interrupt: signal(SignalKind::interrupt()).map_err(Error)?,
        })
    }

    /// Cancel safe.
    pub(super) async fn next(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}
