//! Shared data on one node, through the library.
#![allow(clippy::unwrap_used, reason = "a test may stop at what it did not expect")]

use folkmoot::api::watch::{Since, Told};
use folkmoot::api::{Change, PutOptions, Strategy, Value};
use folkmoot::{Error, Limits, Node};
use folkmoot_core::error::ErrorCode;
use folkmoot_core::request::Condition;
use serde_json::json;
use std::path::Path;
use std::time::{Duration, Instant};

async fn start(path: &Path) -> Node {
    Node::builder().listen("127.0.0.1:0").data_dir(path).start().await.unwrap()
}

async fn fresh() -> Node {
    Node::builder().listen("127.0.0.1:0").start().await.unwrap()
}

async fn text(node: &Node, path: &str) -> String {
    node.get(path).await.unwrap().map_or("-".into(), |value| value.to_string())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_value_is_put_read_scanned_and_deleted() {
    let node = fresh().await;
    let written = node.put("users/1", &json!({"name": "Alice"})).await.unwrap();
    assert!(written.changed && !written.existed && written.timestamp() > 1_600_000_000_000);
    assert_eq!(text(&node, "users/1").await, r#"{"name":"Alice"}"#);
    node.put("users/2", "Bob").await.unwrap();
    node.put("users2", &2).await.unwrap();
    let paths = |items: Vec<folkmoot::api::Item>| -> Vec<String> {
        items.into_iter().map(|item| item.path).collect()
    };
    assert_eq!(paths(node.scan("users", None).await.unwrap()), ["users/1", "users/2", "users2"]);
    assert_eq!(paths(node.scan("users/", Some(1)).await.unwrap()), ["users/1"]);
    let rest = node.data().scan("users", None, Some("users/1")).await.unwrap();
    assert_eq!(rest[0].value.parse::<String>().unwrap(), "Bob");
    assert_eq!(paths(rest), ["users/2", "users2"]);
    assert!(node.del("users/1").await.unwrap());
    assert!(!node.del("users/1").await.unwrap());
    assert_eq!(text(&node, "users/1").await, "-");
    node.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_put_is_there_after_a_restart_and_the_node_is_the_same() {
    let place = tempfile::tempdir().unwrap();
    let node = start(place.path()).await;
    let id = node.id();
    for number in 0..500 {
        node.put(&format!("n/{number:03}"), &number).await.unwrap();
    }
    node.close().await;
    let node = start(place.path()).await;
    assert_eq!(node.id(), id);
    assert_eq!(node.scan("n/", None).await.unwrap().len(), 500);
    assert_eq!(text(&node, "n/499").await, "499");
    let in_use = Node::builder().listen("127.0.0.1:0").data_dir(place.path()).start().await;
    assert!(matches!(in_use.unwrap_err(), Error::InUse(_)));
    node.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flipped_byte_in_a_table_of_entries_is_refused_at_the_next_start() {
    let place = tempfile::tempdir().unwrap();
    let node = start(place.path()).await;
    let tables = place.path().join("store/keyspaces");
    let large = "x".repeat(200 * 1024);
    let deadline = Instant::now() + Duration::from_secs(60);
    let mut number = 0;
    let table = loop {
        let table =
            files(&tables).into_iter().find(|file| file.metadata().unwrap().len() > 1 << 20);
        if let Some(table) = table {
            break table;
        }
        assert!(Instant::now() < deadline, "no table was written");
        node.put(&format!("n/{number:03}"), &format!("{number}{large}")).await.unwrap();
        number += 1;
    };
    node.close().await;
    let mut bytes = std::fs::read(&table).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    std::fs::write(&table, bytes).unwrap();
    let refused = Node::builder().listen("127.0.0.1:0").data_dir(place.path()).start().await;
    assert!(matches!(refused.unwrap_err(), Error::Damaged { .. }));
}

fn files(path: &Path) -> Vec<std::path::PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(path).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() { found.extend(files(&path)) } else { found.push(path) }
    }
    found
}

#[tokio::test(flavor = "multi_thread")]
async fn settings_over_their_limits_are_refused_by_one_and_taken_at_the_limit() {
    let advertise = |count, bytes| {
        let address = |n| {
            let length = bytes - "http://0.:3655".len();
            let letter = |at| if at % 50 == 49 && at + 1 < length { '.' } else { 'x' };
            let name: String = (0..length).map(letter).collect();
            format!("http://{n}.{name}:3655")
        };
        let builder = Node::builder().listen("127.0.0.1:0");
        (0..count).map(address).fold(builder, folkmoot::Builder::advertise)
    };
    let history = |versions| Node::builder().listen("127.0.0.1:0").history("h", versions);
    for (good, bad, named) in [
        (advertise(8, 20), advertise(9, 20), "at most 8"),
        (advertise(8, 256), advertise(8, 257), "256 bytes"),
        (history(100), history(101), "more than 100"),
    ] {
        let refused = bad.start().await.unwrap_err();
        assert!(matches!(&refused, Error::Setting(why) if why.contains(named)), "{refused}");
        good.start().await.unwrap().close().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_port_in_use_is_refused_by_name() {
    let node = fresh().await;
    let second = Node::builder().listen(node.addr()).start().await.unwrap_err();
    assert!(matches!(second, Error::Listen { .. }), "{second}");
    assert!(second.to_string().contains(&node.addr().to_string()), "{second}");
    node.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn bad_paths_and_values_are_refused_and_change_nothing() {
    let node = fresh().await;
    for path in ["", "/a", "a/", "a//b", "a/../b", "a\0b"] {
        let refused = node.put(path, &1).await.unwrap_err();
        assert!(refused.code().is_some(), "{path:?}: {refused}");
    }
    let deep = format!("{}{}", "[".repeat(40), "]".repeat(40));
    assert!(matches!(Value::from_text(deep), Err(Error::Value(_))));
    let large = "x".repeat(300 * 1024);
    let refused = node.put("large", &large).await.unwrap_err();
    assert_eq!(refused.code(), Some(ErrorCode::ValueTooLarge));
    assert!(node.scan("", None).await.unwrap().is_empty());
    node.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_is_done_whole_or_not_at_all() {
    let node = fresh().await;
    let mut batch = node.data().batch();
    batch.put("a", &1).unwrap().put("b", &2).unwrap().del("c").unwrap();
    let written = batch.commit().await.unwrap();
    assert_eq!(written.len(), 3);
    assert!(!written[2].existed);
    let mut batch = node.data().batch();
    batch.put("a", &3).unwrap();
    let absent = PutOptions { condition: Condition::Absent, ..PutOptions::default() };
    batch.put_with("b", &3, absent).unwrap();
    assert_eq!(batch.commit().await.unwrap_err().code(), Some(ErrorCode::Conflict));
    assert_eq!(text(&node, "a").await, "1");
    node.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_condition_holds_only_for_the_version_that_was_read() {
    let node = fresh().await;
    let data = node.data();
    let first = node.put("a", &1).await.unwrap();
    let is = |version| PutOptions { condition: Condition::Is(version), ..PutOptions::default() };
    let second = data.put_with("a", &2, is(first.version)).await.unwrap();
    let late = data.put_with("a", &3, is(first.version)).await.unwrap_err();
    assert_eq!(late.code(), Some(ErrorCode::Conflict));
    assert_eq!(data.get("a").await.unwrap().unwrap().version, second.version);
    node.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn first_keeps_the_first_and_merge_keeps_what_is_not_named() {
    let node = fresh().await;
    let data = node.data();
    let with = |strategy| PutOptions { strategy, ..PutOptions::default() };
    assert!(data.put_with("f", "one", with(Some(Strategy::First))).await.unwrap().changed);
    assert!(!data.put_with("f", "two", with(Some(Strategy::First))).await.unwrap().changed);
    assert_eq!(text(&node, "f").await, "\"one\"");
    data.put("m", &json!({"a": 1, "b": 1})).await.unwrap();
    data.put_with("m", &json!({"b": 2, "c": 2}), with(Some(Strategy::Merge))).await.unwrap();
    assert_eq!(text(&node, "m").await, r#"{"a":1,"b":2,"c":2}"#);
    assert!(data.put_with("m", &[1], with(Some(Strategy::Merge))).await.is_err());
    data.put("m", &json!({"z": 1})).await.unwrap();
    assert_eq!(text(&node, "m").await, r#"{"z":1}"#);
    node.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_value_ends_with_its_time_to_live_and_watchers_are_told() {
    let node = fresh().await;
    let mut changes = node.subscribe("t").await.unwrap();
    let ttl = PutOptions { ttl: Some(Duration::from_millis(300)), ..PutOptions::default() };
    node.data().put_with("t/1", &1, ttl).await.unwrap();
    let first = changes.next().await.unwrap();
    assert!(matches!(first, Change::Put(item) if item.expires_ms.is_some()));
    let second = changes.next().await.unwrap();
    assert_eq!(second, Change::Gone("t/1".into()));
    assert_eq!(text(&node, "t/1").await, "-");
    node.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_history_keeps_older_values_where_it_was_asked_for() {
    let node = Node::builder().listen("127.0.0.1:0").history("h", 2).start().await.unwrap();
    for number in 0..5 {
        node.put("h/a", &number).await.unwrap();
        node.put("other", &number).await.unwrap();
    }
    let older = node.data().history("h/a").await.unwrap();
    let values: Vec<String> = older.iter().map(|item| item.value.to_string()).collect();
    assert_eq!(values, ["3", "2"]);
    assert!(node.data().history("other").await.unwrap().is_empty());
    node.close().await;
}

/// What a watcher knows who applies all that it is told.
#[derive(Default)]
struct Copy {
    values: std::collections::BTreeMap<String, String>,
    token: Option<folkmoot::api::watch::Token>,
    resets: usize,
}

impl Copy {
    fn apply(&mut self, told: Told) {
        match told {
            Told::Reset => {
                self.values.clear();
                self.resets += 1;
            }
            Told::Value(found) => {
                let value = Value::from_found(&found.value).to_string();
                self.values.insert(found.path.to_string(), value);
            }
            Told::Gone(path) => drop(self.values.remove(path.as_str())),
            Told::Ready(token) => self.token = Some(token),
            Told::Changed { path, found, token } => {
                match found {
                    Some(found) => {
                        let value = Value::from_found(&found.value).to_string();
                        self.values.insert(path.to_string(), value);
                    }
                    None => drop(self.values.remove(path.as_str())),
                }
                self.token = Some(token);
            }
        }
    }

    async fn follow(&mut self, watch: &mut folkmoot::api::watch::Watch, until: &str) {
        while !self.values.contains_key(until) {
            self.apply(watch.next().await.unwrap());
        }
    }
}

async fn held(node: &Node, prefix: &str) -> std::collections::BTreeMap<String, String> {
    let items = node.scan(prefix, None).await.unwrap();
    items.into_iter().map(|item| (item.path, item.value.to_string())).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_watch_tells_the_snapshot_and_then_every_change_without_a_gap() {
    let node = fresh().await;
    for number in 0..1_000 {
        node.put(&format!("w/{number:04}"), &number).await.unwrap();
    }
    node.put("w", "itself").await.unwrap();
    node.put("w2", "not below").await.unwrap();
    let writer = tokio::spawn({
        let node = node.clone();
        async move {
            for number in 0..1_500_u32 {
                let path = format!("w/{:04}", number * 7 % 1_200);
                match number % 5 {
                    0 => drop(node.del(&path).await.unwrap()),
                    _ => drop(node.put(&path, &number).await.unwrap()),
                }
            }
            node.put("w/end", &true).await.unwrap();
        }
    });
    let mut copy = Copy::default();
    let mut watch = node.data().watch("w", Since::Snapshot).await.unwrap();
    copy.follow(&mut watch, "w/end").await;
    writer.await.unwrap();
    let mut expected = held(&node, "w").await;
    expected.remove("w2");
    assert_eq!(copy.values, expected);
    node.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_watcher_that_takes_long_over_what_is_there_holds_no_old_state() {
    let node = fresh().await;
    let mut batch = node.data().batch();
    for number in 0..1_000 {
        batch.put(&format!("w/{number:03}"), &"old").unwrap();
    }
    batch.commit().await.unwrap();
    let mut copy = Copy::default();
    let mut watch = node.data().watch("w", Since::Snapshot).await.unwrap();
    copy.apply(watch.next().await.unwrap());
    node.del("w/000").await.unwrap();
    node.put("w/998", "new").await.unwrap();
    node.del("w/999").await.unwrap();
    while copy.token.is_none() {
        let told = watch.next().await.unwrap();
        if let Told::Value(found) = &told {
            assert_ne!(found.path.as_str(), "w/999", "it was gone when its turn came");
        }
        copy.apply(told);
    }
    assert_eq!(copy.values, held(&node, "w").await, "at the end of what is there");
    node.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_watch_goes_on_with_its_token_also_after_a_restart() {
    let place = tempfile::tempdir().unwrap();
    let node = start(place.path()).await;
    let mut copy = Copy::default();
    let mut watch = node.data().watch("", Since::Snapshot).await.unwrap();
    node.put("a", &1).await.unwrap();
    copy.follow(&mut watch, "a").await;
    while copy.token.is_none() {
        copy.apply(watch.next().await.unwrap());
    }
    drop(watch);
    node.put("b", &1).await.unwrap();
    node.del("a").await.unwrap();
    node.close().await;
    let node = start(place.path()).await;
    node.put("c", &1).await.unwrap();
    let token: folkmoot::api::watch::Token = copy.token.unwrap().to_string().parse().unwrap();
    let mut watch = node.data().watch("", Since::Token(token)).await.unwrap();
    copy.follow(&mut watch, "c").await;
    assert_eq!(copy.values, held(&node, "").await);
    assert_eq!(copy.resets, 0);
    let foreign = fresh().await;
    foreign.put("other", &1).await.unwrap();
    let mut watch = foreign.data().watch("", Since::Token(token)).await.unwrap();
    copy.follow(&mut watch, "other").await;
    assert_eq!(copy.values.len(), 1);
    assert_eq!(copy.resets, 1);
    node.close().await;
    foreign.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_watcher_that_was_too_slow_reads_what_it_missed() {
    let node = fresh().await;
    let mut watch = node.data().watch("", Since::Now).await.unwrap();
    let large = "x".repeat(100 * 1024);
    for number in 0..30 {
        node.put(&format!("n/{number:02}"), &format!("{number}{large}")).await.unwrap();
    }
    let mut copy = Copy::default();
    copy.follow(&mut watch, "n/29").await;
    assert_eq!(copy.values, held(&node, "").await);
    assert_eq!(copy.resets, 0);
    node.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_subscriber_that_was_away_for_longer_than_the_log_is_told_to_forget_what_is_gone() {
    let limits = Limits { log_changes_max: 16, ..Limits::default() };
    let node = Node::builder().listen("127.0.0.1:0").limits(limits).start().await.unwrap();
    let mut changes = node.subscribe("").await.unwrap();
    let mut copy = std::collections::BTreeMap::new();
    node.put("gone", &1).await.unwrap();
    apply(&mut copy, changes.next().await.unwrap());
    // Too much for its queue, then more than the log keeps.
    let large = "x".repeat(100 * 1024);
    for number in 0..30 {
        node.put(&format!("n/{number:02}"), &large).await.unwrap();
    }
    node.del("gone").await.unwrap();
    for number in 0..100 {
        node.put("again", &number).await.unwrap();
    }
    let mut resets = 0;
    while copy.get("again").is_none_or(|value| value != "99") {
        let change = changes.next().await.unwrap();
        resets += usize::from(change == Change::Reset);
        apply(&mut copy, change);
    }
    node.put("end", &true).await.unwrap();
    while !copy.contains_key("end") {
        apply(&mut copy, changes.next().await.unwrap());
    }
    assert_eq!(copy, held(&node, "").await);
    assert_eq!(resets, 1);
    node.close().await;

    fn apply(copy: &mut std::collections::BTreeMap<String, String>, change: Change) {
        match change {
            Change::Put(item) => drop(copy.insert(item.path, item.value.to_string())),
            Change::Gone(path) => drop(copy.remove(&path)),
            Change::Reset => copy.clear(),
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_after_the_end_are_answered() {
    let node = fresh().await;
    let mut changes = node.subscribe("").await.unwrap();
    let (first, second) = (node.clone(), node.clone());
    tokio::join!(first.shutdown(), second.shutdown());
    assert!(changes.next().await.is_none());
    assert_eq!(node.put("a", &1).await.unwrap_err().code(), Some(ErrorCode::Closing));
    assert!(node.get("a").await.is_err());
    assert!(node.subscribe("a").await.is_err());
    assert!(!node.data_dir().exists());
}
