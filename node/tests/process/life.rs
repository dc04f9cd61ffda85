//! How a node starts, refuses to start, and ends.

use crate::support::{command, directory, run, spawn, start, start_at, text, try_start};
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;

#[test]
fn serve_needs_nothing_but_a_place_and_says_what_to_do_next() {
    let (_keep, dir) = directory();
    let node = start(&dir, &[]);
    assert!(node.url.starts_with("http://127.0.0.1:"), "{}", node.url);
    for wanted in ["curl", "folkmoot join folkmoot-invite:", &node.url, "--listen 0.0.0.0:"] {
        assert!(node.banner.contains(wanted), "{wanted} is missing in\n{}", node.banner);
    }
    let mode = std::fs::metadata(dir.join("node.key")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    node.put("hello", "\"world\"");
    assert_eq!(node.get("hello").unwrap(), "world");
}

#[test]
fn sigterm_and_sigint_end_a_node_cleanly_and_nothing_is_lost() {
    let (_keep, dir) = directory();
    for (round, signal) in ["TERM", "INT"].into_iter().enumerate() {
        let node = start(&dir, &[]);
        node.put(&format!("round/{round}"), "1");
        let (status, log) = node.signal(signal);
        assert_eq!(status.code(), Some(0), "{log}");
    }
    let node = start(&dir, &[]);
    assert_eq!(node.get("round/0").unwrap(), 1);
    assert_eq!(node.get("round/1").unwrap(), 1);
}

#[test]
fn a_node_keeps_its_name_and_its_network_over_a_restart() {
    let (_keep, dir) = directory();
    let first = start(&dir, &[]).json("/v1/status");
    let second = start(&dir, &[]).json("/v1/status");
    assert_eq!(first["node"], second["node"]);
    assert_eq!(first["network"], second["network"]);
}

#[test]
fn a_port_in_use_is_named_with_what_to_do() {
    let (_keep, dir) = directory();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let Err((code, log)) = try_start(command(&address, &dir, &[])) else { panic!("it started") };
    assert_eq!(code, Some(7), "{log}");
    assert!(log.contains(&address) && log.contains("--listen"), "{log}");
}

#[test]
fn a_data_directory_in_use_is_named_and_left_alone() {
    let (_keep, dir) = directory();
    let node = start(&dir, &[]);
    let refused = try_start(command("127.0.0.1:0", &dir, &[]));
    let Err((code, log)) = refused else { panic!("it started") };
    assert_eq!(code, Some(7), "{log}");
    assert!(log.contains(&text(&dir)) && log.contains("--data-dir"), "{log}");
    node.put("still", "\"here\"");
}

#[test]
fn a_data_directory_that_cannot_be_made_is_named() {
    let (keep, _) = directory();
    let file = keep.path().join("file");
    std::fs::write(&file, "").unwrap();
    let refused = try_start(command("127.0.0.1:0", &file.join("below"), &[]));
    let Err((code, log)) = refused else { panic!("it started") };
    assert_eq!(code, Some(7), "{log}");
    assert!(log.contains("file/below") && log.contains("--data-dir"), "{log}");
}

#[test]
fn an_unknown_config_key_is_refused_with_the_nearest_name() {
    let (keep, dir) = directory();
    let file = keep.path().join("my.toml");
    std::fs::write(&file, "lisen = '127.0.0.1:0'\n").unwrap();
    let refused = try_start(command("127.0.0.1:0", &dir, &["--config", &text(&file)]));
    let Err((code, log)) = refused else { panic!("it started") };
    assert_eq!(code, Some(6), "{log}");
    assert!(log.contains("`lisen`") && log.contains("`listen`"), "{log}");
    assert!(!dir.exists(), "a refused start leaves nothing behind");
}

#[test]
fn every_setting_can_come_from_the_environment_and_the_file() {
    let (keep, dir) = directory();
    let file = keep.path().join("my.toml");
    std::fs::write(&file, format!("data_dir = '{}'\nlisten = 'localhost:1'\n", text(&dir)))
        .unwrap();
    let mut command = crate::support::folkmoot(&["serve"]);
    command.env("FOLKMOOT_CONFIG", &file).env("FOLKMOOT_LISTEN", "127.0.0.1:0");
    let node = try_start(command).unwrap_or_else(|(_, log)| panic!("{log}"));
    assert!(dir.join("node.key").exists());
    let (code, out, _) = run(&["config", "show", "--config", &text(&file), "--json"]);
    assert_eq!(code, 0);
    assert!(out.contains("\"origin\":\"file"), "{out}");
    drop(node);
}

#[test]
fn a_client_without_a_node_says_how_to_start_one() {
    let (code, _, log) = run(&["status", "--url", "http://127.0.0.1:1"]);
    assert_eq!(code, 4, "{log}");
    assert!(log.contains("http://127.0.0.1:1") && log.contains("folkmoot serve"), "{log}");
}

#[test]
fn json_answers_are_json_also_when_they_are_errors() {
    let (code, _, log) = run(&["status", "--json", "--url", "http://127.0.0.1:1"]);
    let error: serde_json::Value = serde_json::from_str(&log).unwrap();
    assert_eq!((code, error["error"]["exit"].as_i64()), (4, Some(4)));
    let (code, _, log) = run(&["--json", "stauts"]);
    let error: serde_json::Value = serde_json::from_str(&log).unwrap();
    assert_eq!((code, error["error"]["exit"].as_i64()), (2, Some(2)));
    assert!(error["error"]["what"].as_str().unwrap().contains("stauts"), "{log}");
    let (code, _, log) = run(&["stauts"]);
    assert!(code == 2 && log.starts_with("error: "), "without --json it is words: {log}");
}

#[test]
fn every_command_that_ends_by_itself_answers_in_json_where_that_is_asked_for() {
    let (keep, dir) = directory();
    let node = start(&dir, &[]);
    let id = node.json("/v1/status")["node"].as_str().unwrap().to_owned();
    let (place, file) = (text(&dir), text(&keep.path().join("all.jsonl")));
    let commands: &[&[&str]] = &[
        &["status"],
        &["mesh"],
        &["peers", "add", "http://127.0.0.1:1"],
        &["peers"],
        &["peers", "remove", "http://127.0.0.1:1"],
        &["ping", &id],
        &["members"],
        &["data", "put", "a", "1"],
        &["data", "get", "a"],
        &["data", "scan"],
        &["data", "export"],
        &["data", "export", "--output", &file],
        &["data", "import", &file],
        &["data", "del", "a"],
        &["invite", "--data-dir", &place],
    ];
    let with_url = commands.iter().map(|command| [*command, &["--url", &node.url]].concat());
    let others: [&[&str]; 3] =
        [&["config", "show"], &["config", "validate"], &["completion", "bash"]];
    for command in with_url.chain(others.iter().map(|command| command.to_vec())) {
        let (code, out, log) = run(&[&command[..], &["--json"]].concat());
        assert_eq!(code, 0, "{command:?}: {log}");
        assert!(!out.is_empty(), "{command:?}");
        for line in out.lines() {
            let value = serde_json::from_str::<serde_json::Value>(line);
            assert!(value.is_ok(), "{command:?} says {line}");
        }
    }
}

#[test]
fn the_verbs_of_data_do_what_they_say() {
    let (keep, dir) = directory();
    let node = start(&dir, &[]);
    let data = |args: &[&str]| {
        let mut all = vec!["data", "--url", &node.url];
        all.extend(args);
        run(&all)
    };
    assert_eq!(data(&["put", "users/1", r#"{"name": "Ann", "n": 1.50}"#]).0, 0);
    assert_eq!(run(&["data", "put", "users/2", "null", "--url", &node.url]).0, 0);
    let (code, out, err) = data(&["get", "users/1"]);
    assert_eq!((code, out.trim()), (0, r#"{"name": "Ann", "n": 1.50}"#), "{err}");
    let (_, out, _) = data(&["scan", "users"]);
    assert_eq!(out, "users/1\t{\"name\": \"Ann\", \"n\": 1.50}\nusers/2\tnull\n");
    assert_eq!(data(&["scan", "users", "--limit", "1"]).1.lines().count(), 1);
    let (_, export, _) = data(&["export"]);
    assert_eq!(data(&["del", "users/2"]).0, 0);
    assert_eq!(data(&["del", "users/2"]).0, 3);
    assert_eq!(data(&["get", "users/2"]).0, 3);
    assert_eq!(data(&["put", "users/1", "not json"]).0, 2);
    assert_eq!(data(&["put", "users/1", "1", "--if-absent"]).0, 5);

    let file = keep.path().join("all.jsonl");
    std::fs::write(&file, &export).unwrap();
    let (code, _, err) = data(&["import", &text(&file)]);
    assert_eq!(code, 0, "{err}");
    assert_eq!(data(&["export"]).1, export);
}

#[test]
fn an_import_names_the_bad_line_and_writes_what_stands_before_it() {
    let (keep, dir) = directory();
    let node = start(&dir, &[]);
    let file = keep.path().join("some.jsonl");
    for bad in ["{\"path\":\"c\"}", "nonsense", "{\"path\":\"c//d\",\"value\":1}"] {
        let lines =
            format!("{{\"path\":\"a\",\"value\":1}}\n\n{{\"path\":\"b\",\"value\":2}}\n{bad}\n");
        std::fs::write(&file, lines).unwrap();
        let (code, _, err) = run(&["data", "--url", &node.url, "import", &text(&file)]);
        assert_ne!(code, 0);
        assert!(err.contains("line 4"), "{err}");
        assert!(err.contains("--from-line"), "{err}");
    }
    assert_eq!(node.get("a").unwrap(), 1);
}

#[test]
fn a_watch_prints_what_is_there_and_then_every_change() {
    let (_keep, dir) = directory();
    let node = start(&dir, &[]);
    node.put("w/1", "1");
    let args = ["data", "--url", &node.url, "watch", "w", "--json", "--count", "3"];
    let (mut child, log, lines) = spawn(crate::support::folkmoot(&args));
    let next = || {
        lines
            .recv_timeout(crate::support::PATIENCE)
            .unwrap_or_else(|_| panic!("{}", log.lock().unwrap()))
    };
    let first: serde_json::Value = serde_json::from_str(&next()).unwrap();
    assert_eq!((first["path"].as_str(), first["value"].as_i64()), (Some("w/1"), Some(1)));
    node.put("w/2", "2");
    let second: serde_json::Value = serde_json::from_str(&next()).unwrap();
    assert_eq!((second["path"].as_str(), second["value"].as_i64()), (Some("w/2"), Some(2)));
    node.del("w/1");
    let third: serde_json::Value = serde_json::from_str(&next()).unwrap();
    assert_eq!((third["path"].as_str(), third.get("value")), (Some("w/1"), None));
    assert!(child.wait().unwrap().success());
}

#[test]
fn a_join_makes_a_second_node_of_the_same_network_and_is_remembered() {
    let (_keep, dir) = directory();
    let (_keep_too, other) = directory();
    let listen = crate::support::free_address();
    let first = start_at(&listen, &dir, &[]);
    first.put("from", "\"the first\"");
    let invite = invite_in(&first.banner);
    let (code, line, err) = run(&["invite", "--data-dir", &text(&dir), "--url", &first.url]);
    assert_eq!((code, invite_in(&line)), (0, invite), "{err}");

    let args = ["join", invite, "--listen", "127.0.0.1:0", "--data-dir", &text(&other)];
    let joined = try_start(crate::support::folkmoot(&args));
    let joined = joined.unwrap_or_else(|(_, log)| panic!("{log}"));
    joined.wait_for("from", Some("\"the first\""));
    joined.signal("TERM");
    first.put("from", "\"the first, again\"");
    start(&other, &[]).wait_for("from", Some("\"the first, again\""));
}

/// The first invite line in what a command has printed.
fn invite_in(text: &str) -> &str {
    text.split_whitespace().find(|word| word.starts_with("folkmoot-invite:")).unwrap()
}

#[test]
fn a_directory_of_another_network_is_not_joined() {
    let (_keep, dir) = directory();
    let (_keep_too, other) = directory();
    let first = start(&dir, &[]);
    start(&other, &[]).signal("TERM");
    let invite = invite_in(&first.banner);
    let args = ["join", invite, "--listen", "127.0.0.1:0", "--data-dir", &text(&other)];
    let (code, _, log) = run(&args);
    assert_eq!(code, 6, "{log}");
    assert!(log.contains(&text(&other)) && log.contains("--data-dir"), "{log}");
}
