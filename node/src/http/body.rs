//! Request bodies: bounded in size and time, and declared to be what they are.

use super::HttpLimits;
use super::error::{Problem, Refusal};
use axum::body::{Body, HttpBody};
use axum::http::{HeaderMap, header};
use bytes::{Bytes, BytesMut};
use http_body_util::BodyExt;

/// Bytes of a body that is too large which are read all the same: a client that is still sending
/// would not see the answer.
const DRAIN_BYTES_MAX: usize = 4 * 1024 * 1024;

/// Reads a body of at most `max` bytes that is declared to be JSON.
pub(crate) async fn json(
    headers: &HeaderMap,
    body: Body,
    max: usize,
    limits: &HttpLimits,
) -> Result<Bytes, Refusal> {
    if !is_json(headers) {
        return Err(Problem::MediaType.into());
    }
    bytes(headers, body, max, limits).await
}

/// Reads a body of at most `max` bytes.
pub(crate) async fn bytes(
    headers: &HeaderMap,
    body: Body,
    max: usize,
    limits: &HttpLimits,
) -> Result<Bytes, Refusal> {
    // A client that waits to be told to go on has sent nothing yet.
    let length = body.size_hint().lower();
    if length > max as u64 && headers.contains_key(header::EXPECT) {
        return Err(too_large(max));
    }
    let read = read(body, max);
    tokio::time::timeout(limits.body, read).await.unwrap_or(Err(Problem::BodySlow.into()))
}

async fn read(mut body: Body, max: usize) -> Result<Bytes, Refusal> {
    let mut first = Bytes::new();
    let mut whole = BytesMut::new();
    let mut length = 0usize;
    while let Some(frame) = body.frame().await {
        let Ok(data) = frame.map_err(|_| Problem::BodyBroken)?.into_data() else { continue };
        length += data.len();
        if length > DRAIN_BYTES_MAX {
            break;
        }
        if length > max || data.is_empty() {
            continue;
        }
        if first.is_empty() && whole.is_empty() {
            first = data;
        } else {
            if whole.is_empty() {
                whole.reserve(max.min(length + body.size_hint().lower() as usize));
                whole.extend_from_slice(&first);
            }
            whole.extend_from_slice(&data);
        }
    }
    match length > max {
        true => Err(too_large(max)),
        false if whole.is_empty() => Ok(first),
        false => Ok(whole.freeze()),
    }
}

fn too_large(max: usize) -> Refusal {
    Problem::BodyTooLarge.because(format!("at most {} KiB here", max / 1024))
}

/// Whether the content type is JSON, with or without parameters.
fn is_json(headers: &HeaderMap) -> bool {
    let value = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
    let kind = value.unwrap_or("").split(';').next().unwrap_or("").trim();
    let suffix = kind.len().checked_sub("+json".len()).and_then(|at| kind.get(at..));
    kind.eq_ignore_ascii_case("application/json")
        || suffix.is_some_and(|suffix| suffix.eq_ignore_ascii_case("+json"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::http::HeaderValue;
    use futures_util::stream;

    fn in_pieces(pieces: &[&'static str]) -> Body {
        let pieces: Vec<_> = pieces.iter().map(|piece| Ok::<_, axum::Error>(*piece)).collect();
        Body::from_stream(stream::iter(pieces))
    }

    #[test]
    fn only_json_is_declared_json() {
        let with =
            |kind| HeaderMap::from_iter([(header::CONTENT_TYPE, HeaderValue::from_static(kind))]);
        for kind in ["application/json", "Application/JSON; charset=utf-8", "application/ld+json"] {
            assert!(is_json(&with(kind)), "{kind}");
        }
        for kind in ["", "text/plain", "application/jsonx", "json", "application/x-json-y"] {
            assert!(!is_json(&with(kind)), "{kind}");
        }
        assert!(!is_json(&HeaderMap::new()));
    }

    #[tokio::test]
    async fn bodies_are_put_together_and_bounded_to_the_byte() {
        assert_eq!(read(Body::empty(), 4).await.unwrap(), "");
        assert_eq!(read(Body::from("1234"), 4).await.unwrap(), "1234");
        assert_eq!(read(in_pieces(&["", "12", "", "3", "4"]), 4).await.unwrap(), "1234");
        for body in [Body::from("12345"), in_pieces(&["123", "45"])] {
            assert_eq!(read(body, 4).await.unwrap_err().problem(), Some(Problem::BodyTooLarge));
        }
    }

    #[tokio::test]
    async fn a_body_that_does_not_come_is_given_up() {
        let limits =
            HttpLimits { body: std::time::Duration::from_millis(1), ..HttpLimits::default() };
        let headers = HeaderMap::from_iter([(
            header::CONTENT_TYPE,
            HeaderValue::from_static("application/json"),
        )]);
        let body = Body::from_stream(stream::pending::<Result<Bytes, axum::Error>>());
        let refusal = json(&headers, body, 4, &limits).await.unwrap_err();
        assert_eq!(refusal.problem(), Some(Problem::BodySlow));
    }
}
