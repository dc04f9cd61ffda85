//! The records of all known nodes, who was removed, and the routes that follow.

use super::record::Record;
use super::routes::Routes;
use crate::id::NodeId;
use crate::limits::NODES_MAX;
use crate::wire::codec::{Decoded, Reader, put_varint};
use bytes::{BufMut, Bytes, BytesMut};
use std::collections::{BTreeMap, BTreeSet};

/// What is known of the network.
#[derive(Debug, Default)]
pub(crate) struct Members {
    records: BTreeMap<NodeId, Record>,
    removed: BTreeSet<NodeId>,
}

impl Members {
    /// Takes a record if it is news; a node out of reach other than `own` makes room if there are
    /// too many.
    pub(crate) fn accept(&mut self, record: Record, own: NodeId, routes: &Routes) -> bool {
        if !self.is_news(&record) {
            return false;
        }
        if self.records.len() >= NODES_MAX && !self.records.contains_key(&record.node) {
            let out_of_reach = |node: &&NodeId| **node != own && routes.way(**node).is_none();
            match self.records.keys().find(out_of_reach).copied() {
                Some(node) => self.records.remove(&node),
                None => return false,
            };
        }
        self.records.insert(record.node, record);
        true
    }

    /// Whether a record is newer than what is known, and its node not removed.
    pub(crate) fn is_news(&self, record: &Record) -> bool {
        let known = self.records.get(&record.node);
        !self.removed.contains(&record.node) && known.is_none_or(|k| k.order() < record.order())
    }

    /// Removes a node for good.
    pub(crate) fn remove(&mut self, node: NodeId) {
        self.removed.insert(node);
        self.records.remove(&node);
    }

    pub(crate) fn is_removed(&self, node: NodeId) -> bool {
        self.removed.contains(&node)
    }

    /// The removed nodes.
    pub(crate) fn removed(&self) -> impl Iterator<Item = NodeId> {
        self.removed.iter().copied()
    }

    pub(crate) fn record(&self, node: NodeId) -> Option<&Record> {
        self.records.get(&node)
    }

    /// All records, in id order.
    pub(crate) fn records(&self) -> impl Iterator<Item = &Record> {
        self.records.values()
    }

    /// The current run of a node.
    pub(crate) fn boot(&self, node: NodeId) -> Option<u64> {
        self.records.get(&node).map(|record| record.boot)
    }

    /// Which records are here, for a neighbor to compare.
    pub(crate) fn digest(&self) -> Bytes {
        let mut out = BytesMut::new();
        put_varint(&mut out, self.records.len() as u64);
        for record in self.records.values() {
            out.put_slice(&record.node.0);
            out.put_u64(record.boot);
            put_varint(&mut out, record.sequence);
        }
        out.freeze()
    }

    /// The records that the sender of `digest` does not have.
    pub(crate) fn missing_in(&self, digest: Bytes) -> Decoded<Vec<Bytes>> {
        let mut reader = Reader::new(digest);
        let mut theirs = BTreeMap::new();
        for _ in 0..reader.count(NODES_MAX, 41)? {
            let node = NodeId(reader.array()?);
            theirs.insert(node, (reader.u64()?, reader.varint()?));
        }
        let missing = |r: &&Record| theirs.get(&r.node).is_none_or(|order| *order < r.order());
        Ok(self.records.values().filter(missing).map(Record::encode).collect())
    }
}
