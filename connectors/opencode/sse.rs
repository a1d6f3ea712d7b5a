//! Server-sent events, as far as opencode uses them: frames of `data:` lines.
//!
//! The one thing to believe: a frame that grows beyond its bound ends the connection, so that no peer decides how much
//! memory this takes.

use bytes::{Bytes, BytesMut};

/// Largest frame, in bytes. opencode tells a tool's whole output in one; what it does not shorten itself stays far below.
pub(super) const FRAME_BYTES_MAX: usize = 16 * 1024 * 1024;

/// A frame was longer than [`FRAME_BYTES_MAX`].
#[derive(Debug, PartialEq, Eq)]
pub(super) struct TooLong;

/// Cuts a stream of bytes into frames.
#[derive(Debug, Default)]
pub(super) struct Sse {
    /// Bytes of the line that has not ended.
    line: BytesMut,
    /// Data of the frame that has not ended.
    data: BytesMut,
    /// Up to where `line` was searched for its end.
    searched: usize,
}

impl Sse {
    /// Takes bytes in; [`Sse::next`] gives out what they completed.
    pub(super) fn push(&mut self, bytes: &[u8]) -> Result<(), TooLong> {
        if self.line.len() + self.data.len() + bytes.len() > FRAME_BYTES_MAX {
            return Err(TooLong);
        }
        self.line.extend_from_slice(bytes);
        Ok(())
    }

    /// The next frame's data, if it is complete.
    pub(super) fn next(&mut self) -> Option<Bytes> {
        loop {
            let Some(length) = self.line[self.searched..].iter().position(|byte| *byte == b'\n') else {
                self.searched = self.line.len();
                return None;
            };
            let ended = self.line.split_to(self.searched + length + 1);
            self.searched = 0;
            let line = ended.strip_suffix(b"\n").unwrap_or(&ended);
            let line = line.strip_suffix(b"\r").unwrap_or(line);
            if let Some(data) = line.strip_prefix(b"data:") {
                if !self.data.is_empty() {
                    self.data.extend_from_slice(b"\n");
                }
                self.data.extend_from_slice(data.strip_prefix(b" ").unwrap_or(data));
            } else if line.is_empty() && !self.data.is_empty() {
                return Some(self.data.split().freeze());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Feeds the text in pieces of this size and gathers the frames.
    fn frames(text: &str, piece: usize) -> Vec<String> {
        let (mut sse, mut found) = (Sse::default(), Vec::new());
        for piece in text.as_bytes().chunks(piece) {
            sse.push(piece).expect("short");
            while let Some(data) = sse.next() {
                found.push(String::from_utf8(data.to_vec()).expect("text"));
            }
        }
        found
    }

    #[test]
    fn frames_are_found_wherever_the_network_cuts() {
        let text =
            "data: {\"a\":1}\n\n: a comment\nevent: x\ndata:{\"b\":\"é\"}\r\n\r\ndata: 1\ndata: 2\n\n\n\ndata: open";
        for piece in 1..text.len() {
            assert_eq!(
                frames(text, piece),
                ["{\"a\":1}", "{\"b\":\"é\"}", "1\n2"],
                "pieces of {piece}"
            );
        }
    }

    #[test]
    fn a_frame_without_end_is_refused() {
        let mut sse = Sse::default();
        let piece = vec![b'x'; 1024 * 1024];
        let refused = (0..17).find(|_| sse.push(&piece).is_err());
        assert_eq!(refused, Some(16));
    }
}
