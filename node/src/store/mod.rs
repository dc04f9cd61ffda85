//! fjall behind core's [`Store`], with one writer.
//!
//! Promise: a batch is there whole or not at all; what depends on a batch happens after the batch
//! is on disk ([`writer`], [`sync`]); a snapshot shows what is on disk and nothing else ([`view`]); the
//! engine sees what it has written before it is on disk ([`overlay`]). Damage is found, by fjall's
//! checksums or by ours ([`check`]), and the node stops rather than serve it.
//! Keys: `docs/storage.md`. Limits: beside what they bound.

mod ahead;
mod cache;
pub(crate) mod check;
mod database;
pub(crate) mod directory;
mod journal;
mod mark;
mod overlay;
mod sync;
mod view;
pub(crate) mod writer;

pub(crate) use database::Database;
pub(crate) use overlay::Overlay;
pub use view::Snapshot;
pub(crate) use view::Views;

#[cfg(test)]
mod tests;

#[allow(unused_imports, reason = "for the card")]
use folkmoot_core::store::Store;
use folkmoot_core::store::StoreError;

/// When a write is acknowledged.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Durability {
    /// When it is on disk (`fdatasync`): it survives a loss of power.
    #[default]
    Sync,
    /// When the operating system has it: it survives the end of the process, not a loss of power.
    Os,
}

impl Durability {
    /// Its name in configuration and status.
    pub fn name(self) -> &'static str {
        match self {
            Durability::Sync => "sync",
            Durability::Os => "os",
        }
    }
}

fn store_error(error: impl std::fmt::Display) -> StoreError {
    StoreError(error.to_string())
}
