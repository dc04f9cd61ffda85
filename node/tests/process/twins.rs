//! Two nodes with one key: a data directory was copied, and both copies run.

use crate::support::{Process, directory, start};
use std::path::Path;

const SECRET: &str = "the secret of the twins";
const TOLD: &str = "another node runs with this node's key: was its data directory copied?";

fn start_in(dir: &Path, peer: &Process) -> Process {
    let often = ["--redial-ms-max", "200", "--compare-ms", "200"];
    start(dir, &[&["--secret", SECRET, "--peer", &peer.url], &often[..]].concat())
}

/// A data directory has no directories of foreign make: files, and those of the store.
fn copy(from: &Path, to: &Path) {
    std::fs::create_dir(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let (from, to) = (entry.as_ref().unwrap().path(), to.join(entry.unwrap().file_name()));
        if from.is_dir() {
            copy(&from, &to);
        } else {
            std::fs::copy(from, to).unwrap();
        }
    }
}

#[test]
fn a_copy_is_told_of_and_neither_loses_what_was_written_nor_revives_what_was_deleted() {
    let (_other, dir_other) = directory();
    let (_first, dir_first) = directory();
    let (_twin, dir_twin) = directory();
    let other = start(&dir_other, &["--secret", SECRET]);
    let first = start_in(&dir_first, &other);
    first.put("deleted", "1");
    other.wait_for("deleted", Some("1"));
    first.signal("TERM");
    copy(&dir_first, &dir_twin);

    let first = start_in(&dir_first, &other);
    first.del("deleted");
    other.wait_for("deleted", None);
    let twin = start_in(&dir_twin, &other);
    first.until("a word of the twin", || first.log().contains(TOLD));
    other.until("a word of the twins", || other.log().contains("was its data directory copied?"));
    twin.wait_for("deleted", None);
    for (node, name) in [(&first, "first"), (&twin, "twin")] {
        node.put(&format!("of/{name}"), "1");
        node.put("of/both", &format!("\"{name}\""));
    }
    other.wait_for("of/twin", Some("1"));

    // What the operator does: end one, and start the other again.
    twin.signal("TERM");
    first.signal("TERM");
    let first = start_in(&dir_first, &other);
    for path in ["of/first", "of/twin"] {
        first.wait_for(path, Some("1"));
        other.wait_for(path, Some("1"));
    }
    first.until("the same at both", || first.export() == other.export());
    assert_eq!((first.get("deleted"), other.get("deleted")), (None, None));
}

#[test]
fn a_copy_that_dials_the_original_is_refused_with_a_reason_in_both_logs() {
    let (_first, dir_first) = directory();
    let (_twin, dir_twin) = directory();
    start(&dir_first, &["--secret", SECRET]).signal("TERM");
    copy(&dir_first, &dir_twin);
    let first = start(&dir_first, &["--secret", SECRET]);
    let twin = start_in(&dir_twin, &first);
    for node in [&first, &twin] {
        node.until("the reason", || node.log().contains("a data directory was copied"));
    }
    assert_eq!(twin.json("/v1/mesh")["links"].as_array().map(Vec::len), Some(0));
}
