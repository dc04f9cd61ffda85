//! The connection that this node dials to another server: a client of Socket.IO 2, over WebSocket.
//!
//! Promise: dialled for ever, with pauses that grow; what waits is sent once it is connected, in
//! order; silence ends it. The server says nothing here that matters.
//! Limits: `CONNECT_TIMEOUT`, `PAUSE_MIN`, `PAUSE_MAX`, [`Bounds::SERVER`].

use super::announce::Connected;
use super::servers::Server;
use crate::gateway::socketio::engine_io::{Bounds, Kind, Packet};
use crate::gateway::socketio::random;
use crate::gateway::socketio::session::PING_INTERVAL;
use crate::gateway::socketio::websocket::config;
use crate::http::stopped;
use bytes::Bytes;
use futures_util::{SinkExt, StreamExt};
use std::time::Duration;
use tokio::net::TcpStream;
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, MissedTickBehavior, interval, timeout};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::{Message, Utf8Bytes};

/// From dialling to the server's welcome.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// The longest pause between two pings, and how long it may be silent after one.
const PING_PAUSE_MAX: Duration = PING_INTERVAL;
/// The shortest pause before it is dialled again; doubles.
const PAUSE_MIN: Duration = Duration::from_millis(500);
/// The longest such pause.
const PAUSE_MAX: Duration = Duration::from_secs(30);
/// A connection that lived so long was a good one: pauses begin anew.
const GOOD: Duration = Duration::from_secs(60);
/// How long the server may take in nothing.
const WRITE_TIMEOUT: Duration = Duration::from_secs(10);

type Socket = WebSocketStream<TcpStream>;

/// Why a connection ended, for the log.
#[derive(Debug, thiserror::Error)]
enum Lost {
    #[error("{0}")]
    Io(#[from] std::io::Error),
    #[error("{0}")]
    Broken(#[from] Box<tokio_tungstenite::tungstenite::Error>),
    #[error("{0}")]
    Said(&'static str),
}

impl From<tokio_tungstenite::tungstenite::Error> for Lost {
    fn from(error: tokio_tungstenite::tungstenite::Error) -> Lost {
        Lost::Broken(Box::new(error))
    }
}

/// Keeps the connection, until the node stops.
pub(super) async fn run(
    server: Server,
    mut waiting: mpsc::Receiver<Bytes>,
    connected: Connected,
    mut stop: watch::Receiver<bool>,
) {
    let mut pause = PAUSE_MIN;
    let mut quiet = false;
    loop {
        let since = Instant::now();
        let lost = tokio::select! {
            lost = live(&server, &mut waiting, &connected) => lost,
            () = stopped(&mut stop) => return,
        };
        connected.tell(false);
        // Once is enough for a server that is not there.
        if !quiet {
            tracing::info!("not connected to the chat server {}: {lost}", server.id);
        }
        quiet = since.elapsed() < GOOD;
        if !quiet {
            pause = PAUSE_MIN;
        }
        // Half to all of it, so that servers that start together do not dial together.
        let part = pause / 2 + pause.mul_f64((random() % 1024) as f64 / 2048.0);
        tokio::select! {
            () = tokio::time::sleep(part) => {}
            () = stopped(&mut stop) => return,
        }
        pause = (pause * 2).min(PAUSE_MAX);
    }
}

/// One connection from its beginning to its end.
async fn live(server: &Server, waiting: &mut mpsc::Receiver<Bytes>, connected: &Connected) -> Lost {
    let (mut socket, ping) = match timeout(CONNECT_TIMEOUT, connect(server)).await {
        Ok(Ok(socket)) => socket,
        Ok(Err(lost)) => return lost,
        Err(_) => return Lost::Said("it does not answer"),
    };
    tracing::info!("connected to the chat server {}", server.id);
    connected.tell(true);
    let mut pings = interval(ping);
    pings.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut answered = true;
    loop {
        let sent = tokio::select! {
            packet = read(&mut socket) => match packet {
                Ok(packet) => {
                    answered = true;
                    match packet.kind {
                        Kind::Close => return Lost::Said("it has closed"),
                        _ => continue,
                    }
                }
                Err(lost) => return lost,
            },
            _ = pings.tick() => {
                if !answered {
                    return Lost::Said("it is silent");
                }
                answered = false;
                send(&mut socket, vec![Bytes::from_static(b"2")]).await
            }
            first = waiting.recv() => {
                let Some(first) = first else { return Lost::Said("the node is stopping") };
                let mut packets = vec![first];
                while let Ok(more) = waiting.try_recv() {
                    packets.push(more);
                }
                send(&mut socket, packets).await
            }
        };
        if let Err(lost) = sent {
            return lost;
        }
    }
}

async fn send(socket: &mut Socket, packets: Vec<Bytes>) -> Result<(), Lost> {
    let sending = async {
        for packet in packets {
            let text = Utf8Bytes::try_from(packet).expect("packets are made of text");
            socket.feed(Message::Text(text)).await?;
        }
        socket.flush().await
    };
    Ok(timeout(WRITE_TIMEOUT, sending).await.map_err(|_| Lost::Said("it does not read"))??)
}

/// Dials and waits until the server lets this node in; answers how often to ping.
async fn connect(server: &Server) -> Result<(Socket, Duration), Lost> {
    let (host, port) = server.place();
    let tcp = TcpStream::connect((host, port)).await?;
    tcp.set_nodelay(true)?;
    let host = if host.contains(':') { format!("[{host}]") } else { host.to_owned() };
    let url = format!("ws://{host}:{port}/socket.io/?EIO=3&transport=websocket");
    let config = Some(config(Bounds::SERVER));
    let (mut socket, _) = tokio_tungstenite::client_async_with_config(url, tcp, config).await?;
    let mut ping = None;
    loop {
        let packet = read(&mut socket).await?;
        match (packet.kind, packet.text(), ping) {
            (Kind::Open, handshake, _) => ping = Some(ping_pause(handshake)),
            (Kind::Message, "0", Some(ping)) => return Ok((socket, ping)),
            (Kind::Close, ..) => return Err(Lost::Said("it has closed")),
            _ => {}
        }
    }
}

/// How often to ping, as the handshake says.
fn ping_pause(handshake: &str) -> Duration {
    #[derive(serde::Deserialize)]
    struct Handshake {
        #[serde(rename = "pingInterval")]
        ping_interval: u64,
    }
    let said = serde_json::from_str(handshake).map(|Handshake { ping_interval }| ping_interval);
    Duration::from_millis(said.unwrap_or(u64::MAX)).clamp(Duration::from_secs(1), PING_PAUSE_MAX)
}

async fn read(socket: &mut Socket) -> Result<Packet, Lost> {
    loop {
        match socket.next().await {
            Some(Ok(Message::Text(text))) => {
                let packet = Packet::decode(text.into(), Bounds::SERVER);
                return packet.map_err(|bad| Lost::Said(bad.0));
            }
            Some(Ok(Message::Close(_))) | None => return Err(Lost::Said("it has closed")),
            Some(Ok(_)) => {}
            Some(Err(error)) => return Err(error.into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pings_come_as_often_as_the_server_asks_within_reason() {
        let seconds = |text: &str| ping_pause(text).as_secs();
        assert_eq!(seconds(r#"{"sid":"a","pingInterval":5000}"#), 5);
        assert_eq!(seconds(r#"{"pingInterval":0}"#), 1);
        assert_eq!(seconds(r#"{"pingInterval":99999999}"#), 25);
        assert_eq!(seconds("nonsense"), 25);
    }
}
