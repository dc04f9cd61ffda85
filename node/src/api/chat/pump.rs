//! What goes between a chat session's callers and the engine: one task for each session.
//!
//! Promise: orders are handed in as they were given; each message that was handed in is told what
//! became of it, also when the session ends. Limits: `POSTS_MAX`; the load is bounded as in `core`.

use crate::session::Session;
use bytes::Bytes;
use folkmoot_core::chat::words::{ChatEvent, ChatRequest, Kind, Outcome, Post, Settled, Target};
use folkmoot_core::error::ErrorCode;
use folkmoot_core::limits::{MESSAGE_COST_BYTES, UNSETTLED_BYTES_MAX, UNSETTLED_MAX};
use folkmoot_core::request::{Event, Reply, Request};
use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use tokio::sync::{mpsc, oneshot};

/// Messages that are handed in at once.
const POSTS_MAX: usize = 1_024;

const NOT_HEARING: &str = "it does not listen: too much waited to be heard";

/// What a caller wants.
pub(super) enum Order {
    Post {
        to: Target,
        body: Bytes,
        kind: Kind,
        flight: Flight,
    },
    Ask(ChatRequest, oneshot::Sender<Reply>),
    /// More messages are taken in: how many stands in the load.
    Received,
}

/// A message until its end is known.
pub(super) struct Flight {
    pub(super) tell: Option<oneshot::Sender<Result<Outcome, ErrorCode>>>,
    pub(super) _weight: Weight,
}

impl Flight {
    fn end(self, result: Result<Outcome, ErrorCode>) {
        if let Some(tell) = self.tell {
            // Nobody need wait for it.
            let _ = tell.send(result);
        }
    }
}

/// What is on its way from one session.
#[derive(Default)]
pub(super) struct Load {
    messages: AtomicUsize,
    bytes: AtomicUsize,
    /// The number up to which messages are taken in, until the engine is told; 0 when it is.
    received: AtomicU64,
}

impl Load {
    /// All messages up to this number are taken in.
    pub(super) fn note_received(&self, number: u64) {
        self.received.fetch_max(number, Ordering::SeqCst);
    }
}

/// A part of the load, for as long as it lives.
pub(super) struct Weight {
    load: Arc<Load>,
    bytes: usize,
}

impl Weight {
    /// Adds a message, unless there is no room for it. One alone has room.
    pub(super) fn add(load: &Arc<Load>, body_bytes: usize) -> Result<Weight, ErrorCode> {
        let bytes = body_bytes + MESSAGE_COST_BYTES;
        let messages = load.messages.fetch_add(1, Ordering::Relaxed);
        let before = load.bytes.fetch_add(bytes, Ordering::Relaxed);
        let weight = Weight { load: load.clone(), bytes };
        let fits = messages < UNSETTLED_MAX && before < UNSETTLED_BYTES_MAX;
        if fits { Ok(weight) } else { Err(ErrorCode::Unsettled) }
    }
}

impl Drop for Weight {
    fn drop(&mut self) {
        self.load.messages.fetch_sub(1, Ordering::Relaxed);
        self.load.bytes.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

/// The task.
pub(super) struct Pump {
    session: Session,
    orders: mpsc::Receiver<Order>,
    load: Arc<Load>,
    events: mpsc::Sender<ChatEvent>,
    ended: Arc<OnceLock<&'static str>>,
    /// The number of the last message.
    number: u64,
    posts: Vec<Post>,
    /// The messages that are not settled, in the order of their numbers.
    flights: VecDeque<(u64, Flight)>,
}

impl Pump {
    pub(super) fn new(
        session: Session,
        orders: mpsc::Receiver<Order>,
        load: Arc<Load>,
        events: mpsc::Sender<ChatEvent>,
        ended: Arc<OnceLock<&'static str>>,
    ) -> Pump {
        let (posts, flights) = (Vec::new(), VecDeque::new());
        Pump { session, orders, load, events, ended, number: 0, posts, flights }
    }

    /// Runs until the session ends or nobody has it any more.
    pub(super) async fn run(mut self) {
        let why = loop {
            tokio::select! {
                event = self.session.next_event() => match event {
                    Some(Event::Chat(event)) => {
                        if let Err(why) = self.on_event(event) {
                            break why;
                        }
                    }
                    Some(Event::Changed(..)) => {}
                    None => break self.session.closed_reason().unwrap_or("the node closed it"),
                },
                order = self.orders.recv() => match order {
                    Some(order) => self.on_orders(order).await,
                    None => break "it was dropped",
                },
            }
        };
        // Before the events end: who hears of the end may ask why.
        let _ = self.ended.set(why);
    }

    fn on_event(&mut self, event: ChatEvent) -> Result<(), &'static str> {
        match event {
            ChatEvent::Settled(runs) => runs.iter().for_each(|run| self.settle(run)),
            ChatEvent::Ended(why) => return Err(why),
            event => self.events.try_send(event).map_err(|_| NOT_HEARING)?,
        }
        Ok(())
    }

    fn settle(&mut self, run: &Settled) {
        while let Some((_, flight)) = self.flights.pop_front_if(|(number, _)| *number <= run.upto) {
            flight.end(Ok(run.outcome));
        }
    }

    /// Does what is ordered, with all that is ordered already.
    async fn on_orders(&mut self, first: Order) {
        let mut next = Some(first);
        while let Some(order) = next {
            match order {
                Order::Post { to, body, kind, flight } => {
                    self.gather(to, body, kind, flight);
                    if self.posts.len() >= POSTS_MAX {
                        self.hand_in().await;
                    }
                }
                // It is looked at in the end.
                Order::Received => {}
                Order::Ask(request, answer) => {
                    self.hand_in().await;
                    // Whoever asked may have gone.
                    drop(answer.send(self.session.ask(Request::Chat(request)).await));
                }
            }
            next = self.orders.try_recv().ok();
        }
        self.hand_in().await;
    }

    fn gather(&mut self, to: Target, body: Bytes, kind: Kind, flight: Flight) {
        // Signals are not numbered.
        let number = match kind {
            Kind::Signal => 0,
            Kind::Message => {
                self.number += 1;
                self.flights.push_back((self.number, flight));
                self.number
            }
        };
        self.posts.push(Post { number, to, kind, local: false, body });
    }

    async fn hand_in(&mut self) {
        let number = self.load.received.swap(0, Ordering::SeqCst);
        if number > 0 {
            // If there is no room, a later one says it too.
            let _ = self.session.tell(Request::Chat(ChatRequest::Received(number))).await;
        }
        if self.posts.is_empty() {
            return;
        }
        let posts = std::mem::take(&mut self.posts);
        let first = posts.iter().map(|post| post.number).find(|number| *number > 0);
        let told = self.session.tell(Request::Chat(ChatRequest::Send(posts))).await;
        if let (Err(code), Some(first)) = (told, first) {
            let at = self.flights.partition_point(|(number, _)| *number < first);
            self.flights.drain(at..).for_each(|(_, flight)| flight.end(Err(code)));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::session::HEARD_MAX;
    use super::*;
    use folkmoot_core::access::Principal;

    #[tokio::test]
    async fn as_many_events_as_may_wait_are_heard_and_one_more_ends_the_session() {
        let node = crate::Node::builder().listen("127.0.0.1:0").start().await.unwrap();
        let (events, mut heard) = mpsc::channel(HEARD_MAX);
        let (_orders, ordered) = mpsc::channel(1);
        let session = node.session(Principal::Owner);
        let mut pump = Pump::new(session, ordered, Arc::default(), events, Arc::default());
        let event = || ChatEvent::Signals(Vec::new());
        for _ in 0..HEARD_MAX {
            assert_eq!(pump.on_event(event()), Ok(()));
        }
        assert_eq!(pump.on_event(event()), Err(NOT_HEARING));
        for _ in 0..HEARD_MAX {
            assert!(heard.try_recv().is_ok(), "what waited is heard");
        }
        assert!(heard.try_recv().is_err());
        node.close().await;
    }
}
