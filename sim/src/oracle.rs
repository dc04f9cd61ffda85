//! What clients were promised.
//!
//! Every value that a client writes names its write, so whatever a node holds can be traced to
//! who wrote it. A write without an answer is unknown: it may be there or not. A write that was
//! refused must not be there. A promise is void when the only disks that held it were taken away.

use crate::clock::true_ms;
use crate::world::World;
use bytes::Bytes;
use folkmoot_core::data::{Entry, EntryKey, Strategy};
use folkmoot_core::error::ErrorCode;
use folkmoot_core::id::{NodeId, Path};
use folkmoot_core::replica::Version;
use folkmoot_core::request::Written;
use folkmoot_core::store::{MemoryStore, Store, space};
use folkmoot_core::time::Stamp;
use std::collections::BTreeMap;

/// What one write wanted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Wish {
    /// A value; the last write wins.
    Last,
    /// A value that ends, in Unix milliseconds.
    Ends(u64),
    /// A value; the first write wins.
    First,
    /// Fields of an object.
    Fields(Vec<String>),
    /// No value.
    Delete,
}

/// What became of a request to write.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// No answer, or none yet.
    Unknown,
    /// Acknowledged, at this world time.
    Done(Vec<Written>, u64),
    /// Refused.
    Refused(ErrorCode),
    /// Acknowledged, and then the disks that held it were taken away.
    Void,
}

/// One request to write.
#[derive(Clone, Debug)]
pub struct Op {
    /// The node that was asked.
    pub node: usize,
    /// The node's key then.
    pub writer: NodeId,
    /// World time of the request.
    pub at_ms: u64,
    /// What was to be written, in order.
    pub writes: Vec<(Path, Wish)>,
    /// For deletes, the values that were there.
    pub replaced: Vec<Replaced>,
    /// What became of it.
    pub outcome: Outcome,
}

/// A value that a delete removed.
#[derive(Clone, Debug)]
pub struct Replaced {
    /// The index of the delete within its request.
    pub index: usize,
    /// Where the value was.
    pub key: EntryKey,
    /// The value.
    pub value: Bytes,
    /// By which version it was there.
    pub version: Version,
}

/// One write of a request: the request and the index within it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct WriteId {
    /// The request.
    pub op: u64,
    /// The index within it.
    pub index: usize,
}

/// All requests to write, by number.
#[derive(Debug, Default)]
pub struct Oracle {
    /// The requests.
    pub ops: BTreeMap<u64, Op>,
    /// Which write made a version.
    pub versions: BTreeMap<Version, WriteId>,
}

impl WriteId {
    /// The value of this write, at least `bytes` long.
    pub fn to_value(self, bytes: usize) -> Bytes {
        let mut text = format!("{}.{} ", self.op, self.index).into_bytes();
        text.resize(bytes.max(text.len()), b'.');
        text.into()
    }

    /// The write that a value names.
    pub fn from_value(value: &[u8]) -> Option<WriteId> {
        let text = std::str::from_utf8(value).ok()?;
        let (op, index) = text.split_once(' ')?.0.split_once('.')?;
        Some(WriteId { op: op.parse().ok()?, index: index.parse().ok()? })
    }
}

impl Op {
    /// The keys that a write of this request touches first.
    pub fn keys(&self, index: usize) -> Vec<EntryKey> {
        let (path, wish) = &self.writes[index];
        match wish {
            Wish::Fields(names) => {
                let key = |name: &String| EntryKey::field(path, name).expect("short names");
                names.iter().map(key).collect()
            }
            _ => vec![EntryKey::path(path)],
        }
    }

    /// The keys that a write changed, each with the version that it made there, if it was
    /// acknowledged. Fields are stamped one after the other; the last version is answered.
    pub fn made(&self, index: usize) -> Vec<(EntryKey, Version)> {
        let Some(Version { stamp, node }) = self.version(index) else { return Vec::new() };
        let keys = self.keys(index);
        let first = stamp.0 + 1 - keys.len() as u64;
        let version = |number| Version { stamp: Stamp(first + number), node };
        keys.into_iter().zip((0..).map(version)).collect()
    }

    /// What was answered for a write, if it was acknowledged and changed something.
    pub fn version(&self, index: usize) -> Option<Version> {
        match &self.outcome {
            Outcome::Done(written, _) => {
                written.get(index).filter(|one| one.changed).map(|one| one.version)
            }
            _ => None,
        }
    }
}

impl Oracle {
    /// The write that made a value.
    pub fn find(&self, value: &[u8]) -> Option<(WriteId, &Op)> {
        let id = WriteId::from_value(value)?;
        self.ops.get(&id.op).filter(|op| id.index < op.writes.len()).map(|op| (id, op))
    }

    /// Every write to a path, with the request that it is part of.
    pub fn writes_to<'a>(&'a self, path: &'a Path) -> impl Iterator<Item = (usize, &'a Op)> {
        self.ops.values().flat_map(move |op| {
            let here = |(index, _): &(usize, &(Path, Wish))| op.writes[*index].0 == *path;
            op.writes.iter().enumerate().filter(here).map(move |(index, _)| (index, op))
        })
    }
}

impl World {
    /// Whether a write was acknowledged with a stamp that was no more than the drift limit ahead
    /// of the true time, and no node has stamped anything anew by a wrong clock.
    pub fn is_honest(&self, op: &Op, version: Version) -> bool {
        let Outcome::Done(_, at) = &op.outcome else { return false };
        let in_time = version.stamp.ms() <= true_ms(*at) + self.options.limits.drift_ms_max;
        in_time && !self.notices.restamped_wrongly
    }

    /// Voids every promise that no disk holds any more.
    pub(crate) fn void_promises(&mut self) {
        let held: Vec<_> = self.hosts.iter().map(|host| entries(host.disk.durable())).collect();
        for op in self.oracle.ops.values_mut() {
            let lost = (0..op.writes.len()).any(|index| {
                op.made(index).iter().any(|(key, version)| {
                    let is_first = op.writes[index].1 == Wish::First;
                    let has = |entries: &BTreeMap<EntryKey, Entry>| {
                        entries.get(key).is_some_and(|entry| settles(entry, *version, is_first))
                    };
                    !held.iter().any(has)
                })
            });
            if lost {
                op.outcome = Outcome::Void;
            }
        }
    }
}

/// Whether an entry is what a write made, or beats it wherever they meet. A first write beats what
/// it knew of, and later first writes that knew of the same, whatever its own stamp.
fn settles(entry: &Entry, version: Version, is_first: bool) -> bool {
    match entry.strategy {
        Strategy::First { after } => {
            after >= version.stamp || (is_first && entry.version <= version)
        }
        Strategy::Last | Strategy::Field => entry.version >= version,
    }
}

/// Every entry in a store, tombstones included, facts of the system left out.
pub fn entries(store: &MemoryStore) -> BTreeMap<EntryKey, Entry> {
    between(store, &[space::ENTRIES.0], &space::ENTRIES.end())
}

/// The entries of a path: the value that was put there as a whole, and the fields.
pub fn entries_at(store: &MemoryStore, path: &Path) -> BTreeMap<EntryKey, Entry> {
    let [from, to] =
        [0, 1].map(|next| space::ENTRIES.key(&[path.as_bytes(), &[next][..]].concat()));
    let mut entries = between(store, &from, &to);
    let whole = EntryKey::path(path);
    entries.extend(entry(store, &whole).map(|entry| (whole, entry)));
    entries
}

fn between(store: &MemoryStore, from: &[u8], to: &[u8]) -> BTreeMap<EntryKey, Entry> {
    let mut entries = BTreeMap::new();
    let mut visit = |key: &[u8], value: &[u8]| {
        let key =
            EntryKey::parse(Bytes::copy_from_slice(&key[1..])).expect("a key that was stored");
        if key.to_path().is_some() {
            let entry = Entry::from_bytes(Bytes::copy_from_slice(value)).expect("an entry");
            entries.insert(key, entry);
        }
        true
    };
    store.scan(from, to, &mut visit).expect("memory can be read");
    entries
}

/// The entry at a key.
pub fn entry(store: &MemoryStore, key: &EntryKey) -> Option<Entry> {
    let bytes = store.get(&space::ENTRIES.key(key.as_bytes())).expect("memory can be read")?;
    Some(Entry::from_bytes(bytes).expect("an entry"))
}

/// An entry in few words: its version, and which write its value names.
pub fn brief(entry: Option<&Entry>) -> String {
    let Some(entry) = entry else { return "nothing".to_owned() };
    let value = match &entry.value {
        None => "a tombstone".to_owned(),
        Some(value) => match WriteId::from_value(value) {
            Some(id) => format!("write {}.{}", id.op, id.index),
            None => format!("{:?}", &value[..value.len().min(20)]),
        },
    };
    let ends = entry.expires_ms.map_or(String::new(), |end| format!(" until {end}"));
    let Version { stamp, node } = entry.version;
    format!("{value} at {stamp:?} by {node:?} ({:?}{ends})", entry.strategy)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_names_its_write() {
        let id = WriteId { op: 12, index: 3 };
        assert_eq!(WriteId::from_value(&id.to_value(0)), Some(id));
        assert_eq!(WriteId::from_value(&id.to_value(500)), Some(id));
        assert_eq!(id.to_value(500).len(), 500);
        assert_eq!(WriteId::from_value(b"something else"), None);
    }
}
