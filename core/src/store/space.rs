//! Key spaces: the first byte of every key, one owner each. The map of the disk.

use super::{Store, StoreError};
use bytes::{BufMut, Bytes, BytesMut};

/// A window on the keys that begin with one byte.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Space(pub u8);

/// The node's own facts: format, store id, boot counter, clock bound.
pub const META: Space = Space(b'm');
/// Current entries of data, by entry key.
pub const ENTRIES: Space = Space(b'e');
/// The change log of data, by change number (8 bytes, big endian).
pub const LOG: Space = Space(b'l');
/// Older versions of entries, where a prefix asks for them.
pub const HISTORY: Space = Space(b'h');

impl Space {
    /// The store's key for `key` in this space.
    pub fn key(self, key: &[u8]) -> Bytes {
        let mut out = BytesMut::with_capacity(1 + key.len());
        out.put_u8(self.0);
        out.put_slice(key);
        out.freeze()
    }

    /// The number at `key` in this space; 0 if there is none. Anything but a number is damage.
    pub(crate) fn number(self, store: &dyn Store, key: &[u8]) -> Result<u64, StoreError> {
        let Some(value) = store.get(&self.key(key))? else { return Ok(0) };
        let number = value[..].try_into().map(u64::from_be_bytes);
        number.map_err(|_| StoreError(format!("{} holds no number", key.escape_ascii())))
    }

    /// The first key behind this space.
    pub fn end(self) -> [u8; 1] {
        [self.0 + 1]
    }
}
