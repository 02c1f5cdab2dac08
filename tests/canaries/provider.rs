//! A payment provider that talks too much: what it should not say stands in its codes, its messages and its headers.

use std::net::{Ipv4Addr, SocketAddr};

use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};

/// Where it listens. It ends with the test.
pub async fn start(secret: String) -> SocketAddr {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("a free port");
    let addr = listener.local_addr().expect("bound");
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let secret = secret.clone();
            tokio::spawn(async move { answer(stream, &secret).await });
        }
    });
    addr
}

async fn answer(stream: TcpStream, secret: &str) -> Option<()> {
    let mut stream = BufReader::new(stream);
    loop {
        let (mut first, mut length) = (String::new(), 0);
        stream.read_line(&mut first).await.ok().filter(|read| *read > 0)?;
        loop {
            let mut header = String::new();
            stream.read_line(&mut header).await.ok()?;
            if let Some(told) = header.to_ascii_lowercase().strip_prefix("content-length:") {
                length = told.trim().parse().ok()?;
            }
            if header.trim().is_empty() {
                break;
            }
        }
        let mut body = vec![0; length];
        stream.read_exact(&mut body).await.ok()?;
        let (status, body) = judge(&serde_json::from_slice(&body).unwrap_or_default(), secret);
        let answer = format!(
            "HTTP/1.1 {status}\r\nx-request-id: {secret}\r\nset-cookie: {secret}\r\ncontent-type: application/json\r\n\
             content-length: {}\r\n\r\n{body}",
            body.len()
        );
        stream.write_all(answer.as_bytes()).await.ok()?;
    }
}

/// What pays says what becomes of it.
fn judge(asked: &Value, secret: &str) -> (&'static str, String) {
    let method = asked["payment_method"].as_str().unwrap_or_default();
    if method.contains("decline") {
        let error = json!({ "type": secret, "code": secret, "message": secret, "email": secret });
        return ("402 Payment Required", json!({ "error": error }).to_string());
    }
    if method.contains("reject") {
        return ("400 Bad Request", json!({ "error": { "type": "t", "code": secret, "message": secret } }).to_string());
    }
    if method.contains("garbage") {
        return ("500 Internal Server Error", format!("<html>{secret}</html>"));
    }
    let made = json!({
        "id": "ch_1", "reference": asked["reference"], "status": "succeeded", "amount": asked["amount"],
        "currency": asked["currency"], "receipt_email": secret, "card": secret,
    });
    ("201 Created", made.to_string())
}
