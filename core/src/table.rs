//! A hash table that cannot be iterated, so that nothing depends on an order that it has not.
//!
//! The hasher is fixed and keyed by a seed that is handed in: the same run again makes the same
//! table, and whoever chooses the keys cannot choose where they lie. It folds 64-bit products, as
//! wyhash does (Wang Yi, 2019); it is no cryptographic hash.

#![allow(clippy::disallowed_types)] // the one place where the type is wrapped

use std::borrow::Borrow;
use std::collections::HashMap;
use std::hash::{BuildHasher, Hash, Hasher};

/// A map from `K` to `V` without an order.
#[derive(Clone, Debug)]
pub(crate) struct Table<K, V>(HashMap<K, V, Seeded>);

impl<K: Hash + Eq, V> Table<K, V> {
    /// An empty table.
    pub(crate) fn new(seed: u64) -> Table<K, V> {
        Table(HashMap::with_hasher(Seeded(seed)))
    }

    pub(crate) fn get<Q>(&self, key: &Q) -> Option<&V>
    where
        K: Borrow<Q>,
        Q: Hash + Eq + ?Sized,
    {
        self.0.get(key)
    }

    pub(crate) fn get_mut(&mut self, key: &K) -> Option<&mut V> {
        self.0.get_mut(key)
    }

    pub(crate) fn insert(&mut self, key: K, value: V) -> Option<V> {
        self.0.insert(key, value)
    }

    pub(crate) fn remove(&mut self, key: &K) -> Option<V> {
        let removed = self.0.remove(key);
        if self.0.len() * 8 < self.0.capacity() && self.0.capacity() > 1_024 {
            self.0.shrink_to(self.0.len() * 2);
        }
        removed
    }

    /// The value at `key`, made first if there is none.
    pub(crate) fn entry(&mut self, key: K) -> &mut V
    where
        V: Default,
    {
        self.0.entry(key).or_default()
    }
}

#[derive(Clone, Debug)]
struct Seeded(u64);

impl BuildHasher for Seeded {
    type Hasher = Folding;
    fn build_hasher(&self) -> Folding {
        Folding(self.0)
    }
}

struct Folding(u64);

const MIX: u64 = 0x9e37_79b9_7f4a_7c15;

impl Folding {
    fn fold(&mut self, word: u64) {
        let product = u128::from(self.0 ^ word) * u128::from(MIX | 1);
        self.0 = (product as u64) ^ ((product >> 64) as u64) ^ word.rotate_left(23);
    }
}

impl Hasher for Folding {
    fn write(&mut self, bytes: &[u8]) {
        let mut words = bytes.chunks_exact(8);
        for word in &mut words {
            self.fold(u64::from_le_bytes(word.try_into().expect("eight bytes")));
        }
        let rest = words.remainder();
        let mut last = [0; 8];
        last[..rest.len()].copy_from_slice(rest);
        // The length keeps a short text apart from one that ends in zeros.
        self.fold(u64::from_le_bytes(last) ^ (bytes.len() as u64) << 56);
    }

    fn write_u64(&mut self, word: u64) {
        self.fold(word);
    }

    fn write_usize(&mut self, word: usize) {
        self.fold(word as u64);
    }

    fn finish(&self) -> u64 {
        let product = u128::from(self.0) * u128::from(MIX);
        (product as u64) ^ ((product >> 64) as u64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hash_bytes(seed: u64, bytes: &[u8]) -> u64 {
        let mut hasher = Folding(seed);
        hasher.write(bytes);
        hasher.finish()
    }

    #[test]
    fn keys_that_follow_each_other_lie_apart() {
        let mut low = vec![0u32; 256];
        for n in 0..25_600u32 {
            let hash = hash_bytes(7, format!("user-{n}").as_bytes());
            low[(hash & 255) as usize] += 1;
        }
        assert!(low.iter().all(|count| (50..200).contains(count)), "{low:?}");
    }

    #[test]
    fn another_seed_is_another_order() {
        assert_ne!(hash_bytes(1, b"anna"), hash_bytes(2, b"anna"));
        assert_ne!(hash_bytes(1, b"anna"), hash_bytes(1, b"anna\0"));
    }
}
