//! One machine: a disk and a clock that last, and now and then a node that runs on them.
//!
//! The loop of a node is the real one in small: inputs queue, the engine takes as many as are
//! there, hands the batch to the disk and goes on, at most two batches ahead; outputs leave when
//! their batch and all earlier ones are durable.

use crate::clock::WallClock;
use crate::disk::Disk;
use crate::identity::ToyIdentity;
use crate::network::Sent;
use crate::oracle::brief;
use crate::plant::Plant;
use crate::world::{Event, World, address};
use bytes::Bytes;
use folkmoot_core::data::{Entry, EntryKey};
use folkmoot_core::engine::{Engine, EngineConfig, Input, Output, Step, boot_counter};
use folkmoot_core::id::{LinkId, NetworkId, NodeId, SessionId};
use folkmoot_core::identity::Identity;
use folkmoot_core::limits::FRAME_BYTES_MAX;
use folkmoot_core::store::{Batch, space};
use folkmoot_core::time::{Now, Time};
use std::collections::{BTreeSet, VecDeque};

/// Batches that the engine may be ahead of the disk.
const BATCHES_AHEAD_MAX: usize = 2;
/// Planted: a drift that every clock keeps to, in milliseconds: a hundred years.
const NO_DRIFT_MS_MAX: u64 = 100 * 366 * 24 * 3600 * 1000;
/// Ticks in one millisecond after which an engine is said to spin.
const TICKS_PER_MS_MAX: u32 = 1_000;

/// One machine and, while it runs, its node.
pub struct Host {
    /// Its place in the world.
    pub index: usize,
    /// The node key in its data directory.
    pub id: NodeId,
    /// How many keys it has had before.
    pub generation: u32,
    /// Its disk.
    pub disk: Disk,
    /// Its wall clock.
    pub clock: WallClock,
    /// The node that runs there.
    pub engine: Option<Engine>,
    /// Counts starts and ends of the node: what was meant for another run is void.
    pub run: u64,
    /// The boot counter of this run.
    pub boot: u64,
    /// Whether the node is stopped, as by SIGSTOP.
    pub paused: bool,
    /// Whether its first batch is durable, so that it may be dialled.
    pub listening: bool,
    /// The session of this run's client.
    pub session: SessionId,
    /// The shortest and longest time that a sync takes, in milliseconds.
    pub sync_ms: (u64, u64),
    inbox: VecDeque<Input>,
    awake: bool,
    tick_at: Option<u64>,
    ticks: (u64, u32),
    held: VecDeque<Held>,
    /// Links whose queues its node knows to be full.
    full: BTreeSet<LinkId>,
    syncing: bool,
    monotonic_start: u64,
}

/// The outputs of a step that wait for the disk.
struct Held {
    outputs: Vec<Output>,
    writes: bool,
    /// The links that the node knew to be full when it made them.
    full: BTreeSet<LinkId>,
}

impl Host {
    /// A machine without a node.
    pub fn new(index: usize, seed: u64, sync_ms: (u64, u64)) -> Host {
        Host {
            index,
            id: ToyIdentity::new(seed, index, 0).node(),
            generation: 0,
            disk: Disk::default(),
            clock: WallClock::default(),
            engine: None,
            run: 0,
            boot: 0,
            paused: false,
            listening: false,
            session: SessionId(0),
            sync_ms,
            inbox: VecDeque::new(),
            awake: false,
            tick_at: None,
            ticks: (0, 0),
            held: VecDeque::new(),
            full: BTreeSet::new(),
            syncing: false,
            monotonic_start: 0,
        }
    }

    /// Both clocks at world time `now`.
    pub fn now(&self, now: u64) -> Now {
        let time = Time(self.monotonic_start + now);
        Now { time, wall_ms: self.clock.wall_ms(now) }
    }

    /// Whether a node runs there and is not stopped.
    pub fn is_up(&self) -> bool {
        self.engine.is_some() && !self.paused
    }

    fn forget_run(&mut self) {
        self.run += 1;
        self.engine = None;
        self.paused = false;
        self.listening = false;
        self.inbox.clear();
        self.held.clear();
        self.full.clear();
        self.awake = false;
        self.syncing = false;
        self.tick_at = None;
    }
}

impl World {
    /// Starts the node on a machine, if none runs there.
    pub fn start(&mut self, node: usize) {
        let (now, seed) = (self.now, self.rng.next_u64());
        let monotonic_start = self.rng.below(1 << 40);
        let session = self.next_session();
        let peers = self.options.peers[node].clone();
        let histories = self.options.histories.clone();
        let (mut limits, world_seed) = (self.options.limits.clone(), self.options.seed);
        match self.plant {
            Some(Plant::NoDriftCheck) => limits.drift_ms_max = NO_DRIFT_MS_MAX,
            Some(Plant::NeverGivesUp) => limits.dead_ms = u64::MAX,
            Some(Plant::ForgottenRepeats) => limits.repeat_ms = 0,
            _ => {}
        }
        self.network.dark[node] = false;
        let host = &mut self.hosts[node];
        if host.engine.is_some() {
            return;
        }
        host.forget_run();
        host.session = session;
        host.monotonic_start = monotonic_start;
        let wall_ms = host.clock.wall_ms(now);
        let boot = boot_counter(host.disk.view(), wall_ms).expect("a disk in memory can be read");
        host.boot = if self.plant == Some(Plant::SameBoot) { 1 } else { boot };
        let identity = ToyIdentity::new(world_seed, node, host.generation);
        host.id = identity.node();
        let config = EngineConfig {
            identity: Box::new(identity),
            network: NetworkId([7; 16]),
            boot: host.boot,
            seed,
            peers,
            addresses: vec![address(node)],
            histories,
            limits,
        };
        let mut step = Step::default();
        let engine = Engine::open(config, host.now(now), host.disk.view(), &mut step);
        host.engine = Some(engine);
        let boot = host.boot;
        self.trace(|| format!("node-{node} starts, boot {boot}, clock {wall_ms}"));
        self.mix(&[1, node as u64, boot, wall_ms]);
        let outputs = std::mem::take(&mut step.outputs);
        let first = Held { outputs, writes: true, full: BTreeSet::new() };
        self.hosts[node].disk.write(std::mem::take(&mut step.batch));
        self.hosts[node].held.push_back(first);
        self.sync_next(node);
        self.act_on_all(node, step.at_once, &BTreeSet::new());
        self.plan_tick(node);
        self.watch_again(node);
    }

    /// Ends the node on a machine without a word. `power`: the machine goes dark with it.
    pub fn crash(&mut self, node: usize, power: bool) {
        if self.hosts[node].engine.is_none() {
            return;
        }
        let kept = self.rng.below(self.hosts[node].disk.pending() as u64 + 1) as usize;
        self.trace(|| format!("node-{node} crashes, power {power}"));
        self.mix(&[2, node as u64, kept as u64, u64::from(power)]);
        if power {
            self.network.darken(node);
        } else {
            for id in self.network.ends_at(node) {
                self.network.close(self.now, &mut self.queue, id, true);
            }
        }
        self.hosts[node].disk.crash(kept);
        self.hosts[node].forget_run();
    }

    /// Stops a node for a while, as by SIGSTOP, or lets it go on.
    pub fn pause(&mut self, node: usize, paused: bool) {
        let host = &mut self.hosts[node];
        if host.engine.is_none() || host.paused == paused {
            return;
        }
        host.paused = paused;
        if !paused {
            host.awake = false;
            self.wake(node);
            self.sync_next(node);
            self.hosts[node].tick_at = None;
            self.plan_tick(node);
        }
    }

    /// Hands an input to a node; it is lost if none runs there.
    pub fn feed(&mut self, node: usize, input: Input) {
        if self.hosts[node].engine.is_some() {
            self.hosts[node].inbox.push_back(input);
            self.wake(node);
        }
    }

    fn wake(&mut self, node: usize) {
        let host = &mut self.hosts[node];
        let behind = host.disk.pending() >= BATCHES_AHEAD_MAX;
        if host.awake || host.paused || behind || host.inbox.is_empty() {
            return;
        }
        host.awake = true;
        self.queue.push(self.now, Event::Work { node, run: host.run });
    }

    /// One turn of a node's loop.
    pub(crate) fn work(&mut self, node: usize, run: u64) {
        let now = self.now;
        let host = &mut self.hosts[node];
        if host.run != run || host.paused {
            return;
        }
        host.awake = false;
        let Some(engine) = &mut host.engine else { return };
        let clocks =
            Now { time: Time(host.monotonic_start + now), wall_ms: host.clock.wall_ms(now) };
        let mut step = Step::default();
        let group = self.options.group_max.min(host.inbox.len());
        let (mut full, mut next) = (host.full.clone(), host.full.clone());
        for input in host.inbox.drain(..group) {
            self.trace.input(now, node, &input);
            match &input {
                Input::LinkFull(link) => drop(next.insert(*link)),
                Input::LinkDrained(link) => drop((full.remove(link), next.remove(link))),
                _ => {}
            }
            engine.handle(clocks, input, host.disk.view(), &mut step);
        }
        engine.finish(clocks, host.disk.view(), &mut step);
        host.full = next; // what it learns in this step counts from the next one on
        self.settle(node, step, full);
    }

    fn settle(&mut self, node: usize, step: Step, full: BTreeSet<LinkId>) {
        let early = self.plant == Some(Plant::EarlyAck);
        let writes = !step.batch.is_empty();
        if writes {
            self.mix(&[3, node as u64, step.batch.bytes() as u64]);
            self.trace_entries(node, &step.batch);
            self.hosts[node].disk.write(step.batch);
        }
        let host_waits = writes || !self.hosts[node].held.is_empty();
        let mut at_once = step.at_once;
        let mut outputs = step.outputs;
        if early || !host_waits {
            at_once.append(&mut outputs);
        }
        if host_waits {
            let held = Held { outputs, writes, full: full.clone() };
            self.hosts[node].held.push_back(held);
            self.sync_next(node);
        }
        self.act_on_all(node, at_once, &full);
        self.wake(node);
        self.plan_tick(node);
    }

    /// Prints what becomes of which entry.
    fn trace_entries(&self, node: usize, batch: &Batch) {
        if !self.trace.loud {
            return;
        }
        for (key, entry) in batch.writes() {
            let Some(key) = key.strip_prefix(&[space::ENTRIES.0][..]) else { continue };
            let Some(key) = EntryKey::parse(Bytes::copy_from_slice(key)) else { continue };
            let entry = entry.clone().and_then(|entry| Entry::from_bytes(entry).ok());
            self.trace(|| format!("node-{node} has {key:?}: {}", brief(entry.as_ref())));
        }
    }

    fn sync_next(&mut self, node: usize) {
        let host = &mut self.hosts[node];
        if host.syncing || host.paused || host.held.is_empty() {
            return;
        }
        host.syncing = true;
        let (least, most) = host.sync_ms;
        let at = self.now + least + self.rng.below(most - least + 1);
        self.queue.push(at, Event::Synced { node, run: host.run });
    }

    /// A node's oldest batch has become durable: what waited for it leaves.
    pub(crate) fn synced(&mut self, node: usize, run: u64) {
        let host = &mut self.hosts[node];
        if host.run != run {
            return;
        }
        host.syncing = false;
        if host.paused {
            return;
        }
        host.disk.sync_oldest();
        host.listening = true;
        let mut due = Vec::from_iter(host.held.pop_front());
        while let Some(held) = host.held.pop_front_if(|held| !held.writes) {
            due.push(held);
        }
        for held in due {
            self.act_on_all(node, held.outputs, &held.full);
        }
        self.sync_next(node);
        self.wake(node);
    }

    fn plan_tick(&mut self, node: usize) {
        let host = &mut self.hosts[node];
        let Some(due) = host.engine.as_ref().and_then(Engine::next_tick) else { return };
        let at = due.0.saturating_sub(host.monotonic_start).max(self.now);
        if host.tick_at.is_none_or(|planned| at < planned) {
            host.tick_at = Some(at);
            self.queue.push(at, Event::Tick { node, run: host.run });
        }
    }

    /// A planned tick has come.
    pub(crate) fn tick(&mut self, node: usize, run: u64) {
        let now = self.now;
        let host = &mut self.hosts[node];
        if host.run != run || host.paused || host.tick_at != Some(now) {
            return;
        }
        host.tick_at = None;
        let due = host.engine.as_ref().and_then(Engine::next_tick);
        if due.is_some_and(|due| due <= host.now(now).time) {
            host.ticks = if host.ticks.0 == now { (now, host.ticks.1 + 1) } else { (now, 0) };
            assert!(host.ticks.1 < TICKS_PER_MS_MAX, "node-{node} ticks without end at {now} ms");
            self.feed(node, Input::Tick);
        } else {
            self.plan_tick(node);
        }
    }

    /// Does what a node wants done; `full` are the links that it knew to be full.
    fn act_on_all(&mut self, node: usize, outputs: Vec<Output>, full: &BTreeSet<LinkId>) {
        for output in outputs {
            self.act(node, output, full);
        }
    }

    fn act(&mut self, node: usize, output: Output, full: &BTreeSet<LinkId>) {
        match output {
            Output::Send(link, frame) => {
                assert!(frame.len() <= FRAME_BYTES_MAX, "node-{node} sends an oversized frame");
                self.mix(&[4, node as u64, link.0, frame.len() as u64]);
                let knowing = full.contains(&link);
                match self.network.send(self.now, &mut self.queue, link, frame, knowing) {
                    Sent::Quietly => {}
                    Sent::Full if self.plant == Some(Plant::MumAboutFull) => {
                        self.hosts[node].full.insert(link);
                    }
                    Sent::Full => self.feed(node, Input::LinkFull(link)),
                    Sent::Burst => self.burst(node, link),
                }
            }
            Output::Close(link, why) => {
                self.trace(|| format!("node-{node} closes {link:?}: {why}"));
                let abrupt = self.rng.below(2) == 0;
                self.network.close(self.now, &mut self.queue, link, abrupt);
            }
            Output::Dial(address) => self.dial(node, address),
            Output::Reply(session, request, reply) => self.on_reply(node, session, request, reply),
            Output::Event(session, event) => self.on_event(node, session, event),
            Output::Notice(notice) => {
                self.trace(|| format!("node-{node} notes: {notice}"));
                self.notices.note(&notice, self.hosts[node].clock.is_right());
            }
            Output::Halt(error) => panic!("node-{node} halts: {error}"),
        }
    }
}
