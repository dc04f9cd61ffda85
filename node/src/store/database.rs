//! The four keyspaces and what is tuned about them.
//!
//! A key goes to the keyspace that its first byte names; those of no own keyspace share `meta`.
//! Keys keep their first byte. Each commit carries its number under `COMMIT_KEY`, by which
//! [`super::check`] knows whether all of them are there.

use super::journal::COMMIT_KEY;
use super::store_error;
use bytes::Bytes;
use fjall::config::{BloomConstructionPolicy, FilterPolicy, FilterPolicyEntry, PinningPolicy};
use fjall::{Keyspace, KeyspaceCreateOptions, PersistMode, Readable, Snapshot};
use folkmoot_core::store::space::{ENTRIES, HISTORY, LOG, Space};
use folkmoot_core::store::{Batch, StoreError};
use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc::sync_channel;
use std::time::{Duration, Instant};

/// Bytes of blocks that are kept in memory.
const CACHE_BYTES: u64 = 32 * 1024 * 1024;
/// Bytes of all journals; beyond it the oldest is emptied into tables.
const JOURNAL_BYTES_MAX: u64 = 128 * 1024 * 1024;
/// Bytes of recent writes that a large keyspace keeps in memory.
const MEMTABLE_BYTES: u64 = 32 * 1024 * 1024;
/// The same for the other keyspaces.
const MEMTABLE_BYTES_SMALL: u64 = 4 * 1024 * 1024;
/// Threads that write tables.
const WORKERS: usize = 1;
/// Pairs after which reading goes on ahead, and pairs of one chunk that is read ahead.
const AHEAD_AFTER: usize = 1_024;
/// Chunks that are read ahead.
const AHEAD_CHUNKS: usize = 4;
/// Files that are kept open.
const FILES_MAX: usize = 128;

/// How long the end of a node may take to empty journals, beyond what it has to do.
const SETTLE_MAX: Duration = Duration::from_secs(3);
/// How often it is looked whether they are empty.
const SETTLE_PAUSE: Duration = Duration::from_millis(5);

/// The open database; cheap to clone.
#[derive(Clone)]
pub(crate) struct Database {
    inner: fjall::Database,
    meta: Keyspace,
    entries: Keyspace,
    log: Keyspace,
    history: Keyspace,
}

impl Database {
    /// Opens or creates the database at `path`.
    pub(crate) fn open(path: &Path) -> Result<Database, fjall::Error> {
        let inner = fjall::Database::builder(path)
            .cache_size(CACHE_BYTES)
            .max_journaling_size(JOURNAL_BYTES_MAX)
            .max_cached_files(Some(FILES_MAX))
            .worker_threads(WORKERS)
            .manual_journal_persist(true)
            .open()?;
        let keyspace = |name, memtable| inner.keyspace(name, || options(memtable));
        Ok(Database {
            meta: keyspace("meta", MEMTABLE_BYTES_SMALL)?,
            entries: keyspace("entries", MEMTABLE_BYTES)?,
            log: keyspace("log", MEMTABLE_BYTES / 2)?,
            history: keyspace("history", MEMTABLE_BYTES_SMALL)?,
            inner,
        })
    }

    /// Applies batches as one, and leaves them to the operating system to bring to disk.
    pub(crate) fn commit(&self, number: u64, batches: &[Arc<Batch>]) -> Result<(), fjall::Error> {
        let count = batches.iter().map(|batch| batch.writes().len()).sum::<usize>() + 1;
        let out = fjall::OwnedWriteBatch::with_capacity(self.inner.clone(), count);
        let mut out = out.durability(Some(PersistMode::Buffer));
        // The sequence number that fjall has reached: `journal` checks with it that fjall's own
        // numbers, which its checksums leave out, are as they were written.
        let floor = self.inner.snapshot().seqno();
        let record = [number.to_be_bytes(), floor.to_be_bytes()].concat();
        out.insert(&self.meta, COMMIT_KEY, record);
        for (key, value) in batches.iter().flat_map(|batch| batch.writes()) {
            match value {
                Some(value) => out.insert(self.keyspace(key), &key[..], &value[..]),
                None => out.remove(self.keyspace(key), &key[..]),
            }
        }
        out.commit()
    }

    /// The number of the last commit; 0 for none.
    pub(crate) fn last_commit(&self) -> Result<u64, fjall::Error> {
        let record = self.meta.get(COMMIT_KEY)?;
        let number = record.as_deref().and_then(|record| record.first_chunk::<8>());
        Ok(number.map_or(0, |number| u64::from_be_bytes(*number)))
    }

    /// Waits until the operating system has everything on disk.
    pub(crate) fn sync(&self) -> Result<(), fjall::Error> {
        self.inner.persist(PersistMode::SyncAll)
    }

    /// Sees to it that the next start finds one journal to read and not several: what is only in
    /// them goes into tables. Gives up after `SETTLE_MAX`: then that start takes longer.
    pub(crate) fn settle(&self) -> Result<(), fjall::Error> {
        if self.inner.journal_count() == 1 {
            return Ok(());
        }
        for keyspace in self.keyspaces() {
            keyspace.rotate_memtable()?;
        }
        let deadline = Instant::now() + SETTLE_MAX;
        while self.inner.journal_count() > 1 && Instant::now() < deadline {
            std::thread::sleep(SETTLE_PAUSE);
        }
        Ok(())
    }

    fn keyspaces(&self) -> [&Keyspace; 4] {
        [&self.meta, &self.entries, &self.log, &self.history]
    }

    /// Moves what is in memory into tables.
    #[cfg(test)]
    pub(crate) fn flush(&self) -> Result<(), fjall::Error> {
        for keyspace in self.keyspaces() {
            keyspace.rotate_memtable_and_wait()?;
        }
        Ok(())
    }

    /// What is committed now.
    pub(crate) fn snapshot(&self) -> Snapshot {
        self.inner.snapshot()
    }

    /// The value at `key`, as of `snapshot` or as it is now.
    pub(crate) fn get(
        &self,
        snapshot: Option<&Snapshot>,
        key: &[u8],
    ) -> Result<Option<Bytes>, StoreError> {
        let keyspace = self.keyspace(key);
        let found = match snapshot {
            Some(snapshot) => snapshot.get(keyspace, key),
            None => keyspace.get(key),
        };
        found.map(|value| value.map(|value| Bytes::copy_from_slice(&value))).map_err(store_error)
    }

    /// The pairs with `from <= key < to`, in key order.
    pub(crate) fn range(&self, snapshot: &Snapshot, from: &[u8], to: &[u8]) -> Range {
        let mut parts = Vec::new();
        if from < to {
            for (first, end, keyspace) in self.segments() {
                let (from, to) = (from.max(first), if end.is_empty() { to } else { to.min(end) });
                if from < to {
                    parts.push(snapshot.range(keyspace, from..to));
                }
            }
        }
        parts.reverse();
        Range { parts }
    }

    fn keyspace(&self, key: &[u8]) -> &Keyspace {
        match key.first().map(|first| Space(*first)) {
            Some(ENTRIES) => &self.entries,
            Some(LOG) => &self.log,
            Some(HISTORY) => &self.history,
            _ => &self.meta,
        }
    }

    /// Which keyspace has which keys, in key order; an empty end is none.
    fn segments(&self) -> [(&'static [u8], &'static [u8], &Keyspace); 7] {
        [
            (b"", b"e", &self.meta),
            (b"e", b"f", &self.entries),
            (b"f", b"h", &self.meta),
            (b"h", b"i", &self.history),
            (b"i", b"l", &self.meta),
            (b"l", b"m", &self.log),
            (b"m", b"", &self.meta),
        ]
    }
}

/// A key and its value, or why they cannot be read.
type Pair = Result<(fjall::UserKey, fjall::UserValue), StoreError>;

/// Pairs in key order.
pub(crate) struct Range {
    /// The last is read first.
    parts: Vec<fjall::Iter>,
}

impl Range {
    /// Visits all pairs until `visit` answers `false`. A long way is read ahead on a thread of
    /// its own: at the start of a node the engine's work and the reading take as long.
    pub(crate) fn visit_ahead(
        mut self,
        visit: &mut dyn FnMut(&[u8], &[u8]) -> bool,
    ) -> Result<(), StoreError> {
        for pair in self.by_ref().take(AHEAD_AFTER) {
            let (key, value) = pair?;
            if !visit(&key, &value) {
                return Ok(());
            }
        }
        let mut next = self.peekable();
        if next.peek().is_none() {
            return Ok(());
        }
        std::thread::scope(|scope| {
            let (sender, receiver) = sync_channel::<Vec<Pair>>(AHEAD_CHUNKS);
            scope.spawn(move || {
                loop {
                    let chunk: Vec<Pair> = next.by_ref().take(AHEAD_AFTER).collect();
                    if chunk.is_empty() || sender.send(chunk).is_err() {
                        break;
                    }
                }
            });
            for pair in receiver.into_iter().flatten() {
                let (key, value) = pair?;
                if !visit(&key, &value) {
                    break;
                }
            }
            Ok(())
        })
    }
}

impl Iterator for Range {
    type Item = Pair;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            match self.parts.last_mut()?.next() {
                Some(pair) => return Some(pair.into_inner().map_err(store_error)),
                None => drop(self.parts.pop()),
            }
        }
    }
}

fn options(memtable: u64) -> KeyspaceCreateOptions {
    let bloom = BloomConstructionPolicy::BitsPerKey(10.0);
    KeyspaceCreateOptions::default()
        .max_memtable_size(memtable)
        .manual_journal_persist(true)
        .filter_policy(FilterPolicy::new([FilterPolicyEntry::Bloom(bloom)]))
        .filter_block_pinning_policy(PinningPolicy::all(true))
        .index_block_pinning_policy(PinningPolicy::all(true))
}
