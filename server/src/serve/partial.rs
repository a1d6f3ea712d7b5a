//! What has come of a message that is not whole yet, on a writer's stream.
//!
//! Believe this: it reads nothing of gRPC but the five bytes before each message, and is right about a stream that is cut anywhere. On
//! a wire where other bytes stand there (grpc-web's text) it takes more for held than is, never less.

/// The flag and the length before a message.
const HEAD_BYTES: usize = 5;

/// Where in its messages a stream stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Partial {
    head: [u8; HEAD_BYTES],
    /// How much of the head has come.
    head_bytes: usize,
    /// How much of the message is still to come behind its head.
    missing: usize,
    /// How much has come, the head included.
    come: usize,
}

impl Partial {
    /// Takes what came next. Returns how many bytes wait for the rest of their message.
    pub(super) fn after(&mut self, mut data: &[u8]) -> usize {
        while let Some((first, rest)) = data.split_first() {
            if self.head_bytes < HEAD_BYTES {
                if let Some(byte) = self.head.get_mut(self.head_bytes) {
                    *byte = *first;
                }
                self.head_bytes += 1;
                self.come += 1;
                data = rest;
                if self.head_bytes == HEAD_BYTES {
                    let [_, length @ ..] = self.head;
                    self.missing = usize::try_from(u32::from_be_bytes(length)).unwrap_or(usize::MAX);
                }
            } else {
                let (of_message, rest) = data.split_at(self.missing.min(data.len()));
                self.missing -= of_message.len();
                self.come += of_message.len();
                data = rest;
            }
            if self.head_bytes == HEAD_BYTES && self.missing == 0 {
                *self = Partial::default();
            }
        }
        self.come
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(length: usize) -> Vec<u8> {
        let head = u32::try_from(length).unwrap().to_be_bytes();
        [&[0][..], &head, &vec![7; length]].concat()
    }

    #[test]
    fn a_message_is_held_until_it_is_whole_however_it_is_cut() {
        let bytes = [message(0), message(3), message(1), message(300), message(0)].concat();
        // Where messages end.
        let ends = [5, 13, 19, 324, 329];
        for piece in 1..=bytes.len() {
            let mut partial = Partial::default();
            let mut come = 0;
            for cut in bytes.chunks(piece) {
                come += cut.len();
                let begun = ends.iter().rfind(|end| **end <= come).copied().unwrap_or_default();
                assert_eq!(partial.after(cut), come - begun, "{come} in pieces of {piece}");
            }
            assert_eq!(partial, Partial::default());
        }
    }

    #[test]
    fn a_length_that_lies_is_held_as_far_as_it_comes() {
        let mut partial = Partial::default();
        assert_eq!(partial.after(&[0, 255, 255, 255, 255]), 5);
        assert_eq!(partial.after(&[1; 1000]), 1005);
    }
}
