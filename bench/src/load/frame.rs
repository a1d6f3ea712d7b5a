//! What a measurement needs to know of a Subscribe frame, read without decoding it.
//!
//! Believe this: events are counted one by one. A frame that says it covers ten offsets and holds nine events is not complete.

use std::time::Duration;

use bytes::Buf;
use prost::encoding::{DecodeContext, WireType, decode_key, decode_varint, skip_field};

use crate::error::{Error, Result};

/// `SubscribeResponse.resume_token`, `.subscribed`, `.events`, `.closing`.
const RESUME_TOKEN: u32 = 1;
const SUBSCRIBED: u32 = 16;
const EVENTS: u32 = 20;
const CLOSING: u32 = 29;
/// `Subscribed.answer`, `.from`.
const ANSWER: u32 = 1;
const SUBSCRIBED_FROM: u32 = 3;
/// `EventsFrame.from`, `.until`, `.events`.
const FROM: u32 = 1;
const UNTIL: u32 = 2;
const EVENT: u32 = 3;
/// `Event.occurred_time`.
const OCCURRED_TIME: u32 = 13;

/// A frame.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Frame {
    /// The first one: how the start was answered, and where the stream begins.
    Subscribed {
        /// The number of the answer.
        answer: u64,
        /// The first offset that it accounts for.
        from: u64,
    },
    /// Events.
    Events {
        /// The first offset.
        from: u64,
        /// One past the last.
        until: u64,
        /// How many events there are.
        count: u64,
        /// When the first of them was sent.
        stamp: Option<Duration>,
    },
    /// The end.
    Closing,
    /// Anything else: nothing was delivered.
    Other,
}

/// What is looked for in events.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stamps {
    /// When they were sent.
    Read,
    /// Nothing.
    Skip,
}

/// Reads a frame and its resume token.
pub(crate) fn read(mut message: &[u8], stamps: Stamps) -> Result<(Frame, &[u8])> {
    let (mut frame, mut token): (Frame, &[u8]) = (Frame::Other, &[]);
    while message.has_remaining() {
        match decode_key(&mut message)? {
            (RESUME_TOKEN, WireType::LengthDelimited) => token = delimited(&mut message)?,
            (SUBSCRIBED, WireType::LengthDelimited) => frame = subscribed(delimited(&mut message)?)?,
            (EVENTS, WireType::LengthDelimited) => frame = events(delimited(&mut message)?, stamps)?,
            (CLOSING, WireType::LengthDelimited) => {
                delimited(&mut message)?;
                frame = Frame::Closing;
            }
            (tag, wire) => skip_field(wire, tag, &mut message, DecodeContext::default())?,
        }
    }
    Ok((frame, token))
}

fn subscribed(mut bytes: &[u8]) -> Result<Frame> {
    let (mut answer, mut from) = (0, 0);
    while bytes.has_remaining() {
        match decode_key(&mut bytes)? {
            (ANSWER, WireType::Varint) => answer = decode_varint(&mut bytes)?,
            (SUBSCRIBED_FROM, WireType::Varint) => from = decode_varint(&mut bytes)?,
            (tag, wire) => skip_field(wire, tag, &mut bytes, DecodeContext::default())?,
        }
    }
    Ok(Frame::Subscribed { answer, from })
}

fn events(mut bytes: &[u8], stamps: Stamps) -> Result<Frame> {
    let (mut from, mut until, mut count, mut stamp) = (0, 0, 0, None);
    while bytes.has_remaining() {
        match decode_key(&mut bytes)? {
            (FROM, WireType::Varint) => from = decode_varint(&mut bytes)?,
            (UNTIL, WireType::Varint) => until = decode_varint(&mut bytes)?,
            (EVENT, WireType::LengthDelimited) => {
                let event = delimited(&mut bytes)?;
                count += 1;
                if stamps == Stamps::Read && stamp.is_none() {
                    stamp = Some(occurred(event)?);
                }
            }
            (tag, wire) => skip_field(wire, tag, &mut bytes, DecodeContext::default())?,
        }
    }
    Ok(Frame::Events {
        from,
        until,
        count,
        stamp,
    })
}

fn occurred(mut event: &[u8]) -> Result<Duration> {
    while event.has_remaining() {
        match decode_key(&mut event)? {
            (OCCURRED_TIME, WireType::LengthDelimited) => return duration(delimited(&mut event)?),
            (tag, wire) => skip_field(wire, tag, &mut event, DecodeContext::default())?,
        }
    }
    Ok(Duration::ZERO)
}

fn duration(mut bytes: &[u8]) -> Result<Duration> {
    let (mut seconds, mut nanos) = (0, 0);
    while bytes.has_remaining() {
        match decode_key(&mut bytes)? {
            (1, WireType::Varint) => seconds = decode_varint(&mut bytes)?,
            (2, WireType::Varint) => nanos = decode_varint(&mut bytes)?,
            (tag, wire) => skip_field(wire, tag, &mut bytes, DecodeContext::default())?,
        }
    }
    Ok(Duration::new(seconds, u32::try_from(nanos).unwrap_or_default()))
}

fn delimited<'a>(bytes: &mut &'a [u8]) -> Result<&'a [u8]> {
    let length = usize::try_from(decode_varint(bytes)?).unwrap_or(usize::MAX);
    let Some((field, rest)) = bytes.split_at_checked(length) else {
        return Err(Error::Unreadable("it ends in the middle of a field".to_owned()));
    };
    *bytes = rest;
    Ok(field)
}

#[cfg(test)]
mod tests {
    use bellboard_proto::v1::{self, subscribe_response};
    use prost::Message as _;

    use super::*;

    fn sent(frame: subscribe_response::Frame) -> Vec<u8> {
        let response = v1::SubscribeResponse {
            resume_token: "token".to_owned(),
            frame: Some(frame),
        };
        response.encode_to_vec()
    }

    #[test]
    fn a_frame_is_read_as_it_was_sent() {
        let event = |seconds| v1::Event {
            event_id: "event".to_owned(),
            occurred_time: Some(prost_types::Timestamp { seconds, nanos: 7 }),
            ..v1::Event::default()
        };
        let frame = subscribe_response::Frame::Events(v1::EventsFrame {
            from: 3,
            until: 5,
            events: vec![event(11), event(12)],
            raws: Vec::new(),
        });
        let bytes = sent(frame);
        let (frame, token) = read(&bytes, Stamps::Read).unwrap();
        let stamp = Some(Duration::new(11, 7));
        let (from, until, count) = (3, 5, 2);
        assert_eq!(
            frame,
            Frame::Events {
                from,
                until,
                count,
                stamp
            }
        );
        assert_eq!(token, b"token");

        let first = subscribe_response::Frame::Subscribed(v1::Subscribed {
            answer: v1::Answer::Resumed.into(),
            from: 9,
            ..v1::Subscribed::default()
        });
        let (frame, _) = read(&sent(first), Stamps::Skip).unwrap();
        let answer = v1::Answer::Resumed as u64;
        assert_eq!(frame, Frame::Subscribed { answer, from: 9 });
        let (frame, _) = read(
            &sent(subscribe_response::Frame::CaughtUp(v1::CaughtUp { tail: 1 })),
            Stamps::Skip,
        )
        .unwrap();
        assert_eq!(frame, Frame::Other);
    }

    #[test]
    fn a_frame_that_is_cut_short_is_no_frame() {
        let frame = subscribe_response::Frame::Events(v1::EventsFrame {
            from: 1,
            until: 2,
            events: vec![v1::Event::default()],
            raws: Vec::new(),
        });
        let mut bytes = sent(frame);
        bytes.truncate(bytes.len() - 1);
        assert!(read(&bytes, Stamps::Skip).is_err());
    }
}
