//! The chain through a log that proves continuity.
//!
//! Believe this: two logs that agree on the link before an offset agree on everything before it. A link is eight bytes of a keyed
//! hash over the link before and the SHA-256 of the event's stored bytes, so an erased event can keep its place in the chain by
//! keeping link and digest.

use hmac::{Hmac, KeyInit, Mac};
use sha2::{Digest as _, Sha256};

use crate::offset::Epoch;

/// The chain's value after an event (or before the first one).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Link(pub u64);

/// SHA-256 of an event's stored bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Digest(pub [u8; 32]);

impl Digest {
    /// The digest of stored bytes.
    #[must_use]
    pub fn of(bytes: &[u8]) -> Digest {
        Digest(Sha256::digest(bytes).into())
    }
}

/// The secret of one log's chain, kept in the log's row.
#[derive(Clone)]
pub struct LinkKey(Hmac<Sha256>);

impl LinkKey {
    /// From its 32 stored bytes.
    #[must_use]
    pub fn new(key: &[u8; 32]) -> LinkKey {
        LinkKey(keyed(key))
    }

    /// The link before offset 0 of a log that was made with this identity.
    #[must_use]
    pub fn genesis(&self, epoch: Epoch) -> Link {
        self.hash(b"genesis", &epoch.0.to_be_bytes())
    }

    /// The link after an event with this digest.
    #[must_use]
    pub fn next(&self, previous: Link, digest: &Digest) -> Link {
        self.hash(&previous.0.to_be_bytes(), &digest.0)
    }

    fn hash(&self, first: &[u8], second: &[u8]) -> Link {
        let mut mac = self.0.clone();
        mac.update(first);
        mac.update(second);
        Link(first_eight_bytes(&mac.finalize().into_bytes()))
    }
}

impl std::fmt::Debug for LinkKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("LinkKey(..)")
    }
}

/// HMAC-SHA256 with a key of 32 bytes, which is its natural length: there is no key that it refuses.
pub(crate) fn keyed(key: &[u8; 32]) -> Hmac<Sha256> {
    let mut block = [0; 64];
    block[..32].copy_from_slice(key);
    Hmac::new(&block.into())
}

/// The first eight of a hash's bytes, as a number.
pub(crate) fn first_eight_bytes(bytes: &[u8]) -> u64 {
    bytes
        .iter()
        .take(8)
        .fold(0, |number, byte| number << 8 | u64::from(*byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_link_depends_on_key_history_and_bytes() {
        let key = LinkKey::new(&[1; 32]);
        let genesis = key.genesis(Epoch(1));
        let link = key.next(genesis, &Digest::of(b"one"));
        assert_eq!(link, key.next(genesis, &Digest::of(b"one")));
        assert_ne!(link, key.next(genesis, &Digest::of(b"two")));
        assert_ne!(link, key.next(Link(genesis.0 ^ 1), &Digest::of(b"one")));
        assert_ne!(link, LinkKey::new(&[2; 32]).next(genesis, &Digest::of(b"one")));
        assert_ne!(genesis, key.genesis(Epoch(2)));
    }
}
