//! Several real nodes: they link, refuse strangers, and bear the loss of one.

use crate::support::{Process, directory, free_address, start, start_at};
use std::path::PathBuf;

const SECRET: &str = "the secret of these tests";

#[test]
fn two_nodes_with_one_secret_hold_the_same() {
    let (_a, dir_a) = directory();
    let (_b, dir_b) = directory();
    let a = start(&dir_a, &["--secret", SECRET]);
    a.put("before", "1");
    let b = start(&dir_b, &["--secret", SECRET, "--peer", &a.url]);
    b.wait_for("before", Some("1"));
    b.put("after", "{\"from\":\"b\"}");
    a.wait_for("after", Some("{\"from\":\"b\"}"));
    a.del("before");
    b.wait_for("before", None);
    assert_eq!(a.export(), b.export());
}

#[test]
fn a_wrong_secret_is_refused_with_a_reason_in_the_log() {
    let (_a, dir_a) = directory();
    let (_b, dir_b) = directory();
    let a = start(&dir_a, &["--secret", SECRET]);
    let b = start(&dir_b, &["--secret", "another secret altogether", "--peer", &a.url]);
    b.until("the reason", || b.log().contains("network"));
    a.put("x", "1");
    assert_eq!(b.get("x"), None);
    assert_eq!(b.json("/v1/mesh")["links"].as_array().map(Vec::len), Some(0));
}

/// Three nodes on fixed addresses; `dials[i]` are those that node i dials.
struct Three {
    dirs: Vec<(tempfile::TempDir, PathBuf)>,
    addresses: Vec<String>,
    dials: [&'static [usize]; 3],
    nodes: Vec<Option<Process>>,
}

impl Three {
    fn start(dials: [&'static [usize]; 3]) -> Three {
        let dirs = (0..3).map(|_| directory()).collect();
        let addresses = (0..3).map(|_| free_address()).collect();
        let mut three = Three { dirs, addresses, dials, nodes: vec![None, None, None] };
        (0..3).for_each(|i| three.start_one(i));
        three
    }

    fn start_one(&mut self, i: usize) {
        let peers: Vec<String> =
            self.dials[i].iter().map(|peer| format!("http://{}", self.addresses[*peer])).collect();
        let mut args = vec!["--secret", SECRET, "--redial-ms-max", "1000"];
        peers.iter().for_each(|peer| args.extend(["--peer", peer]));
        self.nodes[i] = Some(start_at(&self.addresses[i], &self.dirs[i].1, &args));
    }

    fn node(&self, i: usize) -> &Process {
        self.nodes[i].as_ref().unwrap()
    }

    fn ends_hear_each_other(&self) {
        let (first, last) = (self.node(0), self.node(2));
        let id = last.json("/v1/status")["node"].as_str().unwrap().to_string();
        let ping = format!("/v1/mesh/ping/{id}");
        first.until("a ping and its answer", || first.ask("POST", &ping, "").0 == 200);
    }

    /// The story: writes cross the mesh, the middle one dies, the others go on, it comes back.
    fn bears_the_loss_of_the_middle_one(mut self, others_stay_linked: bool) {
        let (first, last) = (self.node(0), self.node(2));
        first.put("a/1", "1");
        last.wait_for("a/1", Some("1"));
        last.put("a/2", "2");
        first.wait_for("a/2", Some("2"));
        self.ends_hear_each_other();

        self.nodes[1].take().unwrap().kill();
        let (first, last) = (self.node(0), self.node(2));
        for n in 0..200 {
            first.put(&format!("b/first/{n}"), &n.to_string());
            last.put(&format!("b/last/{n}"), &n.to_string());
        }
        first.del("a/1");
        last.put("a/2", "\"written while the middle one was away\"");
        if others_stay_linked {
            last.wait_for("b/first/199", Some("199"));
            first.wait_for("b/last/199", Some("199"));
        }

        self.start_one(1);
        for i in 0..3 {
            let node = self.node(i);
            node.wait_for("b/first/199", Some("199"));
            node.wait_for("b/last/199", Some("199"));
            node.wait_for("a/1", None);
            node.wait_for("a/2", Some("\"written while the middle one was away\""));
        }
        self.ends_hear_each_other();
        let all = self.node(0).export();
        assert_eq!(all.lines().count(), 401);
        for i in 1..3 {
            self.node(i).until("the same export", || self.node(i).export() == all);
        }
    }
}

#[test]
fn a_chain_bears_the_loss_of_its_middle_node() {
    Three::start([&[], &[0], &[1]]).bears_the_loss_of_the_middle_one(false);
}

#[test]
fn a_ring_bears_the_loss_of_one_node() {
    Three::start([&[2], &[0], &[1]]).bears_the_loss_of_the_middle_one(true);
}

#[test]
fn a_full_mesh_bears_the_loss_of_one_node() {
    Three::start([&[1, 2], &[0, 2], &[0, 1]]).bears_the_loss_of_the_middle_one(true);
}
