//! Alone in its process: nothing else here starts children, which would hold a listening socket
//! too for the moment between their fork and their exec.

use std::net::TcpListener;

use spillway_natsd::port_holder;

#[test]
fn the_holder_of_a_port_is_named_on_either_ip_version() {
    for address in ["127.0.0.1:0", "[::1]:0"] {
        let Ok(listener) = TcpListener::bind(address) else {
            assert!(address.starts_with('['), "loopback is there");
            continue;
        };
        let port = listener.local_addr().expect("it is bound").port();
        let (pid, name) = port_holder(port).expect("this process holds it");
        assert_eq!(pid, std::process::id());
        assert!(!name.is_empty());
        drop(listener);
        assert_eq!(port_holder(port), None);
    }
}
