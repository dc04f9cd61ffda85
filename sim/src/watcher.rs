//! Watchers: clients that keep a copy of a part of the state from changes alone.
//!
//! A watcher takes one snapshot and then only applies what it is told: the entry that changed, and
//! of a merged object what else is there, for a client is told the whole object. When its node
//! restarts it resumes by its token, store and number, from the change log, and takes a new snapshot
//! only if the log no longer reaches back. It has no clock: that a value has ended it must be told.

use crate::oracle::{entries, entries_at};
use crate::plant::Plant;
use crate::world::World;
use folkmoot_core::data::{Entry, EntryKey, read};
use folkmoot_core::id::{Path, SessionId, StoreId, WatchId};
use folkmoot_core::request::{Changed, DataRequest, Request};
use folkmoot_core::store::MemoryStore;
use std::collections::BTreeMap;

/// The one watch of a watcher's session.
const WATCH: WatchId = WatchId(1);

/// One watcher.
#[derive(Clone, Debug)]
pub struct Watcher {
    /// The node it asks.
    pub node: usize,
    /// What it watches; `None` for everything.
    pub prefix: Option<Path>,
    /// Its copy; what has ended is kept without its value.
    pub view: BTreeMap<EntryKey, Entry>,
    /// Whether its watch stands.
    pub live: bool,
    /// Snapshots it took.
    pub snapshots: u64,
    /// Times it resumed by its token.
    pub resumed: u64,
    /// Changes it was told.
    pub told: u64,
    asked: Option<u64>,
    token: Option<(StoreId, u64)>,
    told_last: u64,
}

impl Watcher {
    /// A watcher that has seen nothing.
    pub fn new(node: usize, prefix: Option<Path>) -> Watcher {
        Watcher {
            node,
            prefix,
            view: BTreeMap::new(),
            live: false,
            snapshots: 0,
            resumed: 0,
            told: 0,
            asked: None,
            token: None,
            told_last: 0,
        }
    }

    /// Whether it watches a key.
    pub fn covers(&self, key: &EntryKey) -> bool {
        let (Some(prefix), Some(path)) = (&self.prefix, key.to_path()) else {
            return self.prefix.is_none();
        };
        let rest = path.as_str().strip_prefix(prefix.as_str());
        rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    }

    fn resume(&mut self, store: &MemoryStore, number: u64, wall_ms: u64) {
        let id = read::store_id(store).expect("memory can be read").unwrap_or_default();
        let mut changed = Vec::new();
        let resumed = self.token.is_some_and(|(known, number)| {
            let mut visit = |_, key| {
                changed.push(key);
                true
            };
            let found = read::changes_after(store, number, &mut visit);
            known == id && found.expect("memory can be read").is_some()
        });
        if resumed {
            self.resumed += 1;
            for path in changed.iter().filter_map(EntryKey::to_path) {
                if self.covers(&EntryKey::path(&path)) {
                    self.read(store, &path, wall_ms);
                }
            }
        } else {
            self.snapshots += 1;
            let shown = |(key, entry)| (key, shown(entry, wall_ms));
            self.view = entries(store).into_iter().map(shown).collect();
            let covered: Vec<_> =
                self.view.keys().filter(|key| !self.covers(key)).cloned().collect();
            for key in covered {
                self.view.remove(&key);
            }
        }
        (self.live, self.token, self.told_last) = (true, Some((id, number)), number);
    }

    /// What is at a path, with its fields: what has been forgotten there is not told otherwise.
    fn read(&mut self, store: &MemoryStore, path: &Path, wall_ms: u64) {
        self.view.retain(|key, _| key.to_path().as_ref() != Some(path));
        let shown = |(key, entry)| (key, shown(entry, wall_ms));
        self.view.extend(entries_at(store, path).into_iter().map(shown));
    }

    fn apply(&mut self, store: &MemoryStore, change: Changed, wall_ms: u64) -> Result<(), String> {
        if !self.covers(&change.key) {
            return Err(format!("it was told of {:?}, which it does not watch", change.key));
        }
        if change.number <= self.told_last && self.told > 0 {
            let (number, last) = (change.number, self.told_last);
            return Err(format!("it was told of change {number} after change {last}"));
        }
        self.told_last = change.number;
        self.told += 1;
        if let Some((_, number)) = &mut self.token
            && change.number > *number
        {
            *number = change.number;
        }
        let entry = match change.expired {
            true => Entry { value: None, ..change.entry },
            false => shown(change.entry, wall_ms),
        };
        if let Some(path) = change.key.to_path() {
            self.read(store, &path, wall_ms);
        }
        self.view.insert(change.key, entry);
        Ok(())
    }
}

/// Which changes are told, for the trace.
fn keys(changes: &[Changed]) -> Vec<(u64, &EntryKey, bool)> {
    changes.iter().map(|change| (change.number, &change.key, change.expired)).collect()
}

/// An entry as it is told to a client: without its value once that has ended.
fn shown(entry: Entry, wall_ms: u64) -> Entry {
    if entry.is_live(wall_ms) { entry } else { Entry { value: None, ..entry } }
}

impl World {
    /// The watchers of a node that has just started ask again.
    pub(crate) fn watch_again(&mut self, node: usize) {
        for index in 0..self.clients.watchers.len() {
            if self.clients.watchers[index].node == node {
                let id = self.next_request();
                let watcher = &mut self.clients.watchers[index];
                (watcher.asked, watcher.live) = (Some(id), false);
                let prefix = watcher.prefix.clone();
                let request = DataRequest::Watch { watch: WATCH, prefix };
                self.request(node, id, Request::Data(request));
            }
        }
    }

    /// A watch stands: its watcher resumes or takes a snapshot.
    pub(crate) fn on_watching(&mut self, node: usize, id: u64, number: u64) {
        let store = self.hosts[node].disk.durable();
        let wall_ms = self.hosts[node].clock.wall_ms(self.now);
        let durable = read::number(store).expect("memory can be read");
        let watcher = self.clients.watchers.iter_mut().find(|watcher| watcher.asked == Some(id));
        if let Some(watcher) = watcher {
            watcher.resume(store, durable, wall_ms);
            self.trace(|| format!("watcher at node-{node} begins at {durable}"));
        }
        if durable < number {
            let text = format!("node-{node} began a watch at {number}, durable is only {durable}");
            self.breaks("watches_are_gapless", text);
        }
    }

    /// A watcher is told of changes.
    pub(crate) fn on_changed(
        &mut self,
        node: usize,
        session: SessionId,
        watch: WatchId,
        changes: Vec<Changed>,
    ) {
        self.trace(|| format!("watcher at node-{node} is told of {:?}", keys(&changes)));
        self.mix(&[
            6,
            node as u64,
            changes.len() as u64,
            changes.last().map_or(0, |one| one.number),
        ]);
        let host = &self.hosts[node];
        let wall_ms = host.clock.wall_ms(self.now);
        let store = host.disk.durable();
        let durable = read::number(store).expect("memory can be read");
        let live = session == host.session && watch == WATCH;
        let watcher = self.clients.watchers.iter_mut().find(|watcher| watcher.node == node);
        let Some(watcher) = watcher.filter(|watcher| live && watcher.live) else { return };
        let mut wrong = None;
        for change in changes {
            if change.number > durable && wrong.is_none() {
                wrong = Some(format!("it was told of {} before it was durable", change.number));
            }
            let known = watcher.token.map_or(0, |(_, number)| number);
            let skipped = self.plant == Some(Plant::WatchSkips) && self.rng.below(50) == 0;
            if skipped || change.number <= known {
                continue;
            }
            if let Err(text) = watcher.apply(store, change, wall_ms) {
                wrong.get_or_insert(text);
            }
        }
        if let Some(text) = wrong {
            self.breaks("watches_are_gapless", format!("the watcher at node-{node}: {text}"));
        }
    }
}

impl crate::client::Clients {
    /// The disk under a watcher was replaced: its token means nothing any more.
    pub(crate) fn forget_watch(&mut self, node: usize) {
        for watcher in self.watchers.iter_mut().filter(|watcher| watcher.node == node) {
            watcher.token = None;
        }
    }
}
