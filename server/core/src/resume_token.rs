//! The text by which a client comes back to its place.
//!
//! Believe this: a resume token says where its holder was, and proves that the hub said so. It grants nothing. Equal places have
//! equal tokens, so a frame that carries one can be shared by all who receive it.
//!
//! 60 bytes, big endian, as 80 characters of base64url:
//!
//! ```text
//! version 1 | key id 2 | kind 1 | tenant 8 | epoch 8 | next offset 8 | link before it 8 | interests 8 | MAC 16
//! ```
//!
//! The tenant is eight bytes of its name's SHA-256; the MAC covers the whole name. Why offset *and* epoch *and* link: an offset alone
//! continues another history after a restore, an epoch alone does not notice a log that was rolled back under it.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hmac::{Hmac, Mac};
use sha2::Sha256;

use crate::id::TenantId;
use crate::link::{Digest, Link, first_eight_bytes, keyed};
use crate::offset::{Epoch, Offset, Time};

const VERSION: u8 = 1;
const BODY_BYTES: usize = 44;
const MAC_BYTES: usize = 16;
/// How long a resume token is, in characters.
pub const RESUME_TOKEN_CHARS: usize = (BODY_BYTES + MAC_BYTES) * 4 / 3;

/// A key's number. A number that was once minted never comes back.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct KeyId(pub u16);

/// What kind of place a token names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// All before it was delivered.
    Complete,
    /// It was given inside a snapshot that had not ended.
    SnapshotPending,
}

/// A place in a log, as a token holds it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// The identity of the log.
    pub epoch: Epoch,
    /// The next offset wanted.
    pub next: Offset,
    /// The link before it.
    pub link: Link,
    /// The hash of the interests it was given to.
    pub interests: u64,
    /// Whether a snapshot was under way.
    pub kind: Kind,
}

/// Why a token is not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// It is malformed, was changed, or belongs to another tenant: one answer for all three, so that nothing can be guessed.
    #[error("resume token is not valid here; start from a snapshot")]
    Invalid,
    /// Its key was removed, so nothing can be said about it but its age.
    #[error("resume token is too old; start from a snapshot")]
    TooOld,
}

/// One key, as the store keeps it.
#[derive(Clone, PartialEq, Eq)]
pub struct ResumeKey {
    /// Its number.
    pub id: KeyId,
    /// Its secret; none once it was removed. The number stays, so that its tokens are told to be old instead of wrong.
    pub secret: Option<[u8; 32]>,
    /// From when on it mints.
    pub mints_from: Time,
}

impl std::fmt::Debug for ResumeKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "ResumeKey({}, mints from {:?})", self.id.0, self.mints_from)
    }
}

/// All keys, ready for use.
#[derive(Clone)]
pub struct Keyring {
    minting: (KeyId, Hmac<Sha256>),
    all: Vec<(KeyId, Option<Hmac<Sha256>>)>,
}

impl Keyring {
    /// From the stored keys: the newest whose time has come mints, every one that has its secret verifies.
    ///
    /// None when no key can mint.
    #[must_use]
    pub fn new(keys: &[ResumeKey], now: Time) -> Option<Keyring> {
        let all: Vec<_> = keys
            .iter()
            .map(|key| (key.id, key.secret.as_ref().map(keyed)))
            .collect();
        let usable = || keys.iter().filter(|key| key.secret.is_some());
        // A clock that was set back must not leave the hub without a key: then the oldest one mints.
        let newest = usable().filter(|key| key.mints_from <= now).max_by_key(|key| key.id);
        let minting = newest.or_else(|| usable().min_by_key(|key| key.id))?;
        Some(Keyring {
            minting: (minting.id, keyed(minting.secret.as_ref()?)),
            all,
        })
    }

    /// The key that mints.
    #[must_use]
    pub const fn minting(&self) -> KeyId {
        self.minting.0
    }

    /// The text for a place in the tenant's log: [`RESUME_TOKEN_CHARS`] characters.
    #[must_use]
    pub fn mint(&self, tenant: &TenantId, place: &Place) -> String {
        let (id, key) = &self.minting;
        let mut bytes = Vec::with_capacity(BODY_BYTES + MAC_BYTES);
        bytes.push(VERSION);
        bytes.extend(id.0.to_be_bytes());
        bytes.push(match place.kind {
            Kind::Complete => 0,
            Kind::SnapshotPending => 1,
        });
        for number in [
            tenant_tag(tenant),
            place.epoch.0,
            place.next.0,
            place.link.0,
            place.interests,
        ] {
            bytes.extend(number.to_be_bytes());
        }
        let mac = mac(key, tenant, &bytes).finalize().into_bytes();
        bytes.extend(&mac[..MAC_BYTES]);
        URL_SAFE_NO_PAD.encode(bytes)
    }

    /// Reads a token of the tenant. Strict: no padding, no blanks, no other spelling of the same bytes.
    ///
    /// # Errors
    /// [`Error::Invalid`], or [`Error::TooOld`] when its key is known to have been removed.
    pub fn parse(&self, tenant: &TenantId, token: &str) -> Result<Place, Error> {
        if token.len() != RESUME_TOKEN_CHARS {
            return Err(Error::Invalid);
        }
        let bytes = URL_SAFE_NO_PAD.decode(token).map_err(|_| Error::Invalid)?;
        let (body, given) = bytes.split_at_checked(BODY_BYTES).ok_or(Error::Invalid)?;
        let &[VERSION, id_high, id_low, kind, ..] = body else {
            return Err(Error::Invalid);
        };
        let id = KeyId(u16::from_be_bytes([id_high, id_low]));
        let (_, key) = self.all.iter().find(|(known, _)| *known == id).ok_or(Error::Invalid)?;
        let number = |at: usize| first_eight_bytes(&body[at..]);
        if number(4) != tenant_tag(tenant) {
            return Err(Error::Invalid);
        }
        let key = key.as_ref().ok_or(Error::TooOld)?;
        mac(key, tenant, body)
            .verify_truncated_left(given)
            .map_err(|_| Error::Invalid)?;
        let kind = match kind {
            0 => Kind::Complete,
            1 => Kind::SnapshotPending,
            _ => return Err(Error::Invalid),
        };
        Ok(Place {
            epoch: Epoch(number(12)),
            next: Offset(number(20)),
            link: Link(number(28)),
            interests: number(36),
            kind,
        })
    }
}

impl std::fmt::Debug for Keyring {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Keyring(minting with {})", self.minting.0.0)
    }
}

fn tenant_tag(tenant: &TenantId) -> u64 {
    first_eight_bytes(&Digest::of(tenant.as_str().as_bytes()).0)
}

fn mac(key: &Hmac<Sha256>, tenant: &TenantId, body: &[u8]) -> Hmac<Sha256> {
    let mut mac = key.clone();
    mac.update(body);
    mac.update(tenant.as_str().as_bytes());
    mac
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(id: u16, from: i64) -> ResumeKey {
        ResumeKey {
            id: KeyId(id),
            secret: Some([id as u8; 32]),
            mints_from: Time(from),
        }
    }

    fn tenant(name: &str) -> TenantId {
        TenantId::parse(name).unwrap()
    }

    const PLACE: Place = Place {
        epoch: Epoch(7),
        next: Offset(42),
        link: Link(99),
        interests: 1234,
        kind: Kind::Complete,
    };

    #[test]
    fn a_token_comes_back_as_it_was_minted_and_is_deterministic() {
        let ring = Keyring::new(&[key(1, 0)], Time(1)).unwrap();
        for kind in [Kind::Complete, Kind::SnapshotPending] {
            let place = Place { kind, ..PLACE };
            let token = ring.mint(&tenant("t"), &place);
            assert_eq!(token.len(), RESUME_TOKEN_CHARS);
            assert!(token.len() <= 128);
            assert_eq!(ring.parse(&tenant("t"), &token), Ok(place));
            assert_eq!(token, ring.mint(&tenant("t"), &place));
        }
    }

    #[test]
    fn every_edit_of_one_character_is_noticed() {
        let ring = Keyring::new(&[key(1, 0)], Time(1)).unwrap();
        let token = ring.mint(&tenant("t"), &PLACE);
        for at in 0..token.len() {
            for other in [b'A', b'b', b'_', b'=', b' ', b'+'] {
                let mut edited = token.clone().into_bytes();
                if edited[at] == other {
                    continue;
                }
                edited[at] = other;
                let edited = String::from_utf8(edited).unwrap();
                assert_eq!(ring.parse(&tenant("t"), &edited), Err(Error::Invalid), "{edited}");
            }
        }
        for bad in [
            String::new(),
            token[..79].to_owned(),
            format!("{token}="),
            format!(" {token}"),
            "A".repeat(1 << 20),
        ] {
            assert_eq!(ring.parse(&tenant("t"), &bad), Err(Error::Invalid));
        }
    }

    #[test]
    fn another_tenants_token_is_as_wrong_as_garbage() {
        let ring = Keyring::new(&[key(1, 0)], Time(1)).unwrap();
        let token = ring.mint(&tenant("a"), &PLACE);
        assert_eq!(ring.parse(&tenant("b"), &token), Err(Error::Invalid));
    }

    #[test]
    fn retired_keys_verify_removed_ones_are_too_old_and_new_ones_wait() {
        let first = Keyring::new(&[key(1, 0)], Time(1)).unwrap();
        let token = first.mint(&tenant("t"), &PLACE);

        let waiting = Keyring::new(&[key(1, 0), key(2, 10)], Time(9)).unwrap();
        assert_eq!(
            waiting.mint(&tenant("t"), &PLACE),
            token,
            "the new key must not mint yet"
        );
        let rotated = Keyring::new(&[key(1, 0), key(2, 10)], Time(10)).unwrap();
        let newer = rotated.mint(&tenant("t"), &PLACE);
        assert_ne!(newer, token);
        assert_eq!(rotated.parse(&tenant("t"), &token), Ok(PLACE));
        assert_eq!(
            waiting.parse(&tenant("t"), &newer),
            Ok(PLACE),
            "it must verify before it mints"
        );

        let removed = Keyring::new(
            &[
                ResumeKey {
                    secret: None,
                    ..key(1, 0)
                },
                key(2, 10),
            ],
            Time(10),
        )
        .unwrap();
        assert_eq!(removed.parse(&tenant("t"), &token), Err(Error::TooOld));
        assert_eq!(
            first.parse(&tenant("t"), &newer),
            Err(Error::Invalid),
            "a number never minted here is no key"
        );
        assert!(Keyring::new(&[], Time(0)).is_none());
    }
}
