//! The real program in real processes: what only they can show. Everything else is tested lower.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod canary;
mod chat;
mod clock;
mod disk;
mod durability;
mod everything;
mod faults;
mod full_disk;
mod life;
mod mesh;
mod people;
mod support;
mod tools;
mod twins;
