//! Answers on their way out.

use prost::Message;
use tonic::Response;

/// Below it compressing costs more than it saves.
const WORTH_COMPRESSING: usize = 1024;

/// An answer, compressed where its client takes it and it is worth it.
pub fn of<T: Message>(message: T) -> Response<T> {
    let is_small = message.encoded_len() < WORTH_COMPRESSING;
    let mut response = Response::new(message);
    if is_small {
        response.disable_compression();
    }
    response
}
