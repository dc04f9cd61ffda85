//! Versions: when and where a value was written. They order all writes of one key.

use crate::id::NodeId;
use crate::time::Stamp;

/// A stamp and the node that made it; ordered by stamp, then node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Version {
    /// When, on the writing node's hybrid logical clock.
    pub stamp: Stamp,
    /// Where.
    pub node: NodeId,
}
