//! Which messages have been here: per conversation the ranges of their numbers.
//!
//! Promise: a message that comes again within `repeat_ms` is known as a repeat, unless it was lost
//! here before anybody had taken it in. A conversation is a sender, the sender's program and a
//! target; its messages come in the order of their numbers, so what is not here below the largest
//! comes too late. Limits: `CONVERSATIONS_MAX`, half of it for each of two generations; the older
//! one is forgotten when the newer is full or old. `RANGES_MAX`: what is older counts as late.

use super::words::{Message, Target};
use crate::id::{ClientId, Name};
use crate::limits::CONVERSATIONS_MAX;
use crate::table::Table;
use crate::time::Time;
use std::borrow::Borrow;
use std::hash::{Hash, Hasher};

/// Ranges of numbers that are kept for one conversation.
const RANGES_MAX: usize = 32;
/// Numbers of lost messages that are kept for one conversation; what is lost beyond that counts as
/// late when it comes again.
const LOST_MAX: usize = 1_024;

/// Whether a message has been here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Noted {
    /// It has not.
    New,
    /// It has, and was lost: nobody has it but the sessions of the sender.
    Again,
    /// It has.
    Repeat,
    /// Nobody has it, but a later one of its conversation may: it would come out of order.
    Late,
}

#[derive(Debug)]
struct Conversation {
    from: Name,
    client: ClientId,
    to: Target,
}

/// What names a conversation, so that one is found by a message without a copy of its names.
trait Parts {
    fn parts(&self) -> (&Name, ClientId, &Target);
}

impl Parts for Conversation {
    fn parts(&self) -> (&Name, ClientId, &Target) {
        (&self.from, self.client, &self.to)
    }
}

impl Parts for Message {
    fn parts(&self) -> (&Name, ClientId, &Target) {
        (&self.from, self.client, &self.to)
    }
}

impl Hash for dyn Parts + '_ {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.parts().hash(state);
    }
}

impl PartialEq for dyn Parts + '_ {
    fn eq(&self, other: &Self) -> bool {
        self.parts() == other.parts()
    }
}

impl Eq for dyn Parts + '_ {}

impl Hash for Conversation {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.parts().hash(state);
    }
}

impl PartialEq for Conversation {
    fn eq(&self, other: &Self) -> bool {
        self.parts() == other.parts()
    }
}

impl Eq for Conversation {}

impl<'a> Borrow<dyn Parts + 'a> for Conversation {
    fn borrow(&self) -> &(dyn Parts + 'a) {
        self
    }
}

#[derive(Debug, Default)]
struct Mark {
    /// The numbers that came: from and to, in order, apart from each other.
    ranges: Vec<(u64, u64)>,
    /// Came and were lost again: their sessions ended before they were taken in.
    lost: Vec<u64>,
    /// From and to of what was lost beyond that: any of it may have been lost.
    lost_more: Option<(u64, u64)>,
}

impl Mark {
    /// Whether any message after this one came and was not lost.
    fn has_later(&self, number: u64) -> bool {
        let next = number.saturating_add(1);
        let came = |(from, to): &(u64, u64)| to.saturating_add(1).saturating_sub(next.max(*from));
        let lost = self.lost.iter().filter(|lost| **lost > number).count() as u64;
        self.ranges.iter().map(came).sum::<u64>() > lost
    }
}

/// The marks of conversations, and where each has its own.
#[derive(Debug)]
struct Generation {
    places: Table<Conversation, usize>,
    marks: Vec<Mark>,
}

impl Generation {
    fn new(seed: u64) -> Generation {
        Generation { places: Table::new(seed), marks: Vec::new() }
    }

    fn place(&self, message: &Message) -> Option<usize> {
        self.places.get(message as &dyn Parts).copied()
    }
}

/// The marks of all conversations.
#[derive(Debug)]
pub(super) struct Repeats {
    seed: u64,
    young: Generation,
    old: Generation,
    /// When the young generation began.
    since: Time,
}

impl Repeats {
    pub(super) fn new(seed: u64) -> Repeats {
        let (young, old) = (Generation::new(seed), Generation::new(seed));
        Repeats { seed, young, old, since: Time(0) }
    }

    /// Notes a message.
    pub(super) fn note(&mut self, now: Time, repeat_ms: u64, message: &Message) -> Noted {
        let mark = self.mark(now, repeat_ms, message);
        let number = message.number;
        match mark.ranges.last_mut() {
            Some(last) if number == last.1.saturating_add(1) => {
                last.1 = number;
                return Noted::New;
            }
            Some(last) if number <= last.1 => {}
            _ => {
                if mark.ranges.len() >= RANGES_MAX {
                    mark.ranges.remove(0);
                }
                mark.ranges.push((number, number));
                return Noted::New;
            }
        }
        if !mark.ranges.iter().any(|(from, to)| (*from..=*to).contains(&number)) {
            return Noted::Late;
        }
        let lost = mark.lost.iter().position(|lost| *lost == number);
        match lost {
            None if mark.lost_more.is_some_and(|(from, to)| (from..=to).contains(&number)) => {
                Noted::Late
            }
            None => Noted::Repeat,
            Some(_) if mark.has_later(number) => Noted::Late,
            Some(at) => {
                mark.lost.swap_remove(at);
                Noted::Again
            }
        }
    }

    /// A message was lost after all: it may come again.
    pub(super) fn lose(&mut self, now: Time, repeat_ms: u64, message: &Message) {
        let mark = self.mark(now, repeat_ms, message);
        let number = message.number;
        if mark.lost.len() < LOST_MAX {
            return mark.lost.push(number);
        }
        let (from, to) = mark.lost_more.unwrap_or((number, number));
        mark.lost_more = Some((from.min(number), to.max(number)));
    }

    fn mark(&mut self, now: Time, repeat_ms: u64, message: &Message) -> &mut Mark {
        if self.young.marks.len() >= CONVERSATIONS_MAX / 2 || now - self.since >= repeat_ms {
            self.old = std::mem::replace(&mut self.young, Generation::new(self.seed));
            self.since = now;
        }
        let place = self.young.place(message).unwrap_or_else(|| {
            let Message { from, client, to, .. } = message;
            let key = Conversation { from: from.clone(), client: *client, to: to.clone() };
            let mark = self.old.place(message).map(|place| &mut self.old.marks[place]);
            self.young.marks.push(mark.map(std::mem::take).unwrap_or_default());
            self.young.places.insert(key, self.young.marks.len() - 1);
            self.young.marks.len() - 1
        });
        &mut self.young.marks[place]
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
        let mut note =
            |to, number| repeats.note(Time(0), 600_000, &message(to, number)) == Noted::New;
        assert!(note("billy", 1) && note("billy", 5) && note("carl", 3) && note("carl", 4));
        assert!(!note("billy", 1) && !note("billy", 5) && !note("billy", 4) && !note("carl", 3));
    }

    #[test]
    fn what_is_older_than_all_that_was_here_is_late() {
        let mut repeats = Repeats::new(1);
        let mut note = |number| repeats.note(Time(0), 600_000, &message("billy", number));
        assert_eq!([note(5), note(6)], [Noted::New, Noted::New]);
        assert_eq!([note(1), note(5), note(9)], [Noted::Late, Noted::Repeat, Noted::New]);
        assert_eq!(note(8), Noted::Late, "it was not here");
        for n in 0..RANGES_MAX as u64 {
            note(100 + 2 * n);
        }
        assert_eq!(note(5), Noted::Late, "so old that it is not known any more");
    }

    #[test]
    fn what_was_lost_may_come_once_more_unless_later_ones_have_come() {
        let mut repeats = Repeats::new(1);
        let note = |repeats: &mut Repeats, n| repeats.note(Time(0), 600_000, &message("billy", n));
        assert_eq!([6, 7].map(|n| note(&mut repeats, n)), [Noted::New; 2]);
        repeats.lose(Time(0), 600_000, &message("billy", 6));
        assert_eq!(note(&mut repeats, 6), Noted::Late);
        repeats.lose(Time(0), 600_000, &message("billy", 7));
        assert_eq!([6, 7].map(|n| note(&mut repeats, n)), [Noted::Again; 2]);
        assert_eq!([6, 7].map(|n| note(&mut repeats, n)), [Noted::Repeat; 2]);
    }

    #[test]
    fn what_was_lost_does_not_come_again_after_a_later_one_has() {
        let mut repeats = Repeats::new(1);
        let note = |repeats: &mut Repeats, n| repeats.note(Time(0), 600_000, &message("billy", n));
        for n in [6, 7, 9] {
            assert_eq!(note(&mut repeats, n), Noted::New);
            repeats.lose(Time(0), 600_000, &message("billy", n));
        }
        let again = [7, 6, 9].map(|n| note(&mut repeats, n));
        assert_eq!(again, [Noted::Again, Noted::Late, Noted::Again]);
    }

    #[test]
    fn so_many_lost_messages_may_come_again_and_with_one_more_none_is_told_twice() {
        let at_most = LOST_MAX as u64;
        let note = |repeats: &mut Repeats, n| repeats.note(Time(0), 600_000, &message("billy", n));
        let lost = |count| {
            let mut repeats = Repeats::new(1);
            for n in 1..=count {
                assert_eq!(note(&mut repeats, n), Noted::New);
            }
            (1..=count).for_each(|n| repeats.lose(Time(0), 600_000, &message("billy", n)));
            repeats
        };
        let mut full = lost(at_most);
        assert!((1..=at_most).all(|n| note(&mut full, n) == Noted::Again));
        let mut over = lost(at_most + 1);
        assert_eq!(note(&mut over, at_most + 1), Noted::Late, "nobody has it, and nobody gets it");
        assert!((1..=at_most).all(|n| note(&mut over, n) == Noted::Late));
    }

    #[test]
    fn a_repeat_is_known_for_its_time_and_forgotten_after_twice_that() {
        let mut repeats = Repeats::new(1);
        let mut note = |at, to, number| repeats.note(Time(at), 600_000, &message(to, number));
        assert_eq!(note(0, "billy", 1), Noted::New);
        assert_eq!(note(600_000, "billy", 1), Noted::Repeat);
        assert_eq!(note(1_200_000, "carl", 1), Noted::New);
        assert_eq!(note(1_800_000, "carl", 2), Noted::New);
        assert_eq!(note(1_800_000, "billy", 1), Noted::New, "forgotten");
    }

    #[test]
    fn conversations_are_bounded() {
        let mut repeats = Repeats::new(1);
        for n in 0..=CONVERSATIONS_MAX {
            repeats.note(Time(0), 600_000, &message(&format!("u{n}"), 1));
        }
        assert!(repeats.young.marks.len() + repeats.old.marks.len() <= CONVERSATIONS_MAX);
    }
}
