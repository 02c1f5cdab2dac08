//! A connection that orders are placed over, with nothing between it and HTTP/2: what a call takes of the load's core decides
//! how many it can place, and a load that cannot keep up measures itself.
//!
//! A call's headers go out with its message, and the message ends the stream, as the clients of most languages have it.
//! tonic's channel sends them apart, in three frames.

use std::sync::{Mutex, PoisonError};

use bytes::{Buf, BufMut, Bytes, BytesMut};
use h2::RecvStream;
use h2::client::SendRequest;
use http::uri::{PathAndQuery, Scheme};
use http::{HeaderMap, HeaderValue, Method, Request, Uri, header};
use prost::Message;
use spillway_proto::pb::orders::{PlaceOrderRequest, PlaceOrderResponse};
use tokio::net::TcpStream;
use tokio::sync::{Semaphore, SemaphorePermit};
use tonic::Status;

use crate::client::CONNECT_WITHIN;

/// Calls under way on a connection: as many as a client's library begins at once where the server allows it; further ones
/// wait for their turn.
const CALLS: usize = 256;

const PLACE_ORDER: PathAndQuery = PathAndQuery::from_static("/spillway.orders.v1.OrderService/PlaceOrder");

/// The prefix of a gRPC message: whether it is compressed, and its length.
const PREFIX: usize = 5;

/// A connection, made anew when it is lost.
#[derive(Debug)]
pub struct Line {
    /// Of the method.
    uri: Uri,
    /// Host and port.
    peer: String,
    turns: Semaphore,
    sender: Mutex<SendRequest<Bytes>>,
    /// Held by who makes it anew.
    connecting: tokio::sync::Mutex<()>,
}

impl Line {
    /// Connects to a gateway at this URL.
    pub async fn connect(address: &Uri) -> Result<Line, Status> {
        let authority = address.authority().ok_or_else(|| Status::invalid_argument("a URL names a host"))?;
        let peer = format!("{}:{}", authority.host(), authority.port_u16().unwrap_or(80));
        let mut parts = address.clone().into_parts();
        (parts.scheme, parts.path_and_query) = (Some(Scheme::HTTP), Some(PLACE_ORDER));
        let uri = Uri::from_parts(parts).map_err(|error| Status::invalid_argument(error.to_string()))?;
        let sender = Mutex::new(connect(&peer).await?);
        Ok(Line { uri, peer, turns: Semaphore::new(CALLS), sender, connecting: tokio::sync::Mutex::default() })
    }

    /// A turn for a call, once fewer than the connection bears are under way.
    pub async fn turn(&self) -> Result<SemaphorePermit<'_>, Status> {
        self.turns.acquire().await.map_err(|closed| Status::internal(closed.to_string()))
    }

    /// Places an order. Dropped before its end, the call is cancelled.
    pub async fn place(&self, order: &PlaceOrderRequest, headers: HeaderMap) -> Result<PlaceOrderResponse, Status> {
        let mut request = Request::new(());
        (*request.method_mut(), *request.uri_mut(), *request.headers_mut()) = (Method::POST, self.uri.clone(), headers);
        request.headers_mut().insert(header::TE, HeaderValue::from_static("trailers"));
        request.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
        let (answer, mut stream) = self.ready().await?.send_request(request, false).map_err(broken)?;
        stream.send_data(encoded(order)?, true).map_err(broken)?;
        let (head, body) = answer.await.map_err(broken)?.into_parts();
        if let Some(status) = Status::from_header_map(&head.headers) {
            return Err(status);
        }
        if !head.status.is_success() {
            return Err(Status::unknown(format!("HTTP status {}", head.status)));
        }
        decoded(body).await
    }

    /// The connection, when it takes another call.
    async fn ready(&self) -> Result<SendRequest<Bytes>, Status> {
        if let Ok(sender) = self.current().ready().await {
            return Ok(sender);
        }
        let _one_at_a_time = self.connecting.lock().await;
        // Whoever waited for that finds a new one.
        if let Ok(sender) = self.current().ready().await {
            return Ok(sender);
        }
        let sender = connect(&self.peer).await?;
        *self.sender.lock().unwrap_or_else(PoisonError::into_inner) = sender.clone();
        sender.ready().await.map_err(broken)
    }

    fn current(&self) -> SendRequest<Bytes> {
        self.sender.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

async fn connect(peer: &str) -> Result<SendRequest<Bytes>, Status> {
    let unreachable = |error: &dyn std::fmt::Display| Status::unavailable(format!("cannot connect to {peer}: {error}"));
    let connecting = tokio::time::timeout(CONNECT_WITHIN, TcpStream::connect(peer)).await;
    let stream = connecting.map_err(|late| unreachable(&late))?.map_err(|error| unreachable(&error))?;
    stream.set_nodelay(true).map_err(|error| unreachable(&error))?;
    let (sender, connection) =
        h2::client::Builder::new().enable_push(false).handshake(stream).await.map_err(|error| unreachable(&error))?;
    tokio::spawn(async move {
        if let Err(error) = connection.await {
            tracing::debug!(%error, "a connection of the load ended");
        }
    });
    Ok(sender)
}

fn encoded(order: &PlaceOrderRequest) -> Result<Bytes, Status> {
    let length = order.encoded_len();
    let mut bytes = BytesMut::with_capacity(PREFIX + length);
    bytes.put_u8(0);
    bytes.put_u32(u32::try_from(length).map_err(|_| Status::internal("an order of more than 4 GiB"))?);
    order.encode(&mut bytes).map_err(|error| Status::internal(error.to_string()))?;
    Ok(bytes.freeze())
}

/// The message of an answer, where its trailers say that all went well.
async fn decoded(mut body: RecvStream) -> Result<PlaceOrderResponse, Status> {
    let mut bytes = BytesMut::new();
    while let Some(data) = body.data().await {
        let data = data.map_err(broken)?;
        body.flow_control().release_capacity(data.len()).map_err(broken)?;
        bytes.put(data);
    }
    let trailers = body.trailers().await.map_err(broken)?;
    let status = trailers.and_then(|trailers| Status::from_header_map(&trailers));
    let status = status.ok_or_else(|| Status::unknown("the answer has no status"))?;
    if status.code() != tonic::Code::Ok {
        return Err(status);
    }
    if bytes.len() < PREFIX {
        return Err(Status::internal("the answer has no message"));
    }
    bytes.advance(PREFIX);
    PlaceOrderResponse::decode(bytes).map_err(|error| Status::internal(error.to_string()))
}

/// The connection, or this call on it, ended without an answer.
fn broken(error: h2::Error) -> Status {
    Status::unavailable(format!("the connection broke: {error}"))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use h2::server::SendResponse;
    use http::Response;
    use spillway_proto::pb::orders::Order;
    use tokio::net::TcpListener;
    use tonic::Code;

    use super::*;

    /// A gateway that answers so, and closes each connection after so many calls; how many connections there were.
    async fn gateway(answer: Answer, calls: fn(usize) -> usize) -> (Line, Arc<AtomicUsize>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = format!("http://{}", listener.local_addr().expect("bound")).parse().expect("a URL");
        let connections = Arc::new(AtomicUsize::new(0));
        let count = connections.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                hold(stream, answer, calls(count.fetch_add(1, Ordering::Relaxed))).await;
            }
        });
        (Line::connect(&address).await.expect("it listens"), connections)
    }

    type Answer = fn(SendResponse<Bytes>, Bytes);

    async fn hold(stream: TcpStream, answer: Answer, calls: usize) {
        let mut connection = h2::server::handshake(stream).await.expect("HTTP/2");
        for _ in 0..calls {
            let Some(Ok((request, respond))) = connection.accept().await else { return };
            assert_eq!(request.uri().path(), PLACE_ORDER.path());
            let mut body = request.into_body();
            // What the body is made of comes while the connection is polled.
            tokio::spawn(async move {
                let message = body.data().await.expect("a message").expect("whole");
                assert!(body.is_end_stream(), "the message ends the call");
                answer(respond, message);
            });
        }
        connection.graceful_shutdown();
        while connection.accept().await.is_some() {}
    }

    fn accept(mut respond: SendResponse<Bytes>, message: Bytes) {
        let placed = PlaceOrderRequest::decode(&message[PREFIX..]).expect("an order");
        let order = Order { customer_id: placed.customer_id, ..Order::default() };
        let message = PlaceOrderResponse { order: Some(order) }.encode_to_vec();
        let prefix = [0, 0, 0, 0, u8::try_from(message.len()).expect("short")];
        let mut stream = respond.send_response(Response::new(()), false).expect("open");
        stream.send_data([&prefix[..], &message].concat().into(), false).expect("open");
        stream.send_trailers(HeaderMap::from_iter([("grpc-status".parse().expect("a name"), 0.into())])).expect("open");
    }

    fn refuse(mut respond: SendResponse<Bytes>, _message: Bytes) {
        let answer = Response::builder().header("grpc-status", 8).header("grpc-retry-pushback-ms", 750);
        respond.send_response(answer.body(()).expect("headers"), true).expect("open");
    }

    fn not_grpc(mut respond: SendResponse<Bytes>, _message: Bytes) {
        let answer = Response::builder().status(503).body(()).expect("a status");
        respond.send_response(answer, true).expect("open");
    }

    fn order() -> PlaceOrderRequest {
        PlaceOrderRequest { customer_id: "ada".to_owned(), ..PlaceOrderRequest::default() }
    }

    /// Places so many orders; what was sent before the end of a connection was seen is not answered, and sent again.
    async fn place(line: &Line, orders: usize) {
        let mut broken = 0;
        for placed in 0..orders {
            let answer = loop {
                match line.place(&order(), HeaderMap::new()).await {
                    Ok(answer) => break answer,
                    Err(status) if status.code() == Code::Unavailable && broken < 100 => broken += 1,
                    Err(status) => panic!("{status}"),
                }
            };
            assert_eq!(answer.order.expect("an order").customer_id, "ada", "{placed}");
        }
    }

    #[tokio::test]
    async fn orders_are_placed_also_after_the_connection_was_lost_again_and_again() {
        let (line, connections) = gateway(accept, |_| 1).await;
        place(&line, 3).await;
        assert!(connections.load(Ordering::Relaxed) >= 3);
    }

    #[tokio::test]
    async fn a_new_connection_is_made_once_and_kept() {
        let (line, connections) = gateway(accept, |before| if before == 0 { 1 } else { 100 }).await;
        place(&line, 10).await;
        assert_eq!(connections.load(Ordering::Relaxed), 2);
    }

    #[tokio::test]
    async fn a_refusal_has_what_it_was_sent_with_and_other_answers_are_errors() {
        let (line, _) = gateway(refuse, |_| 1).await;
        let refused = line.place(&order(), HeaderMap::new()).await.expect_err("refused");
        assert_eq!(refused.code(), Code::ResourceExhausted);
        assert_eq!(refused.metadata().get("grpc-retry-pushback-ms").expect("told"), "750");
        let (line, _) = gateway(not_grpc, |_| 1).await;
        let other = line.place(&order(), HeaderMap::new()).await.expect_err("no gRPC");
        assert!(other.code() == Code::Unknown && other.message().contains("503"), "{other}");
    }
}
