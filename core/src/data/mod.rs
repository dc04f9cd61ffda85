//! Shared data: values at paths, on every node.
//!
//! Promise: a write that was acknowledged is on this node's disk; every node that can be reached
//! gets it; all nodes settle on the same value for every path (last write wins, by stamp and
//! node, unless the write says otherwise); a delete stays deleted; a watch misses nothing.
//! Messages: entries spread to all; between neighbors summaries, pulls and pages, and comparisons
//! (`message`). Keys: entries, the change log, history (`docs/storage.md`). Repair: `sync` pulls what a
//! neighbor has, `compare` finds what differs. Limits: `VALUE_BYTES_MAX`, `BATCH_*`, `WATCHES_MAX`,
//! `log_changes_max`, `tombstone_grace_ms`, `due_keys_max`.

mod apply;
mod bury;
mod calendar;
mod collect;
mod compare;
#[cfg(test)]
mod decodes;
mod entry;
#[cfg(test)]
mod golden;
#[cfg(test)]
mod hostile;
#[cfg(test)]
mod joins;
mod message;
mod page;
mod pull;
pub mod read;
mod restamp;
mod sync;
#[cfg(test)]
mod tests;
mod write;

pub(crate) use entry::KEY_BYTES_MAX;
pub use entry::{Entry, EntryKey, Strategy};

use crate::ctx::{Ahead, Ctx, Dest};
use crate::error::ErrorCode;
use crate::id::{NetworkId, NodeId, Path, SessionId, StoreId, WatchId};
use crate::interest::Interest;
use crate::limits::SPREAD_BYTES_TARGET;
use crate::replica::index::{BUCKETS, Index};
use crate::request::{Caller, Changed, DataRequest, Event, MeshStatus, Reply};
use crate::service::{Handled, NeighborChange, Service};
use crate::store::space::{ENTRIES, LOG, META};
use crate::time::Time;
use crate::wire::codec::{put_bytes, put_varint};
use crate::wire::envelope::Tag;
use apply::Source;
use bytes::{Bytes, BytesMut};
use message::Message;
use std::collections::BTreeMap;

/// Key of the store's id in [`META`].
pub(crate) const STORE_ID: &[u8] = b"store";
/// Key of the newest change number in [`META`].
pub(crate) const NUMBER: &[u8] = b"number";
/// Key of the number up to which the change log is pruned, in [`META`].
pub(crate) const FLOOR: &[u8] = b"floor";
/// Key of the instant in [`META`] up to which the ends of entries are in the log, in Unix
/// milliseconds.
pub(crate) const ENDED: &[u8] = b"ended";
/// A change number beyond this is damage: nobody lives to see it.
const NUMBER_MAX: u64 = u64::MAX / 2;

/// Entries that go into the index together at the start: an entry for each of its buckets, 3 MB.
const LOADED_AT_ONCE: usize = BUCKETS;

/// The state of shared data at this node.
pub(crate) struct Data {
    own: NodeId,
    store: StoreId,
    index: Index,
    /// The newest change's number on this node.
    number: u64,
    /// The log holds the changes after this one.
    floor: u64,
    /// The newest change that did not come by spreading: neighbors must pull up to there.
    pulled: u64,
    /// The newest change that was spread and came ahead of something missing: the same, until
    /// marks cover it.
    ahead: u64,
    burial: bury::Burial,
    histories: Vec<(Path, usize)>,
    /// Whether any path has fields.
    has_fields: bool,
    interest: Interest,
    /// When entries end, in Unix milliseconds.
    expiring: calendar::Calendar,
    /// Since when entries are dead, in Unix milliseconds.
    graveyard: calendar::Calendar,
    /// Where looking through the entries for these goes on.
    reread: Option<Vec<u8>>,
    sync: sync::Sync,
    expiry_due: Option<Time>,
    /// The latest end that is taken to be over, in Unix milliseconds: as long as the clock shows
    /// less, it was set back.
    over_ms: u64,
    /// What was written while the clock ran ahead is being stamped anew.
    restamp: Option<restamp::Restamp>,
    /// Ends of entries until then are in the log, in Unix milliseconds; and what is on disk of it.
    ended_ms: u64,
    ended_saved_ms: u64,
    // What the step has gathered so far:
    logged: Vec<EntryKey>,
    to_spread: Vec<(EntryKey, Entry)>,
    events: BTreeMap<(SessionId, WatchId), Vec<Changed>>,
}

/// What shared data is opened with.
pub(crate) struct DataConfig {
    pub(crate) own: NodeId,
    pub(crate) network: NetworkId,
    /// For the id of a new store.
    pub(crate) seed: u64,
    /// How many older versions to keep, per prefix.
    pub(crate) histories: Vec<(Path, usize)>,
}

impl Data {
    /// Reads what the store holds; a new store gets its id.
    pub(crate) fn open(ctx: &mut Ctx, config: DataConfig) -> Data {
        let key = *blake3::hash(&[b"folkmoot index 1", &config.network.0[..]].concat()).as_bytes();
        let store = match ctx.get(META, STORE_ID).and_then(|id| id[..].try_into().ok()) {
            Some(id) => StoreId(id),
            None => {
                let now = ctx.now.wall_ms.to_be_bytes();
                let seed = config.seed.to_be_bytes();
                let hash = blake3::hash(&[&config.own.0[..], &now, &seed].concat());
                let mut id = [0; 16];
                id.copy_from_slice(&hash.as_bytes()[..16]);
                ctx.batch.put(META.key(STORE_ID), id.to_vec());
                StoreId(id)
            }
        };
        let mut number = ctx.number(META, NUMBER);
        let floor = ctx.number(META, FLOOR);
        if number > NUMBER_MAX || floor > number {
            let what = format!("its newest change is {number}, its log begins after {floor}");
            ctx.halt(crate::store::StoreError(what));
            number = 0;
        }
        let mut data = Data {
            own: config.own,
            store,
            index: Index::new(key),
            number,
            floor,
            pulled: number,
            ahead: 0,
            burial: bury::Burial::default(),
            histories: config.histories,
            has_fields: ctx.get(META, read::HAS_FIELDS).is_some(),
            interest: Interest::default(),
            expiring: calendar::Calendar::new(ctx.limits.due_keys_max),
            graveyard: calendar::Calendar::new(ctx.limits.due_keys_max),
            reread: None,
            sync: sync::Sync::open(ctx),
            expiry_due: None,
            over_ms: 0,
            restamp: None,
            ended_ms: ctx.number(META, ENDED),
            ended_saved_ms: 0,
            logged: Vec::new(),
            to_spread: Vec::new(),
            events: BTreeMap::new(),
        };
        data.load(ctx);
        data.join_members(ctx);
        data
    }

    /// Fills the index from the entries on disk.
    fn load(&mut self, ctx: &mut Ctx) {
        let store = ctx.store;
        self.ended_saved_ms = self.ended_ms;
        // What ended later was told to nobody.
        let told_ms = self.ended_ms.min(ctx.now.wall_ms);
        let mut damaged = None;
        let mut found = Vec::new();
        // Each entry is gone before the next is read, so they share one allocation.
        let mut buffer = BytesMut::new();
        let loaded = store.scan(&ENTRIES.key(&[]), &ENTRIES.end(), &mut |key, value| {
            let key = &key[1..];
            buffer.extend_from_slice(value);
            match Entry::from_bytes(buffer.split().freeze()) {
                Ok(entry) => {
                    found.extend(self.load_entry(key, &entry, told_ms));
                    if found.len() >= LOADED_AT_ONCE {
                        self.index.load(&mut found);
                    }
                    true
                }
                Err(_) => {
                    damaged = Some(format!("entry {} does not decode", key.escape_ascii()));
                    false
                }
            }
        });
        self.index.load(&mut found);
        let damaged = damaged.map(crate::store::StoreError);
        if let Some(error) = loaded.err().or(damaged) {
            ctx.halt(error);
        }
    }

    /// The entry at a key. Damage stops the node; until then nothing is there.
    fn entry(ctx: &mut Ctx, key: &EntryKey) -> Option<Entry> {
        let stored = ctx.get(ENTRIES, key.as_bytes())?;
        let entry = read::decode(key.as_bytes(), stored);
        entry.map_err(|error| ctx.halt(error)).ok()
    }

    /// Visits the entries from the key `from` on, with their bytes on disk. Damage ends the visit,
    /// stops the node, and is answered with `false`.
    fn scan_entries(
        ctx: &mut Ctx,
        from: &[u8],
        visit: &mut dyn FnMut(EntryKey, Entry, usize) -> bool,
    ) -> bool {
        let mut damaged = None;
        ctx.scan(ENTRIES, from, &mut |key, value| match read::decode_pair(key, value) {
            Ok((found, entry)) => visit(found, entry, key.len() + value.len()),
            Err(error) => {
                damaged = Some(error);
                false
            }
        });
        let whole = damaged.is_none();
        damaged.into_iter().for_each(|error| ctx.halt(error));
        whole
    }

    /// Tells the status what data knows.
    pub(crate) fn fill_status(&self, status: &mut MeshStatus) {
        status.number = self.number;
        status.store = self.store;
        status.entries = self.index.count();
        status.tombstones = self.index.tombstones();
        status.digest = self.index.total().to_bytes();
        for link in &mut status.links {
            link.in_sync = self.sync.is_in_sync(link.node);
        }
    }

    /// Something has become of all that came ahead of something missing.
    pub(crate) fn on_ahead(&mut self, ahead: Ahead) {
        let newest = std::mem::take(&mut self.ahead);
        if ahead == Ahead::Lost {
            self.pulled = self.pulled.max(newest);
        }
    }

    /// Sends a message to a neighbor.
    fn tell(&self, ctx: &mut Ctx, dest: Dest, message: &Message) {
        let body = message.encode();
        ctx.stats.repair_bytes += body.len() as u64;
        ctx.send(Tag::DATA, dest, body);
    }

    /// Writes the change log's chunk of this step, under the number of its last change.
    fn write_log(&mut self, ctx: &mut Ctx) {
        if self.logged.is_empty() {
            return;
        }
        let mut chunk = BytesMut::new();
        put_varint(&mut chunk, self.logged.len() as u64);
        for key in self.logged.drain(..) {
            put_bytes(&mut chunk, key.as_bytes());
        }
        let number = self.number.to_be_bytes();
        ctx.batch.put(LOG.key(&number), chunk.freeze());
        ctx.batch.put(META.key(NUMBER), number.to_vec());
        if self.ended_ms != std::mem::replace(&mut self.ended_saved_ms, self.ended_ms) {
            ctx.batch.put(META.key(ENDED), self.ended_ms.to_be_bytes().to_vec());
        }
        self.prune_log(ctx);
    }

    /// Spreads what local clients wrote in this step.
    fn spread_writes(&mut self, ctx: &mut Ctx) {
        let entries = std::mem::take(&mut self.to_spread);
        let mut rest = &entries[..];
        while !rest.is_empty() {
            let mut bytes = 0;
            let fits = |(key, entry): &&(EntryKey, Entry)| {
                bytes += key.as_bytes().len() + entry.value.as_ref().map_or(0, Bytes::len) + 64;
                bytes <= SPREAD_BYTES_TARGET
            };
            let count = rest.iter().take_while(fits).count().max(1);
            ctx.weight = count as u64;
            ctx.send(Tag::DATA, Dest::All, message::encode_entries(&rest[..count]));
            rest = &rest[count..];
        }
    }

    fn send_events(&mut self, ctx: &mut Ctx) {
        for ((session, watch), changes) in std::mem::take(&mut self.events) {
            ctx.stats.events += changes.len() as u64;
            ctx.event(session, Event::Changed(watch, changes));
        }
    }
}

impl Service for Data {
    type Request = DataRequest;

    fn on_request(&mut self, ctx: &mut Ctx, caller: Caller, request: DataRequest) {
        let reply = match request {
            DataRequest::Write(_) if ctx.around.clock_off => Reply::Failed(ErrorCode::ClockOff, 0),
            DataRequest::Write(_) if self.restamp.is_some() => Reply::Failed(ErrorCode::Busy, 0),
            DataRequest::Write(writes) => self.write(ctx, writes),
            DataRequest::Watch { watch, prefix } => {
                match self.interest.add(caller.session, watch, prefix.as_ref()) {
                    Ok(()) => Reply::Watching { number: self.number },
                    Err(error) => Reply::Failed(error, 0),
                }
            }
            DataRequest::Unwatch { watch } => {
                self.interest.remove(caller.session, watch);
                Reply::Done
            }
        };
        ctx.reply(caller.session, caller.request, reply);
    }

    fn on_session_closed(&mut self, _: &mut Ctx, session: SessionId) {
        self.interest.remove_session(session);
    }

    fn on_spread(&mut self, ctx: &mut Ctx, _origin: NodeId, body: Bytes) -> Handled {
        let entries = message::decode_entries(body)?;
        ctx.weight = entries.len() as u64;
        let before = self.number;
        ctx.refused = self.apply_all(ctx, entries, Source::Spread).is_some();
        if ctx.ahead && self.number > before {
            self.ahead = self.number;
        }
        Ok(())
    }

    fn on_message(&mut self, ctx: &mut Ctx, from: NodeId, body: Bytes) -> Handled {
        match Message::decode(body)? {
            Some(message) => self.on_sync_message(ctx, from, message),
            None => ctx.stats.unknown_messages += 1,
        }
        Ok(())
    }

    fn on_neighbor(&mut self, ctx: &mut Ctx, node: NodeId, change: NeighborChange) {
        self.on_neighbor_changed(ctx, node, change);
    }

    fn on_tick(&mut self, ctx: &mut Ctx) {
        self.judge_stamps(ctx);
        self.tick_restamp(ctx);
        self.tick_sync(ctx);
        self.tick_compare(ctx);
        self.tick_reread(ctx);
        self.tick_expiry(ctx);
        self.tick_bury(ctx);
    }

    fn on_step_end(&mut self, ctx: &mut Ctx) {
        self.take_back_ends(ctx);
        self.spread_writes(ctx);
        self.write_log(ctx);
        self.answer_pulls(ctx);
        self.send_events(ctx);
        if !ctx.batch.is_empty()
            && let Some(bound) = ctx.clock.bound_to_persist(ctx.now.wall_ms)
        {
            ctx.batch.put(META.key(crate::engine::CLOCK_BOUND), bound.0.to_be_bytes().to_vec());
        }
    }

    fn next_tick(&self) -> Option<Time> {
        let restamp = self.restamp.as_ref().map(|_| Time(0));
        let reread = self.reread.as_ref().map(|_| Time(0));
        [self.sync.next_tick(), self.expiry_due, self.bury_due(), restamp, reread]
            .into_iter()
            .flatten()
            .min()
    }
}
