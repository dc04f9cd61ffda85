//! Chat over plain HTTP: a message, who is online, and a stream of what one user hears.
//!
//! Promise: what a request says is sent once, also when its client goes away before the answer; a
//! stream that is taken up again in time misses nothing that is still here, and is told how much
//! it missed otherwise. For more there is `/v1/ws`.

mod letter;
mod stream;
mod tail;
mod told;

pub(super) use letter::{LETTERS_MAX, post};
pub(super) use stream::events;
pub(super) use tail::Tails;

use super::data::json_response;
use super::error::{Problem, Refusal};
use super::uri::Query;
use super::who::Who;
use super::{Doors, Shared};
use axum::extract::{Request, State};
use axum::response::Response;
use bytes::Bytes;
use folkmoot_core::chat::words::ChatRequest;
use folkmoot_core::limits::NAMES_MAX;
use folkmoot_core::request::{Reply, Request as Asked};

/// Users of a page if the client does not say.
const PAGE_USERS: u64 = 100;

/// `GET /v1/chat/users?prefix=&after=&limit=`: who is online, on any node.
pub(super) async fn users(
    State(doors): Shared,
    who: Who,
    request: Request,
) -> Result<Response, Refusal> {
    let mut query = Query::parse(request.uri().query())?;
    let mut text = |name| Bytes::from(query.take(name).unwrap_or_default().into_owned());
    let (prefix, after) = (text("prefix"), text("after"));
    let limit = query.take_number("limit")?.unwrap_or(PAGE_USERS);
    query.end()?;
    let limit = usize::try_from(limit).ok().filter(|limit| (1..=NAMES_MAX).contains(limit));
    let limit =
        limit.ok_or_else(|| Problem::Query.because(format!("\"limit\" is 1 to {NAMES_MAX}")))?;
    let (users, more) = match ask(&doors, who, ChatRequest::Users { prefix, after, limit }).await? {
        Reply::Users(users, more) => (users, more),
        other => unreachable!("users are answered with users, not {other:?}"),
    };
    let mut out = b"{\"users\":".to_vec();
    told::push_users(&mut out, &users);
    if let (true, Some(last)) = (more, users.last()) {
        told::push_member(&mut out, "after", last.user.as_str());
    }
    out.push(b'}');
    Ok(json_response(out.into()))
}

async fn ask(doors: &Doors, who: Who, request: ChatRequest) -> Result<Reply, Refusal> {
    match doors.node.ask(who.0, Asked::Chat(request)).await {
        Reply::Failed(code, _) => Err(code.into()),
        reply => Ok(reply),
    }
}
