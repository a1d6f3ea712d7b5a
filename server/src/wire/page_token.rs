//! Where the next page of a list begins, and how long a page is.
//!
//! Believe this: a page token is a convenience, not a right. It holds places and a hash of the request it belongs to; a forged one
//! could say nothing that a first page could not.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bellboard_core::limits;
use bellboard_core::offset::Offset;
use bellboard_proto::v1::ErrorReason;
use sha2::{Digest, Sha256};
use tonic::{Code, Status};

use crate::wire::fault::Fault;
use crate::wire::status::status;

const VERSION: u8 = 1;
const BYTES: usize = 25;

/// Bytes after which a page is full, so that it fits a gRPC message of 4 MiB.
pub const PAGE_BYTES_MAX: usize = 2 * 1024 * 1024;

/// A place in a list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PageToken {
    /// Where the next page begins, or before what it ends.
    pub at: Offset,
    /// The tail when the first page was read: the list ends there.
    pub tail: Offset,
    /// The request without its page token, hashed.
    pub request: u64,
}

impl PageToken {
    /// As text.
    #[must_use]
    pub fn encode(&self) -> String {
        let mut bytes = Vec::with_capacity(BYTES);
        bytes.push(VERSION);
        for number in [self.at.0, self.tail.0, self.request] {
            bytes.extend(number.to_be_bytes());
        }
        URL_SAFE_NO_PAD.encode(bytes)
    }

    /// Reads a token that belongs to this request.
    ///
    /// # Errors
    /// PAGE_TOKEN_INVALID when it is malformed or belongs to another request.
    pub fn parse(text: &str, request: u64) -> Result<PageToken, Status> {
        let invalid = || {
            let message = "page_token is not of this list; begin again without it";
            status(Code::InvalidArgument, ErrorReason::PageTokenInvalid, message, &[])
        };
        let bytes = URL_SAFE_NO_PAD.decode(text).map_err(|_| invalid())?;
        let bytes: [u8; BYTES] = bytes.try_into().map_err(|_| invalid())?;
        let number = |at: usize| {
            bytes[at..at + 8]
                .iter()
                .fold(0, |number, byte| number << 8 | u64::from(*byte))
        };
        let token = PageToken {
            at: Offset(number(1)),
            tail: Offset(number(9)),
            request: number(17),
        };
        if bytes[0] == VERSION && token.request == request {
            Ok(token)
        } else {
            Err(invalid())
        }
    }
}

/// Hashes the parts of a request that must stay the same from page to page.
#[must_use]
pub fn request_hash(parts: &[&str]) -> u64 {
    let mut hash = Sha256::new();
    for part in parts {
        hash.update((part.len() as u64).to_be_bytes());
        hash.update(part);
    }
    hash.finalize()
        .iter()
        .take(8)
        .fold(0, |number, byte| number << 8 | u64::from(*byte))
}

/// Reads a page size.
///
/// # Errors
/// When it is negative.
pub fn page_len(page_size: i32) -> Result<usize, Fault> {
    match usize::try_from(page_size) {
        Ok(0) => Ok(limits::PAGE_SIZE_DEFAULT),
        Ok(size) => Ok(size.min(limits::PAGE_SIZE_MAX)),
        Err(_) => {
            let problem = format!("is negative; give 0 to {}", limits::PAGE_SIZE_MAX);
            Err(Fault::new("page_size", problem).with("limit", limits::PAGE_SIZE_MAX))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_token_belongs_to_its_request() {
        let token = PageToken {
            at: Offset(3),
            tail: Offset(9),
            request: request_hash(&["a", "bc"]),
        };
        assert_eq!(PageToken::parse(&token.encode(), token.request).unwrap(), token);
        assert!(PageToken::parse(&token.encode(), request_hash(&["ab", "c"])).is_err());
        for bad in ["", "!", "AAAA", &format!("{}A", token.encode())] {
            assert!(PageToken::parse(bad, token.request).is_err(), "{bad}");
        }
    }
}
