//! Codecs of the scripted hub: typed for requests, bytes for frames, so that a script can send what no typed hub would.

use std::marker::PhantomData;

use bytes::{Buf as _, BufMut as _, Bytes};
use tonic::Status;
use tonic::codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder};

/// Reads messages, writes bytes.
pub(crate) struct Script<M>(PhantomData<M>);

impl<M> Default for Script<M> {
    fn default() -> Script<M> {
        Script(PhantomData)
    }
}

impl<M: prost::Message + Default + 'static> Codec for Script<M> {
    type Encode = Bytes;
    type Decode = M;
    type Encoder = Script<M>;
    type Decoder = Script<M>;

    fn encoder(&mut self) -> Script<M> {
        Script::default()
    }

    fn decoder(&mut self) -> Script<M> {
        Script::default()
    }
}

impl<M> Encoder for Script<M> {
    type Item = Bytes;
    type Error = Status;

    fn encode(&mut self, item: Bytes, buffer: &mut EncodeBuf<'_>) -> Result<(), Status> {
        buffer.put(item);
        Ok(())
    }
}

impl<M: prost::Message + Default> Decoder for Script<M> {
    type Item = M;
    type Error = Status;

    fn decode(&mut self, buffer: &mut DecodeBuf<'_>) -> Result<Option<M>, Status> {
        let bytes = buffer.copy_to_bytes(buffer.remaining());
        M::decode(bytes)
            .map(Some)
            .map_err(|error| Status::internal(error.to_string()))
    }
}
