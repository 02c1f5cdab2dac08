//! A process without file descriptors cannot accept. Alone in its file: the limit holds for the whole process.

use std::future::pending;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use spillway_shared::grpc::{GrpcLimits, GrpcServer};
use spillway_shared::listen;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpSocket;
use tokio::sync::Notify;
use tokio::time::timeout;
use tracing_subscriber::fmt::MakeWriter;

const PATIENCE: Duration = Duration::from_secs(20);

/// Sees the log lines go by.
#[derive(Clone, Default)]
struct Log {
    failed: Arc<Notify>,
}

impl io::Write for Log {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        if String::from_utf8_lossy(line).contains("cannot accept connections") {
            self.failed.notify_one();
        }
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for Log {
    type Writer = Log;

    fn make_writer(&'a self) -> Log {
        self.clone()
    }
}

#[tokio::test]
async fn running_out_of_files_does_not_end_the_accept_loop() {
    let log = Log::default();
    let subscriber = tracing_subscriber::fmt().with_writer(log.clone()).finish();
    let _logging = tracing::subscriber::set_default(subscriber);
    let listener = listen::bind(([127, 0, 0, 1], 0).into()).expect("a free port");
    let server = GrpcServer::builder(GrpcLimits::default()).build(listener).expect("buildable");
    let addr = server.local_addr().expect("bound");
    tokio::spawn(server.run(pending(), Duration::ZERO));

    // The client's socket comes first, so that only the server's side finds no descriptor.
    let socket = TcpSocket::new_v4().expect("a descriptor");
    let before = getrlimit(Resource::Nofile);
    let none = Rlimit { current: Some(0), ..before };
    setrlimit(Resource::Nofile, none).expect("lowering is allowed");
    let mut stream = socket.connect(addr).await.expect("the kernel connects");
    timeout(PATIENCE, log.failed.notified()).await.expect("accept fails");
    setrlimit(Resource::Nofile, before).expect("back to what it was");

    stream.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0").await.expect("open");
    let mut frame = [0; 9];
    timeout(PATIENCE, stream.read_exact(&mut frame)).await.expect("in time").expect("accepted at last");
    assert_eq!(frame[3], 4, "the server's SETTINGS");
}
