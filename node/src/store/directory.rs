//! The data directory: one node at a time, one known format, room on the disk.
//!
//! Promise: a directory that is in use, of a newer format, or not writable is refused with its
//! name, and nothing in it is changed. Files: `lock`, `format`, and what the other parts keep.
//! Limits: `FREE_BYTES_MIN`, `FREE_PERCENT_MIN`, `REPAIR_BYTES_MIN`.

use crate::error::Error;
use crate::private_file;
use std::fs::{self, File, OpenOptions, TryLockError};
use std::io;
use std::path::{Path, PathBuf};

/// The newest format of a data directory that this program reads, and the one that it writes.
pub(crate) const FORMAT: u32 = 1;
/// Writes are refused when less is free, in bytes.
pub(crate) const FREE_BYTES_MIN: u64 = 1024 * 1024 * 1024;
/// Writes are refused when less is free, in percent.
pub(crate) const FREE_PERCENT_MIN: u64 = 5;

/// What other nodes wrote is not taken either when less is free, in bytes: the store needs it to
/// move things about, and a commit that finds no room ends the node.
pub(crate) const REPAIR_BYTES_MIN: u64 = 256 * 1024 * 1024;

const FORMAT_WORD: &str = "folkmoot-data";

/// A data directory that this process alone uses, for as long as this lives.
pub(crate) struct Directory {
    path: PathBuf,
    temporary: bool,
    _lock: File,
}

impl Directory {
    /// Takes `path`, creating it for its owner alone if need be.
    pub(crate) fn open(path: &Path) -> Result<Directory, Error> {
        let refused = |source| Error::DataDir { path: path.to_owned(), source };
        create_private(path).map_err(refused)?;
        let path = fs::canonicalize(path).map_err(refused)?;
        let lock = path.join("lock");
        let refused = |source| Error::DataDir { path: lock.clone(), source };
        let file = OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .open(&lock)
            .map_err(refused)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(Error::InUse(path)),
            Err(TryLockError::Error(source)) => return Err(refused(source)),
        }
        let directory = Directory { path, temporary: false, _lock: file };
        directory.format()?;
        Ok(directory)
    }

    /// A directory for a node that keeps nothing: it is removed in the end.
    pub(crate) fn temporary() -> Result<Directory, Error> {
        let mut name = [0; 8];
        getrandom::fill(&mut name).map_err(|error| Error::DataDir {
            path: std::env::temp_dir(),
            source: io::Error::other(error.to_string()),
        })?;
        let name = format!("folkmoot-{:016x}", u64::from_be_bytes(name));
        let mut directory = Directory::open(&std::env::temp_dir().join(name))?;
        directory.temporary = true;
        Ok(directory)
    }

    /// Where it is.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// The format, or `None` for a directory that is not yet finished.
    pub(crate) fn format(&self) -> Result<Option<u32>, Error> {
        let path = self.path.join("format");
        let text = match fs::read(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(source) => return Err(Error::DataDir { path, source }),
        };
        let format = std::str::from_utf8(&text)
            .ok()
            .and_then(|text| text.strip_suffix('\n')?.strip_prefix(FORMAT_WORD)?.strip_prefix(' '))
            .and_then(|number| number.parse().ok());
        match format {
            Some(found) if found > FORMAT => {
                Err(Error::Newer { path: self.path.clone(), found, known: FORMAT })
            }
            Some(FORMAT) => Ok(format),
            _ => Err(Error::Damaged { path, what: "it names no format".into() }),
        }
    }

    /// Marks the directory as finished, in the format of this program.
    pub(crate) fn write_format(&self) -> Result<(), Error> {
        let text = format!("{FORMAT_WORD} {FORMAT}\n");
        Ok(private_file::write(&self.path.join("format"), text.as_bytes())?)
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        if self.temporary
            && let Err(error) = fs::remove_dir_all(&self.path)
        {
            tracing::warn!("cannot remove {}: {error}", self.path.display());
        }
    }
}

/// How much room a disk has, the most first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Room {
    /// For everything.
    Enough,
    /// For what other nodes wrote, not for local writes.
    Little,
    /// For reads alone.
    None,
}

/// How much room the disk that holds `path` has; enough if nobody can tell.
pub(crate) fn room(path: &Path) -> Room {
    let Ok(disk) = rustix::fs::statvfs(path) else { return Room::Enough };
    let free = disk.f_bavail.saturating_mul(disk.f_frsize);
    let total = disk.f_blocks.saturating_mul(disk.f_frsize);
    match free {
        _ if free < REPAIR_BYTES_MIN => Room::None,
        _ if free < FREE_BYTES_MIN || free < total / 100 * FREE_PERCENT_MIN => Room::Little,
        _ => Room::Enough,
    }
}

fn create_private(path: &Path) -> io::Result<()> {
    let mut builder = fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(path)
}
