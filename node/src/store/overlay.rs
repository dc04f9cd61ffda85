//! What the engine reads: the database, and over it the batches that are not yet on disk.
//!
//! Puts need no read, so a batch is kept as it was handed over and sorted only when somebody
//! reads while it is pending.

use super::{Database, store_error};
use bytes::Bytes;
use folkmoot_core::store::{Batch, Store, StoreError};
use std::cell::OnceCell;
use std::collections::{BTreeMap, VecDeque};
use std::ops::Bound;
use std::sync::Arc;

type Sorted = BTreeMap<Bytes, Option<Bytes>>;

/// A store that shows pending batches.
pub(crate) struct Overlay {
    database: Database,
    pending: VecDeque<Pending>,
}

struct Pending {
    ticket: u64,
    batch: Arc<Batch>,
    sorted: OnceCell<Sorted>,
}

impl Pending {
    fn sorted(&self) -> &Sorted {
        self.sorted.get_or_init(|| {
            // The later of two writes of one key counts.
            let mut sorted = Sorted::new();
            sorted.extend(self.batch.writes().iter().cloned());
            sorted
        })
    }
}

impl Overlay {
    /// Shows `database` as it is.
    pub(crate) fn new(database: Database) -> Overlay {
        Overlay { database, pending: VecDeque::new() }
    }

    /// Shows `batch` from now on.
    pub(crate) fn push(&mut self, ticket: u64, batch: Arc<Batch>) {
        self.pending.push_back(Pending { ticket, batch, sorted: OnceCell::new() });
    }

    /// Forgets the batches up to `ticket`: the database has them.
    pub(crate) fn trim(&mut self, ticket: u64) {
        while self.pending.front().is_some_and(|pending| pending.ticket <= ticket) {
            self.pending.pop_front();
        }
    }
}

impl Store for Overlay {
    fn get(&self, key: &[u8]) -> Result<Option<Bytes>, StoreError> {
        for pending in self.pending.iter().rev() {
            if let Some(value) = pending.sorted().get(key) {
                return Ok(value.clone());
            }
        }
        self.database.get(None, key)
    }

    fn scan(
        &self,
        from: &[u8],
        to: &[u8],
        visit: &mut dyn FnMut(&[u8], &[u8]) -> bool,
    ) -> Result<(), StoreError> {
        if from >= to {
            return Ok(());
        }
        let bounds = (Bound::Included(from), Bound::Excluded(to));
        let mut over = Sorted::new();
        for pending in &self.pending {
            let range = pending.sorted().range::<[u8], _>(bounds);
            over.extend(range.map(|(key, value)| (key.clone(), value.clone())));
        }
        let snapshot = self.database.snapshot();
        if over.is_empty() {
            return self.database.range(&snapshot, from, to).visit_ahead(visit);
        }
        let mut over = over.into_iter().peekable();
        for pair in self.database.range(&snapshot, from, to) {
            let (key, value) = pair.map_err(store_error)?;
            while let Some((over_key, over_value)) = over.next_if(|(over, _)| over[..] < key[..]) {
                if over_value.is_some_and(|value| !visit(&over_key, &value)) {
                    return Ok(());
                }
            }
            let more = match over.next_if(|(over, _)| over[..] == key[..]) {
                Some((_, Some(value))) => visit(&key, &value),
                Some((_, None)) => true,
                None => visit(&key, &value),
            };
            if !more {
                return Ok(());
            }
        }
        for (key, value) in over {
            if value.is_some_and(|value| !visit(&key, &value)) {
                return Ok(());
            }
        }
        Ok(())
    }
}
