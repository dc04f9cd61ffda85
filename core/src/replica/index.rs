//! What is known in memory of every entry: enough to settle versions without reading the disk,
//! and to compare whole sets with another node.
//!
//! Promise: two indexes of the same network have the same sums exactly if they hold the same
//! versions. Entries fall into 2^16 buckets by a keyed hash of their key; a bucket's sum is the
//! sum of a 256-bit hash per entry (additive, so that it is kept up to date by one subtraction
//! and one addition; AdHash, Bellare and Micciancio, 1997). 24 bytes an entry.

use crate::id::NodeId;
use crate::replica::Version;
use crate::time::Stamp;
use std::collections::BTreeMap;

/// Buckets by which sets are compared.
pub(crate) const BUCKETS: usize = 1 << 16;
/// Buckets in one group, the first step of a comparison.
pub(crate) const GROUP_BUCKETS: usize = 64;
/// Groups.
pub(crate) const GROUPS: usize = BUCKETS / GROUP_BUCKETS;

/// The hash of a key: its bucket, its name within the bucket, and what goes into the sums.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct KeyHash {
    pub(crate) bucket: u16,
    pub(crate) id: u64,
    bytes: [u8; 16],
}

/// What is known of one entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Slot {
    pub(crate) id: u64,
    pub(crate) stamp: Stamp,
    /// A hash of the content.
    pub(crate) check: u32,
    node: u16,
    /// [`Slot::TOMBSTONE`] and so on.
    pub(crate) flags: u8,
}

impl Slot {
    pub(crate) const TOMBSTONE: u8 = 1;
    pub(crate) const FIRST: u8 = 2;
    pub(crate) const EXPIRES: u8 = 4;
    pub(crate) const FIELD: u8 = 8;

    pub(crate) fn is_tombstone(&self) -> bool {
        self.flags & Slot::TOMBSTONE != 0
    }

    pub(crate) fn is_first(&self) -> bool {
        self.flags & Slot::FIRST != 0
    }
}

/// A sum of 256-bit hashes, modulo 2^256; the least significant word first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Sum([u64; 4]);

impl Sum {
    fn add(&mut self, other: Sum) {
        let mut carry = false;
        for (word, add) in self.0.iter_mut().zip(other.0) {
            let (sum, over) = word.overflowing_add(add);
            let (sum, over_by_carry) = sum.overflowing_add(u64::from(carry));
            *word = sum;
            carry = over || over_by_carry;
        }
    }

    fn subtract(&mut self, other: Sum) {
        let mut borrow = false;
        for (word, take) in self.0.iter_mut().zip(other.0) {
            let (rest, under) = word.overflowing_sub(take);
            let (rest, under_by_borrow) = rest.overflowing_sub(u64::from(borrow));
            *word = rest;
            borrow = under || under_by_borrow;
        }
    }

    pub(crate) fn to_bytes(self) -> [u8; 32] {
        let mut out = [0; 32];
        for (bytes, word) in out.chunks_exact_mut(8).zip(self.0) {
            bytes.copy_from_slice(&word.to_le_bytes());
        }
        out
    }

    /// What is compared on the wire while narrowing down.
    pub(crate) fn short(self) -> u64 {
        self.0[0]
    }
}

/// The buckets that are compared together.
#[derive(Default)]
struct Group {
    sum: Sum,
    buckets: Vec<Bucket>,
}

#[derive(Clone, Default)]
struct Bucket {
    sum: Sum,
    /// By id.
    slots: Vec<Slot>,
}

/// The index of one set.
pub(crate) struct Index {
    key: [u8; 32],
    /// A group has no buckets until it has an entry: small sets stay small.
    groups: Vec<Group>,
    total: Sum,
    count: u64,
    tombstones: u64,
    nodes: Vec<NodeId>,
    by_node: BTreeMap<NodeId, u16>,
}

impl Index {
    /// An empty index whose hashes are keyed with `key`.
    pub(crate) fn new(key: [u8; 32]) -> Index {
        Index {
            key,
            groups: std::iter::repeat_with(Group::default).take(GROUPS).collect(),
            total: Sum::default(),
            count: 0,
            tombstones: 0,
            nodes: Vec::new(),
            by_node: BTreeMap::new(),
        }
    }

    pub(crate) fn hash(&self, key: &[u8]) -> KeyHash {
        let hash = blake3::keyed_hash(&self.key, key);
        let mut bytes = [0; 16];
        bytes.copy_from_slice(&hash.as_bytes()[..16]);
        let mut id = [0; 8];
        id.copy_from_slice(&bytes[2..10]);
        let bucket = u16::from_be_bytes([bytes[0], bytes[1]]);
        KeyHash { bucket, id: u64::from_be_bytes(id), bytes }
    }

    /// The number of a writing node; `None` if there are 65,535 already.
    pub(crate) fn intern(&mut self, node: NodeId) -> Option<u16> {
        if let Some(number) = self.by_node.get(&node) {
            return Some(*number);
        }
        let number = u16::try_from(self.nodes.len()).ok().filter(|number| *number < u16::MAX)?;
        self.nodes.push(node);
        self.by_node.insert(node, number);
        Some(number)
    }

    /// A slot for an entry, to be set.
    pub(crate) fn slot(
        &mut self,
        hash: KeyHash,
        version: Version,
        check: u32,
        flags: u8,
    ) -> Option<Slot> {
        let node = self.intern(version.node)?;
        Some(Slot { id: hash.id, stamp: version.stamp, check, node, flags })
    }

    pub(crate) fn version(&self, slot: &Slot) -> Version {
        Version { stamp: slot.stamp, node: self.nodes[usize::from(slot.node)] }
    }

    pub(crate) fn get(&self, hash: KeyHash) -> Option<Slot> {
        let slots = self.bucket(hash.bucket);
        let at = slots.binary_search_by_key(&hash.id, |slot| slot.id).ok()?;
        Some(slots[at])
    }

    /// Sets what is known of an entry, or forgets it.
    pub(crate) fn set(&mut self, hash: KeyHash, slot: Option<Slot>) {
        let at = self.bucket(hash.bucket).binary_search_by_key(&hash.id, |slot| slot.id);
        let old = at.ok().map(|at| self.bucket(hash.bucket)[at]);
        let mut change = Sum::default();
        if let Some(slot) = slot {
            change.add(self.part(hash, &slot));
            self.count += 1;
            self.tombstones += u64::from(slot.is_tombstone());
        }
        if let Some(old) = old {
            change.subtract(self.part(hash, &old));
            self.count -= 1;
            self.tombstones -= u64::from(old.is_tombstone());
        }
        self.total.add(change);
        let (group, bucket) = self.place(hash.bucket);
        group.add(change);
        bucket.sum.add(change);
        match (at, slot) {
            (Ok(at), Some(slot)) => bucket.slots[at] = slot,
            (Ok(at), None) => drop(bucket.slots.remove(at)),
            (Err(at), Some(slot)) => bucket.slots.insert(at, slot),
            (Err(_), None) => {}
        }
    }

    /// Takes in many entries that it does not hold yet, no two of the same key, and empties
    /// `entries`. They go in by bucket: taken in one by one, nearly each would wait for memory.
    pub(crate) fn load(&mut self, entries: &mut Vec<(KeyHash, Slot)>) {
        entries.sort_unstable_by_key(|(hash, _)| hash.bucket);
        for entries in entries.chunk_by(|(a, _), (b, _)| a.bucket == b.bucket) {
            let mut change = Sum::default();
            for (hash, slot) in entries {
                change.add(self.part(*hash, slot));
                self.tombstones += u64::from(slot.is_tombstone());
            }
            let (group, bucket) = self.place(entries[0].0.bucket);
            group.add(change);
            bucket.sum.add(change);
            bucket.slots.extend(entries.iter().map(|(_, slot)| *slot));
            bucket.slots.sort_unstable_by_key(|slot| slot.id);
            self.total.add(change);
        }
        self.count += entries.len() as u64;
        entries.clear();
    }

    /// The sum of a bucket's group, and the bucket.
    fn place(&mut self, bucket: u16) -> (&mut Sum, &mut Bucket) {
        let group = &mut self.groups[usize::from(bucket) / GROUP_BUCKETS];
        if group.buckets.is_empty() {
            group.buckets = vec![Bucket::default(); GROUP_BUCKETS];
        }
        (&mut group.sum, &mut group.buckets[usize::from(bucket) % GROUP_BUCKETS])
    }

    /// What an entry adds to the sums.
    fn part(&self, hash: KeyHash, slot: &Slot) -> Sum {
        let mut bytes = [0; 61];
        bytes[..16].copy_from_slice(&hash.bytes);
        bytes[16..24].copy_from_slice(&slot.stamp.0.to_be_bytes());
        bytes[24..56].copy_from_slice(&self.nodes[usize::from(slot.node)].0);
        bytes[56..60].copy_from_slice(&slot.check.to_be_bytes());
        bytes[60] = slot.flags;
        let part = blake3::keyed_hash(&self.key, &bytes);
        let mut sum = Sum::default();
        for (word, bytes) in sum.0.iter_mut().zip(part.as_bytes().chunks_exact(8)) {
            let mut word_bytes = [0; 8];
            word_bytes.copy_from_slice(bytes);
            *word = u64::from_le_bytes(word_bytes);
        }
        sum
    }

    /// The sum over all entries.
    pub(crate) fn total(&self) -> Sum {
        self.total
    }

    /// Entries, tombstones included.
    pub(crate) fn count(&self) -> u64 {
        self.count
    }

    pub(crate) fn tombstones(&self) -> u64 {
        self.tombstones
    }

    /// The short sums of all groups.
    pub(crate) fn group_sums(&self) -> Vec<u64> {
        self.groups.iter().map(|group| group.sum.short()).collect()
    }

    /// The short sums of a group's buckets.
    pub(crate) fn bucket_sums(&self, group: u16) -> impl Iterator<Item = u64> {
        let buckets = &self.groups[usize::from(group)].buckets;
        (0..GROUP_BUCKETS).map(|at| buckets.get(at).map_or(0, |bucket| bucket.sum.short()))
    }

    /// The slots of a bucket, by id.
    pub(crate) fn bucket(&self, bucket: u16) -> &[Slot] {
        let group = &self.groups[usize::from(bucket) / GROUP_BUCKETS];
        let bucket = group.buckets.get(usize::from(bucket) % GROUP_BUCKETS);
        bucket.map_or(&[], |bucket| &bucket.slots)
    }

    /// Whether any entry has a stamp for which `is_future` holds.
    pub(crate) fn any(&self, is_future: impl Fn(Stamp) -> bool) -> bool {
        let buckets = self.groups.iter().flat_map(|group| &group.buckets);
        buckets.flat_map(|bucket| &bucket.slots).any(|slot| is_future(slot.stamp))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rng::Rng;

    fn put(index: &mut Index, key: u64, stamp: u64) {
        let hash = index.hash(&key.to_be_bytes());
        let version = Version { stamp: Stamp(stamp), node: NodeId([(key % 5) as u8; 32]) };
        let slot = index.slot(hash, version, 0, 0).unwrap();
        index.set(hash, Some(slot));
    }

    #[test]
    fn sums_depend_on_what_is_held_not_on_how_it_came() {
        let mut rng = Rng::new(1);
        let (mut a, mut b) = (Index::new([7; 32]), Index::new([7; 32]));
        for key in 0..1_000 {
            put(&mut a, key, 1);
        }
        for key in (0..1_000).rev() {
            put(&mut b, key, rng.below(100) + 2);
            put(&mut b, key, 1);
        }
        assert_eq!((a.total(), a.count()), (b.total(), b.count()));
        assert_eq!(a.group_sums(), b.group_sums());
        put(&mut b, 500, 2);
        assert_ne!(a.total(), b.total());
        assert_eq!(a.group_sums().iter().zip(b.group_sums()).filter(|(a, b)| **a != *b).count(), 1);
        let hash = b.hash(&500u64.to_be_bytes());
        b.set(hash, None);
        let hash = a.hash(&500u64.to_be_bytes());
        a.set(hash, None);
        assert_eq!((a.total(), a.count()), (b.total(), 999));
    }

    #[test]
    fn what_is_loaded_is_as_if_it_was_set() {
        let (mut set, mut loaded) = (Index::new([7; 32]), Index::new([7; 32]));
        let mut entries = Vec::new();
        for key in 0..3_000_u64 {
            put(&mut set, key, key);
            let hash = loaded.hash(&key.to_be_bytes());
            let version = Version { stamp: Stamp(key), node: NodeId([(key % 5) as u8; 32]) };
            entries.push((hash, loaded.slot(hash, version, 0, 0).unwrap()));
            if entries.len() == 1_000 {
                loaded.load(&mut entries);
            }
        }
        assert!(entries.is_empty());
        assert_eq!((set.total(), set.count()), (loaded.total(), loaded.count()));
        assert_eq!(set.group_sums(), loaded.group_sums());
        for bucket in 0..=u16::MAX {
            assert_eq!(set.bucket(bucket), loaded.bucket(bucket));
        }
    }

    #[test]
    fn sums_carry_and_borrow() {
        let mut sum = Sum([u64::MAX; 4]);
        sum.add(Sum([1, 0, 0, 0]));
        assert_eq!(sum, Sum([0; 4]));
        sum.subtract(Sum([1, 0, 0, 0]));
        assert_eq!(sum, Sum([u64::MAX; 4]));
    }

    #[test]
    fn the_writing_nodes_are_bounded() {
        let mut index = Index::new([0; 32]);
        let node = |n: u32| {
            let mut id = [0; 32];
            id[..4].copy_from_slice(&n.to_be_bytes());
            NodeId(id)
        };
        for n in 0..u32::from(u16::MAX) {
            assert!(index.intern(node(n)).is_some());
        }
        assert_eq!(index.intern(node(u32::from(u16::MAX))), None);
    }

    #[test]
    fn a_slot_is_24_bytes() {
        assert_eq!(size_of::<Slot>(), 24);
    }
}
