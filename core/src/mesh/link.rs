//! One live link to a neighbor.

use crate::engine::Output;
use crate::id::{LinkId, NodeId};
use crate::time::Time;
use crate::wire::frame::{Kind, Packer, Unpacker};

/// A link and what is being packed for it.
#[derive(Debug)]
pub(crate) struct Link {
    pub(crate) id: LinkId,
    pub(crate) node: NodeId,
    pub(crate) boot: u64,
    /// The address that was dialled, if this node dialled.
    pub(crate) dialled: Option<String>,
    /// The neighbor's wall clock minus this node's, in milliseconds.
    pub(crate) offset_ms: i64,
    pub(crate) last_heard: Time,
    /// When the ping that is under way was sent.
    pub(crate) pinged: Option<Time>,
    pub(crate) round_trip_ms: Option<u64>,
    /// Its send queue is full: what can be made up for later is not sent.
    pub(crate) behind: bool,
    pub(crate) unpacker: Unpacker,
    pub(crate) at_once: Packer,
    pub(crate) after_write: Packer,
}

impl Link {
    pub(crate) fn new(
        id: LinkId,
        (node, boot): (NodeId, u64),
        dialled: Option<String>,
        offset_ms: i64,
        now: Time,
    ) -> Link {
        Link {
            id,
            node,
            boot,
            dialled,
            offset_ms,
            last_heard: now,
            pinged: None,
            round_trip_ms: None,
            behind: false,
            unpacker: Unpacker::default(),
            at_once: Packer::new(Kind::FragmentAtOnce),
            after_write: Packer::new(Kind::FragmentAfterWrite),
        }
    }

    /// Hands over what was packed.
    pub(crate) fn flush(&mut self, at_once: &mut Vec<Output>, outputs: &mut Vec<Output>) -> u64 {
        let before = at_once.len() + outputs.len();
        let id = self.id;
        at_once.extend(self.at_once.take().into_iter().map(|frame| Output::Send(id, frame)));
        outputs.extend(self.after_write.take().into_iter().map(|frame| Output::Send(id, frame)));
        (at_once.len() + outputs.len() - before) as u64
    }
}

/// Which of two links between the same two nodes is kept: `true` for the new one. Both ends come
/// to the same answer, whichever link they hear of first.
pub(crate) fn prefer_new(own: NodeId, old: &Link, new: &Link) -> bool {
    if old.boot != new.boot {
        return new.boot > old.boot;
    }
    if old.dialled.is_some() == new.dialled.is_some() {
        return true; // the dialler dials again only when it knows that the old one is dead
    }
    let dialled_by_smaller = |link: &Link| (own < link.node) == link.dialled.is_some();
    dialled_by_smaller(new)
}
