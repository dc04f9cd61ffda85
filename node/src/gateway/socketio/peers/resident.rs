//! A user of another server, as a session of this mesh.

use super::{Other, Peers, lock};
use crate::gateway::socketio::chat::{self, Im};
use crate::gateway::socketio::random;
use crate::session::Session;
use folkmoot_core::access::Principal;
use folkmoot_core::chat::words::{ChatEvent, ChatRequest, Connect, Kind, Message, Post, Target};
use folkmoot_core::id::{ClientId, Name};
use folkmoot_core::request::{Event, Reply, Request};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc;

/// Messages of one user that wait for the engine.
const SAID_MAX: usize = 64;
/// The pause before a session that was lost is opened again.
const PAUSE: Duration = Duration::from_secs(1);

/// The user is there as long as this.
pub(super) struct Resident {
    said: mpsc::Sender<Im>,
}

impl Resident {
    /// Opens the session.
    pub(super) fn start(peers: Arc<Peers>, other: Arc<Other>, user: Name) -> Resident {
        let (said, saying) = mpsc::channel(SAID_MAX);
        tokio::spawn(run(peers, other, user, saying));
        Resident { said }
    }

    /// Sends a message as the user.
    pub(super) async fn say(&self, im: Im) -> Result<(), &'static str> {
        self.said.send(im).await.map_err(|_| "the user is gone")
    }
}

async fn run(peers: Arc<Peers>, other: Arc<Other>, user: Name, mut saying: mpsc::Receiver<Im>) {
    while !saying.is_closed() {
        let client = ClientId(random());
        let mut chat = peers.node.session(Principal::Owner);
        peers.change(&user);
        let connect = Connect { user: user.clone(), client, resume: None, visible: true };
        match chat.ask(Request::Chat(ChatRequest::Connect(connect))).await {
            Reply::Done => peers.opened(&user, client),
            _ => {
                peers.closed(&user, None);
                tokio::time::sleep(PAUSE).await;
                continue;
            }
        }
        speak(&peers, &other, &mut chat, &mut saying).await;
        peers.change(&user);
        // Whatever it is answered, the user is not there any more once it is.
        chat.ask(Request::Chat(ChatRequest::Disconnect)).await;
        drop(chat);
        peers.closed(&user, Some(client));
        if !saying.is_closed() {
            tokio::time::sleep(PAUSE).await;
        }
    }
}

/// Carries messages both ways, until the user goes or the session is lost.
async fn speak(peers: &Peers, other: &Other, chat: &mut Session, saying: &mut mpsc::Receiver<Im>) {
    let mut number = 0;
    loop {
        tokio::select! {
            im = saying.recv() => {
                let Some(im) = im else { return };
                number += 1;
                let (to, kind) = (Target::User(im.to), Kind::Message);
                let post = Post { number, to, kind, local: false, body: im.body };
                if chat.tell(Request::Chat(ChatRequest::Send(vec![post]))).await.is_err() {
                    return;
                }
            }
            event = chat.next_event() => {
                let (first, messages) = match event {
                    Some(Event::Chat(ChatEvent::Messages { first, messages })) => (first, messages),
                    Some(Event::Chat(ChatEvent::Ended(_))) | None => return,
                    Some(_) => continue,
                };
                for message in &messages {
                    forward(peers, other, message).await;
                }
                let last = first + messages.len() as u64 - 1;
                if chat.tell(Request::Chat(ChatRequest::Received(last))).await.is_err() {
                    return;
                }
            }
        }
    }
}

/// Sends a message to the other server, unless it has it, or gets it from where it was sent.
async fn forward(peers: &Peers, other: &Other, message: &Message) {
    // The seed knows messages to one user only.
    let Target::User(to) = &message.to else { return };
    let (client, number) = (message.client, message.number);
    {
        let shared = lock(&peers.shared);
        if shared.foreign.contains(&client) || shared.local.has(client, number) {
            return;
        }
    }
    if lock(&other.sent).note(client, number) {
        let im = chat::im(&message.from, to, true, &message.body);
        // Its connection is dialled as long as the node runs.
        let _ = other.out.send(im).await;
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{bridge, name};
    use super::*;
    use crate::gateway::socketio::tests::{in_time, node};
    use bytes::Bytes;
    use futures_util::FutureExt;

    fn im() -> Im {
        Im { from: None, to: name("nobody"), forwarded: false, body: Bytes::from_static(b"{}") }
    }

    #[tokio::test]
    async fn so_many_messages_of_a_user_wait_and_one_more_until_there_is_room() {
        let node = node().await;
        let (peers, ..) = bridge(&node);
        let anna = Resident::start(peers.clone(), peers.servers[0].clone(), name("Anna"));
        for _ in 0..SAID_MAX {
            assert_eq!(anna.say(im()).now_or_never(), Some(Ok(())));
        }
        let mut more = Box::pin(anna.say(im()));
        assert_eq!((&mut more).now_or_never(), None);
        assert_eq!(in_time(more).await, Ok(()));
        drop(anna);
        node.close().await;
    }
}
