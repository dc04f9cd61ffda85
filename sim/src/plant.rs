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
    /// A delete leaves no tombstone on the disk.
    NoTombstones,
    /// Disks lose the bound of the clock.
    ForgottenBound,
    /// Every run of a node has the same boot counter.
    SameBoot,
    /// Stamps from the future are believed.
    NoDriftCheck,
    /// A silent link is never given up.
    NeverGivesUp,
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

/// Every planted bug, with the invariants that find it: each of them alone.
pub const PLANTS: &[(Plant, &[&str])] = &[
    (Plant::EarlyAck, &["acknowledged_writes_survive", "watches_are_gapless"]),
    (Plant::LyingDisk, &["acknowledged_writes_survive"]),
    (Plant::LostWrite, &["data_converges"]),
    (Plant::NoTombstones, &["deletes_stay_deleted"]),
    (Plant::ForgottenBound, &["versions_are_unique"]),
    (Plant::SameBoot, &["every_node_reaches", "spread_is_cheap"]),
    (Plant::NoDriftCheck, &["no_clock_poisons"]),
    (Plant::NeverGivesUp, &["every_node_reaches", "data_converges"]),
    (Plant::WatchSkips, &["watches_are_gapless"]),
    (Plant::MumAboutFull, &["queues_stay_bounded"]),
    (Plant::GhostSessions, &["presence_is_true"]),
    (Plant::EarlyReceipt, &["messages_arrive"]),
    (Plant::ForgottenRepeats, &["messages_arrive"]),
];

impl Plant {
    /// Reads a plant's name.
    pub fn from_name(name: &str) -> Option<Plant> {
        PLANTS.iter().map(|(plant, _)| *plant).find(|plant| plant.to_string() == name)
    }
}

impl fmt::Display for Plant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}
