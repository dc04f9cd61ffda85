//! A few engines wired together by hand, for tests of what they do together.

use crate::access::Principal;
use crate::chat::words::ChatEvent;
use crate::engine::{Engine, EngineConfig, Input, Output, Step};
use crate::id::{LinkId, NetworkId, NodeId, Path, RequestId, SessionId};
use crate::identity::{Identity, Signature};
use crate::limits::Limits;
use crate::request::{Caller, Changed, Event, Reply, Request};
use crate::store::MemoryStore;
use crate::time::{Now, Time};
use std::collections::{BTreeMap, VecDeque};

/// A node's key, for tests.
pub(crate) struct Toy(pub(crate) NodeId);

impl Identity for Toy {
    fn node(&self) -> NodeId {
        self.0
    }
    fn sign(&self, message: &[u8]) -> Signature {
        signature(self.0, message)
    }
    fn verify(&self, node: NodeId, message: &[u8], found: &Signature) -> bool {
        signature(node, message) == *found
    }
}

/// What [`Toy`] signs with: nobody's secret, but a node's own.
pub(crate) fn signature(node: NodeId, message: &[u8]) -> Signature {
    let hash = *blake3::keyed_hash(&node.0, message).as_bytes();
    std::array::from_fn(|at| hash[at % 32])
}

pub(crate) struct Node {
    pub(crate) engine: Engine,
    pub(crate) store: MemoryStore,
    pub(crate) replies: Vec<(RequestId, Reply)>,
    pub(crate) events: Vec<Changed>,
    /// What chat told sessions.
    pub(crate) told: Vec<(SessionId, ChatEvent)>,
    boot: u64,
}

impl Node {
    fn start(n: usize, boot: u64, mut store: MemoryStore, now: Now) -> Node {
        let config = EngineConfig {
            identity: Box::new(Toy(NodeId([n as u8 + 1; 32]))),
            network: NetworkId([9; 16]),
            boot,
            seed: n as u64,
            peers: Vec::new(),
            addresses: Vec::new(),
            histories: vec![(Path::new("old").unwrap(), 2)],
            limits: Limits::default(),
        };
        let mut step = Step::default();
        let engine = Engine::open(config, now, &store, &mut step);
        store.apply(&step.batch);
        Node { engine, store, replies: Vec::new(), events: Vec::new(), told: Vec::new(), boot }
    }
}

/// Engines whose frames arrive at once and in order.
pub(crate) struct World {
    pub(crate) nodes: Vec<Node>,
    pub(crate) links: BTreeMap<(usize, LinkId), (usize, LinkId)>,
    pub(crate) now: Now,
    pub(crate) next: u64,
    /// How many messages in a row led to the last change of any store.
    pub(crate) depth: u64,
}

impl World {
    pub(crate) fn new(count: usize) -> World {
        let now = Now { time: Time(1), wall_ms: 1_000_000_000 };
        let mut world = World { nodes: Vec::new(), links: BTreeMap::new(), now, next: 1, depth: 0 };
        for n in 0..count {
            let node = Node::start(n, 1, MemoryStore::default(), now);
            world.nodes.push(node);
        }
        world
    }

    pub(crate) fn link(&mut self, a: usize, b: usize) {
        let (at_a, at_b) = (LinkId(self.next), LinkId(self.next + 1));
        self.next += 2;
        self.links.insert((a, at_a), (b, at_b));
        self.links.insert((b, at_b), (a, at_a));
        let wall_ms = self.now.wall_ms;
        let mut ups = Vec::new();
        for (own, link, other) in [(a, at_a, b), (b, at_b, a)] {
            let (node, boot) = (self.nodes[other].engine.node(), self.nodes[other].boot);
            let dialled = (own == a).then(|| "http://peer".to_owned());
            ups.push((own, Input::LinkUp { link, node, boot, wall_ms, dialled }));
        }
        self.inputs(ups);
    }

    pub(crate) fn cut(&mut self, a: usize, b: usize) {
        let at = |(from, _): &(usize, LinkId), (to, _): &(usize, LinkId)| (*from, *to) == (a, b);
        let Some((one, other)) = self.links.iter().find(|(f, t)| at(f, t)) else { return };
        let ((a, at_a), (b, at_b)) = (*one, *other);
        self.links.remove(&(a, at_a));
        self.links.remove(&(b, at_b));
        self.input(a, Input::LinkDown(at_a));
        self.input(b, Input::LinkDown(at_b));
    }

    pub(crate) fn input(&mut self, at: usize, input: Input) {
        self.inputs(vec![(at, input)]);
    }

    pub(crate) fn inputs(&mut self, inputs: Vec<(usize, Input)>) {
        self.steps(inputs.into_iter().map(|(at, input)| (at, vec![input])).collect());
    }

    /// Steps of nodes, each with its inputs, and what follows from them.
    pub(crate) fn steps(&mut self, steps: Vec<(usize, Vec<Input>)>) {
        let mut queue: VecDeque<_> =
            steps.into_iter().map(|(at, inputs)| (at, inputs, 0)).collect();
        while let Some((at, inputs, depth)) = queue.pop_front() {
            let node = &mut self.nodes[at];
            let mut step = Step::default();
            for input in inputs {
                node.engine.handle(self.now, input, &node.store, &mut step);
            }
            node.engine.finish(self.now, &node.store, &mut step);
            if !step.batch.is_empty() {
                self.depth = depth;
            }
            node.store.apply(&step.batch);
            if node.engine.next_tick() == Some(Time(0)) {
                queue.push_front((at, vec![Input::Tick], depth));
            }
            for output in step.at_once.into_iter().chain(step.outputs) {
                match output {
                    Output::Send(link, frame) => {
                        if let Some((to, link)) = self.links.get(&(at, link)) {
                            queue.push_back((*to, vec![Input::Frame(*link, frame)], depth + 1));
                        }
                    }
                    Output::Close(link, why) => {
                        assert!(!why.contains("malformed"), "{why}");
                        if let Some((to, far)) = self.links.remove(&(at, link)) {
                            self.links.remove(&(to, far));
                            queue.push_back((to, vec![Input::LinkDown(far)], depth));
                        }
                    }
                    Output::Reply(_, request, reply) => node.replies.push((request, reply)),
                    Output::Event(_, Event::Changed(_, changes)) => node.events.extend(changes),
                    Output::Halt(error) => panic!("{error}"),
                    Output::Event(session, Event::Chat(event)) => node.told.push((session, event)),
                    Output::Dial(_) | Output::Notice(_) => {}
                }
            }
        }
    }

    pub(crate) fn run(&mut self, ms: u64) {
        for _ in 0..ms / 50 {
            self.now.time = self.now.time + 50;
            self.now.wall_ms += 50;
            for at in 0..self.nodes.len() {
                if self.nodes[at].engine.next_tick().is_some_and(|due| due <= self.now.time) {
                    self.input(at, Input::Tick);
                }
            }
        }
    }

    /// Ends a node without a word and starts it again on its disk.
    pub(crate) fn restart(&mut self, at: usize) {
        let ends: Vec<_> = self.links.iter().filter(|(from, _)| from.0 == at).collect();
        let far: Vec<_> = ends.iter().map(|(_, far)| **far).collect();
        self.links.retain(|from, to| from.0 != at && to.0 != at);
        let boot = self.nodes[at].boot + 1;
        let store = std::mem::take(&mut self.nodes[at].store);
        self.nodes[at] = Node::start(at, boot, store, self.now);
        self.inputs(far.into_iter().map(|(node, link)| (node, Input::LinkDown(link))).collect());
    }

    pub(crate) fn ask(&mut self, at: usize, request: Request) -> Reply {
        self.ask_as(at, SessionId(1), request)
    }

    pub(crate) fn ask_as(&mut self, at: usize, session: SessionId, request: Request) -> Reply {
        let caller = Caller { session, request: RequestId(self.next), principal: Principal::Owner };
        self.next += 1;
        self.input(at, Input::Request(caller, request));
        match self.nodes[at].replies.pop() {
            Some((request, reply)) if request == caller.request => reply,
            other => panic!("no reply but {other:?}"),
        }
    }
}
