//! Who listens on a port, as far as Linux's `/proc` tells.

use std::fmt;
use std::fs;

/// A process that listens on a port.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Holder {
    pub pid: u32,
    /// The kernel's short name of it, at most 15 bytes.
    pub name: String,
}

impl fmt::Display for Holder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} (process {})", self.name, self.pid)
    }
}

/// The process that listens on the TCP port. None where nobody does, where the process is another user's and we
/// are not root, and where there is no `/proc`.
pub(super) fn of_port(port: u16) -> Option<Holder> {
    let sockets: Vec<String> = ["/proc/net/tcp", "/proc/net/tcp6"]
        .iter()
        .filter_map(|table| fs::read_to_string(table).ok())
        .flat_map(|table| listening_sockets(&table, port))
        .collect();
    if sockets.is_empty() {
        return None;
    }
    let pids = fs::read_dir("/proc").ok()?.flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    let pid = pids.into_iter().find(|pid| holds(*pid, &sockets))?;
    let name = fs::read_to_string(format!("/proc/{pid}/comm")).ok()?;
    Some(Holder { pid, name: name.trim().to_owned() })
}

fn holds(pid: u32, sockets: &[String]) -> bool {
    let Ok(files) = fs::read_dir(format!("/proc/{pid}/fd")) else {
        return false;
    };
    files
        .flatten()
        .filter_map(|file| fs::read_link(file.path()).ok())
        .any(|target| target.to_str().is_some_and(|target| sockets.iter().any(|socket| socket == target)))
}

/// The sockets that listen on the port, as `/proc/<pid>/fd` links to them. The format is that of proc(5): `sl
/// local_address rem_address st tx:rx tr:when retrnsmt uid timeout inode`, hexadecimal; state 0A is LISTEN.
fn listening_sockets(table: &str, port: u16) -> Vec<String> {
    let inodes = table.lines().skip(1).filter_map(|line| listening_inode(line, port));
    inodes.map(|inode| format!("socket:[{inode}]")).collect()
}

fn listening_inode(line: &str, port: u16) -> Option<&str> {
    let fields: Vec<&str> = line.split_whitespace().collect();
    let (_, local_port) = fields.get(1)?.rsplit_once(':')?;
    let listens = *fields.get(3)? == "0A" && u16::from_str_radix(local_port, 16) == Ok(port);
    if listens { fields.get(9).copied() } else { None }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TABLE: &str =
        "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
   0: 0100007F:C383 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 4242 1 0 100 0 0 10 0
   1: 0100007F:C383 0100007F:9C40 01 00000000:00000000 00:00000000 00000000     0        0 4343 1 0 20 4 30 10 -1
";

    #[test]
    fn only_the_listening_socket_of_the_port_is_found() {
        assert_eq!(listening_sockets(TABLE, 50051), ["socket:[4242]"]);
        assert_eq!(listening_sockets(TABLE, 50052), [""; 0]);
    }
}
