//! Somebody who speaks and listens in chat.
//!
//! Promise: all calls may come from any task, and may be cancelled without loss.
//! Limits: `UNSETTLED_MAX` messages and `UNSETTLED_BYTES_MAX` bytes on their way, `ORDERS_MAX`,
//! `HEARD_MAX`.

use super::message::{Heard, Message, RoomChange, UsersChange};
use super::pump::{Flight, Load, Order, Pump, Weight};
use super::{to_name, to_watch};
use crate::api::value::Value;
use crate::error::Error;
use crate::session::Session;
use bytes::Bytes;
use folkmoot_core::chat::words::{ChatEvent, ChatRequest, Kind, Outcome, Presence, Target};
use folkmoot_core::error::ErrorCode;
use folkmoot_core::id::{ClientId, Name};
use folkmoot_core::limits::UNSETTLED_MAX;
use folkmoot_core::request::Reply;
use serde::Serialize;
use std::collections::VecDeque;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll};
use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::{Mutex, mpsc, oneshot};

/// Events that wait to be heard; one more ends the session, as does what `core` says of messages.
pub(super) const HEARD_MAX: usize = 4_096;
/// What callers want that waits for the session's task: room for all messages that may be on
/// their way, and as much besides.
pub(super) const ORDERS_MAX: usize = 2 * UNSETTLED_MAX;

/// A user's session. Dropping it ends it: the user is not seen any more because of it.
pub struct ChatSession {
    user: Name,
    client: ClientId,
    by_hand: bool,
    orders: mpsc::Sender<Order>,
    load: Arc<Load>,
    hearing: Mutex<Hearing>,
    ended: Arc<OnceLock<&'static str>>,
}

struct Hearing {
    events: mpsc::Receiver<ChatEvent>,
    heard: VecDeque<Heard>,
    /// The number of the last message that was told and not acknowledged.
    last: Option<u64>,
}

impl ChatSession {
    pub(super) fn start(
        session: Session,
        user: Name,
        client: ClientId,
        by_hand: bool,
    ) -> ChatSession {
        let (orders, ordered) = mpsc::channel(ORDERS_MAX);
        let (told, events) = mpsc::channel(HEARD_MAX);
        let (load, ended) = (Arc::<Load>::default(), Arc::new(OnceLock::new()));
        tokio::spawn(Pump::new(session, ordered, load.clone(), told, ended.clone()).run());
        let hearing = Mutex::new(Hearing { events, heard: VecDeque::new(), last: None });
        ChatSession { user, client, by_hand, orders, load, hearing, ended }
    }

    /// For whom it speaks.
    pub fn user(&self) -> &str {
        self.user.as_str()
    }

    /// The program as which it speaks: with a message's number there it names the message.
    pub fn client(&self) -> ClientId {
        self.client
    }

    /// Sends a message to a user. It is on its way whether or not the answer is waited for.
    pub fn send(&self, to: &str, body: &(impl Serialize + ?Sized)) -> Sending {
        match to_name(to) {
            Ok(user) => self.post(Target::User(user), body),
            Err(error) => Sending::failed(error),
        }
    }

    /// Sends a message to all who are in a room; this session must be in it.
    ///
    /// ```
    /// # use folkmoot::{Error, Node, api::chat::{Heard, Outcome}};
    /// # #[tokio::main]
    /// # async fn main() -> Result<(), Error> {
    /// # let node = Node::builder().listen("127.0.0.1:0").start().await?;
    /// let (anna, billy) = (node.chat().connect("anna").await?, node.chat().connect("billy").await?);
    /// anna.join("tea").await?;
    /// billy.join("tea").await?;
    /// assert_eq!(node.chat().members("tea").await?.len(), 2);
    /// anna.say("tea", "who is here?");
    /// loop {
    ///     match billy.next().await.expect("the node is open") {
    ///         Heard::Message(message) => break assert_eq!(message.from(), "anna"),
    ///         Heard::Room(change) => println!("{:?} came", change.joined),
    ///         _ => {}
    ///     }
    /// }
    /// # node.close().await;
    /// # Ok(())
    /// # }
    /// ```
    pub fn say(&self, room: &str, body: &(impl Serialize + ?Sized)) -> Sending {
        match to_name(room) {
            Ok(room) => self.post(Target::Room(room), body),
            Err(error) => Sending::failed(error),
        }
    }

    /// Sends a message to everybody who is online, on all nodes.
    pub fn broadcast(&self, body: &(impl Serialize + ?Sized)) -> Sending {
        self.post(Target::Everyone, body)
    }

    /// Sends a message to a target, as to [`Message::answer_to`].
    pub fn post(&self, to: Target, body: &(impl Serialize + ?Sized)) -> Sending {
        let (tell, answer) = oneshot::channel();
        match self.order_post(to, body, Kind::Message, Some(tell)) {
            Ok(()) => Sending(State::Waits(answer)),
            // As if the node had said so.
            Err(Error::Refused(code @ ErrorCode::Unsettled)) => {
                Sending(State::Ready(Some(Ok(Outcome::Refused(code)))))
            }
            Err(error) => Sending::failed(error),
        }
    }

    /// Tells something of the moment, as typing or that a message was read: sent once, to whoever
    /// is there, and never acknowledged.
    pub fn signal(&self, to: Target, body: &(impl Serialize + ?Sized)) -> Result<(), Error> {
        self.order_post(to, body, Kind::Signal, None)
    }

    /// Enters a room; from then on [`Heard::Room`] tells who is there.
    pub async fn join(&self, room: &str) -> Result<(), Error> {
        self.ask(ChatRequest::Join(to_name(room)?)).await
    }

    /// Leaves a room.
    pub async fn leave(&self, room: &str) -> Result<(), Error> {
        self.ask(ChatRequest::Leave(to_name(room)?)).await
    }

    /// Who is in a room, on any node.
    pub async fn members(&self, room: &str) -> Result<Vec<Presence>, Error> {
        match self.ask_for(ChatRequest::Members(to_name(room)?)).await? {
            Reply::Users(users, _) => Ok(users),
            reply => unreachable!("members are answered with users, not {reply:?}"),
        }
    }

    /// Sets what others see beside the name, as `away`; `None` for nothing.
    pub async fn status(&self, text: Option<&str>) -> Result<(), Error> {
        let text = text.map(|text| Bytes::copy_from_slice(text.as_bytes()));
        self.ask(ChatRequest::Status(text)).await
    }

    /// From now on [`Heard::Users`] tells who comes and goes among the users whose name begins
    /// with `prefix`, beginning with who is there. Replaces the watch before.
    pub async fn watch_users(&self, prefix: &str) -> Result<(), Error> {
        self.ask(ChatRequest::WatchUsers(to_watch(prefix))).await
    }

    /// What is heard next; `None` once the session has ended, see [`ChatSession::ended`]. Unless
    /// told otherwise, whoever asks has taken in the messages before.
    pub async fn next(&self) -> Option<Heard> {
        let mut hearing = self.hearing.lock().await;
        if let Some(last) = hearing.last.take()
            && !self.by_hand
        {
            self.received(last);
        }
        loop {
            if let Some(heard) = hearing.heard.pop_front() {
                if let Heard::Message(message) = &heard {
                    hearing.last = Some(message.number());
                }
                return Some(heard);
            }
            let event = hearing.events.recv().await?;
            hear(&mut hearing.heard, event);
        }
    }

    /// All messages up to this number of [`Message::number`] are taken in: their senders are told.
    pub fn received(&self, number: u64) {
        self.load.note_received(number);
        // Where there is no room something else makes it look; whoever has ended says nothing more.
        let _ = self.orders.try_send(Order::Received);
    }

    /// Why it has ended.
    pub fn ended(&self) -> Option<&'static str> {
        self.ended.get().copied()
    }

    /// Ends it after what was said before; done when others can know.
    pub async fn close(self) -> Result<(), Error> {
        self.ask(ChatRequest::Disconnect).await
    }

    fn order_post(
        &self,
        to: Target,
        body: &(impl Serialize + ?Sized),
        kind: Kind,
        tell: Option<oneshot::Sender<Result<Outcome, ErrorCode>>>,
    ) -> Result<(), Error> {
        let body = Value::new(body)?.as_bytes().clone();
        let weight = Weight::add(&self.load, body.len())?;
        let order = Order::Post { to, body, kind, flight: Flight { tell, _weight: weight } };
        self.orders.try_send(order).map_err(|error| match error {
            TrySendError::Full(_) => ErrorCode::Unsettled.into(),
            TrySendError::Closed(_) => ErrorCode::Closing.into(),
        })
    }

    async fn ask(&self, request: ChatRequest) -> Result<(), Error> {
        self.ask_for(request).await.map(drop)
    }

    async fn ask_for(&self, request: ChatRequest) -> Result<Reply, Error> {
        let (answer, reply) = oneshot::channel();
        // If it has ended, so has what the answer comes over.
        let _ = self.orders.send(Order::Ask(request, answer)).await;
        match reply.await {
            Ok(Reply::Failed(code, _)) => Err(code.into()),
            Ok(reply) => Ok(reply),
            Err(_) => Err(ErrorCode::Closing.into()),
        }
    }
}

fn hear(heard: &mut VecDeque<Heard>, event: ChatEvent) {
    match event {
        ChatEvent::Messages { first, messages } => {
            let messages = (first..).zip(messages);
            heard.extend(messages.map(|(n, one)| Heard::Message(Message::new(n, one))));
        }
        ChatEvent::Signals(signals) => {
            heard.extend(signals.into_iter().map(|one| Heard::Signal(Message::new(0, one))));
        }
        ChatEvent::Users { all, changes } => {
            heard.push_back(Heard::Users(UsersChange { all, users: changes.to_vec() }));
        }
        ChatEvent::Room { room, all, joined, left } => {
            heard.push_back(Heard::Room(RoomChange { room, all, joined, left }));
        }
        // The pump keeps these to itself.
        ChatEvent::Settled(_) | ChatEvent::Ended(_) => {}
    }
}

/// A message on its way. Waiting for it tells what became of it; not waiting changes nothing.
#[derive(Debug)]
pub struct Sending(State);

#[derive(Debug)]
enum State {
    Waits(oneshot::Receiver<Result<Outcome, ErrorCode>>),
    Ready(Option<Result<Outcome, Error>>),
}

impl Sending {
    fn failed(error: Error) -> Sending {
        Sending(State::Ready(Some(Err(error))))
    }
}

impl Future for Sending {
    type Output = Result<Outcome, Error>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        match &mut self.0 {
            State::Waits(answer) => Pin::new(answer).poll(context).map(|answer| match answer {
                Ok(outcome) => Ok(outcome?),
                Err(_) => Err(ErrorCode::Closing.into()),
            }),
            State::Ready(result) => {
                Poll::Ready(result.take().expect("it is not polled after it was ready"))
            }
        }
    }
}
