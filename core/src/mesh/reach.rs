//! What this node says of itself, and who can be reached, as the records of all have it.

use super::record::Record;
use super::{Delivery, Mesh};
use crate::ctx::Ctx;
use crate::id::{LinkId, NodeId};
use crate::time::Time;
use crate::wire::frame::Kind;
use bytes::Bytes;
use std::collections::BTreeMap;

/// What waited for a node that was out of reach for so long is not said any more, in milliseconds:
/// nobody counts on it then.
const SAID_LATE_MS: u64 = 10_000;

impl Mesh {
    /// Makes this node's record anew and passes it on.
    pub(super) fn make_record(&mut self, ctx: &mut Ctx) {
        self.record_due = None;
        self.record_at = ctx.now.time;
        self.record_sequence += 1;
        let record = Record::new(
            &*self.identity,
            self.network,
            self.boot,
            self.record_sequence,
            &self.addresses,
            self.neighbors.keys().copied().collect(),
        );
        let bytes = record.encode();
        self.members.accept(record, self.own, &self.routes);
        self.pass_record_on(&bytes, None);
    }

    /// Passes a record on to all neighbors but the one that it came from.
    pub(super) fn pass_record_on(&mut self, bytes: &Bytes, from: Option<LinkId>) {
        for link in self.links.values_mut().filter(|link| Some(link.id) != from) {
            link.at_once.push(Kind::Record, &[bytes]);
        }
    }

    /// Finds the ways anew, if records or neighbors have changed.
    pub(super) fn update_routes(&mut self, now: Time) {
        if !std::mem::take(&mut self.graph_changed) {
            return;
        }
        let is_known = |node| node == self.own || self.members.boot(node).is_some();
        self.spread.retain(is_known);
        self.channels.retain(|node| self.members.is_removed(node), is_known);
        self.lost_at.retain(|node, _| is_known(*node));
        let claims = self.members.records().map(|record| (record.node, &record.links[..]));
        let claims = claims.filter(|(node, _)| *node != self.own);
        self.routes.rebuild(self.own, self.neighbors.keys().copied(), claims);
        self.channels.on_reroute(now);
        self.tell_reach(now);
    }

    /// Tells services which nodes have come within reach, or have gone, or have begun a new run.
    fn tell_reach(&mut self, now: Time) {
        let can_reach = |record: &Record| self.routes.way(record.node).is_some();
        let reached: BTreeMap<NodeId, u64> = self
            .members
            .records()
            .filter(|record| can_reach(record))
            .map(|record| (record.node, record.boot))
            .collect();
        let before = std::mem::replace(&mut self.reached, reached);
        for node in before.keys().filter(|node| !self.reached.contains_key(node)) {
            self.lost_at.insert(*node, now);
            self.deliveries.push(Delivery::Reach(*node, None));
        }
        for (node, boot) in
            self.reached.iter().filter(|(node, boot)| before.get(node) != Some(boot))
        {
            let lost_at = self.lost_at.remove(node);
            if lost_at.is_some_and(|at| now - at >= SAID_LATE_MS) {
                self.channels.lose(*node);
            }
            self.deliveries.push(Delivery::Reach(*node, Some(*boot)));
        }
    }
}
