//! Shared data between a few engines: first proofs that the parts fit. The simulator does the rest.

use crate::access::Principal;
use crate::data::read;
use crate::engine::{Engine, EngineConfig, Input, Output, Step};
use crate::error::ErrorCode;
use crate::id::{NetworkId, NodeId, Path, RequestId, SessionId, WatchId};
use crate::limits::Limits;
use crate::request::*;
use crate::store::MemoryStore;
use crate::time::Now;
use crate::toy::{Toy, World};
use bytes::Bytes;

impl World {
    fn write(&mut self, at: usize, write: Write) -> Reply {
        self.ask(at, Request::Data(DataRequest::Write(vec![write])))
    }

    fn put(&mut self, at: usize, to: &str, value: &str) {
        let reply = self.write(at, Write::put(path(to), value.to_owned()));
        assert!(matches!(reply, Reply::Written(_)), "{reply:?}");
    }

    fn get(&self, at: usize, from: &str) -> Option<String> {
        let found = read::get(&self.nodes[at].store, &path(from), self.now.wall_ms).unwrap()?;
        Some(match found.value {
            read::Value::Plain(value) => text(&value),
            read::Value::Fields { base, fields } => {
                let base = base.iter().map(|base| format!("{}+", text(base)));
                let fields = fields.iter().map(|(name, value)| format!("{name}={}", text(value)));
                base.chain(fields).collect::<Vec<_>>().join(",")
            }
        })
    }

    fn status(&mut self, at: usize) -> MeshStatus {
        match self.ask(at, Request::Mesh(MeshRequest::Status)) {
            Reply::Mesh(status) => *status,
            other => panic!("{other:?}"),
        }
    }

    /// Links nodes 0 and 1: bytes of data messages until they agree, and how many messages in a
    /// row that took.
    fn cost_of_meeting(&mut self) -> (u64, u64) {
        let bytes = |world: &mut World| -> u64 {
            (0..2).map(|at| world.status(at).stats.repair_bytes).sum()
        };
        let before = bytes(self);
        self.depth = 0;
        self.link(0, 1);
        let spent = bytes(self) - before;
        let depth = self.depth;
        self.run(3_000);
        (spent, depth)
    }

    fn assert_same(&mut self) {
        let digests: Vec<_> = (0..self.nodes.len()).map(|at| self.status(at).digest).collect();
        assert!(digests.windows(2).all(|pair| pair[0] == pair[1]), "the nodes differ");
    }
}

fn path(text: &str) -> Path {
    Path::new(text.to_owned()).unwrap()
}

fn text(bytes: &Bytes) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

fn chain(count: usize) -> World {
    let mut world = World::new(count);
    for a in 1..count {
        world.link(a - 1, a);
    }
    world.run(1_000);
    world
}

#[test]
fn a_put_reaches_the_end_of_a_chain_at_once() {
    let mut world = chain(5);
    world.put(0, "users/1", "anna");
    assert_eq!(world.get(4, "users/1").as_deref(), Some("anna"));
    world.put(4, "users/1", "billy");
    assert_eq!(world.get(0, "users/1").as_deref(), Some("billy"));
    assert!(matches!(world.write(2, Write::delete(path("users/1"))), Reply::Written(_)));
    assert_eq!(world.get(0, "users/1"), None);
    world.assert_same();
}

#[test]
fn a_late_joiner_and_a_node_that_was_away_catch_up() {
    let mut world = chain(2);
    for n in 0..3_000 {
        world.put(n % 2, &format!("a/{n}"), "before");
    }
    world.nodes.truncate(2);
    let mut more = World::new(3);
    std::mem::swap(&mut more.nodes[0], &mut world.nodes[0]);
    std::mem::swap(&mut more.nodes[1], &mut world.nodes[1]);
    more.links = std::mem::take(&mut world.links);
    (more.now, more.next) = (world.now, world.next);
    more.link(1, 2);
    more.run(2_000);
    assert_eq!(more.get(2, "a/2999").as_deref(), Some("before"));
    more.assert_same();
    more.cut(1, 2);
    for n in 0..100 {
        more.put(0, &format!("b/{n}"), "away");
        more.put(2, &format!("c/{n}"), "alone");
    }
    more.run(1_000);
    let before = more.status(1).stats.repair_bytes;
    more.link(1, 2);
    more.run(2_000);
    more.assert_same();
    assert_eq!(more.get(0, "c/99").as_deref(), Some("alone"));
    let cost = more.status(1).stats.repair_bytes - before;
    assert!(cost < 20_000, "catching up with 100 entries cost {cost} bytes");
}

/// As if two nodes met for the first time: what they know of each other is lost.
fn forget_each_other(world: &mut World) {
    use crate::store::Store;
    for at in 0..2 {
        let node = &mut world.nodes[at];
        let mut batch = crate::store::Batch::default();
        let forget = &mut |key: &[u8], _: &[u8]| {
            batch.delete(key.to_vec());
            true
        };
        node.store.scan(b"ma", b"mb", forget).unwrap();
        node.store.apply(&batch);
        node.engine = reopen(&node.store, at, world.now);
    }
}

/// `FOLKMOOT_COMPARE_ENTRIES` makes the sets larger than a test needs.
#[test]
#[allow(clippy::disallowed_methods, reason = "a test may be told its size")]
fn two_large_sets_are_joined_in_four_round_trips_and_128_kib_beside_what_is_missing() {
    let entries = std::env::var("FOLKMOOT_COMPARE_ENTRIES");
    let entries: usize = entries.map_or(5_000, |entries| entries.parse().unwrap());
    let mut world = World::new(2);
    for first in (0..entries).step_by(1_000) {
        let write = |n| Write::put(path(&format!("a/{n}")), "x".repeat(100));
        let writes = (first..entries.min(first + 1_000)).map(write).collect();
        assert!(matches!(
            world.ask(0, Request::Data(DataRequest::Write(writes))),
            Reply::Written(_)
        ));
    }
    world.link(0, 1);
    world.run(2_000);
    world.assert_same();
    world.cut(0, 1);
    let equal = world.cost_of_meeting();
    assert!(equal.0 < 1024, "equal sets agree for {} bytes", equal.0);
    world.cut(0, 1);
    for n in 0..100 {
        world.put(0, &format!("b/{n}"), &"y".repeat(100));
    }
    forget_each_other(&mut world);
    let (bytes, depth) = world.cost_of_meeting();
    world.assert_same();
    let beside = bytes - 100 * (100 + 3);
    println!("{entries} entries: {beside} bytes, {depth} messages in a row");
    assert!(beside <= 128 * 1024, "comparing cost {beside} bytes");
    assert!(depth <= 8, "{depth} messages in a row");
    world.cut(0, 1);
    for n in 0..100 {
        world.put(0, &format!("c/{n}"), &"y".repeat(100));
    }
    let (bytes, _) = world.cost_of_meeting();
    world.assert_same();
    let beside = bytes - 100 * (100 + 3);
    println!("through the change feed: {beside} bytes");
    assert!(beside < 64 * 100, "the change feed cost {beside} bytes beside the entries");
}

fn reopen(store: &MemoryStore, at: usize, now: Now) -> Engine {
    let config = EngineConfig {
        identity: Box::new(Toy(NodeId([at as u8 + 1; 32]))),
        network: NetworkId([9; 16]),
        boot: 2,
        seed: 77,
        peers: Vec::new(),
        addresses: Vec::new(),
        histories: Vec::new(),
        limits: Limits::default(),
    };
    Engine::open(config, now, store, &mut Step::default())
}

#[test]
fn conditions_are_judged_within_one_step() {
    let mut world = World::new(1);
    let mut write = Write::put(path("a"), "1");
    write.condition = Condition::Absent;
    let node = &mut world.nodes[0];
    let mut step = Step::default();
    for request in 0..2 {
        let caller = Caller {
            session: SessionId(1),
            request: RequestId(request),
            principal: Principal::Owner,
        };
        let request = Request::Data(DataRequest::Write(vec![write.clone()]));
        node.engine.handle(world.now, Input::Request(caller, request), &node.store, &mut step);
    }
    let replies: Vec<_> = step.outputs.iter().filter(|o| matches!(o, Output::Reply(..))).collect();
    assert!(matches!(replies[0], Output::Reply(_, _, Reply::Written(_))));
    assert!(matches!(replies[1], Output::Reply(_, _, Reply::Failed(ErrorCode::Conflict, 0))));
}

#[test]
fn fields_of_concurrent_merges_are_all_there() {
    let mut world = chain(2);
    world.put(0, "user", "{}");
    world.cut(0, 1);
    world.write(0, merge("user", &[("name", "anna")]));
    world.write(1, merge("user", &[("age", "30")]));
    world.link(0, 1);
    world.run(2_000);
    assert_eq!(world.get(0, "user").as_deref(), Some("{}+,age=30,name=anna"));
    world.assert_same();
    world.write(1, Write::delete(path("user")));
    assert_eq!(world.get(0, "user"), None);
}

#[test]
fn the_first_of_two_concurrent_first_writes_stands() {
    let mut world = chain(2);
    world.cut(0, 1);
    let first = |value: &'static str| {
        let change = Change::PutFirst(Bytes::from_static(value.as_bytes()));
        Write { change, ..Write::put(path("name"), "") }
    };
    world.write(1, first("one"));
    world.now.wall_ms += 5;
    world.write(0, first("two"));
    world.link(0, 1);
    world.run(2_000);
    assert_eq!(world.get(0, "name").as_deref(), Some("one"));
    let Reply::Written(written) = world.write(0, first("three")) else { panic!() };
    assert!(written[0].existed && !written[0].changed);
    world.write(0, Write::delete(path("name")));
    world.write(1, first("four"));
    assert_eq!(world.get(0, "name").as_deref(), Some("four"));
}

#[test]
fn a_watch_two_hops_away_hears_a_put_once_and_the_end_of_its_time() {
    let mut world = chain(3);
    let watch = DataRequest::Watch { watch: WatchId(1), prefix: Some(path("a")) };
    assert!(matches!(world.ask(2, Request::Data(watch)), Reply::Watching { .. }));
    let expires_ms = Some(world.now.wall_ms + 500);
    world.write(0, Write { expires_ms, ..Write::put(path("a/b"), "short") });
    world.put(0, "ab", "elsewhere");
    world.run(2_000);
    let heard: Vec<_> = world.nodes[2].events.iter().map(|change| change.expired).collect();
    assert_eq!(heard, [false, true]);
    assert_eq!(world.get(2, "a/b"), None);
}

#[test]
fn a_history_keeps_as_many_versions_as_asked() {
    let mut world = World::new(1);
    for value in ["1", "2", "3", "4"] {
        world.put(0, "old/a", value);
        world.put(0, "new/a", value);
    }
    let kept = |at: &str| -> Vec<String> {
        let versions = read::history(&world.nodes[0].store, &path(at)).unwrap();
        versions.iter().map(|older| text(older.entry.value.as_ref().unwrap())).collect()
    };
    assert_eq!(kept("old/a"), ["3", "2"]);
    assert_eq!(kept("new/a"), Vec::<String>::new());
}

fn merge(at: &str, fields: &[(&str, &str)]) -> Write {
    let field = |(name, value): &(&str, &str)| (name.to_string(), Bytes::from(value.to_string()));
    let change = Change::Merge(fields.iter().map(field).collect());
    Write { change, ..Write::put(path(at), "") }
}

#[test]
fn a_history_of_a_merged_object_has_the_older_values_of_each_field() {
    let mut world = World::new(1);
    world.put(0, "old/a", "{}");
    for n in 1..=4 {
        world.write(0, merge("old/a", &[("n", &n.to_string())]));
        world.write(0, merge("old/ab", &[("n", "of another path")]));
    }
    world.write(0, merge("old/a", &[("name", "anna")]));
    world.write(0, merge("old/a", &[("name", "bob")]));
    world.put(0, "old/a", "whole");
    let older = read::history(&world.nodes[0].store, &path("old/a")).unwrap();
    let told: Vec<(Option<&str>, String)> = older
        .iter()
        .map(|older| (older.field.as_deref(), text(older.entry.value.as_ref().unwrap())))
        .collect();
    let expected = [(Some("name"), "anna"), (Some("n"), "3"), (Some("n"), "2"), (None, "{}")];
    assert_eq!(told, expected.map(|(field, value)| (field, value.to_owned())));
}

#[test]
fn a_merged_object_is_limited_as_a_whole_to_the_field_and_to_the_byte() {
    use crate::limits::{FIELDS_MAX, VALUE_BYTES_MAX};
    let mut world = World::new(1);
    for n in 0..FIELDS_MAX {
        let reply = world.write(0, merge("many", &[(&format!("f{n}"), "1")]));
        assert!(matches!(reply, Reply::Written(_)), "{n}: {reply:?}");
    }
    let reply = world.write(0, merge("many", &[("one more", "1")]));
    assert!(matches!(reply, Reply::Failed(ErrorCode::FieldsMax, 0)), "{reply:?}");
    let reply = world.write(0, merge("many", &[("f7", "2")]));
    assert!(matches!(reply, Reply::Written(_)), "{reply:?}");

    world.put(0, "large", "{}");
    let room = VALUE_BYTES_MAX - "{}".len() - "a".len() - "b".len();
    let reply = world.write(0, merge("large", &[("a", &"x".repeat(room / 2))]));
    assert!(matches!(reply, Reply::Written(_)), "{reply:?}");
    let rest = room - room / 2;
    let reply = world.write(0, merge("large", &[("b", &"x".repeat(rest + 1))]));
    assert!(matches!(reply, Reply::Failed(ErrorCode::ValueTooLarge, 0)), "{reply:?}");
    let reply = world.write(0, merge("large", &[("b", &"x".repeat(rest))]));
    assert!(matches!(reply, Reply::Written(_)), "{reply:?}");
    let reply = world.write(0, merge("large", &[("a", &"y".repeat(room / 2))]));
    assert!(matches!(reply, Reply::Written(_)), "a field is replaced: {reply:?}");
    world.put(0, "large", "{}");
    let reply = world.write(0, merge("large", &[("b", &"x".repeat(rest + 1))]));
    assert!(matches!(reply, Reply::Written(_)), "what was there is gone: {reply:?}");
}

#[test]
fn a_ping_crosses_the_chain_and_a_removed_node_is_shut_out() {
    let mut world = chain(4);
    let far = world.nodes[3].engine.node();
    let pong = world.ask(0, Request::Mesh(MeshRequest::Ping(far)));
    assert!(matches!(pong, Reply::Pong { hops: 3, .. }), "{pong:?}");
    world.ask(0, Request::Mesh(MeshRequest::Remove(far)));
    world.run(1_000);
    assert_eq!(world.status(2).links.len(), 1);
    world.link(2, 3);
    world.run(1_000);
    assert_eq!(world.status(2).links.len(), 1);
}

#[test]
fn a_ping_goes_as_far_as_its_hops_and_no_further() {
    use crate::limits::HOPS_MAX;
    let hops = usize::from(HOPS_MAX);
    let mut world = chain(hops + 2);
    let at_limit = world.nodes[hops].engine.node();
    let pong = world.ask(0, Request::Mesh(MeshRequest::Ping(at_limit)));
    assert!(matches!(pong, Reply::Pong { hops, .. } if hops == u32::from(HOPS_MAX)), "{pong:?}");
    let beyond = world.nodes[hops + 1].engine.node();
    let caller =
        Caller { session: SessionId(1), request: RequestId(0), principal: Principal::Owner };
    world.input(0, Input::Request(caller, Request::Mesh(MeshRequest::Ping(beyond))));
    world.run(11_000);
    let reply = world.nodes[0].replies.pop();
    let failed = matches!(reply, Some((_, Reply::Failed(ErrorCode::Unreachable, 0))));
    assert!(failed, "{reply:?}");
    assert!(world.status(hops).stats.undeliverable > 0, "it ends one hop before");
}

#[test]
fn a_full_mesh_of_ten_gets_each_put_about_once() {
    let mut world = World::new(10);
    for a in 0..10 {
        for b in 0..a {
            world.link(a, b);
        }
    }
    world.run(2_000);
    let before: u64 = (0..10).map(|at| copies(&world.status(at).stats)).sum();
    for n in 0..1_000 {
        world.put(n % 10, &format!("p/{n}"), "value");
        if n % 10 == 0 {
            world.run(50);
        }
    }
    world.run(5_000);
    world.assert_same();
    let sent = (0..10).map(|at| copies(&world.status(at).stats)).sum::<u64>() - before;
    assert!(sent <= 9_000 * 12 / 10, "{sent} copies for 9,000");
}

fn copies(stats: &crate::stats::Stats) -> u64 {
    stats.pushed + stats.caught_up
}

fn away_for_longer_than_the_grace(world: &mut World) {
    // Only the wall clock moves, so that the links see no silence.
    world.now.wall_ms += 40 * 24 * 3_600_000;
    world.run(120_000);
}

#[test]
fn what_was_deleted_does_not_return_with_a_node_that_was_away_for_longer_than_the_grace() {
    let mut world = chain(3);
    for at in ["dead", "kept", "gone"] {
        world.put(0, at, "1");
    }
    world.run(30_000);
    world.cut(1, 2);
    world.run(15_000);
    world.write(0, Write::delete(path("dead")));
    world.put(2, "mine", "new");
    world.write(2, Write::delete(path("gone")));
    world.run(15_000);
    away_for_longer_than_the_grace(&mut world);
    assert_eq!(world.status(0).tombstones, 1, "kept: a member is away");
    assert_eq!(world.status(2).tombstones, 1, "kept: nobody has seen it yet");
    world.link(1, 2);
    world.run(30_000);
    for at in 0..3 {
        assert_eq!(world.get(at, "dead"), None, "node {at}");
        assert_eq!(world.get(at, "gone"), None, "node {at}");
        assert_eq!(world.get(at, "kept").as_deref(), Some("1"), "node {at}");
        assert_eq!(world.get(at, "mine").as_deref(), Some("new"), "node {at}");
    }
    world.run(300_000); // until all are sure that nothing comes late
    world.assert_same();
    assert_eq!(world.status(0).tombstones, 0, "all members have agreed to forget");
}

#[test]
fn neighbors_know_soon_after_they_first_meet_that_they_are_in_sync() {
    for (at_a, at_b) in [(0, 0), (3, 0), (0, 3), (3, 3), (300, 1), (1, 300), (300, 300)] {
        let mut world = World::new(2);
        (0..at_a).for_each(|n| world.put(0, &format!("a/{n}"), "x"));
        (0..at_b).for_each(|n| world.put(1, &format!("b/{n}"), "y"));
        world.link(0, 1);
        world.run(1_000);
        for node in 0..2 {
            let link = world.status(node).links[0].in_sync;
            assert!(link, "node {node} after {at_a} and {at_b} entries");
        }
    }
}
