//! `/api`: the REST of p2p-data-sync, for clients that were written for it.
//!
//! The words are the seed's: `{"path","value","timestamp"}` for a put, `{"path","data"}` for a
//! get, an array of `{"path","value","timestamp","origin"}` for a scan by plain string prefix,
//! `{"error"}` for every refusal. `origin` is the first 16 hex digits of the node. `scan`,
//! `history` and `status` shadow the values at such paths for GET only; `/v1/data` reads them.

use crate::http::Doors;
use crate::http::data::{change, json_response, path_of, write_one};
use crate::http::error::{Problem, Refusal};
use crate::http::history::{push_field, versions};
use crate::http::scan::Stream;
use crate::http::uri::{self, Query};
use crate::http::values::{push_path, push_value};
use crate::http::who::Who;
use crate::http::{body, mesh};
use crate::json;
use crate::node::Node;
use axum::extract::{Request, State};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use folkmoot_core::error::ErrorCode;
use folkmoot_core::id::Path;
use folkmoot_core::limits::{PATH_BYTES_MAX, VALUE_BYTES_MAX};
use folkmoot_core::request::Write;
use std::sync::Arc;

const ROUTE: &str = "/api/";

/// A refusal in the seed's words.
pub(crate) struct SeedRefusal(Refusal);

impl<E: Into<Refusal>> From<E> for SeedRefusal {
    fn from(error: E) -> SeedRefusal {
        SeedRefusal(error.into())
    }
}

impl IntoResponse for SeedRefusal {
    fn into_response(self) -> Response {
        self.0.in_seed_words().into_response()
    }
}

type Answer = Result<Response, SeedRefusal>;
type Shared = State<Arc<Doors>>;

/// `GET /api/<path>`.
pub(crate) async fn get(State(doors): Shared, who: Who, request: Request) -> Answer {
    let path = path_behind(&request, ROUTE)?;
    let found = doors.read(who)?.find(&path, Node::wall_ms())?;
    let found = found.ok_or(ErrorCode::NotFound)?;
    let mut out = b"{".to_vec();
    push_path(&mut out, path.as_str());
    out.extend_from_slice(b",\"data\":");
    push_value(&mut out, &found.value);
    out.push(b'}');
    Ok(json_response(out.into()))
}

/// `PUT /api/<path>`: replaces the whole value.
pub(crate) async fn put(State(doors): Shared, who: Who, request: Request) -> Answer {
    let path = path_behind(&request, ROUTE)?;
    let (head, body) = request.into_parts();
    let body = body::json(&head.headers, body, VALUE_BYTES_MAX, doors.limits()).await?;
    let value = json::check(&body, json::DEPTH_MAX)?;
    let change = change(doors.node.strategies(), &path, value, None)?;
    let write = Write { change, ..Write::put(path.clone(), Bytes::new()) };
    let written = write_one(&doors, who, write).await?;
    let mut out = Vec::with_capacity(value.len() + 128);
    out.push(b'{');
    push_path(&mut out, path.as_str());
    out.extend_from_slice(b",\"value\":");
    out.extend_from_slice(value.as_bytes());
    let timestamp = format!(",\"timestamp\":{}}}", written.version.stamp.ms());
    out.extend_from_slice(timestamp.as_bytes());
    Ok(json_response(out.into()))
}

/// `DELETE /api/<path>`.
pub(crate) async fn delete(State(doors): Shared, who: Who, request: Request) -> Answer {
    let path = path_behind(&request, ROUTE)?;
    let written = write_one(&doors, who, Write::delete(path.clone())).await?;
    if !written.existed {
        return Err(ErrorCode::NotFound.into());
    }
    let mut out = b"{\"success\":true,".to_vec();
    push_path(&mut out, path.as_str());
    out.push(b'}');
    Ok(json_response(out.into()))
}

/// `GET /api/scan/<prefix>?limit=N`.
pub(crate) async fn scan(State(doors): Shared, who: Who, request: Request) -> Answer {
    let raw = request.uri().path().strip_prefix("/api/scan/").unwrap_or_default();
    let prefix = uri::decode(raw)?.into_owned();
    if prefix.len() > PATH_BYTES_MAX {
        return Err(ErrorCode::PathTooLong.into());
    }
    if prefix.contains(char::is_control) {
        return Err(ErrorCode::PathControl.into());
    }
    let limit = Query::parse(request.uri().query())?.take_number("limit")?;
    if limit == Some(0) {
        return Ok(json_response(Bytes::from_static(b"[]")));
    }
    Ok(Stream::new(&doors, who, prefix, limit)?.into_response().await?)
}

/// `GET /api/history/<path>`: the versions of a path, the newest first.
pub(crate) async fn history(State(doors): Shared, who: Who, request: Request) -> Answer {
    let path = path_behind(&request, "/api/history/")?;
    let mut out = b"[".to_vec();
    for (at, kept) in versions(&doors, who, &path)?.iter().enumerate() {
        out.extend_from_slice(if at == 0 { b"{" } else { b",{" });
        push_path(&mut out, path.as_str());
        out.extend_from_slice(b",\"value\":");
        match &kept.value {
            None => out.extend_from_slice(b"null,\"deleted\":true"),
            Some(value) => push_value(&mut out, value),
        }
        push_field(&mut out, kept);
        let (ms, origin) = (kept.version.stamp.ms(), kept.version.node.short());
        let text = format!(",\"timestamp\":{ms},\"origin\":\"{origin}\"}}");
        out.extend_from_slice(text.as_bytes());
    }
    out.push(b']');
    Ok(json_response(out.into()))
}

/// `GET /api/status`.
pub(crate) async fn status(State(doors): Shared, who: Who) -> Answer {
    let status = mesh::ask_status(&doors, who).await?;
    let linked = |peer: &&folkmoot_core::request::PeerStatus| peer.linked;
    let body = serde_json::json!({
        "status": "ok",
        "serverID": doors.node.id().short(),
        "port": doors.node.addr().port(),
        "uptime": doors.uptime_seconds(),
        "entries": status.entries - status.tombstones,
        "peers": status.peers.iter().map(|peer| &peer.address).collect::<Vec<_>>(),
        "connectedPeers": status.peers.iter().filter(linked).count(),
        "links": status.links.iter().map(|link| link.node.short()).collect::<Vec<_>>(),
    });
    Ok(json_response(body.to_string().into()))
}

fn path_behind(request: &Request, route: &str) -> Result<Path, SeedRefusal> {
    let raw = request.uri().path().strip_prefix(route).ok_or(Problem::NoRoute)?;
    Ok(path_of(raw)?)
}
