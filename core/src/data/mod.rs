//! data
mod entry;
pub use entry::{Entry, EntryKey, Strategy};
pub mod read;
