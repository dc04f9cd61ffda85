//! `POST /v1/chat/messages`: one message, and what became of it.
//!
//! Each is sent by a session of its own that nobody sees, in a task that goes on if the client
//! does not. The client's `id` becomes the name of the program that sends, with one message: so
//! the nodes know a repeat as they know any other.
//! Limits: `LETTERS_MAX`, `LETTER_BODY_BYTES_MAX`, `ID_BYTES_MAX`, `ANSWER_WAIT`, `END_WAIT`.

use super::super::{Doors, Shared, body, data, uri};
use super::told;
use crate::http::error::{Problem, Refusal};
use crate::http::limits::LETTER_BODY_BYTES_MAX;
use crate::http::who::Who;
use crate::json;
use crate::session::Session;
use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::response::Response;
use bytes::Bytes;
use folkmoot_core::chat::words::{ChatEvent, ChatRequest, Connect, Kind, Outcome, Post, Target};
use folkmoot_core::error::ErrorCode;
use folkmoot_core::id::{ClientId, Name};
use folkmoot_core::limits::CHAT_BODY_BYTES_MAX;
use folkmoot_core::request::{Event, Reply, Request as Asked};
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;
use std::borrow::Cow;
use std::time::Duration;
use tokio::time::timeout;

/// Messages over plain HTTP whose end is not known.
pub(crate) const LETTERS_MAX: usize = 1_024;
/// Bytes of the client's own name for a message.
const ID_BYTES_MAX: usize = 256;
/// How long an answer waits for the end of a message.
const ANSWER_WAIT: Duration = Duration::from_secs(5);
/// How long the end of a message is waited for: longer than it is held for a user who went.
const END_WAIT: Duration = Duration::from_secs(30);

const SHAPE: &str = "send {\"from\", one of \"to\", \"room\" and \"all\": true, \"body\", \"id\"?}";

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Form<'a> {
    #[serde(borrow)]
    from: Cow<'a, str>,
    #[serde(borrow)]
    to: Option<Cow<'a, str>>,
    #[serde(borrow)]
    room: Option<Cow<'a, str>>,
    #[serde(default)]
    all: bool,
    #[serde(borrow, default, deserialize_with = "present")]
    body: Option<&'a RawValue>,
    #[serde(borrow)]
    id: Option<Cow<'a, str>>,
}

/// `null` is a body; only what is not there is absent.
fn present<'de, D: Deserializer<'de>>(reader: D) -> Result<Option<&'de RawValue>, D::Error> {
    <&RawValue>::deserialize(reader).map(Some)
}

/// A message that was read from a request.
#[derive(Debug)]
struct Letter {
    id: String,
    client: ClientId,
    from: Name,
    to: Target,
    body: Bytes,
}

pub(crate) async fn post(
    State(doors): Shared,
    who: Who,
    request: Request,
) -> Result<Response, Refusal> {
    let (head, body) = request.into_parts();
    uri::Query::parse(head.uri.query())?.end()?;
    let limits = doors.limits();
    let body = body::json(&head.headers, body, LETTER_BODY_BYTES_MAX, limits).await?;
    let letter = parse(&body)?;
    let permit = doors.port.letters.clone().try_acquire_owned().map_err(|_| ErrorCode::Busy)?;
    let (id, session) = (letter.id.clone(), start(&doors, who, letter).await?);
    // A task of its own: it goes on if the client does not.
    let mut end = tokio::spawn(async move {
        let outcome = timeout(END_WAIT, outcome(session)).await;
        drop(permit);
        outcome.unwrap_or(Err(ErrorCode::Busy))
    });
    match timeout(ANSWER_WAIT, &mut end).await {
        Ok(outcome) => answer(&id, Some(outcome.expect("waiting does not panic")?)),
        Err(_) => answer(&id, None),
    }
}

fn parse(text: &[u8]) -> Result<Letter, Refusal> {
    let text = json::check(text, json::DEPTH_MAX + 1)?;
    let form: Form<'_> = serde_json::from_str(text).map_err(|_| Problem::Json.because(SHAPE))?;
    let name = |text: Cow<'_, str>| Name::new(text.into_owned());
    let to = match (form.to, form.room, form.all) {
        (Some(user), None, false) => Target::User(name(user)?),
        (None, Some(room), false) => Target::Room(name(room)?),
        (None, None, true) => Target::Everyone,
        _ => return Err(Problem::Json.because(SHAPE)),
    };
    let body = form.body.ok_or_else(|| Problem::Json.because(SHAPE))?.get();
    json::check(body.as_bytes(), json::DEPTH_MAX)?;
    if body.len() > CHAT_BODY_BYTES_MAX {
        return Err(ErrorCode::MessageTooLarge.into());
    }
    let (id, client) = match form.id {
        Some(id) if (1..=ID_BYTES_MAX).contains(&id.len()) => {
            let hash = *blake3::hash(id.as_bytes()).as_bytes();
            let first = hash.first_chunk().expect("a hash is longer than a number");
            (id.into_owned(), ClientId(u64::from_le_bytes(*first)))
        }
        Some(_) => {
            return Err(Problem::Json.because(format!("\"id\" is 1 to {ID_BYTES_MAX} bytes")));
        }
        None => {
            let mut random = [0; 8];
            getrandom::fill(&mut random).expect("the operating system has random numbers");
            let client = u64::from_le_bytes(random);
            (format!("{client:016x}"), ClientId(client))
        }
    };
    // Copied: the read buffer that it lies in is larger, and a message may wait.
    let body = Bytes::copy_from_slice(body.as_bytes());
    Ok(Letter { id, client, from: name(form.from)?, to, body })
}

/// Sends a letter.
async fn start(doors: &Doors, who: Who, letter: Letter) -> Result<Session, ErrorCode> {
    let Letter { client, from: user, to, body, .. } = letter;
    let session = doors.node.session(who.0);
    let connect = Connect { user, client, resume: None, visible: false };
    let mut requests = vec![ChatRequest::Connect(connect)];
    // Only who is in a room speaks in it.
    if let Target::Room(room) = &to {
        requests.push(ChatRequest::Join(room.clone()));
    }
    let post = Post { number: 1, to, kind: Kind::Message, local: false, body };
    requests.push(ChatRequest::Send(vec![post]));
    for request in requests {
        if let Reply::Failed(code, _) = session.ask(Asked::Chat(request)).await {
            return Err(code);
        }
    }
    Ok(session)
}

/// Waits for the end of the one message of a session.
async fn outcome(mut session: Session) -> Result<Outcome, ErrorCode> {
    loop {
        match session.next_event().await {
            Some(Event::Chat(ChatEvent::Settled(settled))) => {
                let one = settled.first().ok_or(ErrorCode::Busy)?;
                return Ok(one.outcome);
            }
            // What is said in the room meanwhile must not wait for it.
            Some(Event::Chat(ChatEvent::Messages { first, messages })) => {
                let heard = first - 1 + messages.len() as u64;
                session.tell(Asked::Chat(ChatRequest::Received(heard))).await?;
            }
            Some(_) => {}
            None => return Err(ErrorCode::Closing),
        }
    }
}

fn answer(id: &str, outcome: Option<Outcome>) -> Result<Response, Refusal> {
    let mut out = b"{".to_vec();
    told::push_first_member(&mut out, "id", id);
    let word = match outcome {
        Some(Outcome::Delivered(_)) => "delivered",
        Some(Outcome::Offline) => "offline",
        Some(Outcome::Unknown) => "unknown",
        Some(Outcome::Refused(code)) => return Err(code.into()),
        None => "pending",
    };
    told::push_member(&mut out, "outcome", word);
    if let Some(Outcome::Delivered(sessions)) = outcome {
        out.extend_from_slice(format!(",\"sessions\":{sessions}").as_bytes());
    }
    out.push(b'}');
    let mut response = data::json_response(out.into());
    if outcome.is_none() {
        *response.status_mut() = StatusCode::ACCEPTED;
    }
    Ok(response)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_id_makes_the_same_message_and_none_makes_a_new_one() {
        let with = |id: &str| {
            let text = format!(r#"{{"from":"anna","to":"billy","body": {{"n" : 1.0}} {id}}}"#);
            parse(text.as_bytes()).unwrap()
        };
        let (one, same, other) =
            (with(r#","id":"é1""#), with(r#","id":"é1""#), with(r#","id":"2""#));
        assert_eq!((one.client, one.id.as_str()), (same.client, "é1"));
        assert_ne!(one.client, other.client);
        assert_eq!(one.body, r#"{"n" : 1.0}"#);
        let (first, second) = (with(""), with(""));
        assert_ne!(first.client, second.client);
        assert_eq!(first.id, format!("{:016x}", first.client.0));
    }
}
