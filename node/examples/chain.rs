//! Three nodes in a chain, each of which knows only the one before it. What is put at one end
//! arrives at the other, also what was put while the middle was away.
//!
//! `cargo run --example chain`

use folkmoot::api::watch::{Since, Told};
use folkmoot::{Error, Node};
use serde_json::json;

const SECRET: &str = "a secret for the chain example";

#[tokio::main]
async fn main() -> Result<(), Error> {
    let first = node().start().await?;
    let middle = node().peer(first.url()).start().await?;
    let port = middle.addr();
    let last = node().peer(middle.url()).start().await?;

    first.put("users/1", &json!({"name": "Alice"})).await?;
    arrive(&last, "users/1").await?;
    println!("The last node has {:?} from {}", last.get("users/1").await?, first.id());

    println!("The middle goes away");
    middle.close().await;
    first.put("users/2", &json!({"name": "Bob"})).await?;
    last.put("users/3", &json!({"name": "Carol"})).await?;

    println!("Another takes its place");
    let middle = node().listen(port).peer(first.url()).start().await?;
    arrive(&last, "users/2").await?;
    arrive(&first, "users/3").await?;
    for (name, node) in [("first", &first), ("middle", &middle), ("last", &last)] {
        let users: Vec<String> = node
            .scan("users/", None)
            .await?
            .into_iter()
            .map(|user| format!("{}: {}", user.path, user.value))
            .collect();
        println!("The {name} node has {}", users.join(", "));
    }

    for node in [last, middle, first] {
        node.close().await;
    }
    Ok(())
}

fn node() -> folkmoot::Builder {
    Node::builder().listen("127.0.0.1:0").secret(SECRET)
}

/// Waits until there is something at a path.
async fn arrive(node: &Node, path: &str) -> Result<(), Error> {
    let mut watch = node.data().watch(path, Since::Snapshot).await?;
    loop {
        match watch.next().await? {
            Told::Value(_) | Told::Changed { found: Some(_), .. } => return Ok(()),
            _ => {}
        }
    }
}
