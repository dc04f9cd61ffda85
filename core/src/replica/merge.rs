//! Which of two entries of one key stands: the larger rank, on every node alike.
//!
//! Ranks are totally ordered and do not depend on who holds what, so taking the larger one is a
//! join. Entries of the strategy *last* rank by their version. An entry of the strategy *first*
//! ranks just above the entry that it knowingly followed (a tombstone, or nothing), and among
//! such the earlier version is the larger; so any later *last* write or delete beats it.

use crate::data::Strategy;
use crate::replica::Version;

/// The place of an entry in the order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Rank {
    base: u64,
    is_first: bool,
    stamp: u64,
    node: [u8; 32],
    check: u32,
    flags: u8,
}

impl Rank {
    /// The rank of an entry; `check` is a hash of its content, `flags` are those of its slot: they
    /// settle a version that was used twice.
    pub(crate) fn new(version: Version, strategy: Strategy, check: u32, flags: u8) -> Rank {
        let (stamp, node) = (version.stamp.0, version.node.0);
        match strategy {
            Strategy::Last | Strategy::Field => {
                Rank { base: stamp, is_first: false, stamp, node, check, flags }
            }
            Strategy::First { after } => Rank {
                base: after.0,
                is_first: true,
                stamp: !stamp,
                node: node.map(|byte| !byte),
                check,
                flags,
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::NodeId;
    use crate::time::Stamp;

    fn rank(stamp: u64, node: u8, strategy: Strategy) -> Rank {
        Rank::new(Version { stamp: Stamp(stamp), node: NodeId([node; 32]) }, strategy, 0, 0)
    }
    const NEW: Strategy = Strategy::First { after: Stamp(0) };

    #[test]
    fn the_last_write_wins_and_the_node_breaks_the_tie() {
        assert!(rank(2, 1, Strategy::Last) > rank(1, 9, Strategy::Last));
        assert!(rank(2, 2, Strategy::Last) > rank(2, 1, Strategy::Last));
    }

    #[test]
    fn the_first_write_wins_among_first_writes() {
        assert!(rank(1, 9, NEW) > rank(2, 1, NEW));
        assert!(rank(1, 1, NEW) > rank(1, 2, NEW));
    }

    #[test]
    fn a_delete_beats_a_first_write_and_a_first_write_after_it_stands() {
        let (deleted, again) = (rank(5, 1, Strategy::Last), Strategy::First { after: Stamp(5) });
        assert!(deleted > rank(1, 1, NEW) && deleted > rank(9, 1, NEW));
        assert!(rank(6, 1, again) > deleted && rank(6, 1, again) > rank(7, 1, again));
        assert!(rank(7, 1, Strategy::Last) > rank(6, 1, again));
    }
}
