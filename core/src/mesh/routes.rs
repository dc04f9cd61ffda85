//! Who can be reached, by which neighbor, and along which tree a node's messages spread.
//!
//! Link state: every node computes the same shortest-path trees from the same records. Of
//! several parents at the same distance the smallest id is taken, so all nodes agree.

use crate::id::NodeId;
use std::collections::{BTreeMap, BTreeSet, VecDeque};

/// The graph as this node knows it, and what follows from it.
#[derive(Debug, Default)]
pub(crate) struct Routes {
    /// Links that both ends confirm; for this node, its live links.
    graph: BTreeMap<NodeId, BTreeSet<NodeId>>,
    own: Option<NodeId>,
    /// Per reachable node: distance and next hop.
    ways: BTreeMap<NodeId, (u32, NodeId)>,
    /// Per origin: the neighbors to pass its messages on to. Computed when first asked for.
    children: BTreeMap<NodeId, Vec<NodeId>>,
}

impl Routes {
    /// Computes everything anew. `claims` holds, per node, the neighbors that it claims;
    /// `neighbors` are the live links of `own`.
    pub(crate) fn rebuild<'a>(
        &mut self,
        own: NodeId,
        neighbors: impl Iterator<Item = NodeId>,
        claims: impl Iterator<Item = (NodeId, &'a [NodeId])>,
    ) {
        let mut claimed: BTreeMap<NodeId, BTreeSet<NodeId>> =
            claims.map(|(node, links)| (node, links.iter().copied().collect())).collect();
        let live: BTreeSet<NodeId> = neighbors.collect();
        // A neighbor's claim of a link to this node counts only while the link is live.
        for neighbor in &live {
            claimed.entry(*neighbor).or_default().insert(own);
        }
        claimed.insert(own, live);
        self.graph = BTreeMap::new();
        for (node, links) in &claimed {
            let confirmed = |other: &&NodeId| {
                *other != node && claimed.get(other).is_some_and(|links| links.contains(node))
            };
            self.graph.insert(*node, links.iter().filter(confirmed).copied().collect());
        }
        self.own = Some(own);
        self.children = BTreeMap::new();
        self.ways = BTreeMap::new();
        let parents = self.tree(own);
        for (node, (distance, _)) in &parents {
            let mut hop = *node;
            while let Some((_, parent)) = parents.get(&hop)
                && *parent != own
            {
                hop = *parent;
            }
            self.ways.insert(*node, (*distance, hop));
        }
        self.ways.remove(&own);
    }

    /// Shortest paths from `root`: per node its distance and its parent.
    fn tree(&self, root: NodeId) -> BTreeMap<NodeId, (u32, NodeId)> {
        let mut tree: BTreeMap<NodeId, (u32, NodeId)> = BTreeMap::from([(root, (0, root))]);
        let mut queue = VecDeque::from([root]);
        while let Some(node) = queue.pop_front() {
            let distance = tree[&node].0 + 1;
            for next in self.graph.get(&node).into_iter().flatten() {
                match tree.get_mut(next) {
                    None => {
                        tree.insert(*next, (distance, node));
                        queue.push_back(*next);
                    }
                    Some((at, parent)) if *at == distance && node < *parent => *parent = node,
                    Some(_) => {}
                }
            }
        }
        tree
    }

    /// Distance and next hop to `node`; `None` for this node and for those out of reach.
    pub(crate) fn way(&self, node: NodeId) -> Option<(u32, NodeId)> {
        self.ways.get(&node).copied()
    }

    /// The neighbors that get the messages of `origin` from this node.
    pub(crate) fn children(&mut self, origin: NodeId) -> &[NodeId] {
        let Some(own) = self.own else { return &[] };
        if !self.children.contains_key(&origin) {
            let tree = self.tree(origin);
            let is_child =
                |node: &&NodeId| tree.get(node).is_some_and(|(_, parent)| *parent == own);
            let children =
                self.graph.get(&own).into_iter().flatten().filter(is_child).copied().collect();
            self.children.insert(origin, children);
        }
        &self.children[&origin]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(n: u8) -> NodeId {
        NodeId([n; 32])
    }

    fn routes(own: u8, links: &[(u8, u8)]) -> Routes {
        let mut claims: BTreeMap<NodeId, Vec<NodeId>> = BTreeMap::new();
        for (a, b) in links {
            claims.entry(node(*a)).or_default().push(node(*b));
            claims.entry(node(*b)).or_default().push(node(*a));
        }
        let neighbors = claims.get(&node(own)).cloned().unwrap_or_default();
        let mut routes = Routes::default();
        let claims = claims.iter().map(|(node, links)| (*node, &links[..]));
        routes.rebuild(node(own), neighbors.into_iter(), claims);
        routes
    }

    #[test]
    fn a_chain_is_walked_by_the_next_hop() {
        let routes = routes(1, &[(1, 2), (2, 3), (3, 4)]);
        assert_eq!(routes.way(node(4)), Some((3, node(2))));
        assert_eq!(routes.way(node(1)), None);
        assert_eq!(routes.way(node(9)), None);
    }

    #[test]
    fn every_node_has_one_parent_in_the_tree_of_every_origin() {
        let ring = [(1, 2), (2, 3), (3, 4), (4, 5), (5, 6), (6, 1), (1, 4)];
        for origin in 1..=6 {
            let mut copies = BTreeMap::new();
            for own in 1..=6 {
                for child in routes(own, &ring).children(node(origin)) {
                    *copies.entry(*child).or_insert(0) += 1;
                }
            }
            let expected = (1..=6).filter(|n| *n != origin).map(|n| (node(n), 1)).collect();
            assert_eq!(copies, expected, "origin {origin}");
        }
    }

    #[test]
    fn a_link_that_only_one_end_claims_does_not_count() {
        let mut routes = Routes::default();
        let (claim, none) = ([node(3)], []);
        let claims = [(node(2), &claim[..]), (node(3), &none[..])];
        routes.rebuild(node(1), [node(2)].into_iter(), claims.into_iter());
        assert_eq!(routes.way(node(2)), Some((1, node(2))));
        assert_eq!(routes.way(node(3)), None);
    }
}
