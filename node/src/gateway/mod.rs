//! Foreign words on one side, requests and events on the other, and nothing else.
//!
//! Gateways decide nothing. So far: the seed's REST (`rest.rs`).

pub(crate) mod rest;
