//! Three real nodes do everything while both ends are written to and all three are watched, and
//! while the middle one is killed and started again.

use crate::mesh::Three;
use crate::support::{PATIENCE, Process, folkmoot, run, spawn, text};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::process::Child;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::Receiver;

/// Writes of each writer before and while the middle one is away, and after it has come back.
const WRITES: u64 = 150;

/// `folkmoot data watch`, which goes on where it was when its node comes back.
struct Watcher {
    child: Child,
    lines: Receiver<String>,
    copy: BTreeMap<String, Value>,
    resets: usize,
}

impl Watcher {
    fn start(node: &Process) -> Watcher {
        let args = ["data", "--url", &node.url, "watch", "w", "--json"];
        let (child, _, lines) = spawn(folkmoot(&args));
        Watcher { child, lines, copy: BTreeMap::new(), resets: 0 }
    }

    /// Applies what it is told until there is a value at `end`.
    fn follow(&mut self, end: &str) {
        while !self.copy.contains_key(end) {
            let line = self.lines.recv_timeout(PATIENCE).expect("a watch that goes on");
            let told: Value = serde_json::from_str(&line).unwrap();
            match (told["path"].as_str(), told.get("value")) {
                (Some(path), Some(value)) => drop(self.copy.insert(path.into(), value.clone())),
                (Some(path), None) => drop(self.copy.remove(path)),
                (None, _) => {
                    self.copy.clear();
                    self.resets += 1;
                }
            }
        }
    }
}

impl Drop for Watcher {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// What is at `w` and below it.
fn held(node: &Process) -> BTreeMap<String, Value> {
    let page = node.json("/v1/data?prefix=w&limit=1000");
    let items = page["items"].as_array().unwrap().iter();
    items.map(|item| (item["path"].as_str().unwrap().into(), item["value"].clone())).collect()
}

/// Puts and deletes again and again, as often as `goal` says, which may rise meanwhile; at `u64::MAX`
/// it ends.
fn write(node: &Process, name: &str, done: &AtomicU64, goal: &AtomicU64) {
    for n in 0.. {
        while n >= goal.load(Ordering::Relaxed) {
            std::thread::yield_now();
        }
        if goal.load(Ordering::Relaxed) == u64::MAX {
            return;
        }
        let path = format!("w/{name}/{}", n % 40);
        match n % 7 {
            6 => drop(node.ask("DELETE", &format!("/v1/data/{path}"), "")),
            _ => node.put(&path, &n.to_string()),
        }
        done.fetch_add(1, Ordering::Relaxed);
    }
}

/// Ends the writers, also when a test fails.
struct AtEnd<'a>(&'a AtomicU64);

impl Drop for AtEnd<'_> {
    fn drop(&mut self) {
        self.0.store(u64::MAX, Ordering::Relaxed);
    }
}

/// The verbs of shared data, from one end to the other; `round` keeps their paths apart.
fn use_all_verbs(one: &Process, other: &Process, round: &str) {
    let at = |name: &str| format!("v/{round}/{name}");
    let post = |items: Value| one.ask("POST", "/v1/data", &json!({ "items": items }).to_string());
    let (status, written) = post(json!([
        {"path": at("batch/1"), "value": 1},
        {"path": at("batch/2"), "value": {"x": 1}},
        {"path": at("short"), "value": "gone soon", "ttl": 2},
    ]));
    assert_eq!(status, 200, "{written}");
    other.wait_for(&at("batch/2"), Some("{\"x\":1}"));
    let written: Value = serde_json::from_str(&written).unwrap();
    let version = format!("\"{}\"", written["items"][0]["version"].as_str().unwrap());
    let if_match = |value| json!([{"path": at("batch/1"), "value": value, "if_match": version}]);
    let (status, answer) = post(if_match(2));
    assert_eq!(status, 200, "{answer}");
    assert_eq!(post(if_match(3)).0, 412);
    other.wait_for(&at("batch/1"), Some("2"));

    let put = |node: &Process, name: &str, strategy: &str, value: &str| {
        let target = format!("/v1/data/{}?strategy={strategy}", at(name));
        let (status, answer) = node.ask("PUT", &target, value);
        assert!((200..300).contains(&status), "{answer}");
        serde_json::from_str::<Value>(&answer).unwrap()["changed"].as_bool().unwrap()
    };
    assert!(put(one, "first", "first", "1"));
    other.wait_for(&at("first"), Some("1"));
    assert!(!put(other, "first", "first", "2"));
    put(one, "merged", "merge", "{\"a\":1}");
    other.wait_for(&at("merged"), Some("{\"a\":1}"));
    put(other, "merged", "merge", "{\"b\":2}");
    one.wait_for(&at("merged"), Some("{\"a\":1,\"b\":2}"));

    let kept = format!("h/{round}");
    for n in 0..3 {
        one.put(&kept, &n.to_string());
        other.wait_for(&kept, Some(&n.to_string()));
    }
    let versions = other.json(&format!("/v1/history/{kept}"))["versions"].clone();
    let versions = versions.as_array().unwrap().iter();
    assert_eq!(versions.map(|kept| kept["value"].clone()).collect::<Vec<_>>(), [2, 1, 0]);

    let (code, scanned, _) = run(&["data", "--url", &other.url, "scan", &at("batch")]);
    assert_eq!((code, scanned.lines().count()), (0, 2), "{scanned}");
    let place = tempfile::tempdir().unwrap();
    let file = place.path().join("some.jsonl");
    let line = |n| format!("{{\"path\":\"{}\",\"value\":{n}}}\n", at(&format!("import/{n}")));
    std::fs::write(&file, (0..50).map(line).collect::<String>()).unwrap();
    assert_eq!(run(&["data", "--url", &one.url, "import", &text(&file)]).0, 0);
    (0..50).for_each(|n| other.wait_for(&at(&format!("import/{n}")), Some(&n.to_string())));

    one.del(&at("batch/1"));
    other.wait_for(&at("batch/1"), None);
    for node in [one, other] {
        node.wait_for(&at("short"), None);
    }
}

/// Exactly one link with each of so many neighbors.
fn assert_links(node: &Process, count: usize) {
    let mut neighbors: Vec<String> = Vec::new();
    node.until("its links", || {
        let links = node.json("/v1/mesh")["links"].as_array().unwrap().clone();
        neighbors = links.iter().map(|link| link["node"].to_string()).collect();
        neighbors.len() == count
    });
    neighbors.sort();
    neighbors.dedup();
    assert_eq!(neighbors.len(), count, "two links with one node");
}

fn do_everything(mut three: Three, links: [usize; 3], ends_are_linked: bool) {
    (0..3).for_each(|i| assert_links(three.node(i), links[i]));
    let mut watchers: Vec<Watcher> = (0..3).map(|i| Watcher::start(three.node(i))).collect();
    use_all_verbs(three.node(0), three.node(2), "before");
    let (first, last) = (three.take(0), three.take(2));
    let (done, goal) = (AtomicU64::new(0), AtomicU64::new(WRITES));
    std::thread::scope(|scope| {
        let _end_in_any_case = AtEnd(&goal);
        for (node, name) in [(&first, "first"), (&last, "last")] {
            let (done, goal) = (&done, &goal);
            scope.spawn(move || write(node, name, done, goal));
        }
        let written = |count| first.until("writes", || done.load(Ordering::Relaxed) >= 2 * count);
        // It dies while they write, and comes back while they write.
        written(WRITES / 2);
        three.kill(1);
        goal.store(2 * WRITES, Ordering::Relaxed);
        if ends_are_linked {
            use_all_verbs(&first, &last, "meanwhile");
        }
        written(3 * WRITES / 2);
        three.start_one(1);
        goal.store(3 * WRITES, Ordering::Relaxed);
        written(3 * WRITES);
    });
    three.put_back(0, first);
    three.put_back(2, last);
    use_all_verbs(three.node(2), three.node(0), "after");
    (0..3).for_each(|i| assert_links(three.node(i), links[i]));
    three.ends_hear_each_other();

    let all = |i: usize| three.node(i).export();
    (1..3).for_each(|i| three.node(i).until("the same export", || all(i) == all(0)));
    three.node(1).put("w/end", "true");
    for (i, watcher) in watchers.iter_mut().enumerate() {
        watcher.follow("w/end");
        assert_eq!(watcher.copy, held(three.node(i)), "the watcher of node {i}");
        assert_eq!(watcher.resets, 0, "it goes on by its token");
    }
}

#[test]
fn a_chain_does_everything_while_its_middle_node_is_killed_and_restarted() {
    do_everything(Three::start([&[], &[0], &[1]]), [1, 2, 1], false);
}

#[test]
fn a_ring_does_everything_while_a_node_is_killed_and_restarted() {
    do_everything(Three::start([&[2], &[0], &[1]]), [2, 2, 2], true);
}

#[test]
fn a_full_mesh_does_everything_while_a_node_is_killed_and_restarted() {
    do_everything(Three::start([&[1, 2], &[0, 2], &[0, 1]]), [2, 2, 2], true);
}
