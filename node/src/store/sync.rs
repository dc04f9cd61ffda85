//! Brings commits to the disk, beside the thread that makes them.
//!
//! fjall syncs its journal under the lock that commits need. Here the same file is synced through a
//! handle of our own, so the next commit is written meanwhile. It is enough to sync the newest
//! journal: fjall syncs one in full before it makes the next, and makes the next before it writes
//! to it; and it syncs the journal before it writes tables, so they hold nothing that is not there.

use super::Durability;
use super::journal;
use super::mark::Mark;
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

/// What it takes to bring commits to the disk.
pub(crate) struct Syncer {
    directory: PathBuf,
    journal: Option<(u64, File)>,
    /// The file that says how many commits there are.
    mark: Mark,
}

impl Syncer {
    /// For the journals in `directory`.
    pub(crate) fn new(directory: &Path, mark: Mark) -> Syncer {
        Syncer { directory: directory.into(), journal: None, mark }
    }

    /// Makes all commits durable that are written, and notes that `number` is one of them.
    pub(crate) fn sync(&mut self, number: u64, durability: Durability) -> io::Result<()> {
        match durability {
            Durability::Sync => {
                self.newest()?.sync_data()?;
                self.mark.write(number)
            }
            Durability::Os => Ok(()),
        }
    }

    /// Notes on disk that `number` is durable.
    pub(crate) fn close(&self, number: u64) -> io::Result<()> {
        self.mark.write(number)?;
        self.mark.sync()
    }

    /// The newest journal. Between two syncs there is at most one new one: a journal is full with 64
    /// MB, and the next sync comes after a few.
    fn newest(&mut self) -> io::Result<&File> {
        let (number, file) = match self.journal.take() {
            Some(known) => known,
            None => journal::newest(&self.directory)
                .and_then(|(number, path)| Ok((number, File::open(path)?)))?,
        };
        let newest = match File::open(self.directory.join(format!("{}.jnl", number + 1))) {
            Ok(next) => (number + 1, next),
            Err(error) if error.kind() == io::ErrorKind::NotFound => (number, file),
            Err(error) => return Err(error),
        };
        Ok(&self.journal.insert(newest).1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::mark;

    #[test]
    fn the_newest_journal_is_synced_also_after_a_change_of_journals() {
        let place = tempfile::tempdir().unwrap();
        let mark = place.path().join("commits");
        let mut syncer = Syncer::new(place.path(), Mark::open(&mark).unwrap());
        assert!(syncer.sync(1, Durability::Sync).is_err(), "there is no journal");
        for (name, newest) in [("7", 7), ("6", 7), ("8", 8), ("9", 9)] {
            File::create(place.path().join(format!("{name}.jnl"))).unwrap();
            syncer.sync(newest, Durability::Sync).unwrap();
            assert_eq!(syncer.journal.as_ref().map(|(number, _)| *number), Some(newest));
            assert_eq!(mark::read(&mark).unwrap(), Some(newest));
        }
    }

    #[test]
    fn what_is_left_to_the_system_is_not_marked() {
        let place = tempfile::tempdir().unwrap();
        let mark = place.path().join("commits");
        let mut syncer = Syncer::new(place.path(), Mark::open(&mark).unwrap());
        syncer.sync(3, Durability::Os).unwrap();
        assert_eq!(mark::read(&mark).unwrap(), Some(0));
    }
}
