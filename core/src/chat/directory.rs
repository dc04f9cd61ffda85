//! Who is where: per user and node the number of sessions, in fewer bytes than the name has.
//!
//! Entries are kept in the order of their names, in blocks of half a KiB. An entry says how many
//! bytes its name shares with the one before it, and the rest (front coding; Witten, Moffat, Bell:
//! *Managing Gigabytes*, 1999). A user of nine letters, one of a hundred thousand, costs about 8
//! bytes. One is found by the blocks' first names and a look through one block; a page of users
//! costs what it shows.

use std::cmp::Ordering;
use std::ops::ControlFlow;

/// A node as the directory names it; 0 is this node.
pub(super) type NodeIndex = u16;

/// A block of so many bytes takes no more entries.
const BLOCK_BYTES: usize = 512;
/// What does not fit into half a byte: the next byte says how much more it is.
const LONG: u8 = 15;

/// Entries lie in the order of these.
type Key<'a> = (&'a [u8], NodeIndex);

/// The sessions of all users on all nodes.
#[derive(Debug, Default)]
pub(super) struct Directory {
    /// None is empty.
    blocks: Vec<Box<[u8]>>,
    /// Of each node.
    users: Vec<u32>,
}

impl Directory {
    /// The nodes at which a user has sessions, and how many, in the order of the nodes.
    pub(super) fn find(&self, name: &[u8]) -> impl Iterator<Item = (NodeIndex, u32)> {
        let mut cursor = self.seek(name);
        std::iter::from_fn(move || {
            let found = cursor.as_mut().filter(|cursor| cursor.name == name)?;
            let (node, count) = (found.node, found.count);
            if found.step().is_none() {
                cursor = None;
            }
            Some((node, count))
        })
    }

    /// How many users have sessions at a node.
    pub(super) fn users(&self, node: NodeIndex) -> u64 {
        self.users.get(usize::from(node)).map_or(0, |users| u64::from(*users))
    }

    /// Sets how many sessions a user has at a node; answers how many there were.
    pub(super) fn set(&mut self, node: NodeIndex, name: &[u8], count: u32) -> u32 {
        let key = (name, node);
        let index = self.block_of(key);
        let block = self.blocks.get(index).map_or(&[][..], |block| block);
        let place = search(block, key);
        let before = place.entry.as_ref().filter(|_| place.is_key).map_or(0, |entry| entry.count);
        if before == count {
            return before;
        }
        if before == 0 && block.len() >= BLOCK_BYTES {
            // Who comes in the order of names leaves no half-empty blocks.
            let is_behind_all = place.at == block.len() && index + 1 == self.blocks.len();
            if !is_behind_all {
                self.split(index);
                return self.set(node, name, count);
            }
            self.blocks.push(search(&[], key).with(&[], key, count));
        } else {
            let changed = place.with(block, key, count);
            let old = index..self.blocks.len().min(index + 1);
            self.blocks.splice(old, Some(changed).filter(|block| !block.is_empty()));
        }
        if self.users.len() <= usize::from(node) {
            self.users.resize(usize::from(node) + 1, 0);
        }
        let users = &mut self.users[usize::from(node)];
        match (before, count) {
            (0, _) => *users += 1,
            (_, 0) => *users -= 1,
            _ => {}
        }
        if count == 0 {
            self.join(index);
        }
        before
    }

    /// Visits all entries in the order of their names.
    pub(super) fn for_each(&self, mut visit: impl FnMut(NodeIndex, &[u8], u32)) {
        self.visit_from(b"", |node, name, count| {
            visit(node, name, count);
            ControlFlow::Continue(())
        });
    }

    /// Visits the entries of this name and all behind it, in order, until it is told to end.
    pub(super) fn visit_from(
        &self,
        name: &[u8],
        mut visit: impl FnMut(NodeIndex, &[u8], u32) -> ControlFlow<()>,
    ) {
        let Some(mut cursor) = self.seek(name) else { return };
        while visit(cursor.node, &cursor.name, cursor.count).is_continue() {
            if cursor.step().is_none() {
                return;
            }
        }
    }

    /// The names of a node's users.
    pub(super) fn at_node(&self, node: NodeIndex, mut visit: impl FnMut(&[u8], u32)) {
        self.for_each(|at, name, count| {
            if at == node {
                visit(name, count);
            }
        });
    }

    /// A cursor that stands on the first entry of this name or behind it.
    fn seek(&self, name: &[u8]) -> Option<Cursor<'_>> {
        let blocks = &self.blocks[self.block_of((name, 0))..];
        let place = search(blocks.first()?, (name, 0));
        // The entry there shares no more with the one before it than this name does.
        let mut cursor = Cursor::new(blocks);
        cursor.at = place.at;
        cursor.name.extend_from_slice(&name[..place.shared]);
        cursor.step()?;
        Some(cursor)
    }

    /// The block that has this key, or would have it.
    fn block_of(&self, key: Key<'_>) -> usize {
        let behind = self.blocks.partition_point(|block| {
            let first = Entry::read(block);
            (first.rest, first.node) <= key
        });
        behind.saturating_sub(1)
    }

    /// Makes two blocks of one.
    fn split(&mut self, index: usize) {
        let block = &self.blocks[index];
        let mut cursor = Cursor::new(&self.blocks[index..=index]);
        let mut half = 0;
        while cursor.step().is_some() && cursor.at <= block.len() / 2 {
            half = cursor.at;
        }
        let mut second = Vec::with_capacity(block.len());
        put(&mut second, 0, [&cursor.name, &[]], (cursor.node, cursor.count));
        second.extend_from_slice(&block[cursor.at..]);
        let halves = [Box::from(&block[..half]), Box::from(&second[..])];
        self.blocks.splice(index..=index, halves);
    }

    /// Makes one block of this one and one beside it, if together they are half a block.
    fn join(&mut self, index: usize) {
        let pairs = [index.checked_sub(1), Some(index)].into_iter().flatten();
        for first in pairs {
            let Some([block, next]) = self.blocks.get(first..first + 2) else { continue };
            if block.len() + next.len() > BLOCK_BYTES / 2 {
                continue;
            }
            let mut last = Cursor::new(&self.blocks[first..=first]);
            while last.step().is_some() {}
            let entry = Entry::read(next);
            let shared = common(&last.name, entry.rest);
            let mut joined = block.to_vec();
            put(&mut joined, shared, [&entry.rest[shared..], &[]], (entry.node, entry.count));
            joined.extend_from_slice(&next[entry.bytes..]);
            self.blocks.splice(first..first + 2, [Box::from(&joined[..])]);
            return;
        }
    }

    /// Bytes that it takes.
    #[cfg(test)]
    fn bytes(&self) -> usize {
        let blocks = self.blocks.capacity() * size_of::<Box<[u8]>>();
        blocks + self.blocks.iter().map(|block| block.len()).sum::<usize>()
    }
}

/// An entry as its bytes say it.
struct Entry<'a> {
    /// Bytes of the name that are those of the name before it, as many as there are; none in the
    /// first of a block.
    shared: usize,
    rest: &'a [u8],
    node: NodeIndex,
    count: u32,
    bytes: usize,
}

impl Entry<'_> {
    /// The entry at the beginning of what [`put`] has written.
    fn read(block: &[u8]) -> Entry<'_> {
        let mut at = 0;
        let mut byte = || {
            at += 1;
            block[at - 1]
        };
        let head = byte();
        let mut length =
            |half| usize::from(half) + usize::from(if half == LONG { byte() } else { 0 });
        let (shared, rest) = (length(head >> 4), length(head & 0xf));
        let name = at..at + rest;
        at = name.end;
        let mut number = || {
            let (mut value, mut shift) = (0, 0);
            loop {
                let byte = block[at];
                at += 1;
                value |= u32::from(byte & 0x7f) << shift;
                shift += 7;
                if byte < 0x80 {
                    return value;
                }
            }
        };
        let place = number();
        let count = if place & 1 == 0 { 1 } else { number() };
        Entry { shared, rest: &block[name], node: (place >> 1) as NodeIndex, count, bytes: at }
    }
}

/// Writes an entry; the rest of its name comes in two pieces.
fn put(out: &mut Vec<u8>, shared: usize, rest: [&[u8]; 2], (node, count): (NodeIndex, u32)) {
    let half = |length: usize| u8::try_from(length).map_or(LONG, |length| length.min(LONG));
    let length = rest[0].len() + rest[1].len();
    out.push(half(shared) << 4 | half(length));
    for length in [shared, length] {
        if let Some(more) = length.checked_sub(usize::from(LONG)) {
            out.push(u8::try_from(more).expect("names are at most 128 bytes"));
        }
    }
    rest.iter().for_each(|piece| out.extend_from_slice(piece));
    let mut number = |mut value: u32| {
        while value >= 0x80 {
            out.push(value as u8 | 0x80);
            value >>= 7;
        }
        out.push(value as u8);
    };
    number(u32::from(node) << 1 | u32::from(count != 1));
    if count != 1 {
        number(count);
    }
}

/// Bytes with which both begin.
fn common(one: &[u8], other: &[u8]) -> usize {
    one.iter().zip(other).take_while(|(one, other)| one == other).count()
}

/// The place of a key in a block.
struct Place<'a> {
    at: usize,
    /// Bytes that its name shares with the name before this place.
    shared: usize,
    /// What is there: the first entry that is not before the key.
    entry: Option<Entry<'a>>,
    /// Bytes that its name shares with the one there.
    shared_behind: usize,
    is_key: bool,
}

/// Finds a key's place without putting one name together: an entry that shares more with the name
/// before it than the key does is on the same side of the key, one that shares less is behind it.
fn search<'a>(block: &'a [u8], (name, node): Key<'_>) -> Place<'a> {
    let (mut at, mut shared) = (0, 0);
    while at < block.len() {
        let entry = Entry::read(&block[at..]);
        let (order, shared_behind) = match shared.cmp(&entry.shared) {
            Ordering::Equal => {
                let same = common(entry.rest, &name[shared..]);
                let rest = &name[shared + same..];
                ((&entry.rest[same..], entry.node).cmp(&(rest, node)), shared + same)
            }
            Ordering::Less => (Ordering::Less, shared),
            Ordering::Greater => (Ordering::Greater, entry.shared),
        };
        if order.is_ge() {
            let is_key = order.is_eq();
            return Place { at, shared, entry: Some(entry), shared_behind, is_key };
        }
        shared = shared_behind;
        at += entry.bytes;
    }
    Place { at, shared, entry: None, shared_behind: 0, is_key: false }
}

impl Place<'_> {
    /// The block with so many sessions in this place.
    fn with(&self, block: &[u8], (name, node): Key<'_>, count: u32) -> Box<[u8]> {
        let mut out = Vec::with_capacity(block.len() + 2 * name.len() + 32);
        out.extend_from_slice(&block[..self.at]);
        if count > 0 {
            put(&mut out, self.shared, [&name[self.shared..], &[]], (node, count));
        }
        let there = self.entry.as_ref();
        let at = self.at + there.map_or(0, |entry| entry.bytes);
        let rest = match there {
            // What is there goes on from this name.
            Some(entry) if !self.is_key => {
                let rest = &entry.rest[self.shared_behind - entry.shared..];
                put(&mut out, self.shared_behind, [rest, &[]], (entry.node, entry.count));
                at
            }
            // What is behind this name goes on from the one before it.
            Some(_) if count == 0 && at < block.len() => {
                let entry = Entry::read(&block[at..]);
                let shared = entry.shared.min(self.shared);
                let missing = &name[shared..entry.shared];
                put(&mut out, shared, [missing, entry.rest], (entry.node, entry.count));
                at + entry.bytes
            }
            _ => at,
        };
        out.extend_from_slice(&block[rest..]);
        Box::from(&out[..])
    }
}

/// Goes through entries in their order.
struct Cursor<'a> {
    /// The first is the one that it is in, `at` is where it goes on there.
    blocks: &'a [Box<[u8]>],
    at: usize,
    name: Vec<u8>,
    node: NodeIndex,
    count: u32,
}

impl<'a> Cursor<'a> {
    /// It stands before the first entry.
    fn new(blocks: &'a [Box<[u8]>]) -> Cursor<'a> {
        Cursor { blocks, at: 0, name: Vec::new(), node: 0, count: 0 }
    }

    /// Goes on to the next entry, if there is one.
    fn step(&mut self) -> Option<()> {
        if self.at == self.blocks.first()?.len() {
            (self.blocks, self.at) = (&self.blocks[1..], 0);
        }
        let entry = Entry::read(&self.blocks.first()?[self.at..]);
        self.at += entry.bytes;
        self.name.truncate(entry.shared);
        self.name.extend_from_slice(entry.rest);
        (self.node, self.count) = (entry.node, entry.count);
        Some(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limits::NAME_BYTES_MAX;
    use crate::rng::Rng;
    use std::collections::BTreeMap;

    /// What it holds, in the order in which it visits.
    fn all(directory: &Directory) -> Vec<((Vec<u8>, NodeIndex), u32)> {
        let mut all = Vec::new();
        directory.for_each(|node, name, count| all.push(((name.to_vec(), node), count)));
        all
    }

    #[test]
    fn it_holds_what_a_map_would_hold_whatever_happens() {
        for seed in 0..20 {
            let mut rng = Rng::new(seed);
            let (mut directory, mut model) = (Directory::default(), BTreeMap::new());
            for _ in 0..4_000 {
                let name = format!("user-{}", rng.below(400)).into_bytes();
                let node = [0, 1, 63, 64, NodeIndex::MAX][rng.below(5) as usize];
                let count = [0, 0, 1, 2, 127, 128, u32::MAX][rng.below(7) as usize];
                let before = model.insert((name.clone(), node), count).unwrap_or(0);
                assert_eq!(directory.set(node, &name, count), before);
            }
            model.retain(|_, count| *count > 0);
            for n in 0..400 {
                let name = format!("user-{n}").into_bytes();
                let of_name = model.range((name.clone(), 0)..=(name.clone(), NodeIndex::MAX));
                let expected = of_name.map(|((_, node), count)| (*node, *count));
                assert!(directory.find(&name).eq(expected), "{n}");
                let mut behind = Vec::new();
                directory.visit_from(&name, |node, name, count| {
                    behind.push(((name.to_vec(), node), count));
                    if behind.len() == 3 {
                        ControlFlow::Break(())
                    } else {
                        ControlFlow::Continue(())
                    }
                });
                let expected = model.range((name, 0)..).take(3);
                assert!(behind.into_iter().eq(expected.map(|(key, count)| (key.clone(), *count))));
            }
            for node in [0, 1, 63, 64, NodeIndex::MAX] {
                let users = model.keys().filter(|(_, at)| *at == node).count() as u64;
                assert_eq!(directory.users(node), users);
            }
            assert_eq!(all(&directory), Vec::from_iter(model));
        }
    }

    #[test]
    fn names_of_all_lengths_that_share_any_length_come_back() {
        let mut expected = BTreeMap::new();
        let mut directory = Directory::default();
        for length in 1..=NAME_BYTES_MAX {
            for tail in [&b"a"[..], b"b", b""] {
                let mut name = vec![b'a'; length - 1];
                name.extend_from_slice(tail);
                if !name.is_empty() {
                    directory.set(0, &name, 1);
                    expected.insert((name, 0), 1);
                }
            }
        }
        assert_eq!(all(&directory), Vec::from_iter(expected.clone()));
        for ((name, node), count) in &expected {
            assert!(directory.find(name).eq([(*node, *count)]));
        }
        for (name, node) in expected.keys() {
            assert_eq!(directory.set(*node, name, 0), 1);
        }
        assert_eq!(directory.blocks.len(), 0);
    }

    #[test]
    fn a_hundred_thousand_names_of_nine_letters_take_less_than_a_megabyte() {
        let mut rng = Rng::new(1);
        let mut letters = |_| (0..9).map(|_| b'a' + rng.below(26) as u8).collect::<Vec<u8>>();
        let in_any_order: Vec<Vec<u8>> = (0..100_000).map(&mut letters).collect();
        let mut in_order = in_any_order.clone();
        in_order.sort_unstable();
        for (names, most) in [(in_any_order, 900_000), (in_order, 850_000)] {
            let mut directory = Directory::default();
            for name in &names {
                directory.set(1, name, 1);
            }
            assert!(directory.bytes() < most, "{} bytes", directory.bytes());
            for name in &names[1_000..] {
                assert_eq!(directory.set(1, name, 0), 1);
            }
            directory.blocks.shrink_to_fit();
            assert_eq!(all(&directory).len(), 1_000);
            assert!(directory.bytes() < 24_000, "{} bytes", directory.bytes());
        }
    }
}
