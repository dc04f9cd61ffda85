//! `bench chat`: messages, presence and sessions, over real WebSockets, against a node in a process
//! of its own and, where it is installed, against nats-server in turn.
//!
//! The load generator is the same for both: its own frames, threads that block, and a window of
//! messages that are sent and not received yet, so that neither server is asked to hoard. A round
//! fails if what was received differs from what was sent, or came in another order.

mod crowd;
mod nats;
mod pair;
mod raw;
mod room;

use super::report::Part;

/// All parts, in the order in which they run: each rate next to the peer's.
pub(super) const PARTS: &[Part] = &[
    pair::BATCHED,
    nats::BATCHED,
    pair::SINGLE,
    nats::SINGLE,
    pair::SINGLE_AT_ONCE,
    nats::SINGLE_AT_ONCE,
    pair::LINKED,
    room::ROOM,
    pair::ROUND_TRIP,
    crowd::SESSIONS,
    crowd::DIRECTORY,
    crowd::AGREE,
];

/// Whether a part can run here.
pub(super) fn can_run(part: &Part) -> Result<(), &'static str> {
    match part.name {
        name if name.starts_with("nats-") && nats::program().is_none() => {
            Err("nats-server is not installed (Debian: apt-get install nats-server)")
        }
        _ => Ok(()),
    }
}

/// Bytes of the body of a message.
const BODY_BYTES: usize = 128;
/// Messages that are sent and not received yet, at the most.
const WINDOW: u64 = 4_096;
