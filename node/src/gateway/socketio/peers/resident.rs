//! A user of another server, as a session of this mesh.

use super::{Other, Peers, is_object_member, lock};
use crate::gateway::socketio::chat::{self, Im};
use crate::gateway::socketio::random;
use crate::session::Session;
use bytes::Bytes;
use folkmoot_core::access::Principal;
use folkmoot_core::chat::words::{ChatEvent, ChatRequest, Connect, Kind, Message, Post, Target};
use folkmoot_core::id::{ClientId, Name};
use folkmoot_core::request::{Event, Reply, Request};
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc;

/// Messages of one user that wait for the engine.
const SAID_MAX: usize = 64;
/// The pause before a session that was lost is opened again.
const PAUSE: Duration = Duration::from_secs(1);

/// The user is there as long as this and its clones.
#[derive(Clone)]
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

/// Carries messages both ways, until the user goes or the session is lost. More is heard once the
/// other server has room for what was; the user speaks and goes meanwhile.
async fn speak(peers: &Peers, other: &Other, chat: &mut Session, saying: &mut mpsc::Receiver<Im>) {
    let (mut number, mut heard, mut received) = (0, 0, 0);
    let mut waiting: VecDeque<Arc<Message>> = VecDeque::new();
    loop {
        if waiting.is_empty() && received < heard {
            received = heard;
            if chat.tell(Request::Chat(ChatRequest::Received(heard))).await.is_err() {
                return;
            }
        }
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
            // Its connection is dialled as long as the node runs.
            Ok(room) = other.out.reserve(), if !waiting.is_empty() => {
                if let Some(im) = waiting.pop_front().and_then(|one| forward(other, &one)) {
                    room.send(im);
                }
            }
            event = chat.next_event(), if waiting.is_empty() => match event {
                Some(Event::Chat(ChatEvent::Messages { first, messages })) => {
                    heard = first + messages.len() as u64 - 1;
                    waiting.extend(messages.into_iter().filter(|message| leaves(peers, message)));
                }
                Some(Event::Chat(ChatEvent::Ended(_))) | None => return,
                Some(_) => {}
            }
        }
    }
}

/// Whether a message may go to other servers: not if they get it from where it was sent.
fn leaves(peers: &Peers, message: &Message) -> bool {
    let shared = lock(&peers.shared);
    let (client, number) = (message.client, message.number);
    !shared.foreign.contains(&client) && !shared.local.has(client, number)
}

/// What the other server is sent of a message, unless it has it or would end of it.
fn forward(other: &Other, message: &Message) -> Option<Bytes> {
    // The seed knows messages to one user only.
    let Target::User(to) = &message.to else { return None };
    if is_object_member(&message.from) || is_object_member(to) {
        return None;
    }
    let is_new = lock(&other.sent).note(message.client, message.number);
    is_new.then(|| chat::im(&message.from, to, true, &message.body))
}

#[cfg(test)]
mod tests {
    use super::super::tests::{bridge, name};
    use super::super::{OBJECT_MEMBERS, Told, WAITING_MAX};
    use super::*;
    use crate::gateway::socketio::tests::{in_time, node};
    use futures_util::FutureExt;

    fn im() -> Im {
        Im { from: None, to: name("nobody"), forwarded: false, body: Bytes::from_static(b"{}") }
    }

    #[tokio::test]
    async fn so_many_messages_of_a_user_wait_and_one_more_until_there_is_room() {
        let node = node().await;
        let (peers, _) = bridge(&node);
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

    #[tokio::test]
    async fn no_server_is_sent_a_message_with_the_name_of_a_member_of_all_objects() {
        let node = node().await;
        let (peers, _) = bridge(&node);
        let other = &peers.servers[0];
        let mut number = 0;
        let mut is_sent = |from: &str, to: &str| {
            number += 1;
            let message = Message {
                from: name(from),
                client: ClientId(1),
                number,
                to: Target::User(name(to)),
                kind: Kind::Message,
                sent_ms: 0,
                remote: false,
                body: im().body,
            };
            forward(other, &message).is_some()
        };
        for member in OBJECT_MEMBERS {
            assert!(!is_sent(member, "Anna") && !is_sent("Anna", member), "{member}");
        }
        assert!(is_sent("Anna", "Billy") && is_sent("Constructor", "constructors"));
        node.close().await;
    }

    #[tokio::test]
    async fn a_user_speaks_while_the_server_has_no_room_and_loses_nothing() {
        let node = node().await;
        let (peers, mut outs) = bridge(&node);
        let other = peers.servers[0].clone();
        (0..WAITING_MAX).for_each(|_| other.out.try_send(Bytes::new()).unwrap());
        let anna = Resident::start(peers.clone(), other, name("Anna"));
        assert!(matches!(in_time(peers.announcer.next()).await, Told::Changed(_)));
        let billy = node.session(Principal::Owner);
        let (user, to) = (name("Billy"), Target::User(name("Anna")));
        let connect = Connect { user, client: ClientId(1), resume: None, visible: true };
        billy.ask(Request::Chat(ChatRequest::Connect(connect))).await;
        let post = Post { number: 1, to, kind: Kind::Message, local: false, body: im().body };
        billy.ask(Request::Chat(ChatRequest::Send(vec![post]))).await;
        for _ in 0..4 * SAID_MAX {
            assert_eq!(in_time(anna.say(im())).await, Ok(()));
        }
        for _ in 0..WAITING_MAX {
            assert!(outs[0].recv().await.is_some_and(|packet| packet.is_empty()));
        }
        let said = in_time(outs[0].recv()).await.unwrap();
        assert!(said.starts_with(b"42[\"im\",{\"from\":\"Billy\",\"to\":\"Anna\""));
        drop(anna);
        node.close().await;
    }
}
