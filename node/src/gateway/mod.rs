//! Foreign words on one side, requests and events on the other, and nothing else.
//!
//! Gateways decide nothing. So far: the seed's REST (`rest.rs`) and its chat (`socketio`).

pub(crate) mod rest;
pub(crate) mod socketio;
