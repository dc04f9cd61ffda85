//! mesh
pub mod handshake;
