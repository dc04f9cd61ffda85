//! The Folkmoot node: the pure protocol of `folkmoot-core` with sockets, a disk and a clock.

pub mod api;
pub mod error;
mod fatal;
mod gateway;
mod http;
pub mod identity;
mod inbox;
mod json;
mod link;
pub mod network;
pub mod node;
mod private_file;
mod runtime;
pub mod session;
mod socket;
mod store;
mod websocket;

pub use error::Error;
pub use folkmoot_core::access::Principal;
pub use folkmoot_core::error::ErrorCode;
pub use folkmoot_core::id::{NetworkId, NodeId};
pub use folkmoot_core::limits::Limits;
pub use folkmoot_core::request::Condition;
pub use network::{Invite, Network};
pub use node::{Builder, Node};
pub use session::Session;
pub use store::{Durability, Snapshot};
pub use websocket::client;
