//! A folder of mails, for trying out and for tests: a file each, as it would go to a server.

use std::io;
use std::path::{Path, PathBuf};

use crate::domain::Trouble;

pub struct Folder {
    path: PathBuf,
}

impl Folder {
    pub fn new(path: PathBuf) -> Self {
        Folder { path }
    }

    /// Puts a mail there, whole or not at all; the same name again takes the place of what was there.
    pub async fn put(&self, name: String, mail: Vec<u8>) -> Result<(), Trouble> {
        let folder = self.path.clone();
        let put = tokio::task::spawn_blocking(move || put(&folder, &name, &mail));
        let outcome = put.await.map_err(|_stopping| Trouble::Folder(io::ErrorKind::Interrupted))?;
        outcome.map_err(|error| {
            tracing::warn!(folder = %self.path.display(), %error, "mail was not written");
            Trouble::Folder(error.kind())
        })
    }
}

fn put(folder: &Path, name: &str, mail: &[u8]) -> io::Result<()> {
    let part = folder.join(format!(".{name}.part"));
    match std::fs::write(&part, mail) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            std::fs::create_dir_all(folder)?;
            std::fs::write(&part, mail)?;
        }
        written => written?,
    }
    std::fs::rename(&part, folder.join(name))
}
