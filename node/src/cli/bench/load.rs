//! The load: entries of 100 bytes, and a client that keeps a number of requests in flight.

use super::report::record;
use super::{Failure, differs};
use crate::cli::failure::Exit;
use bytes::Bytes;
use folkmoot::Node;
use folkmoot_core::access::Principal;
use folkmoot_core::data::read::{self, Value};
use folkmoot_core::id::Path;
use folkmoot_core::limits::BATCH_ITEMS_MAX;
use folkmoot_core::request::{DataRequest, Reply, Request, Write};
use hdrhistogram::Histogram;
use std::collections::VecDeque;
use std::ops::Range;
use std::time::Instant;

/// Bytes of a value.
pub(crate) const VALUE_BYTES: usize = 100;

/// The path of entry `index`.
pub(crate) fn path(index: u64) -> Path {
    Path::new(path_text(index)).expect("the paths of the load are right")
}

/// The same as text.
pub(crate) fn path_text(index: u64) -> String {
    format!("bench/{:03}/{:07}", index % 1_000, index)
}

/// A JSON value of 100 bytes that tells which write it was.
pub(crate) fn value(number: u64) -> String {
    let mut text = format!("{{\"n\":{number},\"pad\":\"");
    let pad = VALUE_BYTES - text.len() - 2;
    text.extend(std::iter::repeat_n('x', pad));
    text += "\"}";
    text
}

/// xorshift64*: the same numbers in every round.
pub(crate) struct Random(pub(crate) u64);

impl Random {
    /// A number below `end`.
    pub(crate) fn below(&mut self, end: u64) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 11) % end
    }
}

/// Single puts, so many at once; `last[i]` is the number that entry i was given last.
pub(crate) async fn puts(
    node: Node,
    count: u64,
    in_flight: usize,
    last: &mut [u64],
    latency: &mut Histogram<u64>,
) -> Result<(), Failure> {
    let session = node.session(Principal::Owner);
    let mut random = Random(0x5eed);
    let mut waiting = VecDeque::with_capacity(in_flight);
    let mut replies = Vec::new();
    let mut sent = 0;
    while sent < count || !waiting.is_empty() {
        while sent < count && waiting.len() < in_flight {
            sent += 1;
            let entry = random.below(last.len() as u64);
            last[entry as usize] = sent;
            let write = Write::put(path(entry), Bytes::from(value(sent)));
            let began = Instant::now();
            let id = session.send(Request::Data(DataRequest::Write(vec![write]))).await;
            waiting.push_back((id.map_err(refused)?, began));
        }
        session.next_replies(&mut replies).await;
        if replies.is_empty() {
            return Err(differs("puts", sent, "a closed session"));
        }
        for (id, reply) in replies.drain(..) {
            let Reply::Written(_) = reply else { return Err(strange(&reply)) };
            let Some((expected, began)) = waiting.pop_front() else {
                return Err(differs("puts", "no more requests", id));
            };
            if expected != id {
                return Err(differs("the order of the replies", expected, id));
            }
            record(latency, began);
        }
    }
    Ok(())
}

/// These entries, in batches of 1,000, some of them in flight.
pub(crate) async fn fill(node: Node, entries: Range<u64>) -> Result<(), Failure> {
    const IN_FLIGHT: usize = 4;
    let session = node.session(Principal::Owner);
    let mut waiting = 0;
    let mut next = entries.start;
    while next < entries.end || waiting > 0 {
        while next < entries.end && waiting < IN_FLIGHT {
            let end = entries.end.min(next + BATCH_ITEMS_MAX as u64);
            let writes =
                (next..end).map(|index| Write::put(path(index), Bytes::from(value(index))));
            let request = Request::Data(DataRequest::Write(writes.collect()));
            session.send(request).await.map_err(refused)?;
            waiting += 1;
            next = end;
        }
        match session.next_reply().await {
            Some((_, Reply::Written(_))) => waiting -= 1,
            Some((_, reply)) => return Err(strange(&reply)),
            None => return Err(differs("filling", next, "a closed session")),
        }
    }
    Ok(())
}

/// Whether the node holds just the entries that were given a number, with that number.
pub(crate) fn verify(node: &Node, last: &[u64]) -> Result<(), Failure> {
    let snapshot = node.snapshot();
    let mut held = 0_usize;
    let mut wrong = None;
    let scanned = read::scan(&snapshot, "bench/", None, Node::wall_ms(), &mut |found| {
        held += 1;
        let text = String::from_utf8_lossy(found.path.as_bytes()).into_owned();
        let index = text.rsplit('/').next().and_then(|digits| digits.parse::<usize>().ok());
        let number = index.and_then(|index| last.get(index)).copied().unwrap_or(0);
        if found.value != Value::Plain(Bytes::from(value(number))) {
            wrong = Some((text, number, found.value));
        }
        wrong.is_none()
    });
    scanned.map_err(|error| Failure::new(Exit::Failed, "the store cannot be read").why(error))?;
    if let Some((path, number, value)) = wrong {
        return Err(differs(&path, number, value));
    }
    let sent = last.iter().filter(|number| **number > 0).count();
    if held == sent { Ok(()) } else { Err(differs("entries", sent, held)) }
}

/// How many entries a node holds.
pub(crate) fn count(node: &Node) -> u64 {
    let mut held = 0;
    let scanned = read::scan(&node.snapshot(), "bench/", None, Node::wall_ms(), &mut |_| {
        held += 1;
        true
    });
    scanned.map_or(0, |()| held)
}

fn refused(code: folkmoot_core::error::ErrorCode) -> Failure {
    Failure::new(Exit::Failed, "the node refused a request").why(code)
}

fn strange(reply: &Reply) -> Failure {
    Failure::new(Exit::Failed, "the node did not write").why(format!("{reply:?}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_has_a_hundred_bytes() {
        for number in [0, 7, 123_456_789] {
            assert_eq!(value(number).len(), VALUE_BYTES);
            serde_json::from_str::<serde_json::Value>(&value(number)).unwrap();
        }
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_round_fails_if_what_is_held_is_not_what_was_sent() {
        let dir = tempfile::tempdir().unwrap();
        let builder = Node::builder().listen("127.0.0.1:0").data_dir(dir.path());
        let node = builder.secret("a secret for measuring").start().await.unwrap();
        fill(node.clone(), 1..3).await.unwrap();
        assert!(verify(&node, &[0, 1, 2]).is_ok());
        for wrong in [&[0, 1, 7][..], &[0, 1], &[0, 1, 2, 3]] {
            assert_eq!(verify(&node, wrong).unwrap_err().exit, Exit::Failed, "{wrong:?}");
        }
        node.close().await;
    }
}
