//! Every node reaches every node that it can reach: messages get there and back, and the routes
//! have the length of the shortest way through the links that there are.

use super::{Invariant, Survey, Verdict};
use crate::world::World;
use folkmoot_core::id::NodeId;
use folkmoot_core::request::{MeshRequest, MeshStatus, Reply, Request};
use std::collections::{BTreeMap, VecDeque};

/// How long the answer to a ping may take, in milliseconds.
const ANSWER_MS_MAX: u64 = 20_000;

/// Routes are true and pings are answered.
#[derive(Default)]
pub struct EveryNodeReaches {
    survey: Survey,
    pings: Vec<(usize, usize, u64)>,
    pinged_ms: u64,
}

impl Invariant for EveryNodeReaches {
    fn name(&self) -> &'static str {
        "every_node_reaches"
    }

    fn patience_ms(&self, world: &World) -> u64 {
        world.options.patience_ms
    }

    fn check(&mut self, world: &mut World) -> Verdict {
        if self.pings.is_empty() {
            let Some(statuses) = self.survey.poll(world) else {
                return Verdict::NotYet("some nodes do not tell their state".to_owned());
            };
            if let Err(text) = routes_are_true(world, &statuses) {
                return Verdict::NotYet(text);
            }
            self.ping_all(world);
            return Verdict::NotYet("no ping has been answered".to_owned());
        }
        let answered = |(_, _, id): &(usize, usize, u64)| world.clients.answers.contains_key(id);
        if !self.pings.iter().all(answered) && world.now < self.pinged_ms + ANSWER_MS_MAX {
            return Verdict::NotYet("not all pings are answered".to_owned());
        }
        let verdict = self.judge(world);
        if verdict != Verdict::Holds {
            self.pings.clear(); // the links may have changed: everything is looked at again
        }
        verdict
    }
}

impl EveryNodeReaches {
    fn ping_all(&mut self, world: &mut World) {
        let nodes = world.hosts.len();
        self.pinged_ms = world.now;
        for from in 0..nodes {
            for to in (0..nodes).filter(|to| *to != from) {
                let ping = MeshRequest::Ping(world.hosts[to].id);
                self.pings.push((from, to, world.ask(from, Request::Mesh(ping))));
            }
        }
    }

    fn judge(&self, world: &World) -> Verdict {
        for (from, to, id) in &self.pings {
            match world.clients.answers.get(id) {
                Some(Reply::Pong { hops, .. }) => {
                    let distance = distances(world, *from).get(to).copied();
                    if distance != Some(*hops) {
                        return Verdict::NotYet(format!(
                            "a ping from node-{from} to node-{to} took {hops} hops, not {distance:?}"
                        ));
                    }
                }
                answer => {
                    return Verdict::NotYet(format!(
                        "a ping from node-{from} to node-{to} got {answer:?}"
                    ));
                }
            }
        }
        Verdict::Holds
    }
}

/// Whether every node sees the links that there are, and the ways through them.
fn routes_are_true(world: &World, statuses: &[MeshStatus]) -> Result<(), String> {
    let nodes = world.hosts.len();
    for a in 0..nodes {
        for b in a + 1..nodes {
            let links = world.network.between(a, b).len();
            if links > 1 {
                return Err(format!("node-{a} and node-{b} have {links} links"));
            }
        }
    }
    let index: BTreeMap<NodeId, usize> =
        world.hosts.iter().map(|host| (host.id, host.index)).collect();
    for (node, status) in statuses.iter().enumerate() {
        let distances = distances(world, node);
        if distances.len() < nodes {
            return Err(format!("from node-{node} only {} nodes can be reached", distances.len()));
        }
        for other in 0..nodes {
            let id = world.hosts[other].id;
            let seen = status.nodes.iter().find(|seen| seen.node == id);
            let hops = seen.and_then(|seen| seen.hops);
            let mut links: Vec<NodeId> = (0..nodes)
                .filter(|third| !world.network.between(other, *third).is_empty())
                .map(|third| world.hosts[third].id)
                .collect();
            links.sort_unstable();
            if seen.is_some_and(|seen| seen.links != links) {
                return Err(format!("node-{node} does not know the links of node-{other}"));
            }
            if hops != distances.get(&other).copied() {
                return Err(format!(
                    "node-{node} sees node-{other} at {hops:?} hops, truly {:?}",
                    distances.get(&other)
                ));
            }
        }
        let ghost =
            status.nodes.iter().find(|seen| seen.hops.is_some() && !index.contains_key(&seen.node));
        if let Some(ghost) = ghost {
            return Err(format!("node-{node} sees a way to {:?}, which is gone", ghost.node));
        }
    }
    Ok(())
}

/// Links on the shortest way to every node that can be reached.
fn distances(world: &World, from: usize) -> BTreeMap<usize, u32> {
    let mut found = BTreeMap::from([(from, 0)]);
    let mut next = VecDeque::from([from]);
    while let Some(node) = next.pop_front() {
        let hops = found[&node] + 1;
        for other in 0..world.hosts.len() {
            if !found.contains_key(&other) && !world.network.between(node, other).is_empty() {
                found.insert(other, hops);
                next.push_back(other);
            }
        }
    }
    found
}
