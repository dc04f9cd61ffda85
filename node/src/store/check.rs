//! Opens a store so that nothing that was acknowledged is missing without a word.
//!
//! What fjall verifies itself: each block of a table when it is read, the table of contents of
//! each table. What it does not: that the manifest is the one that it wrote, that the journals are
//! whole ([`super::journal`]), that no keyspace is gone. Those are checked here, before fjall may
//! repair anything. Layout: `format`, `commits` ([`super::mark`]), `store/` (fjall's).

use super::ahead::Ahead;
use super::directory::Directory;
use super::journal::{self, Failure};
use super::mark::{self, Mark};
use super::sync::Syncer;
use super::writer::Commit;
use super::{Database, Durability};
use crate::error::Error;
use folkmoot_core::store::Batch;
use std::fs;
use std::io;
use std::panic::AssertUnwindSafe;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use xxhash_rust::xxh3::xxh3_128;

/// An open store.
pub(crate) struct Opened {
    /// The database.
    pub(crate) database: Database,
    /// What makes commits.
    pub(crate) committer: Committer,
    /// What makes them durable.
    pub(crate) syncer: Syncer,
}

/// What it takes to make commits.
pub(crate) struct Committer {
    database: Database,
    /// The journal's blocks.
    ahead: Ahead,
    /// The number of the last commit.
    commit: u64,
}

impl Committer {
    /// Makes one commit of batches. What a power failure leaves of it, [`Syncer`] decides.
    pub(crate) fn commit(
        &mut self,
        batches: &[Arc<Batch>],
        durability: Durability,
    ) -> io::Result<Commit> {
        self.commit += 1;
        if durability == Durability::Sync {
            self.ahead.make_room(batches);
        }
        self.database.commit(self.commit, batches).map_err(io::Error::other)?;
        Ok(Commit { number: self.commit, snapshot: self.database.snapshot() })
    }
}

impl Opened {
    /// Makes batches durable, as one. Answers what the database shows then.
    pub(crate) fn commit(
        &mut self,
        batches: &[Arc<Batch>],
        durability: Durability,
    ) -> io::Result<fjall::Snapshot> {
        let commit = self.committer.commit(batches, durability)?;
        self.syncer.sync(commit.number, durability)?;
        Ok(commit.snapshot)
    }

    /// Leaves the store so that the next start can tell that nothing is missing.
    pub(crate) fn close(self) -> io::Result<()> {
        self.database.sync().map_err(io::Error::other)?;
        self.syncer.close(self.committer.commit)?;
        self.database.settle().map_err(io::Error::other)
    }
}

/// Opens the store in `directory`, or makes one.
pub(crate) fn open(directory: &Directory, durability: Durability) -> Result<Opened, Error> {
    let store = directory.path().join("store");
    let commits = directory.path().join("commits");
    let fresh = directory.format()?.is_none();
    let durable = mark::read(&commits).map_err(io_error(&commits))?;
    let durable = if fresh {
        // An earlier start did not get as far as the format, or somebody removed it.
        let holds = store.exists() && check_journals(&store, 0)?.is_some();
        if holds || durable.is_some_and(|durable| durable > 0) {
            return Err(damaged(&directory.path().join("format"), "it is gone"));
        }
        remove_all(&store)?;
        remove_all(&commits)?;
        0
    } else {
        check_manifests(&store)?;
        let durable = durable.ok_or_else(|| damaged(&commits, "it names no commit"))?;
        check_journals(&store, durable)?;
        durable
    };
    let ahead = Ahead::new(&store);
    let database = open_database(&store)?;
    let commit = database.last_commit().map_err(|error| damaged(&store, error))?;
    if commit < durable {
        let what = format!("it ends with commit {commit}; {durable} was durable");
        return Err(damaged(&store, what));
    }
    let mark = Mark::open(&commits).map_err(io_error(&commits))?;
    if durability == Durability::Sync {
        mark.write(commit).map_err(io_error(&commits))?;
    }
    if fresh {
        directory.write_format()?;
    }
    let committer = Committer { database: database.clone(), ahead, commit };
    Ok(Opened { database, committer, syncer: Syncer::new(&store, mark) })
}

/// fjall's recovery trusts what it reads and may panic on what it did not write.
fn open_database(store: &Path) -> Result<Database, Error> {
    match std::panic::catch_unwind(AssertUnwindSafe(|| Database::open(store))) {
        Ok(Ok(database)) => Ok(database),
        Ok(Err(fjall::Error::Io(source))) => Err(io_error(store)(source)),
        // The directory is ours: somebody in this process still holds a snapshot of it.
        Ok(Err(fjall::Error::Locked)) => Err(Error::InUse(store.to_owned())),
        Ok(Err(error)) => Err(damaged(store, error)),
        Err(_) => Err(damaged(store, "it cannot be read")),
    }
}

fn check_journals(store: &Path, durable: u64) -> Result<Option<u64>, Error> {
    journal::check(store, durable).map_err(|failure| match failure {
        Failure::Io(path, source) => Error::DataDir { path, source },
        Failure::Damage(damage) => damaged(&damage.path, damage.what),
    })
}

/// Each keyspace names its newest manifest with a checksum; fjall writes it and does not read it.
fn check_manifests(store: &Path) -> Result<(), Error> {
    let keyspaces = store.join("keyspaces");
    let marker = store.join("version");
    if fs::read(&marker).map_err(io_error(&marker))? != b"FJL\x03" {
        return Err(damaged(&marker, "it names no known version"));
    }
    // One that fjall keeps for itself, and ours.
    for number in 0..=4 {
        let keyspace = keyspaces.join(number.to_string());
        let current = keyspace.join("current");
        let bytes = fs::read(&current).map_err(io_error(&current))?;
        let (Some(version), Some(sum)) =
            (bytes.first_chunk::<8>(), bytes.get(8..).and_then(|rest| rest.first_chunk::<16>()))
        else {
            return Err(damaged(&current, "it is cut short"));
        };
        let manifest = keyspace.join(format!("v{}", u64::from_le_bytes(*version)));
        let bytes = match fs::read(&manifest) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Err(damaged(&current, format!("there is no {}", manifest.display())));
            }
            Err(source) => return Err(io_error(&manifest)(source)),
        };
        if xxh3_128(&bytes).to_le_bytes() != *sum {
            return Err(damaged(&manifest, "its checksum does not fit"));
        }
    }
    Ok(())
}

fn remove_all(path: &Path) -> Result<(), Error> {
    let removed = match fs::symlink_metadata(path) {
        Ok(found) if found.is_dir() => fs::remove_dir_all(path),
        Ok(_) => fs::remove_file(path),
        Err(error) => Err(error),
    };
    match removed {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(io_error(path)(error)),
        _ => Ok(()),
    }
}

fn io_error(path: &Path) -> impl FnOnce(io::Error) -> Error {
    let path: PathBuf = path.to_owned();
    move |source| Error::DataDir { path, source }
}

fn damaged(path: &Path, what: impl ToString) -> Error {
    Error::Damaged { path: path.to_owned(), what: what.to_string() }
}
