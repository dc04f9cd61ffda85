//! The Folkmoot node: the pure protocol of `folkmoot-core` with sockets, a disk and a clock.

pub mod error;
#[allow(dead_code, reason = "the node is not there yet")]
mod fatal;
pub mod identity;
mod inbox;
#[allow(dead_code, reason = "the doors that check values are not there yet")]
mod json;
#[allow(dead_code, reason = "the runtime is not there yet")]
mod link;
pub mod network;
mod private_file;
#[allow(dead_code, reason = "the node is not there yet")]
mod runtime;
#[allow(dead_code, reason = "the node is not there yet")]
pub mod session;
#[allow(dead_code, reason = "the node is not there yet")]
mod store;

pub use error::Error;
pub use store::{Durability, Snapshot};
