//! Neighbors that lie: numbers out of this world, and what they know to be untrue.

use super::*;

#[test]
fn a_first_write_that_claims_to_follow_the_end_of_time_poisons_nothing() {
    let mut victim = Victim::new();
    let link = victim.known(1);
    victim.put("name", "before");
    let first =
        Entry { strategy: Strategy::First { after: Stamp(u64::MAX) }, ..entry(1, 0, "bad") };
    victim.spread(link, 1, &vec![(at("name"), first.clone()), (at("new"), first)]);
    victim.put("name", "after");
    victim.put("new", "after");
    assert_eq!(victim.get("name").as_deref(), Some(&b"after"[..]));
    assert_eq!(victim.get("new").as_deref(), Some(&b"after"[..]));
}

#[test]
fn a_first_write_that_follows_the_near_future_can_be_overwritten_at_once() {
    let mut victim = Victim::new();
    let link = victim.known(1);
    let after = Stamp::from_ms(victim.now.wall_ms + 50_000);
    let first = Entry { strategy: Strategy::First { after }, ..entry(1, 0, "bad") };
    victim.spread(link, 1, &vec![(at("name"), first)]);
    assert_eq!(victim.get("name").as_deref(), Some(&b"bad"[..]));
    victim.put("name", "after");
    assert_eq!(victim.get("name").as_deref(), Some(&b"after"[..]));
}

#[test]
fn nobody_can_make_a_node_forget_what_is_alive() {
    let mut victim = Victim::new();
    let liar = victim.known(1);
    victim.put("kept", "1");
    let before = victim.status().digest;
    let held = read::get(&victim.store, &path("kept"), WALL_MS).unwrap().unwrap();
    let lie = Entry { version: held.version, value: None, ..entry(1, 0, "") };
    victim.tell(liar, &Message::Bury { round: 1, dead: vec![] });
    victim.tell(liar, &Message::Forget(vec![(at("kept"), lie)]));
    assert_eq!(victim.get("kept").as_deref(), Some(&b"1"[..]));
    assert_eq!(victim.status().digest, before);
}

#[test]
fn nobody_can_make_a_node_forget_what_was_deleted_lately_by_its_own_clock() {
    let mut victim = Victim::new();
    let liar = victim.known(1);
    victim.put("gone", "1");
    victim.write(Write::delete(path("gone")));
    let held = victim.entries()[&at("gone")].clone();
    let half = Limits::default().tombstone_grace_ms / 2;
    victim.now.wall_ms += half - 1;
    victim.tell(liar, &Message::Bury { round: 1, dead: vec![] });
    victim.tell(liar, &Message::Forget(vec![(at("gone"), held.clone())]));
    assert_eq!(victim.status().tombstones, 1);
    victim.now.wall_ms += 1;
    victim.tell(liar, &Message::Forget(vec![(at("gone"), held)]));
    assert_eq!(victim.status().tombstones, 0);
}

#[test]
fn word_that_all_agreed_is_obeyed_by_who_was_asked_and_not_long_after() {
    let after = |asked: bool, passed_ms: u64, late: bool| {
        let mut victim = Victim::new();
        let asker = victim.known(1);
        victim.put("gone", "1");
        victim.write(Write::delete(path("gone")));
        let dead = vec![(at("gone"), victim.entries()[&at("gone")].clone())];
        victim.now.wall_ms += Limits::default().tombstone_grace_ms;
        if asked {
            victim.tell(asker, &Message::Bury { round: 1, dead: dead.clone() });
        }
        victim.now.time = victim.now.time + passed_ms;
        if late {
            let old = Entry { version: dead[0].1.version, ..entry(1, 0, "old") };
            victim.spread(asker, 1, &vec![(at("other"), old)]);
        }
        victim.tell(asker, &Message::Forget(dead));
        victim.status().tombstones
    };
    assert_eq!(after(true, 59_999, false), 0);
    assert_eq!(after(true, 60_000, false), 1, "decided long ago");
    assert_eq!(after(true, 1_000, true), 1, "what came since then was not asked about");
    assert_eq!(after(false, 0, false), 1, "nobody asked");
}

#[test]
fn answers_that_nobody_asked_for_make_a_node_forget_nothing() {
    let mut victim = Victim::new();
    let liar = victim.known(1);
    victim.put("gone", "1");
    victim.write(Write::delete(path("gone")));
    for round in 0..4 {
        victim.tell(liar, &Message::Buried { round, needed: vec![u64::MAX] });
    }
    assert_eq!(victim.status().tombstones, 1);
}

#[test]
fn marks_at_the_end_of_time_do_not_silence_a_node() {
    let mut victim = Victim::new();
    let honest = victim.known(1);
    let liar = victim.known(2);
    let summary = victim.summary();
    let marks = vec![(NodeId([1; 32]), 1, u64::MAX)];
    victim.tell_marked(liar, &marks, &Message::Summary(summary));
    for sequence in 1..=3 {
        let now = victim.now.wall_ms - WALL_MS;
        let value = sequence.to_string();
        victim.spread(honest, sequence, &vec![(at("a"), entry(1, now + sequence, &value))]);
        assert_eq!(victim.get("a").as_deref(), Some(value.as_bytes()));
    }
}

#[test]
fn announcements_and_grafts_of_everything_ask_a_bounded_number_of_times() {
    let mut victim = Victim::new();
    let link = victim.known(1);
    let mut body = BytesMut::new();
    put_varint(&mut body, 1);
    body.put_slice(&[1; 32]);
    body.put_u64(1);
    put_varint(&mut body, u64::MAX);
    victim.say(link, Kind::Announce, &body);
    victim.said.clear();
    victim.run(5_000);
    let grafts = victim.said.iter().filter(|(_, kind, _)| *kind == Kind::Graft as u8).count();
    assert!(grafts <= 3, "{grafts} grafts");
}

#[test]
fn more_writing_nodes_than_can_be_numbered_shut_out_neither_this_node_nor_the_known_ones() {
    let mut victim = Victim::new();
    let link = victim.known(1);
    let now = victim.now.wall_ms - WALL_MS;
    for first in (0..u32::from(u16::MAX)).step_by(1_000) {
        let entry = |n: u32| {
            let mut node = [77; 32];
            node[..4].copy_from_slice(&n.to_be_bytes());
            let version = Version { node: NodeId(node), ..entry(1, now, "").version };
            (at(&format!("flood/{n}")), Entry { version, ..entry(1, now, "") })
        };
        let sequence = u64::from(first / 1_000) + 1;
        victim.spread(link, sequence, &(first..first + 1_000).map(entry).collect());
    }
    victim.restart();
    victim.put("mine", "1");
    assert_eq!(victim.get("mine").as_deref(), Some(&b"1"[..]), "an acknowledged write is there");
}

#[test]
fn a_clock_decades_ahead_collects_nothing_while_others_are_linked() {
    let mut victim = Victim::new();
    victim.put("a", "1");
    victim.write(Write::delete(path("a")));
    victim.link(1);
    victim.run(1_000);
    victim.now.wall_ms += 10 * 365 * 24 * 3_600_000;
    victim.run(120_000);
    assert_eq!(victim.status().tombstones, 1);
}

#[test]
fn what_is_younger_than_the_grace_is_taken_after_a_clock_was_decades_ahead() {
    let mut victim = Victim::new();
    victim.put("a", "1");
    victim.write(Write::delete(path("a")));
    let decades = 10 * 365 * 24 * 3_600_000;
    victim.now.wall_ms += decades;
    victim.run(120_000);
    assert_eq!(victim.status().tombstones, 0, "alone, nobody can tell");
    victim.now.wall_ms -= decades;
    let link = victim.known(1);
    victim.spread(link, 1, &vec![(at("b"), entry(1, 0, "2"))]);
    assert_eq!(victim.get("b").as_deref(), Some(&b"2"[..]));
}
