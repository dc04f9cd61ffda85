//! A bot that says back what it is told, in a room or to somebody alone.
//!
//! `cargo run --example bot` starts a node with the bot in it and greets it;
//! `cargo run --example bot -- http://127.0.0.1:3655 "the secret"` joins a network and stays.

use folkmoot::api::chat::{ChatSession, Heard, Name, Target};
use folkmoot::{Error, Node};

const ROOM: &str = "tea";

#[tokio::main]
async fn main() -> Result<(), Error> {
    let mut arguments = std::env::args().skip(1);
    let mut builder = Node::builder().listen("127.0.0.1:0");
    let peer = arguments.next();
    if let Some(address) = &peer {
        builder = builder.peer(address);
    }
    if let Some(secret) = arguments.next() {
        builder = builder.secret(secret);
    }
    let node = builder.start().await?;

    let bot = node.chat().connect("echo").await?;
    bot.join(ROOM).await?;
    println!("The bot is called echo, and is in the room {ROOM}");
    if peer.is_some() {
        return answer(&bot).await;
    }

    let anna = node.chat().connect("anna").await?;
    anna.send("echo", "hello");
    tokio::select! {
        result = answer(&bot) => result?,
        heard = anna.next() => {
            let Some(Heard::Message(message)) = heard else { unreachable!("nothing else comes") };
            println!("anna hears {} from {}", message.body(), message.from());
        }
    }
    node.close().await;
    Ok(())
}

/// Answers until the session ends.
async fn answer(bot: &ChatSession) -> Result<(), Error> {
    let own = Name::new(bot.user().to_owned())?;
    while let Some(heard) = bot.next().await {
        match heard {
            // What it says itself on another node comes back to it too.
            Heard::Message(message) if message.from() == own.as_str() => {}
            Heard::Message(message) => {
                println!("{} says {}", message.from(), message.body());
                // Not waited for: two bots that talk to each other would wait for ever.
                bot.post(message.answer_to(), &message.body());
            }
            Heard::Room(change) if !change.all => {
                for user in change.joined.into_iter().filter(|user| *user != own) {
                    bot.post(Target::User(user), "welcome to the room");
                }
            }
            _ => {}
        }
    }
    Ok(())
}
