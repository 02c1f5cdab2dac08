//! Sockets: bind one, say who holds a taken one, accept connections within limits, let them go in time.

pub mod connections;
mod executor;
mod gathering;
mod holder;
mod opening;
mod paced;

use std::io;
use std::net::SocketAddr;

use tokio::net::{TcpListener, TcpSocket};

pub use executor::AtOnce;
pub use holder::Holder;

/// Connections the kernel keeps for us before they are accepted. Linux caps it at `net.core.somaxconn` (4096).
const BACKLOG: u32 = 1024;

/// What the figures of a listener are labelled with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Name {
    pub role: &'static str,
    /// `grpc`, `ops`, `admin`.
    pub listener: &'static str,
}

/// Binds a TCP listener; port 0 takes a free one (`local_addr` of the result tells which).
///
/// # Errors
/// [`BindError::Taken`] when somebody listens there already, with the holder's name where `/proc` tells it;
/// [`BindError::Failed`] for everything else (no such address here, a port below 1024 without the right to it).
///
/// # Panics
/// Outside of a tokio runtime.
pub fn bind(addr: SocketAddr) -> Result<TcpListener, BindError> {
    listen(addr).map_err(|source| match source.kind() {
        io::ErrorKind::AddrInUse => BindError::Taken { addr, holder: holder::of_port(addr.port()) },
        _ => BindError::Failed { addr, source },
    })
}

fn listen(addr: SocketAddr) -> io::Result<TcpListener> {
    let socket = match addr {
        SocketAddr::V4(_) => TcpSocket::new_v4()?,
        SocketAddr::V6(_) => TcpSocket::new_v6()?,
    };
    // A restart must not wait for the connections of the last run to leave TIME_WAIT.
    socket.set_reuseaddr(true)?;
    socket.bind(addr)?;
    socket.listen(BACKLOG)
}

/// Why an address could not be listened on.
#[derive(Debug, thiserror::Error)]
pub enum BindError {
    #[error("{addr} is taken by {}: stop it or choose another port", holder_text(.holder.as_ref()))]
    Taken { addr: SocketAddr, holder: Option<Holder> },
    #[error("cannot listen on {addr}: {source}")]
    Failed { addr: SocketAddr, source: io::Error },
}

fn holder_text(holder: Option<&Holder>) -> String {
    match holder {
        Some(holder) => holder.to_string(),
        None => "another process, perhaps another user's (run `ss -ltnp` as root to see it)".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_taken_port_names_its_holder() {
        let first = bind(([127, 0, 0, 1], 0).into()).expect("a free port");
        let addr = first.local_addr().expect("bound");
        let error = bind(addr).expect_err("it is taken");
        let BindError::Taken { holder, .. } = &error else {
            panic!("taken, not {error}");
        };
        let pid = holder.as_ref().map(|holder| holder.pid);
        assert_eq!(pid, Some(std::process::id()));
        assert!(error.to_string().contains(&format!("process {}", std::process::id())));
        assert!(error.to_string().contains("choose another port"));
    }

    #[tokio::test]
    async fn a_port_is_free_again_once_its_listener_is_dropped() {
        let first = bind(([127, 0, 0, 1], 0).into()).expect("a free port");
        let addr = first.local_addr().expect("bound");
        drop(first);
        bind(addr).expect("free again");
    }

    #[tokio::test]
    async fn an_address_of_another_machine_is_not_called_taken() {
        let error = bind(([192, 0, 2, 1], 0).into()).expect_err("192.0.2.0/24 is nobody's (RFC 5737)");
        assert!(matches!(error, BindError::Failed { .. }), "{error}");
    }
}
