//! Clients: what they write, where, and what they are told.
//!
//! Paths are grouped by what is written there (`last/`, `first/`, `merge/`, `ends/`), so that each
//! group has one rule; a few are hot, so that writes meet, and many are cold. Everything is mixed
//! under `mixed/`.

use crate::oracle::{Op, Outcome, Replaced, Wish, WriteId, entries_at};
use crate::swarm::Swarm;
use crate::watcher::Watcher;
use crate::world::{Event, World};
use folkmoot_core::access::Principal;
use folkmoot_core::data::read;
use folkmoot_core::engine::Input;
use folkmoot_core::id::{Path, RequestId, SessionId};
use folkmoot_core::request::{
    Caller, Change, Condition, DataRequest, Event as ToldEvent, Reply, Request, Write,
};
use folkmoot_core::rng::Rng;
use std::collections::BTreeMap;

/// The groups of paths, with how often each is written.
const GROUPS: &[(&str, u64)] =
    &[("last", 45), ("first", 12), ("merge", 18), ("ends", 12), ("mixed", 13)];
/// Field names of merged objects.
const FIELDS: &[&str] = &["a", "b", "c", "d"];

/// Values of one bulk write.
const BULK_VALUES: usize = 8;
/// Bulk writes come this fast in a row, in milliseconds,
const BULK_PAUSE_MS: u64 = 1_000;
/// with a longer pause after one in so many.
const BULK_REST_ONE_IN: u64 = 5;
/// How long the longer pause is, in milliseconds.
const BULK_REST_MS: u64 = 60_000;

/// All clients.
pub struct Clients {
    /// Watchers, at most one a node.
    pub watchers: Vec<Watcher>,
    /// Whether the workload goes on.
    pub active: bool,
    /// Answers to questions that are no writes.
    pub answers: BTreeMap<u64, Reply>,
    rng: Rng,
    next: u64,
}

impl Clients {
    /// The clients of a world.
    pub fn new(options: &Swarm) -> Clients {
        let watchers =
            options.watchers.iter().cloned().map(|(node, prefix)| Watcher::new(node, prefix));
        Clients {
            watchers: watchers.collect(),
            active: true,
            answers: BTreeMap::new(),
            rng: Rng::new(options.seed ^ 0xc11e),
            next: 0,
        }
    }

    fn path(&mut self, group: &str, options: &Swarm) -> Path {
        let hot = self.rng.below(100) < options.hot_percent;
        let (letter, count) = if hot { ('h', options.hot) } else { ('c', options.cold) };
        let text = format!("{group}/{letter}{}", self.rng.below(count));
        Path::new(text).expect("a sound path")
    }

    fn group(&mut self) -> &'static str {
        let mut pick = self.rng.below(GROUPS.iter().map(|(_, weight)| weight).sum());
        for (group, weight) in GROUPS {
            if pick < *weight {
                return group;
            }
            pick -= weight;
        }
        "last"
    }
}

impl World {
    /// A client writes something somewhere, and the next one is planned.
    pub(crate) fn client_acts(&mut self) {
        if !self.clients.active {
            return;
        }
        let pause = 1 + self.clients.rng.below(2 * self.options.op_pause_ms);
        self.queue.push(self.now + pause, Event::Client);
        let node = self.clients.rng.below(self.hosts.len() as u64) as usize;
        if !self.hosts[node].is_up() {
            return;
        }
        let several = self.clients.rng.below(100) < 6;
        let count = if several { 2 + self.clients.rng.below(5) } else { 1 };
        let mut writes: Vec<(Write, Wish)> = Vec::new();
        for _ in 0..count {
            let id = WriteId { op: self.clients.next + 1, index: writes.len() };
            let write = self.any_write(node, id);
            if writes.iter().all(|(other, _)| other.path != write.0.path) {
                writes.push(write);
            }
        }
        self.write(node, writes);
    }

    /// A client writes more at once than slow ways take, and the next time is planned.
    pub(crate) fn client_writes_much(&mut self) {
        if !self.clients.active {
            return;
        }
        let rests = self.clients.rng.below(BULK_REST_ONE_IN) == 0;
        let pause = if rests { BULK_REST_MS } else { BULK_PAUSE_MS };
        self.queue.push(self.now + 1 + self.clients.rng.below(pause), Event::Bulk);
        let node = self.clients.rng.below(self.hosts.len() as u64) as usize;
        if !self.hosts[node].is_up() {
            return;
        }
        let bytes = self.options.bulk_bytes as usize / BULK_VALUES;
        let value = |index| WriteId { op: self.clients.next + 1, index }.to_value(bytes);
        let path = |index| Path::new(format!("last/b{index}")).expect("a sound path");
        let write = |index| (Write::put(path(index), value(index)), Wish::Last);
        self.write(node, (0..BULK_VALUES).map(write).collect());
    }

    fn any_write(&mut self, node: usize, id: WriteId) -> (Write, Wish) {
        let clients = &mut self.clients;
        let group = clients.group();
        let path = clients.path(group, &self.options);
        let bytes = clients.rng.below(self.options.value_bytes_max.max(1)) as usize;
        let value = id.to_value(bytes);
        let kind = if group == "mixed" { clients.group() } else { group };
        if clients.rng.below(100) < self.options.delete_percent {
            return (Write::delete(path), Wish::Delete);
        }
        let mut write = Write::put(path.clone(), value.clone());
        let wish = match kind {
            "first" => {
                write.change = Change::PutFirst(value);
                Wish::First
            }
            "merge" => {
                let first = clients.rng.below(FIELDS.len() as u64) as usize;
                let names =
                    &FIELDS[first..(first + 1 + clients.rng.below(3) as usize).min(FIELDS.len())];
                write.change = Change::Merge(
                    names.iter().map(|name| (name.to_string(), value.clone())).collect(),
                );
                Wish::Fields(names.iter().map(|name| name.to_string()).collect())
            }
            "ends" => {
                let ends = self.hosts[node].clock.wall_ms(self.now) + 1 + clients.rng.below(60_000);
                write.expires_ms = Some(ends);
                Wish::Ends(ends)
            }
            _ => {
                write.condition = self.any_condition(node, &path);
                Wish::Last
            }
        };
        (write, wish)
    }

    fn any_condition(&mut self, node: usize, path: &Path) -> Condition {
        match self.clients.rng.below(20) {
            0 => Condition::Absent,
            1 => Condition::Present,
            2 | 3 => {
                let host = &self.hosts[node];
                let wall_ms = host.clock.wall_ms(self.now);
                let found = read::get(host.disk.durable(), path, wall_ms);
                let found = found.expect("memory can be read");
                found.map_or(Condition::Absent, |found| Condition::Is(found.version))
            }
            _ => Condition::Always,
        }
    }

    /// Asks a node to write and lets the oracle know. Returns the request's number.
    pub fn write(&mut self, node: usize, writes: Vec<(Write, Wish)>) -> u64 {
        let id = self.next_request();
        let host = &self.hosts[node];
        let mut replaced = Vec::new();
        for (index, (write, wish)) in writes.iter().enumerate() {
            if *wish == Wish::Delete {
                let held = entries_at(host.disk.view(), &write.path);
                replaced.extend(held.into_iter().filter_map(|(key, entry)| {
                    Some(Replaced { index, key, value: entry.value?, version: entry.version })
                }));
            }
        }
        let op = Op {
            node,
            writer: host.id,
            at_ms: self.now,
            writes: writes.iter().map(|(write, wish)| (write.path.clone(), wish.clone())).collect(),
            replaced,
            outcome: Outcome::Unknown,
        };
        self.trace(|| format!("client {id} at node-{node}: {:?}", op.writes));
        self.oracle.ops.insert(id, op);
        let writes = writes.into_iter().map(|(write, _)| write).collect();
        self.request(node, id, Request::Data(DataRequest::Write(writes)));
        id
    }

    /// Puts a value that names its write and lasts. Returns the request's number.
    pub fn put(&mut self, node: usize, path: &Path) -> u64 {
        self.write_one(node, path, Wish::Last)
    }

    /// Writes as wished a value that names its write. Returns the request's number.
    pub fn write_one(&mut self, node: usize, path: &Path, wish: Wish) -> u64 {
        let value = WriteId { op: self.clients.next + 1, index: 0 }.to_value(0);
        let mut write = Write::put(path.clone(), value.clone());
        match &wish {
            Wish::Last => {}
            Wish::Ends(end) => write.expires_ms = Some(*end),
            Wish::First => write.change = Change::PutFirst(value),
            Wish::Fields(names) => {
                let fields = names.iter().map(|name| (name.clone(), value.clone()));
                write.change = Change::Merge(fields.collect());
            }
            Wish::Delete => write.change = Change::Delete,
        }
        self.write(node, vec![(write, wish)])
    }

    /// Asks a node something that is no write. The answer is found under the returned number.
    pub fn ask(&mut self, node: usize, request: Request) -> u64 {
        let id = self.next_request();
        self.request(node, id, request);
        id
    }

    pub(crate) fn next_request(&mut self) -> u64 {
        self.clients.next += 1;
        self.clients.next
    }

    pub(crate) fn request(&mut self, node: usize, id: u64, request: Request) {
        let session = self.hosts[node].session;
        let caller = Caller { session, request: RequestId(id), principal: Principal::Owner };
        self.feed(node, Input::Request(caller, request));
    }

    /// A node answers.
    pub(crate) fn on_reply(
        &mut self,
        node: usize,
        session: SessionId,
        request: RequestId,
        reply: Reply,
    ) {
        if self.on_person_reply(session, request, &reply) {
            return;
        }
        let id = request.0;
        self.mix(&[5, node as u64, id]);
        self.trace(|| match &reply {
            Reply::Mesh(status) => {
                format!("client {id} is told the state, number {}", status.number)
            }
            reply => format!("client {id} is told {reply:?}"),
        });
        let Some(op) = self.oracle.ops.get_mut(&id) else {
            if let Reply::Watching { number } = reply {
                self.on_watching(node, id, number);
            } else {
                self.clients.answers.insert(id, reply);
            }
            return;
        };
        match reply {
            Reply::Written(written) => {
                op.outcome = Outcome::Done(written, self.now);
                crate::invariants::versions_are_unique::on_written(self, id);
                crate::invariants::acknowledged_writes_survive::on_written(self, node, id);
            }
            Reply::Failed(code, _) => op.outcome = Outcome::Refused(code),
            other => {
                let text = format!("node-{node} answered a write with {other:?}");
                self.breaks("acknowledged_writes_survive", text);
            }
        }
    }

    /// A node tells a session something.
    pub(crate) fn on_event(&mut self, node: usize, session: SessionId, event: ToldEvent) {
        match event {
            ToldEvent::Changed(watch, changes) => self.on_changed(node, session, watch, changes),
            ToldEvent::Chat(told) => self.on_person_told(session, told),
        }
    }
}
