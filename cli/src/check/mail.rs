//! The folder of mails: which notices really lie there.

use std::fs::File;
use std::io::{self, BufRead, BufReader};
use std::path::Path;

use rusqlite::params;

use super::work::Work;

/// Lines of a mail's head that are looked at, at most.
const HEAD_LINES: usize = 100;

/// Takes every mail that was not taken before. `look` is 0 before the ledgers are read, 1 after.
///
/// # Errors
/// Why the folder cannot be read. One that is not there is empty: nothing was sent yet.
pub fn gather(work: &mut Work, folder: &Path, look: i64) -> Result<(), String> {
    let failed = |e: &dyn std::fmt::Display| format!("{}: {e}", folder.display());
    let entries = match std::fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(failed(&error)),
    };
    work.begin().map_err(|e| failed(&e))?;
    for entry in entries {
        let path = entry.map_err(|e| failed(&e))?.path();
        if path.extension().is_some_and(|extension| extension == "eml") {
            take(work, &path, look).map_err(|e| failed(&e))?;
        }
    }
    work.commit().map_err(|e| failed(&e))
}

fn take(work: &Work, path: &Path, look: i64) -> rusqlite::Result<()> {
    let file = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let is_known = "select count(*) from mail where file = ?1";
    if work.connection.prepare_cached(is_known)?.query_row([&file], |row| row.get::<_, i64>(0))? > 0 {
        return Ok(());
    }
    let message_id = message_id(path).unwrap_or_default();
    // `<event id>.<channel>@<domain>`, in angle brackets.
    let event = message_id.trim_start_matches('<').split('.').next().and_then(|id| uuid::Uuid::try_parse(id).ok());
    work.connection
        .prepare_cached("insert into mail (file, message_id, event_id, look) values (?1, ?2, ?3, ?4)")?
        .execute(params![file, message_id, event.as_ref().map(uuid::Uuid::as_bytes), look])
        .map(|_| ())
}

fn message_id(path: &Path) -> Option<String> {
    let lines = BufReader::new(File::open(path).ok()?).lines().take(HEAD_LINES);
    let head = lines.map_while(Result::ok).take_while(|line| !line.is_empty());
    let mut found = head.filter_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.eq_ignore_ascii_case("message-id").then(|| value.trim().to_owned())
    });
    found.next()
}
