//! A whole Folkmoot mesh in one thread.
//!
//! Reading order: [`run`] (one seed from beginning to end), [`swarm`] (what the seed decides),
//! [`world`] (what happens in order), [`host`] (one machine and the loop of its node), beneath
//! them [`network`], [`disk`] and [`clock`]; [`client`], [`watcher`] and [`oracle`] are the users;
//! [`invariants`] is what must hold, [`plant`] the bugs that show that it is looked at.
//!
//! Time is virtual, all chance comes from the seed, and only core is run: no socket, no file, no
//! thread. The same seed gives the same run, event by event.

pub mod client;
pub mod clock;
pub mod disk;
pub mod faults;
pub mod host;
pub mod identity;
pub mod invariants;
pub mod met;
pub mod network;
pub mod notices;
pub mod oracle;
pub mod people;
mod plan;
pub mod plant;
pub mod queue;
pub mod run;
pub mod swarm;
pub mod trace;
pub mod watcher;
pub mod world;
