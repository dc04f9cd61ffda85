//! A person with one program: does what docs/chat.md asks of a client, and judges what it is told.

use crate::support::PATIENCE;
use folkmoot::client::{Client, ClientError, OUT_BYTES_TARGET};
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::ops::ControlFlow;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::time::{Duration, Instant};

/// Messages of each person a second.
pub(super) const RATE: u64 = 170;
/// Messages of each person when all is calm again.
pub(super) const LAST_MESSAGES: u64 = 100;
/// Where somebody is who is not connected.
pub(super) const NOWHERE: usize = usize::MAX;
/// Messages that are not settled at which a client waits: half of what docs/chat.md allows.
const UNSETTLED_MAX: usize = 4_000;
/// How long to hear nothing before more messages may be due.
const TURN: Duration = Duration::from_millis(5);
/// How long a node may take to welcome.
const WELCOME: Duration = Duration::from_secs(5);
/// Longest time until a client breaks off by itself, in milliseconds.
const STAYS_MS_MAX: u64 = 8_000;

/// What all people know, and what is asked of them.
pub(super) struct World {
    pub(super) urls: Vec<String>,
    /// The user of each person; one user may have several programs.
    pub(super) users: Vec<&'static str>,
    pub(super) began: Instant,
    pub(super) phase: AtomicUsize,
    /// How long they were busy, once they are not any more, in milliseconds.
    pub(super) busy_ms: AtomicU64,
    pub(super) over: AtomicBool,
    pub(super) seen: Vec<Seen>,
}

/// Messages at `RATE`, and connections that break.
pub(super) const BUSY: usize = 0;
/// What is due is sent and settled.
pub(super) const CALM: usize = 1;
/// `LAST_MESSAGES` are sent and settled.
pub(super) const LAST: usize = 2;

impl World {
    pub(super) fn delivered(&self) -> u64 {
        self.seen.iter().map(|seen| seen.delivered.load(Relaxed)).sum()
    }

    /// Asks for the next phase and waits until all of it is settled.
    pub(super) fn settle(&self, phase: usize) {
        self.phase.store(phase, Relaxed);
        let is_settled = || self.seen.iter().all(|seen| seen.settled.load(Relaxed) == phase);
        self.until("all to be settled", is_settled);
    }

    /// Waits until a condition holds.
    pub(super) fn until(&self, what: &str, mut holds: impl FnMut() -> bool) {
        let deadline = Instant::now() + PATIENCE;
        while !holds() {
            assert!(!self.over.load(Relaxed), "somebody failed");
            assert!(Instant::now() < deadline, "waited in vain for {what}");
            std::thread::sleep(TURN);
        }
    }
}

/// Ends it for all, also when a test fails.
pub(super) struct AtEnd<'a>(pub(super) &'a World);

impl Drop for AtEnd<'_> {
    fn drop(&mut self) {
        self.0.over.store(true, Relaxed);
    }
}

/// What can be seen of a person from outside.
pub(super) struct Seen {
    pub(super) at: AtomicUsize,
    /// The last phase of which all is settled.
    pub(super) settled: AtomicUsize,
    pub(super) delivered: AtomicU64,
}

/// What became of a message.
pub(super) struct Sent {
    pub(super) to: &'static str,
    pub(super) outcome: Option<String>,
}

/// The name of a message for good: the program and its number.
pub(super) type MessageId = (String, u64);

pub(super) struct Person<'a> {
    world: &'a World,
    index: usize,
    client: u64,
    random: super::Random,
    /// All own messages; number 1 is the first.
    pub(super) sent: Vec<Sent>,
    /// Numbers of those that are not settled.
    unsettled: BTreeSet<u64>,
    node: usize,
    session: Option<String>,
    received: u64,
    acknowledged: u64,
    in_session: BTreeSet<MessageId>,
    order: BTreeMap<(String, String), u64>,
    /// All that was ever taken in.
    pub(super) known: BTreeSet<MessageId>,
    pub(super) counts: Counts,
}

/// How it went.
#[derive(Debug, Default)]
pub(super) struct Counts {
    pub(super) resumed: u64,
    pub(super) anew: u64,
    pub(super) ignored: u64,
    pub(super) closed: u64,
}

impl Counts {
    pub(super) fn add(&mut self, other: &Counts) {
        self.resumed += other.resumed;
        self.anew += other.anew;
        self.ignored += other.ignored;
        self.closed += other.closed;
    }
}

impl<'a> Person<'a> {
    pub(super) fn new(world: &'a World, index: usize) -> Person<'a> {
        Person {
            world,
            index,
            client: 0xc11e_0000 + index as u64,
            random: super::Random::new(index as u64),
            sent: Vec::new(),
            unsettled: BTreeSet::new(),
            node: index % world.urls.len(),
            session: None,
            received: 0,
            acknowledged: 0,
            in_session: BTreeSet::new(),
            order: BTreeMap::new(),
            known: BTreeSet::new(),
            counts: Counts::default(),
        }
    }

    pub(super) fn user(&self) -> &'static str {
        self.world.users[self.index]
    }

    /// The program as messages name it.
    pub(super) fn client(&self) -> String {
        format!("{:016x}", self.client)
    }

    /// The messages that were sent when all was calm again.
    pub(super) fn last_messages(&self) -> &[Sent] {
        &self.sent[self.sent.len() - LAST_MESSAGES as usize..]
    }

    /// Lives until all is over: connects, talks, and when the connection is gone, comes back.
    pub(super) async fn live(&mut self) {
        while !self.world.over.load(Relaxed) {
            if let Ok(Ok(client)) = tokio::time::timeout(WELCOME, self.come()).await {
                self.world.seen[self.index].at.store(self.node, Relaxed);
                if let Err(ClientError::Closed { .. }) = self.talk(client).await {
                    self.counts.closed += 1;
                }
                self.world.seen[self.index].at.store(NOWHERE, Relaxed);
            } else {
                // The node is gone: anew, at another one.
                self.session = None;
                let others = self.world.urls.len() as u64 - 1;
                self.node += 1 + self.random.below(others) as usize;
                self.node %= self.world.urls.len();
                tokio::time::sleep(TURN).await;
            }
        }
    }

    /// Goes on with the session if it still is there, or begins another one.
    async fn come(&mut self) -> Result<Client, ClientError> {
        let mut client = Client::connect(&self.world.urls[self.node]).await?;
        if let Some(session) = &self.session {
            let hello = json!({"op": "hello", "session": session, "received": self.received});
            client.say(&hello.to_string());
            let answer: Value = serde_json::from_str(&client.next().await?).unwrap();
            if answer["op"] == "welcome" {
                assert_eq!(answer["resumed"], true, "{answer}");
                self.counts.resumed += 1;
                return Ok(client);
            }
            assert_eq!(answer["code"], 212, "{answer}");
        }
        client.say_hello(self.user(), self.client);
        let welcome: Value = serde_json::from_str(&client.next().await?).unwrap();
        assert_eq!(welcome["op"], "welcome", "{welcome}");
        self.session = Some(welcome["session"].as_str().unwrap().to_owned());
        (self.received, self.acknowledged) = (0, 0);
        self.in_session.clear();
        self.order.clear();
        self.counts.anew += 1;
        Ok(client)
    }

    /// Sends and takes in until the connection is gone, or until it breaks it off.
    async fn talk(&mut self, mut client: Client) -> Result<(), ClientError> {
        let stays = Duration::from_millis(self.random.below(STAYS_MS_MAX));
        let since = Instant::now();
        for n in &self.unsettled {
            self.say(&mut client, *n);
        }
        while !self.world.over.load(Relaxed) {
            let phase = self.world.phase.load(Relaxed);
            if phase == BUSY && since.elapsed() > stays {
                break;
            }
            if client.unwritten() < OUT_BYTES_TARGET {
                for n in self.due(phase) {
                    self.say(&mut client, n);
                }
            }
            let mut hear = |text: &str| {
                self.hear(&serde_json::from_str(text).unwrap());
                ControlFlow::Continue(())
            };
            if let Ok(done) = tokio::time::timeout(TURN, client.turn(&mut hear)).await {
                done?;
            }
            if self.acknowledged < self.received {
                self.acknowledged = self.received;
                client.say_received(self.received);
            }
        }
        Ok(())
    }

    fn say(&self, client: &mut Client, n: u64) {
        let to = self.sent[n as usize - 1].to;
        client.say_send(n, ("to", to), &json!({"number": n, "to": to}).to_string());
    }

    /// New messages: as many as the time that has passed asks for.
    fn due(&mut self, phase: usize) -> Vec<u64> {
        let ms = match phase {
            BUSY => self.world.began.elapsed().as_millis() as u64,
            _ => self.world.busy_ms.load(Relaxed),
        };
        let last = if phase == LAST { LAST_MESSAGES } else { 0 };
        let goal = (ms * RATE / 1_000 + last) as usize;
        let mut new = Vec::new();
        while self.sent.len() < goal && self.unsettled.len() < UNSETTLED_MAX {
            let to = self.random.below(self.world.users.len() as u64) as usize;
            self.sent.push(Sent { to: self.world.users[to], outcome: None });
            new.push(self.sent.len() as u64);
            self.unsettled.insert(self.sent.len() as u64);
        }
        if self.sent.len() >= goal && self.unsettled.is_empty() {
            self.world.seen[self.index].settled.store(phase, Relaxed);
        }
        new
    }

    fn hear(&mut self, told: &Value) {
        match told["op"].as_str().unwrap() {
            "message" => self.on_message(told),
            "settled" => self.on_settled(told),
            "error" => panic!("{}: {told}", self.client()),
            _ => {}
        }
    }

    fn on_message(&mut self, told: &Value) {
        let text = |member: &str| told[member].as_str().unwrap().to_owned();
        let who = || format!("{} of {}", self.client(), self.user());
        let (number, m) = (told["n"].as_u64().unwrap(), told["m"].as_u64().unwrap());
        assert_eq!(number, self.received + 1, "{} misses messages, or has them: {told}", who());
        assert_eq!(told["body"], json!({"number": m, "to": told["to"]}));
        let id = (text("client"), m);
        assert!(!self.in_session.contains(&id), "{} has it: {told}", who());
        let before = self.order.get(&(text("client"), text("to"))).copied();
        assert!(before < Some(m), "{} gets it after {before:?}: {told}", who());
        self.received = number;
        self.in_session.insert(id.clone());
        self.order.insert((text("client"), text("to")), m);
        if !self.known.insert(id) {
            self.counts.ignored += 1;
        }
    }

    fn on_settled(&mut self, told: &Value) {
        let (from, upto) = (told["from"].as_u64().unwrap(), told["upto"].as_u64().unwrap());
        let first = self.unsettled.first().copied();
        assert!(first.is_none_or(|first| from <= first), "{first:?} is left out: {told}");
        let later = self.unsettled.split_off(&(upto + 1));
        for n in std::mem::replace(&mut self.unsettled, later) {
            let outcome = told["outcome"].as_str().unwrap().to_owned();
            if outcome == "delivered" {
                assert!(told["sessions"].as_u64() >= Some(1), "{told}");
                self.world.seen[self.index].delivered.fetch_add(1, Relaxed);
            }
            self.sent[n as usize - 1].outcome = Some(outcome);
        }
    }
}
