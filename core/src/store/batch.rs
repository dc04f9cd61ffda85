//! The writes of one step.

use bytes::Bytes;
use std::collections::BTreeMap;

/// Writes that become durable together, in order: for a key that occurs twice the later counts.
#[derive(Clone, Debug, Default)]
pub struct Batch {
    writes: Vec<(Bytes, Option<Bytes>)>,
    bytes: usize,
    /// The first `indexed` writes by key. Built when a read asks: most steps read nothing.
    latest: BTreeMap<Bytes, Option<Bytes>>,
    indexed: usize,
}

impl Batch {
    /// Sets `key` to `value`.
    pub fn put(&mut self, key: impl Into<Bytes>, value: impl Into<Bytes>) {
        let (key, value) = (key.into(), value.into());
        self.bytes += key.len() + value.len();
        self.writes.push((key, Some(value)));
    }

    /// Removes `key`.
    pub fn delete(&mut self, key: impl Into<Bytes>) {
        let key = key.into();
        self.bytes += key.len();
        self.writes.push((key, None));
    }

    /// The writes in order; `None` removes the key.
    pub fn writes(&self) -> &[(Bytes, Option<Bytes>)] {
        &self.writes
    }

    /// Whether there is nothing to write.
    pub fn is_empty(&self) -> bool {
        self.writes.is_empty()
    }

    /// Bytes of keys and values.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// What the batch leaves at each key that it touches.
    pub fn latest(&mut self) -> &BTreeMap<Bytes, Option<Bytes>> {
        for (key, value) in &self.writes[self.indexed..] {
            self.latest.insert(key.clone(), value.clone());
        }
        self.indexed = self.writes.len();
        &self.latest
    }
}
