//! How many commits there must be: a small file beside the database.
//!
//! fjall takes a damaged journal for one that was cut short and drops what follows. So the number
//! of each durable commit is also kept here, and a database that has fewer is refused. The file is
//! written after a commit and left to the operating system to bring to disk: after a loss of power
//! it may lag behind, never run ahead. Two slots are written in turn, so one is always whole.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;
use xxhash_rust::xxh3::xxh3_64;

/// Bytes between the slots: a sector, which disks write whole.
const SLOT_BYTES: u64 = 512;

/// The open file.
pub(crate) struct Mark {
    file: File,
}

impl Mark {
    /// Opens the file, creating it with zero.
    pub(crate) fn open(path: &Path) -> io::Result<Mark> {
        let mut options = OpenOptions::new();
        let file = options.create(true).truncate(false).read(true).write(true).open(path)?;
        let mark = Mark { file };
        if mark.file.metadata()?.len() == 0 {
            mark.write(0)?;
            mark.sync()?;
        }
        Ok(mark)
    }

    /// Notes that `commit` is durable.
    pub(crate) fn write(&self, commit: u64) -> io::Result<()> {
        let number = commit.to_be_bytes();
        let slot = [number, xxh3_64(&number).to_be_bytes()].concat();
        self.file.write_all_at(&slot, commit % 2 * SLOT_BYTES)
    }

    /// Brings the file to disk.
    pub(crate) fn sync(&self) -> io::Result<()> {
        self.file.sync_all()
    }
}

/// The newest commit of which the file at `path` knows; `None` if it has no whole slot.
pub(crate) fn read(path: &Path) -> io::Result<Option<u64>> {
    let bytes = match std::fs::read(path) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    let slot = |at: usize| {
        let number = bytes.get(at..)?.first_chunk::<8>()?;
        let sum = bytes.get(at + 8..)?.first_chunk::<8>()?;
        (xxh3_64(number).to_be_bytes() == *sum).then(|| u64::from_be_bytes(*number))
    };
    Ok(slot(0).max(slot(SLOT_BYTES as usize)))
}
