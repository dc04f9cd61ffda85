//! WebSockets (RFC 6455) that carry text: frames, and the client's side.
//!
//! Pure but for [`client`]. The server's side is in `http`; links between nodes speak binary
//! messages and have their own.

pub mod client;
pub(crate) mod frame;
pub(crate) mod reader;
