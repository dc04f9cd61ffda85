//! Every limit that a client or a neighbor meets: what is at the limit is taken, one more is not.

use super::*;
use crate::error::ErrorCode;
use crate::limits::*;
use crate::wire::codec::put_bytes;
use crate::wire::envelope::Unicast;

impl Victim {
    fn try_write(&mut self, writes: Vec<Write>) -> Result<(), ErrorCode> {
        self.answer(Request::Data(DataRequest::Write(writes)))
    }

    fn answer(&mut self, request: Request) -> Result<(), ErrorCode> {
        match self.ask(request) {
            Reply::Failed(code, _) => Err(code),
            _ => Ok(()),
        }
    }
}

fn put(at: &str, bytes: usize) -> Write {
    Write::put(path(at), vec![b'1'; bytes])
}

fn merge(fields: usize, name_bytes: usize) -> Write {
    let field = |n: usize| (format!("{n:0name_bytes$}"), Bytes::from_static(b"1"));
    Write { change: Change::Merge((0..fields).map(field).collect()), ..put("m", 0) }
}

fn batch(items: usize, bytes: usize) -> Vec<Write> {
    let names: usize = (0..items).map(|n| format!("b/{n}").len()).sum();
    let rest = bytes.saturating_sub(names);
    let size = |n: usize| rest / items + if n == 0 { rest % items } else { 0 };
    (0..items).map(|n| put(&format!("b/{n}"), size(n))).collect()
}

fn ends_in(victim: &Victim, ms: u64) -> Vec<Write> {
    vec![Write { expires_ms: Some(victim.now.wall_ms + ms), ..put("t", 1) }]
}

#[test]
fn a_write_at_a_limit_is_done_and_one_over_it_changes_nothing() {
    use ErrorCode::{BatchSize, FieldsMax, PathTooLong, TtlRange, ValueTooLarge};
    let now = &Victim::new();
    let one = |write| vec![write];
    let cases = [
        (
            "VALUE_BYTES",
            one(put("v", VALUE_BYTES_MAX)),
            one(put("v", VALUE_BYTES_MAX + 1)),
            ValueTooLarge,
        ),
        ("FIELDS", one(merge(FIELDS_MAX, 4)), one(merge(FIELDS_MAX + 1, 4)), FieldsMax),
        (
            "FIELD_BYTES",
            one(merge(1, FIELD_BYTES_MAX)),
            one(merge(1, FIELD_BYTES_MAX + 1)),
            PathTooLong,
        ),
        (
            "BATCH_ITEMS",
            batch(BATCH_ITEMS_MAX, 9_000),
            batch(BATCH_ITEMS_MAX + 1, 9_000),
            BatchSize,
        ),
        ("BATCH_ITEMS, none", batch(1, 9), Vec::new(), BatchSize),
        ("BATCH_BYTES", batch(8, BATCH_BYTES_MAX), batch(8, BATCH_BYTES_MAX + 1), BatchSize),
        ("TTL_MS", ends_in(now, TTL_MS_MAX), ends_in(now, TTL_MS_MAX + 1), TtlRange),
        ("TTL_MS, none", ends_in(now, 1), ends_in(now, 0), TtlRange),
    ];
    for (name, at, over, code) in cases {
        let mut victim = Victim::new();
        let before = victim.status().digest;
        assert_eq!(victim.try_write(over), Err(code), "{name}");
        assert_eq!(victim.status().digest, before, "{name}");
        assert_eq!(victim.try_write(at), Ok(()), "{name}");
    }
}

#[test]
fn a_history_keeps_its_most_and_no_more() {
    let mut victim = Victim::new();
    for n in 0..HISTORY_VERSIONS_MAX + 5 {
        victim.put("long", &n.to_string());
    }
    let kept = read::history(&victim.store, &path("long")).unwrap();
    assert_eq!(kept.len(), HISTORY_VERSIONS_MAX);
}

#[test]
fn clients_may_ask_for_so_much_at_a_time_and_one_more_is_refused() {
    let watch = |n: usize| DataRequest::Watch { watch: WatchId(n as u64), prefix: None };
    let address = |n: usize| format!("http://10.0.0.1:{n}");
    let long = |bytes: usize| format!("http://{}:1", "a".repeat(bytes - "http://:1".len()));
    let mut victim = Victim::new();
    for n in 0..WATCHES_MAX {
        assert_eq!(victim.answer(Request::Data(watch(n))), Ok(()));
    }
    let over = victim.answer(Request::Data(watch(WATCHES_MAX)));
    assert_eq!(over, Err(ErrorCode::WatchesMax));

    let add = |address| Request::Mesh(MeshRequest::AddPeer(address));
    assert_eq!(victim.answer(add(long(ADDRESS_BYTES_MAX))), Ok(()));
    let over = victim.answer(add(long(ADDRESS_BYTES_MAX + 1)));
    assert_eq!(over, Err(ErrorCode::PeerAddress));
    for n in 1..PEERS_MAX {
        assert_eq!(victim.answer(add(address(n))), Ok(()), "{n}");
    }
    assert_eq!(victim.answer(add(address(PEERS_MAX))), Err(ErrorCode::PeersMax));
    assert_eq!(victim.answer(add(address(1))), Ok(()), "it is there already");
}

#[test]
fn so_many_pings_wait_and_one_more_is_refused() {
    let mut victim = Victim::new();
    victim.link(1);
    let caller =
        Caller { session: SessionId(1), request: RequestId(1), principal: Principal::Owner };
    let ping = || Input::Request(caller, Request::Mesh(MeshRequest::Ping(NodeId([1; 32]))));
    for _ in 0..PINGS_MAX {
        victim.input(ping());
    }
    assert!(victim.replies.is_empty(), "they wait");
    victim.input(ping());
    assert!(matches!(victim.replies[..], [Reply::Failed(ErrorCode::Busy, 0)]));
}

#[test]
fn so_many_neighbors_are_taken_and_one_more_is_told_to_go_elsewhere() {
    let mut victim = Victim::new();
    for n in 1..=NEIGHBORS_MAX as u64 + 1 {
        let mut node = [7; 32];
        node[..8].copy_from_slice(&n.to_be_bytes());
        let (link, node, wall_ms) = (LinkId(n), NodeId(node), WALL_MS);
        assert!(victim.closed.is_empty(), "{n}");
        victim.input(Input::LinkUp { link, node, boot: 1, wall_ms, dialled: None });
    }
    let refused = (LinkId(NEIGHBORS_MAX as u64 + 1), "too many neighbors: link to another node");
    assert_eq!(victim.closed, [refused]);
    assert_eq!(victim.status().links.len(), NEIGHBORS_MAX);
}

/// A record that names so many addresses, each so long, and so many links.
fn record_of(addresses: usize, address_bytes: usize, links: usize) -> Vec<u8> {
    let node = NodeId([1; 32]);
    let mut body = BytesMut::new();
    body.put_slice(&node.0);
    body.put_u64(2);
    put_varint(&mut body, 1);
    put_varint(&mut body, addresses as u64);
    (0..addresses).for_each(|_| put_bytes(&mut body, &vec![b'a'; address_bytes]));
    put_varint(&mut body, links as u64);
    (0..links).for_each(|n| body.put_slice(&[n as u8; 32]));
    let signed = [&b"folkmoot node record 1"[..], &NETWORK.0, &body].concat();
    [&signature(node, &signed)[..], &body].concat()
}

#[test]
fn a_record_at_its_limits_is_taken_and_one_over_them_closes_the_link() {
    for (at, over) in [
        (record_of(RECORD_ADDRESSES_MAX, 9, 1), record_of(RECORD_ADDRESSES_MAX + 1, 9, 1)),
        (record_of(1, ADDRESS_BYTES_MAX, 1), record_of(1, ADDRESS_BYTES_MAX + 1, 1)),
        (record_of(1, 9, NEIGHBORS_MAX), record_of(1, 9, NEIGHBORS_MAX + 1)),
    ] {
        let mut victim = Victim::new();
        let link = victim.link(1);
        victim.say(link, Kind::Record, &at);
        assert_eq!(victim.closed, []);
        victim.say(link, Kind::Record, &over);
        assert_eq!(victim.closed, [(link, "malformed bytes")]);
    }
}

#[test]
fn so_many_nodes_are_known_and_no_more() {
    let mut victim = Victim::new();
    let link = victim.link(1);
    victim.run(1_000); // until it has a record of its own
    for n in 0..NODES_MAX as u64 + 10 {
        let mut node = [8; 32];
        node[..8].copy_from_slice(&n.to_be_bytes());
        victim.say(link, Kind::Record, &record(NodeId(node), 1, 1, &[]));
    }
    let known = victim.status().nodes.len();
    assert_eq!(known, NODES_MAX, "this node among them");
    assert_eq!(victim.status().links.len(), 1, "those out of reach make room");
    let digest = |count: usize| {
        let mut out = BytesMut::new();
        put_varint(&mut out, count as u64);
        for n in 0..count as u64 {
            out.put_slice(&[&n.to_be_bytes()[..], &[9; 24]].concat());
            out.put_u64(1);
            put_varint(&mut out, 1);
        }
        out
    };
    victim.say(link, Kind::Digest, &digest(NODES_MAX));
    assert_eq!(victim.closed, []);
    victim.say(link, Kind::Digest, &digest(NODES_MAX + 1));
    assert_eq!(victim.closed, [(link, "malformed bytes")]);
}

#[test]
fn a_unicast_is_passed_on_for_no_more_than_its_hops() {
    let mut victim = Victim::new();
    let (from, to) = (victim.link(1), victim.link(2));
    for (hops_left, passed_on) in
        [(u8::MAX, Some(HOPS_MAX - 1)), (2, Some(1)), (1, None), (0, None)]
    {
        victim.said.clear();
        let dropped = victim.status().stats.undeliverable;
        let unicast =
            Unicast { hops_left, to: NodeId([2; 32]), from: NodeId([1; 32]), body: Bytes::new() };
        victim.say(from, Kind::Unicast, &unicast.encode());
        let said = victim.said.iter().find(|(link, kind, _)| {
            *link == to && Kind::from_byte(*kind).is_some_and(|kind| matches!(kind, Kind::Unicast))
        });
        let left = said.map(|(_, _, body)| Unicast::decode(body.clone()).unwrap().hops_left);
        assert_eq!(left, passed_on, "{hops_left} hops left");
        let more = victim.status().stats.undeliverable - dropped;
        assert_eq!(more, u64::from(passed_on.is_none()), "{hops_left} hops left");
    }
}

#[test]
fn a_proof_of_the_largest_size_is_skipped_and_a_larger_one_is_malformed() {
    let with_proof = |bytes: usize| {
        let mut out = BytesMut::new();
        out.put_u8(0);
        out.put_u64(1);
        out.put_slice(&[1; 32]);
        put_bytes(&mut out, &vec![7; bytes]);
        put_bytes(&mut out, b"1");
        Entry::from_bytes(out.freeze())
    };
    assert_eq!(with_proof(PROOF_BYTES_MAX).unwrap().value.as_deref(), Some(&b"1"[..]));
    assert!(with_proof(PROOF_BYTES_MAX + 1).is_err());
}
