//! Reliable channels: between any two nodes, over however many hops.
//!
//! Promise: messages from one node to another arrive once and in order, or, if either node restarts
//! or is out of reach for long, not at all. Messages: data and cumulative acknowledgements inside
//! unicasts, fenced by the boot counters of both nodes. Keys: none. Repair: resent after a pause
//! that doubles, and at once after a reroute. Limits: `CHANNEL_*`, `CHANNELS_MAX`.

use crate::error::ErrorCode;
use crate::id::NodeId;
use crate::limits::{
    CHANNEL_QUEUE_BYTES_MAX, CHANNEL_QUEUE_MAX, CHANNEL_WINDOW_BYTES_MAX, CHANNEL_WINDOW_MAX,
    CHANNELS_MAX, FRAME_BYTES_MAX, RESEND_MS_MAX, RESEND_MS_MIN,
};
use crate::time::Time;
use crate::wire::codec::{Decoded, Malformed, Reader, put_varint};
use crate::wire::envelope::Tag;
use bytes::{BufMut, Bytes, BytesMut};
use std::collections::{BTreeMap, VecDeque};

const DATA: u8 = 0;
pub(super) const ACK: u8 = 1;

/// Both directions between this node and one other.
#[derive(Debug)]
struct Channel {
    /// The run of the other node that all of this is about.
    boot: u64,
    next: u64,
    window: VecDeque<(u64, Tag, Bytes)>,
    window_bytes: usize,
    queue: VecDeque<(Tag, Bytes)>,
    queue_bytes: usize,
    resend_at: Option<Time>,
    pause_ms: u64,
    /// Everything below was received.
    expected: u64,
    early: BTreeMap<u64, (Tag, Bytes)>,
    early_bytes: usize,
}

impl Channel {
    fn new(boot: u64) -> Channel {
        Channel {
            boot,
            next: 1,
            window: VecDeque::new(),
            window_bytes: 0,
            queue: VecDeque::new(),
            queue_bytes: 0,
            resend_at: None,
            pause_ms: RESEND_MS_MIN,
            expected: 1,
            early: BTreeMap::new(),
            early_bytes: 0,
        }
    }
}

/// All channels of this node.
#[derive(Debug)]
pub(crate) struct Channels {
    boot: u64,
    channels: BTreeMap<NodeId, Channel>,
}

/// What a channel wants sent: unicast bodies, in two pieces.
pub(crate) type ToSend = Vec<(NodeId, Bytes, Bytes)>;

impl Channels {
    pub(crate) fn new(boot: u64) -> Channels {
        Channels { boot, channels: BTreeMap::new() }
    }

    /// The channel to `node`, whose current run is `boot`; what belonged to an earlier run is gone.
    fn channel(&mut self, node: NodeId, boot: u64) -> &mut Channel {
        let channel = self.channels.entry(node).or_insert_with(|| Channel::new(boot));
        if channel.boot < boot {
            *channel = Channel::new(boot);
        }
        channel
    }

    /// A node was out of reach for long: what waits for it is not said any more. Its sequences are,
    /// each with an empty message, for the other end may have some of them.
    pub(crate) fn lose(&mut self, node: NodeId) {
        let Some(channel) = self.channels.get_mut(&node) else { return };
        (channel.queue, channel.queue_bytes, channel.window_bytes) = Default::default();
        for (_, tag, body) in &mut channel.window {
            (*tag, *body) = (Tag::MESH, Bytes::new());
        }
        channel.early.clear();
        channel.early_bytes = 0;
    }

    /// Queues a message for `node`, whose current run is `boot`.
    pub(crate) fn send(
        &mut self,
        now: Time,
        (node, boot): (NodeId, u64),
        tag: Tag,
        body: Bytes,
        out: &mut ToSend,
    ) -> Result<(), ErrorCode> {
        let own_boot = self.boot;
        let channel = self.channel(node, boot);
        let bytes = channel.queue_bytes + body.len();
        if channel.queue.len() >= CHANNEL_QUEUE_MAX || bytes > CHANNEL_QUEUE_BYTES_MAX {
            return Err(ErrorCode::Busy);
        }
        channel.queue_bytes = bytes;
        channel.queue.push_back((tag, body));
        channel.fill(now, own_boot, node, out);
        Ok(())
    }

    /// A unicast for this node. Returns what is to be delivered, in order.
    pub(crate) fn on_message(
        &mut self,
        now: Time,
        (node, boot): (NodeId, u64),
        body: Bytes,
        out: &mut ToSend,
    ) -> Decoded<Vec<(Tag, Bytes)>> {
        let mut reader = Reader::new(body);
        let kind = reader.u8()?;
        let (from_boot, to_boot) = (reader.u64()?, reader.u64()?);
        let sequence = reader.varint()?;
        let own_boot = self.boot;
        let channel = self.channel(node, boot);
        if to_boot != own_boot || from_boot != channel.boot {
            return Ok(Vec::new());
        }
        match kind {
            ACK => {
                channel.on_ack(now, sequence);
                channel.fill(now, own_boot, node, out);
                Ok(Vec::new())
            }
            DATA => {
                let tag = Tag(reader.u8()?);
                let delivered = channel.on_data(sequence, tag, reader.rest());
                let ack = head(ACK, own_boot, channel.boot, channel.expected - 1);
                out.push((node, ack.freeze(), Bytes::new()));
                Ok(delivered)
            }
            _ => Err(Malformed),
        }
    }

    /// Forgets the channels of nodes that were removed; those of others that are not known just now
    /// only if there are too many: such a node knows where its end stands, and the two would
    /// not go together again before one of them begins a new run.
    pub(crate) fn retain(
        &mut self,
        is_removed: impl Fn(NodeId) -> bool,
        is_known: impl Fn(NodeId) -> bool,
    ) {
        self.channels.retain(|node, _| !is_removed(*node));
        if self.channels.len() > CHANNELS_MAX {
            self.channels.retain(|node, _| is_known(*node));
        }
    }

    /// The way to `node` changed: what was on the old way may be lost.
    pub(crate) fn on_reroute(&mut self, now: Time) {
        for channel in self.channels.values_mut().filter(|c| !c.window.is_empty()) {
            channel.resend_at = Some(now);
            channel.pause_ms = RESEND_MS_MIN;
        }
    }

    /// Sends again what is due, but not to where the way is full: it may be on the way still.
    pub(crate) fn on_tick(
        &mut self,
        now: Time,
        is_full: impl Fn(NodeId) -> bool,
        out: &mut ToSend,
    ) {
        for (node, channel) in &mut self.channels {
            if channel.resend_at.is_none_or(|at| at > now) {
                continue;
            }
            if is_full(*node) {
                channel.resend_at = Some(now + RESEND_MS_MIN);
                continue;
            }
            for (sequence, tag, body) in &channel.window {
                let head = data_head(self.boot, channel.boot, *sequence, *tag);
                out.push((*node, head, body.clone()));
            }
            channel.pause_ms = (2 * channel.pause_ms).min(RESEND_MS_MAX);
            channel.resend_at = Some(now + channel.pause_ms);
        }
    }

    pub(crate) fn next_tick(&self) -> Option<Time> {
        self.channels.values().filter_map(|channel| channel.resend_at).min()
    }
}

impl Channel {
    /// Moves messages from the queue into the window and sends them.
    fn fill(&mut self, now: Time, own_boot: u64, node: NodeId, out: &mut ToSend) {
        while self.window.len() < CHANNEL_WINDOW_MAX {
            let alone = self.window.is_empty();
            let room = CHANNEL_WINDOW_BYTES_MAX.saturating_sub(self.window_bytes);
            let fits = |(_, body): &mut (Tag, Bytes)| alone || body.len() <= room;
            let Some((tag, body)) = self.queue.pop_front_if(fits) else { break };
            self.queue_bytes -= body.len();
            self.window_bytes += body.len();
            out.push((node, data_head(own_boot, self.boot, self.next, tag), body.clone()));
            self.window.push_back((self.next, tag, body));
            self.next += 1;
            self.resend_at.get_or_insert(now + self.pause_ms);
        }
    }

    fn on_ack(&mut self, now: Time, upto: u64) {
        let before = self.window.len();
        while let Some((_, _, body)) = self.window.pop_front_if(|(at, ..)| *at <= upto) {
            self.window_bytes -= body.len();
        }
        if self.window.len() < before {
            self.pause_ms = RESEND_MS_MIN;
            self.resend_at = (!self.window.is_empty()).then(|| now + self.pause_ms);
        }
    }

    fn on_data(&mut self, sequence: u64, tag: Tag, body: Bytes) -> Vec<(Tag, Bytes)> {
        let ahead = sequence.checked_sub(self.expected);
        let in_window = ahead.is_some_and(|ahead| ahead < CHANNEL_WINDOW_MAX as u64);
        let fits = self.early_bytes + body.len() <= CHANNEL_WINDOW_BYTES_MAX || ahead == Some(0);
        if in_window && fits && !self.early.contains_key(&sequence) {
            self.early_bytes += body.len();
            // A small one shares the bytes of all the frame that it came in, so it is copied.
            let is_large = body.len() > FRAME_BYTES_MAX / 2;
            let body = if is_large { body } else { Bytes::copy_from_slice(&body) };
            self.early.insert(sequence, (tag, body));
        }
        let mut delivered = Vec::new();
        while let Some(message) = self.early.remove(&self.expected) {
            self.early_bytes -= message.1.len();
            delivered.push(message);
            self.expected += 1;
        }
        delivered
    }
}

pub(super) fn head(kind: u8, from_boot: u64, to_boot: u64, sequence: u64) -> BytesMut {
    let mut out = BytesMut::new();
    out.put_u8(kind);
    out.put_u64(from_boot);
    out.put_u64(to_boot);
    put_varint(&mut out, sequence);
    out
}

fn data_head(from_boot: u64, to_boot: u64, sequence: u64, tag: Tag) -> Bytes {
    let mut out = head(DATA, from_boot, to_boot, sequence);
    out.put_u8(tag.0);
    out.freeze()
}

#[cfg(test)]
pub(super) fn data(from_boot: u64, to_boot: u64, sequence: u64, tag: Tag, body: &[u8]) -> Bytes {
    [&data_head(from_boot, to_boot, sequence, tag), body].concat().into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rng::Rng;

    const A: NodeId = NodeId([1; 32]);
    const B: NodeId = NodeId([2; 32]);
    const TAG: Tag = Tag(9);

    fn send(channels: &mut Channels, n: u64, out: &mut ToSend) -> Result<(), ErrorCode> {
        channels.send(Time(0), (B, 20), TAG, n.to_be_bytes().to_vec().into(), out)
    }

    fn taken(wire: &mut ToSend) -> Vec<(NodeId, Bytes)> {
        let joined = |(to, head, rest): (NodeId, Bytes, Bytes)| (to, [head, rest].concat().into());
        wire.drain(..).map(joined).collect()
    }

    #[test]
    fn messages_arrive_once_and_in_order_over_a_network_that_loses_repeats_and_reorders() {
        for seed in 0..100 {
            let mut rng = Rng::new(seed);
            let (mut a, mut b) = (Channels::new(10), Channels::new(20));
            let (mut wire, mut got) = (Vec::new(), Vec::new());
            for n in 0..600 {
                send(&mut a, n, &mut wire).unwrap();
            }
            let mut now = Time(0);
            while got.len() < 600 {
                now = now + 100;
                assert!(now < Time(10_000_000), "seed {seed} never ends");
                for (to, body) in taken(&mut wire) {
                    for _ in 0..rng.below(3) {
                        if to == B {
                            let messages = b.on_message(now, (A, 10), body.clone(), &mut wire);
                            got.extend(messages.unwrap().into_iter().map(|(_, body)| body));
                        } else {
                            a.on_message(now, (B, 20), body.clone(), &mut wire).unwrap();
                        }
                    }
                }
                a.on_tick(now, |_| false, &mut wire);
                for last in (1..wire.len()).rev() {
                    wire.swap(last, rng.below(last as u64 + 1) as usize);
                }
            }
            let expected: Vec<_> = (0..600u64).map(|n| n.to_be_bytes().to_vec()).collect();
            assert_eq!(got, expected, "seed {seed}");
        }
    }

    #[test]
    fn what_waited_for_a_node_that_was_out_of_reach_is_not_said_later_and_the_next_is() {
        let (mut a, mut b) = (Channels::new(10), Channels::new(20));
        let mut wire = Vec::new();
        for n in 0..CHANNEL_WINDOW_MAX as u64 + 5 {
            send(&mut a, n, &mut wire).unwrap();
        }
        wire.clear();
        a.lose(B);
        let channel = &a.channels[&B];
        assert_eq!((channel.queue.len(), channel.queue_bytes, channel.window_bytes), (0, 0, 0));
        send(&mut a, 1_000, &mut wire).unwrap();
        a.on_tick(a.next_tick().unwrap(), |_| false, &mut wire);
        let mut got = Vec::new();
        while !wire.is_empty() {
            for (to, body) in taken(&mut wire) {
                match to {
                    B => got.extend(b.on_message(Time(0), (A, 10), body, &mut wire).unwrap()),
                    _ => drop(a.on_message(Time(0), (B, 20), body, &mut wire).unwrap()),
                }
            }
        }
        got.retain(|said| *said != (Tag::MESH, Bytes::new()));
        assert_eq!(got, [(TAG, 1_000u64.to_be_bytes().to_vec().into())]);
        assert!(a.channels[&B].window.is_empty());
    }

    #[test]
    fn nothing_is_sent_again_while_the_way_is_full() {
        let (mut a, mut wire) = (Channels::new(10), Vec::new());
        send(&mut a, 1, &mut wire).unwrap();
        wire.clear();
        for ms in (0..60_000).step_by(100) {
            a.on_tick(Time(ms), |_| true, &mut wire);
        }
        assert_eq!(wire, []);
        a.on_tick(a.next_tick().unwrap(), |_| false, &mut wire);
        assert_eq!(wire.len(), 1);
    }

    #[test]
    fn a_restart_of_the_receiver_drops_what_was_under_way() {
        let (mut a, mut wire) = (Channels::new(10), Vec::new());
        send(&mut a, 1, &mut wire).unwrap();
        a.send(Time(0), (B, 21), TAG, Bytes::from_static(b"new"), &mut wire).unwrap();
        let (mut b, mut got) = (Channels::new(21), Vec::new());
        for (_, body) in taken(&mut wire) {
            got.extend(b.on_message(Time(0), (A, 10), body, &mut wire).unwrap());
        }
        assert_eq!(got, [(TAG, Bytes::from_static(b"new"))]);
    }

    #[test]
    fn a_channel_at_the_limit_of_its_bytes_refuses_more_and_loses_nothing() {
        let size = CHANNEL_WINDOW_BYTES_MAX / 2;
        let (mut a, mut b) = (Channels::new(10), Channels::new(20));
        let mut wire = Vec::new();
        let mut sent = 0;
        while a.send(Time(0), (B, 20), TAG, vec![sent; size].into(), &mut wire).is_ok() {
            sent += 1;
        }
        assert_eq!(usize::from(sent), 2 + CHANNEL_QUEUE_BYTES_MAX / size);
        assert_eq!(wire.len(), 2, "what is in the window");
        let (mut got, mut now) = (Vec::new(), Time(0));
        while got.len() < usize::from(sent) {
            now = now + RESEND_MS_MAX;
            a.on_tick(now, |_| false, &mut wire);
            for (to, body) in taken(&mut wire).into_iter().rev() {
                if to == B {
                    got.extend(b.on_message(now, (A, 10), body, &mut wire).unwrap());
                } else {
                    a.on_message(now, (B, 20), body, &mut wire).unwrap();
                }
            }
        }
        assert!(got.iter().map(|(_, body)| body[0]).eq(0..sent));
        let channel = &b.channels[&A];
        assert_eq!((channel.early.len(), channel.early_bytes), (0, 0));
    }

    #[test]
    fn early_messages_at_the_limit_of_their_bytes_are_not_kept() {
        let mut b = Channels::new(20);
        for sequence in 2..=CHANNEL_WINDOW_MAX as u64 {
            let body = data(10, 20, sequence, TAG, &[0; 100_000]);
            assert_eq!(b.on_message(Time(0), (A, 10), body, &mut Vec::new()), Ok(Vec::new()));
        }
        assert_eq!(b.channels[&A].early.len(), CHANNEL_WINDOW_BYTES_MAX / 100_000);
        let large = data(10, 20, 1, TAG, &[0; CHANNEL_WINDOW_BYTES_MAX]);
        let got = b.on_message(Time(0), (A, 10), large, &mut Vec::new()).unwrap();
        assert_eq!(got.len(), 1 + CHANNEL_WINDOW_BYTES_MAX / 100_000, "the next is always taken");
    }

    #[test]
    fn who_is_not_known_for_a_while_is_followed_up_unless_there_are_too_many_channels() {
        let (mut a, mut b) = (Channels::new(10), Channels::new(20));
        let mut wire = Vec::new();
        let mut say = |a: &mut Channels, b: &mut Channels, n| {
            send(a, n, &mut wire).unwrap();
            let (_, body) = taken(&mut wire).remove(0);
            let got = b.on_message(Time(0), (A, 10), body, &mut wire).unwrap();
            let (_, ack) = taken(&mut wire).remove(0);
            a.on_message(Time(0), (B, 20), ack, &mut wire).unwrap();
            got.len()
        };
        assert_eq!(say(&mut a, &mut b, 1), 1);
        a.retain(|_| false, |_| false);
        assert_eq!(say(&mut a, &mut b, 2), 1, "its numbers go on");
        let mut fill = |count: usize| {
            for n in a.channels.len()..count {
                let mut id = [9; 32];
                id[..8].copy_from_slice(&n.to_be_bytes());
                a.channel(NodeId(id), 1);
            }
            a.retain(|_| false, |node| node == B);
            a.channels.len()
        };
        assert_eq!([fill(CHANNELS_MAX), fill(CHANNELS_MAX + 1)], [CHANNELS_MAX, 1]);
        a.retain(|node| node == B, |_| true);
        assert_eq!(a.channels.len(), 0, "it was removed");
    }

    #[test]
    fn the_queue_is_bounded() {
        let (mut a, mut wire) = (Channels::new(10), Vec::new());
        for n in 0..(CHANNEL_WINDOW_MAX + CHANNEL_QUEUE_MAX) as u64 {
            send(&mut a, n, &mut wire).unwrap();
        }
        assert_eq!(wire.len(), CHANNEL_WINDOW_MAX);
        assert_eq!(send(&mut a, 0, &mut wire), Err(ErrorCode::Busy));
    }
}
