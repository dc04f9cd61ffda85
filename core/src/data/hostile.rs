//! One engine among neighbors that are no engines: they say what they like, byte by byte.
//!
//! What must hold whatever they say: no panic, bounded memory and answers, and the data of honest
//! nodes as it was. [`Victim`] is the engine with its store and clock; a neighbor is a link on which
//! a test speaks.

mod ahead;
mod answers;
mod damage;
mod dials;
mod endings;
mod fuzz;
mod lies;
mod limits;
mod notices;

use super::message::{Entries, Message, encode_entries};
use super::{Entry, EntryKey, Strategy, read};
use crate::access::Principal;
use crate::ctx::Marks;
use crate::engine::{Engine, EngineConfig, Input, Notice, Output, Step};
use crate::id::{LinkId, NetworkId, NodeId, Path, RequestId, SessionId, WatchId};
use crate::limits::Limits;
use crate::replica::Version;
use crate::request::*;
use crate::store::{MemoryStore, StoreError};
use crate::time::{Now, Stamp, Time};
use crate::toy::{Toy, signature};
use crate::wire::codec::put_varint;
use crate::wire::envelope::{Spread, Tag};
use crate::wire::frame::{Kind, Packer, Unpacker};
use bytes::{BufMut, Bytes, BytesMut};
use std::collections::BTreeMap;

const NETWORK: NetworkId = NetworkId([9; 16]);
const VICTIM: NodeId = NodeId([100; 32]);
const WALL_MS: u64 = 1_700_000_000_000;

/// The engine that is spoken to.
pub(super) struct Victim {
    engine: Engine,
    pub(super) store: MemoryStore,
    pub(super) now: Now,
    boot: u64,
    next: u64,
    peers: BTreeMap<LinkId, (NodeId, Unpacker)>,
    /// Frames to neighbors that are engines themselves.
    frames: Vec<(LinkId, Bytes)>,
    /// What it said, in order.
    said: Vec<(LinkId, u8, Bytes)>,
    /// Bytes of the frames that it sent.
    said_bytes: usize,
    closed: Vec<(LinkId, &'static str)>,
    replies: Vec<Reply>,
    /// How often it has dialled an address.
    dialled: usize,
    /// Writes of its largest batch.
    batch_max: usize,
    notices: Vec<Notice>,
    /// Why it stopped; only a test that damages its store may take this.
    halted: Option<StoreError>,
    may_halt: bool,
}

impl Victim {
    pub(super) fn new() -> Victim {
        Victim::named(VICTIM)
    }

    fn named(node: NodeId) -> Victim {
        Victim::with(node, Limits::default())
    }

    fn with(node: NodeId, limits: Limits) -> Victim {
        let now = Now { time: Time(1), wall_ms: WALL_MS };
        let mut store = MemoryStore::default();
        let engine = open(&mut store, node, now, 1, limits);
        Victim {
            engine,
            store,
            now,
            boot: 1,
            next: 0,
            peers: BTreeMap::new(),
            frames: Vec::new(),
            said: Vec::new(),
            said_bytes: 0,
            closed: Vec::new(),
            replies: Vec::new(),
            dialled: 0,
            batch_max: 0,
            notices: Vec::new(),
            halted: None,
            may_halt: false,
        }
    }

    /// Stops and starts the engine; all links are gone.
    fn restart(&mut self) {
        self.boot += 1;
        self.peers.clear();
        let (node, limits) = (self.engine.node(), Limits::default());
        self.engine = open(&mut self.store, node, self.now, self.boot, limits);
    }

    fn input(&mut self, input: Input) {
        let mut step = Step::default();
        self.engine.handle(self.now, input, &self.store, &mut step);
        self.engine.finish(self.now, &self.store, &mut step);
        self.batch_max = self.batch_max.max(step.batch.writes().len());
        self.store.apply(&step.batch);
        for output in step.at_once.into_iter().chain(step.outputs) {
            match output {
                Output::Send(link, frame) => {
                    self.said_bytes += frame.len();
                    let Some((_, unpacker)) = self.peers.get_mut(&link) else {
                        self.frames.push((link, frame));
                        continue;
                    };
                    let messages = unpacker.unpack(frame).expect("what it says can be received");
                    self.said.extend(messages.into_iter().map(|(kind, body)| (link, kind, body)));
                }
                Output::Close(link, why) => {
                    self.peers.remove(&link);
                    self.closed.push((link, why));
                }
                Output::Reply(_, _, reply) => self.replies.push(reply),
                Output::Halt(error) => {
                    assert!(self.may_halt, "{error}");
                    self.halted = Some(error);
                }
                Output::Notice(notice) => self.notices.push(notice),
                Output::Dial(_) => self.dialled += 1,
                Output::Event(..) => {}
            }
        }
    }

    pub(super) fn run(&mut self, ms: u64) {
        let end = self.now.time + ms;
        while self.now.time < end {
            self.now.time = self.now.time + 10;
            self.now.wall_ms += 10;
            if self.now.time.0 % 4_000 < 10 {
                let links: Vec<LinkId> = self.peers.keys().copied().collect();
                links.into_iter().for_each(|link| self.say(link, Kind::Ping, &[0; 8]));
            }
            // Long work goes in slices, one a tick.
            for _ in 0..1_000 {
                if self.engine.next_tick().is_none_or(|due| due > self.now.time) {
                    break;
                }
                self.input(Input::Tick);
            }
        }
    }

    /// A link to node `n`, which has told its record.
    pub(super) fn link(&mut self, n: u8) -> LinkId {
        self.link_at(n, self.now.wall_ms)
    }

    /// The same, and this is what its clock shows.
    fn link_at(&mut self, n: u8, wall_ms: u64) -> LinkId {
        self.next += 1;
        let (link, node) = (LinkId(self.next), NodeId([n; 32]));
        self.peers.insert(link, (node, Unpacker::default()));
        self.input(Input::LinkUp { link, node, boot: 1, wall_ms, dialled: None });
        self.say(link, Kind::Record, &record(node, 1, self.next, &[VICTIM]));
        link
    }

    /// Links neighbor `n` and lets it be in sync for a while.
    pub(super) fn known(&mut self, n: u8) -> LinkId {
        let link = self.link(n);
        self.agree(link);
        self.run(11_000);
        self.agree(link);
        self.run(100);
        link
    }

    /// The neighbor says that it holds the same.
    fn agree(&mut self, link: LinkId) {
        let summary = self.summary();
        self.tell(link, &Message::Summary(summary));
    }

    /// A summary of exactly what the victim holds.
    fn summary(&mut self) -> super::message::Summary {
        let status = self.status();
        super::message::Summary {
            store: crate::id::StoreId([7; 16]),
            number: status.number,
            floor: 0,
            pulled: 0,
            count: status.entries,
            sum: status.digest,
            answer: false,
        }
    }

    fn say(&mut self, link: LinkId, kind: Kind, body: &[u8]) {
        let mut packer = Packer::new(Kind::FragmentAfterWrite);
        packer.push(kind, &[body]);
        for frame in packer.take() {
            self.input(Input::Frame(link, frame));
        }
    }

    fn tell(&mut self, link: LinkId, message: &Message) {
        self.say(link, Kind::Neighbor, &[&[Tag::DATA.0], &message.encode()[..]].concat());
    }

    fn tell_marked(&mut self, link: LinkId, marks: &Marks, message: &Message) {
        let mut body = BytesMut::new();
        body.put_u8(Tag::DATA.0);
        put_varint(&mut body, marks.len() as u64);
        for (node, boot, upto) in marks {
            body.put_slice(&node.0);
            body.put_u64(*boot);
            put_varint(&mut body, *upto);
        }
        body.put_slice(&message.encode());
        self.say(link, Kind::NeighborMarked, &body);
    }

    /// Spreads entries as if they came from the neighbor itself.
    pub(super) fn spread(&mut self, link: LinkId, sequence: u64, entries: &Entries) {
        let origin = self.peers[&link].0;
        let body = encode_entries(entries);
        let envelope = Spread { origin, boot: 1, sequence, tag: Tag::DATA, body };
        self.say(link, Kind::Spread, &envelope.encode());
    }

    /// The data messages that the victim has said to a neighbor since the last call.
    fn take_said(&mut self, link: LinkId) -> Vec<Message> {
        let mut messages = Vec::new();
        for (to, kind, body) in std::mem::take(&mut self.said) {
            let is_data = body.first() == Some(&Tag::DATA.0);
            let body = match Kind::from_byte(kind).filter(|_| is_data) {
                Some(Kind::Neighbor) => body.slice(1..),
                Some(Kind::NeighborMarked) => {
                    let mut reader = crate::wire::codec::Reader::new(body.slice(1..));
                    for _ in 0..reader.varint().unwrap() {
                        reader.take(40).and_then(|_| reader.varint()).unwrap();
                    }
                    reader.rest()
                }
                _ => continue,
            };
            if to == link {
                messages.extend(Message::decode(body).expect("what it says decodes"));
            }
        }
        messages
    }

    fn ask(&mut self, request: Request) -> Reply {
        let caller =
            Caller { session: SessionId(1), request: RequestId(1), principal: Principal::Owner };
        self.input(Input::Request(caller, request));
        self.replies.pop().expect("every request is answered")
    }

    pub(super) fn write(&mut self, write: Write) {
        let reply = self.ask(Request::Data(DataRequest::Write(vec![write])));
        assert!(matches!(reply, Reply::Written(_)), "{reply:?}");
    }

    pub(super) fn put(&mut self, at: &str, value: &str) {
        self.write(Write::put(path(at), value.to_owned()));
    }

    fn get(&self, at: &str) -> Option<Bytes> {
        let found = read::get(&self.store, &path(at), self.now.wall_ms).unwrap()?;
        match found.value {
            read::Value::Plain(value) => Some(value),
            read::Value::Fields { fields, .. } => fields.first().map(|(_, value)| value.clone()),
        }
    }

    /// All that it holds.
    pub(super) fn entries(&self) -> BTreeMap<EntryKey, Entry> {
        use crate::store::Store;
        let mut entries = BTreeMap::new();
        let visit = &mut |key: &[u8], value: &[u8]| {
            let key = EntryKey::parse(Bytes::copy_from_slice(&key[1..])).unwrap();
            entries.insert(key, Entry::from_bytes(Bytes::copy_from_slice(value)).unwrap());
            true
        };
        self.store.scan(b"e", b"f", visit).unwrap();
        entries
    }

    pub(super) fn status(&mut self) -> MeshStatus {
        match self.ask(Request::Mesh(MeshRequest::Status)) {
            Reply::Mesh(status) => *status,
            other => panic!("{other:?}"),
        }
    }
}

/// When everything begins.
pub(super) const NOW: Now = Now { time: Time(1), wall_ms: WALL_MS };

/// What the victim is started with.
pub(super) fn config() -> EngineConfig {
    EngineConfig {
        identity: Box::new(Toy(VICTIM)),
        network: NETWORK,
        boot: 1,
        seed: 1,
        peers: Vec::new(),
        addresses: Vec::new(),
        histories: vec![(path("old"), 2), (path("long"), usize::MAX)],
        limits: Limits::default(),
    }
}

fn open(store: &mut MemoryStore, node: NodeId, now: Now, boot: u64, limits: Limits) -> Engine {
    let config = EngineConfig { identity: Box::new(Toy(node)), boot, limits, ..config() };
    let mut step = Step::default();
    let engine = Engine::open(config, now, store, &mut step);
    store.apply(&step.batch);
    engine
}

/// A record as docs/protocol.md has it.
fn record(node: NodeId, boot: u64, sequence: u64, links: &[NodeId]) -> Vec<u8> {
    let mut body = BytesMut::new();
    body.put_slice(&node.0);
    body.put_u64(boot);
    put_varint(&mut body, sequence);
    put_varint(&mut body, 0);
    put_varint(&mut body, links.len() as u64);
    links.iter().for_each(|link| body.put_slice(&link.0));
    let signed = [&b"folkmoot node record 1"[..], &NETWORK.0, &body].concat();
    [&signature(node, &signed)[..], &body].concat()
}

fn path(text: &str) -> Path {
    Path::new(text.to_owned()).unwrap()
}

/// An entry that node `n` wrote `ms` after the beginning.
fn entry(n: u8, ms: u64, value: &str) -> Entry {
    Entry {
        version: Version { stamp: Stamp::from_ms(WALL_MS + ms), node: NodeId([n; 32]) },
        strategy: Strategy::Last,
        expires_ms: None,
        value: Some(value.to_owned().into()),
    }
}

pub(super) fn at(text: &str) -> EntryKey {
    EntryKey::path(&path(text))
}
