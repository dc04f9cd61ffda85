//! From the recipient's side: a message comes to this node, goes to sessions, and is answered.
//!
//! An arrival waits until every session that it was given to has taken it in or has ended, and
//! then says to the sender's node how many have. An echo goes to the sender's other sessions; for
//! it nobody waits.

use super::Chat;
use super::directory::NodeIndex;
use super::repeats::Noted;
use super::session::{Sid, Unread};
use super::wire::{Run, Said, Sender, TOO_LATE};
use super::words::{Kind, Message, Target};
use crate::ctx::{Ctx, Dest};
use crate::id::Name;
use crate::time::Time;
use crate::wire::envelope::Tag;
use std::sync::Arc;

/// A message at this node whose sessions have not all taken it in.
#[derive(Debug)]
pub(super) struct Arrival {
    asker: (NodeIndex, Sender),
    /// Sessions that sent the same message meanwhile: their client moved, and only it knows
    /// which of them is its last.
    more: Vec<(NodeIndex, Sender)>,
    number: u64,
    waiting: u32,
    taken_in: u32,
}

/// So many unread messages behind the last that was found are looked through first.
const REPEATS_NEAR: usize = 32;

/// Sessions that are told what became of one message, beside the first.
const ASKERS_MAX: usize = 8;

impl Arrival {
    /// One more wants to be told; the one that asked longest ago makes room.
    fn ask(&mut self, asker: (NodeIndex, Sender)) {
        if asker == self.asker || self.more.contains(&asker) {
            return;
        }
        if self.more.len() >= ASKERS_MAX {
            self.more.remove(0);
        }
        self.more.push(asker);
    }
}

impl Chat {
    /// A message for sessions of this node, from a session of this one or of another.
    pub(super) fn arrive(
        &mut self,
        now: Time,
        origin: NodeIndex,
        sender: Sender,
        message: &Arc<Message>,
    ) {
        let except = (origin == 0).then_some(sender);
        if message.kind == Kind::Signal {
            self.fan_out(message, except, 0);
            return self.echo(message, except);
        }
        let noted = self.repeats.note(now, self.repeat_ms, message);
        match noted {
            Noted::New | Noted::Again => {}
            Noted::Repeat | Noted::Late => return self.on_repeat(origin, sender, message, noted),
        }
        let Message { number, .. } = **message;
        let asker = (origin, sender);
        let arrival = Arrival { asker, more: Vec::new(), number, waiting: 0, taken_in: 0 };
        let key = self.arrivals.insert(arrival);
        self.fan_out(message, except, key);
        if noted == Noted::New {
            self.echo(message, except);
        }
        if self.arrivals.get(key).is_some_and(|arrival| arrival.waiting == 0) {
            self.repeats.lose(now, self.repeat_ms, message);
            self.end_arrival(key);
        }
    }

    /// Gives a message to the sender's other sessions.
    fn echo(&mut self, message: &Arc<Message>, except: Option<Sid>) {
        if let Target::User(user) = &message.to
            && *user != message.from
        {
            self.give_user(&message.from, message, except, 0);
        }
    }

    /// Gives a message to the sessions of its target.
    fn fan_out(&mut self, message: &Arc<Message>, except: Option<Sid>, arrival: u64) {
        match &message.to {
            Target::User(user) => self.give_user(user, message, None, arrival),
            Target::Room(room) => {
                let Some(room) = self.rooms.get_mut(room) else { return };
                let local = std::mem::take(&mut room.local);
                for sid in local.iter().filter(|sid| Some(**sid) != except) {
                    self.give(*sid, message, arrival);
                }
                if let Target::Room(room) = &message.to
                    && let Some(room) = self.rooms.get_mut(room)
                {
                    room.local = local;
                }
            }
            Target::Everyone => {
                let all: Vec<Sid> = self.sessions.keys().collect();
                for sid in all.into_iter().filter(|sid| Some(*sid) != except) {
                    if self.sessions.get(sid).is_some_and(|session| session.visible) {
                        self.give(sid, message, arrival);
                    }
                }
            }
        }
    }

    fn give_user(&mut self, user: &Name, message: &Arc<Message>, except: Option<Sid>, key: u64) {
        let Some(local) = self.by_user.get_mut(user) else { return };
        if let [one] = local[..] {
            if Some(one) != except {
                self.give(one, message, key);
            }
            return;
        }
        let sessions = std::mem::take(local);
        for sid in sessions.iter().filter(|sid| Some(**sid) != except) {
            self.give(*sid, message, key);
        }
        if let Some(local) = self.by_user.get_mut(user) {
            *local = sessions;
        }
    }

    fn give(&mut self, sid: Sid, message: &Arc<Message>, key: u64) {
        let Some(session) = self.sessions.get_mut(sid) else { return };
        if message.kind == Kind::Signal {
            if session.connection.is_some() {
                session.signals.push(message.clone());
                self.mark(sid);
            }
            return;
        }
        if let Some(arrival) = self.arrivals.get_mut(key) {
            arrival.waiting += 1;
        }
        let fits = session.give(message, key);
        if !session.dirty {
            session.dirty = true;
            self.dirty.push(sid);
        }
        self.given += 1;
        if !fits {
            self.overflowing.push(sid);
        }
    }

    /// A message that has been here, or may have been: sent again because its sender or the way
    /// was lost, or because nobody has taken it in for long.
    fn on_repeat(&mut self, origin: NodeIndex, sender: Sender, message: &Message, noted: Noted) {
        self.repeated += 1;
        let same = |other: &Message| {
            other.number == message.number
                && other.client == message.client
                && other.from == message.from
                && other.to == message.to
        };
        let everyone: Vec<Sid>;
        let local = match &message.to {
            Target::User(user) => self.by_user.get(user).map_or(&[][..], |local| local),
            Target::Room(room) => self.rooms.get(room).map_or(&[][..], |room| &room.local),
            Target::Everyone => {
                everyone = self.sessions.keys().collect();
                &everyone
            }
        };
        let waited_for = |unread: &Unread| unread.arrival != 0 && same(&unread.message);
        // What is sent again comes in order: the next is not far behind the last that was found.
        let (last, after) = self.last_repeat;
        let near = [(last, after, REPEATS_NEAR)].into_iter();
        let all = local.iter().map(|sid| (*sid, 0, usize::MAX));
        let found = near.chain(all).find_map(|(sid, after, most)| {
            let session = self.sessions.get(sid)?;
            let first = session.first_unread();
            let skipped = usize::try_from((after + 1).saturating_sub(first)).ok()?;
            let mut unread = session.unread.iter().skip(skipped).take(most);
            let at = unread.position(waited_for)? + skipped;
            Some((sid, first + at as u64, session.unread[at].arrival))
        });
        if let Some((sid, number, _)) = found {
            self.last_repeat = (sid, number);
        }
        let sessions = match (noted, &message.to) {
            (Noted::Late, _) => TOO_LATE,
            (_, Target::Everyone) => 1,
            _ => u32::try_from(local.len()).unwrap_or(u32::MAX).max(1),
        };
        match found.and_then(|(_, _, key)| self.arrivals.get_mut(key)) {
            // It is not taken in yet: all who asked will be told.
            Some(arrival) => arrival.ask((origin, sender)),
            None => self.answer(origin, sender, message.number, sessions),
        }
    }

    /// A session has taken in its messages up to a number.
    pub(super) fn on_received(&mut self, ctx: &mut Ctx, sid: Sid, upto: u64) {
        while let Some(unread) = self.sessions.get_mut(sid).and_then(|s| s.read(upto)) {
            ctx.stats.messages_delivered += 1;
            if let Some(arrival) = self.arrivals.get_mut(unread.arrival) {
                arrival.taken_in += 1;
                arrival.waiting -= 1;
                if arrival.waiting == 0 {
                    self.end_arrival(unread.arrival);
                }
            }
        }
    }

    /// A session ended before it took this in.
    pub(super) fn on_unread(&mut self, now: Time, message: &Message, key: u64) {
        let Some(arrival) = self.arrivals.get_mut(key) else { return };
        arrival.waiting -= 1;
        if arrival.waiting == 0 {
            if arrival.taken_in == 0 {
                self.repeats.lose(now, self.repeat_ms, message);
            }
            self.end_arrival(key);
        }
    }

    fn end_arrival(&mut self, key: u64) {
        let Some(arrival) = self.arrivals.remove(key) else { return };
        let Arrival { asker, more, number, taken_in, .. } = arrival;
        for (origin, sender) in [asker].into_iter().chain(more) {
            self.answer(origin, sender, number, taken_in);
        }
    }

    /// Says to the sender's node how many sessions have taken a message in.
    fn answer(&mut self, origin: NodeIndex, sender: Sender, number: u64, sessions: u32) {
        if origin == 0 {
            let run = Run { sender, from: number, count: 1, sessions };
            match self.own_answers.last_mut() {
                Some(last) if last.is_followed_by(&run) => last.count += 1,
                _ => self.own_answers.push(run),
            }
        } else if let Some(node) = self.nodes.get_mut(origin) {
            if node.runs.is_empty() {
                self.answering.insert(origin);
            }
            node.runs.push(sender, number, sessions);
        }
    }

    /// Sends what is gathered for the nodes of senders.
    pub(super) fn send_answers(&mut self, ctx: &mut Ctx) {
        for index in std::mem::take(&mut self.answering) {
            if let Some(node) = self.nodes.get_mut(index) {
                for runs in node.runs.take() {
                    ctx.send(Tag::CHAT, Dest::Node(node.id), Said::Settled(runs).encode());
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn so_many_askers_are_told_and_for_one_more_the_first_makes_room() {
        let (asker, more) = ((0, 0), Vec::new());
        let mut arrival = Arrival { asker, more, number: 1, waiting: 1, taken_in: 0 };
        let most = ASKERS_MAX as u64;
        (1..=most).for_each(|sender| arrival.ask((0, sender)));
        arrival.ask((0, 0));
        arrival.ask((0, 1));
        assert!(arrival.more.iter().map(|(_, sender)| *sender).eq(1..=most));
        arrival.ask((0, most + 1));
        assert!(arrival.more.iter().map(|(_, sender)| *sender).eq(2..=most + 1));
        assert_eq!(arrival.asker, asker, "who was first is told");
    }
}
