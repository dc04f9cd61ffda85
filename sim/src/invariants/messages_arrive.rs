//! Every message that a client sent is settled, and what is called delivered was taken in by a
//! client of its user. That no session gets a message twice, or a conversation out of order, is
//! judged as it happens, in `people.rs`.

use super::{Invariant, Verdict};
use crate::world::World;

/// Nothing waits for ever.
pub struct MessagesArrive;

impl Invariant for MessagesArrive {
    fn name(&self) -> &'static str {
        "messages_arrive"
    }

    fn patience_ms(&self, world: &World) -> u64 {
        world.options.patience_ms
    }

    fn check(&mut self, world: &mut World) -> Verdict {
        let waiting = world.people.all.iter().enumerate().find(|(_, one)| !one.sent.is_empty());
        match waiting {
            None => Verdict::Holds,
            Some((who, person)) => {
                let numbers: Vec<_> = person.sent.keys().take(5).collect();
                Verdict::NotYet(format!("person {who} is not told what became of {numbers:?}"))
            }
        }
    }
}
