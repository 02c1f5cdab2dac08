//! gRPC-Web for browsers: CORS for the pages that may call, and a word to those who speak plain HTTP.

use std::time::Duration;

use http::{HeaderName, HeaderValue, Method, StatusCode, header};
use tonic::body::Body;
use tower_http::cors::{AllowHeaders, AllowOrigin, CorsLayer};

use super::{Answer, RETRY_PUSHBACK};

/// How long a browser may remember what it is allowed. Chromium's own upper bound is two hours.
const CORS_MAX_AGE: Duration = Duration::from_secs(3600);

const NOT_GRPC: &str = "This port speaks gRPC (HTTP/2) and gRPC-Web (POST with content-type application/grpc-web).\n\
    Try: grpcurl -plaintext <address> list\n";

/// What pages of other origins may do; None when no other origin is allowed.
pub(super) fn cors(allowed_origins: &[String]) -> Option<CorsLayer> {
    if allowed_origins.is_empty() {
        return None;
    }
    let origins = if allowed_origins.iter().any(|origin| origin == "*") {
        AllowOrigin::any()
    } else {
        let origins = allowed_origins.iter().filter_map(|origin| HeaderValue::from_str(origin).ok());
        AllowOrigin::list(origins)
    };
    let exposed = ["grpc-status", "grpc-message", "grpc-status-details-bin", RETRY_PUSHBACK];
    Some(
        CorsLayer::new()
            .allow_origin(origins)
            .allow_methods([Method::POST])
            // Metadata are headers, and a client may send what metadata it likes.
            .allow_headers(AllowHeaders::mirror_request())
            .expose_headers(exposed.map(HeaderName::from_static))
            .max_age(CORS_MAX_AGE),
    )
}

/// tonic-web answers what is not gRPC with a bare 400 or 405; say what this port is.
pub(super) fn tell_plain_http(answer: Answer) -> Answer {
    let is_refused = matches!(answer.status(), StatusCode::BAD_REQUEST | StatusCode::METHOD_NOT_ALLOWED);
    if !is_refused || answer.headers().contains_key(header::CONTENT_TYPE) {
        return answer;
    }
    let mut answer = answer.map(|_empty| Body::new(http_body_util::Full::from(NOT_GRPC)));
    answer.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    answer
}
