//! What everybody but the engine reads: the newest state that is on disk.

use super::cache::Cache;
use super::{Database, store_error};
use bytes::Bytes;
use folkmoot_core::data::read::{self, Found};
use folkmoot_core::id::{Path, StoreId};
use folkmoot_core::store::space::ENTRIES;
use folkmoot_core::store::{Batch, Store, StoreError};
use std::sync::{Arc, OnceLock, PoisonError, RwLock};

/// A durable state of the store, whole and unchanging; cheap to clone.
///
/// It keeps the disk space of what it shows: do not hold it for longer than a request takes.
#[derive(Clone)]
pub struct Snapshot(Option<Arc<View>>);

struct View {
    generation: u64,
    database: Database,
    snapshot: fjall::Snapshot,
    cache: Arc<Cache>,
    has_fields: OnceLock<bool>,
    on_damage: OnDamage,
}

/// What is done when the database cannot be read.
pub(crate) type OnDamage = fn(&StoreError);

impl Snapshot {
    /// The number of the newest change of data in it.
    pub fn number(&self) -> Result<u64, StoreError> {
        read::number(self)
    }

    /// The store to which its numbers belong.
    pub fn store_id(&self) -> Result<StoreId, StoreError> {
        read::store_id(self)?.ok_or_else(|| store_error("it has no id"))
    }

    /// The value at `path`, or `None` where there is none at `wall_ms`.
    pub fn find(&self, path: &Path, wall_ms: u64) -> Result<Option<Found>, StoreError> {
        read::get_known(self, path, wall_ms, self.has_fields()?)
    }

    /// Whether any path has fields of a merged object.
    pub fn has_fields(&self) -> Result<bool, StoreError> {
        let known = &self.view()?.has_fields;
        if let Some(has_fields) = known.get() {
            return Ok(*has_fields);
        }
        let has_fields = read::has_fields(self)?;
        Ok(*known.get_or_init(|| has_fields))
    }

    fn view(&self) -> Result<&View, StoreError> {
        self.0.as_deref().ok_or_else(|| store_error("the node is closed"))
    }
}

impl Store for Snapshot {
    fn get(&self, key: &[u8]) -> Result<Option<Bytes>, StoreError> {
        let view = self.view()?;
        let is_entry = key.first() == Some(&ENTRIES.0);
        if is_entry && let Some(value) = view.cache.get(key, view.generation) {
            return Ok(Some(value));
        }
        let value = view.database.get(Some(&view.snapshot), key).inspect_err(view.on_damage)?;
        if is_entry && let Some(value) = &value {
            view.cache.keep(key, value, view.generation);
        }
        Ok(value)
    }

    fn scan(
        &self,
        from: &[u8],
        to: &[u8],
        visit: &mut dyn FnMut(&[u8], &[u8]) -> bool,
    ) -> Result<(), StoreError> {
        let view = self.view()?;
        for pair in view.database.range(&view.snapshot, from, to) {
            let (key, value) = pair.inspect_err(view.on_damage)?;
            if !visit(&key, &value) {
                break;
            }
        }
        Ok(())
    }
}

/// Hands out the newest snapshot.
pub(crate) struct Views {
    newest: RwLock<Option<Arc<View>>>,
}

impl Views {
    /// Views of `database` as it is. Whoever reads what is damaged is told, after `on_damage`.
    pub(crate) fn new(database: &Database, on_damage: OnDamage) -> Views {
        let (cache, has_fields) = (Arc::new(Cache::new()), OnceLock::new());
        let (database, snapshot) = (database.clone(), database.snapshot());
        let view = View { generation: 0, database, snapshot, cache, has_fields, on_damage };
        Views { newest: RwLock::new(Some(Arc::new(view))) }
    }

    /// Snapshots that are asked for from now on show `snapshot`, which is the last one and
    /// `batches`. One thread calls it.
    pub(crate) fn publish(&self, batches: &[Arc<Batch>], snapshot: fjall::Snapshot) {
        let Some(before) = self.snapshot().0 else { return };
        let generation = before.generation + 1;
        let (database, cache) = (before.database.clone(), before.cache.clone());
        cache.commit(batches);
        let has_fields = OnceLock::new();
        let on_damage = before.on_damage;
        let shown = cache.clone();
        let view = View { generation, database, snapshot, cache, has_fields, on_damage };
        *self.newest.write().unwrap_or_else(PoisonError::into_inner) = Some(Arc::new(view));
        shown.show(generation);
    }

    /// The newest durable state.
    pub(crate) fn snapshot(&self) -> Snapshot {
        Snapshot(self.newest.read().unwrap_or_else(PoisonError::into_inner).clone())
    }

    /// From now on snapshots refuse to be read, so that the database can be closed.
    pub(crate) fn close(&self) {
        *self.newest.write().unwrap_or_else(PoisonError::into_inner) = None;
    }
}
