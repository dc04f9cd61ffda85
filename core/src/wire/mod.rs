//! Bytes between nodes: bounded, and opaque where the mesh only passes them on.
//!
//! Promise: decoding never panics, never allocates more than the bytes at hand justify, and
//! accepts what a newer version appends. The layout stands in `docs/protocol.md`; golden bytes in
//! the tests hold it.

pub mod codec;
pub mod envelope;
pub mod frame;
#[cfg(test)]
mod golden;
