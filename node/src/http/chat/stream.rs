//! `GET /v1/chat/stream?user=NAME`: what one user hears, as server-sent events.
//!
//! Promise: `welcome`, then `message`, `signal`, `users`, `room` as they happen. Messages and the
//! welcome have an id: a client that comes back with it as `Last-Event-ID` within the session's
//! time goes on where it was; later it is welcomed anew. A message counts as received when the
//! transport has taken it. Silence is broken by comments.
//! Limits: `CHUNK_BYTES_TARGET` gathered at once, `EVENTS_SILENCE`, those of `tail`.

use super::super::Shared;
use super::super::accept::stopped;
use super::super::watch::{RETRY, event_stream, last_event_id, push_data};
use super::{tail, told};
use crate::http::error::{Problem, Refusal};
use crate::http::limits::{CHUNK_BYTES_TARGET, EVENTS_SILENCE};
use crate::http::uri::Query;
use crate::http::who::Who;
use crate::session::Session;
use axum::extract::{Request, State};
use axum::http::HeaderMap;
use axum::response::Response;
use bytes::Bytes;
use folkmoot_core::chat::words::{ChatEvent, ChatRequest, Connect, Message, UsersWatch};
use folkmoot_core::error::ErrorCode;
use folkmoot_core::id::{ClientId, Name, ResumeToken};
use folkmoot_core::request::{Event, Reply, Request as Asked};
use futures_util::FutureExt;
use std::sync::Arc;
use tokio::sync::watch;
use tokio::time::timeout;

/// What a client wants to hear.
struct Wish {
    user: Name,
    room: Option<Name>,
    users: Option<Bytes>,
    from: Option<Place>,
}

/// Where a stream was: its session, and the number of the last message that the client has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Place {
    token: ResumeToken,
    number: u64,
}

impl Place {
    fn from_text(text: &str) -> Option<Place> {
        let (token, number) = text.split_once('-')?;
        Some(Place { token: ResumeToken::from_hex(token)?, number: number.parse().ok()? })
    }
}

pub(crate) async fn events(
    State(doors): Shared,
    who: Who,
    request: Request,
) -> Result<Response, Refusal> {
    let wish = wish(request.headers(), request.uri().query())?;
    let session = doors.node.session(who.0);
    let (place, resumed) = match wish.from {
        Some(place) if goes_on(&session, place).await? => (place, true),
        _ => (Place { token: connect(&session, &wish.user).await?, number: 0 }, false),
    };
    let mut later = Vec::new();
    later.extend(wish.room.map(ChatRequest::Join));
    later.extend(wish.users.map(|prefix| ChatRequest::WatchUsers(UsersWatch::Prefix(prefix))));
    for request in later {
        ask(&session, request).await?;
    }
    let tail = doors.port.tails.open(place.token);
    let mut opening = Vec::new();
    push_welcome(&mut opening, place, &wish.user, &doors.node.id().to_string(), resumed);
    for (number, message) in tail.after(place.number) {
        push_message(&mut opening, place.token, number, &message);
    }
    let stop = doors.stop.clone();
    let events = Events { session, token: place.token, tail, stop, opening, handed: Vec::new() };
    Ok(event_stream(events, Events::next))
}

fn wish(headers: &HeaderMap, query: Option<&str>) -> Result<Wish, Refusal> {
    let mut query = Query::parse(query)?;
    let user = query.take("user").ok_or_else(|| Problem::Query.because("name the \"user\""))?;
    let user = Name::new(user.into_owned())?;
    let room = query.take("room").map(|room| Name::new(room.into_owned())).transpose()?;
    let users = query.take("users").map(|prefix| Bytes::from(prefix.into_owned()));
    let since = query.take("since");
    query.end()?;
    let from = match last_event_id(headers).or(since.as_deref()) {
        None | Some("") => None,
        Some(text) => Some(Place::from_text(text).ok_or(Problem::Token)?),
    };
    Ok(Wish { user, room, users, from })
}

/// Whether a session that is there goes on with this connection.
async fn goes_on(session: &Session, place: Place) -> Result<bool, ErrorCode> {
    let resume = ChatRequest::Resume { token: place.token, received: place.number };
    match ask(session, resume).await {
        Ok(()) => Ok(true),
        Err(ErrorCode::NotResumed) => Ok(false),
        Err(code) => Err(code),
    }
}

async fn connect(session: &Session, user: &Name) -> Result<ResumeToken, ErrorCode> {
    let mut random = [0; 24];
    getrandom::fill(&mut random).expect("the operating system has random numbers");
    let (client, token) = random.split_first_chunk().expect("it is longer");
    let token = ResumeToken(token.try_into().expect("8 and 16 are 24"));
    let client = ClientId(u64::from_le_bytes(*client));
    let (user, resume) = (user.clone(), Some(token));
    ask(session, ChatRequest::Connect(Connect { user, client, resume, visible: true })).await?;
    Ok(token)
}

async fn ask(session: &Session, request: ChatRequest) -> Result<(), ErrorCode> {
    match session.ask(Asked::Chat(request)).await {
        Reply::Failed(code, _) => Err(code),
        _ => Ok(()),
    }
}

/// One client's stream.
struct Events {
    session: Session,
    token: ResumeToken,
    tail: tail::Open,
    stop: watch::Receiver<bool>,
    opening: Vec<u8>,
    /// The messages of the last chunk.
    handed: Vec<(u64, Arc<Message>)>,
}

impl Events {
    /// What is to be sent next: all events that are there, or a comment after a silence. `None`
    /// ends the stream; so does a chunk without a rest.
    async fn next(mut self) -> Option<(Bytes, Option<Events>)> {
        if !self.opening.is_empty() {
            return Some((std::mem::take(&mut self.opening).into(), Some(self)));
        }
        self.receive().await;
        let mut out = Vec::new();
        while out.is_empty() {
            let told = tokio::select! {
                biased;
                () = stopped(&mut self.stop) => return None,
                told = timeout(EVENTS_SILENCE, self.session.next_event()) => told,
            };
            let Ok(mut told) = told else {
                return Some((Bytes::from_static(b": still here\n\n"), Some(self)));
            };
            loop {
                if let Err(why) = self.take(&mut out, told) {
                    push_ended(&mut out, why);
                    return Some((out.into(), None));
                }
                let room = out.len() < CHUNK_BYTES_TARGET;
                match room.then(|| self.session.next_event().now_or_never()).flatten() {
                    Some(event) => told = event,
                    None => break,
                }
            }
        }
        Some((out.into(), Some(self)))
    }

    /// The transport asks for more: it has what it was handed.
    async fn receive(&mut self) {
        let Some((last, _)) = self.handed.last() else { return };
        // If there is no room for it, a later one says it too.
        let _ = self.session.tell(Asked::Chat(ChatRequest::Received(*last))).await;
        for (number, message) in self.handed.drain(..) {
            self.tail.push(number, message);
        }
    }

    /// Writes an event, or says why none follows.
    fn take(&mut self, out: &mut Vec<u8>, event: Option<Event>) -> Result<(), &'static str> {
        let event = match event {
            Some(Event::Chat(event)) => event,
            Some(Event::Changed(..)) => return Ok(()),
            None => return Err(self.session.closed_reason().unwrap_or("the node closed it")),
        };
        match event {
            ChatEvent::Ended(why) => return Err(why),
            // It sends nothing.
            ChatEvent::Settled(_) => {}
            ChatEvent::Messages { first, messages } => {
                for (number, message) in (first..).zip(messages) {
                    push_message(out, self.token, number, &message);
                    self.handed.push((number, message));
                }
            }
            ChatEvent::Signals(signals) => {
                for signal in signals {
                    push_event(out, "signal", |out| told::push_message(out, 0, &signal));
                }
            }
            ChatEvent::Users { all, changes } => push_event(out, "users", |out| {
                out.extend_from_slice(format!("{{\"all\":{all},\"users\":").as_bytes());
                told::push_users(out, &changes);
                out.push(b'}');
            }),
            ChatEvent::Room { room, all, joined, left } => push_event(out, "room", |out| {
                out.push(b'{');
                told::push_first_member(out, "room", room.as_str());
                out.extend_from_slice(format!(",\"all\":{all}").as_bytes());
                told::push_names(out, b",\"joined\":", &joined);
                told::push_names(out, b",\"left\":", &left);
                out.push(b'}');
            }),
        }
        Ok(())
    }
}

fn push_welcome(out: &mut Vec<u8>, place: Place, user: &Name, node: &str, resumed: bool) {
    out.extend_from_slice(RETRY);
    push_id(out, place.token, place.number);
    push_event(out, "welcome", |out| {
        out.push(b'{');
        // One that goes on speaks for whom it spoke before.
        if !resumed {
            told::push_first_member(out, "user", user.as_str());
            out.push(b',');
        }
        told::push_first_member(out, "node", node);
        out.extend_from_slice(format!(",\"resumed\":{resumed}}}").as_bytes());
    });
}

fn push_message(out: &mut Vec<u8>, token: ResumeToken, number: u64, message: &Message) {
    push_id(out, token, number);
    push_event(out, "message", |out| told::push_message(out, number, message));
}

fn push_id(out: &mut Vec<u8>, token: ResumeToken, number: u64) {
    out.extend_from_slice(format!("id: {token}-{number}\n").as_bytes());
}

fn push_event(out: &mut Vec<u8>, event: &str, write: impl FnOnce(&mut Vec<u8>)) {
    out.extend_from_slice(format!("event: {event}\ndata: ").as_bytes());
    push_data(out, write);
    out.extend_from_slice(b"\n\n");
}

/// Says why the stream ends.
fn push_ended(out: &mut Vec<u8>, why: &str) {
    push_event(out, "end", |out| {
        out.push(b'{');
        told::push_first_member(out, "reason", why);
        out.push(b'}');
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_read_from_an_id_and_nothing_else_is_one() {
        let token = ResumeToken([0xab; 16]);
        let place = Place { token, number: 7 };
        assert_eq!(Place::from_text(&format!("{token}-7")), Some(place));
        for bad in
            ["", "7", "ab-7", &format!("{token}"), &format!("{token}-"), &format!("{token}--1")]
        {
            assert_eq!(Place::from_text(bad), None, "{bad}");
        }
    }
}
