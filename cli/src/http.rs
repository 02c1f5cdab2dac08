//! Small HTTP requests to what runs beside a verb: admin servers and the sandbox provider.

use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Full, Limited};
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;

/// How long an answer is waited for.
const PATIENCE: Duration = Duration::from_secs(5);

/// Most that an answer may hold.
const BODY_BYTES: usize = 16 << 20;

/// Status and body of a GET.
///
/// # Errors
/// In words: what kept the answer from coming.
pub async fn get(url: &str) -> Result<(u16, String), String> {
    ask("GET", url, String::new()).await
}

/// Status and body of a POST of JSON.
///
/// # Errors
/// As [`get`].
pub async fn post(url: &str, body: String) -> Result<(u16, String), String> {
    ask("POST", url, body).await
}

async fn ask(method: &str, url: &str, body: String) -> Result<(u16, String), String> {
    let client = Client::builder(TokioExecutor::new()).build_http::<Full<Bytes>>();
    let request = http::Request::builder().method(method).uri(url).header("content-type", "application/json");
    let request = request.body(Full::from(body)).map_err(|error| format!("{url}: {error}"))?;
    let asked = async {
        let answer = client.request(request).await.map_err(|error| format!("{url}: {error}"))?;
        let status = answer.status().as_u16();
        let body = Limited::new(answer.into_body(), BODY_BYTES).collect().await;
        let body = body.map_err(|error| format!("{url}: {error}"))?.to_bytes();
        Ok((status, String::from_utf8_lossy(&body).into_owned()))
    };
    let in_time = tokio::time::timeout(PATIENCE, asked).await;
    in_time.map_err(|_| format!("{url}: no answer within {} s", PATIENCE.as_secs()))?
}
