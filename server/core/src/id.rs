//! Names that people and programs choose.
//!
//! Believe this: a value of one of these types has been checked; nobody behind the door checks again.

use std::fmt;
use std::sync::Arc;

use uuid::Uuid;

use crate::limits;

/// Why a text is no id.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The text is empty.
    #[error("is empty; give 1 to {max} bytes", max = limits::ID_BYTES_MAX)]
    Empty,
    /// The text is too long.
    #[error("has {0} bytes; give at most {max}", max = limits::ID_BYTES_MAX)]
    TooLong(usize),
    /// A character outside visible ASCII.
    #[error("has a character that is not visible ASCII; use letters, digits and punctuation without blanks")]
    Character,
}

fn check(text: &str) -> Result<(), Error> {
    if text.is_empty() {
        return Err(Error::Empty);
    }
    if text.len() > limits::ID_BYTES_MAX {
        return Err(Error::TooLong(text.len()));
    }
    if !text
        .bytes()
        .all(|byte| byte.is_ascii_alphanumeric() || b"._:-".contains(&byte))
    {
        return Err(Error::Character);
    }
    Ok(())
}

macro_rules! ids {
    ($($(#[$doc:meta])* $name:ident;)*) => {$(
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub struct $name(Arc<str>);

        impl $name {
            /// Checks `text`: 1 to 128 characters of `A-Z a-z 0-9 . _ : -`.
            ///
            /// # Errors
            /// What is wrong with it, worded to follow the field's name.
            pub fn parse(text: &str) -> Result<Self, Error> {
                check(text)?;
                Ok(Self(text.into()))
            }

            /// The text.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Debug::fmt(&*self.0, f)
            }
        }
    )*};
}

ids! {
    /// The unit of isolation and of order. It comes from the credential, never from a request.
    TenantId;
    /// One agent conversation.
    SessionId;
    /// One writer: the client side that appends.
    WriterId;
    /// One event, named by its writer or by the hub.
    EventId;
    /// Who a client acts for.
    PrincipalId;
    /// One running application of a principal: a tab, a phone.
    ClientId;
}

impl SessionId {
    /// A new random id, for a session that its writer did not name.
    #[must_use]
    pub fn random() -> SessionId {
        SessionId(Uuid::new_v4().to_string().into())
    }
}

impl EventId {
    /// A new random id, for an event that its writer did not name.
    #[must_use]
    pub fn random() -> EventId {
        EventId(Uuid::new_v4().to_string().into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_short_and_plain() {
        assert!(SessionId::parse("a").is_ok());
        assert!(SessionId::parse(&"x".repeat(128)).is_ok());
        assert_eq!(SessionId::parse(""), Err(Error::Empty));
        assert_eq!(SessionId::parse(&"x".repeat(129)), Err(Error::TooLong(129)));
        for bad in ["a b", "a\n", "ä", "a\0", "a/b", "a\"b"] {
            assert_eq!(SessionId::parse(bad), Err(Error::Character), "{bad:?}");
        }
    }

    #[test]
    fn random_ids_are_ids_and_differ() {
        let (a, b) = (SessionId::random(), SessionId::random());
        assert_ne!(a, b);
        assert!(SessionId::parse(a.as_str()).is_ok());
        assert!(EventId::parse(EventId::random().as_str()).is_ok());
    }
}
