//! A disk that forgets what was not synced.
//!
//! A batch handed over is seen by the engine at once and becomes durable later, in order. A
//! crash drops what is not durable, or keeps a prefix of it: a disk may have written more than it
//! was asked to. Planted bugs live here too: a disk that lies about its syncs, one that loses a
//! write, one that erases what is deleted, and one that loses the clock's bound.

use bytes::Bytes;
use folkmoot_core::data::Entry;
use folkmoot_core::store::{Batch, MemoryStore, space};
use std::collections::VecDeque;

/// The disk of one node; it outlives the node's runs.
#[derive(Clone, Debug, Default)]
pub struct Disk {
    view: MemoryStore,
    durable: MemoryStore,
    pending: VecDeque<Batch>,
    platter: Option<MemoryStore>,
    loses: Option<Loses>,
    entries_put: u64,
}

/// What a disk loses of a batch, planted.
#[derive(Clone, Copy, Debug)]
enum Loses {
    /// One write of an entry in so many.
    OneIn(u64),
    /// Tombstones: what they replace is erased.
    Tombstones,
    /// The bound of the clock.
    Bound,
}

/// Where a node keeps the bound of its clock, see `docs/storage.md`.
const CLOCK_BOUND: &[u8] = b"clock";

impl Disk {
    /// What the engine reads: everything handed over.
    pub fn view(&self) -> &MemoryStore {
        &self.view
    }

    /// What local clients read: everything durable.
    pub fn durable(&self) -> &MemoryStore {
        &self.durable
    }

    /// Batches that are not durable yet.
    pub fn pending(&self) -> usize {
        self.pending.len()
    }

    /// Hands a batch over.
    pub fn write(&mut self, batch: Batch) {
        let batch = self.lose_writes(batch);
        self.view.apply(&batch);
        self.pending.push_back(batch);
    }

    /// Makes the oldest pending batch durable.
    pub fn sync_oldest(&mut self) {
        if let Some(batch) = self.pending.pop_front() {
            self.durable.apply(&batch);
        }
    }

    /// Loses power: the first `kept` pending batches had reached the disk, the others are gone.
    pub fn crash(&mut self, kept: usize) {
        for batch in self.pending.drain(..).take(kept) {
            self.durable.apply(&batch);
        }
        if let Some(platter) = &self.platter {
            self.durable = platter.clone();
        }
        self.view = self.durable.clone();
    }

    /// Becomes an empty disk.
    pub fn wipe(&mut self) {
        self.restore(MemoryStore::default());
    }

    /// Becomes what was durable when `backup` was taken.
    pub fn restore(&mut self, backup: MemoryStore) {
        self.pending.clear();
        self.view = backup.clone();
        self.durable = backup;
    }

    /// Planted: from now on syncs are confirmed, but a crash undoes them.
    pub fn begin_to_lie(&mut self) {
        self.platter = Some(self.durable.clone());
    }

    /// Planted: of so many writes of entries one is lost.
    pub fn lose_one_in(&mut self, one_in: u64) {
        self.loses = Some(Loses::OneIn(one_in));
    }

    /// Planted: from now on a delete removes an entry and leaves no tombstone.
    pub fn begin_to_erase(&mut self) {
        self.loses = Some(Loses::Tombstones);
    }

    /// Planted: the bound of the clock is never written.
    pub fn forget_bound(&mut self) {
        self.loses = Some(Loses::Bound);
    }

    fn lose_writes(&mut self, batch: Batch) -> Batch {
        let Some(loses) = self.loses else { return batch };
        let mut kept = Batch::default();
        for (key, value) in batch.writes() {
            let is_entry = key.first() == Some(&space::ENTRIES.0);
            self.entries_put += u64::from(is_entry);
            let value = match loses {
                Loses::OneIn(many) if is_entry && self.entries_put.is_multiple_of(many) => continue,
                Loses::Tombstones if is_entry => value.clone().filter(|value| !is_tombstone(value)),
                Loses::Bound if key[..] == space::META.key(CLOCK_BOUND) => continue,
                _ => value.clone(),
            };
            match value {
                Some(value) => kept.put(key.clone(), value),
                None => kept.delete(key.clone()),
            }
        }
        kept
    }
}

fn is_tombstone(entry: &Bytes) -> bool {
    Entry::from_bytes(entry.clone()).is_ok_and(|entry| entry.value.is_none())
}

#[cfg(test)]
mod tests {
    use super::*;
    use folkmoot_core::store::Store;

    fn put(key: &'static str) -> Batch {
        let mut batch = Batch::default();
        batch.put(key, "value");
        batch
    }

    fn has(store: &MemoryStore, key: &str) -> bool {
        store.get(key.as_bytes()).unwrap().is_some()
    }

    #[test]
    fn a_crash_forgets_what_was_not_synced_and_keeps_what_was() {
        let mut disk = Disk::default();
        for key in ["a", "b", "c"] {
            disk.write(put(key));
        }
        disk.sync_oldest();
        assert!(has(disk.view(), "c") && has(disk.durable(), "a") && !has(disk.durable(), "b"));
        disk.crash(1);
        assert!(has(disk.view(), "a") && has(disk.view(), "b") && !has(disk.view(), "c"));
        assert_eq!(disk.pending(), 0);
    }

    #[test]
    fn a_disk_that_lies_forgets_what_it_confirmed() {
        let mut disk = Disk::default();
        disk.write(put("a"));
        disk.sync_oldest();
        disk.begin_to_lie();
        disk.write(put("b"));
        disk.sync_oldest();
        assert!(has(disk.durable(), "b"));
        disk.crash(0);
        assert!(has(disk.durable(), "a") && !has(disk.durable(), "b"));
    }

    #[test]
    fn a_disk_that_loses_writes_loses_only_entries() {
        let mut disk = Disk::default();
        disk.lose_one_in(1);
        disk.write(put("e:entry"));
        disk.write(put("meta"));
        assert!(!has(disk.view(), "e:entry") && has(disk.view(), "meta"));
    }

    #[test]
    fn a_disk_that_forgets_the_bound_keeps_all_else() {
        let mut disk = Disk::default();
        disk.forget_bound();
        disk.write(put("mclock"));
        disk.write(put("mboot"));
        assert!(!has(disk.view(), "mclock") && has(disk.view(), "mboot"));
    }
}
