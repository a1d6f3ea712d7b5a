//! Who may come in: the only room that knows credentials.
//!
//! Believe this: behind [`layer()`] every request carries an [`std::sync::Arc`] of a [`Credential`] in its extensions, but those for
//! health and, on loopback, for reflection. Of a key only its SHA-256 is kept; its text is nowhere but with its holder.

pub mod key;
pub mod keys;
pub mod rules;
pub mod layer;
pub mod stored;
pub mod local;

use bellboard_core::access::Principal;
use bellboard_core::offset::Time;
use bellboard_core::subscription::standing;

pub use keys::Keys;
pub use layer::layer;
pub use rules::Rules;

/// Who a request acts for, and how long. Shared by all requests that come with the same key.
#[derive(Clone, Debug)]
pub struct Credential {
    /// Who it is, and what it may do.
    pub principal: Principal,
    /// The key's id, which is no secret: it stands in logs and in `bellboard key list`.
    pub key_id: String,
    /// Tells when the credential is about to expire, and when it ends before the stream that was opened with it: `CredentialExpired` or
    /// `PermissionRevoked`.
    pub standing: standing::Credential,
    /// When it expires by itself; none for never.
    pub expire_time: Option<Time>,
}
