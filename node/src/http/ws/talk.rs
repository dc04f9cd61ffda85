//! One client's talk with the node, without its socket: what it says becomes requests, what the
//! node tells becomes frames.
//!
//! Promise: what is said is handed in, in order; the messages of one read go to the engine as one
//! request. Nothing is heard while something that was said waits for room, or for the answer to
//! `hello` or `bye`; nor, for a while, while too many messages are not settled.

use super::flights::Flights;
use super::posts::Posts;
use super::said::{self, Fault, Op, Said};
use super::told::{self, Tails, Welcome};
use super::watches::{News, Watches};
use crate::http::error::{Problem, Refusal};
use crate::node::Node;
use crate::session::{CLOSING, Session, Unsent};
use folkmoot_core::access::Principal;
use folkmoot_core::chat::connect::{NOT_READING, TAKEN_OVER};
use folkmoot_core::chat::words::{ChatEvent, ChatRequest, Connect};
use folkmoot_core::error::ErrorCode;
use folkmoot_core::id::{RequestId, ResumeToken};
use folkmoot_core::request::{Event, Reply, Request};
use std::collections::VecDeque;
use std::task::{Context, Poll};

/// Bytes of frames that are gathered before they are written.
pub(super) const OUT_BYTES_TARGET: usize = 64 * 1024;

/// Why the node closes a connection, as `docs/chat.md` lists it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Farewell {
    pub(super) code: u16,
    pub(super) reason: &'static str,
}

impl Farewell {
    pub(super) const BYE: Farewell = Farewell { code: 1000, reason: "bye" };
    pub(super) const CLOSING: Farewell = Farewell { code: 1001, reason: CLOSING };
    pub(super) const NO_HELLO: Farewell = Farewell { code: 4001, reason: "no hello in time" };
    pub(super) const TAKEN_OVER: Farewell = Farewell { code: 4002, reason: TAKEN_OVER };
    pub(super) const NOT_READING: Farewell = Farewell { code: 4008, reason: NOT_READING };
    pub(super) const SILENT: Farewell = Farewell { code: 4009, reason: "silent" };
    pub(super) const TOO_FAST: Farewell = Farewell { code: 4029, reason: "too fast" };

    /// What a session that was ended means.
    fn of(reason: &str) -> Farewell {
        match reason {
            CLOSING => Farewell::CLOSING,
            TAKEN_OVER => Farewell::TAKEN_OVER,
            _ => Farewell::NOT_READING,
        }
    }
}

/// What all talks of one thread use in turn.
#[derive(Default)]
pub(super) struct Desk {
    pub(super) posts: Posts,
    /// The last message that the client of this read has taken in.
    received: Option<u64>,
    tails: Tails,
    replies: Vec<(RequestId, Reply)>,
    events: Vec<Event>,
}

impl Desk {
    /// Forgets what the talk before has left.
    pub(super) fn clear(&mut self) {
        self.posts.take();
        self.received = None;
        self.replies.clear();
        self.events.clear();
    }
}

/// How far a talk is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// No hello yet.
    Fresh,
    /// A hello or a bye is being answered.
    Asked,
    /// It is known who speaks.
    Open,
}

/// A request that is being answered.
enum Awaits {
    /// Its answer is this welcome.
    Hello(Vec<u8>),
    Bye,
    /// Told only under an id.
    Op,
}

struct Asked {
    request: RequestId,
    awaits: Awaits,
    id: Option<Box<str>>,
}

/// The talk.
pub(super) struct Talk {
    session: Session,
    node: Node,
    principal: Principal,
    stage: Stage,
    asked: VecDeque<Asked>,
    unsent: Option<Unsent>,
    flights: Flights,
    watches: Option<Box<Watches>>,
}

impl Talk {
    /// A client that has said nothing yet, let in as `principal`.
    pub(super) fn new(node: Node, principal: Principal) -> Talk {
        Talk {
            session: node.session_at_door(principal),
            node,
            principal,
            stage: Stage::Fresh,
            asked: VecDeque::new(),
            unsent: None,
            flights: Flights::default(),
            watches: None,
        }
    }

    /// Whether nobody has said hello.
    pub(super) fn is_fresh(&self) -> bool {
        self.stage == Stage::Fresh
    }

    /// Whether what the client says can be taken now.
    pub(super) fn listens(&self) -> bool {
        self.stage != Stage::Asked && self.unsent.is_none()
    }

    /// Whether so much is under way that the client should wait.
    pub(super) fn is_crowded(&self) -> bool {
        !self.flights.has_room()
    }

    /// Listens all the same: nothing was settled for a while.
    pub(super) fn uncrowd(&mut self) {
        self.flights = Flights::default();
    }

    /// Takes in one text; what can be answered at once is added to `out`. [`Talk::hand_in`] is to
    /// follow before anything else is done.
    pub(super) fn hear(
        &mut self,
        desk: &mut Desk,
        out: &mut Vec<u8>,
        text: &str,
    ) -> Result<(), Farewell> {
        match said::read(text) {
            Ok(Said { op: Op::Send(send), id }) if self.stage == Stage::Open => {
                match desk.posts.push(&send) {
                    Ok(()) => told::push_done(out, id),
                    Err(code) => told::push_error(out, &code.into(), id, Some(send.n)),
                }
            }
            Ok(Said { op: Op::Received(n), id }) if self.stage == Stage::Open => {
                desk.received = desk.received.max(Some(n));
                told::push_done(out, id);
            }
            Ok(Said { op, id }) => {
                if let Err(why) = self.take(desk, out, op, id) {
                    told::push_error(out, &why, id, None);
                }
            }
            Err(Fault::Refused { id, n, why }) => told::push_error(out, &why, id, n),
            Err(Fault::Json(error)) => {
                tracing::debug!("a client of chat sent no JSON object: {error}");
                return Err(Farewell { code: 1007, reason: "not a JSON object" });
            }
        }
        Ok(())
    }

    fn take(
        &mut self,
        desk: &mut Desk,
        out: &mut Vec<u8>,
        op: Op<'_>,
        id: Option<&str>,
    ) -> Result<(), Refusal> {
        match (self.stage, &op) {
            (_, Op::Ping) => {
                told::push_answer(out, "pong", id);
                return Ok(());
            }
            (Stage::Fresh, Op::Hello { .. } | Op::Resume { .. }) => {}
            (Stage::Open, Op::Hello { .. } | Op::Resume { .. }) => {
                return Err(Problem::Op.because("hello was said already"));
            }
            (Stage::Open, _) => {}
            (Stage::Fresh | Stage::Asked, _) => return Err(ErrorCode::NotConnected.into()),
        }
        // What was said before goes before.
        self.hand_in(desk)?;
        let (chat, awaits) = match op {
            Op::Hello { user, client } => {
                let token = new_token()?;
                let node = self.node.id().to_string();
                let welcome = Welcome {
                    user: Some((&user, client)),
                    node: &node,
                    session: &token.to_string(),
                };
                let welcome = welcome.frame();
                let resume = Some(token);
                let connect = Connect { user, client, resume, visible: true };
                (ChatRequest::Connect(connect), Awaits::Hello(welcome))
            }
            Op::Resume { session, received } => {
                let node = self.node.id().to_string();
                let token = session.to_string();
                let welcome = Welcome { user: None, node: &node, session: &token }.frame();
                (ChatRequest::Resume { token: session, received }, Awaits::Hello(welcome))
            }
            Op::Join(room) => (ChatRequest::Join(room), Awaits::Op),
            Op::Leave(room) => (ChatRequest::Leave(room), Awaits::Op),
            Op::Status(text) => (ChatRequest::Status(text), Awaits::Op),
            Op::Users(watch) => (ChatRequest::WatchUsers(watch), Awaits::Op),
            Op::Bye => (ChatRequest::Disconnect, Awaits::Bye),
            Op::Watch { watch, prefix, since } => {
                let watches = self.watches.get_or_insert_default();
                watches.start(self.node.clone(), self.principal, watch, prefix, since)?;
                told::push_done(out, id);
                return Ok(());
            }
            Op::Unwatch(watch) => {
                self.watches.iter_mut().for_each(|watches| watches.end(watch));
                told::push_done(out, id);
                return Ok(());
            }
            Op::Send(_) | Op::Received(_) | Op::Ping => unreachable!("they are taken above"),
        };
        let request = self.session.send_soon(Request::Chat(chat), true, &mut self.unsent)?;
        if !matches!(awaits, Awaits::Op) {
            self.stage = Stage::Asked;
        }
        self.asked.push_back(Asked { request, awaits, id: id.map(Box::from) });
        Ok(())
    }

    /// Hands in what was gathered of one read.
    pub(super) fn hand_in(&mut self, desk: &mut Desk) -> Result<(), ErrorCode> {
        let mut tell =
            |chat| self.session.send_soon(Request::Chat(chat), false, &mut self.unsent).map(drop);
        if let Some(all) = desk.posts.take() {
            self.flights.depart(&all);
            tell(ChatRequest::Send(all.posts))?;
        }
        if let Some(n) = desk.received.take() {
            tell(ChatRequest::Received(n))?;
        }
        Ok(())
    }

    /// Ready when what waited for room has just found it.
    pub(super) fn poll_unsent(&mut self, context: &mut Context<'_>) -> Poll<()> {
        let sent = self.unsent.as_mut().map(|unsent| unsent.as_mut().poll(context));
        match sent {
            Some(Poll::Ready(())) => {
                self.unsent = None;
                Poll::Ready(())
            }
            Some(Poll::Pending) | None => Poll::Pending,
        }
    }

    /// Adds what there is to tell to `out`, up to `OUT_BYTES_TARGET`; waits for something.
    pub(super) fn poll_told(
        &mut self,
        context: &mut Context<'_>,
        desk: &mut Desk,
        out: &mut Vec<u8>,
    ) -> Poll<Result<(), Farewell>> {
        let mut told = false;
        let (replies, events) = (&mut desk.replies, &mut desk.events);
        match self.session.poll_told(context, OUT_BYTES_TARGET, replies, events) {
            Poll::Pending => {}
            Poll::Ready(false) => {
                let reason = self.session.closed_reason().unwrap_or(CLOSING);
                return Poll::Ready(Err(Farewell::of(reason)));
            }
            Poll::Ready(true) => {
                told = true;
                for (request, reply) in desk.replies.drain(..) {
                    self.answer(out, request, reply)?;
                }
                for event in desk.events.drain(..) {
                    self.tell(out, &mut desk.tails, event)?;
                }
            }
        }
        while let Some(watches) = &mut self.watches
            && out.len() < OUT_BYTES_TARGET
            && let Poll::Ready((watch, news)) = watches.poll_next(context)
        {
            told = true;
            match news {
                News::Begun => {}
                News::Told(what) => told::push_told(out, watch, &what),
                News::Ended(ErrorCode::Closing) => return Poll::Ready(Err(Farewell::CLOSING)),
                News::Ended(code) => told::push_ended(out, watch, &code.into()),
            }
        }
        if told { Poll::Ready(Ok(())) } else { Poll::Pending }
    }

    fn answer(
        &mut self,
        out: &mut Vec<u8>,
        request: RequestId,
        reply: Reply,
    ) -> Result<(), Farewell> {
        let at = self.asked.iter().position(|asked| asked.request == request);
        let Some(Asked { awaits, id, .. }) = at.and_then(|at| self.asked.remove(at)) else {
            return Ok(());
        };
        if self.asked.is_empty() {
            self.asked = VecDeque::new();
        }
        let failed = match reply {
            Reply::Failed(code, _) => Some(code),
            _ => None,
        };
        match (awaits, failed) {
            (_, Some(ErrorCode::Closing)) => return Err(Farewell::CLOSING),
            (Awaits::Bye, _) => return Err(Farewell::BYE),
            (Awaits::Hello(welcome), None) => {
                self.stage = Stage::Open;
                out.extend_from_slice(&welcome);
                told::push_done(out, id.as_deref());
            }
            (Awaits::Hello(_), Some(code)) => {
                self.stage = Stage::Fresh;
                told::push_error(out, &code.into(), id.as_deref(), None);
            }
            (Awaits::Op, None) => told::push_done(out, id.as_deref()),
            (Awaits::Op, Some(code)) => {
                told::push_error(out, &code.into(), id.as_deref(), None);
            }
        }
        Ok(())
    }

    fn tell(&mut self, out: &mut Vec<u8>, tails: &mut Tails, event: Event) -> Result<(), Farewell> {
        let Event::Chat(event) = event else { return Ok(()) };
        match &event {
            ChatEvent::Ended(reason) => return Err(Farewell::of(reason)),
            ChatEvent::Settled(settled) => {
                if let Some(last) = settled.last() {
                    self.flights.settle(last.upto);
                }
            }
            _ => {}
        }
        told::push_event(out, tails, &event);
        Ok(())
    }
}

fn new_token() -> Result<ResumeToken, Refusal> {
    let mut token = [0; 16];
    getrandom::fill(&mut token).map_err(|error| {
        tracing::error!("the system has no random numbers: {error}");
        Refusal::from(ErrorCode::Busy)
    })?;
    Ok(ResumeToken(token))
}
