//! `GET /v1/watch`: values and changes as server-sent events (the HTML standard's
//! `text/event-stream`).
//!
//! Promise: `put` events for what is there (and `delete` for what goes meanwhile), then `ready`, then `put` and `delete` for every
//! change. Each event from `ready` on has the watch's token as its id, so a client that comes back
//! with `Last-Event-ID` goes on where it was; if that is not possible it is sent `reset`: forget
//! everything, what is there follows. Values before `ready` have no id: they are no place to go on
//! from. Silence is broken by comments.
//! Limits: `CHUNK_BYTES_TARGET` gathered at once, `EVENTS_SILENCE`.

use super::Shared;
use super::accept::stopped;
use super::error::{Problem, Refusal};
use super::limits::{CHUNK_BYTES_TARGET, EVENTS_SILENCE};
use super::scan::prefix_of;
use super::uri::Query;
use super::values::{push_found, push_path};
use super::who::Who;
use crate::api::watch::{Since, Token, Told, Watch};
use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderName, header};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use folkmoot_core::error::ErrorCode;
use folkmoot_core::id::Path;
use futures_util::{FutureExt, stream};
use std::convert::Infallible;
use tokio::sync::watch;
use tokio::time::timeout;

const LAST_EVENT_ID: HeaderName = HeaderName::from_static("last-event-id");

/// How long a client is asked to wait before it comes back, in milliseconds.
pub(super) const RETRY: &[u8] = b"retry: 1000\n\n";

pub(super) async fn events(
    State(doors): Shared,
    who: Who,
    request: Request,
) -> Result<Response, Refusal> {
    let mut query = Query::parse(request.uri().query())?;
    let prefix = prefix_of(&mut query)?;
    let from = since(request.headers(), query.take("since").as_deref())?;
    query.end()?;
    let watch = Watch::start(doors.node.clone(), who.0, prefix, from).await?;
    let first = Events { watch, stop: doors.stop.clone(), opening: true };
    Ok(event_stream(first, Events::next))
}

/// An answer of server-sent events: `next` tells a chunk and what follows it. `None` ends the
/// stream; so does a chunk without a rest.
pub(super) fn event_stream<T, F>(first: T, next: impl Fn(T) -> F + Send + 'static) -> Response
where
    T: Send + 'static,
    F: Future<Output = Option<(Bytes, Option<T>)>> + Send,
{
    let chunks = stream::unfold((Some(first), next), |(events, next)| async move {
        let (chunk, rest) = next(events?).await?;
        Some((Ok::<_, Infallible>(chunk), (rest, next)))
    });
    let headers = [
        (header::CONTENT_TYPE, "text/event-stream"),
        (header::CACHE_CONTROL, "no-store"),
        // Asks proxies not to hold events back.
        (HeaderName::from_static("x-accel-buffering"), "no"),
    ];
    (headers, Body::from_stream(chunks)).into_response()
}

/// Where a client that comes back was.
pub(super) fn last_event_id(headers: &HeaderMap) -> Option<&str> {
    headers.get(LAST_EVENT_ID).map(|value| value.to_str().unwrap_or("?"))
}

/// Where the watch begins: the header counts, for a browser that comes back sends it with the
/// address that it was given at first.
fn since(headers: &HeaderMap, parameter: Option<&str>) -> Result<Since, Refusal> {
    let header = last_event_id(headers);
    match header.or(parameter) {
        None | Some("") => Ok(Since::Snapshot),
        Some("now") if header.is_none() => Ok(Since::Now),
        Some(text) => match text.parse::<Token>() {
            Ok(token) => Ok(Since::Token(token)),
            Err(_) => Err(Problem::Token.into()),
        },
    }
}

/// One client's stream.
struct Events {
    watch: Watch,
    stop: watch::Receiver<bool>,
    opening: bool,
}

impl Events {
    /// What is to be sent next: all events that are there, or a comment after a silence. `None`
    /// ends the stream; so does a chunk without a rest.
    async fn next(mut self) -> Option<(Bytes, Option<Events>)> {
        if std::mem::take(&mut self.opening) {
            return Some((Bytes::from_static(RETRY), Some(self)));
        }
        let told = tokio::select! {
            biased;
            () = stopped(&mut self.stop) => return None,
            told = timeout(EVENTS_SILENCE, self.watch.next()) => told,
        };
        let mut out = Vec::new();
        let mut told = match told {
            Err(_) => return Some((Bytes::from_static(b": still here\n\n"), Some(self))),
            Ok(told) => Some(told),
        };
        while let Some(one) = told {
            match one {
                Ok(one) => push_event(&mut out, one),
                Err(code) => {
                    push_end(&mut out, code);
                    return Some((out.into(), None));
                }
            }
            let room = out.len() < CHUNK_BYTES_TARGET;
            told = if room { self.watch.next().now_or_never() } else { None };
        }
        Some((out.into(), Some(self)))
    }
}

fn push_event(out: &mut Vec<u8>, told: Told) {
    match told {
        Told::Reset => out.extend_from_slice(b"event: reset\ndata: {}"),
        Told::Value(found) => {
            out.extend_from_slice(b"event: put\ndata: ");
            push_data(out, |out| push_found(out, &found));
        }
        Told::Gone(path) => {
            out.extend_from_slice(b"event: delete\ndata: ");
            push_data(out, |out| push_gone(out, &path));
        }
        Told::Ready(token) => {
            let text = format!("event: ready\nid: {token}\ndata: {{}}");
            out.extend_from_slice(text.as_bytes());
        }
        Told::Changed { path, found, token } => {
            let event = if found.is_some() { "put" } else { "delete" };
            let text = format!("event: {event}\nid: {token}\ndata: ");
            out.extend_from_slice(text.as_bytes());
            push_data(out, |out| match found {
                Some(found) => push_found(out, &found),
                None => push_gone(out, &path),
            });
        }
    }
    out.extend_from_slice(b"\n\n");
}

fn push_gone(out: &mut Vec<u8>, path: &Path) {
    out.push(b'{');
    push_path(out, path.as_str());
    out.push(b'}');
}

/// Appends JSON on one line: a value may have been written over several, and white space between
/// its parts is all that a line break can be there.
pub(super) fn push_data(out: &mut Vec<u8>, write: impl FnOnce(&mut Vec<u8>)) {
    let start = out.len();
    write(out);
    for byte in &mut out[start..] {
        if matches!(byte, b'\n' | b'\r') {
            *byte = b' ';
        }
    }
}

/// Says why the stream ends; the client may come back.
fn push_end(out: &mut Vec<u8>, code: ErrorCode) {
    out.extend_from_slice(b"event: end\ndata: ");
    out.extend_from_slice(&Refusal::from(code).body());
    out.extend_from_slice(b"\n\n");
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::http::HeaderValue;
    use folkmoot_core::data::read::{Found, Value};
    use folkmoot_core::id::{NodeId, Path, StoreId};
    use folkmoot_core::replica::Version;
    use folkmoot_core::time::Stamp;

    fn token() -> Token {
        Token { store: StoreId([5; 16]), number: 7 }
    }

    fn said(told: Told) -> String {
        let mut out = Vec::new();
        push_event(&mut out, told);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn a_value_over_several_lines_is_told_on_one() {
        let version = Version { stamp: Stamp::from_ms(1), node: NodeId([1; 32]) };
        let (path, value) = (Path::new("a").unwrap(), Value::Plain("[1,\r\n 2]".into()));
        let found = Found { path: path.clone(), value, version, expires_ms: None };
        let text = said(Told::Changed { path, found: Some(found), token: token() });
        let id = "05".repeat(16);
        let start = format!("event: put\nid: {id}-7\ndata: {{\"path\":\"a\",\"value\":[1,   2],");
        assert!(text.starts_with(&start) && text.ends_with("}\n\n"), "{text}");
        assert_eq!(text.lines().count(), 4);
    }

    #[test]
    fn only_places_to_go_on_from_have_an_id() {
        let path = Path::new("a").unwrap();
        assert!(said(Told::Ready(token())).contains("\nid: "));
        assert!(said(Told::Changed { path, found: None, token: token() }).contains("\nid: "));
        assert!(!said(Told::Reset).contains("\nid: "));
        let gone = said(Told::Gone(Path::new("a").unwrap()));
        assert_eq!(gone, "event: delete\ndata: {\"path\":\"a\"}\n\n");
    }

    #[test]
    fn the_header_of_a_client_that_comes_back_counts() {
        let headers = |text: &str| {
            HeaderMap::from_iter([(LAST_EVENT_ID, HeaderValue::from_str(text).unwrap())])
        };
        let id = token().to_string();
        assert_eq!(since(&HeaderMap::new(), None).unwrap(), Since::Snapshot);
        assert_eq!(since(&HeaderMap::new(), Some("now")).unwrap(), Since::Now);
        assert_eq!(since(&HeaderMap::new(), Some(&id)).unwrap(), Since::Token(token()));
        assert_eq!(since(&headers(&id), Some("now")).unwrap(), Since::Token(token()));
        assert_eq!(since(&headers(""), None).unwrap(), Since::Snapshot);
        for bad in ["7", "now", "é", "05-x"] {
            assert!(since(&headers(bad), None).is_err(), "{bad}");
        }
    }
}
