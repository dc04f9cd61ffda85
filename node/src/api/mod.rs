//! Typed handles on a node, one per service: JSON in, JSON out.

mod batch;
pub mod data;
mod subscription;
pub mod value;
pub mod watch;

pub use batch::Batch;
pub use data::{Data, Item, PutOptions, Strategy, Written};
pub use subscription::{Change, Subscription};
pub use value::Value;
