//! Chat: presence and messages between people on any node.
pub mod words;
