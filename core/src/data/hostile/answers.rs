//! Neighbors that ask too much: answers stay in proportion.

use super::super::message::{From, Outline};
use super::*;
use crate::limits::{MESSAGE_BYTES_MAX, PAGE_BYTES_MAX};

/// Many small messages in few frames.
fn say_often(victim: &mut Victim, link: LinkId, count: usize, kind: Kind, body: &[u8]) -> usize {
    let mut packer = Packer::new(Kind::FragmentAfterWrite);
    for _ in 0..count {
        packer.push(kind, &[body]);
    }
    let before = victim.said_bytes;
    for frame in packer.take() {
        victim.input(Input::Frame(link, frame));
    }
    victim.said_bytes - before
}

fn filled(entries: usize) -> (Victim, LinkId) {
    let mut victim = Victim::new();
    for n in 0..entries {
        victim.put(&format!("a/{n}"), &"x".repeat(1_000));
    }
    let link = victim.known(1);
    (victim, link)
}

#[test]
fn a_thousand_pulls_in_a_frame_are_answered_with_one_page() {
    let (mut victim, link) = filled(600);
    for from in [From::Key(Bytes::new()), From::Number(0)] {
        let pull = [&[Tag::DATA.0], &Message::Pull(from).encode()[..]].concat();
        let said = say_often(&mut victim, link, 1_000, Kind::Neighbor, &pull);
        assert!(said > PAGE_BYTES_MAX / 2 && said < 2 * PAGE_BYTES_MAX, "{said} bytes");
    }
}

#[test]
fn a_thousand_digests_are_answered_once() {
    let (mut victim, link) = filled(1);
    for n in 0..200u8 {
        let node = NodeId([n; 32]);
        victim.say(link, Kind::Record, &record(node, 1, 1, &[VICTIM; 100]));
    }
    let said = say_often(&mut victim, link, 1_000, Kind::Digest, &[0]);
    assert!(said < 200 * 4_000, "{said} bytes for a thousand bytes");
}

#[test]
fn a_thousand_grafts_are_answered_once() {
    let (mut victim, link) = filled(1);
    for n in 0..300 {
        victim.put(&format!("b/{n}"), &"x".repeat(1_000));
    }
    let mut graft = BytesMut::new();
    graft.put_slice(&VICTIM.0);
    graft.put_u64(1);
    put_varint(&mut graft, 1);
    put_varint(&mut graft, u64::MAX);
    let said = say_often(&mut victim, link, 1_000, Kind::Graft, &graft);
    assert!(said < 2 * PAGE_BYTES_MAX, "{said} bytes for {} bytes", 1_000 * graft.len());
}

#[test]
fn a_thousand_comparisons_are_not_answered_a_thousand_times() {
    let (mut victim, link) = filled(1);
    let groups = Message::Groups { number: 1, sums: vec![1; 1_024] };
    let groups = [&[Tag::DATA.0][..], &[0], &groups.encode()].concat();
    let said = say_often(&mut victim, link, 100, Kind::NeighborMarked, &groups);
    assert!(said <= 10 * 100 * groups.len(), "{said} bytes for {}", 100 * groups.len());
}

/// Answers a summary as a node does that holds something else entirely, and returns the versions.
fn compare(victim: &mut Victim, link: LinkId, groups: &[u16]) -> (bool, usize, usize) {
    let summary = victim.summary();
    let summary = super::super::message::Summary { sum: [1; 32], floor: 1, ..summary };
    victim.tell(link, &Message::Summary(summary));
    let asked = victim.take_said(link);
    assert!(asked.iter().any(|message| matches!(message, Message::Groups { .. })), "{asked:?}");
    let groups = groups.iter().map(|group| (*group, vec![0; 64])).collect();
    victim.tell(link, &Message::Buckets { number: 1, more: false, groups });
    for message in victim.take_said(link) {
        if let Message::Versions { more, ref buckets } = message {
            return (more, message.encode().len(), buckets.iter().map(|b| b.1.len()).sum());
        }
    }
    panic!("no versions");
}

#[test]
fn the_versions_of_a_large_difference_fit_one_message() {
    let mut victim = Victim::new();
    for first in (0..100_000).step_by(1_000) {
        let write = |n: u32| Write::put(path(&n.to_string()), "");
        let writes = (first..first + 1_000).map(write).collect();
        victim.ask(Request::Data(DataRequest::Write(writes)));
    }
    let link = victim.link(1);
    let all: Vec<u16> = (0..1_024).collect();
    let (more, bytes, versions) = compare(&mut victim, link, &all);
    assert!(bytes < MESSAGE_BYTES_MAX, "{bytes} bytes");
    assert!(more && versions > 10_000, "{versions} versions now, the others in the next round");
}

#[test]
fn a_group_that_is_named_often_is_looked_into_once() {
    let mut victim = Victim::new();
    for n in 0..5_000 {
        victim.put(&n.to_string(), "");
    }
    let link = victim.link(1);
    let (_, _, versions) = compare(&mut victim, link, &[3; 1_024]);
    assert!(versions < 100, "{versions} versions");
}

#[test]
fn what_a_neighbor_wants_is_sent_no_faster_than_its_link_takes_it() {
    let (mut victim, link) = filled(3_000);
    let buckets = (0..=u16::MAX).map(|bucket| (bucket, Vec::<Outline>::new())).collect();
    victim.tell(link, &Message::Versions { more: false, buckets });
    victim.input(Input::Tick);
    victim.input(Input::LinkFull(link));
    let before = victim.said_bytes;
    victim.run(5_000);
    let said = victim.said_bytes - before;
    assert!(said < PAGE_BYTES_MAX, "{said} bytes to a link that is full");
    victim.input(Input::LinkDrained(link));
    victim.run(5_000);
    let said = victim.said_bytes - before;
    assert!(said > 2_000_000, "{said} bytes after it was drained");
}

/// Up to where the victim's last summary says that it must be pulled from.
fn pulled(victim: &mut Victim, link: LinkId) -> u64 {
    victim.run(11_000);
    let summary = |message: &Message| match message {
        Message::Summary(summary) => Some(summary.pulled),
        _ => None,
    };
    victim.take_said(link).iter().rev().find_map(summary).expect("it compares")
}

#[test]
fn what_came_ahead_needs_no_pull_once_nothing_before_it_is_missing() {
    let mut victim = Victim::new();
    let (origin, other) = (victim.known(1), victim.known(2));
    let spread = |victim: &mut Victim, sequence: u64| {
        victim.spread(origin, sequence, &vec![(at("a"), entry(1, sequence, "1"))]);
    };
    let before = pulled(&mut victim, other);
    spread(&mut victim, 1);
    assert_eq!(pulled(&mut victim, other), before);
    spread(&mut victim, 3);
    let ahead = pulled(&mut victim, other);
    assert!(ahead > before, "no marks cover it");
    spread(&mut victim, 2);
    assert_eq!(pulled(&mut victim, other), before);
}

#[test]
fn a_neighbor_that_is_soon_believed_again_and_again_is_compared_with_once_a_second_at_most() {
    let mut victim = Victim::new();
    let (hostile, honest) = (victim.known(1), victim.known(2));
    victim.agree(honest);
    let (mut compared, mut others) = (0, 0);
    for _ in 0..200 {
        let future_ms = victim.now.wall_ms - WALL_MS + Limits::default().drift_ms_max + 1;
        let entries = vec![(at("a"), entry(1, future_ms, "1"))];
        victim.tell(hostile, &Message::Found { done: true, entries });
        victim.run(100);
        let said = std::mem::take(&mut victim.said);
        let mut groups = |link| {
            victim.said = said.clone();
            let is_groups = |message: &&Message| matches!(message, Message::Groups { .. });
            victim.take_said(link).iter().filter(is_groups).count()
        };
        others += groups(honest);
        let now = groups(hostile);
        compared += now;
        if now > 0 {
            victim.agree(hostile); // the comparison ends, so that another may begin
        }
    }
    assert_eq!(others, 0);
    assert!((1..=20).contains(&compared), "{compared} times in 20 s");
}

#[test]
fn what_is_here_though_it_was_not_spread_here_is_told_to_all_within_two_seconds() {
    let mut victim = Victim::new();
    let (knows, other, origin) = (victim.known(1), victim.known(2), victim.known(3));
    victim.agree(origin);
    let summaries = |victim: &mut Victim, link| {
        let is_summary = |message: &&Message| matches!(message, Message::Summary(_));
        victim.take_said(link).iter().filter(is_summary).count()
    };
    for (upto, told) in [(1, 1), (1, 0), (2, 1)] {
        victim.said.clear();
        let summary = victim.summary();
        let marks = vec![(NodeId([3; 32]), 1, upto)];
        victim.tell_marked(knows, &marks, &Message::Summary(summary));
        victim.run(2_000);
        assert_eq!(summaries(&mut victim, other), told, "up to {upto}");
    }
}

#[test]
fn marks_that_came_before_the_record_of_their_node_are_asked_for_again() {
    let mut victim = Victim::new();
    let link = victim.link(1);
    let marks = vec![(NodeId([3; 32]), 1, 2)];
    for asks_again in [true, false] {
        victim.said.clear();
        let summary = victim.summary();
        victim.tell_marked(link, &marks, &Message::Summary(summary));
        victim.run(2_000);
        let is_question = |m: &Message| matches!(m, Message::Summary(own) if own.answer);
        assert_eq!(victim.take_said(link).iter().any(is_question), asks_again);
    }
}
