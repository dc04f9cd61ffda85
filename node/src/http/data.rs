//! `/v1/data/<path>`: one value, as it was written, with its version as entity tag.

use super::error::{Problem, Refusal};
use super::etag;
use super::uri::{self, Query};
use super::values::{push_path, push_version, to_json};
use super::who::Who;
use super::{Doors, Shared, body, rest_of};
use crate::api::{Strategies, Strategy, Value};
use crate::json;
use crate::node::Node;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::{HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use folkmoot_core::error::ErrorCode;
use folkmoot_core::id::Path;
use folkmoot_core::limits::VALUE_BYTES_MAX;
use folkmoot_core::request::{Change, DataRequest, Reply, Write, Written};
use folkmoot_core::store::StoreError;

const ROUTE: &str = "/v1/data/";
/// When the value was written: Unix milliseconds, a point, and a counter within them.
const STAMP: HeaderName = HeaderName::from_static("folkmoot-stamp");
/// The node that wrote the value.
const NODE: HeaderName = HeaderName::from_static("folkmoot-node");
/// When the value ends, in Unix milliseconds.
const EXPIRES: HeaderName = HeaderName::from_static("folkmoot-expires");

pub(super) async fn get(
    State(doors): Shared,
    who: Who,
    request: Request,
) -> Result<Response, Refusal> {
    let path = path_of(rest_of(&request, ROUTE))?;
    Query::parse(request.uri().query())?.end()?;
    let found = doors.read(who)?.find(&path, Node::wall_ms())?;
    let found = found.ok_or(ErrorCode::NotFound)?;
    let mut response = match etag::is_known(request.headers(), found.version) {
        true => StatusCode::NOT_MODIFIED.into_response(),
        false => json_response(to_json(&found.value)),
    };
    let headers = response.headers_mut();
    let (stamp, node) = (found.version.stamp, found.version.node);
    let text = |text: String| HeaderValue::from_str(&text).expect("digits and a point");
    headers.insert(header::ETAG, etag::to_header(found.version));
    headers.insert(STAMP, text(format!("{}.{}", stamp.ms(), stamp.counter())));
    headers.insert(NODE, text(node.to_string()));
    if let Some(end) = found.expires_ms {
        headers.insert(EXPIRES, HeaderValue::from(end));
    }
    Ok(response)
}

pub(super) async fn put(
    State(doors): Shared,
    who: Who,
    request: Request,
) -> Result<Response, Refusal> {
    let (head, body) = request.into_parts();
    let path = path_of(head.uri.path().strip_prefix(ROUTE).unwrap_or_default())?;
    let mut query = Query::parse(head.uri.query())?;
    let expires_ms = query.take_number("ttl")?.map(|seconds| end_of(seconds, Node::wall_ms()));
    let strategy = query.take("strategy");
    query.end()?;
    let condition = etag::condition(&head.headers)?;
    let body = body::json(&head.headers, body, VALUE_BYTES_MAX, &doors.port.limits).await?;
    let value = json::check(&body, json::DEPTH_MAX)?;
    let change = change(doors.node.strategies(), &path, value, strategy.as_deref())?;
    let write = Write { change, condition, expires_ms, ..Write::delete(path.clone()) };
    let written = write_one(&doors, who, write).await?;
    Ok(written_response(&path, &written, "created", !written.existed))
}

pub(super) async fn delete(
    State(doors): Shared,
    who: Who,
    request: Request,
) -> Result<Response, Refusal> {
    let path = path_of(rest_of(&request, ROUTE))?;
    Query::parse(request.uri().query())?.end()?;
    let condition = etag::condition(request.headers())?;
    let write = Write { condition, ..Write::delete(path.clone()) };
    let written = write_one(&doors, who, write).await?;
    if !written.existed {
        return Err(ErrorCode::NotFound.into());
    }
    Ok(written_response(&path, &written, "deleted", true))
}

/// The path that a raw, still escaped text names.
pub(crate) fn path_of(raw: &str) -> Result<Path, Refusal> {
    Ok(Path::new(uri::decode(raw)?.into_owned())?)
}

/// When a value that is written now ends.
pub(super) fn end_of(ttl_seconds: u64, wall_ms: u64) -> u64 {
    wall_ms.saturating_add(ttl_seconds.saturating_mul(1_000))
}

/// What is done with a checked value. The bytes are copied: the body that they lie in belongs to
/// a read buffer, which a stored slice would keep.
pub(crate) fn change(
    strategies: &Strategies,
    path: &Path,
    value: &str,
    strategy: Option<&str>,
) -> Result<Change, Refusal> {
    let unknown = || Problem::Query.because("\"strategy\" is last, first or merge");
    let asked = strategy.map(|word| Strategy::from_word(word).ok_or_else(unknown)).transpose()?;
    let value = Value::from_checked(Bytes::copy_from_slice(value.as_bytes()));
    let no_object = |_| Problem::Json.because("strategy=merge takes an object");
    strategies.change(path, &value, asked).map_err(no_object)
}

/// Has the writes done together or not at all; an error names the write that was at fault.
pub(super) async fn write(
    doors: &Doors,
    who: Who,
    writes: Vec<Write>,
) -> Result<Vec<Written>, (ErrorCode, usize)> {
    let request = folkmoot_core::request::Request::Data(DataRequest::Write(writes));
    match doors.node.ask(who.0, request).await {
        Reply::Written(written) => Ok(written),
        Reply::Failed(code, index) => Err((code, index)),
        other => unreachable!("a write was answered with {other:?}"),
    }
}

/// Has one write done.
pub(crate) async fn write_one(doors: &Doors, who: Who, one: Write) -> Result<Written, Refusal> {
    let written = write(doors, who, vec![one]).await.map_err(|(code, _)| code)?;
    Ok(*written.first().expect("one write has one answer"))
}

fn written_response(path: &Path, written: &Written, what: &str, is: bool) -> Response {
    let mut out = Vec::with_capacity(256);
    out.push(b'{');
    push_path(&mut out, path.as_str());
    push_version(&mut out, written.version);
    let text = format!(",\"{what}\":{is},\"changed\":{}}}", written.changed);
    out.extend_from_slice(text.as_bytes());
    let mut response = json_response(out.into());
    response.headers_mut().insert(header::ETAG, etag::to_header(written.version));
    response
}

/// An answer with a JSON body.
pub(crate) fn json_response(body: Bytes) -> Response {
    let mut response = Response::new(Body::from(body));
    let kind = HeaderValue::from_static("application/json");
    response.headers_mut().insert(header::CONTENT_TYPE, kind);
    response
}

impl From<StoreError> for Refusal {
    fn from(error: StoreError) -> Refusal {
        tracing::error!("{error}");
        ErrorCode::Store.into()
    }
}
