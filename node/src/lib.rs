//! The Folkmoot node: the pure protocol of `folkmoot-core` with sockets, a disk and a clock.

pub mod identity;
#[allow(dead_code, reason = "the runtime is not there yet")]
mod inbox;
#[allow(dead_code, reason = "the doors that check values are not there yet")]
mod json;
pub mod network;
mod private_file;
