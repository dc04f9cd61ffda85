//! Who is where: per user and node the number of sessions, in a few bytes more than the name.
//!
//! Entries lie one after another in one piece of memory (node, count, length, name), found through
//! an open-addressed table of their places. A user of nine letters costs 14 bytes and 5 to 10 of the
//! table. What is removed leaves a hole; when half is holes, all is moved together.

use crate::table::hash_bytes;

/// A node as the directory names it; 0 is this node.
pub(super) type NodeIndex = u16;

/// Bytes of an entry before its name: node, count, length.
const HEAD: usize = 5;
/// Holes that are not worth a move, in bytes.
const HOLES_MIN: usize = 4_096;
const SLOTS_MIN: usize = 16;

/// The sessions of all users on all nodes.
#[derive(Debug)]
pub(super) struct Directory {
    seed: u64,
    entries: Vec<u8>,
    /// Places of entries, plus one; 0 for a free slot. The length is a power of two.
    slots: Vec<u32>,
    live: usize,
    holes: usize,
}

impl Directory {
    pub(super) fn new(seed: u64) -> Directory {
        Directory { seed, entries: Vec::new(), slots: vec![0; SLOTS_MIN], live: 0, holes: 0 }
    }

    /// Entries: one per user and node.
    #[cfg(test)]
    fn len(&self) -> usize {
        self.live
    }

    /// The nodes at which a user has sessions, and how many.
    pub(super) fn find(&self, name: &[u8]) -> impl Iterator<Item = (NodeIndex, u32)> {
        self.probe(name).filter(move |(_, at)| self.name(*at) == name).map(|(_, at)| {
            let entry = &self.entries[at..];
            (node_of(entry), u32::from(count_of(entry)))
        })
    }

    /// How many sessions a user has at a node.
    #[cfg(test)]
    fn count(&self, node: NodeIndex, name: &[u8]) -> u32 {
        self.find(name).find(|(at, _)| *at == node).map_or(0, |(_, count)| count)
    }

    /// Sets how many sessions a user has at a node; answers how many there were.
    pub(super) fn set(&mut self, node: NodeIndex, name: &[u8], count: u32) -> u32 {
        let count = u16::try_from(count).unwrap_or(u16::MAX);
        let found = self
            .probe(name)
            .find(|(_, at)| node_of(&self.entries[*at..]) == node && self.name(*at) == name);
        match found {
            Some((slot, at)) => {
                let before = count_of(&self.entries[at..]);
                self.entries[at + 2..at + 4].copy_from_slice(&count.to_le_bytes());
                if count == 0 {
                    self.free(slot, at);
                }
                u32::from(before)
            }
            None if count == 0 => 0,
            None => {
                self.add(node, name, count);
                0
            }
        }
    }

    /// Visits all entries, in an order that depends on what was set, and when.
    pub(super) fn for_each(&self, mut visit: impl FnMut(NodeIndex, &[u8], u32)) {
        let mut at = 0;
        while at < self.entries.len() {
            let entry = &self.entries[at..];
            let count = count_of(entry);
            if count > 0 {
                visit(node_of(entry), self.name(at), u32::from(count));
            }
            at += size_of(entry);
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

    /// Slots and places of the entries that may be of this name.
    fn probe(&self, name: &[u8]) -> impl Iterator<Item = (usize, usize)> {
        let mask = self.slots.len() - 1;
        let first = self.home(name);
        (0..self.slots.len())
            .map(move |step| (first + step) & mask)
            .map_while(|slot| Some((slot, self.slots[slot].checked_sub(1)? as usize)))
    }

    fn home(&self, name: &[u8]) -> usize {
        hash_bytes(self.seed, name) as usize & (self.slots.len() - 1)
    }

    fn name(&self, at: usize) -> &[u8] {
        let length = usize::from(self.entries[at + 4]);
        &self.entries[at + HEAD..at + HEAD + length]
    }

    fn add(&mut self, node: NodeIndex, name: &[u8], count: u16) {
        if (self.live + 1) * 8 > self.slots.len() * 7 {
            self.rebuild();
        }
        let at = self.entries.len();
        // By an eighth and not by half: this is most of what a large network costs.
        if self.entries.capacity() - at < HEAD + name.len() {
            self.entries.reserve_exact((at / 8).max(512));
        }
        self.entries.extend_from_slice(&node.to_le_bytes());
        self.entries.extend_from_slice(&count.to_le_bytes());
        self.entries.push(u8::try_from(name.len()).expect("names are at most 128 bytes"));
        self.entries.extend_from_slice(name);
        self.place(at);
        self.live += 1;
    }

    fn place(&mut self, at: usize) {
        let mask = self.slots.len() - 1;
        let mut slot = self.home(self.name(at));
        while self.slots[slot] != 0 {
            slot = (slot + 1) & mask;
        }
        self.slots[slot] = u32::try_from(at + 1).expect("under 4 GiB of names");
    }

    /// Frees a slot and moves those back that were pushed on by it.
    fn free(&mut self, slot: usize, at: usize) {
        self.live -= 1;
        self.holes += size_of(&self.entries[at..]);
        let mask = self.slots.len() - 1;
        let (mut hole, mut next) = (slot, slot);
        loop {
            next = (next + 1) & mask;
            let Some(place) = self.slots[next].checked_sub(1) else { break };
            let home = self.home(self.name(place as usize));
            // It may move back unless its home lies behind the hole, up to where it is.
            if (next.wrapping_sub(home) & mask) >= (next.wrapping_sub(hole) & mask) {
                self.slots[hole] = self.slots[next];
                hole = next;
            }
        }
        self.slots[hole] = 0;
        if self.holes > HOLES_MIN && self.holes * 2 > self.entries.len() {
            self.rebuild();
        }
    }

    /// Moves the entries together and makes the table anew, with room for one more.
    fn rebuild(&mut self) {
        let mut kept = Vec::with_capacity(self.entries.len() - self.holes);
        let mut at = 0;
        while at < self.entries.len() {
            let size = size_of(&self.entries[at..]);
            if count_of(&self.entries[at..]) > 0 {
                kept.extend_from_slice(&self.entries[at..at + size]);
            }
            at += size;
        }
        self.entries = kept;
        self.holes = 0;
        let slots = ((self.live + 1) * 8 / 7 + 1).next_power_of_two().max(SLOTS_MIN);
        self.slots = vec![0; slots];
        let mut at = 0;
        while at < self.entries.len() {
            self.place(at);
            at += size_of(&self.entries[at..]);
        }
    }

    /// Bytes that it takes.
    #[cfg(test)]
    fn bytes(&self) -> usize {
        self.entries.capacity() + self.slots.capacity() * 4
    }
}

fn node_of(entry: &[u8]) -> NodeIndex {
    u16::from_le_bytes([entry[0], entry[1]])
}

fn count_of(entry: &[u8]) -> u16 {
    u16::from_le_bytes([entry[2], entry[3]])
}

fn size_of(entry: &[u8]) -> usize {
    HEAD + usize::from(entry[4])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rng::Rng;
    use std::collections::BTreeMap;

    #[test]
    fn it_holds_what_a_map_would_hold_whatever_happens() {
        for seed in 0..20 {
            let mut rng = Rng::new(seed);
            let (mut directory, mut model) = (Directory::new(seed), BTreeMap::new());
            for _ in 0..4_000 {
                let name = format!("user-{}", rng.below(400));
                let (node, count) = (rng.below(4) as u16, rng.below(3) as u32);
                let before = model.insert((name.clone(), node), count).unwrap_or(0);
                assert_eq!(directory.set(node, name.as_bytes(), count), before);
            }
            model.retain(|_, count| *count > 0);
            assert_eq!(directory.len(), model.len());
            for ((name, node), count) in &model {
                assert_eq!(directory.count(*node, name.as_bytes()), *count);
            }
            let mut all = BTreeMap::new();
            directory.for_each(|node, name, count| {
                let name = String::from_utf8(name.to_vec()).unwrap();
                assert!(all.insert((name, node), count).is_none());
            });
            assert_eq!(all, model);
        }
    }

    #[test]
    fn a_hundred_thousand_names_of_nine_letters_take_less_than_three_megabytes() {
        let mut directory = Directory::new(1);
        for n in 0..100_000 {
            directory.set(1, format!("u{n:08}").as_bytes(), 1);
        }
        assert_eq!(directory.len(), 100_000);
        assert!(directory.bytes() < 2_700_000, "{} bytes", directory.bytes());
        for n in 0..100_000 {
            assert_eq!(directory.set(1, format!("u{n:08}").as_bytes(), 0), 1);
        }
        assert!(directory.bytes() < 20_000, "{} bytes", directory.bytes());
    }
}
