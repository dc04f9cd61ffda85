//! Bugs that are planted to show that an invariant finds them.

use std::fmt;

/// A bug, planted in the world or in the engines that live there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Plant {
    /// Outputs leave before their batch is durable.
    EarlyAck,
    /// Disks confirm syncs that a crash undoes.
    LyingDisk,
    /// Disks lose one write of an entry in a hundred.
    LostWrite,
    /// Every run of a node has the same boot counter.
    SameBoot,
    /// Stamps from the future are believed.
    NoDriftCheck,
    /// Tombstones are collected at once, and by nobody's leave.
    EarlyCollection,
    /// A watcher is not told of one change in fifty.
    WatchSkips,
    /// Nobody hears that a send queue is full.
    MumAboutFull,
    /// Nodes are not told of connections that broke off.
    GhostSessions,
    /// Clients acknowledge one message in five without having taken it in.
    EarlyReceipt,
    /// Nodes forget at once which messages have been there.
    ForgottenRepeats,
}

/// Every planted bug.
pub const PLANTS: &[Plant] = &[
    Plant::EarlyAck,
    Plant::LyingDisk,
    Plant::LostWrite,
    Plant::SameBoot,
    Plant::NoDriftCheck,
    Plant::EarlyCollection,
    Plant::WatchSkips,
    Plant::MumAboutFull,
    Plant::GhostSessions,
    Plant::EarlyReceipt,
    Plant::ForgottenRepeats,
];

impl Plant {
    /// Reads a plant's name.
    pub fn from_name(name: &str) -> Option<Plant> {
        PLANTS.iter().copied().find(|plant| plant.to_string() == name)
    }
}

impl fmt::Display for Plant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}
