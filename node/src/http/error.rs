//! Every refusal, mapped once: to a status, a name, a number and a sentence.
//!
//! Handlers return `Result<Response, Refusal>` and the refusal is the answer. Native answers are
//! `{"error": name, "code": number, "detail": sentence}`; the seed's are `{"error": sentence}`.
//! Numbers up to 499 are [`ErrorCode`]s; those from 600 are problems of the request itself.

use crate::json::{JsonError, push_string};
use axum::body::Body;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use folkmoot_core::error::ErrorCode;
use std::borrow::Cow;
use std::fmt;

/// A problem of the HTTP request itself. Numbers are part of the interface and never reused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u16)]
pub(crate) enum Problem {
    Escape = 601,
    NotUtf8 = 602,
    Json = 603,
    JsonTooDeep = 604,
    JsonRepeats = 605,
    MediaType = 606,
    BodyTooLarge = 607,
    BodySlow = 608,
    Query = 609,
    Condition = 610,
    Host = 611,
    Origin = 612,
    CrossSite = 613,
    NotLocal = 614,
    NoRoute = 615,
    Method = 616,
    Upgrade = 617,
    Cursor = 618,
    Batch = 619,
    Token = 620,
    Node = 621,
    BodyBroken = 622,
    TooMany = 623,
    Op = 624,
}

impl Problem {
    /// The table: status, name, sentence.
    fn row(self) -> (StatusCode, &'static str, &'static str) {
        use StatusCode as S;
        match self {
            Problem::Escape => {
                (S::BAD_REQUEST, "bad_escape", "a percent escape is not % and two hex digits")
            }
            Problem::NotUtf8 => {
                (S::BAD_REQUEST, "not_utf8", "the path or query is not UTF-8 once decoded")
            }
            Problem::Json => (S::BAD_REQUEST, "not_json", "the body is not JSON"),
            Problem::JsonTooDeep => (S::BAD_REQUEST, "json_too_deep", "the JSON is too deep"),
            Problem::JsonRepeats => {
                (S::BAD_REQUEST, "json_repeats", "the JSON names a key twice in one object")
            }
            Problem::MediaType => (
                S::UNSUPPORTED_MEDIA_TYPE,
                "media_type",
                "the body must be declared JSON: send the header content-type: application/json",
            ),
            Problem::BodyTooLarge => {
                (S::PAYLOAD_TOO_LARGE, "body_too_large", "the body is too large")
            }
            Problem::BodySlow => {
                (S::REQUEST_TIMEOUT, "body_slow", "the body did not arrive in time")
            }
            Problem::BodyBroken => {
                (S::BAD_REQUEST, "body_broken", "the body ended early or is badly framed")
            }
            Problem::Query => (S::BAD_REQUEST, "bad_query", "the query cannot be understood"),
            Problem::Condition => (
                S::BAD_REQUEST,
                "bad_condition",
                "if-match takes * or one version in quotes, if-none-match takes * for writes; not both",
            ),
            Problem::Host => (
                S::MISDIRECTED_REQUEST,
                "wrong_host",
                "this node does not answer to that host name; use its address, or start it with the name allowed",
            ),
            Problem::Origin => (
                S::FORBIDDEN,
                "wrong_origin",
                "pages of that origin may not talk to this node; allow the origin in its configuration",
            ),
            Problem::CrossSite => {
                (S::FORBIDDEN, "cross_site", "a page of another site may not change anything here")
            }
            Problem::NotLocal => (
                S::FORBIDDEN,
                "not_local",
                "clients are answered on this machine only, until there are accounts; start the node with --open-clients to answer everybody who can reach it",
            ),
            Problem::NoRoute => (
                S::NOT_FOUND,
                "no_route",
                "there is nothing at this address; GET /openapi.json lists what there is",
            ),
            Problem::Method => (
                S::METHOD_NOT_ALLOWED,
                "method",
                "this address does not take that method; see the allow header",
            ),
            Problem::Upgrade => {
                (S::UPGRADE_REQUIRED, "upgrade", "this address speaks WebSocket version 13")
            }
            Problem::Cursor => (
                S::BAD_REQUEST,
                "bad_cursor",
                "the cursor is not one of this scan; take it from the last page as it is",
            ),
            Problem::Batch => (
                S::BAD_REQUEST,
                "bad_batch",
                "a batch is {\"items\": [{\"path\", \"value\"} or {\"path\", \"delete\": true}, ...]}",
            ),
            Problem::Token => (
                S::BAD_REQUEST,
                "bad_token",
                "last-event-id is not the id of an event of this node's watch",
            ),
            Problem::Node => (S::BAD_REQUEST, "bad_node", "a node id is 64 hex digits"),
            Problem::TooMany => (
                S::TOO_MANY_REQUESTS,
                "too_many_requests",
                "too many requests from your address; wait for as long as the retry-after header says",
            ),
            Problem::Op => (S::BAD_REQUEST, "bad_op", "what was said cannot be understood"),
        }
    }

    /// The refusal with a sentence that says more.
    pub(crate) fn because(self, detail: impl fmt::Display) -> Refusal {
        Refusal::from(self).because(detail)
    }
}

/// Status and name of a code of core; its sentence is its own.
fn row(code: ErrorCode) -> (StatusCode, &'static str) {
    use StatusCode as S;
    match code {
        ErrorCode::PathTooLong => (S::BAD_REQUEST, "path_too_long"),
        ErrorCode::PathSegmentEmpty => (S::BAD_REQUEST, "path_segment_empty"),
        ErrorCode::PathSegmentDots => (S::BAD_REQUEST, "path_segment_dots"),
        ErrorCode::PathControl => (S::BAD_REQUEST, "path_control"),
        ErrorCode::PathNotUtf8 => (S::BAD_REQUEST, "path_not_utf8"),
        ErrorCode::ValueTooLarge => (S::PAYLOAD_TOO_LARGE, "value_too_large"),
        ErrorCode::BatchSize => (S::PAYLOAD_TOO_LARGE, "batch_size"),
        ErrorCode::BatchRepeats => (S::BAD_REQUEST, "batch_repeats"),
        ErrorCode::TtlRange => (S::BAD_REQUEST, "ttl_range"),
        ErrorCode::WatchesMax => (S::TOO_MANY_REQUESTS, "watches_max"),
        ErrorCode::PeerAddress => (S::BAD_REQUEST, "peer_address"),
        ErrorCode::FieldsMax => (S::BAD_REQUEST, "fields_max"),
        ErrorCode::Name => (S::BAD_REQUEST, "name"),
        ErrorCode::MessageTooLarge => (S::PAYLOAD_TOO_LARGE, "message_too_large"),
        ErrorCode::RoomsMax => (S::TOO_MANY_REQUESTS, "rooms_max"),
        ErrorCode::StatusText => (S::BAD_REQUEST, "status_text"),
        ErrorCode::NamesMax => (S::BAD_REQUEST, "names_max"),
        ErrorCode::Forbidden => (S::FORBIDDEN, "forbidden"),
        ErrorCode::Conflict => (S::PRECONDITION_FAILED, "conflict"),
        ErrorCode::NotFound => (S::NOT_FOUND, "not_found"),
        ErrorCode::Unreachable => (S::GATEWAY_TIMEOUT, "unreachable"),
        ErrorCode::Busy => (S::SERVICE_UNAVAILABLE, "busy"),
        ErrorCode::ClockOff => (S::SERVICE_UNAVAILABLE, "clock_off"),
        ErrorCode::DiskFull => (S::INSUFFICIENT_STORAGE, "disk_full"),
        ErrorCode::Closing => (S::SERVICE_UNAVAILABLE, "closing"),
        ErrorCode::PeersMax => (S::CONFLICT, "peers_max"),
        ErrorCode::NotConnected => (S::CONFLICT, "not_connected"),
        ErrorCode::NotInRoom => (S::CONFLICT, "not_in_room"),
        ErrorCode::NotResumed => (S::GONE, "not_resumed"),
        ErrorCode::Unsettled => (S::TOO_MANY_REQUESTS, "unsettled"),
        ErrorCode::Malformed => (S::BAD_GATEWAY, "malformed"),
        ErrorCode::Removed => (S::FORBIDDEN, "removed"),
        ErrorCode::StampFuture => (S::BAD_GATEWAY, "stamp_future"),
        ErrorCode::Signature => (S::BAD_GATEWAY, "signature"),
        ErrorCode::Network => (S::BAD_GATEWAY, "network"),
        ErrorCode::ProtocolVersion => (S::BAD_GATEWAY, "protocol_version"),
        ErrorCode::Store => (S::INTERNAL_SERVER_ERROR, "store"),
        _ => (S::INTERNAL_SERVER_ERROR, "unknown"),
    }
}

/// The name of a code of core.
pub(crate) fn name_of(code: ErrorCode) -> &'static str {
    row(code).1
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Cause {
    Code(ErrorCode),
    Problem(Problem),
}

/// Why a request is not done, ready to be the answer.
#[derive(Debug)]
pub(crate) struct Refusal {
    cause: Cause,
    detail: Cow<'static, str>,
    /// The item of a batch that was at fault.
    item: Option<usize>,
    /// Whether the answer has the seed's body.
    seed: bool,
}

impl Refusal {
    /// With a sentence that says more.
    pub(crate) fn because(self, detail: impl fmt::Display) -> Refusal {
        Refusal { detail: format!("{}: {detail}", self.detail).into(), ..self }
    }

    /// With the item of a batch that was at fault.
    pub(crate) fn at_item(self, index: usize) -> Refusal {
        Refusal { item: Some(index), ..self }
    }

    /// With the seed's body.
    pub(crate) fn in_seed_words(self) -> Refusal {
        Refusal { seed: true, ..self }
    }

    /// The status of the answer.
    pub(crate) fn status(&self) -> StatusCode {
        match self.cause {
            Cause::Code(code) => row(code).0,
            Cause::Problem(problem) => problem.row().0,
        }
    }

    /// The problem, if the request itself was at fault.
    #[cfg(test)]
    pub(crate) fn problem(&self) -> Option<Problem> {
        match self.cause {
            Cause::Problem(problem) => Some(problem),
            Cause::Code(_) => None,
        }
    }

    /// The answer's JSON.
    pub(super) fn body(&self) -> Vec<u8> {
        let (name, number) = match self.cause {
            Cause::Code(code) => (row(code).1, code.number()),
            Cause::Problem(problem) => (problem.row().1, problem as u16),
        };
        let mut out = b"{\"error\":".to_vec();
        if self.seed {
            let not_found = self.cause == Cause::Code(ErrorCode::NotFound);
            push_string(&mut out, if not_found { "Not found" } else { &self.detail });
        } else {
            push_string(&mut out, name);
            out.extend_from_slice(format!(",\"code\":{number},\"detail\":").as_bytes());
            push_string(&mut out, &self.detail);
        }
        if let Some(index) = self.item {
            out.extend_from_slice(format!(",\"item\":{index}").as_bytes());
        }
        out.push(b'}');
        out
    }
}

impl From<Problem> for Refusal {
    fn from(problem: Problem) -> Refusal {
        let detail = Cow::Borrowed(problem.row().2);
        Refusal { cause: Cause::Problem(problem), detail, item: None, seed: false }
    }
}

impl From<ErrorCode> for Refusal {
    fn from(code: ErrorCode) -> Refusal {
        let detail = Cow::Owned(code.to_string());
        Refusal { cause: Cause::Code(code), detail, item: None, seed: false }
    }
}

impl From<JsonError> for Refusal {
    fn from(error: JsonError) -> Refusal {
        let problem = match error {
            JsonError::Syntax { .. } | JsonError::NotUtf8(_) => Problem::Json,
            JsonError::NumberTooLarge(_) => Problem::Json,
            JsonError::TooDeep(_) => Problem::JsonTooDeep,
            JsonError::Repeats(_) => Problem::JsonRepeats,
        };
        let detail = Cow::Owned(error.to_string());
        Refusal { cause: Cause::Problem(problem), detail, item: None, seed: false }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.detail)
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let mut response = Response::new(Body::from(self.body()));
        *response.status_mut() = self.status();
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        match self.cause {
            Cause::Code(ErrorCode::Busy | ErrorCode::ClockOff | ErrorCode::Closing) => {
                headers.insert(header::RETRY_AFTER, HeaderValue::from_static("2"));
            }
            Cause::Problem(Problem::TooMany) => {
                headers.insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
            }
            Cause::Problem(Problem::Upgrade) => {
                headers.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
                headers.insert(header::SEC_WEBSOCKET_VERSION, HeaderValue::from_static("13"));
            }
            // What was not read of the body would be taken for the next request.
            Cause::Problem(Problem::BodyTooLarge | Problem::BodySlow | Problem::BodyBroken) => {
                headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
            }
            _ => {}
        }
        response
    }
}

#[cfg(test)]
mod tests;
