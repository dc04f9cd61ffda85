//! The replication engine: sets of versioned entries, whatever they mean.
//!
//! Promise: merging is a pure join (commutative, associative, idempotent); two sets are compared
//! at a cost that grows with their difference. [`index`] holds what is known of every entry,
//! [`merge`] says which of two versions stands.

pub(crate) mod index;
pub(crate) mod merge;
mod version;

pub use version::Version;
