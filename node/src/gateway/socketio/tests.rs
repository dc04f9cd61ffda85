//! The door of a real node, spoken to over sockets as clients speak.

mod door;
mod polling;
mod websocket;

use super::*;
use crate::node::Node;
use futures_util::{SinkExt, StreamExt};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;

/// How long anything may take before a test gives up.
const PATIENCE: Duration = Duration::from_secs(60);

pub(super) async fn node() -> Node {
    Node::builder().listen("127.0.0.1:0").start().await.unwrap()
}

pub(super) async fn in_time<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, future).await.expect("it comes in time")
}

/// The answer to one request, on a connection of its own: its status and its body.
pub(super) async fn request(address: SocketAddr, line: &str, body: &[u8]) -> (u16, String) {
    request_with(address, line, "", body).await
}

async fn request_with(
    address: SocketAddr,
    line: &str,
    headers: &str,
    body: &[u8],
) -> (u16, String) {
    let mut stream = TcpStream::connect(address).await.unwrap();
    let head = format!(
        "{line} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n{headers}content-length: {}\r\n\r\n",
        body.len()
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    // A body that is too large may be refused before it is read.
    let _ = stream.write_all(body).await;
    let mut answer = Vec::new();
    let _ = in_time(stream.read_to_end(&mut answer)).await;
    let answer = String::from_utf8(answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or((&answer, ""));
    let status = head.split(' ').nth(1).unwrap_or_else(|| panic!("no answer: {answer:?}"));
    (status.parse().unwrap(), body.to_owned())
}

/// A client over WebSocket, and the list of users that it was told last.
pub(super) struct Client(WebSocketStream<TcpStream>, Vec<String>);

impl Client {
    /// Connects and enters.
    pub(super) async fn connect(address: SocketAddr, protocol: u8) -> Client {
        let mut client = Client::dial(address, &format!("EIO={protocol}")).await;
        assert!(client.next().await.starts_with("0{\"sid\":\""));
        if protocol == 4 {
            client.say("40").await;
        }
        assert!(client.next().await.starts_with("40"));
        client
    }

    pub(super) async fn dial(address: SocketAddr, query: &str) -> Client {
        let tcp = TcpStream::connect(address).await.unwrap();
        let url = format!("ws://{address}/socket.io/?{query}&transport=websocket");
        Client(tokio_tungstenite::client_async(url, tcp).await.unwrap().0, Vec::new())
    }

    /// Connects, identifies, and waits until the list has the name.
    pub(super) async fn named(address: SocketAddr, protocol: u8, name: &str) -> Client {
        let mut client = Client::connect(address, protocol).await;
        client.say(&format!("42[\"identify\",{name:?}]")).await;
        client.until_listed(&[name], &[]).await;
        client
    }

    pub(super) async fn say(&mut self, text: &str) {
        self.0.send(Message::text(text)).await.unwrap();
    }

    /// The next text; what was said last, once it is closed.
    pub(super) async fn next(&mut self) -> String {
        loop {
            match in_time(self.0.next()).await {
                Some(Ok(Message::Text(text))) => {
                    if let Some(event) = text.strip_prefix("42[\"update_client\",") {
                        let event: serde_json::Value =
                            serde_json::from_str(&event[..event.len() - 1]).unwrap();
                        self.1 = serde_json::from_value(event["list"].clone()).unwrap();
                    }
                    return text.to_string();
                }
                Some(Ok(Message::Close(frame))) => {
                    return format!("closed {:?}", frame.map(|frame| u16::from(frame.code)));
                }
                Some(Ok(_)) => {}
                Some(Err(_)) | None => return "closed".into(),
            }
        }
    }

    /// The next text that is no list of users.
    pub(super) async fn next_said(&mut self) -> String {
        loop {
            let text = self.next().await;
            if !text.starts_with("42[\"update_client\"") {
                return text;
            }
        }
    }

    /// Waits for a list with some names and without others.
    pub(super) async fn until_listed(&mut self, with: &[&str], without: &[&str]) {
        let listed = |all: &[String], name: &&str| all.iter().any(|one| one == name);
        while !with.iter().all(|name| listed(&self.1, name))
            || without.iter().any(|name| listed(&self.1, name))
        {
            let text = self.next().await;
            assert!(!text.starts_with("closed"), "{text}");
        }
    }
}
