//! Typed handles on a node, one per service: JSON in, JSON out.

mod batch;
pub mod chat;
pub mod data;
mod strategy;
mod subscription;
pub mod value;
pub mod watch;

pub use batch::Batch;
pub use chat::{Chat, ChatSession};
pub use data::{Data, Item, Older, PutOptions, Written};
pub(crate) use strategy::Strategies;
pub use strategy::Strategy;
pub use subscription::{Change, Subscription};
pub use value::Value;
