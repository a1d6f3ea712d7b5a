//! The text of an API key.
//!
//! Believe this: `bbk_<id>_<secret>`, where the secret is 32 random bytes. The id is public and names the key; the hub keeps the
//! SHA-256 of the whole text. A slow hash would protect nothing: nobody guesses 256 random bits.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use sha2::{Digest, Sha256};

/// What every key begins with, so that people and secret scanners recognise one.
pub const PREFIX: &str = "bbk_";

/// Random bytes of an id: enough that two keys of one hub do not meet.
const ID_BYTES: usize = 6;

/// Longest id that is read. Ids that are made here have 12 characters.
const ID_CHARS_MAX: usize = 32;

/// Random bytes of a secret.
const SECRET_BYTES: usize = 32;

/// What is kept of a key.
pub type Hash = [u8; 32];

/// The machine has no random bytes to give.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the system gives no random bytes: {0}")]
pub struct Error(String);

/// A key that was just made: the only moment at which the hub knows its text.
#[derive(Clone, PartialEq, Eq)]
pub struct Key {
    /// Its public name: 12 characters of `0-9a-f`.
    pub id: String,
    /// Its text, which its holder keeps.
    pub text: String,
    /// What the hub keeps.
    pub hash: Hash,
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Key({})", self.id)
    }
}

/// Makes a key.
///
/// # Errors
/// When the system gives no random bytes.
pub fn generate() -> Result<Key, Error> {
    let mut random = [0; ID_BYTES + SECRET_BYTES];
    getrandom::fill(&mut random).map_err(|error| Error(error.to_string()))?;
    let (id, secret) = random.split_at(ID_BYTES);
    let id: String = id.iter().map(|byte| format!("{byte:02x}")).collect();
    let text = format!("{PREFIX}{id}_{}", URL_SAFE_NO_PAD.encode(secret));
    let hash = hash(&text);
    Ok(Key { id, text, hash })
}

/// What the hub keeps of a key, and looks it up by. Comparing hashes tells nothing about a text by its time.
#[must_use]
pub fn hash(text: &str) -> Hash {
    Sha256::digest(text.as_bytes()).into()
}

/// The id of a text that has the form of a key; none for any other text.
#[must_use]
pub fn parse(text: &str) -> Option<&str> {
    let (id, secret) = text.strip_prefix(PREFIX)?.split_once('_')?;
    let plain = |byte: u8| byte.is_ascii_digit() || byte.is_ascii_lowercase();
    let id_is_plain = !id.is_empty() && id.len() <= ID_CHARS_MAX && id.bytes().all(plain);
    let secret = URL_SAFE_NO_PAD.decode(secret).ok()?;
    (id_is_plain && secret.len() == SECRET_BYTES).then_some(id)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_names_itself_and_hides_its_secret() {
        let (a, b) = (generate().unwrap(), generate().unwrap());
        assert_ne!(a.text, b.text);
        assert_eq!(parse(&a.text), Some(a.id.as_str()));
        assert_eq!(a.text.len(), PREFIX.len() + 12 + 1 + 43);
        assert_eq!(a.hash, hash(&a.text));
        assert_eq!(format!("{a:?}"), format!("Key({})", a.id));
    }

    #[test]
    fn what_has_not_the_form_of_a_key_is_none() {
        let text = generate().unwrap().text;
        let longer = format!("{text}A");
        let shorter = &text[..text.len() - 1];
        let padded = format!("{text}=");
        let upper = text.to_uppercase();
        for bad in [
            "",
            "bbk_",
            "bbk_a",
            "bbk__",
            "bbk_a_",
            &text[4..],
            &longer,
            shorter,
            &padded,
            &upper,
        ] {
            assert_eq!(parse(bad), None, "{bad:?}");
        }
    }
}
