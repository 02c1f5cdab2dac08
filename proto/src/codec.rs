//! How messages are encoded in gRPC: as tonic-prost does, in smaller buffers.

use std::marker::PhantomData;

use prost::Message;
use tonic::codec::{BufferSettings, Codec};
use tonic_prost::ProstCodec;

/// Bytes that a call's buffer begins with, each way. It grows with its message; tonic's own 8 KiB are far more than an order
/// is, and in a surge the memory of all calls under way together is more than caches and fresh pages give quickly.
const BEGINS_WITH: usize = 1024;

/// Bytes of a stream's answers that are gathered before they are handed on: tonic's own figure.
const HANDED_ON_AT: usize = 32 * 1024;

/// The codec of all services and clients.
#[derive(Clone, Copy, Debug)]
pub struct CompactCodec<T, U>(PhantomData<(T, U)>);

impl<T, U> Default for CompactCodec<T, U> {
    fn default() -> Self {
        CompactCodec(PhantomData)
    }
}

impl<T, U> Codec for CompactCodec<T, U>
where
    T: Message + Send + 'static,
    U: Message + Default + Send + 'static,
{
    type Encode = T;
    type Decode = U;
    type Encoder = <ProstCodec<T, U> as Codec>::Encoder;
    type Decoder = <ProstCodec<T, U> as Codec>::Decoder;

    fn encoder(&mut self) -> Self::Encoder {
        ProstCodec::<T, U>::raw_encoder(BufferSettings::new(BEGINS_WITH, HANDED_ON_AT))
    }

    fn decoder(&mut self) -> Self::Decoder {
        ProstCodec::<T, U>::raw_decoder(BufferSettings::new(BEGINS_WITH, HANDED_ON_AT))
    }
}
