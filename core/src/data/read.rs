//! Reads of shared data: from any store or snapshot, without the engine.

use super::{Entry, EntryKey};
use crate::id::{Path, StoreId};
use crate::store::{Store, StoreError};
use bytes::Bytes;

/// A value as a client sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Value {
    /// One value.
    Plain(Bytes),
    /// A merged object: its fields in name order, each a value of its own.
    Fields(Vec<(String, Bytes)>),
}

/// A live value with where and when it was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// Where it is.
    pub path: Path,
    /// The value.
    pub value: Value,
    /// The newest version among its parts.
    pub version: crate::replica::Version,
    /// When it ends, in Unix milliseconds.
    pub expires_ms: Option<u64>,
}

/// The value at `path`, or `None` where there is none at `wall_ms`.
pub fn get(store: &dyn Store, path: &Path, wall_ms: u64) -> Result<Option<Found>, StoreError> {
    let _ = (store, path, wall_ms);
    unimplemented!()
}

/// Live values with `from <= path` whose path begins with `prefix` (plain string prefix),
/// in path order, until `visit` answers `false`. Pass `after` to begin behind a path.
pub fn scan(
    store: &dyn Store,
    prefix: &str,
    after: Option<&Path>,
    wall_ms: u64,
    visit: &mut dyn FnMut(Found) -> bool,
) -> Result<(), StoreError> {
    let _ = (store, prefix, after, wall_ms, visit);
    unimplemented!()
}

/// Older versions of `path` kept on this node, newest first, without the current one.
pub fn history(store: &dyn Store, path: &Path) -> Result<Vec<Entry>, StoreError> {
    let _ = (store, path);
    unimplemented!()
}

/// The number of the newest change in `store`.
pub fn number(store: &dyn Store) -> Result<u64, StoreError> {
    let _ = store;
    unimplemented!()
}

/// The id of the store, once an engine has opened it.
pub fn store_id(store: &dyn Store) -> Result<Option<StoreId>, StoreError> {
    let _ = store;
    unimplemented!()
}

/// The keys that changed after `number`, with the number of the change, oldest first, or `None`
/// if the log no longer reaches back that far (the watcher needs a snapshot). A key that changed
/// more than once may be listed more than once.
pub fn changes_after(
    store: &dyn Store,
    number: u64,
    visit: &mut dyn FnMut(u64, EntryKey) -> bool,
) -> Result<Option<()>, StoreError> {
    let _ = (store, number, visit);
    unimplemented!()
}
