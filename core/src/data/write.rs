//! Writes of local clients: checked whole, then done whole.

use super::apply::Source;
use super::{Data, Entry, EntryKey, Strategy, read};
use crate::ctx::Ctx;
use crate::error::ErrorCode;
use crate::id::Path;
use crate::limits::{
    BATCH_BYTES_MAX, BATCH_ITEMS_MAX, FIELDS_MAX, HISTORY_VERSIONS_MAX, TTL_MS_MAX, VALUE_BYTES_MAX,
};
use crate::replica::Version;
use crate::replica::index::KeyHash;
use crate::request::{Change, Condition, Reply, Write, Written};
use crate::store::space::{ENTRIES, HISTORY};
use crate::time::Stamp;
use bytes::{Bytes, BytesMut};
use std::collections::{BTreeMap, BTreeSet};

/// A write of which everything is checked.
struct Prepared {
    entries: Vec<PreparedEntry>,
    expires_ms: Option<u64>,
    /// What stands there now.
    standing: Option<Version>,
    existed: bool,
}

/// An entry to be made; its key is hashed once, for the check and for the merge.
struct PreparedEntry {
    key: EntryKey,
    hash: KeyHash,
    strategy: Strategy,
    value: Option<Bytes>,
}

impl Data {
    /// A version for a write on this node: larger than all that it knows.
    pub(super) fn next_version(&self, ctx: &mut Ctx) -> Version {
        Version { stamp: ctx.clock.tick(ctx.now.wall_ms), node: self.own }
    }

    /// Does all of `writes` or none.
    pub(super) fn write(&mut self, ctx: &mut Ctx, writes: Vec<Write>) -> Reply {
        if let Err(error) = check_batch(&writes) {
            return Reply::Failed(error, 0);
        }
        let mut prepared = Vec::with_capacity(writes.len());
        for (index, write) in writes.into_iter().enumerate() {
            match self.prepare(ctx, write) {
                Ok(write) => prepared.push(write),
                Err(error) => return Reply::Failed(error, index),
            }
        }
        Reply::Written(prepared.into_iter().map(|write| self.perform(ctx, write)).collect())
    }

    /// Checks one write against the limits and against what is here.
    fn prepare(&mut self, ctx: &mut Ctx, write: Write) -> Result<Prepared, ErrorCode> {
        let wall_ms = ctx.now.wall_ms;
        if let Some(end) = write.expires_ms
            && (end <= wall_ms || end > wall_ms.saturating_add(TTL_MS_MAX))
        {
            return Err(ErrorCode::TtlRange);
        }
        let key = EntryKey::path(&write.path);
        let hash = self.index.hash(key.as_bytes());
        let slot = self.index.get(hash);
        let (mut existed, mut standing) = (
            slot.is_some_and(|slot| !slot.is_tombstone()),
            slot.map(|slot| self.index.version(&slot)),
        );
        // The index knows neither fields nor expiry: look where it matters.
        let matters = write.condition != Condition::Always
            || !matches!(write.change, Change::Put(_) | Change::Merge(_));
        if matters {
            let found = match read::get(&ctx.view(), &write.path, wall_ms) {
                Ok(found) => found,
                Err(error) => {
                    ctx.halt(error);
                    return Err(ErrorCode::Store);
                }
            };
            existed = found.is_some();
            standing = found.map(|found| found.version).or(standing);
        }
        let holds = match write.condition {
            Condition::Always => true,
            Condition::Absent => !existed,
            Condition::Present => existed,
            Condition::Is(version) => existed && standing == Some(version),
        };
        if !holds {
            return Err(ErrorCode::Conflict);
        }
        let after = slot.map_or(Stamp(0), |slot| slot.stamp);
        let one = |strategy, value| vec![PreparedEntry { key, hash, strategy, value }];
        let entries = match write.change {
            Change::Delete | Change::PutFirst(_)
                if existed != matches!(write.change, Change::Delete) =>
            {
                Vec::new()
            }
            Change::Put(value) => one(Strategy::Last, Some(value)),
            Change::PutFirst(value) => one(Strategy::First { after }, Some(value)),
            Change::Delete => one(Strategy::Last, None),
            Change::Merge(fields) => {
                check_merged(ctx, &write.path, &fields)?;
                self.prepare_fields(&write.path, fields)?
            }
        };
        Ok(Prepared { entries, expires_ms: write.expires_ms, standing, existed })
    }

    fn prepare_fields(
        &self,
        path: &Path,
        fields: Vec<(String, Bytes)>,
    ) -> Result<Vec<PreparedEntry>, ErrorCode> {
        let entry = |(name, value): (String, Bytes)| {
            let key = EntryKey::field(path, &name)?;
            let hash = self.index.hash(key.as_bytes());
            Ok(PreparedEntry { key, hash, strategy: Strategy::Field, value: Some(value) })
        };
        fields.into_iter().map(entry).collect()
    }

    fn perform(&mut self, ctx: &mut Ctx, write: Prepared) -> Written {
        let none = Version { stamp: Stamp(0), node: self.own };
        let mut version = write.standing.unwrap_or(none);
        let changed = !write.entries.is_empty();
        for PreparedEntry { key, hash, strategy, value } in write.entries {
            version = self.next_version(ctx);
            let entry = Entry { version, strategy, expires_ms: write.expires_ms, value };
            self.apply_hashed(ctx, key, hash, entry, Source::Local);
            ctx.stats.writes += 1;
        }
        Written { version, existed: write.existed, changed }
    }

    /// Keeps the version that is about to be replaced, where its prefix asks for it.
    pub(super) fn keep_history(&self, ctx: &mut Ctx, key: &EntryKey) {
        if self.histories.is_empty() {
            return;
        }
        let Some(path) = key.to_path() else { return };
        let covers = |(prefix, _): &&(Path, usize)| prefix.covers(&path);
        let Some((_, keep)) =
            self.histories.iter().filter(covers).max_by_key(|(p, _)| p.as_bytes().len())
        else {
            return;
        };
        let Some(old) = ctx.get(ENTRIES, key.as_bytes()) else { return };
        let mut kept = Vec::new();
        let from = history_key(key, Stamp(0));
        ctx.scan(HISTORY, &from, &mut |found, _| {
            let same = found.starts_with(&from[..from.len() - 8]) && found.len() == from.len();
            kept.extend(same.then(|| Bytes::copy_from_slice(found)));
            same
        });
        let excess = (kept.len() + 1).saturating_sub((*keep).min(HISTORY_VERSIONS_MAX));
        for key in kept.into_iter().take(excess) {
            ctx.batch.delete(HISTORY.key(&key));
        }
        if *keep > 0 {
            match read::decode(key.as_bytes(), old.clone()) {
                Ok(entry) => {
                    ctx.batch.put(HISTORY.key(&history_key(key, entry.version.stamp)), old);
                }
                Err(error) => ctx.halt(error),
            }
        }
    }
}

/// Where the version of `stamp` of `key` is kept: versions of a key are in the order of stamps.
pub(super) fn history_key(key: &EntryKey, stamp: Stamp) -> Bytes {
    let mut out = BytesMut::from(&key.as_bytes()[..]);
    out.extend_from_slice(&[0xff]); // in no key: it is not UTF-8
    out.extend_from_slice(&stamp.0.to_be_bytes());
    out.freeze()
}

/// Whether an object is within the limits once `fields` are written into it. Nodes that do not hear
/// of each other may still go beyond, each by its own writes.
fn check_merged(ctx: &mut Ctx, path: &Path, fields: &[(String, Bytes)]) -> Result<(), ErrorCode> {
    let wall_ms = ctx.now.wall_ms;
    let found = read::get(&ctx.view(), path, wall_ms).map_err(|error| {
        ctx.halt(error);
        ErrorCode::Store
    })?;
    let (base, standing) = match found.map(|found| found.value) {
        None => (None, Vec::new()),
        Some(read::Value::Plain(base)) => (Some(base), Vec::new()),
        Some(read::Value::Fields { base, fields }) => (base, fields),
    };
    let all: BTreeMap<&str, usize> = standing.iter().chain(fields).map(size).collect();
    if all.len() > FIELDS_MAX {
        return Err(ErrorCode::FieldsMax);
    }
    let bytes = all.iter().map(|(name, size)| name.len() + size).sum::<usize>();
    if bytes + base.map_or(0, |base| base.len()) > VALUE_BYTES_MAX {
        return Err(ErrorCode::ValueTooLarge);
    }
    return Ok(());

    fn size((name, value): &(String, Bytes)) -> (&str, usize) {
        (name, value.len())
    }
}

/// Size, values and repeats.
fn check_batch(writes: &[Write]) -> Result<(), ErrorCode> {
    if writes.is_empty() || writes.len() > BATCH_ITEMS_MAX {
        return Err(ErrorCode::BatchSize);
    }
    let mut bytes = 0;
    for write in writes {
        let value = match &write.change {
            Change::Put(value) | Change::PutFirst(value) => value.len(),
            Change::Merge(fields) => {
                let names: BTreeSet<&str> = fields.iter().map(|(name, _)| &name[..]).collect();
                if fields.len() > FIELDS_MAX {
                    return Err(ErrorCode::FieldsMax);
                }
                if names.len() < fields.len() {
                    return Err(ErrorCode::BatchRepeats);
                }
                fields.iter().map(|(name, value)| name.len() + value.len()).sum()
            }
            Change::Delete => 0,
        };
        if value > VALUE_BYTES_MAX {
            return Err(ErrorCode::ValueTooLarge);
        }
        bytes += value + write.path.as_bytes().len();
    }
    if writes.len() > 1 {
        if bytes > BATCH_BYTES_MAX {
            return Err(ErrorCode::BatchSize);
        }
        let mut paths: Vec<&Path> = writes.iter().map(|write| &write.path).collect();
        paths.sort_unstable();
        if paths.windows(2).any(|pair| pair[0] == pair[1]) {
            return Err(ErrorCode::BatchRepeats);
        }
    }
    Ok(())
}
