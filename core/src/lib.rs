//! The Folkmoot protocol as pure state machines.
//!
//! Reading order: [`engine`] (what can happen, what can be wanted), [`request`] (what clients
//! may ask), `service` and `ctx` (the shape of a service), `data`, then `replica` and `mesh`
//! beneath it. No IO, no async, no clock, no randomness but what is handed in.

pub mod access;
pub mod chat;
mod ctx;
pub mod data;
pub mod engine;
pub mod error;
#[cfg(test)]
mod golden;
pub mod id;
pub mod identity;
mod interest;
pub mod limits;
pub mod mesh;
pub mod replica;
pub mod request;
pub mod rng;
mod service;
pub mod stats;
pub mod store;
mod table;
pub mod time;
#[cfg(test)]
mod toy;
pub mod wire;
