//! Everything about a world that the seed decides: size, shape, speed, load and faults.
//!
//! Each seed switches some things on and others off, so that rare combinations are not drowned
//! by everything happening at once (Groce et al., *Swarm Testing*, 2012).

use crate::faults::Planned;
use crate::network::Way;
use crate::plan;
use crate::world::address;
use folkmoot_core::id::Path;
use folkmoot_core::limits::Limits;
use folkmoot_core::rng::Rng;

/// The shape of the links that nodes are told to make.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Topology {
    /// Each node dials the one before it.
    Line,
    /// A line that is closed.
    Ring,
    /// Every node dials the first.
    Star,
    /// Everybody dials everybody.
    Mesh,
    /// Each node dials one that came before it.
    Tree,
    /// A tree and some more links.
    Random,
}

/// All shapes.
pub const TOPOLOGIES: &[Topology] = &[
    Topology::Line,
    Topology::Ring,
    Topology::Star,
    Topology::Mesh,
    Topology::Tree,
    Topology::Random,
];

/// The options of one world.
#[derive(Clone, Debug)]
pub struct Swarm {
    /// Where everything comes from.
    pub seed: u64,
    /// How many nodes there are.
    pub nodes: usize,
    /// The shape of their links.
    pub topology: Topology,
    /// The addresses that each node dials.
    pub peers: Vec<Vec<String>>,
    /// The ways between them.
    pub ways: Vec<Vec<Way>>,
    /// Bytes in a send queue at which it is called full.
    pub full_bytes: usize,
    /// The shortest and longest time of a sync, in milliseconds.
    pub sync_ms: (u64, u64),
    /// Inputs that a node handles in one step.
    pub group_max: usize,
    /// What may be set in core.
    pub limits: Limits,
    /// How many older versions nodes keep, per prefix.
    pub histories: Vec<(Path, usize)>,
    /// World time of the first write, in milliseconds.
    pub first_op_ms: u64,
    /// Mean pause between writes, in milliseconds.
    pub op_pause_ms: u64,
    /// Bytes of the longest value.
    pub value_bytes_max: u64,
    /// Bytes that one client writes at once, now and then; 0 for never.
    pub bulk_bytes: u64,
    /// Hot paths in each group.
    pub hot: u64,
    /// Cold paths in each group.
    pub cold: u64,
    /// Of a hundred writes, those to hot paths.
    pub hot_percent: u64,
    /// Of a hundred writes, those that delete.
    pub delete_percent: u64,
    /// Nodes with a watcher, and what it watches.
    pub watchers: Vec<(usize, Option<Path>)>,
    /// Nodes that are not there at the beginning.
    pub late: Vec<usize>,
    /// What goes wrong.
    pub faults: Vec<Planned>,
    /// World time at which all faults end, in milliseconds.
    pub safety_ms: u64,
    /// How long the world may take to come to rest after that, in milliseconds.
    pub patience_ms: u64,
}

impl Swarm {
    /// The options that `seed` stands for.
    pub fn from_seed(seed: u64) -> Swarm {
        let mut rng = Rng::new(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ 0xf01c_0007);
        let nodes = 2 + rng.below(3 + rng.clone().below(7)) as usize;
        let topology = TOPOLOGIES[rng.below(TOPOLOGIES.len() as u64) as usize];
        let mut swarm = Swarm::calm(seed, nodes, topology);
        swarm.ways = ways(&mut rng, nodes);
        swarm.full_bytes = 1 << (12 + rng.below(8));
        swarm.sync_ms = [(0, 1), (1, 4), (1, 20), (5, 100)][rng.below(4) as usize];
        swarm.group_max = [1, 16, 4096][rng.below(3) as usize];
        swarm.limits = limits(&mut rng);
        if rng.below(4) == 0 {
            swarm.histories = vec![(path("last"), 2)];
        }
        swarm.op_pause_ms = nodes as u64 * (60 + rng.below(340));
        swarm.value_bytes_max = [0, 64, 1024, 16 * 1024][rng.below(4) as usize];
        swarm.hot = 1 + rng.below(4);
        swarm.cold = 4 + rng.below(24);
        swarm.hot_percent = 20 + rng.below(70);
        swarm.delete_percent = [0, 5, 20, 40][rng.below(4) as usize];
        swarm.watchers = watchers(&mut rng, nodes);
        plan::plan(&mut swarm, &mut rng);
        load(&mut swarm, &mut rng);
        swarm
    }

    /// A world of that size and shape in which nothing goes wrong.
    pub fn calm(seed: u64, nodes: usize, topology: Topology) -> Swarm {
        let mut rng = Rng::new(seed ^ 0xca1f);
        Swarm {
            seed,
            nodes,
            topology,
            peers: peers(&mut rng, nodes, topology),
            ways: vec![vec![Way::new(2, 1); nodes]; nodes],
            full_bytes: 1 << 20,
            sync_ms: (1, 4),
            group_max: 4096,
            limits: Limits::default(),
            histories: Vec::new(),
            first_op_ms: 0,
            op_pause_ms: 500,
            value_bytes_max: 64,
            bulk_bytes: 0,
            hot: 3,
            cold: 10,
            hot_percent: 50,
            delete_percent: 10,
            watchers: vec![(nodes - 1, None)],
            late: Vec::new(),
            faults: Vec::new(),
            safety_ms: 30_000,
            patience_ms: 300_000,
        }
    }

    /// The kinds of faults that are planned, each once.
    pub fn kinds(&self) -> Vec<&'static str> {
        let mut kinds: Vec<_> = self.faults.iter().map(|planned| planned.fault.kind()).collect();
        kinds.sort_unstable();
        kinds.dedup();
        kinds
    }
}

fn ways(rng: &mut Rng, nodes: usize) -> Vec<Vec<Way>> {
    let (least, spread) = [(1, 2), (3, 20), (20, 180)][rng.below(3) as usize];
    let mut ways = vec![vec![Way::new(0, 0); nodes]; nodes];
    for (a, b) in (0..nodes).flat_map(|a| (0..a).map(move |b| (a, b))) {
        let latency = least + rng.below(spread);
        let way = Way::new(latency, rng.below(latency + 1));
        (ways[a][b], ways[b][a]) = (way.clone(), way);
    }
    ways
}

/// Some worlds carry more at times than their ways take.
fn load(swarm: &mut Swarm, rng: &mut Rng) {
    if rng.below(12) != 0 {
        return;
    }
    swarm.bulk_bytes = (64 << 10) << rng.below(3);
    let bytes_per_ms = 60 + rng.below(200);
    for way in swarm.ways.iter_mut().flatten() {
        way.bytes_per_ms = bytes_per_ms;
    }
}

fn limits(rng: &mut Rng) -> Limits {
    let mut limits = Limits { redial_ms_max: 5_000 + rng.below(25_000), ..Limits::default() };
    if rng.below(3) == 0 {
        limits.tombstone_grace_ms = 15_000 + rng.below(60_000);
    }
    if rng.below(3) == 0 {
        limits.log_changes_max = 5 + rng.below(200);
    }
    if rng.below(3) == 0 {
        limits.compare_ms = 2_000 + rng.below(20_000);
    }
    limits
}

fn path(text: &str) -> Path {
    Path::new(text.to_owned()).expect("a sound path")
}

fn watchers(rng: &mut Rng, nodes: usize) -> Vec<(usize, Option<Path>)> {
    let prefixes = [None, Some("last"), Some("last/h0"), Some("merge"), Some("mixed")];
    let mut watchers = Vec::new();
    for node in 0..nodes {
        let prefix = prefixes[rng.below(prefixes.len() as u64) as usize];
        if rng.below(3) == 0 {
            watchers.push((node, prefix.map(path)));
        }
    }
    watchers
}

fn peers(rng: &mut Rng, nodes: usize, topology: Topology) -> Vec<Vec<String>> {
    let mut edges: Vec<(usize, usize)> = Vec::new();
    match topology {
        Topology::Line => edges.extend((1..nodes).map(|node| (node, node - 1))),
        Topology::Ring => edges.extend((0..nodes).map(|node| (node, (node + 1) % nodes))),
        Topology::Star => edges.extend((1..nodes).map(|node| (node, 0))),
        Topology::Mesh => {
            edges.extend((0..nodes).flat_map(|a| (0..nodes).map(move |b| (a, b))));
        }
        Topology::Tree | Topology::Random => {
            edges.extend((1..nodes).map(|node| (node, rng.below(node as u64) as usize)));
        }
    }
    if topology == Topology::Random {
        let more = rng.below(nodes as u64) + 1;
        for _ in 0..more {
            edges.push((rng.below(nodes as u64) as usize, rng.below(nodes as u64) as usize));
        }
    }
    let mut peers = vec![Vec::new(); nodes];
    for (mut from, mut to) in edges {
        if rng.below(3) == 0 {
            (from, to) = (to, from);
        }
        let address = address(to);
        if from != to && !peers[from].contains(&address) {
            peers[from].push(address);
        }
    }
    peers
}
