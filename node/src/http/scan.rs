//! Reading many values: pages with a cursor for `/v1/data`, one stream for the seed's scan.
//!
//! Both read away from the threads that serve sockets, and neither holds more than a page or a
//! slice in memory, however slowly the client reads.
//! Limits: `SCAN_ROWS_MAX` a page, `PAGE_BYTES_TARGET` a page, `CHUNK_BYTES_TARGET` a slice.

use super::data::json_response;
use super::error::{Problem, Refusal};
use super::limits::{CHUNK_BYTES_TARGET, PAGE_BYTES_TARGET};
use super::uri::Query;
use super::values::{push_found, push_path, push_value};
use super::who::Who;
use super::{Doors, Shared};
use crate::node::Node;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::response::Response;
use bytes::Bytes;
use folkmoot_core::data::read::{self, Found};
use folkmoot_core::error::ErrorCode;
use folkmoot_core::id::Path;
use folkmoot_core::limits::SCAN_ROWS_MAX;
use folkmoot_core::store::{Store, StoreError};
use futures_util::stream;
use std::io;

/// Rows of a page if the client does not say.
const PAGE_ROWS: u64 = 100;

/// `GET /v1/data?prefix=&limit=&cursor=`: one page of what is at a path and below it.
pub(super) async fn page(
    State(doors): Shared,
    who: Who,
    request: Request,
) -> Result<Response, Refusal> {
    let mut query = Query::parse(request.uri().query())?;
    let prefix = prefix_of(&mut query)?;
    let limit = query.take_number("limit")?.unwrap_or(PAGE_ROWS);
    if limit == 0 || limit > SCAN_ROWS_MAX as u64 {
        return Err(Problem::Query.because(format!("\"limit\" is 1 to {SCAN_ROWS_MAX}")));
    }
    let after = query.take("cursor").map(|text| from_cursor(&text)).transpose()?;
    query.end()?;
    let strays = |after: &Path| prefix.as_ref().is_some_and(|prefix| !prefix.covers(after));
    if after.as_ref().is_some_and(strays) {
        return Err(Problem::Cursor.into());
    }
    let snapshot = doors.read(who)?;
    let read = move || read_page(&snapshot, prefix.as_ref(), after.as_ref(), limit);
    let page = tokio::task::spawn_blocking(read).await.expect("reading a page does not panic")?;
    Ok(json_response(page))
}

/// The path in the parameter `prefix`; none or an empty one is everything.
pub(super) fn prefix_of(query: &mut Query<'_>) -> Result<Option<Path>, Refusal> {
    match query.take("prefix") {
        None => Ok(None),
        Some(text) if text.is_empty() => Ok(None),
        Some(text) => Ok(Some(Path::new(text.into_owned())?)),
    }
}

fn read_page(
    store: &dyn Store,
    prefix: Option<&Path>,
    after: Option<&Path>,
    limit: u64,
) -> Result<Bytes, StoreError> {
    let mut out = b"{\"items\":[".to_vec();
    let (mut rows, mut last, mut more) = (0, None, false);
    let mut visit = |found: Found| {
        if rows == limit || out.len() >= PAGE_BYTES_TARGET {
            more = true;
            return false;
        }
        if rows > 0 {
            out.push(b',');
        }
        push_found(&mut out, &found);
        rows += 1;
        last = Some(found.path);
        true
    };
    visit_below(store, prefix, after, &mut visit)?;
    out.push(b']');
    if let (true, Some(last)) = (more, last) {
        out.extend_from_slice(b",\"cursor\":\"");
        out.extend_from_slice(to_cursor(&last).as_bytes());
        out.push(b'"');
    }
    out.push(b'}');
    Ok(out.into())
}

/// Visits what is at `prefix` and below it, behind `after`, in path order.
fn visit_below(
    store: &dyn Store,
    prefix: Option<&Path>,
    after: Option<&Path>,
    visit: &mut dyn FnMut(Found) -> bool,
) -> Result<(), StoreError> {
    let wall_ms = Node::wall_ms();
    let Some(prefix) = prefix else {
        return read::scan(store, "", after, wall_ms, visit);
    };
    if after.is_none()
        && let Some(found) = read::get(store, prefix, wall_ms)?
        && !visit(found)
    {
        return Ok(());
    }
    let after = after.filter(|after| *after != prefix);
    read::scan(store, &format!("{prefix}/"), after, wall_ms, visit)
}

/// Cursors are opaque to clients: the last path of the page, in hex.
fn to_cursor(path: &Path) -> String {
    path.as_bytes().iter().map(|byte| format!("{byte:02x}")).collect()
}

fn from_cursor(text: &str) -> Result<Path, Refusal> {
    let digit = |byte: u8| char::from(byte).to_digit(16);
    let pair = |pair: &[u8]| Some((digit(pair[0])? << 4 | digit(*pair.get(1)?)?) as u8);
    let bytes: Option<Vec<u8>> = text.as_bytes().chunks(2).map(pair).collect();
    bytes.and_then(|bytes| Path::new(bytes).ok()).ok_or_else(|| Problem::Cursor.into())
}

/// The seed's scan: every live value whose path begins with a text, as one array.
///
/// Each slice reads the newest state, for a snapshot must not be held as long as a client likes:
/// what changes meanwhile may be told or not, what does not change is told once.
pub(crate) struct Stream {
    node: Node,
    prefix: String,
    after: Option<Path>,
    left: u64,
    rows: u64,
    ended: bool,
}

impl Stream {
    /// At most `limit` rows whose path begins with `prefix`.
    pub(crate) fn new(
        doors: &Doors,
        who: Who,
        prefix: String,
        limit: Option<u64>,
    ) -> Result<Stream, ErrorCode> {
        doors.read(who)?;
        let (node, left) = (doors.node.clone(), limit.unwrap_or(u64::MAX));
        Ok(Stream { node, prefix, after: None, left, rows: 0, ended: false })
    }

    /// The answer: sent whole if it is short, otherwise as it is read.
    pub(crate) async fn into_response(self) -> Result<Response, Refusal> {
        let (first, rest) = self.slice().await?;
        if rest.ended {
            return Ok(json_response(first.into()));
        }
        let rest = stream::try_unfold(rest, |rest| async move {
            if rest.ended {
                return Ok(None);
            }
            let (bytes, rest) = rest.slice().await.map_err(io::Error::other)?;
            Ok::<_, io::Error>(Some((Bytes::from(bytes), rest)))
        });
        let first = stream::iter([Ok(Bytes::from(first))]);
        let mut response = json_response(Bytes::new());
        *response.body_mut() = Body::from_stream(futures_util::StreamExt::chain(first, rest));
        Ok(response)
    }

    async fn slice(mut self) -> Result<(Vec<u8>, Stream), StoreError> {
        let read = move || self.read_slice().map(|bytes| (bytes, self));
        tokio::task::spawn_blocking(read).await.expect("reading a slice does not panic")
    }

    fn read_slice(&mut self) -> Result<Vec<u8>, StoreError> {
        let mut out = Vec::with_capacity(CHUNK_BYTES_TARGET / 4);
        if self.rows == 0 {
            out.push(b'[');
        }
        let (mut left, mut rows, mut last) = (self.left, self.rows, None);
        let mut visit = |found: Found| {
            if left == 0 {
                return false;
            }
            if rows > 0 {
                out.push(b',');
            }
            push_seed_row(&mut out, &found);
            rows += 1;
            left -= 1;
            last = Some(found.path);
            left > 0 && out.len() < CHUNK_BYTES_TARGET
        };
        let (prefix, after) = (&self.prefix, self.after.as_ref());
        read::scan(&self.node.snapshot(), prefix, after, Node::wall_ms(), &mut visit)?;
        let full = out.len() >= CHUNK_BYTES_TARGET;
        self.ended = left == 0 || !full;
        if self.ended {
            out.push(b']');
        }
        (self.left, self.rows, self.after) = (left, rows, last);
        Ok(out)
    }
}

fn push_seed_row(out: &mut Vec<u8>, found: &Found) {
    out.push(b'{');
    push_path(out, found.path.as_str());
    out.extend_from_slice(b",\"value\":");
    push_value(out, &found.value);
    let (ms, origin) = (found.version.stamp.ms(), found.version.node.short());
    let text = format!(",\"timestamp\":{ms},\"origin\":\"{origin}\"}}");
    out.extend_from_slice(text.as_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path(text: &str) -> Path {
        Path::new(text.to_owned()).unwrap()
    }

    #[test]
    fn a_cursor_reads_back_and_nothing_else_is_one() {
        for text in ["a", "users/1", "ключ é/ü"] {
            assert_eq!(from_cursor(&to_cursor(&path(text))).unwrap(), path(text));
        }
        for text in ["", "6", "zz", "612f", "ff", "é"] {
            assert!(from_cursor(text).is_err(), "{text}");
        }
    }
}
