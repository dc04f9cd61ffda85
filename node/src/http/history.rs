//! `/v1/history/<path>`: the value at a path and the older ones that this node has kept.

use super::Shared;
use super::data::{json_response, path_of};
use super::error::Refusal;
use super::uri::Query;
use super::values::{push_expires, push_path, push_value, push_version};
use super::who::Who;
use super::{Doors, rest_of};
use crate::json::push_string;
use crate::node::Node;
use axum::extract::{Request, State};
use axum::response::Response;
use folkmoot_core::data::read::{self, Value};
use folkmoot_core::error::ErrorCode;
use folkmoot_core::id::Path;
use folkmoot_core::replica::Version;

/// One value that a path has or had; `None` for a delete.
pub(crate) struct Kept {
    /// The field of the merged object whose value it was, if not that of the whole.
    pub(crate) field: Option<String>,
    pub(crate) version: Version,
    pub(crate) value: Option<Value>,
    pub(crate) expires_ms: Option<u64>,
}

pub(super) async fn get(
    State(doors): Shared,
    who: Who,
    request: Request,
) -> Result<Response, Refusal> {
    let path = path_of(rest_of(&request, "/v1/history/"))?;
    Query::parse(request.uri().query())?.end()?;
    let mut out = b"{".to_vec();
    push_path(&mut out, path.as_str());
    out.extend_from_slice(b",\"versions\":[");
    for (at, kept) in versions(&doors, who, &path)?.iter().enumerate() {
        out.extend_from_slice(if at == 0 { b"{" } else { b",{" });
        match &kept.value {
            None => out.extend_from_slice(b"\"deleted\":true"),
            Some(value) => {
                out.extend_from_slice(b"\"value\":");
                push_value(&mut out, value);
            }
        }
        push_field(&mut out, kept);
        push_version(&mut out, kept.version);
        push_expires(&mut out, kept.expires_ms);
        out.push(b'}');
    }
    out.extend_from_slice(b"]}");
    Ok(json_response(out.into()))
}

/// Appends `,"field":...` to the value of a field.
pub(crate) fn push_field(out: &mut Vec<u8>, kept: &Kept) {
    if let Some(field) = &kept.field {
        out.extend_from_slice(b",\"field\":");
        push_string(out, field);
    }
}

/// The value of a path and the older ones, also of its fields, the newest first.
pub(crate) fn versions(doors: &Doors, who: Who, path: &Path) -> Result<Vec<Kept>, Refusal> {
    let snapshot = doors.read(who)?;
    let now = read::get(&snapshot, path, Node::wall_ms())?.map(|found| Kept {
        field: None,
        version: found.version,
        value: Some(found.value),
        expires_ms: found.expires_ms,
    });
    let older =
        read::history(&snapshot, path)?.into_iter().map(|read::Older { field, entry }| Kept {
            field,
            version: entry.version,
            value: entry.value.map(Value::Plain),
            expires_ms: entry.expires_ms,
        });
    let kept: Vec<Kept> = now.into_iter().chain(older).collect();
    if kept.is_empty() { Err(ErrorCode::NotFound.into()) } else { Ok(kept) }
}
