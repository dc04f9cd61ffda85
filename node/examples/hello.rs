//! Two nodes that greet each other: what one puts, the other has, and hears of.
//!
//! `cargo run --example hello`

use folkmoot::api::Change;
use folkmoot::{Error, Node};
use serde_json::json;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

#[tokio::main]
async fn main() -> Result<(), Error> {
    // The first node is the hub: it knows nobody. Without a data directory nothing outlives it.
    let first = node().start().await?;
    // The second dials the first. The same secret makes them one network.
    let second = node().peer(first.url()).start().await?;

    println!("The first node stores a greeting");
    let mut heard = second.subscribe("greetings").await?;
    first.put("greetings/hello", &json!({"message": "Hello World!", "at": now_ms()})).await?;

    heard.next().await.expect("the node is open");
    let greeting = second.get("greetings/hello").await?.expect("it has arrived");
    println!("The second node has it: {greeting}");

    println!("The second node changes it");
    let mut heard = first.subscribe("greetings").await?;
    let message = json!({"message": "Hello from the second!", "at": now_ms(), "origin": "second"});
    second.put("greetings/hello", &message).await?;

    heard.next().await.expect("the node is open");
    let greeting = first.get("greetings/hello").await?.expect("it has arrived");
    println!("The first node has it: {greeting}");

    // A function is called for each change until the subscription is dropped.
    let (told, mut calls) = tokio::sync::mpsc::unbounded_channel();
    let subscription = first
        .on_change("greetings", move |change| {
            match change {
                Change::Put(item) => {
                    println!("The first node hears of {}: {}", item.path, item.value);
                }
                Change::Gone(path) => println!("The first node hears that {path} is gone"),
                Change::Reset => println!("The first node is to begin anew"),
            }
            told.send(()).expect("somebody waits");
        })
        .await?;
    println!("The second node adds another");
    second.put("greetings/welcome", &json!({"message": "Welcome!", "at": now_ms()})).await?;
    calls.recv().await.expect("it is told");
    drop(subscription);

    second.close().await;
    first.close().await;
    println!("Both are closed");
    Ok(())
}

fn node() -> folkmoot::Builder {
    Node::builder().listen("127.0.0.1:0").secret("a secret for the hello example")
}

fn now_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
    since.as_millis() as u64
}
