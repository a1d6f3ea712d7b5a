//! How the credential of a stream stands.
//!
//! Believe this: who checks credentials says here what became of one, and every stream that came with it hears so at once. The core looks
//! at no clock for it.

use tokio::sync::watch;

use crate::offset::Time;
use crate::subscription::frame::ClosingReason;

/// What became of a credential.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Standing {
    /// It is good.
    #[default]
    Good,
    /// It is good until this time, which is near.
    Expiring(Time),
    /// It ended, and so do its streams.
    Ended(ClosingReason),
}

/// The standing of one credential, as it goes on.
pub type Credential = watch::Receiver<Standing>;
