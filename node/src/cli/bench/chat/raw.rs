//! A WebSocket as cheap as it can be for the load generator: it blocks, its masks are zeros (which
//! RFC 6455 allows a client that has nothing to hide), and it believes its server.

use crate::cli::failure::{Exit, Failure};
use std::io::{Read, Write};
use std::net::TcpStream;

const READ_BYTES: usize = 256 * 1024;

/// A text frame's opcode.
pub(super) const TEXT: u8 = 1;
/// A binary frame's opcode.
pub(super) const BINARY: u8 = 2;

/// One socket.
pub(super) struct Raw {
    tcp: TcpStream,
    buffer: Vec<u8>,
    filled: usize,
}

pub(super) fn lost(error: std::io::Error) -> Failure {
    Failure::new(Exit::Failed, "the load generator's connection failed").why(error)
}

impl Raw {
    /// Opens a WebSocket at `path` of `host:port`.
    pub(super) fn open(host: &str, path: &str) -> Result<Raw, Failure> {
        let mut tcp = TcpStream::connect(host).map_err(lost)?;
        tcp.set_nodelay(true).map_err(lost)?;
        tcp.write_all(handshake(host, path).as_bytes()).map_err(lost)?;
        let mut raw = Raw { tcp, buffer: vec![0; READ_BYTES], filled: 0 };
        let end = loop {
            raw.fill()?;
            let read = &raw.buffer[..raw.filled];
            if let Some(at) = find(read, b"\r\n\r\n") {
                break at + 4;
            }
        };
        if !raw.buffer.starts_with(b"HTTP/1.1 101") {
            let said = String::from_utf8_lossy(&raw.buffer[..end]).into_owned();
            return Err(Failure::new(Exit::Failed, "no WebSocket there").why(said));
        }
        raw.buffer.copy_within(end..raw.filled, 0);
        raw.filled -= end;
        Ok(raw)
    }

    /// The same socket, for another thread that only reads, or only writes.
    pub(super) fn split(self) -> Result<(Raw, TcpStream), Failure> {
        let writer = self.tcp.try_clone().map_err(lost)?;
        Ok((self, writer))
    }

    pub(super) fn say(&mut self, text: &str) -> Result<(), Failure> {
        let mut out = Vec::new();
        push(&mut out, TEXT, text.as_bytes());
        self.tcp.write_all(&out).map_err(lost)
    }

    /// Writes frames that are made already.
    pub(super) fn write(&mut self, frames: &[u8]) -> Result<(), Failure> {
        self.tcp.write_all(frames).map_err(lost)
    }

    /// Ends the connection without a word.
    pub(super) fn close(&self) {
        let _ = self.tcp.shutdown(std::net::Shutdown::Both);
    }

    fn fill(&mut self) -> Result<(), Failure> {
        if self.filled == self.buffer.len() {
            self.buffer.resize(2 * self.filled, 0); // a server may put a lot into one frame
        }
        match self.tcp.read(&mut self.buffer[self.filled..]).map_err(lost)? {
            0 => {
                Err(Failure::new(Exit::Failed, "the server closed the load generator's connection"))
            }
            read => {
                self.filled += read;
                Ok(())
            }
        }
    }

    /// Hands over the payloads that are whole; reads once if none is.
    pub(super) fn read(&mut self, mut on: impl FnMut(&[u8])) -> Result<(), Failure> {
        let mut rest = frames(&self.buffer[..self.filled], &mut on);
        if rest == 0 {
            self.fill()?;
            rest = frames(&self.buffer[..self.filled], &mut on);
        }
        let kept = self.filled - rest;
        self.buffer.copy_within(rest..self.filled, 0);
        self.filled = kept;
        Ok(())
    }

    /// Reads until a text holds `what`.
    pub(super) fn until(&mut self, what: &str) -> Result<(), Failure> {
        let mut found = false;
        while !found {
            self.read(|payload| {
                found |= find(payload, what.as_bytes()).is_some();
            })?;
        }
        Ok(())
    }
}

/// What a client says to open a WebSocket.
pub(super) fn handshake(host: &str, path: &str) -> String {
    format!(
        "GET {path} HTTP/1.1\r\nhost: {host}\r\nconnection: upgrade\r\nupgrade: websocket\r\n\
         sec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    )
}

/// Hands over the payloads of whole frames that a server sent; answers where the rest begins.
pub(super) fn frames(bytes: &[u8], on: &mut impl FnMut(&[u8])) -> usize {
    let mut at = 0;
    while let Some(head) = bytes.get(at..at + 2) {
        let (length, from) = match head[1] & 0x7f {
            126 => match bytes.get(at + 2..at + 4) {
                Some(two) => (usize::from(u16::from_be_bytes([two[0], two[1]])), at + 4),
                None => break,
            },
            127 => match bytes.get(at + 2..at + 10).and_then(|eight| eight.try_into().ok()) {
                Some(eight) => (u64::from_be_bytes(eight) as usize, at + 10),
                None => break,
            },
            length => (usize::from(length), at + 2),
        };
        let Some(payload) = bytes.get(from..from + length) else { break };
        if head[0] & 0x0f <= BINARY {
            on(payload);
        }
        at = from + length;
    }
    at
}

/// Appends a client's frame.
pub(super) fn push(out: &mut Vec<u8>, opcode: u8, payload: &[u8]) {
    push_head(out, opcode, payload.len());
    out.extend_from_slice(payload);
}

/// Appends the head of a client's frame of so many bytes.
pub(super) fn push_head(out: &mut Vec<u8>, opcode: u8, length: usize) {
    out.push(0x80 | opcode);
    match length {
        length @ 0..126 => out.push(0x80 | length as u8),
        length @ 126..0x1_0000 => {
            out.push(0x80 | 126);
            out.extend_from_slice(&(length as u16).to_be_bytes());
        }
        length => {
            out.push(0x80 | 127);
            out.extend_from_slice(&(length as u64).to_be_bytes());
        }
    }
    out.extend_from_slice(&[0; 4]);
}

/// The number behind `name` in a JSON text that is known to have it.
pub(super) fn number_after(text: &[u8], name: &[u8]) -> Option<u64> {
    let at = find(text, name)? + name.len();
    let digits = text[at..].iter().take_while(|byte| byte.is_ascii_digit());
    Some(digits.fold(0, |number, digit| number * 10 + u64::from(digit - b'0')))
}

/// Where `part` begins in `text`.
pub(super) fn find(text: &[u8], part: &[u8]) -> Option<usize> {
    memchr::memmem::find(text, part)
}
