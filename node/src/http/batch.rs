//! `POST /v1/data`: many writes that are done together or not at all.
//!
//! The body is checked whole before anything is asked of the engine, and the engine applies all
//! items in one step: nobody ever sees a part of a batch.

use super::error::{Problem, Refusal};
use super::limits::BATCH_BODY_BYTES_MAX;
use super::values::{push_path, push_version};
use super::who::Who;
use super::{Shared, body, data, etag};
use crate::api::Strategies;
use crate::json;
use crate::node::Node;
use axum::extract::{Request, State};
use axum::response::Response;
use folkmoot_core::error::ErrorCode;
use folkmoot_core::id::Path;
use folkmoot_core::limits::BATCH_ITEMS_MAX;
use folkmoot_core::request::{Change, Write};
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;
use std::borrow::Cow;

/// Levels of the JSON around a value: the batch, its items, the item.
const DEPTH_AROUND: usize = 3;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Batch<'a> {
    #[serde(borrow)]
    items: Vec<Item<'a>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Item<'a> {
    #[serde(borrow)]
    path: Cow<'a, str>,
    #[serde(borrow, default, deserialize_with = "present")]
    value: Option<&'a RawValue>,
    #[serde(default)]
    delete: bool,
    ttl: Option<u64>,
    #[serde(borrow)]
    strategy: Option<Cow<'a, str>>,
    #[serde(borrow)]
    if_match: Option<Cow<'a, str>>,
    #[serde(borrow)]
    if_none_match: Option<Cow<'a, str>>,
}

/// `null` is a value; only what is not there is absent.
fn present<'de, D: Deserializer<'de>>(reader: D) -> Result<Option<&'de RawValue>, D::Error> {
    <&RawValue>::deserialize(reader).map(Some)
}

pub(super) async fn post(
    State(doors): Shared,
    who: Who,
    request: Request,
) -> Result<Response, Refusal> {
    let (head, body) = request.into_parts();
    super::uri::Query::parse(head.uri.query())?.end()?;
    let limits = &doors.port.limits;
    let body = body::json(&head.headers, body, BATCH_BODY_BYTES_MAX, limits).await?;
    let writes = parse(&body, Node::wall_ms(), doors.node.strategies())?;
    let paths: Vec<Path> = writes.iter().map(|write| write.path.clone()).collect();
    let written = data::write(&doors, who, writes)
        .await
        .map_err(|(code, index)| Refusal::from(code).at_item(index))?;
    let mut out = Vec::with_capacity(paths.len() * 256);
    out.extend_from_slice(b"{\"items\":[");
    for (at, (path, written)) in paths.iter().zip(&written).enumerate() {
        out.extend_from_slice(if at == 0 { b"{" } else { b",{" });
        push_path(&mut out, path.as_str());
        push_version(&mut out, written.version);
        out.extend_from_slice(format!(",\"changed\":{}}}", written.changed).as_bytes());
    }
    out.extend_from_slice(b"]}");
    Ok(data::json_response(out.into()))
}

/// The writes that a body asks for, or why it cannot be done.
fn parse(body: &[u8], wall_ms: u64, strategies: &Strategies) -> Result<Vec<Write>, Refusal> {
    let text = json::check(body, json::DEPTH_MAX + DEPTH_AROUND)?;
    let batch: Batch<'_> =
        serde_json::from_str(text).map_err(|error| Problem::Batch.because(error))?;
    if batch.items.is_empty() || batch.items.len() > BATCH_ITEMS_MAX {
        return Err(ErrorCode::BatchSize.into());
    }
    let items = batch.items.iter().enumerate();
    items
        .map(|(at, item)| to_write(item, wall_ms, strategies).map_err(|why| why.at_item(at)))
        .collect()
}

fn to_write(item: &Item<'_>, wall_ms: u64, strategies: &Strategies) -> Result<Write, Refusal> {
    let path = Path::new(item.path.as_bytes().to_vec())?;
    let change = match (item.value, item.delete) {
        (Some(value), false) => {
            data::change(strategies, &path, value.get(), item.strategy.as_deref())?
        }
        (None, true) if item.strategy.is_none() && item.ttl.is_none() => Change::Delete,
        _ => return Err(Problem::Batch.because("an item has a value or deletes, not both")),
    };
    let condition = etag::to_condition(item.if_match.as_deref(), item.if_none_match.as_deref())?;
    let expires_ms = item.ttl.map(|seconds| data::end_of(seconds, wall_ms));
    Ok(Write { change, condition, expires_ms, ..Write::delete(path) })
}

#[cfg(test)]
mod tests {
    use super::*;
    use folkmoot_core::request::Condition;

    fn refused(body: &str) -> String {
        parse(body.as_bytes(), 0, &Strategies::default()).expect_err(body).to_string()
    }

    #[test]
    fn items_become_writes_in_their_order() {
        let body = r#" {"items":[{"path":"a/\u0062","value":{ "n" : 1.0 },"ttl":5},
            {"path":"b","value":null,"if_none_match":"*"},
            {"delete":true,"path":"c","if_match":"*"},
            {"path":"d","value":{"x":1},"strategy":"merge"}]} "#;
        let writes = parse(body.as_bytes(), 1_000, &Strategies::default()).unwrap();
        assert_eq!(writes[0].path.as_str(), "a/b");
        assert!(matches!(&writes[0].change, Change::Put(value) if value == "{ \"n\" : 1.0 }"));
        assert_eq!(writes[0].expires_ms, Some(6_000));
        assert!(matches!(&writes[1].change, Change::Put(value) if value == "null"));
        assert_eq!(writes[1].condition, Condition::Absent);
        assert!(matches!(&writes[2].change, Change::Delete));
        assert_eq!(writes[2].condition, Condition::Present);
        assert!(matches!(&writes[3].change, Change::Merge(fields) if fields.len() == 1));
    }

    #[test]
    fn what_is_not_a_batch_is_refused_whole_and_the_item_named() {
        for body in ["[]", "{}", "1", r#"{"items":{}}"#, r#"{"items":[1]}"#, r#"{"items":[{}]}"#] {
            assert!(refused(body).starts_with("a batch is"), "{body}");
        }
        for item in [
            r#"{"path":"a"}"#,
            r#"{"path":"a","value":1,"delete":true}"#,
            r#"{"path":"a","delete":false}"#,
            r#"{"path":"a","delete":true,"ttl":1}"#,
            r#"{"path":"a","value":1,"tll":1}"#,
            r#"{"path":"a","value":1,"ttl":-1}"#,
        ] {
            let body = format!(r#"{{"items":[{{"path":"ok","value":1}},{item}]}}"#);
            assert!(refused(&body).starts_with("a batch is"), "{item}");
        }
        let refusal = parse(
            br#"{"items":[{"path":"a","value":1},{"path":"..","value":1}]}"#,
            0,
            &Strategies::default(),
        );
        let said = format!("{:?}", refusal.unwrap_err());
        assert!(said.contains("PathSegmentDots") && said.contains("item: Some(1)"), "{said}");
    }

    #[test]
    fn the_limits_hold_to_the_item_and_the_level() {
        let items = |count: usize| {
            let items: Vec<_> =
                (0..count).map(|i| format!(r#"{{"path":"p{i}","value":{i}}}"#)).collect();
            format!(r#"{{"items":[{}]}}"#, items.join(","))
        };
        assert!(parse(items(BATCH_ITEMS_MAX).as_bytes(), 0, &Strategies::default()).is_ok());
        assert!(refused(&items(BATCH_ITEMS_MAX + 1)).contains("1 to 1,000 items"));
        assert!(refused(&items(0)).contains("1 to 1,000 items"));
        let deep = |depth: usize| {
            let value = "[".repeat(depth) + &"]".repeat(depth);
            format!(r#"{{"items":[{{"path":"a","value":{value}}}]}}"#)
        };
        assert!(parse(deep(json::DEPTH_MAX).as_bytes(), 0, &Strategies::default()).is_ok());
        assert!(refused(&deep(json::DEPTH_MAX + 1)).contains("too deep"));
    }
}
