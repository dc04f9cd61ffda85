//! Which messages have been here: per conversation the number of the last one.
//!
//! Promise: a message that comes again within `repeat_ms` is known as a repeat, unless it was lost
//! here before anybody had taken it in. A conversation is a sender, the sender's program and a
//! target; its messages come in the order of their numbers, so the largest is enough.
//! Limits: `CONVERSATIONS_MAX`, half of it for each of two generations; the older one is forgotten
//! when the newer is full or old.

use super::words::{Message, Target};
use crate::id::{ClientId, Name};
use crate::limits::CONVERSATIONS_MAX;
use crate::table::Table;
use crate::time::Time;

/// Numbers of lost messages that are kept for one conversation.
const LOST_MAX: usize = 1_024;

#[derive(Debug, PartialEq, Eq, Hash)]
struct Conversation {
    from: Name,
    client: ClientId,
    to: Target,
}

#[derive(Debug, Default)]
struct Mark {
    /// The first and the largest number that came. What is below the first never was here.
    from: u64,
    upto: u64,
    /// Came and were lost again: their sessions ended before they were taken in.
    lost: Vec<u64>,
}

/// The marks of all conversations.
#[derive(Debug)]
pub(super) struct Repeats {
    seed: u64,
    young: Table<Conversation, Mark>,
    old: Table<Conversation, Mark>,
    /// When the young generation began.
    since: Time,
}

impl Repeats {
    pub(super) fn new(seed: u64) -> Repeats {
        let (young, old) = (Table::new(seed), Table::new(seed));
        Repeats { seed, young, old, since: Time(0) }
    }

    /// Notes a message; `false` if it has been here.
    pub(super) fn note(&mut self, now: Time, repeat_ms: u64, message: &Message) -> bool {
        let mark = self.mark(now, repeat_ms, message);
        if mark.upto == 0 {
            mark.from = message.number;
        }
        if message.number > mark.upto || message.number < mark.from {
            mark.upto = mark.upto.max(message.number);
            return true;
        }
        let lost = mark.lost.iter().position(|number| *number == message.number);
        lost.map(|at| mark.lost.swap_remove(at)).is_some()
    }

    /// A message was lost after all: it may come again.
    pub(super) fn lose(&mut self, now: Time, repeat_ms: u64, message: &Message) {
        let mark = self.mark(now, repeat_ms, message);
        if mark.lost.len() < LOST_MAX {
            mark.lost.push(message.number);
        }
    }

    fn mark(&mut self, now: Time, repeat_ms: u64, message: &Message) -> &mut Mark {
        if self.young.len() >= CONVERSATIONS_MAX / 2 || now - self.since >= repeat_ms {
            self.old = std::mem::replace(&mut self.young, Table::new(self.seed));
            self.since = now;
        }
        let Message { from, client, to, .. } = message;
        let key = Conversation { from: from.clone(), client: *client, to: to.clone() };
        if let Some(mark) = self.old.remove(&key) {
            self.young.insert(key, mark);
            let key = Conversation { from: from.clone(), client: *client, to: to.clone() };
            return self.young.entry(key);
        }
        self.young.entry(key)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::chat::words::Kind;
    use bytes::Bytes;

    fn message(to: &str, number: u64) -> Message {
        let name = |text: &str| Name::new(text.to_owned()).unwrap();
        Message {
            from: name("anna"),
            client: ClientId(1),
            number,
            to: Target::User(name(to)),
            kind: Kind::Message,
            sent_ms: 0,
            remote: false,
            body: Bytes::new(),
        }
    }

    #[test]
    fn a_repeat_is_known_in_its_conversation_and_only_there() {
        let mut repeats = Repeats::new(1);
        let mut note = |to, number| repeats.note(Time(0), 600_000, &message(to, number));
        assert!(note("billy", 1) && note("billy", 5) && note("carl", 3));
        assert!(!note("billy", 1) && !note("billy", 5) && !note("billy", 4) && !note("carl", 3));
    }

    #[test]
    fn what_is_older_than_all_that_was_here_is_no_repeat() {
        let mut repeats = Repeats::new(1);
        let mut note = |number| repeats.note(Time(0), 600_000, &message("billy", number));
        assert!(note(5) && note(6) && note(1));
        assert!(!note(5) && !note(6));
    }

    #[test]
    fn what_was_lost_may_come_once_more() {
        let mut repeats = Repeats::new(1);
        assert!(repeats.note(Time(0), 600_000, &message("billy", 7)));
        repeats.lose(Time(0), 600_000, &message("billy", 7));
        assert!(repeats.note(Time(0), 600_000, &message("billy", 7)));
        assert!(!repeats.note(Time(0), 600_000, &message("billy", 7)));
    }

    #[test]
    fn a_repeat_is_known_for_its_time_and_forgotten_after_twice_that() {
        let mut repeats = Repeats::new(1);
        assert!(repeats.note(Time(0), 600_000, &message("billy", 1)));
        assert!(!repeats.note(Time(600_000), 600_000, &message("billy", 1)));
        assert!(repeats.note(Time(1_200_000), 600_000, &message("carl", 1)));
        assert!(repeats.note(Time(1_800_000), 600_000, &message("carl", 2)));
        assert!(repeats.note(Time(1_800_000), 600_000, &message("billy", 1)), "forgotten");
    }

    #[test]
    fn conversations_are_bounded() {
        let mut repeats = Repeats::new(1);
        for n in 0..=CONVERSATIONS_MAX {
            repeats.note(Time(0), 600_000, &message(&format!("u{n}"), 1));
        }
        assert!(repeats.young.len() + repeats.old.len() <= CONVERSATIONS_MAX);
    }
}
