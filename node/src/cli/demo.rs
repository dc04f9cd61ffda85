//! `demo`: three nodes in one process, a chain, ready to try.

use super::failure::{Exit, Failure};
use super::out::{Out, program};
use super::scratch::Scratch;
use super::serve::{block_on, end_signal};
use clap::Args;
use folkmoot::Node;
use serde_json::json;
use std::time::{Duration, Instant};

/// How long the nodes may take to see each other.
const LINK_TIMEOUT: Duration = Duration::from_secs(20);
/// The pause between two looks.
const LOOK_AGAIN: Duration = Duration::from_millis(20);
/// The nodes of the chain.
const NODES: usize = 3;

/// Arguments of `demo`.
#[derive(Debug, Args)]
#[command(after_help = "Example:
  folkmoot demo

Everything is on this machine, on free ports, in a temporary directory that is removed at the end.
Ends on Ctrl-C.")]
pub(crate) struct DemoArgs {}

/// Runs `demo`.
pub(crate) fn run(_: &DemoArgs, out: Out) -> Result<(), Failure> {
    let scratch = Scratch::new(None, "demo")?;
    block_on(async {
        let ended = end_signal()?;
        let nodes = chain(&scratch).await?;
        say(&nodes, out)?;
        ended.await;
        for node in nodes {
            node.close().await;
        }
        Ok(())
    })
}

async fn chain(scratch: &Scratch) -> Result<Vec<Node>, Failure> {
    let mut nodes: Vec<Node> = Vec::new();
    for number in 1..=NODES {
        let builder = Node::builder()
            .listen("127.0.0.1:0")
            .data_dir(scratch.path().join(format!("node-{number}")))
            .secret("a secret for three nodes on one machine")
            .peers(nodes.last().map(Node::url));
        nodes.push(builder.start().await.map_err(|error| Failure::new(Exit::Failed, error))?);
    }
    let deadline = Instant::now() + LINK_TIMEOUT;
    while reached(&nodes[0]).await? < NODES {
        if Instant::now() > deadline {
            return Err(Failure::new(Exit::Failed, "the three nodes do not find each other")
                .why("loopback connections seem to be blocked on this machine")
                .hint("look into its firewall, then try again"));
        }
        tokio::time::sleep(LOOK_AGAIN).await;
    }
    Ok(nodes)
}

/// How many nodes a node can reach, itself among them.
async fn reached(node: &Node) -> Result<usize, Failure> {
    let status = node.status().await.map_err(|error| Failure::new(Exit::Failed, error))?;
    Ok(status.nodes.iter().filter(|node| node.hops.is_some()).count())
}

fn say(nodes: &[Node], out: Out) -> Result<(), Failure> {
    let urls: Vec<String> = nodes.iter().map(Node::url).collect();
    let (first, last) = (&urls[0], &urls[NODES - 1]);
    let four = format!("{first}/ui/four.html?nodes={}", urls.join(","));
    let words = format!(
        "Three nodes in a chain, on this machine only. Open each in a browser window, say who you are in
each, and chat between them:

  1  {first}
  2  {middle}   linked to 1
  3  {last}   linked to 2

Four clients of different nodes side by side, in one window:

  {four}

Chat from a terminal, with those in the windows or with another terminal:

  {program} chat --as emma --url {middle}

Write data on the first, read it on the last; watch on one, write on another:

  curl -X PUT {first}/v1/data/users/1 -H 'content-type: application/json' -d '{{\"name\":\"Alice\"}}'
  curl {last}/v1/data/users/1
  curl -N '{last}/v1/watch?prefix=users'
  {program} data put users/2 '{{\"name\":\"Bob\"}}' --url {middle}

See the mesh:

  {program} mesh --url {first}

Ctrl-C ends all three; nothing is kept.",
        middle = urls[1],
        program = program(),
    );
    let nodes: Vec<_> = nodes
        .iter()
        .map(|node| json!({ "url": node.url(), "node": node.id().to_string() }))
        .collect();
    out.say(words, &json!({ "event": "ready", "nodes": nodes, "four": four }))
}
