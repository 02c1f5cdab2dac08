//! The provider is told the trace of a call.

use spillway_payments::config::ProviderConfig;
use spillway_payments::{Charge, HttpProvider, Provider, ProviderCall};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

const TRACE: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

/// Takes one request, refuses it, and answers what it was.
async fn take_one(listener: TcpListener) -> String {
    let (mut connection, _) = listener.accept().await.expect("a connection");
    let mut request = Vec::new();
    while !request.windows(4).any(|end| end == b"\r\n\r\n") {
        let mut part = [0; 4096];
        let read = connection.read(&mut part).await.expect("a part");
        assert!(read > 0, "the request breaks off");
        request.extend_from_slice(&part[..read]);
    }
    let answer = b"HTTP/1.1 503 Service Unavailable\r\ncontent-length: 0\r\nconnection: close\r\n\r\n";
    connection.write_all(answer).await.expect("answered");
    String::from_utf8_lossy(&request).into_owned()
}

#[tokio::test]
async fn a_call_carries_its_own_span_to_the_provider() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let url = format!("http://{}", listener.local_addr().expect("an address"));
    let provider = HttpProvider::new(&ProviderConfig { url, ..ProviderConfig::default() }, 1).expect("an address");
    let call = ProviderCall::within(TRACE.to_owned());
    let charge = Charge { key: "k1", reference: "o1", minor: 1250, currency: "EUR", payment_method: "pm_ok" };
    let (request, outcome) = tokio::join!(take_one(listener), provider.charge(charge, &call));
    assert!(outcome.is_failure(), "{outcome:?}");
    assert!(request.contains(&format!("traceparent: {TRACE}\r\n")), "{request}");
    assert_eq!((call.method(), call.path(), call.status()), ("POST", "/v1/charges", Some(503)));
    assert_eq!(call.server().0, "127.0.0.1");
}
