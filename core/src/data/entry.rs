//! Keys and entries of shared data, and their bytes on disk.

use crate::error::ErrorCode;
use crate::id::{NodeId, Path};
use crate::limits::{FIELD_BYTES_MAX, PATH_BYTES_MAX, PROOF_BYTES_MAX, VALUE_BYTES_MAX};
use crate::replica::Version;
use crate::time::Stamp;
use crate::wire::codec::{Decoded, Malformed, Reader, put_varint, varint_bytes};
use bytes::{BufMut, Bytes, BytesMut};
use std::fmt;

/// Splits a path from the name of a field, and marks system keys. No path contains it, and it
/// sorts before everything else: the fields of a path follow it directly.
const NUL: u8 = 0;

/// Names one entry: a path, a field of the merged object at a path, or a fact of the system
/// (the network's members), which no client sees.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EntryKey(Bytes);

impl EntryKey {
    /// The entry at a path.
    pub fn path(path: &Path) -> EntryKey {
        EntryKey(path.as_bytes().clone())
    }

    /// A field of the merged object at a path. The name is 1 to 256 bytes, any text without NUL.
    pub fn field(path: &Path, field: &str) -> Result<EntryKey, ErrorCode> {
        let bytes = field.as_bytes();
        if bytes.is_empty() || bytes.len() > FIELD_BYTES_MAX || bytes.contains(&NUL) {
            return Err(ErrorCode::PathTooLong);
        }
        Ok(EntryKey([path.as_bytes(), &[NUL][..], bytes].concat().into()))
    }

    /// A fact of the system, named by a path.
    pub(crate) fn system(name: &Path) -> EntryKey {
        EntryKey([&[NUL][..], name.as_bytes()].concat().into())
    }

    /// Reads a key that came from a node or the disk.
    pub fn parse(bytes: Bytes) -> Option<EntryKey> {
        let split = bytes.iter().position(|byte| *byte == NUL);
        match split {
            None => Path::new(bytes.clone()).ok()?,
            Some(0) => Path::new(bytes.slice(1..)).ok()?,
            Some(at) => {
                let field = std::str::from_utf8(&bytes[at + 1..]).ok()?;
                let path = Path::new(bytes.slice(..at)).ok()?;
                EntryKey::field(&path, field).ok()?;
                path
            }
        };
        Some(EntryKey(bytes))
    }

    /// A copy for keeping: a key from a message shares, and so keeps, all of the message's bytes.
    pub(crate) fn detached(&self) -> EntryKey {
        EntryKey(Bytes::copy_from_slice(&self.0))
    }

    /// The key's bytes, as on the wire and on disk.
    pub fn as_bytes(&self) -> &Bytes {
        &self.0
    }

    /// The path, or `None` for a fact of the system.
    pub fn to_path(&self) -> Option<Path> {
        let end = self.0.iter().position(|byte| *byte == NUL).unwrap_or(self.0.len());
        Path::new(self.0.slice(..end)).ok()
    }

    /// The name of the field, if the key names one.
    pub fn to_field(&self) -> Option<&str> {
        let at = self.0.iter().position(|byte| *byte == NUL).filter(|at| *at > 0)?;
        std::str::from_utf8(&self.0[at + 1..]).ok()
    }

    /// The name of a fact of the system.
    pub(crate) fn to_system(&self) -> Option<Path> {
        (self.0.first() == Some(&NUL)).then(|| Path::new(self.0.slice(1..)).ok())?
    }
}

impl fmt::Debug for EntryKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", String::from_utf8_lossy(&self.0).replace('\0', "#"))
    }
}

/// How concurrent writes of one key are settled; part of the entry, so all nodes agree.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Strategy {
    /// The last write wins.
    Last,
    /// The first write wins; `after` is the stamp of the delete that it follows, or zero.
    First {
        /// The stamp of the entry that this one knowingly replaced.
        after: Stamp,
    },
    /// A field of a merged object; the last write of the field wins.
    Field,
}

/// What is at a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// When and where it was written.
    pub version: Version,
    /// How it is settled against others.
    pub strategy: Strategy,
    /// When it ends, in Unix milliseconds.
    pub expires_ms: Option<u64>,
    /// The value, or `None` for a tombstone.
    pub value: Option<Bytes>,
}

const TOMBSTONE: u8 = 1;
const FIRST: u8 = 2;
const FIELD: u8 = 4;
const EXPIRES: u8 = 8;

impl Entry {
    /// Whether there is a value to be read at `wall_ms`.
    pub fn is_live(&self, wall_ms: u64) -> bool {
        self.value.is_some() && self.expires_ms.is_none_or(|end| end > wall_ms)
    }

    /// Since when there is nothing to be read, in Unix milliseconds; `None` for a lasting value.
    pub fn dead_since_ms(&self) -> Option<u64> {
        match self.value {
            None => Some(self.version.stamp.ms()),
            Some(_) => self.expires_ms,
        }
    }

    /// Since when its grace runs: it can have ended before it was written, but what it replaced
    /// may come back for a grace after that.
    pub(crate) fn buried_since_ms(&self) -> Option<u64> {
        self.dead_since_ms().map(|since| since.max(self.version.stamp.ms()))
    }

    /// The newest stamp that it names: its own, or that of what it says it followed. Neither may
    /// lie in the future, for each can outrank other entries.
    pub(crate) fn newest_stamp(&self) -> Stamp {
        match self.strategy {
            Strategy::First { after } => self.version.stamp.max(after),
            Strategy::Last | Strategy::Field => self.version.stamp,
        }
    }

    /// Appends the entry; `node` stands for the id of the writing node.
    pub(crate) fn encode(&self, node: &[u8], out: &mut BytesMut) {
        let mut flags = 0;
        if self.value.is_none() {
            flags |= TOMBSTONE;
        }
        match self.strategy {
            Strategy::Last => {}
            Strategy::First { .. } => flags |= FIRST,
            Strategy::Field => flags |= FIELD,
        }
        if self.expires_ms.is_some() {
            flags |= EXPIRES;
        }
        out.put_u8(flags);
        out.put_u64(self.version.stamp.0);
        out.put_slice(node);
        if let Strategy::First { after } = self.strategy {
            out.put_u64(after.0);
        }
        if let Some(end) = self.expires_ms {
            out.put_u64(end);
        }
        put_varint(out, 0); // the proof, reserved
        if let Some(value) = &self.value {
            put_varint(out, value.len() as u64);
            out.put_slice(value);
        }
    }

    /// Reads what [`Entry::encode`] wrote; `node` reads what stands for the node's id.
    pub(crate) fn decode(
        reader: &mut Reader,
        node: impl FnOnce(&mut Reader) -> Decoded<NodeId>,
    ) -> Decoded<Entry> {
        let flags = reader.u8()?;
        if flags & !(TOMBSTONE | FIRST | FIELD | EXPIRES) != 0 {
            return Err(Malformed);
        }
        let stamp = Stamp(reader.u64()?);
        let node = node(reader)?;
        let strategy = match flags & (FIRST | FIELD) {
            0 => Strategy::Last,
            FIRST => Strategy::First { after: Stamp(reader.u64()?) },
            FIELD => Strategy::Field,
            _ => return Err(Malformed),
        };
        let expires_ms = if flags & EXPIRES != 0 { Some(reader.u64()?) } else { None };
        reader.bytes(PROOF_BYTES_MAX)?;
        let value =
            if flags & TOMBSTONE == 0 { Some(reader.bytes(VALUE_BYTES_MAX)?) } else { None };
        Ok(Entry { version: Version { stamp, node }, strategy, expires_ms, value })
    }

    /// How many bytes [`Entry::to_bytes`] makes.
    fn encoded_bytes(&self) -> usize {
        let after = if let Strategy::First { .. } = self.strategy { 8 } else { 0 };
        let end = if self.expires_ms.is_some() { 8 } else { 0 };
        let value = self.value.as_ref().map_or(0, |value| varint_bytes(value.len()) + value.len());
        1 + 8 + self.version.node.0.len() + after + end + 1 + value
    }

    /// The entry's bytes on disk.
    pub(crate) fn to_bytes(&self) -> Bytes {
        // As long as it gets: bytes with room behind them would need a second allocation.
        let mut out = BytesMut::with_capacity(self.encoded_bytes());
        self.encode(&self.version.node.0, &mut out);
        out.freeze()
    }

    /// Reads the entry's bytes on disk.
    pub fn from_bytes(bytes: Bytes) -> Decoded<Entry> {
        Entry::decode(&mut Reader::new(bytes), |reader| Ok(NodeId(reader.array()?)))
    }
}

/// Bytes of the longest key: a path, NUL, a field.
pub(crate) const KEY_BYTES_MAX: usize = PATH_BYTES_MAX + 1 + FIELD_BYTES_MAX;
