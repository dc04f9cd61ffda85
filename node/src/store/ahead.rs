//! Blocks of the journal that are on the disk before they are needed.
//!
//! fjall makes a journal as a file with a length and without blocks, so each sync of a commit also
//! has to bring the file's new blocks into the file system's own journal, one node after the other.
//! Where zeros were written before, a sync is one write and one flush: about half the time.
//! Whoever reads a journal finds zeros behind its end in either case.
//!
//! Only holes are filled, and only behind all data, as the file system itself knows them; what
//! fails here costs time and nothing else. Called between commits, by the thread that makes them.
//! Limits: `STEP_BYTES`.

use super::journal;
use folkmoot_core::store::Batch;
use rustix::fs::{SeekFrom, seek};
use rustix::io::Errno;
use std::fs::{File, OpenOptions};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Bytes that are filled at once.
const STEP_BYTES: u64 = 256 * 1024;
/// What a write takes in the journal beside key and value.
const WRITE_COST_BYTES: usize = 32;

/// The journal that is being written, as far as it is filled.
pub(crate) struct Ahead {
    directory: PathBuf,
    /// The newest journal that an earlier run left: fjall appends to it, so it has no room.
    old: Option<u64>,
    journal: Option<(u64, File)>,
    /// Bytes of commits that go by until the next look.
    room: u64,
}

impl Ahead {
    /// To be called before fjall opens `directory`.
    pub(crate) fn new(directory: &Path) -> Ahead {
        Ahead {
            directory: directory.into(),
            old: journal::newest(directory).ok().map(|(number, _)| number),
            journal: None,
            room: 0,
        }
    }

    /// Sees to it that there are blocks for the commit of `batches`.
    pub(crate) fn make_room(&mut self, batches: &[Arc<Batch>]) {
        let cost = |batch: &Arc<Batch>| batch.bytes() + batch.writes().len() * WRITE_COST_BYTES;
        let bytes = batches.iter().map(cost).sum::<usize>() as u64;
        if self.room >= bytes {
            self.room -= bytes;
            return;
        }
        self.room = STEP_BYTES;
        if bytes < STEP_BYTES && self.fill().is_some() {
            self.room -= bytes;
        }
    }

    fn fill(&mut self) -> Option<()> {
        let (number, path) = journal::newest(&self.directory).ok()?;
        if Some(number) <= self.old {
            return None;
        }
        if self.journal.as_ref().is_none_or(|(open, _)| *open != number) {
            self.journal = Some((number, OpenOptions::new().write(true).open(path).ok()?));
        }
        let (_, file) = self.journal.as_ref()?;
        let hole = seek(file, SeekFrom::Hole(0)).ok()?;
        let is_end = matches!(seek(file, SeekFrom::Data(hole)), Err(Errno::NXIO));
        let end = file.metadata().ok()?.len().min(hole + STEP_BYTES);
        if !is_end || hole >= end {
            return None;
        }
        file.write_all_at(&vec![0; (end - hole) as usize], hole).ok()
    }
}
