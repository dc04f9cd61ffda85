//! A disk that refuses a write.

use crate::support::{command, directory, start, try_start};
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
