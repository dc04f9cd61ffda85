//! From bytes to messages, wherever the bytes are split.
//!
//! Promise: the same bytes give the same messages, whatever pieces they come in; a frame is
//! refused as soon as its head says what is wrong with it. Whole frames are read where they lie;
//! only what is unfinished is kept, so an idle reader holds no buffer.
//! Limits: `TEXT_BYTES_MAX`.

use super::frame::{Began, Broken, HEAD_BYTES_MAX, Head, Opcode, mask};
use std::mem;
use std::ops::ControlFlow;

/// Bytes of one text, put together from its fragments.
pub(crate) const TEXT_BYTES_MAX: usize = 128 * 1024;

/// A message, or part of the protocol's own talk.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Received<'a> {
    /// A whole text.
    Text(&'a str),
    /// Is to be answered with a pong of the same bytes.
    Ping(&'a [u8]),
    /// An answer to a ping.
    Pong,
    /// The other end closes, with this code and reason if it said them.
    Close(Option<(u16, &'a str)>),
}

/// Whose frames are read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Sender {
    /// They must be masked.
    Client,
    /// They must not be.
    Server,
}

/// Reads one direction of a connection.
#[derive(Debug)]
pub(crate) struct Reader {
    /// What has not been read of the bytes that came.
    kept: Vec<u8>,
    /// The fragments of an unfinished text.
    text: Vec<u8>,
    fragmented: bool,
    from: Sender,
}

impl Reader {
    /// Reads what `from` sends.
    pub(crate) fn new(from: Sender) -> Reader {
        Reader { kept: Vec::new(), text: Vec::new(), fragmented: false, from }
    }

    /// Whether a message has begun and not ended.
    pub(crate) fn is_within(&self) -> bool {
        self.fragmented || !self.kept.is_empty()
    }

    /// Takes bytes that came before anybody listened; the next call of [`Reader::feed`] tells them.
    pub(crate) fn keep(&mut self, bytes: &[u8]) {
        self.kept.extend_from_slice(bytes);
    }

    /// Tells `on` every message that `input` completes, in order, until it says stop: then the
    /// rest is kept, and the next call goes on with it. `input` is changed where it is masked.
    pub(crate) fn feed(
        &mut self,
        input: &mut [u8],
        on: &mut impl FnMut(Received<'_>) -> ControlFlow<()>,
    ) -> Result<ControlFlow<()>, Broken> {
        let mut input = input;
        while !self.kept.is_empty() {
            let lacks = self.lacks(&self.kept)?;
            if lacks > input.len() || (lacks > 0 && input.is_empty()) {
                self.kept.extend_from_slice(input);
                return Ok(ControlFlow::Continue(()));
            }
            let (part, rest) = input.split_at_mut(lacks);
            self.kept.extend_from_slice(part);
            input = rest;
            if self.lacks(&self.kept)? > 0 {
                continue;
            }
            let mut kept = mem::take(&mut self.kept);
            let (used, flow) = self.read(&mut kept, on)?;
            if used < kept.len() {
                kept.drain(..used);
                self.kept = kept;
            }
            if flow.is_break() {
                self.kept.extend_from_slice(input);
                return Ok(flow);
            }
        }
        let (used, flow) = self.read(input, on)?;
        self.kept.extend_from_slice(&input[used..]);
        Ok(flow)
    }

    /// How many bytes the first frame in `bytes` lacks, or its head.
    fn lacks(&self, bytes: &[u8]) -> Result<usize, Broken> {
        Ok(match Head::read(&bytes[..bytes.len().min(HEAD_BYTES_MAX)])? {
            Began::Lacks(lacks) => lacks,
            Began::Whole(head) => (head.bytes + self.check(&head)?).saturating_sub(bytes.len()),
        })
    }

    /// Reads whole frames; answers the bytes of those that were read.
    fn read(
        &mut self,
        bytes: &mut [u8],
        on: &mut impl FnMut(Received<'_>) -> ControlFlow<()>,
    ) -> Result<(usize, ControlFlow<()>), Broken> {
        let mut used = 0;
        loop {
            let rest = &mut bytes[used..];
            let Began::Whole(head) = Head::read(rest)? else { break };
            let length = self.check(&head)?;
            let Some(payload) = rest[head.bytes..].get_mut(..length) else { break };
            if let Some(key) = head.mask {
                mask(payload, key);
            }
            used += head.bytes + length;
            if self.take(&head, payload, on)?.is_break() {
                return Ok((used, ControlFlow::Break(())));
            }
        }
        Ok((used, ControlFlow::Continue(())))
    }

    /// Whether a frame may come now; answers its length.
    fn check(&self, head: &Head) -> Result<usize, Broken> {
        if head.mask.is_some() != (self.from == Sender::Client) {
            return Err(Broken::Protocol("clients mask their frames, and nobody else does"));
        }
        match head.opcode {
            Opcode::Binary => return Err(Broken::Binary),
            Opcode::Text if self.fragmented => {
                return Err(Broken::Protocol("a message begins within another"));
            }
            Opcode::Continuation if !self.fragmented => {
                return Err(Broken::Protocol("a continuation of nothing"));
            }
            _ => {}
        }
        let room = (TEXT_BYTES_MAX - self.text.len()) as u64;
        if head.length > room && matches!(head.opcode, Opcode::Text | Opcode::Continuation) {
            return Err(Broken::TooLarge);
        }
        Ok(head.length as usize)
    }

    fn take(
        &mut self,
        head: &Head,
        payload: &[u8],
        on: &mut impl FnMut(Received<'_>) -> ControlFlow<()>,
    ) -> Result<ControlFlow<()>, Broken> {
        Ok(match head.opcode {
            Opcode::Text if head.last => on(Received::Text(text_of(payload)?)),
            Opcode::Ping => on(Received::Ping(payload)),
            Opcode::Pong => on(Received::Pong),
            Opcode::Close => on(Received::Close(close_of(payload)?)),
            Opcode::Text | Opcode::Continuation | Opcode::Binary => {
                self.text.extend_from_slice(payload);
                self.fragmented = !head.last;
                if self.fragmented {
                    return Ok(ControlFlow::Continue(()));
                }
                let whole = mem::take(&mut self.text);
                on(Received::Text(text_of(&whole)?))
            }
        })
    }
}

fn text_of(bytes: &[u8]) -> Result<&str, Broken> {
    std::str::from_utf8(bytes).map_err(|_| Broken::NotUtf8)
}

fn close_of(payload: &[u8]) -> Result<Option<(u16, &str)>, Broken> {
    let Some((code, reason)) = payload.split_first_chunk() else {
        let empty = payload.is_empty();
        return if empty { Ok(None) } else { Err(Broken::Protocol("half of a close code")) };
    };
    let (code, reason) = (u16::from_be_bytes(*code), text_of(reason)?);
    match code {
        1000..=1003 | 1007..=1014 | 3000..=4999 => Ok(Some((code, reason))),
        _ => Err(Broken::Protocol("a close code that nobody may send")),
    }
}

#[cfg(test)]
mod tests;
