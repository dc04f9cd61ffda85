//! People who chat: each has one client program that connects to some node, sends, takes in what
//! comes, breaks off, moves, and comes back.
//!
//! A client does what docs/chat.md asks of one: it acknowledges, goes on with its session where it
//! can, and otherwise connects anew under its name and sends again what is not settled.

use crate::plant::Plant;
use crate::swarm::Swarm;
use crate::world::{Event, World};
use folkmoot_core::access::Principal;
use folkmoot_core::chat::words::{
    ChatEvent, ChatRequest, Connect, Kind, Message, Outcome, Post, Settled, Target,
};
use folkmoot_core::engine::Input;
use folkmoot_core::error::ErrorCode;
use folkmoot_core::id::{ClientId, Name, RequestId, ResumeToken, SessionId};
use folkmoot_core::request::{Caller, Reply, Request};
use folkmoot_core::rng::Rng;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// The invariant that is judged here, as things happen.
const MESSAGES: &str = "messages_arrive";
/// Ids of requests whose replies come here begin with this.
const REQUESTS_FROM: u64 = 1 << 40;
/// The rooms that there are.
const ROOMS: u64 = 2;
/// The longest pause before a client comes back, in milliseconds.
const AWAY_MS_MAX: u64 = 14_000;

/// The name of a message: program and number.
pub type MessageId = (ClientId, u64);

/// One person with one client program.
#[derive(Debug)]
pub struct Person {
    /// Whose program it is; others may run programs of the same user.
    pub user: Name,
    client: ClientId,
    /// The node that it is or was connected to, and that node's run.
    node: usize,
    run: u64,
    /// The connection, and whether the node has said that it stands.
    session: Option<(SessionId, bool)>,
    token: Option<ResumeToken>,
    /// The number of the last message of this chat session.
    received: u64,
    acknowledged: u64,
    /// Messages of this chat session.
    seen: BTreeSet<MessageId>,
    /// Per conversation of this chat session the last number.
    order: BTreeMap<(ClientId, Target), u64>,
    rooms: BTreeSet<Name>,
    next_number: u64,
    /// What is not settled.
    pub sent: BTreeMap<u64, Post>,
    settled_upto: u64,
    /// Whether it goes for good at the end, once all that it sent is settled.
    leaves: bool,
    /// When it comes back.
    away_until: u64,
    /// Whether it acknowledges only now and then.
    lazy: bool,
}

impl Person {
    fn is_gone(&self, active: bool) -> bool {
        self.leaves && !active && self.sent.is_empty()
    }
}

/// All people.
#[derive(Debug)]
pub struct People {
    /// They.
    pub all: Vec<Person>,
    /// What which users have taken in.
    taken_in: BTreeSet<(MessageId, Name)>,
    /// Messages that were settled as delivered.
    pub delivered: u64,
    rng: Rng,
    pause_ms: u64,
    of_session: BTreeMap<SessionId, usize>,
    next_request: u64,
}

impl People {
    /// The people of a world.
    pub fn new(options: &Swarm) -> People {
        let mut rng = Rng::new(options.seed ^ 0x9e09_1e00);
        let count = 2 + rng.below(2 * options.nodes as u64);
        let users = 1 + count * 2 / 3;
        let person = |n: u64| Person {
            user: Name::new(format!("user-{}", n % users)).expect("a sound name"),
            client: ClientId(n + 1),
            node: 0,
            run: 0,
            session: None,
            token: None,
            received: 0,
            acknowledged: 0,
            seen: BTreeSet::new(),
            order: BTreeMap::new(),
            rooms: BTreeSet::new(),
            next_number: 1,
            sent: BTreeMap::new(),
            settled_upto: 0,
            away_until: 0,
            leaves: n % 5 == 1,
            lazy: n % 7 == 6,
        };
        People {
            all: (0..count).map(person).collect(),
            taken_in: BTreeSet::new(),
            delivered: 0,
            pause_ms: count * (100 + rng.below(900)),
            rng,
            of_session: BTreeMap::new(),
            next_request: REQUESTS_FROM,
        }
    }

    /// The users who are connected.
    pub fn online(&self) -> BTreeSet<Name> {
        let open = |one: &&Person| one.session.is_some_and(|(_, stands)| stands);
        self.all.iter().filter(open).map(|one| one.user.clone()).collect()
    }

    /// Whether all who stay are connected, and all who leave are gone.
    pub fn all_settled(&self) -> bool {
        self.all.iter().all(|one| match one.session {
            Some((_, stands)) => stands && !one.leaves,
            None => one.leaves,
        })
    }
}

fn room(n: u64) -> Name {
    Name::new(format!("room-{n}")).expect("a sound name")
}

impl World {
    /// A person does something, and the next thing is planned.
    pub(crate) fn person_acts(&mut self, who: usize) {
        let pause = 1 + self.people.rng.below(2 * self.people.pause_ms);
        self.queue.push(self.now + pause, Event::Person(who));
        let person = &mut self.people.all[who];
        if person.session.is_some() && self.hosts[person.node].run != person.run {
            person.session = None; // the node is gone, and with it the connection
        }
        match person.session {
            None if self.now < person.away_until => {}
            None if person.is_gone(self.clients.active) => {}
            None => self.come_back(who),
            Some((_, false)) => {}
            Some((session, true)) if self.clients.active => self.act_in(who, session),
            Some((session, true)) => {
                self.acknowledge(who, session);
                if self.people.all[who].is_gone(false) {
                    self.break_off(who, session);
                }
            }
        }
    }

    fn come_back(&mut self, who: usize) {
        let person = &self.people.all[who];
        let same_run = self.hosts[person.node].run == person.run;
        let resume = person.token.filter(|_| same_run && self.hosts[person.node].is_up());
        let node = match resume {
            Some(_) => person.node,
            None => self.people.rng.below(self.hosts.len() as u64) as usize,
        };
        if !self.hosts[node].is_up() {
            return;
        }
        let session = self.next_session();
        self.people.of_session.insert(session, who);
        let run = self.hosts[node].run;
        let person = &mut self.people.all[who];
        (person.node, person.run, person.session) = (node, run, Some((session, false)));
        match resume {
            Some(token) => {
                let received = person.received;
                self.say(who, session, true, ChatRequest::Resume { token, received });
            }
            None => self.connect_anew(who, session),
        }
    }

    fn connect_anew(&mut self, who: usize, session: SessionId) {
        let token = (self.people.rng.below(4) > 0).then(|| {
            let (a, b) = (self.people.rng.next_u64(), self.people.rng.next_u64());
            ResumeToken((u128::from(a) << 64 | u128::from(b)).to_be_bytes())
        });
        let person = &mut self.people.all[who];
        person.token = token;
        (person.received, person.acknowledged) = (0, 0);
        person.seen.clear();
        person.order.clear();
        let (user, client) = (person.user.clone(), person.client);
        let connect = Connect { user, client, resume: token, visible: true };
        self.say(who, session, true, ChatRequest::Connect(connect));
    }

    fn act_in(&mut self, who: usize, session: SessionId) {
        self.acknowledge(who, session);
        let rng = &mut self.people.rng;
        match rng.below(100) {
            0..74 => {
                let users = self.people.all.len() as u64;
                let to = self.people.rng.below(users) as usize;
                let to = self.people.all[to].user.clone();
                let count = if self.people.rng.below(10) == 0 { 12 } else { 1 };
                self.post(who, session, Target::User(to), count);
            }
            74..82 => {
                let name = room(rng.below(ROOMS));
                if self.people.all[who].rooms.insert(name.clone()) {
                    self.say(who, session, false, ChatRequest::Join(name.clone()));
                }
                self.post(who, session, Target::Room(name), 1);
            }
            82..85 => self.post(who, session, Target::Everyone, 1),
            85..88 => {
                let name = room(rng.below(ROOMS));
                if self.people.all[who].rooms.remove(&name) {
                    self.say(who, session, false, ChatRequest::Leave(name));
                }
            }
            88..95 => self.break_off(who, session),
            95..98 => {
                self.say(who, session, false, ChatRequest::Disconnect);
                self.break_off(who, session);
                self.people.all[who].token = None;
            }
            _ => {
                let status = (rng.below(2) == 0).then(|| "away".into());
                self.say(who, session, false, ChatRequest::Status(status));
            }
        }
    }

    /// The connection breaks; the client comes back after a while.
    fn break_off(&mut self, who: usize, session: SessionId) {
        self.people.of_session.remove(&session);
        let person = &mut self.people.all[who];
        person.session = None;
        let node = person.node;
        if self.plant != Some(Plant::GhostSessions) {
            self.feed(node, Input::SessionClosed(session));
        }
        self.people.all[who].away_until = self.now + self.people.rng.below(AWAY_MS_MAX);
    }

    fn post(&mut self, who: usize, session: SessionId, to: Target, count: u64) {
        let person = &mut self.people.all[who];
        let mut posts = Vec::new();
        for _ in 0..count {
            let number = person.next_number;
            person.next_number += 1;
            let body = vec![b'x'; (number % 90) as usize].into();
            let post = Post { number, to: to.clone(), kind: Kind::Message, local: false, body };
            person.sent.insert(number, post.clone());
            posts.push(post);
        }
        self.trace(|| format!("person {who} sends {count} from {}", posts[0].number));
        self.say(who, session, false, ChatRequest::Send(posts));
    }

    fn acknowledge(&mut self, who: usize, session: SessionId) {
        let person = &mut self.people.all[who];
        if person.acknowledged < person.received {
            person.acknowledged = person.received;
            let received = ChatRequest::Received(person.received);
            self.say(who, session, false, received);
        }
    }

    fn say(&mut self, who: usize, session: SessionId, answered: bool, request: ChatRequest) {
        self.people.next_request += 1;
        let request_id = match answered {
            true => RequestId(self.people.next_request),
            false => RequestId::UNANSWERED,
        };
        let caller = Caller { session, request: request_id, principal: Principal::Owner };
        let node = self.people.all[who].node;
        self.feed(node, Input::Request(caller, Request::Chat(request)));
    }

    /// A node answers a person, if it does.
    pub(crate) fn on_person_reply(
        &mut self,
        session: SessionId,
        id: RequestId,
        reply: &Reply,
    ) -> bool {
        if id.0 < REQUESTS_FROM {
            return false;
        }
        let Some(who) = self.people.of_session.get(&session).copied() else { return true };
        match reply {
            Reply::Done => self.on_open(who, session),
            Reply::Failed(ErrorCode::NotResumed, _) => self.connect_anew(who, session),
            other => self.breaks(MESSAGES, format!("person {who} is answered {other:?}")),
        }
        true
    }

    fn on_open(&mut self, who: usize, session: SessionId) {
        self.trace(|| format!("person {who} is connected as {session:?}"));
        let person = &mut self.people.all[who];
        person.session = Some((session, true));
        let posts: Vec<Post> = person.sent.values().cloned().collect();
        for room in person.rooms.clone() {
            self.say(who, session, false, ChatRequest::Join(room));
        }
        if !posts.is_empty() {
            self.say(who, session, false, ChatRequest::Send(posts));
        }
    }

    /// A node tells a person something.
    pub(crate) fn on_person_told(&mut self, session: SessionId, event: ChatEvent) {
        let Some(who) = self.people.of_session.get(&session).copied() else { return };
        if self.people.all[who].session.is_none_or(|(current, _)| current != session) {
            return;
        }
        match event {
            ChatEvent::Messages { first, messages } => {
                self.on_messages(who, session, first, &messages);
            }
            ChatEvent::Settled(runs) => runs.into_iter().for_each(|run| self.on_run(who, run)),
            ChatEvent::Ended(why) => {
                self.trace(|| format!("person {who} is ended: {why}"));
                let person = &mut self.people.all[who];
                (person.session, person.token) = (None, None);
            }
            ChatEvent::Signals(_) | ChatEvent::Users { .. } | ChatEvent::Room { .. } => {}
        }
    }

    fn on_messages(
        &mut self,
        who: usize,
        session: SessionId,
        first: u64,
        messages: &[Arc<Message>],
    ) {
        self.mix(&[7, who as u64, first, messages.len() as u64]);
        self.trace(|| {
            let ids: Vec<_> = messages.iter().map(|m| (m.client.0, m.number)).collect();
            format!("person {who} gets, from number {first} on, {ids:?}")
        });
        let person = &self.people.all[who];
        if first != person.received + 1 {
            let text = format!("person {who} has {}, and gets {first}", person.received);
            return self.breaks(MESSAGES, text);
        }
        for message in messages {
            let id = (message.client, message.number);
            let person = &mut self.people.all[who];
            person.received += 1;
            let twice = !person.seen.insert(id);
            let before = person.order.insert((message.client, message.to.clone()), message.number);
            if twice {
                self.breaks(MESSAGES, format!("person {who} gets {id:?} twice in one session"));
            } else if before.is_some_and(|before| before > message.number) {
                let text = format!("person {who} gets {id:?} after {before:?} of its conversation");
                self.breaks(MESSAGES, text);
            }
            if self.plant != Some(Plant::EarlyReceipt) || message.number % 5 != 0 {
                let user = self.people.all[who].user.clone();
                self.people.taken_in.insert((id, user));
            }
        }
        if !self.people.all[who].lazy {
            self.acknowledge(who, session);
        }
    }

    fn on_run(&mut self, who: usize, run: Settled) {
        self.mix(&[8, who as u64, run.from, run.upto]);
        self.trace(|| format!("person {who} is told {run:?}"));
        let person = &mut self.people.all[who];
        let skipped = person.sent.range(..run.from).next().map(|(number, _)| *number);
        let settled: Vec<Post> = {
            let later = person.sent.split_off(&(run.upto + 1));
            std::mem::replace(&mut person.sent, later).into_values().collect()
        };
        person.settled_upto = person.settled_upto.max(run.upto);
        let client = person.client;
        if let Some(skipped) = skipped {
            self.breaks(MESSAGES, format!("person {who} is not told what became of {skipped}"));
        }
        for post in settled {
            let id = (client, post.number);
            match (&post.to, run.outcome) {
                (Target::User(user), Outcome::Delivered(sessions)) => {
                    self.people.delivered += 1;
                    let arrived = self.people.taken_in.contains(&(id, user.clone()));
                    if sessions == 0 || !arrived {
                        let text = format!("{id:?} to {user} is called delivered and is not");
                        self.breaks(MESSAGES, text);
                    }
                }
                (_, Outcome::Refused(code)) if code != ErrorCode::NotInRoom => {
                    self.breaks(MESSAGES, format!("{id:?} is refused: {code}"));
                }
                _ => {}
            }
        }
    }
}
