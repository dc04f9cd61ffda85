//! What core needs of a disk: ordered keys, reads now, writes in batches that somebody else
//! makes durable.
//!
//! Promise: a batch is applied whole or not at all, in the order of the steps; a read sees every
//! batch handed over before, durable or not. Keys: the first byte of a key names its space
//! (`docs/storage.md`). Repair: none here; damage is an error, and the node stops.

mod batch;
mod memory;
mod overlay;
pub mod space;

pub use batch::Batch;
pub use memory::MemoryStore;
pub use overlay::Overlay;

use bytes::Bytes;

/// A read that failed: damage or an IO error. The node must stop: it cannot know what it holds.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the store cannot be read: {0}")]
pub struct StoreError(pub String);

/// Reads of an ordered map from bytes to bytes.
pub trait Store {
    /// The value at `key`.
    fn get(&self, key: &[u8]) -> Result<Option<Bytes>, StoreError>;

    /// Visits the pairs with `from <= key < to` in key order until `visit` answers `false`.
    fn scan(
        &self,
        from: &[u8],
        to: &[u8],
        visit: &mut dyn FnMut(&[u8], &[u8]) -> bool,
    ) -> Result<(), StoreError>;
}
