//! `folkmoot chat`: people and programs in terminals, on different nodes.

use crate::support::{
    PATIENCE, Process, directory, folkmoot, free_address, run, spawn, start, start_at,
};
use serde_json::{Value, json};
use std::io::Write;
use std::process::{Child, ChildStdin, Stdio};
use std::sync::mpsc::Receiver;
use std::time::Instant;

const SECRET: &str = "the secret of these tests";

/// One running `folkmoot chat`.
struct Terminal {
    child: Child,
    input: Option<ChildStdin>,
    lines: Receiver<String>,
}

impl Terminal {
    fn open(node: &Process, user: &str, more: &[&str]) -> Terminal {
        let mut command = folkmoot(&["chat", "--as", user, "--url", &node.url]);
        command.args(more).stdin(Stdio::piped());
        let (mut child, _, lines) = spawn(command);
        let input = child.stdin.take();
        Terminal { child, input, lines }
    }

    fn type_in(&mut self, line: &str) {
        writeln!(self.input.as_ref().unwrap(), "{line}").unwrap();
    }

    /// The next line that says this; those before are left out.
    fn until(&mut self, what: &str) -> String {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            let line = self.lines.recv_timeout(left);
            let line = line.unwrap_or_else(|_| panic!("waited in vain for {what}"));
            if line.contains(what) {
                return line;
            }
        }
    }

    /// Ends the input; the exit code, and all lines up to the end.
    fn end(mut self) -> (Option<i32>, Vec<String>) {
        drop(self.input.take());
        let lines = self.lines.iter().collect();
        (self.child.wait().unwrap().code(), lines)
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn two_people_on_two_nodes_talk_and_see_each_other_come_and_go() {
    let (_a, dir_a) = directory();
    let (_b, dir_b) = directory();
    let a = start(&dir_a, &["--secret", SECRET]);
    let b = start(&dir_b, &["--secret", SECRET, "--peer", &a.url]);
    let mut anna = Terminal::open(&a, "anna", &["--room", "tea"]);
    anna.until("* online: anna");
    let mut billy = Terminal::open(&b, "billy b", &[]);
    anna.until("* billy b is here");
    billy.until("anna");
    billy.type_in("/join tea");
    anna.until("* billy b came into #tea");
    anna.type_in("who has milk?");
    billy.until("#tea anna: who has milk?");
    billy.type_in("@anna I have");
    anna.until("billy b: I have");
    billy.until("(anna has it)");
    anna.type_in("@carl and you?");
    anna.until("nobody has been seen who is called carl");
    billy.type_in("/away milking");
    anna.until("* billy b is here: milking");
    anna.type_in("/nonsense");
    anna.until("/help");
    billy.type_in("/quit");
    anna.until("* billy b has gone");
    let (code, _) = anna.end();
    assert_eq!(code, Some(0));
}

#[test]
fn a_pipe_ends_when_all_that_went_in_is_settled() {
    let (_dir, dir) = directory();
    let node = start(&dir, &[]);
    let mut billy = Terminal::open(&node, "billy", &["--json"]);
    billy.until("\"users\"");
    let mut anna = Terminal::open(&node, "anna", &["--json"]);
    for n in 0..100 {
        anna.type_in(&json!({"to": "billy", "body": {"n": n}}).to_string());
    }
    anna.type_in(r#"{"to":"carl","body":1}"#);
    let (code, lines) = anna.end();
    assert_eq!(code, Some(0), "{lines:?}");
    let frames: Vec<Value> = lines.iter().map(|line| serde_json::from_str(line).unwrap()).collect();
    let settled: u64 = frames
        .iter()
        .filter(|frame| frame["op"] == "settled" && frame["outcome"] == "delivered")
        .map(|frame| frame["upto"].as_u64().unwrap() - frame["from"].as_u64().unwrap() + 1)
        .sum();
    assert_eq!(settled, 100, "{lines:?}");
    assert!(frames.iter().any(|frame| frame["outcome"] == "unknown"), "{lines:?}");
    for n in 0..100 {
        let frame: Value = serde_json::from_str(&billy.until("\"message\"")).unwrap();
        assert_eq!((&frame["body"]["n"], &frame["from"]), (&json!(n), &json!("anna")));
    }
}

#[test]
fn what_is_typed_while_the_node_is_away_arrives_once_when_it_is_back() {
    let (_dir, dir) = directory();
    let address = free_address();
    let node = start_at(&address, &dir, &[]);
    let mut anna = Terminal::open(&node, "anna", &["--json"]);
    let mut billy = Terminal::open(&node, "billy", &["--json"]);
    billy.until("\"users\"");
    anna.type_in(r#"{"to":"billy","body":"one"}"#);
    billy.until("\"one\"");
    anna.until("\"settled\"");
    node.kill();
    anna.until("\"lost\"");
    billy.until("\"lost\"");
    anna.type_in(r#"{"to":"billy","body":"two"}"#);
    let _node = start_at(&address, &dir, &[]);
    billy.until("\"welcome\"");
    // Where she is back first, nobody is called so yet: she says it again.
    loop {
        let line = anna.until("\"settled\"");
        if line.contains("delivered") {
            break;
        }
        anna.type_in(r#"{"to":"billy","body":"two"}"#);
    }
    assert!(billy.until("\"message\"").contains("\"two\""));
    let (code, _) = anna.end();
    assert_eq!(code, Some(0));
    let (code, rest) = billy.end();
    assert_eq!(
        (code, rest.iter().filter(|line| line.contains("\"message\"")).count()),
        (Some(0), 0)
    );
}

#[test]
fn what_cannot_be_done_says_why_and_has_its_exit_code() {
    let (_dir, dir) = directory();
    let node = start(&dir, &[]);
    let (code, _, err) = run(&["chat", "--as", "anna", "--url", "http://127.0.0.1:1"]);
    assert_eq!(code, 4, "{err}");
    let (code, _, err) = run(&["chat", "--as", "anna", "--url", "nonsense"]);
    assert!(matches!(code, 2 | 6), "{code} {err}");
    let (code, _, err) = run(&["chat", "--as", " anna", "--url", &node.url]);
    assert!(code == 5 && err.contains("name"), "{code} {err}");
    let mut wrong = Terminal::open(&node, "anna", &["--json"]);
    wrong.type_in("hi");
    assert_eq!(wrong.end().0, Some(2));
}
