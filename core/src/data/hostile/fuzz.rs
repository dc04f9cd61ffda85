//! Neighbors that say anything: valid shapes with the worst numbers, then bytes turned around.

use super::super::message::{From, Outline, Page, Summary};
use super::*;
use crate::id::StoreId;
use crate::rng::Rng;
use std::collections::BTreeSet;

const HONEST: u8 = 1;
const LIAR: u8 = 2;

struct Liar {
    rng: Rng,
    /// What was said before, to be said again.
    said: Vec<(u8, Vec<u8>)>,
}

impl Liar {
    fn pick<T: Clone>(&mut self, of: &[T]) -> T {
        of[self.rng.below(of.len() as u64) as usize].clone()
    }

    fn number(&mut self, now_ms: u64) -> u64 {
        let random = self.rng.next_u64();
        let stamp = Stamp::from_ms(now_ms).0;
        let (near, small) = (now_ms + random % 120_000, random % 8);
        let max = u64::MAX;
        self.pick(&[
            small,
            127,
            128,
            65_536,
            near,
            stamp,
            near << 16,
            1 << 62,
            max - 1,
            max,
            random,
        ])
    }

    fn node(&mut self) -> NodeId {
        let random = NodeId([self.rng.next_u64() as u8; 32]);
        self.pick(&[VICTIM, NodeId([HONEST; 32]), NodeId([LIAR; 32]), random])
    }

    fn entries(&mut self, now_ms: u64) -> Entries {
        let count = self.pick(&[0, 1, 2, 20]);
        (0..count).map(|_| (self.key(), self.entry(now_ms))).collect()
    }

    fn key(&mut self) -> EntryKey {
        let n = self.rng.below(30);
        let field = EntryKey::field(&path(&format!("lies/{n}")), "field").unwrap();
        let removed = format!("removed/{}", NodeId([200 + n as u8; 32]));
        let system = EntryKey::system(&path(&removed));
        self.pick(&[at(&format!("lies/{n}")), at("lies"), field, system])
    }

    fn entry(&mut self, now_ms: u64) -> Entry {
        let after = Stamp(self.number(now_ms));
        let expires = self.number(now_ms);
        let length = self.pick(&[0, 1, 3_000]);
        Entry {
            version: Version { stamp: Stamp(self.number(now_ms)), node: self.node() },
            strategy: self.pick(&[Strategy::Last, Strategy::Field, Strategy::First { after }]),
            expires_ms: self.pick(&[None, Some(expires)]),
            value: self.pick(&[None, Some(vec![7; length].into())]),
        }
    }

    fn from(&mut self, now_ms: u64) -> From {
        let number = self.number(now_ms);
        let key = self.key().as_bytes().clone();
        self.pick(&[From::Number(number), From::Key(Bytes::new()), From::Key(key)])
    }

    fn summary(&mut self, victim: &mut Victim, now_ms: u64) -> Summary {
        let truth = victim.summary();
        let sum = self.pick(&[truth.sum, [1; 32]]);
        Summary {
            store: StoreId([self.rng.below(2) as u8; 16]),
            number: self.number(now_ms),
            floor: self.number(now_ms),
            pulled: self.number(now_ms),
            count: self.number(now_ms),
            sum,
            answer: self.pick(&[true, false]),
        }
    }

    fn message(&mut self, victim: &mut Victim) -> Message {
        let now_ms = victim.now.wall_ms;
        let number = self.number(now_ms);
        let (more, done) = (self.pick(&[true, false]), self.pick(&[true, false]));
        let sums = |rng: &mut Rng, count: usize| (0..count).map(|_| rng.below(2)).collect();
        let small = self.rng.below(40) as u16;
        match self.rng.below(12) {
            0 | 1 => Message::Summary(self.summary(victim, now_ms)),
            2 => Message::Pull(self.from(now_ms)),
            3 => Message::Pruned,
            4 => {
                let (of, next) = (self.from(now_ms), self.from(now_ms));
                Message::Page(Page { of, number, next, done, entries: self.entries(now_ms) })
            }
            5 => Message::Groups { number, sums: sums(&mut self.rng, 1_024) },
            6 => {
                let count = self.pick(&[0, 1, 128, 1_024]);
                let groups = (0..count).map(|group| (group, sums(&mut self.rng, 64))).collect();
                Message::Buckets { number, more, groups }
            }
            7 => {
                let outline = Outline {
                    id: self.number(now_ms),
                    stamp: Stamp(self.number(now_ms)),
                    check: 1,
                    node: 2,
                    flags: self.rng.next_u64() as u8,
                };
                let bucket = |n| (u16::MAX - n, vec![outline; usize::from(n % 3)]);
                Message::Versions { more, buckets: (0..small).map(bucket).collect() }
            }
            8 => Message::Bury { round: number, dead: self.entries(now_ms) },
            9 => Message::Buried { round: number, needed: (0..u64::from(small)).collect() },
            10 => Message::Forget(self.entries(now_ms)),
            _ if more => Message::Want((0..small).map(|n| (n, number)).collect()),
            _ => Message::Found { done, entries: self.entries(now_ms) },
        }
    }

    fn marks(&mut self, now_ms: u64, out: &mut BytesMut) {
        let count = self.rng.below(4);
        put_varint(out, count);
        for _ in 0..count {
            out.put_slice(&self.node().0);
            out.put_u64(self.pick(&[0, 1, 1, 2, u64::MAX]));
            put_varint(out, self.number(now_ms));
        }
    }

    /// One message of a random kind.
    fn next(&mut self, victim: &mut Victim) -> (u8, Vec<u8>) {
        let now_ms = victim.now.wall_ms;
        let mut out = BytesMut::new();
        let kind = self.pick(&[1, 2, 3, 4, 5, 6, 7, 7, 8, 9, 10, 11, 11, 11, 12, 12, 13, 255]);
        match Kind::from_byte(kind) {
            None => out.put_slice(b"unknown"),
            Some(Kind::FragmentAtOnce | Kind::FragmentAfterWrite) => {
                out.put_slice(&[self.pick(&[0, 1, 2]), self.pick(&[1, 4, 7, 11])]);
                out.put_u64(self.number(now_ms));
            }
            Some(Kind::Ping | Kind::Pong) => {
                out.put_u64(self.number(now_ms));
                out.put_u64(self.number(now_ms));
            }
            Some(Kind::Digest | Kind::Announce) => self.marks(now_ms, &mut out),
            Some(Kind::Record) => {
                let (node, boot) = (self.node(), self.number(now_ms));
                let links = [self.node(), self.node()];
                let mut bytes = record(node, boot, self.number(now_ms), &links);
                if node == VICTIM || node == NodeId([HONEST; 32]) {
                    bytes[..8].iter_mut().for_each(|byte| *byte ^= 0x55); // it has not their keys
                }
                out.put_slice(&bytes);
            }
            Some(Kind::Spread) => {
                let body = encode_entries(&self.entries(now_ms));
                let tag = self.pick(&[Tag::DATA, Tag::DATA, Tag(9)]);
                let (origin, boot) = (self.node(), self.pick(&[0, 1, 1, u64::MAX]));
                let sequence = self.number(now_ms);
                out.put_slice(&Spread { origin, boot, sequence, tag, body }.encode());
            }
            Some(Kind::Graft) => {
                out.put_slice(&self.node().0);
                out.put_u64(self.pick(&[0, 1, u64::MAX]));
                put_varint(&mut out, self.number(now_ms));
                put_varint(&mut out, self.number(now_ms));
            }
            Some(Kind::Unicast) => {
                out.put_u8(self.rng.next_u64() as u8);
                out.put_slice(&self.node().0);
                out.put_slice(&self.node().0);
                out.put_u8(self.pick(&[0, 1, 2]));
                out.put_u64(self.pick(&[0, 1, u64::MAX]));
                out.put_u64(self.pick(&[0, 1, u64::MAX]));
                put_varint(&mut out, self.number(now_ms));
                out.put_u8(self.pick(&[0, 1, 9]));
                out.put_slice(&[self.pick(&[0, 1, 9]); 9]);
            }
            Some(Kind::Neighbor) => {
                out.put_u8(Tag::DATA.0);
                out.put_slice(&self.message(victim).encode());
            }
            Some(Kind::NeighborMarked) => {
                out.put_u8(Tag::DATA.0);
                self.marks(now_ms, &mut out);
                out.put_slice(&self.message(victim).encode());
            }
        }
        (kind, out.to_vec())
    }

    /// Turns a few bytes around, or cuts.
    fn spoil(&mut self, bytes: &mut Vec<u8>) {
        for _ in 0..=self.rng.below(3) {
            if bytes.is_empty() {
                return;
            }
            let place = self.rng.below(bytes.len() as u64) as usize;
            match self.rng.below(4) {
                0 => bytes[place] = 0xff,
                1 => bytes[place] ^= 1 << self.rng.below(8),
                2 => bytes.truncate(place),
                _ => bytes.insert(place, self.rng.next_u64() as u8),
            }
        }
    }

    fn speak(&mut self, victim: &mut Victim, link: LinkId) {
        let (kind, mut body) = match self.said.len() as u64 {
            count if count > 0 && self.rng.below(5) == 0 => {
                self.said[self.rng.below(count) as usize].clone()
            }
            _ => self.next(victim),
        };
        if self.rng.below(3) == 0 {
            self.spoil(&mut body);
        }
        let mut frame = BytesMut::new();
        frame.put_u8(kind);
        put_varint(&mut frame, body.len() as u64);
        frame.put_slice(&body);
        self.said.push((kind, body));
        victim.input(Input::Frame(link, frame.freeze()));
    }
}

/// The victim, and an honest node that is linked to it.
struct Pair {
    victim: Victim,
    honest: Victim,
    linked: Option<LinkId>,
}

impl Pair {
    fn new() -> Pair {
        let (victim, honest) = (Victim::new(), Victim::named(NodeId([HONEST; 32])));
        Pair { victim, honest, linked: None }
    }

    /// Lets both do what they have to do, and carries their frames.
    fn settle(&mut self) {
        let sides = |pair: &mut Pair, link: LinkId| {
            let frames = std::mem::take(&mut pair.victim.frames);
            let back = std::mem::take(&mut pair.honest.frames);
            let quiet = frames.is_empty() && back.is_empty();
            for (_, frame) in frames.into_iter().filter(|(to, _)| *to == link) {
                pair.honest.input(Input::Frame(link, frame));
            }
            back.into_iter().for_each(|(_, frame)| pair.victim.input(Input::Frame(link, frame)));
            quiet
        };
        if let Some(link) = self.linked {
            while !sides(self, link) {}
            let closed = self.victim.closed.iter().chain(&self.honest.closed);
            if closed.into_iter().any(|(closed, _)| *closed == link) {
                self.victim.input(Input::LinkDown(link));
                self.honest.input(Input::LinkDown(link));
                self.linked = None;
            }
        }
        if self.linked.is_none() {
            self.victim.next += 1;
            let link = LinkId(1_000_000 + self.victim.next);
            let (one, other) = (self.victim.engine.node(), self.honest.engine.node());
            let wall_ms = self.victim.now.wall_ms;
            for (side, node) in [(&mut self.victim, other), (&mut self.honest, one)] {
                let dialled = (node == other).then(String::new);
                side.input(Input::LinkUp { link, node, boot: 1, wall_ms, dialled });
            }
            self.linked = Some(link);
        }
    }

    /// The keys at which the two hold something different. What pretends to be older than what
    /// one of them has collected is left out: it stays where it was believed.
    fn difference(&self) -> Vec<(EntryKey, Option<Version>, Option<Version>)> {
        let [one, other] = [self.victim.entries(), self.honest.entries()];
        let keys: BTreeSet<_> = one.keys().chain(other.keys()).collect();
        let version = |entry: Option<&Entry>| entry.map(|entry| entry.version);
        let is_recent = |version: &Version| version.stamp.ms() >= WALL_MS;
        keys.into_iter()
            .filter(|key| one.get(key) != other.get(key))
            .map(|key| (key.clone(), version(one.get(key)), version(other.get(key))))
            .filter(|(_, one, other)| one.iter().chain(other).any(is_recent))
            .collect()
    }

    fn run(&mut self, ms: u64) {
        for _ in 0..ms / 50 {
            self.victim.run(50);
            self.honest.run(50);
            self.settle();
        }
    }
}

fn survives(seed: u64, sentences: usize) {
    let mut pair = Pair::new();
    pair.run(1_000);
    pair.victim.put("honest/own", "kept");
    pair.honest.put("honest/other", "kept");
    pair.run(15_000);
    let mut link = pair.victim.link(LIAR);
    let mut liar = Liar { rng: Rng::new(seed), said: Vec::new() };
    for _ in 0..sentences {
        if !pair.victim.peers.contains_key(&link) {
            link = pair.victim.link(LIAR);
        }
        let before = pair.victim.said_bytes;
        liar.speak(&mut pair.victim, link);
        let said = pair.victim.said_bytes - before;
        assert!(said < 1024 * 1024, "seed {seed}: {said} bytes for one message");
        pair.settle();
        if liar.rng.below(10) == 0 {
            pair.run(100 + liar.rng.below(3_000));
        }
    }
    assert!(pair.victim.status().nodes.len() <= 400, "seed {seed}");
    pair.honest.put("honest/later", "kept");
    pair.victim.put("lies/1", "true");
    pair.run(1_000);
    // The liar goes on living, in silence; what it has broken is mended.
    pair.run(200_000);
    for path in ["honest/own", "honest/other", "honest/later"] {
        for side in [&pair.victim, &pair.honest] {
            assert_eq!(side.get(path).as_deref(), Some(&b"kept"[..]), "seed {seed}: {path}");
        }
    }
    let difference = pair.difference();
    assert!(difference.is_empty(), "seed {seed}: {difference:?}");
    pair.victim.restart();
    assert_eq!(pair.victim.get("lies/1").as_deref(), Some(&b"true"[..]), "seed {seed}");
}

#[test]
fn no_sentence_of_a_neighbor_harms_a_node_or_the_data_of_others() {
    let seeds = std::option_env!("FOLKMOOT_FUZZ_SEEDS").map_or(40, |n| n.parse().unwrap());
    for seed in 0..seeds {
        survives(seed, 150);
    }
}
