//! The other nodes as chat sees them: how far their presence is known here, and what is gathered
//! for them.

use super::directory::NodeIndex;
use super::wire::{Place, Posts, Runs};
use crate::id::NodeId;
use crate::limits::NODES_MAX;
use crate::time::Time;
use bytes::Bytes;
use std::collections::BTreeMap;

/// One other node.
#[derive(Debug)]
pub(super) struct Node {
    pub(super) id: NodeId,
    /// Its presence is known up to here. A run begins with nobody, at sequence 0.
    pub(super) place: Place,
    pub(super) reachable: bool,
    /// Deltas that came before the one that is next.
    pub(super) early: BTreeMap<u64, Bytes>,
    /// The pages of its list that have come so far, and the list's place.
    pub(super) pages: Option<(Place, Vec<Bytes>)>,
    /// When it is to be asked for what is missing.
    pub(super) ask_at: Option<Time>,
    /// Messages for it.
    pub(super) posts: Posts,
    /// What became of its messages.
    pub(super) runs: Runs,
}

/// All other nodes that were ever reached; this node has index 0 and is not among them.
#[derive(Debug, Default)]
pub(super) struct Nodes {
    nodes: Vec<Node>,
    index: BTreeMap<NodeId, NodeIndex>,
}

impl Nodes {
    pub(super) fn index(&self, id: NodeId) -> Option<NodeIndex> {
        self.index.get(&id).copied()
    }

    pub(super) fn get(&self, index: NodeIndex) -> Option<&Node> {
        self.nodes.get(usize::from(index).checked_sub(1)?)
    }

    pub(super) fn get_mut(&mut self, index: NodeIndex) -> Option<&mut Node> {
        self.nodes.get_mut(usize::from(index).checked_sub(1)?)
    }

    /// Whether what is at a node counts.
    pub(super) fn is_reachable(&self, index: NodeIndex) -> bool {
        index == 0 || self.get(index).is_some_and(|node| node.reachable)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (NodeIndex, &Node)> {
        (1..).zip(&self.nodes)
    }

    pub(super) fn iter_mut(&mut self) -> impl Iterator<Item = (NodeIndex, &mut Node)> {
        (1..).zip(&mut self.nodes)
    }

    /// The index of a node that is new here. If there are too many, one that cannot be reached
    /// makes room; it must be emptied by whoever asks: its index is answered with `true`.
    pub(super) fn add(&mut self, id: NodeId) -> Option<(NodeIndex, bool)> {
        let node = Node {
            id,
            place: Place::default(),
            reachable: false,
            early: BTreeMap::new(),
            pages: None,
            ask_at: None,
            posts: Posts::default(),
            runs: Runs::default(),
        };
        if self.nodes.len() < NODES_MAX {
            self.nodes.push(node);
            let index = NodeIndex::try_from(self.nodes.len()).expect("at most NODES_MAX");
            self.index.insert(id, index);
            return Some((index, false));
        }
        let (index, old) = (1..).zip(&mut self.nodes).find(|(_, old)| !old.reachable)?;
        self.index.remove(&old.id);
        *old = node;
        self.index.insert(id, index);
        Some((index, true))
    }
}
