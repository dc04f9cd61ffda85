//! The addresses that this node dials, for ever, with capped and jittered pauses: those of its
//! settings, and those that clients have added, which are kept in the store.

use crate::ctx::Ctx;
use crate::engine::{Notice, Output};
use crate::error::ErrorCode;
use crate::id::NodeId;
use crate::limits::{ADDRESS_BYTES_MAX, PEERS_MAX, STEADY_MS};
use crate::request::PeerStatus;
use crate::store::space::META;
use crate::time::Time;
use bytes::Bytes;
use std::collections::BTreeMap;

/// How long an attempt may take before it counts as lost, in milliseconds.
const ATTEMPT_MS_MAX: u64 = 60_000;

/// Key prefix in [`META`] of the addresses that were added.
const ADDED: u8 = b'p';

#[derive(Debug)]
struct Peer {
    /// A client added it: it is kept.
    added: bool,
    node: Option<NodeId>,
    pause_ms: u64,
    /// When it is dialled next; while an attempt is under way, when it counts as lost.
    due: Time,
    linked_at: Option<Time>,
    error: Option<String>,
}

/// The table of addresses.
#[derive(Debug, Default)]
pub(crate) struct Peers {
    peers: BTreeMap<String, Peer>,
}

impl Peers {
    pub(crate) fn is_empty(&self) -> bool {
        self.peers.is_empty()
    }

    /// Dials the addresses of the settings and those that were added in earlier runs.
    pub(crate) fn open(&mut self, ctx: &mut Ctx, settings: Vec<String>) {
        let mut added = Vec::new();
        ctx.scan(META, &[ADDED], &mut |key, _| {
            let address = key.strip_prefix(&[ADDED]);
            added.extend(address.map(|address| String::from_utf8_lossy(address).into_owned()));
            address.is_some()
        });
        let settings = settings.into_iter().map(|address| (address, false));
        for (address, added) in settings.chain(added.into_iter().map(|address| (address, true))) {
            if let Err(error) = self.dial(address.clone(), added, ctx.now.time) {
                ctx.notice(Notice::PeerRefused { address, error });
            }
        }
    }

    /// Adds an address, to be dialled at once and after every start.
    pub(crate) fn add(&mut self, ctx: &mut Ctx, address: String) -> Result<(), ErrorCode> {
        self.dial(address.clone(), true, ctx.now.time)?;
        ctx.batch.put(added_key(&address), Bytes::new());
        Ok(())
    }

    /// Dials an address no more; a link that stands stays. One of the settings is dialled again
    /// after the next start.
    pub(crate) fn remove(&mut self, ctx: &mut Ctx, address: &str) -> Result<(), ErrorCode> {
        let peer = self.peers.remove(address).ok_or(ErrorCode::NotFound)?;
        if peer.added {
            ctx.batch.delete(added_key(address));
        }
        Ok(())
    }

    fn dial(&mut self, address: String, added: bool, now: Time) -> Result<(), ErrorCode> {
        let known = ["http://", "ws://"];
        let usable = known
            .iter()
            .any(|scheme| address.strip_prefix(scheme).is_some_and(|host| !host.is_empty()));
        if !usable || address.len() > ADDRESS_BYTES_MAX {
            return Err(ErrorCode::PeerAddress);
        }
        if self.peers.len() >= PEERS_MAX && !self.peers.contains_key(&address) {
            return Err(ErrorCode::PeersMax);
        }
        let peer = Peer { added, node: None, pause_ms: 0, due: now, linked_at: None, error: None };
        self.peers.entry(address).or_insert(peer).added |= added;
        Ok(())
    }

    /// A dialled link is up.
    pub(crate) fn on_linked(&mut self, address: &str, node: NodeId, now: Time) {
        if let Some(peer) = self.peers.get_mut(address) {
            peer.node = Some(node);
            peer.linked_at = Some(now);
            peer.error = None;
        }
    }

    /// A link to `node` is gone and there is no other.
    pub(crate) fn on_unlinked(&mut self, ctx: &mut Ctx, node: NodeId) {
        for peer in self.peers.values_mut().filter(|peer| peer.node == Some(node)) {
            if peer.linked_at.is_some_and(|since| ctx.now.time - since >= STEADY_MS) {
                peer.pause_ms = 0;
            }
            peer.linked_at = None;
            peer.pause(ctx);
        }
    }

    /// An attempt came to nothing.
    pub(crate) fn on_failed(&mut self, ctx: &mut Ctx, address: String, why: String) {
        let Some(peer) = self.peers.get_mut(&address) else { return };
        let pause_ms = peer.pause(ctx);
        // The log tells of it once, not at every attempt.
        if peer.error.as_ref() != Some(&why) {
            peer.error = Some(why.clone());
            ctx.notice(Notice::DialFailed { address, why, pause_ms });
        }
    }

    /// Dials what is due. `linked` tells whether there is a link to a node.
    pub(crate) fn on_tick(&mut self, ctx: &mut Ctx, linked: impl Fn(NodeId) -> bool) {
        for (address, peer) in &mut self.peers {
            if peer.due > ctx.now.time {
                continue;
            }
            peer.due = ctx.now.time + ATTEMPT_MS_MAX;
            if !peer.node.is_some_and(&linked) {
                ctx.at_once.push(Output::Dial(address.clone()));
            }
        }
    }

    pub(crate) fn next_tick(&self) -> Option<Time> {
        self.peers.values().map(|peer| peer.due).min()
    }

    pub(crate) fn status(&self, linked: impl Fn(NodeId) -> bool) -> Vec<PeerStatus> {
        let status = |(address, peer): (&String, &Peer)| PeerStatus {
            address: address.clone(),
            node: peer.node,
            linked: peer.node.is_some_and(&linked),
            added: peer.added,
            error: peer.error.clone(),
        };
        self.peers.iter().map(status).collect()
    }
}

fn added_key(address: &str) -> Bytes {
    META.key(&[&[ADDED], address.as_bytes()].concat())
}

impl Peer {
    /// Doubles the pause, draws the next attempt from it (full jitter, at least a tenth), and
    /// returns what was drawn.
    fn pause(&mut self, ctx: &mut Ctx) -> u64 {
        let limits = ctx.limits;
        self.pause_ms = (2 * self.pause_ms).max(limits.redial_ms_min).min(limits.redial_ms_max);
        let drawn = self.pause_ms / 10 + ctx.rng.below(self.pause_ms - self.pause_ms / 10 + 1);
        self.due = ctx.now.time + drawn;
        drawn
    }
}
