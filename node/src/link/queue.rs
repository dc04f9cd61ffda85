//! What waits to be sent on one link, and whether the link is to end.
//!
//! Promise: handing over a frame never blocks. At half full the engine is told that the link
//! cannot keep up, once, and again when all is written; a link on which the limit is reached all
//! the same is closed. The engine hears nothing about a link after its end.
//! Limits: `LINK_QUEUE_BYTES_MAX`.

use crate::inbox::Inbox;
use bytes::Bytes;
use folkmoot_core::engine::Input;
use folkmoot_core::id::LinkId;
use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};
use tokio::sync::{Notify, watch};

/// Bytes that may wait on one link.
pub(super) const LINK_QUEUE_BYTES_MAX: usize = 16 * 1024 * 1024;
/// Bytes at which the link counts as full.
pub(super) const LINK_QUEUE_BYTES_FULL: usize = LINK_QUEUE_BYTES_MAX / 2;
/// What a frame counts beside its bytes.
const FRAME_COST_BYTES: usize = 64;
/// Bytes that the writer takes at once.
const TAKE_BYTES: usize = 256 * 1024;

/// Code and words of a close message.
pub(super) type Farewell = (u16, &'static str);

pub(super) struct SendQueue {
    link: LinkId,
    inbox: Inbox,
    state: Mutex<State>,
    filled: Notify,
    closing: watch::Sender<bool>,
}

#[derive(Default)]
struct State {
    frames: VecDeque<Bytes>,
    /// Of the frames here and of those that the writer has taken but not written.
    bytes: usize,
    full: bool,
    /// Whether the engine was told that the link is gone.
    over: bool,
    farewell: Option<Farewell>,
}

/// What the writer is to do next.
pub(super) enum Next {
    /// Write the frames that were appended, and flush if nothing more waits.
    Write { more: bool },
    /// Say this, if anything, and end.
    End(Option<Farewell>),
}

impl SendQueue {
    pub(super) fn new(link: LinkId, inbox: Inbox) -> SendQueue {
        SendQueue {
            link,
            inbox,
            state: Mutex::default(),
            filled: Notify::new(),
            closing: watch::Sender::new(false),
        }
    }

    /// Hands over frames, which wakes the writer once. After a close they go nowhere.
    pub(super) fn push(&self, frames: impl IntoIterator<Item = Bytes>) {
        let mut state = self.lock();
        let was_empty = state.frames.is_empty();
        for frame in frames {
            self.push_locked(&mut state, frame);
        }
        if was_empty && !state.frames.is_empty() {
            self.filled.notify_one();
        }
    }

    fn push_locked(&self, state: &mut State, frame: Bytes) {
        if *self.closing.borrow() {
            return;
        }
        state.bytes += frame.len() + FRAME_COST_BYTES;
        if state.bytes > LINK_QUEUE_BYTES_MAX {
            state.frames.clear();
            self.close_locked(state, Some((4310, "does not keep up: 16 MiB are waiting")));
            return;
        }
        if !state.full && state.bytes > LINK_QUEUE_BYTES_FULL {
            state.full = true;
            self.tell(state, Input::LinkFull(self.link));
        }
        state.frames.push_back(frame);
    }

    /// Takes frames to write, as soon as there are any.
    pub(super) async fn next(&self, into: &mut Vec<Bytes>) -> Next {
        loop {
            if let Some(next) = self.next_now(into) {
                return next;
            }
            self.filled.notified().await;
        }
    }

    fn next_now(&self, into: &mut Vec<Bytes>) -> Option<Next> {
        let mut state = self.lock();
        let mut bytes = 0;
        while bytes < TAKE_BYTES {
            let Some(frame) = state.frames.pop_front() else { break };
            bytes += frame.len();
            into.push(frame);
        }
        if !into.is_empty() {
            return Some(Next::Write { more: !state.frames.is_empty() });
        }
        self.closing.borrow().then_some(Next::End(state.farewell))
    }

    /// Frames that were taken are written.
    pub(super) fn written(&self, frames: usize, bytes: usize) {
        let mut state = self.lock();
        state.bytes = state.bytes.saturating_sub(bytes + frames * FRAME_COST_BYTES);
        if state.full && state.bytes == 0 {
            state.full = false;
            self.tell(&state, Input::LinkDrained(self.link));
        }
    }

    /// Ends the link once what waits is written; the first farewell counts.
    pub(super) fn close(&self, farewell: Option<Farewell>) {
        self.close_locked(&mut self.lock(), farewell);
    }

    /// Ends the link and tells the engine that it is gone.
    pub(super) fn end(&self) {
        let mut state = self.lock();
        self.close_locked(&mut state, None);
        self.tell(&state, Input::LinkDown(self.link));
        state.over = true;
    }

    /// Returns when the link is to end.
    pub(super) async fn closing(&self) {
        // An error would mean that `self` is gone.
        let _ = self.closing.subscribe().wait_for(|closing| *closing).await;
    }

    fn close_locked(&self, state: &mut State, farewell: Option<Farewell>) {
        if !self.closing.send_replace(true) {
            state.farewell = farewell;
            self.filled.notify_one();
        }
    }

    /// Called with the lock held, so that the engine hears things in the order they happened.
    fn tell(&self, state: &State, input: Input) {
        if !state.over {
            self.inbox.send_now(input);
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::inbox::{Receiver, inbox};
    use std::time::Instant;

    const FRAME: usize = 64 * 1024 - FRAME_COST_BYTES;

    fn queue() -> (SendQueue, Receiver) {
        let (inbox, receiver) = inbox();
        (SendQueue::new(LinkId(1), inbox), receiver)
    }

    fn told(receiver: &Receiver) -> Vec<String> {
        let mut inputs = Vec::new();
        receiver.receive(&mut inputs, Some(Instant::now()));
        inputs.iter().map(|input| format!("{input:?}")).collect()
    }

    fn write_all(queue: &SendQueue) -> usize {
        let (mut count, mut frames) = (0, Vec::new());
        while let Some(Next::Write { .. }) = queue.next_now(&mut frames) {
            count += frames.len();
            queue.written(frames.len(), frames.iter().map(Bytes::len).sum());
            frames.clear();
        }
        count
    }

    #[test]
    fn a_link_is_full_at_the_half_and_drained_when_all_is_written() {
        let (queue, receiver) = queue();
        for _ in 0..128 {
            queue.push([Bytes::from(vec![0; FRAME])]);
        }
        assert!(told(&receiver).is_empty());
        queue.push([Bytes::new()]);
        queue.push([Bytes::new()]);
        assert_eq!(told(&receiver), ["LinkFull(LinkId(1))"]);
        let mut frames = Vec::new();
        assert!(matches!(queue.next_now(&mut frames), Some(Next::Write { more: true })));
        queue.written(frames.len(), frames.iter().map(Bytes::len).sum());
        assert!(told(&receiver).is_empty());
        assert_eq!(write_all(&queue) + frames.len(), 130);
        assert_eq!(told(&receiver), ["LinkDrained(LinkId(1))"]);
    }

    #[test]
    fn a_link_that_reaches_the_limit_is_closed() {
        let (queue, receiver) = queue();
        for _ in 0..256 {
            queue.push([Bytes::from(vec![0; FRAME])]);
        }
        assert!(!*queue.closing.borrow());
        queue.push([Bytes::from(vec![0])]);
        assert_eq!(told(&receiver), ["LinkFull(LinkId(1))"]);
        let next = queue.next_now(&mut Vec::new());
        assert!(matches!(next, Some(Next::End(Some((4310, _))))));
    }

    #[test]
    fn what_was_handed_over_before_a_close_is_written_before_it() {
        let (queue, receiver) = queue();
        queue.push([Bytes::from_static(b"last words")]);
        queue.close(Some((4000, "because")));
        queue.close(Some((4001, "too late")));
        queue.push([Bytes::from_static(b"too late")]);
        assert_eq!(write_all(&queue), 1);
        let next = queue.next_now(&mut Vec::new());
        assert!(matches!(next, Some(Next::End(Some((4000, "because"))))));
        assert!(told(&receiver).is_empty());
    }

    #[test]
    fn the_engine_hears_nothing_after_the_end() {
        let (queue, receiver) = queue();
        for _ in 0..200 {
            queue.push([Bytes::from(vec![0; FRAME])]);
        }
        queue.end();
        queue.end();
        write_all(&queue);
        assert_eq!(told(&receiver), ["LinkFull(LinkId(1))", "LinkDown(LinkId(1))"]);
    }
}
