//! The world: machines, a network, a true time, and everything that happens in order.
//!
//! One thread, no real clock, no randomness but the seed's: the same options give the same world,
//! event by event; [`World::hash`] is the proof.

use crate::client::Clients;
use crate::host::Host;
use crate::met::Met;
use crate::network::{DIAL_MS_MAX, LinkEvent, Network};
use crate::notices::Notices;
use crate::oracle::Oracle;
use crate::people::People;
use crate::plant::Plant;
use crate::queue::Queue;
use crate::swarm::Swarm;
use crate::trace::Trace;
use folkmoot_core::engine::Input;
use folkmoot_core::id::{LinkId, SessionId};
use folkmoot_core::rng::Rng;
use folkmoot_core::store::MemoryStore;
use std::collections::BTreeMap;

/// All that can be due.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// Something on a link.
    Link(LinkEvent),
    /// A dial has come to nothing.
    DialFailed {
        /// Who dialled.
        node: usize,
        /// In which run.
        run: u64,
        /// Whom.
        address: String,
        /// Why there is no link.
        why: &'static str,
    },
    /// A node's loop takes its inputs.
    Work {
        /// Which node.
        node: usize,
        /// In which run.
        run: u64,
    },
    /// A node's oldest batch is durable.
    Synced {
        /// Which node.
        node: usize,
        /// In which run.
        run: u64,
    },
    /// A node's deadline has come.
    Tick {
        /// Which node.
        node: usize,
        /// In which run.
        run: u64,
    },
    /// The planned fault with this index begins.
    FaultBegins(usize),
    /// The planned fault with this index ends.
    FaultEnds(usize),
    /// A flapping pair of nodes is cut or healed, by the fault with this index.
    Flap(usize),
    /// A client does something.
    Client,
    /// The person with this index does something.
    Person(usize),
    /// A client writes much at once.
    Bulk,
}

/// What was violated, and how.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// The invariant.
    pub invariant: &'static str,
    /// World time, in milliseconds.
    pub at_ms: u64,
    /// What is wrong.
    pub text: String,
}

/// Everything there is.
pub struct World {
    /// What the seed made of it.
    pub options: Swarm,
    /// World time, in milliseconds.
    pub now: u64,
    /// What is due.
    pub queue: Queue<Event>,
    /// The machines.
    pub hosts: Vec<Host>,
    /// The network.
    pub network: Network,
    /// The world's own dice.
    pub rng: Rng,
    /// A planted bug.
    pub plant: Option<Plant>,
    /// Who chats.
    pub people: People,
    /// The only invariant whose violation counts; `None` for all.
    pub judged: Option<&'static str>,
    /// What clients do and were told.
    pub clients: Clients,
    /// What clients were promised.
    pub oracle: Oracle,
    /// Who knows of whom.
    pub met: Met,
    /// What nodes noted for their operators.
    pub notices: Notices,
    /// The first violation.
    pub violation: Option<Violation>,
    /// What happened.
    pub trace: Trace,
    /// Flapping pairs that are cut now, by fault.
    pub flapped: Vec<bool>,
    /// What disks held when a restoring fault began, by fault.
    pub backups: BTreeMap<usize, MemoryStore>,
    sessions: u64,
}

impl World {
    /// A world before its first moment. Nodes start with [`World::begin`].
    pub fn new(options: Swarm, plant: Option<Plant>, loud: bool) -> World {
        let mut rng = Rng::new(options.seed ^ 0x5eed);
        let hosts = (0..options.nodes).map(|i| Host::new(i, options.seed, options.sync_ms));
        let network = Network::new(options.ways.clone(), options.full_bytes, rng.next_u64());
        let mut world = World {
            now: 0,
            queue: Queue::default(),
            hosts: hosts.collect(),
            network,
            rng,
            plant,
            people: People::new(&options),
            judged: None,
            clients: Clients::new(&options),
            oracle: Oracle::default(),
            met: Met::new(options.nodes),
            notices: Notices::default(),
            violation: None,
            trace: Trace::new(loud),
            flapped: vec![false; options.faults.len()],
            backups: BTreeMap::new(),
            sessions: 0,
            options,
        };
        for host in &mut world.hosts {
            match plant {
                Some(Plant::LostWrite) => host.disk.lose_one_in(100),
                Some(Plant::LyingDisk) => host.disk.begin_to_lie(),
                Some(Plant::NoTombstones) => host.disk.begin_to_erase(),
                Some(Plant::ForgottenBound) => host.disk.forget_bound(),
                _ => {}
            }
        }
        world
    }

    /// Starts the nodes that are there from the beginning and plans clients and faults.
    pub fn begin(&mut self) {
        for node in 0..self.hosts.len() {
            if !self.options.late.contains(&node) {
                self.start(node);
            }
        }
        for (index, planned) in self.options.faults.iter().enumerate() {
            self.queue.push(planned.at_ms, Event::FaultBegins(index));
            self.queue.push(planned.at_ms + planned.lasts_ms, Event::FaultEnds(index));
        }
        self.queue.push(self.options.first_op_ms, Event::Client);
        for who in 0..self.people.all.len() {
            self.queue.push(self.options.first_op_ms + 1_000, Event::Person(who));
        }
        if self.options.bulk_bytes > 0 {
            self.queue.push(self.options.first_op_ms, Event::Bulk);
        }
    }

    /// Lets everything happen that is due until world time `end`, or until a violation.
    pub fn run_until(&mut self, end: u64) {
        while self.violation.is_none() && self.queue.next_at().is_some_and(|at| at <= end) {
            let Some((at, event)) = self.queue.pop() else { break };
            self.now = at;
            self.happen(event);
        }
        self.now = self.now.max(end);
    }

    fn happen(&mut self, event: Event) {
        match event {
            Event::Link(event) => self.on_link(event),
            Event::DialFailed { node, run, address, why } => {
                if self.hosts[node].run == run {
                    self.feed(node, Input::DialFailed(address, why.to_owned()));
                }
            }
            Event::Work { node, run } => self.work(node, run),
            Event::Synced { node, run } => self.synced(node, run),
            Event::Tick { node, run } => self.tick(node, run),
            Event::FaultBegins(index) => self.fault_begins(index),
            Event::FaultEnds(index) => self.fault_ends(index),
            Event::Flap(index) => self.flap(index),
            Event::Client => self.client_acts(),
            Event::Person(who) => self.person_acts(who),
            Event::Bulk => self.client_writes_much(),
        }
    }

    /// The hash of everything that happened.
    pub fn hash(&self) -> u64 {
        self.trace.hash()
    }

    /// Notes a violation; the first one stands.
    pub fn breaks(&mut self, invariant: &'static str, text: String) {
        self.trace(|| format!("VIOLATION of {invariant}: {text}"));
        if self.judged.is_some_and(|judged| judged != invariant) {
            return;
        }
        let at_ms = self.now;
        self.violation.get_or_insert(Violation { invariant, at_ms, text });
    }

    /// A session that no run of any node has had.
    pub fn next_session(&mut self) -> SessionId {
        self.sessions += 1;
        SessionId(self.sessions)
    }

    pub(crate) fn trace(&self, text: impl FnOnce() -> String) {
        self.trace.line(self.now, text);
    }

    pub(crate) fn mix(&mut self, facts: &[u64]) {
        self.trace.mix(&[self.now]);
        self.trace.mix(facts);
    }

    /// A node dials an address.
    pub(crate) fn dial(&mut self, node: usize, address: String) {
        let target = node_of(&address);
        let target = target.filter(|target| *target < self.hosts.len());
        let run = self.hosts[node].run;
        match target {
            Some(target) if target != node => {
                self.network.dial(self.now, &mut self.queue, [node, target], run, address);
            }
            _ => self.fail_dial(0, node, run, address, "no such address"),
        }
    }

    fn fail_dial(&mut self, ms: u64, node: usize, run: u64, address: String, why: &'static str) {
        self.queue.push(self.now + ms, Event::DialFailed { node, run, address, why });
    }

    fn on_link(&mut self, event: LinkEvent) {
        match event {
            LinkEvent::Called(number) => self.on_called(number),
            LinkEvent::Answered(number) => self.on_answered(number),
            LinkEvent::Proven(number) => self.on_proven(number),
            LinkEvent::Arrived(id) => {
                if let Some(frame) = self.network.arrive(id) {
                    let node = self.node_at(id);
                    self.feed(node, Input::Frame(id, frame));
                }
            }
            LinkEvent::Left(id, bytes) => {
                if self.network.leave(id, bytes) {
                    self.feed(self.node_at(id), Input::LinkDrained(id));
                }
            }
            LinkEvent::Lost(id) => self.lose(id),
        }
    }

    fn node_at(&self, id: LinkId) -> usize {
        let (link, end) = self.network.open_end(id).expect("asked only of open ends");
        link.nodes[end]
    }

    /// An open end is told that the link is gone.
    pub(crate) fn lose(&mut self, id: LinkId) {
        if self.network.open_end(id).is_some() {
            let node = self.node_at(id);
            self.network.drop_end(id);
            self.feed(node, Input::LinkDown(id));
        }
    }

    /// A send queue burst: that must not happen, and the link is gone.
    pub(crate) fn burst(&mut self, node: usize, id: LinkId) {
        self.breaks(
            "queues_stay_bounded",
            format!("the send queue of {id:?} at node-{node} burst"),
        );
        self.lose(id);
    }

    fn on_called(&mut self, number: u64) {
        let Some(link) = self.network.link(number) else { return };
        let ([from, to], run, address) = (link.nodes, link.runs[0], link.address.clone());
        let heard = self.network.is_open(from, to);
        let host = &self.hosts[to];
        let failed = if !heard || self.network.dark[to] || host.paused {
            Some((DIAL_MS_MAX, "timed out"))
        } else if host.engine.is_none() || !host.listening {
            Some((self.network.travel(to, from), "connection refused"))
        } else {
            None
        };
        if let Some((ms, why)) = failed {
            self.network.forget(number);
            return self.fail_dial(ms, from, run, address, why);
        }
        let told = (host.boot, host.clock.wall_ms(self.now));
        let their_run = host.run;
        let at = self.now + self.network.travel(to, from);
        if let Some(link) = self.network.link(number) {
            (link.runs[1], link.told[1]) = (their_run, told);
        }
        self.queue.push(at, Event::Link(LinkEvent::Answered(number)));
    }

    fn on_answered(&mut self, number: u64) {
        let Some(link) = self.network.link(number) else { return };
        let ([from, to], runs, told) = (link.nodes, link.runs, link.told[1]);
        let address = link.address.clone();
        let (here, there) = (&self.hosts[from], &self.hosts[to]);
        if here.run != runs[0] {
            return self.network.forget(number);
        }
        if there.run != runs[1] || !self.network.is_open(from, to) {
            self.network.forget(number);
            return self.fail_dial(DIAL_MS_MAX, from, runs[0], address, "broke off");
        }
        let own = (here.boot, here.clock.wall_ms(self.now));
        let node = there.id;
        if let Some(link) = self.network.link(number) {
            link.told[0] = own;
        }
        self.network.open(number, 0);
        let at = self.now + self.network.travel(from, to);
        self.network.not_before(number, 0, at);
        self.queue.push(at, Event::Link(LinkEvent::Proven(number)));
        let (link, (boot, wall_ms)) = (LinkId(number * 2), told);
        self.feed(from, Input::LinkUp { link, node, boot, wall_ms, dialled: Some(address) });
    }

    fn on_proven(&mut self, number: u64) {
        let Some(link) = self.network.link(number) else { return };
        let ([from, to], runs, (boot, wall_ms)) = (link.nodes, link.runs, link.told[0]);
        link.settled = true;
        if self.hosts[to].run != runs[1] || !self.network.ways[from][to].is_open() {
            return; // half open: the dialling end finds out
        }
        self.network.open(number, 1);
        self.met.link(from, to, self.now);
        let (link, node) = (LinkId(number * 2 + 1), self.hosts[from].id);
        self.feed(to, Input::LinkUp { link, node, boot, wall_ms, dialled: None });
    }
}

/// The address at which a node is dialled.
pub fn address(node: usize) -> String {
    format!("http://node-{node}:3655")
}

fn node_of(address: &str) -> Option<usize> {
    address.strip_prefix("http://node-")?.strip_suffix(":3655")?.parse().ok()
}
