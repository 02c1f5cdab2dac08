//! The generated configuration file, and the names of the files in the server's folder.

use std::fmt::Write;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use super::{NatsServer, SyncInterval};

/// The log is rotated at this size, and this many files are kept: 40 MB at the most.
const LOG_FILE_BYTES: u64 = 10_000_000;
const LOG_FILES: u32 = 4;

pub(super) fn config_file(folder: &Path) -> PathBuf {
    folder.join("nats-server.conf")
}

pub(super) fn log_file(folder: &Path) -> PathBuf {
    folder.join("nats-server.log")
}

/// What the server prints outside its log: a panic, an error in the configuration.
pub(super) fn output_file(folder: &Path) -> PathBuf {
    folder.join("nats-server.out")
}

/// Where the server tells its ports once it listens.
pub(super) fn ports_folder(folder: &Path) -> PathBuf {
    folder.join("ports")
}

/// Writes the configuration, and empties the folder of the ports: a killed server leaves its file.
pub(super) fn write(server: &NatsServer) -> io::Result<()> {
    let ports = ports_folder(&server.folder);
    match std::fs::remove_dir_all(&ports) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        Ok(()) | Err(_) => {}
    }
    std::fs::create_dir(&ports)?;
    std::fs::write(config_file(&server.folder), text(server))
}

fn text(server: &NatsServer) -> String {
    let mut text = String::from("# Generated at every start: changes are lost.\n");
    let mut line = |name: &str, value: String| {
        writeln!(text, "{name}: {value}").expect("a String takes all that is written");
    };
    line("server_name", quoted(server.server_name.as_bytes()));
    line("host", quoted(server.listen.to_string().as_bytes()));
    line("port", port(server.client_port));
    line("http_port", port(server.monitor_port));
    line("ports_file_dir", path(&ports_folder(&server.folder)));
    line("log_file", path(&log_file(&server.folder)));
    line("logfile_size_limit", LOG_FILE_BYTES.to_string());
    line("logfile_max_num", LOG_FILES.to_string());
    line("logtime_utc", "true".to_owned());
    line("max_payload", server.max_payload.to_string());
    // Reply and acknowledgement subjects are used once: a cache of them costs and finds nothing.
    line("disable_sublist_cache", "true".to_owned());
    let mut jetstream = format!("{{ store_dir: {}", path(&server.folder));
    if let Some(bytes) = server.max_file_store {
        jetstream.push_str(&format!(", max_file: {bytes}"));
    }
    match server.sync_interval {
        None => {}
        Some(SyncInterval::Always) => jetstream.push_str(", sync_interval: always"),
        Some(SyncInterval::Every(interval)) => {
            jetstream.push_str(&format!(", sync_interval: \"{}ms\"", interval.as_millis()));
        }
    }
    line("jetstream", jetstream + " }");
    if let Some((user, password)) = &server.authorization {
        let (user, password) = (quoted(user.as_bytes()), quoted(password.as_bytes()));
        line("authorization", format!("{{ user: {user}, password: {password} }}"));
    }
    text
}

/// The server chooses a free port for -1.
fn port(port: u16) -> String {
    if port == 0 { "-1".to_owned() } else { port.to_string() }
}

fn path(path: &Path) -> String {
    quoted(path.as_os_str().as_bytes())
}

/// A string of the configuration language, with every byte that could mean something escaped.
fn quoted(bytes: &[u8]) -> String {
    let mut text = String::from("\"");
    for &byte in bytes {
        match byte {
            b'"' | b'\\' | 0..=0x1f | 0x7f.. => text.push_str(&format!("\\x{byte:02x}")),
            plain => text.push(char::from(plain)),
        }
    }
    text.push('"');
    text
}
