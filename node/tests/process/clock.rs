//! A real node whose wall clock is set by years.

use crate::faults::Clock;
use crate::support::{Process, command, directory, start, try_start};
use std::path::Path;

const YEARS_MS: i64 = 5 * 365 * 24 * 3_600_000;

fn start_with(clock: &Clock, dir: &Path, more: &[&str]) -> Process {
    let mut node = command("127.0.0.1:0", dir, more);
    clock.give(&mut node);
    try_start(node).unwrap_or_else(|(code, log)| panic!("{code:?}\n{log}"))
}

fn stamp(node: &Process, path: &str) -> u64 {
    node.json(&format!("/v1/history/{path}"))["versions"][0]["timestamp"].as_u64().unwrap()
}

#[test]
fn a_clock_set_back_by_years_loses_nothing_and_later_writes_stay_later() {
    let (keep, dir) = directory();
    let clock = Clock::new(keep.path().join("clock"));
    let node = start_with(&clock, &dir, &[]);
    node.put("a", "1");
    let first = stamp(&node, "a");
    clock.set_ahead(-YEARS_MS);
    node.put("a", "2");
    assert_eq!(node.get("a").unwrap(), 2);
    let second = stamp(&node, "a");
    assert!(second >= first, "{second} came after {first}");
    node.kill();
    let node = start_with(&clock, &dir, &[]);
    assert_eq!(node.get("a").unwrap(), 2);
    node.put("a", "3");
    node.put("b", "1");
    assert_eq!(node.get("a").unwrap(), 3);
    assert!(stamp(&node, "a") >= second);
    node.signal("TERM");
    clock.set_ahead(0);
    let node = start_with(&clock, &dir, &[]);
    assert_eq!(node.get("a").unwrap(), 3);
    node.put("a", "4");
    assert_eq!(node.get("a").unwrap(), 4);
}

#[test]
fn a_node_whose_clock_is_years_back_takes_what_a_right_one_has_once_its_clock_is_right() {
    let (keep, dir) = directory();
    let (_keep, right_dir) = directory();
    let secret = ["--secret", "the secret of these clocks"];
    let right = start(&right_dir, &secret);
    right.put("right", "1");
    let clock = Clock::new(keep.path().join("clock"));
    clock.set_ahead(-YEARS_MS);
    let more = [&secret[..], &["--peer", &right.url, "--compare-ms", "1000"]].concat();
    let wrong = start_with(&clock, &dir, &more);
    wrong.put("wrong", "1");
    right.wait_for("wrong", Some("1"));
    assert_eq!(wrong.get("right"), None, "to it this is the future");
    assert!(wrong.log().contains("stamp lies in the future"), "{}", wrong.log());
    clock.set_ahead(0);
    wrong.wait_for("right", Some("1"));
    wrong.put("right", "2");
    right.wait_for("right", Some("2"));
    assert_eq!(right.export(), wrong.export());
}
