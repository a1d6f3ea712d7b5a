//! How the raw server makes bytes of a message: anew for every subscriber, or once for all of them.
//!
//! Believe this: both are what tonic offers. The first is what everybody writes, the second what one writes who has measured.

use std::sync::Arc;

use bellboard_proto::v1::SubscribeResponse;
use bytes::{BufMut, Bytes};
use prost::Message;
use tonic::Status;
use tonic::codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder};

/// A message on its way out.
pub(crate) trait Shape: Clone + Send + Sync + 'static {
    /// Of this message.
    fn of(message: SubscribeResponse) -> Self;
    /// Its bytes.
    fn put(&self, bytes: &mut EncodeBuf<'_>);
}

/// Encoded for every subscriber that takes it.
impl Shape for Arc<SubscribeResponse> {
    fn of(message: SubscribeResponse) -> Self {
        Arc::new(message)
    }

    fn put(&self, bytes: &mut EncodeBuf<'_>) {
        // A buffer of tonic's grows: there is always room.
        let _ = self.encode(bytes);
    }
}

/// Encoded once.
impl Shape for Bytes {
    fn of(message: SubscribeResponse) -> Self {
        message.encode_to_vec().into()
    }

    fn put(&self, bytes: &mut EncodeBuf<'_>) {
        bytes.put_slice(self);
    }
}

/// tonic's prost codec, but for the way out.
#[derive(Clone, Debug)]
pub(crate) struct Shaped<S, R>(std::marker::PhantomData<fn() -> (S, R)>);

impl<S, R> Default for Shaped<S, R> {
    fn default() -> Self {
        Shaped(std::marker::PhantomData)
    }
}

impl<S: Shape, R: Message + Default + 'static> Codec for Shaped<S, R> {
    type Encode = S;
    type Decode = R;
    type Encoder = Self;
    type Decoder = Self;

    fn encoder(&mut self) -> Self {
        Self::default()
    }

    fn decoder(&mut self) -> Self {
        Self::default()
    }
}

impl<S: Shape, R> Encoder for Shaped<S, R> {
    type Item = S;
    type Error = Status;

    fn encode(&mut self, item: S, bytes: &mut EncodeBuf<'_>) -> Result<(), Status> {
        item.put(bytes);
        Ok(())
    }
}

impl<S, R: Message + Default> Decoder for Shaped<S, R> {
    type Item = R;
    type Error = Status;

    fn decode(&mut self, bytes: &mut DecodeBuf<'_>) -> Result<Option<R>, Status> {
        let message = R::decode(bytes).map_err(|error| Status::internal(error.to_string()))?;
        Ok(Some(message))
    }
}
