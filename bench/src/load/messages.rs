//! gRPC messages out of the chunks of an HTTP/2 stream.
//!
//! Believe this: a message that lies whole in a chunk is a slice of it; only one that straddles two is copied.

use bytes::{Buf, Bytes, BytesMut};
use h2::RecvStream;

use crate::error::{Error, Result};
use crate::load::connection::trailers;

const HEADER_BYTES: usize = 5;

/// The messages of one call.
#[derive(Debug)]
pub(crate) struct Messages {
    body: RecvStream,
    cutter: Cutter,
}

impl Messages {
    pub(crate) fn new(body: RecvStream) -> Messages {
        Messages {
            body,
            cutter: Cutter::default(),
        }
    }

    /// The next message; none when the call ended well. Cancel safe.
    pub(crate) async fn next(&mut self) -> Result<Option<Bytes>> {
        loop {
            if let Some(message) = self.cutter.next()? {
                return Ok(Some(message));
            }
            let Some(chunk) = self.body.data().await else {
                trailers(&mut self.body).await?;
                return Ok(None);
            };
            let chunk = chunk?;
            self.body.flow_control().release_capacity(chunk.len())?;
            self.cutter.chunk = chunk;
        }
    }
}

/// Cuts chunks into messages.
#[derive(Debug, Default)]
struct Cutter {
    /// What was not looked at. Empty before another one is put here.
    chunk: Bytes,
    /// The beginning of a message whose rest is still to come.
    partial: BytesMut,
}

impl Cutter {
    fn next(&mut self) -> Result<Option<Bytes>> {
        if self.partial.is_empty() {
            match whole(&self.chunk)? {
                Some(bytes) if bytes <= self.chunk.len() => {
                    let mut message = self.chunk.split_to(bytes);
                    message.advance(HEADER_BYTES);
                    return Ok(Some(message));
                }
                _ if self.chunk.is_empty() => return Ok(None),
                _ => {}
            }
        }
        self.take(HEADER_BYTES);
        let Some(bytes) = whole(&self.partial)? else {
            return Ok(None);
        };
        self.partial.reserve(bytes.saturating_sub(self.partial.len()));
        self.take(bytes);
        if self.partial.len() < bytes {
            return Ok(None);
        }
        let mut message = std::mem::take(&mut self.partial).freeze();
        message.advance(HEADER_BYTES);
        Ok(Some(message))
    }

    /// Moves bytes over until `partial` has so many, or there are no more.
    fn take(&mut self, bytes: usize) {
        let missing = bytes.saturating_sub(self.partial.len()).min(self.chunk.len());
        self.partial.extend_from_slice(&self.chunk.split_to(missing));
    }
}

/// How long the message that begins here is with its header, once that is there.
fn whole(bytes: &[u8]) -> Result<Option<usize>> {
    let Some((header, _)) = bytes.split_first_chunk::<HEADER_BYTES>() else {
        return Ok(None);
    };
    let [compressed, length @ ..] = *header;
    if compressed != 0 {
        return Err(Error::Unreadable(
            "it is compressed, and nobody asked for that".to_owned(),
        ));
    }
    Ok(Some(HEADER_BYTES + u32::from_be_bytes(length) as usize))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_come_whole_however_they_are_cut() {
        let messages: [&[u8]; 4] = [b"one", b"", &[7; 300], b"four"];
        let mut sent = Vec::new();
        for message in messages {
            sent.push(0);
            sent.extend((message.len() as u32).to_be_bytes());
            sent.extend(message);
        }
        for size in 1..=sent.len() {
            let mut cutter = Cutter::default();
            let mut got = Vec::new();
            for chunk in sent.chunks(size) {
                cutter.chunk = Bytes::copy_from_slice(chunk);
                while let Some(message) = cutter.next().unwrap() {
                    got.push(message);
                }
            }
            assert_eq!(got, messages, "chunks of {size}");
        }
    }

    #[test]
    fn a_compressed_message_is_refused() {
        let mut cutter = Cutter {
            chunk: Bytes::from_static(&[1, 0, 0, 0, 0]),
            ..Cutter::default()
        };
        assert!(cutter.next().is_err());
    }
}
