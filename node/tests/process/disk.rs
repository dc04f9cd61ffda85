//! A disk that refuses a write or a sync, and a directory that may not be written.

use crate::faults::fail_to_sync;
use crate::support::{command, directory, start, text, try_start};
use std::path::Path;
use std::process::Command;

/// A node that is told of a write beyond its file size limit instead of being ended by a signal.
fn limitable(dir: &Path) -> Command {
    let folkmoot = command("127.0.0.1:0", dir, &[]);
    let mut bash = Command::new("bash");
    bash.args(["-c", "trap '' XFSZ; exec \"$0\" \"$@\""]);
    bash.arg(folkmoot.get_program()).args(folkmoot.get_args());
    bash.env("XDG_CONFIG_HOME", "/nonexistent");
    bash
}

#[test]
fn a_failed_write_ends_the_node_and_is_not_acknowledged() {
    let (_keep, dir) = directory();
    let node = try_start(limitable(&dir)).map_err(|(_, log)| log).unwrap();
    node.put("before", "1");
    let limit = ["--pid", &node.id().to_string(), "--fsize=1:1"];
    assert!(Command::new("prlimit").args(limit).status().unwrap().success());
    let answer = node.try_ask("PUT", "/v1/data/after", "2");
    assert!(answer.is_none_or(|(status, _)| status >= 500));
    // Signal 0 is none: this only waits for the end.
    let (status, log) = node.signal("0");
    assert_eq!(status.code(), Some(74), "{log}");
    assert!(log.contains("a write to disk failed"), "{log}");
    let node = start(&dir, &[]);
    assert_eq!(node.get("before").unwrap(), 1);
}

#[test]
fn a_failed_sync_ends_the_node_and_is_not_acknowledged() {
    let (keep, dir) = directory();
    let broken = keep.path().join("broken");
    let mut node = command("127.0.0.1:0", &dir, &[]);
    fail_to_sync(&mut node, &broken);
    let node = try_start(node).map_err(|(_, log)| log).unwrap();
    node.put("before", "1");
    std::fs::write(&broken, "").unwrap();
    let answer = node.try_ask("PUT", "/v1/data/after", "2");
    assert!(answer.is_none_or(|(status, _)| status >= 500));
    // Signal 0 is none: this only waits for the end.
    let (status, log) = node.signal("0");
    assert_eq!(status.code(), Some(74), "{log}");
    assert!(log.contains("a write to disk failed"), "{log}");
    let node = start(&dir, &[]);
    assert_eq!(node.get("before").unwrap(), 1);
}

#[test]
fn a_directory_that_may_only_be_read_is_refused_by_name() {
    use std::os::unix::fs::PermissionsExt;
    let (keep, _) = directory();
    let place = keep.path().join("read only");
    std::fs::create_dir(&place).unwrap();
    std::fs::set_permissions(&place, std::fs::Permissions::from_mode(0o555)).unwrap();
    // Of which a directory is to be made, and which is the directory itself.
    for dir in [place.join("below"), place.clone()] {
        let (code, log) = match try_start(powerless(command("127.0.0.1:0", &dir, &[]))) {
            Err(refused) => refused,
            Ok(_) => panic!("it started"),
        };
        assert_eq!(code, Some(7), "{log}");
        assert!(log.contains(&text(&dir)) && log.contains("--data-dir"), "{log}");
        assert!(log.contains("Permission denied"), "{log}");
    }
    assert_eq!(std::fs::read_dir(&place).unwrap().count(), 0, "nothing is left behind");
}

/// The command without root's power over files, whoever runs the tests.
fn powerless(folkmoot: Command) -> Command {
    const DROP: &str = "setpriv --bounding-set=-dac_override,-dac_read_search --inh-caps=-all";
    let mut sh = Command::new("sh");
    let line =
        format!("if [ $(id -u) = 0 ]; then exec {DROP} \"$0\" \"$@\"; fi; exec \"$0\" \"$@\"");
    sh.args(["-c", &line]).arg(folkmoot.get_program()).args(folkmoot.get_args());
    sh.env("XDG_CONFIG_HOME", "/nonexistent");
    sh
}
