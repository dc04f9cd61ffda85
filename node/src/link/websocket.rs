//! The WebSocket (RFC 6455) that carries a link: one binary message is one message of ours.
//!
//! Limits: `MESSAGE_BYTES_MAX`; buffers are small, since most links are idle most of the time.

use super::address::Address;
use super::noise::TAG_BYTES;
use super::refused::{Refused, close_frame, told};
use bytes::Bytes;
use folkmoot_core::limits::FRAME_BYTES_MAX;
use futures_util::{FutureExt, Stream, StreamExt};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::error::ProtocolError;
use tokio_tungstenite::tungstenite::protocol::{Role, WebSocketConfig};
use tokio_tungstenite::tungstenite::{Error, Message};

/// Bytes of one message: a sealed frame.
const MESSAGE_BYTES_MAX: usize = FRAME_BYTES_MAX + TAG_BYTES;
/// Bytes read at once, and kept by an idle link.
const READ_BYTES: usize = 4 * 1024;
/// Bytes gathered before they are written, if nobody asks for it earlier.
const WRITE_BYTES: usize = 64 * 1024;
/// Bytes that may wait to be written.
const WRITE_BYTES_MAX: usize = WRITE_BYTES + 2 * MESSAGE_BYTES_MAX;
/// How long the other side has to take note of a close.
pub(super) const CLOSE_PAUSE: Duration = Duration::from_secs(1);

/// The accepted side, after the upgrade.
pub(super) async fn accepted<S>(io: S) -> WebSocketStream<S>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    WebSocketStream::from_raw_socket(io, Role::Server, Some(config())).await
}

/// Dials and upgrades.
pub(super) async fn dialled(address: &Address) -> Result<WebSocketStream<TcpStream>, Refused> {
    let lost = |error: std::io::Error| Refused::Lost(error.to_string());
    let stream = TcpStream::connect((address.host.as_str(), address.port)).await.map_err(lost)?;
    crate::socket::prepare(&stream).map_err(lost)?;
    match tokio_tungstenite::client_async_with_config(&address.url, stream, Some(config())).await {
        Ok((socket, _)) => Ok(socket),
        Err(Error::Http(answer)) => Err(Refused::NoNode(answer.status().as_u16())),
        Err(error) => Err(broken(error)),
    }
}

/// The next binary message.
pub(super) async fn next<S>(socket: &mut S) -> Result<Bytes, Refused>
where
    S: Stream<Item = Result<Message, Error>> + Unpin,
{
    loop {
        match socket.next().await {
            Some(Ok(Message::Binary(bytes))) => return Ok(bytes),
            Some(Ok(Message::Ping(_) | Message::Pong(_))) => {}
            Some(Ok(Message::Close(frame))) => return Err(told(frame)),
            Some(Ok(Message::Text(_) | Message::Frame(_))) => return Err(Refused::Malformed),
            Some(Err(error)) => return Err(broken(error)),
            None => return Err(Refused::Lost("closed".into())),
        }
    }
}

/// Says farewell and waits for a moment, so that the other side hears it: a socket that is
/// closed with unread bytes in it takes back what was said last.
pub(super) async fn farewell<S>(mut socket: WebSocketStream<S>, why: &Refused)
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let Some((code, reason)) = why.farewell() else { return };
    let closing = async {
        if socket.close(Some(close_frame(code, reason))).await.is_ok() {
            drain(&mut socket).await;
        }
    };
    // Whether the other side has heard it or not, it is over.
    let _ = tokio::time::timeout(CLOSE_PAUSE, closing).await;
}

/// Says farewell without waiting for anything: for when there are too many to wait for.
pub(super) fn turn_away<S>(mut socket: WebSocketStream<S>, why: &Refused)
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    if let Some((code, reason)) = why.farewell() {
        // Whether it can be said or not, it is over.
        let _ = socket.close(Some(close_frame(code, reason))).now_or_never();
    }
}

/// Reads and forgets, until the other side closes.
pub(super) async fn drain<S>(socket: &mut S)
where
    S: Stream<Item = Result<Message, Error>> + Unpin,
{
    while let Some(Ok(_)) = socket.next().await {}
}

/// What an error of the WebSocket means for the link.
pub(super) fn broken(error: Error) -> Refused {
    match error {
        Error::Protocol(
            ProtocolError::ResetWithoutClosingHandshake
            | ProtocolError::SendAfterClosing
            | ProtocolError::ReceivedAfterClosing
            | ProtocolError::HandshakeIncomplete,
        ) => Refused::Lost("closed".into()),
        Error::Capacity(_) | Error::Protocol(_) | Error::Utf8(_) => Refused::Malformed,
        other => Refused::Lost(other.to_string()),
    }
}

fn config() -> WebSocketConfig {
    WebSocketConfig::default()
        .read_buffer_size(READ_BYTES)
        .write_buffer_size(WRITE_BYTES)
        .max_write_buffer_size(WRITE_BYTES_MAX)
        .max_message_size(Some(MESSAGE_BYTES_MAX))
        .max_frame_size(Some(MESSAGE_BYTES_MAX))
}
