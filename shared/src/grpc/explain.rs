//! Errors that tonic itself answers (no such method, a message that is too large or cannot be decoded, a compression
//! we do not take) get an ErrorInfo and a sentence that tells what to do. Errors with details pass untouched.

use http::{HeaderMap, Uri};
use http_body::Frame;
use http_body_util::BodyExt;
use tonic::body::Body;
use tonic::{Code, Status};
use tonic_types::ErrorDetails;

use super::error::status::status;
use super::{Answer, Cause, MAX_REQUEST_BYTES, Reason};

const METHOD_UNKNOWN: Reason = Reason::new("METHOD_UNKNOWN");
const COMPRESSION_NOT_SUPPORTED: Reason = Reason::new("COMPRESSION_NOT_SUPPORTED");
const MESSAGE_TOO_LARGE: Reason = Reason::new("MESSAGE_TOO_LARGE");
const MESSAGE_NOT_DECODABLE: Reason = Reason::new("MESSAGE_NOT_DECODABLE");
const SERVICE_NOT_REGISTERED: Reason = Reason::new("SERVICE_NOT_REGISTERED");
const NOT_SERVED: Reason = Reason::new("CALL_NOT_SERVED");

/// Completes the error an answer carries, in its headers (an answer without a message) or in its trailers.
pub(super) fn complete(mut answer: Answer, uri: Uri) -> Answer {
    if answer.headers().contains_key(Status::GRPC_STATUS) {
        complete_headers(answer.headers_mut(), &uri);
        return answer;
    }
    answer.map(|body| {
        Body::new(body.map_frame(move |frame| match frame.into_trailers() {
            Ok(mut trailers) => {
                complete_headers(&mut trailers, &uri);
                Frame::trailers(trailers)
            }
            Err(data) => data,
        }))
    })
}

fn complete_headers(headers: &mut HeaderMap, uri: &Uri) {
    if headers.contains_key(Status::GRPC_STATUS_DETAILS) {
        return;
    }
    let Some(bare) = Status::from_header_map(headers).filter(|bare| bare.code() != Code::Ok) else {
        return;
    };
    let completed = explained(&bare, uri.path());
    if let Err(error) = completed.add_header(headers) {
        tracing::error!(%error, path = uri.path(), "the details of an error do not fit into headers");
    }
}

/// tonic has codes and texts for its errors, but no types: the texts are those of 0.14, and tests watch them.
fn explained(bare: &Status, path: &str) -> Status {
    let (code, text) = (bare.code(), bare.message());
    let mut details = ErrorDetails::new();
    let cause = match code {
        Code::Unimplemented if text.is_empty() => Cause::new(
            METHOD_UNKNOWN,
            "this server has no method {method}: list what it has with `grpcurl -plaintext <address> list`",
        )
        .with("method", path),
        Code::Unimplemented if text.contains("compressed") => Cause::new(
            COMPRESSION_NOT_SUPPORTED,
            "{problem}: send the message in one of the encodings that grpc-accept-encoding names, or without",
        )
        .with("problem", text),
        Code::OutOfRange | Code::ResourceExhausted if text.contains("limit") => {
            details.add_bad_request_violation("", text);
            Cause::new(
                MESSAGE_TOO_LARGE,
                "the message is larger than the {max_bytes} bytes taken: send less in one call ({problem})",
            )
            .with("max_bytes", MAX_REQUEST_BYTES)
            .with("problem", text)
        }
        Code::Internal if is_undecodable(text) => Cause::new(
            MESSAGE_NOT_DECODABLE,
            "the request could not be read as a message of {method}: encode it after the server's own description \
             (`grpcurl -plaintext <address> describe`) ({problem})",
        )
        .with("method", path)
        .with("problem", text),
        Code::NotFound if text == "service not registered" => Cause::new(
            SERVICE_NOT_REGISTERED,
            "the service asked for is not on this server: ask for \"\" (the server as a whole) or for a service that \
             `grpcurl -plaintext <address> list` names",
        ),
        _ => Cause::new(NOT_SERVED, "{method} was not served: {problem}").with("method", path).with("problem", text),
    };
    status(code, cause, details)
}

fn is_undecodable(text: &str) -> bool {
    ["failed to decode", "Missing request message", "compress", "Unexpected EOF", "protocol error"]
        .iter()
        .any(|sign| text.contains(sign))
}
