//! Ten nodes over loopback sockets, each linked to each: what a put costs them.
#![allow(clippy::unwrap_used, reason = "a test may stop at what it did not expect")]

use folkmoot::{Durability, Node, Principal};
use folkmoot_core::request::{MeshRequest, MeshStatus, Reply, Request};
use std::time::{Duration, Instant};

const NODES: usize = 10;
const PUTS: usize = 10_000;
/// Puts that each node has under way.
const IN_FLIGHT: usize = 8;
/// How long anything may take.
const PATIENCE: Duration = Duration::from_secs(120);

async fn status(node: &Node) -> MeshStatus {
    match node.ask(Principal::Owner, Request::Mesh(MeshRequest::Status)).await {
        Reply::Mesh(status) => *status,
        reply => panic!("{reply:?}"),
    }
}

async fn statuses(nodes: &[Node]) -> Vec<MeshStatus> {
    let mut all = Vec::new();
    for node in nodes {
        all.push(status(node).await);
    }
    all
}

/// Waits until a condition holds of all nodes.
async fn until(nodes: &[Node], what: &str, holds: impl Fn(&[MeshStatus]) -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !holds(&statuses(nodes).await) {
        assert!(Instant::now() < deadline, "waited in vain for {what}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

fn copies(all: &[MeshStatus]) -> u64 {
    all.iter().map(|status| status.stats.pushed + status.stats.caught_up).sum()
}

#[tokio::test(flavor = "multi_thread")]
async fn ten_thousand_puts_in_a_full_mesh_of_ten_cost_at_most_1_2_copies_a_node() {
    let mut nodes: Vec<Node> = Vec::new();
    for _ in 0..NODES {
        let builder = Node::builder().listen("127.0.0.1:0").secret("the secret of a full mesh");
        let builder = builder.durability(Durability::Os).peers(nodes.iter().map(Node::url));
        nodes.push(builder.start().await.unwrap());
    }
    let linked = |status: &MeshStatus| {
        let links = &status.links;
        links.len() == NODES - 1 && links.iter().all(|link| link.in_sync)
    };
    let knows_all = |status: &MeshStatus| {
        let nodes = &status.nodes;
        nodes.len() == NODES && nodes.iter().all(|node| node.links.len() == NODES - 1)
    };
    until(&nodes, "the links", |all| all.iter().all(|one| linked(one) && knows_all(one))).await;
    let before = statuses(&nodes).await;
    let mut writers = Vec::new();
    for (at, node) in nodes.iter().enumerate() {
        for writer in 0..IN_FLIGHT {
            let node = node.clone();
            writers.push(tokio::spawn(async move {
                for n in (writer..PUTS / NODES).step_by(IN_FLIGHT) {
                    node.put(&format!("p/{at}/{n}"), &n).await.unwrap();
                }
            }));
        }
    }
    for writer in writers {
        writer.await.unwrap();
    }
    let entries = before[0].entries + PUTS as u64;
    until(&nodes, "the same everywhere", |all| {
        all.iter().all(|one| one.entries == entries && one.digest == all[0].digest)
    })
    .await;
    let needed = (PUTS * (NODES - 1)) as u64;
    let after = statuses(&nodes).await;
    let sent = copies(&after) - copies(&before);
    let pushed: u64 = after.iter().map(|status| status.stats.pushed).sum();
    let grafts: u64 = after.iter().map(|status| status.stats.grafts).sum();
    let a_node = sent as f64 / needed as f64;
    println!("{sent} copies ({pushed} pushed, {grafts} grafts) for {needed}: {a_node:.3} a node");
    assert!(sent >= needed, "{sent}: not all of them are counted");
    assert!(sent * 10 <= needed * 12, "{sent} copies for {needed}");
    for node in nodes {
        node.close().await;
    }
}
