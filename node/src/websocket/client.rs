//! The client's side of `/v1/ws`: connects, says texts and hears them.
//!
//! What is said is gathered until it is written, and everything that one read brings is told at
//! once. Pings are answered. All waiting may be cancelled without loss. No TLS.
//! Limits: `HEAD_BYTES_MAX`, `READ_BYTES`; waiting is the caller's to limit.

use super::frame::{Broken, Masks, Opcode};
use super::reader::{Reader, Received, Sender};
use crate::json::{push_number, push_string};
use std::future::poll_fn;
use std::io;
use std::mem;
use std::ops::ControlFlow;
use std::pin::Pin;
use std::task::{Context, Poll};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::handshake::client::generate_key;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;

/// Bytes of the answer to the handshake.
const HEAD_BYTES_MAX: usize = 16 * 1024;
/// Bytes that are read at once.
const READ_BYTES: usize = 64 * 1024;
/// Bytes that wait to be written at which nothing more should be said.
pub const OUT_BYTES_TARGET: usize = 64 * 1024;

/// Why there is no talk with the node, or not any more.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ClientError {
    /// The address cannot be used.
    #[error("{0:?} is no address of a node: write http://host:port")]
    Address(String),
    /// The connection failed.
    #[error("the connection failed: {0}")]
    Lost(#[from] io::Error),
    /// The node answers, but not with a WebSocket.
    #[error("no WebSocket there: {0}")]
    Refused(String),
    /// The node closed, with a code and a reason of `docs/chat.md`.
    #[error("closed by the node ({code}): {reason}")]
    Closed {
        /// The code.
        code: u16,
        /// The reason.
        reason: String,
    },
    /// What came are no frames.
    #[error("the node's frames cannot be read: {0}")]
    Broken(String),
}

impl From<Broken> for ClientError {
    fn from(broken: Broken) -> ClientError {
        ClientError::Broken(broken.to_string())
    }
}

/// A connection to a node.
///
/// ```
/// # use folkmoot::{Node, client::Client};
/// # #[tokio::main]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let node = Node::builder().listen("127.0.0.1:0").start().await?;
/// let mut anna = Client::connect(&node.url()).await?;
/// anna.say_hello("anna", 0x9f3c2a7700d1e842);
/// assert!(anna.next().await?.starts_with(r#"{"op":"welcome","user":"anna""#));
/// anna.say_send(1, ("to", "billy"), r#"{"text":"hi"}"#);
/// let settled = r#"{"op":"settled","from":1,"upto":1,"outcome":"unknown"}"#;
/// assert_eq!(anna.next().await?, settled);
/// anna.close().await?;
/// node.close().await;
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct Client {
    tcp: TcpStream,
    reader: Reader,
    masks: Masks,
    input: Vec<u8>,
    out: Vec<u8>,
    /// How much of `out` is written.
    written: usize,
}

impl Client {
    /// Connects to the node at `url`: `http://host:port` or `ws://host:port`.
    pub async fn connect(url: &str) -> Result<Client, ClientError> {
        let authority = authority_of(url).ok_or_else(|| ClientError::Address(url.to_owned()))?;
        let with_port =
            if has_port(authority) { authority.into() } else { format!("{authority}:80") };
        Client::over(TcpStream::connect(with_port).await?, authority).await
    }

    /// Begins on a connection that is there.
    pub async fn over(mut tcp: TcpStream, host: &str) -> Result<Client, ClientError> {
        tcp.set_nodelay(true)?;
        let key = generate_key();
        let head = format!(
            "GET /v1/ws HTTP/1.1\r\nhost: {host}\r\nconnection: upgrade\r\nupgrade: websocket\r\n\
             sec-websocket-version: 13\r\nsec-websocket-key: {key}\r\n\r\n"
        );
        tcp.write_all(head.as_bytes()).await?;
        let mut answer = Vec::new();
        let end = loop {
            if let Some(at) = answer.windows(4).position(|four| four == b"\r\n\r\n") {
                break at + 4;
            }
            if answer.len() > HEAD_BYTES_MAX || tcp.read_buf(&mut answer).await? == 0 {
                return Err(ClientError::Refused("the answer is no HTTP".into()));
            }
        };
        check_answer(&String::from_utf8_lossy(&answer[..end]), &key)?;
        let mut seed = [0; 4];
        getrandom::fill(&mut seed).map_err(io::Error::other)?;
        let mut client = Client {
            tcp,
            reader: Reader::new(Sender::Server),
            masks: Masks::new(u32::from_ne_bytes(seed)),
            input: vec![0; READ_BYTES],
            out: Vec::new(),
            written: 0,
        };
        client.reader.keep(&answer[end..]);
        Ok(client)
    }

    /// Says a text; [`Client::turn`] writes it.
    pub fn say(&mut self, text: &str) {
        self.push(Opcode::Text, |out| out.extend_from_slice(text.as_bytes()));
    }

    /// Says who speaks.
    pub fn say_hello(&mut self, user: &str, client: u64) {
        self.push(Opcode::Text, |out| {
            out.extend_from_slice(b"{\"op\":\"hello\",\"user\":");
            push_string(out, user);
            out.extend_from_slice(format!(",\"client\":\"{client:016x}\"}}").as_bytes());
        });
    }

    /// Says a message; `to` is `to` or `room` with a name, `body` is JSON.
    pub fn say_send(&mut self, n: u64, to: (&str, &str), body: &str) {
        self.push(Opcode::Text, |out| {
            out.extend_from_slice(b"{\"op\":\"send\",\"n\":");
            push_number(out, n);
            out.push(b',');
            push_string(out, to.0);
            out.push(b':');
            push_string(out, to.1);
            out.extend_from_slice(b",\"body\":");
            out.extend_from_slice(body.as_bytes());
            out.push(b'}');
        });
    }

    /// Says that messages up to this one are taken in.
    pub fn say_received(&mut self, n: u64) {
        self.push(Opcode::Text, |out| {
            out.extend_from_slice(b"{\"op\":\"received\",\"n\":");
            push_number(out, n);
            out.push(b'}');
        });
    }

    /// Bytes that are said and not written.
    pub fn unwritten(&self) -> usize {
        self.out.len() - self.written
    }

    /// Writes what was said and tells `on` the texts that came, until it says stop: the rest is
    /// told by the next turn. Returns when something came, or when something was to be written
    /// and all of it is.
    pub async fn turn(
        &mut self,
        on: &mut impl FnMut(&str) -> ControlFlow<()>,
    ) -> Result<(), ClientError> {
        poll_fn(|context| self.poll_turn(context, on)).await
    }

    /// The next text.
    pub async fn next(&mut self) -> Result<String, ClientError> {
        let mut next = None;
        while next.is_none() {
            self.turn(&mut |text| {
                next = Some(text.to_owned());
                ControlFlow::Break(())
            })
            .await?;
        }
        Ok(next.unwrap_or_default())
    }

    /// Says that nothing more comes, and lets the node know.
    pub async fn close(mut self) -> Result<(), ClientError> {
        let payload = super::frame::close_payload(1000, "");
        self.push(Opcode::Close, |out| out.extend_from_slice(&payload));
        while self.unwritten() > 0 {
            match self.turn(&mut |_| ControlFlow::Continue(())).await {
                Ok(()) => {}
                Err(ClientError::Closed { .. }) => break,
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// The connection itself, to say on it what no client would.
    #[cfg(test)]
    pub(crate) fn into_tcp(self) -> TcpStream {
        self.tcp
    }

    fn push(&mut self, opcode: Opcode, write: impl FnOnce(&mut Vec<u8>)) {
        if self.unwritten() == 0 {
            self.out.clear();
            self.written = 0;
        }
        self.masks.push(&mut self.out, opcode, write);
    }

    fn poll_turn(
        &mut self,
        context: &mut Context<'_>,
        on: &mut impl FnMut(&str) -> ControlFlow<()>,
    ) -> Poll<Result<(), ClientError>> {
        let mut done = self.poll_write(context)?;
        let mut input = mem::take(&mut self.input);
        if self.reader.is_within() {
            // What the last turn left.
            done |= self.hear(&mut [], on)?;
        }
        if !done {
            let mut buffer = ReadBuf::new(&mut input);
            match Pin::new(&mut self.tcp).poll_read(context, &mut buffer) {
                Poll::Pending => {}
                Poll::Ready(Ok(())) if !buffer.filled().is_empty() => {
                    done = true;
                    self.hear(buffer.filled_mut(), on)?;
                }
                Poll::Ready(Ok(())) => {
                    let end = io::Error::from(io::ErrorKind::UnexpectedEof);
                    return Poll::Ready(Err(end.into()));
                }
                Poll::Ready(Err(error)) => return Poll::Ready(Err(error.into())),
            }
        }
        self.input = input;
        // A ping may have been answered.
        self.poll_write(context)?;
        if done { Poll::Ready(Ok(())) } else { Poll::Pending }
    }

    /// Whether there was something to write and all of it is.
    fn poll_write(&mut self, context: &mut Context<'_>) -> Result<bool, ClientError> {
        let some = self.unwritten() > 0;
        while self.unwritten() > 0 {
            let rest = &self.out[self.written..];
            match Pin::new(&mut self.tcp).poll_write(context, rest) {
                Poll::Ready(count) => self.written += count?,
                Poll::Pending => return Ok(false),
            }
        }
        Ok(some)
    }

    /// Whether a text was told.
    fn hear(
        &mut self,
        bytes: &mut [u8],
        on: &mut impl FnMut(&str) -> ControlFlow<()>,
    ) -> Result<bool, ClientError> {
        let (mut told, mut closed, mut pings) = (false, None, Vec::new());
        let _stopped = self.reader.feed(bytes, &mut |received| match received {
            Received::Text(text) => {
                told = true;
                on(text)
            }
            Received::Ping(payload) => {
                pings.push(payload.to_vec());
                ControlFlow::Continue(())
            }
            Received::Pong => ControlFlow::Continue(()),
            Received::Close(said) => {
                let (code, reason) = said.unwrap_or((1005, ""));
                closed = Some(ClientError::Closed { code, reason: reason.to_owned() });
                ControlFlow::Break(())
            }
        })?;
        for payload in pings {
            self.push(Opcode::Pong, |out| out.extend_from_slice(&payload));
        }
        match closed {
            Some(closed) => Err(closed),
            None => Ok(told),
        }
    }
}

fn authority_of(url: &str) -> Option<&str> {
    let rest = url.strip_prefix("http://").or_else(|| url.strip_prefix("ws://"))?;
    let authority = rest.split(['/', '?', '#']).next()?;
    let sound = !authority.is_empty() && !authority.contains(['@', ' ', '\r', '\n']);
    sound.then_some(authority)
}

fn has_port(authority: &str) -> bool {
    let after = authority.rfind(']').map_or(authority, |end| &authority[end..]);
    after.contains(':')
}

fn check_answer(head: &str, key: &str) -> Result<(), ClientError> {
    let mut lines = head.lines();
    let status = lines.next().unwrap_or_default();
    if !status.starts_with("HTTP/1.1 101 ") {
        return Err(ClientError::Refused(status.to_owned()));
    }
    let accept = derive_accept_key(key.as_bytes());
    let accepted = lines.filter_map(|line| line.split_once(':')).any(|(name, value)| {
        name.eq_ignore_ascii_case("sec-websocket-accept") && value.trim() == accept
    });
    if accepted { Ok(()) } else { Err(ClientError::Refused("a wrong answer to the key".into())) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_taken_apart() {
        for (url, authority) in [
            ("http://127.0.0.1:3655", Some("127.0.0.1:3655")),
            ("ws://[::1]:3655/v1/ws", Some("[::1]:3655")),
            ("http://node.example/?a", Some("node.example")),
            ("https://node.example", None),
            ("http://", None),
            ("http://a b", None),
        ] {
            assert_eq!(authority_of(url), authority, "{url}");
        }
        assert!(has_port("[::1]:80") && has_port("a:1") && !has_port("[::1]") && !has_port("a"));
    }

    #[test]
    fn only_the_right_answer_opens_it() {
        let key = "dGhlIHNhbXBsZSBub25jZQ==";
        let head = |accept: &str| {
            format!("HTTP/1.1 101 Switching Protocols\r\nSec-WebSocket-Accept: {accept}\r\n\r\n")
        };
        assert!(check_answer(&head("s3pPLMBiTxaQ9kYGzzhZRbK+xOo="), key).is_ok());
        assert!(check_answer(&head("x"), key).is_err());
        let refused = check_answer("HTTP/1.1 403 Forbidden\r\n\r\n", key).unwrap_err();
        assert_eq!(refused.to_string(), "no WebSocket there: HTTP/1.1 403 Forbidden");
    }
}
