//! The WebSocket handshake (RFC 6455, section 4.2), the same for every door that speaks it.

use super::connections::Slot;
use super::deadline::Timed;
use super::error::{Problem, Refusal};
use axum::body::Body;
use axum::extract::Request;
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;

/// Characters of the 16 random bytes that open a WebSocket, in base64.
const KEY_CHARACTERS: usize = 24;

/// Answers a request that asks for a WebSocket, and then gives the socket to `speak`, with its
/// place among the connections. Deadlines are the caller's from then on.
pub(crate) fn answer<F>(
    request: &mut Request<Body>,
    speak: impl FnOnce(TcpStream, Slot) -> F + Send + 'static,
) -> Result<Response, Refusal>
where
    F: Future<Output = ()> + Send,
{
    let key = accept_key(request.headers())?;
    let upgrade = hyper::upgrade::on(request);
    tokio::spawn(async move {
        let Ok(upgraded) = upgrade.await else { return };
        let Ok(parts) = upgraded.downcast::<TokioIo<Timed>>() else { return };
        // The client must not speak before it has seen the answer.
        if parts.read_buf.is_empty() {
            let (tcp, slot) = parts.io.into_inner().into_parts();
            speak(tcp, slot).await;
        }
    });
    let headers = [
        (header::CONNECTION, HeaderValue::from_static("upgrade")),
        (header::UPGRADE, HeaderValue::from_static("websocket")),
        (header::SEC_WEBSOCKET_ACCEPT, key),
    ];
    Ok((StatusCode::SWITCHING_PROTOCOLS, headers).into_response())
}

/// The answer to the key of a request that asks for a WebSocket.
fn accept_key(headers: &HeaderMap) -> Result<HeaderValue, Refusal> {
    let is_websocket = says(headers, header::CONNECTION, "upgrade")
        && says(headers, header::UPGRADE, "websocket")
        && says(headers, header::SEC_WEBSOCKET_VERSION, "13");
    let key = headers.get(header::SEC_WEBSOCKET_KEY).map(HeaderValue::as_bytes);
    match key.filter(|key| is_websocket && key.len() == KEY_CHARACTERS) {
        None => Err(Problem::Upgrade.into()),
        Some(key) => {
            let accept = derive_accept_key(key);
            Ok(HeaderValue::from_str(&accept).expect("base64 is visible text"))
        }
    }
}

/// Whether a list of tokens has this one.
fn says(headers: &HeaderMap, name: HeaderName, token: &str) -> bool {
    let lists = headers.get_all(name).into_iter().filter_map(|value| value.to_str().ok());
    lists.flat_map(|list| list.split(',')).any(|one| one.trim().eq_ignore_ascii_case(token))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The example of RFC 6455, section 1.2.
    const ASKED: [(&str, &str); 4] = [
        ("connection", "keep-alive, Upgrade"),
        ("upgrade", "WebSocket"),
        ("sec-websocket-version", "13"),
        ("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ=="),
    ];

    fn headers(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        let pair = |(name, value): &(&'static str, &'static str)| {
            (HeaderName::from_static(name), HeaderValue::from_static(value))
        };
        pairs.iter().map(pair).collect()
    }

    #[test]
    fn the_key_is_answered_as_the_rfc_says() {
        assert_eq!(accept_key(&headers(&ASKED)).unwrap(), "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
    }

    #[test]
    fn what_does_not_ask_for_a_websocket_is_told_to() {
        for missing in 0..ASKED.len() {
            let mut pairs = ASKED.to_vec();
            pairs.remove(missing);
            assert_eq!(accept_key(&headers(&pairs)).unwrap_err().status(), 426);
        }
        let mut pairs = ASKED;
        pairs[2].1 = "12";
        assert!(accept_key(&headers(&pairs)).is_err());
        pairs = ASKED;
        pairs[3].1 = "short";
        assert!(accept_key(&headers(&pairs)).is_err());
    }
}
