//! Ports for what cannot be told to choose its own.

use std::net::{Ipv4Addr, TcpListener};

/// Free ports that no connection gets in passing: below those that the system itself hands out (from 32768 on Linux).
pub fn free_ports<const N: usize>() -> [u16; N] {
    // Held until all are found, so that they differ.
    let taken = [(); N].map(|()| {
        let mut free = std::iter::repeat_with(|| {
            TcpListener::bind((Ipv4Addr::LOCALHOST, rand::random_range(16_384..32_768))).ok()
        });
        free.by_ref().take(1000).flatten().next().expect("a free port")
    });
    taken.map(|listener| listener.local_addr().expect("bound").port())
}
