//! Several real nodes: they link, refuse strangers, and bear the loss of one.

use crate::support::{Process, directory, free_address, start, start_at};
use folkmoot::Network;
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

/// The second dials the first in vain: both say why, and neither gets anything of the other.
fn assert_strangers(a: &Process, b: &Process, why_a: &str, why_b: &str) {
    b.until("the reason at the one that dials", || b.log().contains(why_b));
    a.until("the reason at the one that is dialled", || a.log().contains(why_a));
    a.put("x", "1");
    b.put("y", "1");
    assert_eq!((a.get("y"), b.get("x")), (None, None));
    for node in [a, b] {
        assert_eq!(node.json("/v1/mesh")["links"].as_array().map(Vec::len), Some(0));
    }
}

#[test]
fn a_node_of_another_network_is_refused_with_a_reason_in_both_logs() {
    let (_a, dir_a) = directory();
    let (_b, dir_b) = directory();
    let a = start(&dir_a, &["--secret", SECRET]);
    let b = start(&dir_b, &["--secret", "another secret altogether", "--peer", &a.url]);
    let why = "it belongs to another network";
    assert_strangers(&a, &b, why, "another network");
    let id = |node: &Process| node.json("/v1/status")["network"].as_str().unwrap().to_owned();
    assert!(a.log().contains(&id(&a)) && a.log().contains(&id(&b)), "{}", a.log());
    assert!(b.log().contains("folkmoot join"), "{}", b.log());
}

#[test]
fn a_node_with_a_replaced_secret_of_the_same_network_is_refused_with_a_reason_in_both_logs() {
    let (_a, dir_a) = directory();
    let (_b, dir_b) = directory();
    for dir in [&dir_a, &dir_b] {
        std::fs::create_dir(dir).unwrap();
        Network::load_or_create(dir, Some(SECRET)).unwrap();
    }
    let network = Network::load(&dir_a).unwrap().unwrap();
    network.rotate(&dir_a, Some("what has taken its place")).unwrap();
    let a = start(&dir_a, &[]);
    let b = start(&dir_b, &["--peer", &a.url]);
    let id = |node: &Process| node.json("/v1/status")["network"].clone();
    assert_eq!(id(&a), id(&b));
    let why = "its network secret is another one: give it a new invite line";
    assert_strangers(&a, &b, why, "wrong network secret: use `folkmoot join`");
}

/// Three nodes on fixed addresses; `dials[i]` are those that node i dials.
pub(crate) struct Three {
    dirs: Vec<(tempfile::TempDir, PathBuf)>,
    addresses: Vec<String>,
    dials: [&'static [usize]; 3],
    nodes: Vec<Option<Process>>,
}

impl Three {
    pub(crate) fn start(dials: [&'static [usize]; 3]) -> Three {
        let dirs = (0..3).map(|_| directory()).collect();
        let addresses = (0..3).map(|_| free_address()).collect();
        let mut three = Three { dirs, addresses, dials, nodes: vec![None, None, None] };
        (0..3).for_each(|i| three.start_one(i));
        three
    }

    pub(crate) fn start_one(&mut self, i: usize) {
        let peers: Vec<String> =
            self.dials[i].iter().map(|peer| format!("http://{}", self.addresses[*peer])).collect();
        let mut args = vec!["--secret", SECRET, "--redial-ms-max", "1000", "--history", "h=9"];
        peers.iter().for_each(|peer| args.extend(["--peer", peer]));
        self.nodes[i] = Some(start_at(&self.addresses[i], &self.dirs[i].1, &args));
    }

    pub(crate) fn node(&self, i: usize) -> &Process {
        self.nodes[i].as_ref().unwrap()
    }

    pub(crate) fn kill(&mut self, i: usize) {
        self.take(i).kill();
    }

    /// Hands one over while others come and go.
    pub(crate) fn take(&mut self, i: usize) -> Process {
        self.nodes[i].take().unwrap()
    }

    pub(crate) fn put_back(&mut self, i: usize, node: Process) {
        self.nodes[i] = Some(node);
    }

    pub(crate) fn ends_hear_each_other(&self) {
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

        self.kill(1);
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
