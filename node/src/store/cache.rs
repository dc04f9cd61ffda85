//! Entries that were written or read lately, so that to read them costs no search in the tables.
//!
//! Promise: what comes out is what the view of the asked generation shows. While a commit is
//! brought in, and to older views, nothing comes out. The entry that was not read for longest
//! goes first, roughly (CLOCK: Corbató, 1968). Limits: `CACHE_BYTES_MAX`.

use bytes::Bytes;
use folkmoot_core::store::Batch;
use folkmoot_core::store::space::ENTRIES;
use hashbrown::HashTable;
use std::hash::{BuildHasher, RandomState};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Bytes of memory that all entries here may take: 500,000 of 100 bytes, with their paths.
const CACHE_BYTES_MAX: usize = 128 * 1024 * 1024;
/// Bytes that an entry takes beside its key and value.
const SLOT_BYTES: usize = 64;
/// Parts with a lock of their own.
const SHARDS: usize = 64;
/// The generation of no view.
const CHANGING: u64 = u64::MAX;

/// The entries of one database.
pub(super) struct Cache {
    hasher: RandomState,
    shards: Vec<Mutex<Shard>>,
    shard_bytes_max: usize,
    /// The view whose entries these are.
    generation: AtomicU64,
}

#[derive(Default)]
struct Shard {
    table: HashTable<u32>,
    slots: Vec<Slot>,
    bytes: usize,
    /// The slot that is looked at next when room is needed.
    hand: usize,
}

struct Slot {
    hash: u64,
    /// Key and value.
    pair: Box<[u8]>,
    key_length: u16,
    used: bool,
}

impl Slot {
    fn new(hash: u64, key: &[u8], value: &[u8]) -> Slot {
        let pair = [key, value].concat().into_boxed_slice();
        Slot { hash, pair, key_length: key.len() as u16, used: false }
    }

    fn key(&self) -> &[u8] {
        &self.pair[..usize::from(self.key_length)]
    }

    fn value(&self) -> &[u8] {
        &self.pair[usize::from(self.key_length)..]
    }

    fn value_mut(&mut self) -> &mut [u8] {
        &mut self.pair[usize::from(self.key_length)..]
    }

    fn bytes(&self) -> usize {
        self.pair.len() + SLOT_BYTES
    }
}

impl Cache {
    /// An empty cache.
    pub(super) fn new() -> Cache {
        Cache::with_bytes(CACHE_BYTES_MAX)
    }

    fn with_bytes(bytes_max: usize) -> Cache {
        Cache {
            hasher: RandomState::new(),
            shards: (0..SHARDS).map(|_| Mutex::default()).collect(),
            shard_bytes_max: bytes_max / SHARDS,
            generation: AtomicU64::new(0),
        }
    }

    /// The value at `key` in the view of `generation`, if it is here.
    pub(super) fn get(&self, key: &[u8], generation: u64) -> Option<Bytes> {
        let hash = self.hasher.hash_one(key);
        let mut shard = self.shard(hash);
        // Under the lock: a commit that has not begun now comes to this part later.
        if self.generation.load(Ordering::Acquire) != generation {
            return None;
        }
        let index = shard.find(hash, key)?;
        let slot = &mut shard.slots[index];
        slot.used = true;
        Some(Bytes::copy_from_slice(slot.value()))
    }

    /// Keeps a value that was read from the view of `generation`.
    pub(super) fn keep(&self, key: &[u8], value: &[u8], generation: u64) {
        let hash = self.hasher.hash_one(key);
        let mut shard = self.shard(hash);
        // Under the lock, as in `get`: a commit that begins later brings this part up to date.
        if self.generation.load(Ordering::Acquire) == generation {
            shard.put(hash, key, value);
            shard.evict(self.shard_bytes_max);
        }
    }

    /// Brings in what was committed. Until [`Cache::show`] nothing comes out.
    pub(super) fn commit(&self, batches: &[Arc<Batch>]) {
        self.generation.store(CHANGING, Ordering::Release);
        for (key, value) in batches.iter().flat_map(|batch| batch.writes()) {
            if key.first() != Some(&ENTRIES.0) {
                continue;
            }
            let hash = self.hasher.hash_one(&key[..]);
            let mut shard = self.shard(hash);
            match value {
                Some(value) => {
                    shard.put(hash, key, value);
                    shard.evict(self.shard_bytes_max);
                }
                None => shard.delete(hash, key),
            }
        }
    }

    /// From now on this is what the view of `generation` shows.
    pub(super) fn show(&self, generation: u64) {
        self.generation.store(generation, Ordering::Release);
    }

    fn shard(&self, hash: u64) -> MutexGuard<'_, Shard> {
        let shard = &self.shards[(hash >> 32) as usize % SHARDS];
        shard.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Shard {
    fn find(&self, hash: u64, key: &[u8]) -> Option<usize> {
        let is = |index: &u32| self.slots[*index as usize].key() == key;
        self.table.find(hash, is).map(|index| *index as usize)
    }

    fn put(&mut self, hash: u64, key: &[u8], value: &[u8]) {
        // The index has 32 bits and a key's length 16: larger ones are not worth their while.
        if key.len() > usize::from(u16::MAX) || self.slots.len() >= u32::MAX as usize {
            return self.delete(hash, key);
        }
        let Some(index) = self.find(hash, key) else {
            return self.insert(Slot::new(hash, key, value));
        };
        let slot = &mut self.slots[index];
        let old = slot.bytes();
        match slot.value_mut() {
            same if same.len() == value.len() => same.copy_from_slice(value),
            _ => *slot = Slot { used: slot.used, ..Slot::new(hash, key, value) },
        }
        self.bytes = self.bytes - old + self.slots[index].bytes();
    }

    /// Adds what is not there.
    fn insert(&mut self, slot: Slot) {
        let (slots, index) = (&self.slots, self.slots.len() as u32);
        self.table.insert_unique(slot.hash, index, |index| slots[*index as usize].hash);
        self.bytes += slot.bytes();
        self.slots.push(slot);
    }

    fn delete(&mut self, hash: u64, key: &[u8]) {
        if let Some(index) = self.find(hash, key) {
            self.remove(index);
        }
    }

    fn remove(&mut self, index: usize) {
        let slot = self.slots.swap_remove(index);
        self.bytes -= slot.bytes();
        let last = self.slots.len() as u32;
        if let Ok(entry) = self.table.find_entry(slot.hash, |other| *other == index as u32) {
            entry.remove();
        }
        // The last slot has moved to the place of the one that went.
        if let Some(moved) = self.slots.get(index)
            && let Some(place) = self.table.find_mut(moved.hash, |other| *other == last)
        {
            *place = index as u32;
        }
    }

    /// Makes room until no more than `bytes_max` are taken.
    fn evict(&mut self, bytes_max: usize) {
        while self.bytes > bytes_max {
            self.hand %= self.slots.len();
            if std::mem::take(&mut self.slots[self.hand].used) {
                self.hand += 1;
            } else {
                self.remove(self.hand);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    fn key(number: u16) -> Vec<u8> {
        [&[ENTRIES.0][..], &number.to_be_bytes()].concat()
    }

    #[test]
    fn a_view_sees_its_own_generation_only() {
        let cache = Cache::new();
        cache.keep(&key(1), b"one", 0);
        cache.keep(&key(2), b"late", 7);
        assert_eq!(cache.get(&key(1), 0).as_deref(), Some(&b"one"[..]));
        assert_eq!((cache.get(&key(1), 1), cache.get(&key(2), 0)), (None, None));
        let mut batch = Batch::default();
        batch.put(key(1), b"two".to_vec());
        cache.commit(&[Arc::new(batch)]);
        assert_eq!((cache.get(&key(1), 0), cache.get(&key(1), 1)), (None, None));
        cache.keep(&key(1), b"one", 0);
        cache.show(1);
        assert_eq!(cache.get(&key(1), 1).as_deref(), Some(&b"two"[..]));
    }

    #[test]
    fn it_stays_within_its_bytes_and_keeps_what_is_used() {
        let cache = Cache::with_bytes(SHARDS * 20 * (SLOT_BYTES + 103));
        cache.keep(&key(0), &[0; 100], 0);
        for number in 1..20_000 {
            cache.keep(&key(number), &[0; 100], 0);
            assert!(cache.get(&key(0), 0).is_some(), "after {number}");
        }
        let bytes: usize = cache.shards.iter().map(|shard| shard.lock().unwrap().bytes).sum();
        assert!(bytes <= SHARDS * 20 * (SLOT_BYTES + 103));
        let count: usize = cache.shards.iter().map(|shard| shard.lock().unwrap().slots.len()).sum();
        assert!(count > SHARDS * 10);
    }

    proptest! {
        #[test]
        fn it_agrees_with_a_map_after_any_commits(steps: Vec<(bool, Vec<(u16, Option<u8>)>)>) {
            let cache = Cache::with_bytes(SHARDS * 3 * (SLOT_BYTES + 4));
            let mut map = BTreeMap::new();
            for (generation, (read, writes)) in steps.into_iter().enumerate() {
                let generation = generation as u64;
                cache.show(generation);
                for (number, value) in &map {
                    let found = cache.get(&key(*number), generation);
                    prop_assert!(found.is_none_or(|found| found[..] == [*value]));
                    if read {
                        cache.keep(&key(*number), &[*value], generation);
                    }
                }
                let mut batch = Batch::default();
                for (number, value) in writes {
                    let number = number % 512;
                    match value {
                        Some(value) => {
                            batch.put(key(number), vec![value]);
                            map.insert(number, value);
                        }
                        None => {
                            batch.delete(key(number));
                            map.remove(&number);
                        }
                    }
                }
                cache.commit(&[Arc::new(batch)]);
                cache.show(generation + 1);
                for number in 0..512 {
                    let found = cache.get(&key(number), generation + 1);
                    let is_right = |found: Bytes| map.get(&number) == Some(&found[0]);
                    prop_assert!(found.is_none_or(is_right));
                }
            }
        }
    }
}
