//! What must hold, one property a file.
//!
//! Some are watched while everything goes wrong; all are checked in the second part of a run,
//! when the faults have ended, in the order of [`all`]: first that the world comes to rest, then
//! what it has come to, then what it can do.

pub mod acknowledged_writes_survive;
pub mod data_converges;
pub mod deletes_stay_deleted;
pub mod every_node_reaches;
pub mod messages_arrive;
pub mod no_clock_poisons;
pub mod presence_is_true;
pub mod queues_stay_bounded;
pub mod spread_is_cheap;
mod survey;
pub mod versions_are_unique;
pub mod watches_are_gapless;

pub use survey::Survey;

use crate::world::World;

/// Whether an invariant holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It holds.
    Holds,
    /// It does not hold yet, and this is missing.
    NotYet(String),
    /// It is violated, and no waiting helps.
    Broken(String),
}

/// One property of a world whose faults have ended.
pub trait Invariant {
    /// Its name: that of its file.
    fn name(&self) -> &'static str;

    /// How long it may take to hold, in milliseconds of world time.
    fn patience_ms(&self, world: &World) -> u64;

    /// Whether it holds now. It is asked again and again until it does.
    fn check(&mut self, world: &mut World) -> Verdict;
}

/// Every invariant, in the order in which they are checked.
pub fn all() -> Vec<Box<dyn Invariant>> {
    vec![
        Box::new(data_converges::DataConverges::default()),
        Box::new(acknowledged_writes_survive::AcknowledgedWritesSurvive),
        Box::new(deletes_stay_deleted::DeletesStayDeleted),
        Box::new(watches_are_gapless::WatchesAreGapless),
        Box::new(every_node_reaches::EveryNodeReaches::default()),
        Box::new(presence_is_true::PresenceIsTrue::default()),
        Box::new(messages_arrive::MessagesArrive),
        Box::new(no_clock_poisons::NoClockPoisons::default()),
        Box::new(spread_is_cheap::SpreadIsCheap::default()),
        Box::new(queues_stay_bounded::QueuesStayBounded),
        Box::new(versions_are_unique::VersionsAreUnique),
    ]
}

/// The name of an invariant, if there is one of that name.
pub fn named(name: &str) -> Option<&'static str> {
    all().iter().map(|invariant| invariant.name()).find(|known| *known == name)
}
