//! The WebSocket under a socket: texts in, texts out.
//!
//! Promise: what is written is gathered and leaves with one call; a client that takes in nothing
//! is given up after `WRITE_TIMEOUT`. Binary messages are told as such and not kept.
//! Limits: [`Bounds`], `WRITE_TIMEOUT`, `PONG_BYTES_MAX`; buffers are small, since most sockets are idle.

use super::driver::Inbound;
use super::engine_io::{Bounds, Kind, Malformed, Packet};
use super::session::End;
use crate::http::Slot;
use crate::websocket::frame::{push_text, push_text_head};
use bytes::Bytes;
use futures_util::{FutureExt, SinkExt, StreamExt};
use std::time::Duration;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use tokio_tungstenite::tungstenite::protocol::{CloseFrame, Role, WebSocketConfig};
use tokio_tungstenite::tungstenite::{Error, Message};

/// Bytes read at once, and kept by an idle socket.
const READ_BYTES: usize = 4 * 1024;
/// Bytes of a packet from which on it is written from where it lies, and not gathered.
const COPY_BYTES_MAX: usize = 8 * 1024;
/// How long a client may take in nothing.
const WRITE_TIMEOUT: Duration = Duration::from_secs(10);
/// How long a client may take to take over.
const UPGRADE_TIMEOUT: Duration = Duration::from_secs(10);
/// How long the other side has to take note of a close.
const CLOSE_PAUSE: Duration = Duration::from_secs(1);
/// Bytes of pongs that wait for a client that does not read; of those after them the newest.
const PONG_BYTES_MAX: usize = 64 * 1024;

/// One WebSocket, and its place among the connections.
pub(super) struct WebSocket {
    stream: WebSocketStream<TcpStream>,
    bounds: Bounds,
    _slot: Slot,
}

impl WebSocket {
    /// The node's end, after the upgrade.
    pub(super) async fn accepted(tcp: TcpStream, slot: Slot, bounds: Bounds) -> WebSocket {
        let config = Some(accepted(bounds));
        let stream = WebSocketStream::from_raw_socket(tcp, Role::Server, config).await;
        WebSocket { stream, bounds, _slot: slot }
    }

    /// The next packet. Nothing is lost if it is not waited for.
    pub(super) async fn next(&mut self) -> Result<Packet, End> {
        loop {
            if let Some(packet) = read(self.stream.next().await, self.bounds)? {
                return Ok(packet);
            }
        }
    }

    /// The next packet, if it has come.
    pub(super) fn next_now(&mut self) -> Result<Option<Packet>, End> {
        while let Some(message) = self.stream.next().now_or_never() {
            if let Some(packet) = read(message, self.bounds)? {
                return Ok(Some(packet));
            }
        }
        Ok(None)
    }

    /// Writes packets. Frames are made here: the library would keep a buffer as large as the
    /// largest list of users for every socket.
    pub(super) async fn write(&mut self, packets: Vec<Bytes>) -> Result<(), End> {
        let writing = async {
            // What it has to say itself, as a pong, comes first and whole.
            self.stream.flush().await?;
            let tcp = self.stream.get_mut();
            let mut gathered = Vec::new();
            for packet in packets {
                if packet.len() < COPY_BYTES_MAX {
                    push_text(&mut gathered, |out| out.extend_from_slice(&packet));
                    continue;
                }
                push_text_head(&mut gathered, packet.len());
                tcp.write_all(&gathered).await?;
                tcp.write_all(&packet).await?;
                gathered.clear();
            }
            tcp.write_all(&gathered).await?;
            Ok::<_, Error>(())
        };
        match tokio::time::timeout(WRITE_TIMEOUT, writing).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(_)) => Err(End::Gone),
            Err(_) => Err(End::NotReading),
        }
    }

    /// Says why it ends, and waits for a moment that the other side hears it.
    pub(super) async fn close(mut self, end: End) {
        let (code, reason) = end.close();
        let frame = CloseFrame { code: CloseCode::from(code), reason: reason.into() };
        let closing = async {
            if self.stream.close(Some(frame)).await.is_ok() {
                while let Some(Ok(_)) = self.stream.next().await {}
            }
        };
        // Whether the other side has heard it or not, it is over.
        let _ = tokio::time::timeout(CLOSE_PAUSE, closing).await;
    }
}

/// Lets a WebSocket take over from polling, if its client says so in time.
pub(super) async fn probe(mut socket: WebSocket, inbound: mpsc::Sender<Inbound>) {
    let asked = async {
        loop {
            let packet = socket.next().await?;
            match (packet.kind, packet.text()) {
                (Kind::Ping, "probe") => {
                    socket.write(vec![Bytes::from_static(b"3probe")]).await?;
                    // Its client takes over once its last poll is answered.
                    inbound.send(Inbound::Probe).await.map_err(|_| End::Gone)?;
                }
                (Kind::Upgrade, _) => return Ok(()),
                _ => return Err(End::Malformed("a probe and an upgrade are expected")),
            }
        }
    };
    let asked = tokio::time::timeout(UPGRADE_TIMEOUT, asked).await;
    match asked.unwrap_or(Err(End::Silent)) {
        // If the socket is gone, so is this.
        Ok(()) => drop(inbound.send(Inbound::Upgraded(Box::new(socket))).await),
        Err(end) => {
            drop(inbound.send(Inbound::ProbeEnded).await);
            socket.close(end).await;
        }
    }
}

/// What a message is here; `None` for what the protocol answers by itself.
fn read(message: Option<Result<Message, Error>>, bounds: Bounds) -> Result<Option<Packet>, End> {
    let malformed = |bad: Malformed| End::Malformed(bad.0);
    match message {
        Some(Ok(Message::Text(text))) => {
            Packet::decode(text.into(), bounds).map(Some).map_err(malformed)
        }
        Some(Ok(Message::Binary(_))) => Ok(Some(Packet::binary())),
        Some(Ok(Message::Ping(_) | Message::Pong(_) | Message::Frame(_))) => Ok(None),
        Some(Ok(Message::Close(_))) | None => Err(End::Gone),
        Some(Err(Error::Capacity(_))) => Err(End::Malformed("a packet is too large")),
        Some(Err(Error::Utf8(_))) => Err(End::Malformed("not UTF-8")),
        Some(Err(_)) => Err(End::Gone),
    }
}

/// For the node's end. What it writes goes past the library, which has only control frames left
/// to write: what waits of them is bounded here.
fn accepted(bounds: Bounds) -> WebSocketConfig {
    config(bounds).write_buffer_size(0).max_write_buffer_size(PONG_BYTES_MAX)
}

/// What can wait to be written is bounded by whoever writes.
pub(super) fn config(bounds: Bounds) -> WebSocketConfig {
    WebSocketConfig::default()
        .read_buffer_size(READ_BYTES)
        .max_message_size(Some(bounds.packet_bytes))
        .max_frame_size(Some(bounds.packet_bytes))
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::AsyncReadExt;

    #[tokio::test]
    async fn so_many_bytes_of_pongs_wait_for_a_client_that_does_not_read_and_no_more() {
        let (ours, mut theirs) = tokio::io::duplex(1_000);
        let config = Some(accepted(Bounds::CLIENT));
        let mut socket = WebSocketStream::from_raw_socket(ours, Role::Server, config).await;
        // The longest, masked with zeros.
        let ping = [&[0x89, 0x80 + 125][..], &[0; 4 + 125]].concat();
        for _ in 0..2 * PONG_BYTES_MAX / 125 {
            theirs.write_all(&ping).await.unwrap();
            assert!(matches!(socket.next().await, Some(Ok(Message::Ping(_)))));
        }
        let mut pongs = Vec::new();
        let flush = async {
            socket.flush().await.unwrap();
            drop(socket);
        };
        tokio::join!(flush, async { theirs.read_to_end(&mut pongs).await.unwrap() });
        let most = 1_000 + PONG_BYTES_MAX;
        assert!((most..most + 127).contains(&pongs.len()), "the newest too: {}", pongs.len());
    }
}
