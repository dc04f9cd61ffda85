//! Messages that were handed to the transport a moment ago.
//!
//! They count as received, and still may be lost with their connection: a stream that is taken up
//! again is told them again.
//! Limits: `TAIL_MESSAGES_MAX` and `TAIL_BYTES_MAX` a stream, `TAIL_KEPT` after its end.

use folkmoot_core::chat::words::Message;
use folkmoot_core::id::ResumeToken;
use folkmoot_core::limits::MESSAGE_COST_BYTES;
use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// Messages of one stream.
const TAIL_MESSAGES_MAX: usize = 256;
/// Bytes of them.
const TAIL_BYTES_MAX: usize = 64 * 1024;
/// How long they are kept without a stream: as long as its session is, by default.
const TAIL_KEPT: Duration = Duration::from_secs(10);

/// The last messages of one stream, by their numbers.
#[derive(Debug, Default)]
struct Tail {
    messages: VecDeque<(u64, Arc<Message>)>,
    bytes: usize,
}

impl Tail {
    fn push(&mut self, number: u64, message: Arc<Message>) {
        self.bytes += cost(&message);
        self.messages.push_back((number, message));
        while self.messages.len() > TAIL_MESSAGES_MAX || self.bytes > TAIL_BYTES_MAX {
            let Some((_, first)) = self.messages.pop_front() else { break };
            self.bytes -= cost(&first);
        }
    }
}

fn cost(message: &Message) -> usize {
    message.body.len() + MESSAGE_COST_BYTES
}

/// The last messages of all streams.
#[derive(Debug, Default)]
pub(crate) struct Tails(Mutex<Kept>);

#[derive(Debug, Default)]
struct Kept {
    by_token: HashMap<ResumeToken, Arc<Mutex<Tail>>>,
    /// Streams that have ended, in the order of their ends.
    ended: VecDeque<(Instant, ResumeToken)>,
}

impl Kept {
    /// Forgets those of streams that ended long ago, unless they were taken up again.
    fn forget(&mut self, now: Instant) {
        while let Some((_, token)) = self.ended.pop_front_if(|(end, _)| *end + TAIL_KEPT <= now) {
            if self.by_token.get(&token).is_some_and(|tail| Arc::strong_count(tail) == 1) {
                self.by_token.remove(&token);
            }
        }
    }
}

impl Tails {
    /// The tail of a stream that begins, or goes on.
    pub(super) fn open(self: &Arc<Tails>, token: ResumeToken) -> Open {
        let mut kept = self.lock();
        kept.forget(Instant::now());
        let tail = kept.by_token.entry(token).or_default().clone();
        drop(kept);
        Open { tails: self.clone(), token, tail }
    }

    fn lock(&self) -> MutexGuard<'_, Kept> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The tail of a stream that is open.
#[derive(Debug)]
pub(super) struct Open {
    tails: Arc<Tails>,
    token: ResumeToken,
    tail: Arc<Mutex<Tail>>,
}

impl Open {
    /// Adds a message that was handed to the transport.
    pub(super) fn push(&self, number: u64, message: Arc<Message>) {
        self.lock().push(number, message);
    }

    /// The messages behind a number.
    pub(super) fn after(&self, number: u64) -> Vec<(u64, Arc<Message>)> {
        let tail = self.lock();
        tail.messages.iter().filter(|(n, _)| *n > number).cloned().collect()
    }

    fn lock(&self) -> MutexGuard<'_, Tail> {
        self.tail.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        let now = Instant::now();
        let mut kept = self.tails.lock();
        kept.ended.push_back((now, self.token));
        kept.forget(now);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use folkmoot_core::chat::words::{Kind, Target};
    use folkmoot_core::id::{ClientId, Name};

    fn message(bytes: usize) -> Arc<Message> {
        let from = Name::new("anna").unwrap();
        let (client, kind, to) = (ClientId(1), Kind::Message, Target::Everyone);
        let body = vec![b'1'; bytes].into();
        Arc::new(Message { from, client, number: 1, to, kind, sent_ms: 0, remote: false, body })
    }

    #[test]
    fn the_last_messages_are_kept_within_the_limits() {
        let tails = Arc::new(Tails::default());
        let open = tails.open(ResumeToken([1; 16]));
        (1..=300).for_each(|n| open.push(n, message(10)));
        let numbers: Vec<u64> = open.after(40).iter().map(|(n, _)| *n).collect();
        assert_eq!(numbers, (45..=300).collect::<Vec<_>>());
        (301..=310).for_each(|n| open.push(n, message(20_000)));
        assert_eq!(open.after(0).len(), 3);
        open.push(311, message(TAIL_BYTES_MAX));
        assert!(open.after(0).is_empty() && open.lock().bytes == 0);
    }

    #[test]
    fn a_tail_outlives_its_stream_for_a_while_and_is_shared_by_the_next() {
        let tails = Arc::new(Tails::default());
        let token = ResumeToken([1; 16]);
        let first = tails.open(token);
        first.push(1, message(1));
        let second = tails.open(token);
        drop(first);
        assert_eq!(second.after(0).len(), 1);
        // The end of the first does not end what the second has.
        tails.lock().forget(Instant::now() + TAIL_KEPT);
        assert_eq!(tails.lock().by_token.len(), 1);
        drop(second);
        assert_eq!(tails.open(token).after(0).len(), 1);
        tails.lock().forget(Instant::now() + TAIL_KEPT);
        assert_eq!(tails.lock().by_token.len(), 0);
    }
}
