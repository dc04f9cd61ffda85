//! One chat session: what waits for its client, and what is under way from it.

use super::directory::NodeIndex;
use super::words::{Message, Outcome, Settled, Target};
use crate::id::{ClientId, Name, ResumeToken, SessionId};
use crate::limits::{MESSAGE_COST_BYTES, UNREAD_BYTES_MAX, UNREAD_MAX};
use crate::limits::{UNSETTLED_BYTES_MAX, UNSETTLED_MAX};
use crate::time::Time;
use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

/// A chat session's key on its node.
pub(super) type Sid = u64;

/// Runs of settled messages that are kept to be told again after a reconnection; the oldest are
/// forgotten first.
const TOLD_MAX: usize = 1_024;

/// A message that the client has not acknowledged.
#[derive(Debug)]
pub(super) struct Unread {
    pub(super) message: Arc<Message>,
    /// The arrival that waits for it; 0 for an echo, for which nobody waits.
    pub(super) arrival: u64,
}

/// A message that this session has sent and that the client has not been told the end of.
#[derive(Debug)]
pub(super) struct Sent {
    pub(super) number: u64,
    pub(super) bytes: usize,
    /// Until when it may be held, once it was.
    pub(super) until: Option<Time>,
    /// Whether a node said that it comes too late.
    pub(super) late: bool,
    /// Whether it is for sessions of this node only.
    pub(super) local: bool,
    /// When it was sent on its way last.
    pub(super) at: Time,
    pub(super) fate: Fate,
}

/// Where a sent message is.
#[derive(Debug)]
pub(super) enum Fate {
    /// With these nodes; so many sessions have taken it in elsewhere.
    UnderWay { message: Arc<Message>, nodes: Waits, sessions: u32 },
    /// Here, until its user is there again or the time is over.
    Held { message: Arc<Message>, until: Time },
    /// At its end.
    Done(Outcome),
}

/// The nodes that have not answered yet.
#[derive(Debug)]
pub(super) enum Waits {
    One(NodeIndex),
    Many(BTreeSet<NodeIndex>),
}

impl Waits {
    /// The nodes.
    pub(super) fn nodes(&self) -> Vec<NodeIndex> {
        match self {
            Waits::One(one) => vec![*one],
            Waits::Many(many) => many.iter().copied().collect(),
        }
    }

    pub(super) fn new(nodes: &[NodeIndex]) -> Waits {
        match nodes {
            [one] => Waits::One(*one),
            many => Waits::Many(many.iter().copied().collect()),
        }
    }

    /// Strikes a node out; `None` if it was not waited for, else whether none is left.
    pub(super) fn strike(&mut self, node: NodeIndex) -> Option<bool> {
        match self {
            Waits::One(one) => (*one == node).then(|| {
                *self = Waits::Many(BTreeSet::new());
                true
            }),
            Waits::Many(many) => many.remove(&node).then_some(many.is_empty()),
        }
    }
}

/// The messages of one session to one target.
#[derive(Debug, Default)]
pub(super) struct Flow {
    /// The state of the world in which the ways were found.
    pub(super) version: u64,
    /// The nodes with sessions of the target.
    pub(super) to: Vec<NodeIndex>,
    /// More nodes, with sessions of the sender.
    pub(super) echo: Vec<NodeIndex>,
    /// Messages that are with nodes.
    pub(super) under_way: usize,
    /// The largest number that is known to have arrived.
    pub(super) delivered: u64,
    /// Numbers of messages that are held, in order.
    pub(super) held: VecDeque<u64>,
}

/// Of some nodes those that a message goes to: a `local` one to this node only.
pub(super) fn narrowed(nodes: &[NodeIndex], local: bool) -> Cow<'_, [NodeIndex]> {
    match local {
        false => Cow::Borrowed(nodes),
        true => nodes.iter().filter(|index| **index == 0).copied().collect(),
    }
}

/// A session.
#[derive(Debug)]
pub(super) struct Session {
    pub(super) user: Name,
    pub(super) client: ClientId,
    pub(super) visible: bool,
    pub(super) resume: Option<ResumeToken>,
    /// Its connection; without one it waits until `until`.
    pub(super) connection: Option<SessionId>,
    pub(super) until: Option<Time>,
    /// The number of the last message that it was given.
    pub(super) given: u64,
    pub(super) unread: VecDeque<Unread>,
    pub(super) unread_bytes: usize,
    /// The last so many of the unread are to be told at the end of the step.
    pub(super) fresh: usize,
    pub(super) signals: Vec<Arc<Message>>,
    pub(super) last_number: u64,
    pub(super) window: VecDeque<Sent>,
    pub(super) window_bytes: usize,
    pub(super) settled: Vec<Settled>,
    /// Told, but perhaps not heard.
    pub(super) told: VecDeque<Settled>,
    pub(super) flows: BTreeMap<Target, Flow>,
    pub(super) rooms: BTreeSet<Name>,
    /// Whether something is to be told at the end of the step.
    pub(super) dirty: bool,
}

impl Session {
    pub(super) fn new(user: Name, client: ClientId, connection: SessionId) -> Session {
        Session {
            user,
            client,
            visible: true,
            resume: None,
            connection: Some(connection),
            until: None,
            given: 0,
            unread: VecDeque::new(),
            unread_bytes: 0,
            fresh: 0,
            signals: Vec::new(),
            last_number: 0,
            window: VecDeque::new(),
            window_bytes: 0,
            settled: Vec::new(),
            told: VecDeque::new(),
            flows: BTreeMap::new(),
            rooms: BTreeSet::new(),
            dirty: false,
        }
    }

    /// Gives it a message; `false` if more waits now than may.
    pub(super) fn give(&mut self, message: &Arc<Message>, arrival: u64) -> bool {
        self.given += 1;
        self.fresh += 1;
        self.unread_bytes += cost(message);
        self.unread.push_back(Unread { message: message.clone(), arrival });
        self.unread.len() <= UNREAD_MAX && self.unread_bytes <= UNREAD_BYTES_MAX
    }

    /// The number of the first unread message.
    pub(super) fn first_unread(&self) -> u64 {
        self.given + 1 - self.unread.len() as u64
    }

    /// Takes the first unread message out if its number is at most `upto`.
    pub(super) fn read(&mut self, upto: u64) -> Option<Unread> {
        if self.first_unread() > upto {
            return None;
        }
        let unread = self.unread.pop_front()?;
        self.unread_bytes -= cost(&unread.message);
        self.fresh = self.fresh.min(self.unread.len());
        Some(unread)
    }

    /// Whether it may have one more message under way.
    pub(super) fn has_room(&self) -> bool {
        self.window.len() < UNSETTLED_MAX && self.window_bytes < UNSETTLED_BYTES_MAX
    }

    /// Whether so much is refused that it cannot have been told yet: it does not listen.
    pub(super) fn is_deaf(&self) -> bool {
        self.window.len() >= 2 * UNSETTLED_MAX
    }

    pub(super) fn push(&mut self, at: Time, number: u64, bytes: usize, fate: Fate, local: bool) {
        self.window_bytes += bytes;
        self.window.push_back(Sent { number, bytes, until: None, late: false, local, at, fate });
    }

    /// The sent message of that number.
    pub(super) fn sent(&mut self, number: u64) -> Option<&mut Sent> {
        let at = self.window.partition_point(|sent| sent.number < number);
        self.window.get_mut(at).filter(|sent| sent.number == number)
    }

    /// Moves what is done from the front of the window to what is to be told.
    pub(super) fn settle(&mut self) {
        while let Some(Sent { number, bytes, fate: Fate::Done(outcome), .. }) = self.window.front()
        {
            let one = Settled { from: *number, upto: *number, outcome: *outcome };
            self.window_bytes -= *bytes;
            self.window.pop_front();
            match self.settled.last_mut() {
                Some(last) if last.outcome == one.outcome => last.upto = one.upto,
                _ => self.settled.push(one),
            }
        }
    }

    /// What is to be told of its own messages now.
    pub(super) fn take_settled(&mut self) -> Vec<Settled> {
        let settled = std::mem::take(&mut self.settled);
        if self.resume.is_some() {
            for one in &settled {
                match self.told.back_mut() {
                    Some(last) if last.outcome == one.outcome => last.upto = one.upto,
                    _ => self.told.push_back(*one),
                }
            }
            let over = self.told.len().saturating_sub(TOLD_MAX);
            self.told.drain(..over);
        }
        settled
    }
}

fn cost(message: &Message) -> usize {
    message.body.len() + MESSAGE_COST_BYTES
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A session that has been told of `runs` messages, no two in a row with the same end.
    fn told(runs: u64) -> Session {
        let user = Name::new("Anna".to_owned()).unwrap();
        let mut session = Session::new(user, ClientId(1), SessionId(1));
        session.resume = Some(ResumeToken([1; 16]));
        for number in 1..=runs {
            let end = if number % 2 == 0 { Outcome::Offline } else { Outcome::Unknown };
            session.push(Time(0), number, 0, Fate::Done(end), false);
            session.settle();
            assert_eq!(session.take_settled().len(), 1, "each is told as it ends");
        }
        session
    }

    #[test]
    fn so_many_runs_are_kept_to_be_told_again_and_with_one_more_the_first_is_forgotten() {
        let most = TOLD_MAX as u64;
        for (runs, first) in [(most, 1), (most + 1, 2)] {
            let kept: Vec<_> = told(runs).told.iter().map(|run| (run.from, run.upto)).collect();
            assert_eq!(kept, (first..=runs).map(|number| (number, number)).collect::<Vec<_>>());
        }
    }
}
