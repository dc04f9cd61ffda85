//! replica
mod version;
pub use version::Version;
