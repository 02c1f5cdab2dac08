//! Who listens on a TCP port of this machine.

use std::fs;
use std::path::Path;

/// TCP's state "listening" in the kernel's tables (`include/net/tcp_states.h`, TCP_LISTEN).
const LISTENING: &str = "0A";

/// The process that listens on the TCP port, on whatever address: its id and its name.
///
/// `None` when nobody does, or when it cannot be seen: an ordinary user sees only its own
/// processes' sockets. Reads `/proc` and blocks for some milliseconds.
pub fn port_holder(port: u16) -> Option<(u32, String)> {
    let tables = ["/proc/net/tcp", "/proc/net/tcp6"];
    let sockets: Vec<String> = tables
        .iter()
        .filter_map(|table| fs::read_to_string(table).ok())
        .flat_map(|table| listening_sockets(&table, port))
        .map(|inode| format!("socket:[{inode}]"))
        .collect();
    if sockets.is_empty() {
        return None;
    }
    let processes = fs::read_dir("/proc").ok()?.flatten();
    processes
        .filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok())
        .find(|pid| holds_one_of(*pid, &sockets))
        .map(|pid| (pid, name_of(pid)))
}

/// The inodes of the sockets that listen on the port, from a table like `/proc/net/tcp`.
fn listening_sockets(table: &str, port: u16) -> Vec<String> {
    let of_line = |line: &str| {
        let columns: Vec<&str> = line.split_whitespace().collect();
        let (_, local_port) = columns.get(1)?.rsplit_once(':')?;
        let wanted = u16::from_str_radix(local_port, 16).ok()? == port;
        (wanted && *columns.get(3)? == LISTENING).then(|| columns.get(9).map(|s| s.to_string()))?
    };
    table.lines().skip(1).filter_map(of_line).collect()
}

fn holds_one_of(pid: u32, sockets: &[String]) -> bool {
    let Ok(open_files) = fs::read_dir(format!("/proc/{pid}/fd")) else { return false };
    open_files.flatten().any(|file| {
        let target = fs::read_link(file.path()).unwrap_or_default();
        sockets.iter().any(|socket| Path::new(socket) == target)
    })
}

fn name_of(pid: u32) -> String {
    let name = fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
    name.trim_end().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_connection_to_a_port_is_not_its_holder() {
        let table = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n\
            0: 0100007F:37AE 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 111 1 0 100 0 0 10 0\n\
            1: 0100007F:37AE 0100007F:9C40 01 00000000:00000000 00:00000000 00000000     0        0 222 1 0 20 4 30 10 -1\n\
            2: 0100007F:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 333 1 0 100 0 0 10 0\n";
        assert_eq!(listening_sockets(table, 14254), ["111"]);
        assert_eq!(listening_sockets(table, 8080), ["333"]);
        assert!(listening_sockets(table, 40000).is_empty());
    }
}
