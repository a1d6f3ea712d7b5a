//! The outermost form of a protobuf message, and the codec that lets a frame through as it came.
//!
//! The one thing to believe: gRPC ends a stream at the first message that its codec cannot decode. This codec decodes nothing,
//! so one broken event costs one event.

use bytes::{Buf, Bytes};
use prost::Message as _;
use prost::encoding::{WireType, decode_key, decode_varint};
use tonic::Status;
use tonic::codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder};

use bellboard_proto::v1::SubscribeRequest;

/// A field's value, as far as the wire itself tells.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Value {
    /// A varint.
    Number(u64),
    /// Text, bytes or a message.
    Bytes(Bytes),
    /// Of a fixed length; not looked into.
    Fixed,
}

/// The fields of a message in their order; `None` where it cannot be read any further, and then no more.
pub(super) fn fields(message: &Bytes) -> impl Iterator<Item = Option<(u32, Value)>> + use<> {
    let mut rest = message.clone();
    let mut broken = false;
    std::iter::from_fn(move || {
        if broken || !rest.has_remaining() {
            return None;
        }
        let field = field(&mut rest);
        broken = field.is_none();
        Some(field)
    })
}

fn field(rest: &mut Bytes) -> Option<(u32, Value)> {
    let (number, wire_type) = decode_key(rest).ok()?;
    let value = match wire_type {
        WireType::Varint => Value::Number(decode_varint(rest).ok()?),
        WireType::LengthDelimited => {
            let length = usize::try_from(decode_varint(rest).ok()?).ok()?;
            if length > rest.remaining() {
                return None;
            }
            Value::Bytes(rest.split_to(length))
        }
        WireType::SixtyFourBit => fixed(rest, 8)?,
        WireType::ThirtyTwoBit => fixed(rest, 4)?,
        // Groups are older than every hub.
        WireType::StartGroup | WireType::EndGroup => return None,
    };
    Some((number, value))
}

fn fixed(rest: &mut Bytes, length: usize) -> Option<Value> {
    if rest.remaining() < length {
        return None;
    }
    rest.advance(length);
    Some(Value::Fixed)
}

/// Encodes requests and hands frames on as bytes.
#[derive(Debug, Clone, Copy)]
pub(super) struct FrameCodec;

impl Codec for FrameCodec {
    type Encode = SubscribeRequest;
    type Decode = Bytes;
    type Encoder = FrameCodec;
    type Decoder = FrameCodec;

    fn encoder(&mut self) -> FrameCodec {
        *self
    }

    fn decoder(&mut self) -> FrameCodec {
        *self
    }
}

impl Encoder for FrameCodec {
    type Item = SubscribeRequest;
    type Error = Status;

    fn encode(&mut self, item: SubscribeRequest, buffer: &mut EncodeBuf<'_>) -> Result<(), Status> {
        item.encode(buffer)
            .map_err(|_| Status::internal("the request does not fit its buffer"))
    }
}

impl Decoder for FrameCodec {
    type Item = Bytes;
    type Error = Status;

    fn decode(&mut self, buffer: &mut DecodeBuf<'_>) -> Result<Option<Bytes>, Status> {
        Ok(Some(buffer.copy_to_bytes(buffer.remaining())))
    }
}
