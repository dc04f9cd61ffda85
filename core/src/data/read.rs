//! Reads of shared data: from any store or snapshot, without the engine.

use super::write::history_key;
use super::{Entry, EntryKey, FLOOR, NUMBER, STORE_ID};
use crate::id::{Path, StoreId};
use crate::replica::Version;
use crate::store::space::{ENTRIES, HISTORY, LOG, META, Space};
use crate::store::{Store, StoreError};
use crate::time::Stamp;
use crate::wire::codec::{Decoded, Malformed, Reader};
use bytes::Bytes;

/// Key of the marker in [`META`] that some path has fields.
pub(super) const HAS_FIELDS: &[u8] = b"fields";

/// A value as a client sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Value {
    /// One value.
    Plain(Bytes),
    /// A merged object.
    Fields {
        /// The value that was there before the fields; its own fields count where `fields` has
        /// none of that name. Not an object: it does not count.
        base: Option<Bytes>,
        /// The fields in name order, each a value of its own.
        fields: Vec<(String, Bytes)>,
    },
}

/// A live value with where and when it was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// Where it is.
    pub path: Path,
    /// The value.
    pub value: Value,
    /// The newest version among its parts.
    pub version: Version,
    /// When its last part ends, in Unix milliseconds; `None` if a part lasts.
    pub expires_ms: Option<u64>,
}

/// The value at `path`, or `None` where there is none at `wall_ms`.
pub fn get(store: &dyn Store, path: &Path, wall_ms: u64) -> Result<Option<Found>, StoreError> {
    let has_fields = has_fields(store)?;
    get_known(store, path, wall_ms, has_fields)
}

/// Whether any path in `store` has fields: reads of other stores are quicker.
pub fn has_fields(store: &dyn Store) -> Result<bool, StoreError> {
    Ok(store.get(&META.key(HAS_FIELDS))?.is_some())
}

/// [`get`] with the answer of [`has_fields`] known.
pub fn get_known(
    store: &dyn Store,
    path: &Path,
    wall_ms: u64,
    has_fields: bool,
) -> Result<Option<Found>, StoreError> {
    let key = ENTRIES.key(path.as_bytes());
    let mut group = Group::default();
    if let Some(value) = store.get(&key)? {
        group.add(None, decode(&key[1..], value)?);
    }
    if has_fields {
        let mut error = None;
        let from = [&key[..], &[0]].concat();
        let to = [&key[..], &[1]].concat();
        store.scan(&from, &to, &mut |field, value| {
            let entry = decode(&field[1..], Bytes::copy_from_slice(value));
            let name = String::from_utf8_lossy(&field[from.len()..]).into_owned();
            match entry {
                Ok(entry) => group.add(Some(name), entry),
                Err(damaged) => error = Some(damaged),
            }
            error.is_none()
        })?;
        if let Some(error) = error {
            return Err(error);
        }
    }
    Ok(group.finish(path.clone(), wall_ms))
}

/// Live values whose path begins with `prefix` (plain string prefix), in path order, until
/// `visit` answers `false`. Pass `after` to begin behind a path.
pub fn scan(
    store: &dyn Store,
    prefix: &str,
    after: Option<&Path>,
    wall_ms: u64,
    visit: &mut dyn FnMut(Found) -> bool,
) -> Result<(), StoreError> {
    // Below 1 are the system's keys; behind a path and before 1 are its fields.
    let from = after.map_or(vec![1], |path| [path.as_bytes(), &[1][..]].concat());
    let from = from.max(prefix.as_bytes().to_vec());
    let mut to = ENTRIES.key(prefix.as_bytes()).to_vec();
    *to.last_mut().expect("at least the space's byte") += 1; // UTF-8 has no byte 255
    let mut group: Option<(Bytes, Group)> = None;
    let finish = |(path, group): (Bytes, Group)| group.finish(Path::new(path).ok()?, wall_ms);
    let mut error = None;
    let mut wanted = true;
    store.scan(&ENTRIES.key(&from), &to, &mut |key, value| {
        let key = &key[1..];
        let split = key.iter().position(|byte| *byte == 0);
        let path = &key[..split.unwrap_or(key.len())];
        if group.as_ref().is_none_or(|(of, _)| of != path)
            && let Some(done) = group.replace((Bytes::copy_from_slice(path), Group::default()))
        {
            wanted = finish(done).is_none_or(&mut *visit);
        }
        let field = split.map(|at| String::from_utf8_lossy(&key[at + 1..]).into_owned());
        match decode(key, Bytes::copy_from_slice(value)) {
            Ok(entry) => {
                if let Some((_, group)) = &mut group {
                    group.add(field, entry);
                }
            }
            Err(damaged) => error = Some(damaged),
        }
        wanted && error.is_none()
    })?;
    if let Some(error) = error {
        return Err(error);
    }
    if wanted && let Some(found) = group.and_then(finish) {
        visit(found);
    }
    Ok(())
}

/// The entries of one path.
#[derive(Default)]
struct Group {
    base: Option<Entry>,
    fields: Vec<(String, Entry)>,
}

impl Group {
    fn add(&mut self, field: Option<String>, entry: Entry) {
        match field {
            None => self.base = Some(entry),
            Some(name) => self.fields.push((name, entry)),
        }
    }

    /// What a client sees: a field counts if it is newer than what was written or deleted at
    /// the path as a whole.
    fn finish(self, path: Path, wall_ms: u64) -> Option<Found> {
        let base_version = self.base.as_ref().map(|base| base.version);
        let base = self.base.filter(|base| base.is_live(wall_ms));
        let counts = |(_, field): &(String, Entry)| {
            field.is_live(wall_ms) && base_version.is_none_or(|base| field.version > base)
        };
        let fields: Vec<_> = self.fields.into_iter().filter(counts).collect();
        let parts = || base.iter().chain(fields.iter().map(|(_, field)| field));
        let version = parts().map(|part| part.version).max()?;
        let lasts = parts().any(|part| part.expires_ms.is_none());
        let expires_ms =
            if lasts { None } else { parts().filter_map(|part| part.expires_ms).max() };
        let base = base.and_then(|base| base.value);
        let value = if fields.is_empty() {
            Value::Plain(base?)
        } else {
            let live = |(name, field): (String, Entry)| Some((name, field.value?));
            Value::Fields { base, fields: fields.into_iter().filter_map(live).collect() }
        };
        Some(Found { path, value, version, expires_ms })
    }
}

/// The entry that is stored at a key.
pub(super) fn decode(key: &[u8], value: Bytes) -> Result<Entry, StoreError> {
    Entry::from_bytes(value).map_err(|_| damaged(key))
}

/// A pair of the space of entries, without the space's byte.
pub(super) fn decode_pair(key: &[u8], value: &[u8]) -> Result<(EntryKey, Entry), StoreError> {
    let parsed = EntryKey::parse(Bytes::copy_from_slice(key)).ok_or_else(|| damaged(key))?;
    Ok((parsed, decode(key, Bytes::copy_from_slice(value))?))
}

fn damaged(key: &[u8]) -> StoreError {
    StoreError(format!("entry {} does not decode", key.escape_ascii()))
}

/// An older version that was kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Older {
    /// Of which field of the merged object; `None` for what was put at the path as a whole.
    pub field: Option<String>,
    /// What stood there.
    pub entry: Entry,
}

/// Older versions of `path` and of its fields kept on this node, newest first, without those that
/// stand.
pub fn history(store: &dyn Store, path: &Path) -> Result<Vec<Older>, StoreError> {
    let whole = HISTORY.key(&history_key(&EntryKey::path(path), Stamp(0)));
    let whole = &whole[..whole.len() - 8];
    let fields = HISTORY.key(&[path.as_bytes(), &[0][..]].concat());
    let mut versions = Vec::new();
    let mut error = None;
    for from in [whole, &fields[..]] {
        let to = [from, &[0xff; 9][..]].concat();
        store.scan(from, &to, &mut |found, value| {
            let stamped = found.strip_prefix(&fields[..]);
            let name = stamped.and_then(|rest| rest.get(..rest.len().checked_sub(9)?));
            let field = name.map(|name| String::from_utf8_lossy(name).into_owned());
            match decode(&found[1..], Bytes::copy_from_slice(value)) {
                Ok(entry) => versions.push(Older { field, entry }),
                Err(damaged) => error = Some(damaged),
            }
            error.is_none()
        })?;
    }
    versions.sort_by_key(|older| std::cmp::Reverse(older.entry.version));
    error.map_or(Ok(versions), Err)
}

/// The number of the newest change in `store`.
pub fn number(store: &dyn Store) -> Result<u64, StoreError> {
    META.number(store, NUMBER)
}

/// The change log in `store` holds the changes after this number.
pub fn floor(store: &dyn Store) -> Result<u64, StoreError> {
    META.number(store, FLOOR)
}

/// The id of the store, once an engine has opened it.
pub fn store_id(store: &dyn Store) -> Result<Option<StoreId>, StoreError> {
    let value = store.get(&META.key(STORE_ID))?;
    Ok(value.and_then(|value| value[..].try_into().ok()).map(StoreId))
}

/// The keys that changed after `number`, with the number of the change, oldest first, until
/// `visit` answers `false`; `None` if the log no longer reaches back that far (the watcher needs
/// a snapshot). A key that changed more than once may be listed more than once.
pub fn changes_after(
    store: &dyn Store,
    number: u64,
    visit: &mut dyn FnMut(u64, EntryKey) -> bool,
) -> Result<Option<()>, StoreError> {
    if number < floor(store)? {
        return Ok(None);
    }
    let mut error = None;
    let from = LOG.key(&number.saturating_add(1).to_be_bytes());
    store.scan(&from, &LOG.end(), &mut |key, chunk| match read_chunk(LOG, key, chunk) {
        Ok(changes) => {
            let mut news = changes.into_iter().filter(|(at, _)| *at > number);
            news.all(|(at, key)| visit(at, key))
        }
        Err(damaged) => {
            error = Some(damaged);
            false
        }
    })?;
    error.map_or(Ok(Some(())), Err)
}

/// The changes of one chunk of the log: its key is the number of the last.
fn read_chunk(space: Space, key: &[u8], chunk: &[u8]) -> Result<Vec<(u64, EntryKey)>, StoreError> {
    let damaged = || StoreError(format!("chunk {} of the log does not decode", key.escape_ascii()));
    let number = key.strip_prefix(&[space.0]).and_then(|number| number.try_into().ok());
    let last = number.map(u64::from_be_bytes).ok_or_else(damaged)?;
    let mut reader = Reader::new(Bytes::copy_from_slice(chunk));
    let mut read = || -> Decoded<Vec<(u64, Bytes)>> {
        let count = reader.count(usize::MAX, 1)? as u64;
        let before = last.checked_sub(count).filter(|_| count > 0).ok_or(Malformed)?;
        (before + 1..=last)
            .map(|number| Ok((number, reader.bytes(super::KEY_BYTES_MAX)?)))
            .collect()
    };
    let parse = |(number, key)| Ok((number, EntryKey::parse(key).ok_or_else(damaged)?));
    read().map_err(|_| damaged())?.into_iter().map(parse).collect()
}
