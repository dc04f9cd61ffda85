//! `demo`, `bench`, `config` and `completion`.

use crate::support::{PATIENCE, folkmoot, run, send_signal, spawn};
use serde_json::Value;

#[test]
fn the_demo_is_a_chain_that_can_be_tried() {
    let (mut child, log, lines) = spawn(folkmoot(&["demo", "--json"]));
    let line = lines.recv_timeout(PATIENCE).unwrap_or_else(|_| panic!("{}", log.lock().unwrap()));
    let ready: Value = serde_json::from_str(&line).unwrap();
    let urls: Vec<&str> = (0..3).map(|i| ready["nodes"][i]["url"].as_str().unwrap()).collect();
    let four = ready["four"].as_str().unwrap();
    assert!(four.starts_with(urls[0]) && four.ends_with(&urls.join(",")), "{four}");
    let (code, _, err) = run(&["data", "put", "users/1", "{\"name\":\"Alice\"}", "--url", urls[0]]);
    assert_eq!(code, 0, "{err}");
    let watch = ["data", "watch", "users", "--count", "1", "--url", urls[2]];
    assert_eq!(run(&watch).1, "users/1\t{\"name\":\"Alice\"}\n");
    let (_, mesh, _) = run(&["mesh", "--json", "--url", urls[0]]);
    let mesh: Value = serde_json::from_str(&mesh).unwrap();
    let last = mesh["nodes"].as_array().unwrap().iter().find(|node| node["hops"] == 2).unwrap();
    let (code, out, err) = run(&["ping", last["node"].as_str().unwrap(), "--url", urls[0]]);
    assert!(code == 0 && out.contains("over 2 hops"), "{out}{err}");
    send_signal(child.id(), "INT");
    assert_eq!(child.wait().unwrap().code(), Some(0));
}

#[test]
fn the_benchmark_measures_and_checks_every_part() {
    let parts = "put-64,put-512,put-linked,get,http-put,http-batch,chain,join,reopen";
    let args = ["bench", "data", "--json", "--rounds", "1", "--scale", "1", "--only", parts];
    let (code, out, err) = run(&args);
    assert_eq!(code, 0, "{err}");
    let lines: Vec<Value> =
        out.lines().skip(1).map(|line| serde_json::from_str(line).unwrap()).collect();
    let (summary, figures) = lines.split_last().unwrap();
    let measured = figures.iter().filter(|figure| figure["median"].as_f64().unwrap() > 0.0);
    assert_eq!(measured.count(), parts.split(',').count(), "{out}");
    for part in parts.split(',') {
        let goals = summary["goals"].as_array().unwrap();
        assert!(goals.iter().any(|goal| goal["part"] == part), "{part}: {summary}");
    }
}

#[test]
fn a_member_that_is_removed_is_shut_out() {
    let (_a, dir_a) = crate::support::directory();
    let (_b, dir_b) = crate::support::directory();
    let a = crate::support::start(&dir_a, &["--secret", "the secret of this test"]);
    let args = ["--secret", "the secret of this test", "--peer", &a.url, "--redial-ms-max", "500"];
    let b = crate::support::start(&dir_b, &args);
    a.put("x", "1");
    b.wait_for("x", Some("1"));
    let id = b.json("/v1/status")["node"].as_str().unwrap().to_string();
    let (code, out, err) = run(&["members", "remove", &id[..12], "--url", &a.url]);
    assert_eq!(code, 0, "{err}");
    assert!(out.contains(&id), "{out}");
    let links = || a.json("/v1/mesh")["links"].as_array().map(Vec::len);
    a.until("the link to end", || links() == Some(0));
    let (_, members, _) = run(&["members", "--url", &a.url]);
    assert!(members.lines().any(|line| line.contains(&id[..12]) && line.contains("removed")));
    a.put("x", "2");
    assert_eq!(b.get("x").unwrap(), 1);
}

#[test]
fn peers_can_be_added_and_removed_while_the_node_runs_and_that_outlives_it() {
    let (_a, dir_a) = crate::support::directory();
    let (_b, dir_b) = crate::support::directory();
    let a = crate::support::start(&dir_a, &["--secret", "the secret of this test"]);
    let b = crate::support::start(&dir_b, &["--secret", "the secret of this test"]);
    let (code, _, err) = run(&["peers", "add", &b.url, "--url", &a.url]);
    assert_eq!(code, 0, "{err}");
    a.put("x", "1");
    b.wait_for("x", Some("1"));
    let (_, peers, _) = run(&["peers", "--url", &a.url]);
    assert!(peers.contains(&b.url), "{peers}");
    assert_eq!(run(&["peers", "add", "nonsense", "--url", &a.url]).0, 5);
    assert!(a.signal("TERM").0.success());
    let a = crate::support::start(&dir_a, &[]);
    a.put("x", "2");
    b.wait_for("x", Some("2"));
    assert_eq!(run(&["peers", "remove", &b.url, "--url", &a.url]).0, 0);
    assert_eq!(run(&["peers", "remove", &b.url, "--url", &a.url]).0, 3);
    assert!(a.signal("TERM").0.success());
    let a = crate::support::start(&dir_a, &[]);
    let (_, peers, _) = run(&["peers", "--json", "--url", &a.url]);
    assert_eq!(peers.trim(), "[]");
}

#[test]
fn what_config_show_prints_is_a_config_file() {
    let (code, shown, _) = run(&["config", "show", "--peer", "http://192.0.2.7:3655"]);
    assert_eq!(code, 0);
    assert!(shown.contains("peers = [\"http://192.0.2.7:3655\"]  # flag --peer"), "{shown}");
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("shown.toml");
    std::fs::write(&file, shown).unwrap();
    let (code, _, err) = run(&["config", "validate", file.to_str().unwrap()]);
    assert_eq!(code, 0, "{err}");
}

#[test]
fn every_shell_gets_its_completion() {
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let (code, script, _) = run(&["completion", shell]);
        assert!(code == 0 && script.contains("folkmoot"), "{shell}");
    }
}
