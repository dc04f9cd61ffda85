//! Merging one entry into what this node holds: the only place where entries change.

use super::read::HAS_FIELDS;
use super::{Data, Entry, EntryKey, Strategy};
use crate::ctx::{Ctx, Fact};
use crate::engine::Notice;
use crate::id::{NodeId, Path};
use crate::replica::index::{KeyHash, Slot};
use crate::replica::merge::Rank;
use crate::request::Changed;
use crate::store::space::{ENTRIES, META};
use crate::time::Stamp;
use bytes::Bytes;
use std::collections::BTreeSet;

/// Where an entry comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Source {
    /// A local write, made in knowledge of what is here.
    Local,
    /// Spread to all: the neighbors get it the same way.
    Spread,
    /// Pulled from a neighbor: the other neighbors learn of it by summaries.
    Pulled,
}

/// System facts: who belongs to the network, and who was removed.
pub(super) const MEMBERS: &str = "members/";
pub(super) const REMOVED: &str = "removed/";

impl Data {
    /// Merges entries from another node. The latest stamp that was refused, as it lies in the
    /// future: then the message is not to be passed on.
    pub(super) fn apply_all(
        &mut self,
        ctx: &mut Ctx,
        entries: Vec<(EntryKey, Entry)>,
        source: Source,
    ) -> Option<Stamp> {
        let mut refused = None;
        for (key, entry) in entries {
            let stamp = entry.newest_stamp();
            if ctx.clock.observe(stamp, ctx.now.wall_ms).is_err() {
                if ctx.stats.future_refused == 0 {
                    ctx.notice(Notice::Future(entry.version.node));
                }
                ctx.stats.future_refused += 1;
                refused = refused.max(Some(stamp));
                continue;
            }
            if self.apply(ctx, key, entry, source) {
                ctx.stats.merged += 1;
            } else {
                ctx.stats.repeated += 1;
            }
        }
        refused
    }

    /// Merges one entry; `true` if it now stands.
    pub(super) fn apply(
        &mut self,
        ctx: &mut Ctx,
        key: EntryKey,
        entry: Entry,
        source: Source,
    ) -> bool {
        let hash = self.index.hash(key.as_bytes());
        self.apply_hashed(ctx, key, hash, entry, source)
    }

    /// [`Data::apply`] with the hash of the key known.
    pub(super) fn apply_hashed(
        &mut self,
        ctx: &mut Ctx,
        key: EntryKey,
        hash: KeyHash,
        entry: Entry,
        source: Source,
    ) -> bool {
        let old = self.index.get(hash);
        if !self.stands(ctx, &key, &entry, old, source) {
            return false;
        }
        let Some(slot) = self.slot(hash, &entry) else { return false };
        let outlived = old.filter(|_| source != Source::Local);
        let outlived = outlived.and_then(|old| self.outlived(ctx, &key, &old, &entry));
        if let Some(old) = old {
            self.unschedule(ctx, &key, &old);
            self.keep_history(ctx, &key);
        }
        self.index.set(hash, Some(slot));
        ctx.batch.put(ENTRIES.key(key.as_bytes()), entry.to_bytes());
        self.number += 1;
        if source == Source::Pulled {
            self.pulled = self.number;
        }
        self.note_late(ctx, &entry, source);
        self.logged.push(key.clone());
        if !self.has_fields && key.to_field().is_some() {
            self.has_fields = true;
            ctx.batch.put(META.key(HAS_FIELDS), Bytes::new());
        }
        self.schedule(&key, &entry, ctx.now.wall_ms);
        self.note_system(ctx, &key, &entry);
        self.emit(&key, &entry, false);
        if source == Source::Local {
            self.to_spread.push((key, entry));
        } else if let Some(first) = outlived {
            let version = self.next_version(ctx);
            self.apply_hashed(ctx, key, hash, Entry { version, ..first }, Source::Local);
        }
        true
    }

    /// A first write of this node that an old tombstone is about to beat, to be made anew after
    /// it. It was made where nothing stood: the tombstone was forgotten here, and its holder was
    /// away and did not hear that all had agreed to forget it.
    fn outlived(&self, ctx: &mut Ctx, key: &EntryKey, old: &Slot, dead: &Entry) -> Option<Entry> {
        let half_ms = ctx.limits.tombstone_grace_ms / 2;
        let stamp = dead.version.stamp;
        let is_older = stamp.ms().saturating_add(half_ms) <= old.stamp.ms();
        if !old.is_first() || dead.value.is_some() || !is_older {
            return None;
        }
        let first = Data::entry(ctx, key)?;
        let follows_nothing = first.strategy == Strategy::First { after: Stamp(0) };
        let is_own = first.version.node == self.own && first.is_live(ctx.now.wall_ms);
        let strategy = Strategy::First { after: stamp };
        (follows_nothing && is_own).then_some(Entry { strategy, ..first })
    }

    /// Whether an entry beats what is here.
    fn stands(
        &mut self,
        ctx: &mut Ctx,
        key: &EntryKey,
        entry: &Entry,
        old: Option<Slot>,
        source: Source,
    ) -> bool {
        let Some(old) = old else {
            return true;
        };
        let old_version = self.index.version(&old);
        let from_the_future = ctx.clock.is_future(old_version.stamp, ctx.now.wall_ms);
        if source == Source::Local && from_the_future {
            return true; // made while the clock ran ahead; the write knows better
        }
        let mut strategy = Strategy::Last;
        if old.is_first() {
            strategy = Data::entry(ctx, key).map_or(strategy, |entry| entry.strategy);
        }
        rank(entry) > Rank::new(old_version, strategy, old.check, old.flags)
    }

    /// Notes what came in late: while it may not be all, nothing is forgotten here.
    fn note_late(&mut self, ctx: &Ctx, entry: &Entry, source: Source) {
        let half_ms = ctx.limits.tombstone_grace_ms / 2;
        let is_old = entry.version.stamp.ms().saturating_add(half_ms) <= ctx.now.wall_ms;
        if source == Source::Pulled || (source == Source::Spread && is_old) {
            self.burial.late_at = Some(ctx.now.time);
        }
    }

    /// What the index knows of an entry.
    fn slot(&mut self, hash: KeyHash, entry: &Entry) -> Option<Slot> {
        self.index.slot(hash, entry.version, check(entry), flags(entry))
    }

    /// Notes an entry on disk, and answers what goes into the index. What ended after `told_ms`
    /// is yet to be told.
    pub(super) fn load_entry(
        &mut self,
        key: &[u8],
        entry: &Entry,
        told_ms: u64,
    ) -> Option<(KeyHash, Slot)> {
        if entry.dead_since_ms().is_some()
            && let Some(key) = EntryKey::parse(Bytes::copy_from_slice(key))
        {
            self.schedule(&key, entry, told_ms);
        }
        let hash = self.index.hash(key);
        Some(hash).zip(self.slot(hash, entry))
    }

    /// Notes when an entry ends, or since when it is dead.
    pub(super) fn schedule(&mut self, key: &EntryKey, entry: &Entry, wall_ms: u64) {
        match (entry.expires_ms, entry.buried_since_ms()) {
            (Some(end), _) if entry.is_live(wall_ms) => {
                self.expiring.insert(end, key.detached());
                // The clock was set back: this end is to be told, though later ones were.
                self.ended_ms = self.ended_ms.min(end.saturating_sub(1));
                self.expiry_due = Some(crate::time::Time(0));
            }
            (_, Some(since)) => self.graveyard.insert(since, key.detached()),
            (_, None) => {}
        }
        if let Some(end) = entry.expires_ms.filter(|end| *end <= wall_ms) {
            self.note_over(end);
        }
    }

    fn unschedule(&mut self, ctx: &mut Ctx, key: &EntryKey, old: &Slot) {
        if old.is_tombstone() {
            self.graveyard.remove(old.stamp.ms(), key);
        } else if old.flags & Slot::EXPIRES != 0
            && let Some(entry) = Data::entry(ctx, key)
            && let Some((end, since)) = entry.expires_ms.zip(entry.buried_since_ms())
        {
            self.graveyard.remove(since, key);
            self.expiring.remove(end, key);
        }
    }

    /// Removes an entry without a trace.
    pub(super) fn forget(&mut self, ctx: &mut Ctx, key: &EntryKey) {
        let hash = self.index.hash(key.as_bytes());
        if let Some(old) = self.index.get(hash) {
            self.unschedule(ctx, key, &old);
            self.index.set(hash, None);
            ctx.batch.delete(ENTRIES.key(key.as_bytes()));
        }
    }

    /// Tells the watches that cover a key.
    pub(super) fn emit(&mut self, key: &EntryKey, entry: &Entry, expired: bool) {
        if self.interest.is_empty() {
            return;
        }
        let Some(path) = key.to_path() else { return };
        for watch in self.interest.covering(path.as_bytes()) {
            let (key, entry) = (key.clone(), entry.clone());
            let change = Changed { number: self.number, key, entry, expired };
            self.events.entry(watch).or_default().push(change);
        }
    }

    fn note_system(&self, ctx: &mut Ctx, key: &EntryKey, entry: &Entry) {
        let Some(name) = key.to_system().filter(|_| entry.value.is_some()) else { return };
        if let Some(node) = name.as_str().strip_prefix(REMOVED).and_then(NodeId::from_hex) {
            ctx.facts.push(Fact::Removed(node));
        }
    }

    /// Tells the mesh who was removed, and makes this node a member if it is not one yet.
    pub(super) fn join_members(&mut self, ctx: &mut Ctx) {
        let removed = self.system_nodes(ctx, REMOVED);
        ctx.facts.extend(removed.into_iter().map(Fact::Removed));
        let key = system_key(MEMBERS, self.own);
        if self.index.get(self.index.hash(key.as_bytes())).is_none() {
            let since = format!("{{\"since\":{}}}", ctx.now.wall_ms);
            self.write_system(ctx, key, since.into());
        }
    }

    /// The nodes of which there is a fact of this kind.
    pub(super) fn system_nodes(&self, ctx: &mut Ctx, kind: &str) -> BTreeSet<NodeId> {
        let prefix = [&[0], kind.as_bytes()].concat();
        let mut nodes = BTreeSet::new();
        ctx.scan(ENTRIES, &prefix, &mut |key, _| {
            let name = key.strip_prefix(&prefix[..]).map(String::from_utf8_lossy);
            nodes.extend(name.as_ref().and_then(|name| NodeId::from_hex(name)));
            name.is_some()
        });
        nodes
    }

    /// Removes a node from the network, everywhere and for good.
    pub(crate) fn remove_member(&mut self, ctx: &mut Ctx, node: NodeId) {
        let since = format!("{{\"since\":{},\"by\":\"{}\"}}", ctx.now.wall_ms, self.own);
        self.write_system(ctx, system_key(REMOVED, node), since.into());
    }

    fn write_system(&mut self, ctx: &mut Ctx, key: EntryKey, value: Bytes) {
        let version = self.next_version(ctx);
        let strategy = Strategy::Last;
        let entry = Entry { version, strategy, expires_ms: None, value: Some(value) };
        self.apply(ctx, key, entry, Source::Local);
        ctx.stats.writes += 1;
    }
}

pub(super) fn system_key(kind: &str, node: NodeId) -> EntryKey {
    let name = Path::new(format!("{kind}{node}")).expect("a short path of plain segments");
    EntryKey::system(&name)
}

/// The place of an entry in the order by which entries are settled.
pub(super) fn rank(entry: &Entry) -> Rank {
    Rank::new(entry.version, entry.strategy, check(entry), flags(entry))
}

/// What the index knows of an entry's kind.
fn flags(entry: &Entry) -> u8 {
    let mut flags = 0;
    if entry.value.is_none() {
        flags |= Slot::TOMBSTONE;
    }
    match entry.strategy {
        Strategy::Last => {}
        Strategy::First { .. } => flags |= Slot::FIRST,
        Strategy::Field => flags |= Slot::FIELD,
    }
    if entry.expires_ms.is_some() {
        flags |= Slot::EXPIRES;
    }
    flags
}

/// A hash of an entry's content: settles two entries of the same version.
pub(super) fn check(entry: &Entry) -> u32 {
    let value = entry.value.as_deref().unwrap_or_default();
    let mut hash = blake3::Hasher::new();
    let hash = match entry.expires_ms {
        None => blake3::hash(value),
        Some(end) => hash.update(&end.to_be_bytes()).update(value).finalize(),
    };
    let bytes = hash.as_bytes();
    u32::from_be_bytes([bytes[0], bytes[1], bytes[2], bytes[3]])
}
