//! The life of one socket: what carries it, its session, its user.
//!
//! Promise: one task per socket, which waits for the client, the mesh, the list of users and the
//! clock at once. It does not read more from a client than the engine takes, nor more from the
//! engine than the client takes. A message counts as delivered when the transport has it.
//! Limits: `POSTS_MAX`, `TAKE_BYTES`, those of the session.

use super::chat::{self, Im, Said, Update};
use super::engine_io::Packet;
use super::pace::Pace;
use super::packet;
use super::peers::Peer;
use super::session::{End, QUEUE_BYTES_MAX, Said as Heard, Session};
use super::watcher::Reader;
use super::websocket::WebSocket;
use super::{Gateway, Guest, Place};
use crate::http::stopped;
use crate::node::Node;
use crate::session::Session as Chat;
use bytes::Bytes;
use folkmoot_core::chat::words::{
    ChatEvent, ChatRequest, Connect, Kind, Message, Outcome, Post, Settled, Target,
};
use folkmoot_core::id::{ClientId, Name};
use folkmoot_core::request::{Event, Reply, Request};
use std::pin::Pin;
use std::sync::Arc;
use std::time::Instant;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::Sleep;

/// Packets that are taken from a WebSocket before anything else is looked at.
const PACKETS_MAX: usize = 64;
/// Bytes waiting for the client at which no more is taken from the engine.
const TAKE_BYTES: usize = 256 * 1024;

const TOO_FAST: &str = "too fast: at most 10 messages a second";

/// What the requests of a polling client bring.
pub(super) enum Inbound {
    /// The packets of a POST.
    Packets(Vec<Packet>),
    /// A POST that made no sense.
    Malformed(&'static str),
    /// A GET that waits for packets.
    Poll(oneshot::Sender<Vec<Bytes>>),
    /// A WebSocket has asked whether it could take over: polls end early from now on.
    Probe,
    /// It did not take over.
    ProbeEnded,
    /// It takes over.
    Upgraded(Box<WebSocket>),
}

/// What carries a socket.
pub(super) enum Carrier {
    Polling(Polling),
    WebSocket(Box<WebSocket>),
}

/// A client that comes with one request after another.
pub(super) struct Polling {
    inbound: mpsc::Receiver<Inbound>,
    /// The request that waits.
    poll: Option<oneshot::Sender<Vec<Bytes>>>,
    probed: bool,
    /// Where its requests find it.
    _place: Place,
}

impl Polling {
    /// A client whose requests come over `inbound`.
    pub(super) fn new(inbound: mpsc::Receiver<Inbound>, place: Place) -> Polling {
        Polling { inbound, poll: None, probed: false, _place: place }
    }
}

/// One socket.
pub(super) struct Driver {
    gateway: Arc<Gateway>,
    node: Node,
    guest: Guest,
    session: Session,
    carrier: Carrier,
    user: Option<User>,
    peer: Option<Peer>,
    pace: Pace,
}

/// Whoever identified.
struct User {
    name: Name,
    client: ClientId,
    chat: Chat,
    /// The number of the last message.
    number: u64,
    /// Messages that are on their way to the engine.
    posts: Vec<Post>,
    list: Reader,
}

impl Driver {
    /// A socket that has just come.
    pub(super) fn new(
        gateway: Arc<Gateway>,
        node: Node,
        guest: Guest,
        session: Session,
        carrier: Carrier,
    ) -> Driver {
        let pace = Pace::new(guest.remote.ip(), Instant::now());
        Driver { gateway, node, guest, session, carrier, user: None, peer: None, pace }
    }

    /// Lives until the client goes or the node stops.
    pub(super) async fn run(mut self, mut stop: watch::Receiver<bool>) {
        self.gateway.came(self.guest.remote);
        let end = loop {
            if let Err(end) = self.turn(&mut stop).await {
                break end;
            }
        };
        tracing::debug!("a Socket.IO client at {} is gone: {end:?}", self.guest.remote);
        // Its user goes first: saying farewell may take a moment.
        drop((self.user, self.peer));
        match self.carrier {
            Carrier::WebSocket(socket) => socket.close(end).await,
            Carrier::Polling(polling) => {
                if let Some(poll) = polling.poll {
                    let last = if end == End::Gone { "6" } else { "1" };
                    let _ = poll.send(vec![Bytes::from_static(last.as_bytes())]);
                }
            }
        }
    }

    /// Hands over what waits, then waits for whatever comes first until something ends it.
    async fn turn(&mut self, stop: &mut watch::Receiver<bool>) -> Result<(), End> {
        let mut timer: Pin<Box<Sleep>> =
            Box::pin(tokio::time::sleep_until(self.session.deadline().into()));
        loop {
            self.flush().await?;
            let takes = self.session.queue.bytes() < TAKE_BYTES;
            tokio::select! {
                () = stopped(stop) => return Err(End::Closing),
                inbound = next(&mut self.carrier) => tokio::select! {
                    done = self.on_inbound(inbound?) => done?,
                    // What it waits for may not come any more.
                    () = stopped(stop) => return Err(End::Closing),
                },
                told = next_told(&mut self.user, takes) => match told {
                    Told::Event(event) => self.on_event(event)?,
                    Told::List(list) => self.session.queue.push_list(list),
                },
                () = timer.as_mut() => self.session.on_time(Instant::now())?,
            }
            // It is moved only when it fires or comes too late: a busy socket leaves it alone.
            let deadline = self.session.deadline().into();
            if timer.is_elapsed() || timer.deadline() > deadline {
                timer.as_mut().reset(deadline);
            }
        }
    }

    async fn on_inbound(&mut self, inbound: Inbound) -> Result<(), End> {
        match inbound {
            Inbound::Packets(packets) => {
                self.on_packets(packets).await?;
                // What came with it is taken along, so that it goes to the engine at once.
                let Carrier::WebSocket(socket) = &mut self.carrier else { return Ok(()) };
                let (more, ended) = gather(socket);
                self.on_packets(more).await?;
                ended
            }
            Inbound::Malformed(why) => Err(End::Malformed(why)),
            Inbound::Poll(poll) => {
                let Carrier::Polling(polling) = &mut self.carrier else { return Ok(()) };
                if let Some(earlier) = polling.poll.replace(poll) {
                    let _ = earlier.send(vec![Bytes::from_static(b"6")]);
                }
                Ok(())
            }
            Inbound::Probe | Inbound::ProbeEnded => {
                let Carrier::Polling(polling) = &mut self.carrier else { return Ok(()) };
                polling.probed = matches!(inbound, Inbound::Probe);
                Ok(())
            }
            Inbound::Upgraded(socket) => {
                if let Carrier::Polling(polling) = &mut self.carrier
                    && let Some(poll) = polling.poll.take()
                {
                    let _ = poll.send(vec![Bytes::from_static(b"6")]);
                }
                self.carrier = Carrier::WebSocket(socket);
                Ok(())
            }
        }
    }

    async fn on_packets(&mut self, packets: Vec<Packet>) -> Result<(), End> {
        let taken = self.take(&packets).await;
        // However that ended, what was said before was said.
        self.hand_in().await;
        taken
    }

    async fn take(&mut self, packets: &[Packet]) -> Result<(), End> {
        let now = Instant::now();
        for packet in packets {
            match self.session.on_packet(packet, now)? {
                Heard::Nothing => {}
                Heard::Left => {
                    self.hand_in().await;
                    self.user = None;
                }
                Heard::Event { id, data } => {
                    let refused = match packet::decode_event(data) {
                        Ok((name, arguments)) => match chat::read(&name, &arguments) {
                            Ok(Some(said)) => self.on_said(said).await.err(),
                            Ok(None) => None,
                            Err(why) => Some(why),
                        },
                        Err(bad) => Some(bad.0),
                    };
                    if let Some(why) = refused {
                        self.session.queue.push(packet::refusal(why));
                    }
                    if let Some(id) = id {
                        self.session.queue.push(packet::ack(id, refused));
                    }
                }
            }
            if self.session.queue.bytes() > QUEUE_BYTES_MAX {
                return Err(End::NotReading);
            }
        }
        Ok(())
    }

    async fn on_said(&mut self, said: Said) -> Result<(), &'static str> {
        match said {
            Said::Identify(name) => self.on_identify(name).await,
            Said::Im(im) if self.peer.is_some() => {
                self.peer.as_ref().expect("it was just looked at").im(im).await
            }
            Said::Im(im) => self.on_im(im),
            Said::UpdatePeer(update) => self.on_update(update),
        }
    }

    async fn on_identify(&mut self, name: Name) -> Result<(), &'static str> {
        if !self.gateway.admits_users(self.guest.remote) {
            return Err("users are served on the node's own machine only");
        }
        if !self.pace.take(Instant::now()) {
            return Err(TOO_FAST);
        }
        self.hand_in().await;
        // Who spoke here before ends now, and what was theirs is nobody's.
        self.user = None;
        self.session.queue.forget_received();
        let client = ClientId(super::random());
        let chat = self.node.session(self.guest.principal);
        let connect = Connect { user: name.clone(), client, resume: None, visible: true };
        let connect = Request::Chat(ChatRequest::Connect(connect));
        let Reply::Done = chat.ask(connect).await else {
            return Err("the node is busy or ending: try again");
        };
        let list = self.gateway.watcher.read(&self.node);
        self.user = Some(User { name, client, chat, number: 0, posts: Vec::new(), list });
        Ok(())
    }

    fn on_im(&mut self, im: Im) -> Result<(), &'static str> {
        let user = self.user.as_mut().ok_or("identify first")?;
        if !self.pace.take(Instant::now()) {
            return Err(TOO_FAST);
        }
        user.number += 1;
        if im.forwarded {
            self.gateway.note_local(user.client, user.number);
        }
        let echo = chat::im(&user.name, &im.to, im.forwarded, &im.body);
        user.posts.push(Post {
            number: user.number,
            to: Target::User(im.to),
            kind: Kind::Message,
            local: im.forwarded,
            body: im.body,
        });
        self.session.queue.push(echo);
        Ok(())
    }

    fn on_update(&mut self, update: Update) -> Result<(), &'static str> {
        if self.user.is_some() {
            return Err("a user is no server");
        }
        if self.peer.is_none() {
            let peer = self.gateway.peer(self.guest.remote, &update.peer);
            self.peer = Some(peer.ok_or("this server is not in the list of servers")?);
        }
        self.peer.as_mut().expect("it was just made").update(update)
    }

    /// Gives the engine what the client has said.
    async fn hand_in(&mut self) {
        let Some(user) = self.user.as_mut().filter(|user| !user.posts.is_empty()) else { return };
        let posts = std::mem::take(&mut user.posts);
        if let Err(code) = user.chat.tell(Request::Chat(ChatRequest::Send(posts))).await {
            self.session.queue.push(chat::refusal(code));
        }
    }

    fn on_event(&mut self, event: Option<Event>) -> Result<(), End> {
        let Some(Event::Chat(event)) = event else { return Err(End::NotReading) };
        match event {
            ChatEvent::Messages { first, messages } => {
                let last = first + messages.len() as u64 - 1;
                messages.iter().for_each(|message| self.show(message));
                self.session.queue.push_received(last);
            }
            ChatEvent::Settled(settled) => settled.iter().for_each(|one| self.on_settled(one)),
            ChatEvent::Ended(_) => return Err(End::NotReading),
            ChatEvent::Signals(_) | ChatEvent::Users { .. } | ChatEvent::Room { .. } => {}
        }
        Ok(())
    }

    fn on_settled(&mut self, settled: &Settled) {
        // The seed tells nobody of users who are not there.
        if let Outcome::Refused(code) = settled.outcome {
            self.session.queue.push(chat::refusal(code));
        }
    }

    fn show(&mut self, message: &Message) {
        let Some(user) = &self.user else { return };
        let forwarded = message.remote || self.gateway.is_foreign(message.client);
        let shown = chat::delivered(message, &user.name, forwarded);
        // As recipient and as sender; where it was sent the echo is the second.
        let twice = message.from == user.name
            && message.to == Target::User(user.name.clone())
            && message.client != user.client;
        if twice {
            self.session.queue.push(shown.clone());
        }
        self.session.queue.push(shown);
    }

    /// Hands what waits to the transport, if it takes it now.
    async fn flush(&mut self) -> Result<(), End> {
        let queue = &mut self.session.queue;
        let received = match &mut self.carrier {
            Carrier::WebSocket(socket) => {
                if queue.is_empty() {
                    return Ok(());
                }
                let batch = queue.take();
                socket.write(batch.all()).await?;
                batch.received
            }
            Carrier::Polling(polling) => {
                let Some(poll) = polling.poll.take_if(|_| polling.probed || !queue.is_empty())
                else {
                    return Ok(());
                };
                if queue.is_empty() {
                    queue.push(Bytes::from_static(b"6"));
                }
                let batch = queue.take();
                if poll.send(batch.all()).is_err() {
                    queue.restore(batch);
                    return Ok(());
                }
                batch.received
            }
        };
        if let (Some(number), Some(user)) = (received, &self.user) {
            // If it cannot be told now, a later number tells it too.
            let _ = user.chat.tell(Request::Chat(ChatRequest::Received(number))).await;
        }
        Ok(())
    }
}

/// The packets that have come already, and whether the client can say more: what it said before
/// it left counts.
fn gather(socket: &mut WebSocket) -> (Vec<Packet>, Result<(), End>) {
    let mut packets = Vec::new();
    while packets.len() < PACKETS_MAX {
        match socket.next_now() {
            Ok(Some(packet)) => packets.push(packet),
            Ok(None) => break,
            Err(end) => return (packets, Err(end)),
        }
    }
    (packets, Ok(()))
}

async fn next(carrier: &mut Carrier) -> Result<Inbound, End> {
    match carrier {
        Carrier::WebSocket(socket) => Ok(Inbound::Packets(vec![socket.next().await?])),
        Carrier::Polling(polling) => polling.inbound.recv().await.ok_or(End::Gone),
    }
}

/// What the mesh has for a user.
enum Told {
    /// `None` once the node has closed the session.
    Event(Option<Event>),
    List(Bytes),
}

/// What comes next for the user; events only if `takes`.
async fn next_told(user: &mut Option<User>, takes: bool) -> Told {
    let Some(user) = user else { return std::future::pending().await };
    tokio::select! {
        event = user.chat.next_event(), if takes => Told::Event(event),
        list = user.list.next(&user.name) => Told::List(list),
    }
}

#[cfg(test)]
mod tests {
    use super::super::engine_io::{Bounds, Protocol};
    use super::super::{Socket, tests};
    use super::*;
    use folkmoot_core::access::Principal;

    #[tokio::test]
    async fn so_many_bytes_may_wait_for_a_client_and_one_more_ends_it() {
        let (node, gateway) = (tests::node().await, Gateway::new(true, None));
        let guest = Guest { remote: node.addr(), principal: Principal::Owner };
        let (sender, inbound) = mpsc::channel(1);
        let socket = Socket { protocol: Protocol::Three, reads_bytes: true, inbound: sender };
        let place = gateway.enter("abc", guest.remote.ip(), socket).unwrap();
        let session = Session::open(Protocol::Three, "abc".into(), true, Instant::now());
        let carrier = Carrier::Polling(Polling::new(inbound, place));
        let mut driver = Driver::new(gateway, node.clone(), guest, session, carrier);
        let room = QUEUE_BYTES_MAX - driver.session.queue.bytes();
        driver.session.queue.push(vec![b' '; room - 1].into());
        // The answer to a ping has one byte.
        let ping = || vec![Packet::decode(Bytes::from_static(b"2"), Bounds::CLIENT).unwrap()];
        assert_eq!(driver.on_packets(ping()).await, Ok(()));
        assert_eq!(driver.session.queue.bytes(), QUEUE_BYTES_MAX);
        assert_eq!(driver.on_packets(ping()).await, Err(End::NotReading));
        node.close().await;
    }
}
