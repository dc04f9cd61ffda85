//! One live link to a neighbor.

use crate::ctx::{Ctx, Marks};
use crate::engine::Output;
use crate::id::{LinkId, NodeId};
use crate::limits::UNICASTS_OVER_FULL_BYTES_MAX;
use crate::time::Time;
use crate::wire::frame::{Kind, Packer, Unpacker};

/// How often the offset of the neighbor's clock is measured, in milliseconds.
const MEASURE_MS: u64 = 10_000;

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
    /// When offset and round trip were measured last.
    pub(crate) measured: Time,
    /// When the ping that is under way was sent.
    pub(crate) pinged: Option<Time>,
    pub(crate) round_trip_ms: Option<u64>,
    /// Its send queue is full: what can be made up for later is not sent.
    pub(crate) behind: bool,
    /// Bytes of unicasts that were sent all the same.
    pub(crate) over_full: usize,
    /// Whether the operator was told that an earlier run of the neighbor goes on beside it.
    pub(crate) twin_told: bool,
    /// Whether the neighbor has told which records it has; it is answered once.
    pub(crate) digested: bool,
    /// Up to where the neighbor had everything spread when something of it was found to be missing
    /// here, and when that was.
    pub(crate) lacks: Option<(Marks, Time)>,
    /// Bytes of envelopes that this step has sent again; so many fit an answer.
    pub(crate) regrafted: usize,
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
            measured: now,
            pinged: None,
            round_trip_ms: None,
            behind: false,
            over_full: 0,
            twin_told: false,
            digested: false,
            lacks: None,
            regrafted: 0,
            unpacker: Unpacker::default(),
            at_once: Packer::new(Kind::FragmentAtOnce),
            after_write: Packer::new(Kind::FragmentAfterWrite),
        }
    }

    /// When the next ping is due: after silence, and now and then to see whether the clocks still
    /// agree; not before the last one had time to be answered.
    pub(crate) fn ping_due(&self, ping_ms: u64) -> Time {
        let due = (self.last_heard + ping_ms).min(self.measured + MEASURE_MS);
        self.pinged.map_or(due, |at| due.max(at + ping_ms))
    }

    /// Whether a unicast of so many bytes may be sent: while the queue is full only a few may.
    pub(crate) fn takes_unicast(&mut self, bytes: usize) -> bool {
        if self.behind {
            self.over_full += bytes;
        }
        self.over_full <= UNICASTS_OVER_FULL_BYTES_MAX
    }

    /// Hands over what was packed.
    pub(crate) fn flush(&mut self, ctx: &mut Ctx) {
        self.regrafted = 0;
        let lanes = [
            (self.at_once.take(), &mut *ctx.at_once),
            (self.after_write.take(), &mut *ctx.outputs),
        ];
        for (frames, outputs) in lanes {
            for frame in frames {
                ctx.stats.frames_sent += 1;
                ctx.stats.bytes_sent += frame.len() as u64;
                outputs.push(Output::Send(self.id, frame));
            }
        }
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

#[cfg(test)]
mod tests {
    use super::*;

    /// A link to `node` as one end sees it; `number` tells which link it is.
    fn link(number: u64, node: NodeId, boot: u64, dialled: bool) -> Link {
        let address = dialled.then(|| "http://there".to_owned());
        Link::new(LinkId(number), (node, boot), address, 0, Time(0))
    }

    #[test]
    fn both_ends_keep_the_same_of_two_links_whichever_they_hear_of_first() {
        let (small, large) = (NodeId([1; 32]), NodeId([2; 32]));
        // Link 1 is dialled by the smaller node, link 2 by the larger one.
        for (own, other) in [(small, large), (large, small)] {
            let ends = |number| link(number, other, 7, (number == 1) == (own == small));
            assert!(!prefer_new(own, &ends(1), &ends(2)), "{own:?}");
            assert!(prefer_new(own, &ends(2), &ends(1)), "{own:?}");
        }
    }

    #[test]
    fn a_link_of_a_later_run_is_kept_and_so_is_the_later_of_one_dialler() {
        let (own, other) = (NodeId([1; 32]), NodeId([2; 32]));
        for (old_dialled, new_dialled) in
            [(true, true), (true, false), (false, true), (false, false)]
        {
            let (old, new) = (link(1, other, 7, old_dialled), link(2, other, 8, new_dialled));
            assert!(prefer_new(own, &old, &new));
            assert!(!prefer_new(own, &new, &old), "the earlier run was heard of late");
        }
        for dialled in [true, false] {
            assert!(prefer_new(own, &link(1, other, 7, dialled), &link(2, other, 7, dialled)));
        }
    }

    #[test]
    fn a_full_link_takes_unicasts_up_to_the_limit_and_not_one_byte_more() {
        let node = NodeId([1; 32]);
        let mut link = Link::new(LinkId(1), (node, 1), None, 0, Time(0));
        assert!(link.takes_unicast(10 * UNICASTS_OVER_FULL_BYTES_MAX), "it is not full");
        link.behind = true;
        assert!(link.takes_unicast(UNICASTS_OVER_FULL_BYTES_MAX));
        assert!(!link.takes_unicast(1));
    }
}
