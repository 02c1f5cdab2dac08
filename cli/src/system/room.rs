//! What the streams of a system may keep where `up` runs their server. JetStream sets the whole size of a stream aside when
//! it makes it, and makes none that does not fit: on a small disk streams of the usual size would never all be there.

use std::collections::BTreeSet;
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use spillway_proto::{Ledger, Partition, ledgers};
use spillway_shared::bus::StreamConfig;

/// Less than that no stream keeps, however small the disk: who has not heard what it drops asks the outbox.
const LEAST: i64 = 8 << 20;

/// Where the size is written down that was chosen: streams keep the size that they were made with, or the next start would
/// change them back to another.
const CHOSEN: &str = "stream-max-bytes";

/// Bytes of a block, in which a file's size on its disk is told.
const BLOCK: u64 = 512;

/// What fits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fit {
    /// Bytes of each stream.
    pub max_bytes: i64,
    /// Bytes that JetStream may set aside for all of them.
    pub max_file_store: u64,
}

impl Fit {
    /// What fits the disk of the folder that nats-server works in. `is_set`: somebody chose the size of a stream, and it
    /// stays as it is, whether or not it fits.
    ///
    /// # Errors
    /// A folder that cannot be made, read or written.
    pub fn of(folder: &Path, partitions: u16, stream: &StreamConfig, is_set: bool) -> io::Result<Fit> {
        std::fs::create_dir_all(folder)?;
        let disk = rustix::fs::statvfs(folder)?;
        // What JetStream has taken is its own: the room is the same at the next start.
        let room = share(disk.f_bavail.saturating_mul(disk.f_frsize).saturating_add(used(folder)?));
        if is_set {
            return Ok(Fit { max_bytes: stream.max_bytes, max_file_store: room });
        }
        let (written, streams) = (folder.join(CHOSEN), streams(partitions));
        let before = chosen_before(&written)?.filter(|before| (1..stream.max_bytes).contains(before));
        let max_bytes = before.unwrap_or_else(|| fitting(room, streams, stream.max_bytes));
        if max_bytes < stream.max_bytes {
            std::fs::write(&written, format!("{max_bytes}\n"))?;
            tracing::info!(
                max_bytes,
                streams,
                room,
                "streams keep less than usual, for the disk has little room; nats.stream.max_bytes says otherwise"
            );
        }
        let all = streams.saturating_mul(u64::try_from(max_bytes).unwrap_or(0));
        Ok(Fit { max_bytes, max_file_store: room.max(all) })
    }
}

/// Of so many free bytes JetStream may have three quarters: nats-server's own rule.
fn share(free: u64) -> u64 {
    free / 4 * 3
}

fn streams(partitions: u16) -> u64 {
    let of = |ledger: Ledger| (0..partitions).map(move |number| ledgers::stream(ledger, Partition(number)));
    let names: BTreeSet<String> = Ledger::ALL.into_iter().flat_map(of).collect();
    names.len() as u64
}

/// The usual size, halved until all streams fit.
fn fitting(room: u64, streams: u64, usual: i64) -> i64 {
    let fits = |size: i64| streams.saturating_mul(u64::try_from(size).unwrap_or(0)) <= room;
    let sizes = std::iter::successors(Some(usual), |size| Some(size / 2)).take_while(|size| *size >= LEAST);
    let fitting = sizes.into_iter().find(|size| fits(*size));
    fitting.unwrap_or_else(|| LEAST.min(usual))
}

fn chosen_before(written: &Path) -> io::Result<Option<i64>> {
    match std::fs::read_to_string(written) {
        Ok(text) => Ok(text.trim().parse().ok()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// Bytes that a folder takes on its disk.
fn used(folder: &Path) -> io::Result<u64> {
    let mut bytes = 0;
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder)? {
            let entry = entry?;
            match entry.metadata() {
                Ok(found) if found.is_dir() => folders.push(entry.path()),
                Ok(found) => bytes += found.blocks() * BLOCK,
                // Gone in the meantime.
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(error),
            }
        }
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    const GIB: u64 = 1 << 30;

    #[test]
    fn the_usual_size_is_halved_until_all_streams_fit() {
        assert_eq!([streams(1), streams(2)], [6, 11]);
        assert_eq!(fitting(6 * GIB, 6, 1 << 30), 1 << 30);
        assert_eq!(fitting(6 * GIB - 1, 6, 1 << 30), 1 << 29);
        assert_eq!(fitting(450 << 20, 6, 1 << 30), 64 << 20);
        assert_eq!(fitting(0, 6, 1 << 30), LEAST);
        assert_eq!(fitting(0, 6, 4096), 4096, "nothing is made larger");
    }

    #[test]
    fn what_was_chosen_stays_and_what_somebody_set_is_not_touched() {
        let folder = tempfile::tempdir().expect("a folder");
        let usual = StreamConfig { max_bytes: i64::MAX, ..StreamConfig::default() };
        let set = Fit::of(folder.path(), 1, &usual, true).expect("a disk");
        assert_eq!((set.max_bytes, folder.path().join(CHOSEN).exists()), (i64::MAX, false));
        let chosen = Fit::of(folder.path(), 1, &usual, false).expect("a disk");
        let all = |fit: Fit| 6 * u64::try_from(fit.max_bytes).expect("a size");
        assert!(chosen.max_bytes < i64::MAX && all(chosen) <= chosen.max_file_store, "{chosen:?}");
        // As if the disk had had more or less room at the first start.
        for before in [LEAST, chosen.max_bytes * 4] {
            std::fs::write(folder.path().join(CHOSEN), before.to_string()).expect("written");
            let kept = Fit::of(folder.path(), 1, &usual, false).expect("a disk");
            assert!(kept.max_bytes == before && all(kept) <= kept.max_file_store, "{kept:?}");
        }
    }
}
