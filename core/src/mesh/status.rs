//! The mesh as it is shown.

use super::Mesh;
use crate::request::{LinkStatus, MeshStatus, NodeStatus};

impl Mesh {
    /// Fills in what the mesh knows.
    pub(crate) fn fill_status(&self, status: &mut MeshStatus) {
        let own_links: Vec<_> = self.neighbors.keys().copied().collect();
        status.nodes = vec![NodeStatus {
            node: self.own,
            hops: Some(0),
            next_hop: None,
            boot: self.boot,
            addresses: self.addresses.clone(),
            links: own_links,
            users: 0,
            removed: false,
        }];
        for record in self.members.records().filter(|record| record.node != self.own) {
            let way = self.routes.way(record.node);
            status.nodes.push(NodeStatus {
                node: record.node,
                hops: way.map(|(hops, _)| hops),
                next_hop: way.map(|(_, hop)| hop),
                boot: record.boot,
                addresses: record.addresses.clone(),
                links: record.links.clone(),
                users: 0,
                removed: false,
            });
        }
        status.nodes.extend(self.members.removed().map(|node| NodeStatus {
            node,
            hops: None,
            next_hop: None,
            boot: 0,
            addresses: Vec::new(),
            links: Vec::new(),
            users: 0,
            removed: true,
        }));
        status.nodes.sort_by_key(|node| node.node);
        let link = |link: &super::Link| LinkStatus {
            node: link.node,
            dialled: link.dialled.is_some(),
            behind: link.behind,
            in_sync: false,
            round_trip_ms: link.round_trip_ms,
        };
        status.links = self.links.values().map(link).collect();
        status.peers = self.peers.status(|node| self.neighbors.contains_key(&node));
        status.clock_offset_ms = self.clock_offset_ms().unwrap_or(0);
    }
}
