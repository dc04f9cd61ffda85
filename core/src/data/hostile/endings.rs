//! More that ends, and more that is dead, than there is room for in memory; and ends by a clock that
//! is set back.

use super::super::apply::{MEMBERS, system_key};
use super::*;

const ENDING: u64 = 300;

fn crowded(due_keys_max: usize) -> Victim {
    Victim::with(VICTIM, Limits { due_keys_max, ..Limits::default() })
}

/// The paths below `t` in the change log, with how often each is there.
fn logged(victim: &Victim) -> BTreeMap<EntryKey, usize> {
    let mut logged = BTreeMap::new();
    let visit = &mut |_, key: EntryKey| {
        if key.to_path().is_some_and(|path| path.as_str().starts_with("t/")) {
            *logged.entry(key).or_default() += 1;
        }
        true
    };
    read::changes_after(&victim.store, 0, visit).unwrap().unwrap();
    logged
}

#[test]
fn every_value_ends_once_though_most_of_them_find_no_room() {
    let mut victim = crowded(10);
    for n in 0..ENDING {
        // Not in the order in which they are written, and some at one instant.
        let ms = 10_000 + n * 7_919 % ENDING / 20 * 100;
        let expires_ms = Some(WALL_MS + ms);
        victim.write(Write { expires_ms, ..Write::put(path(&format!("t/{n}")), "1") });
    }
    victim.run(9_000);
    assert!(logged(&victim).values().all(|count| *count == 1), "none has ended yet");
    victim.run(11_000);
    let logged = logged(&victim);
    assert_eq!(logged.len() as u64, ENDING);
    assert!(logged.values().all(|count| *count == 2), "written and ended: {logged:?}");
}

#[test]
fn what_is_dead_is_forgotten_though_most_of_it_finds_no_room() {
    let mut victim = crowded(100);
    for n in 0..ENDING {
        let at = path(&format!("t/{n}"));
        victim.write(Write::put(at.clone(), "1"));
        victim.write(Write::delete(at));
        victim.run(10);
    }
    assert_eq!(victim.status().tombstones, ENDING);
    victim.now.wall_ms += 2 * Limits::default().tombstone_grace_ms;
    victim.run(400_000);
    assert_eq!(victim.status().tombstones, 0);
}

#[test]
fn a_node_that_was_linked_once_has_its_word_before_anything_is_forgotten() {
    for restarts in [false, true] {
        let mut victim = Victim::new();
        victim.put("gone", "1");
        victim.write(Write::delete(path("gone")));
        let link = victim.link(1); // lost before it could tell that it is a member
        victim.input(Input::LinkDown(link));
        if restarts {
            victim.restart();
        }
        victim.now.wall_ms += 2 * Limits::default().tombstone_grace_ms;
        victim.run(400_000);
        assert_eq!(victim.status().tombstones, 1, "it may hold something older");
        victim.ask(Request::Mesh(MeshRequest::Remove(NodeId([1; 32]))));
        victim.run(400_000);
        assert_eq!(victim.status().tombstones, 0);
    }
}

/// Links neighbor `n`, which tells that it is a member.
fn member(victim: &mut Victim, n: u8) -> LinkId {
    let link = victim.known(n);
    victim.spread(link, 1, &vec![(system_key(MEMBERS, NodeId([n; 32])), entry(n, 0, "{}"))]);
    link
}

#[test]
fn what_one_member_needs_is_kept_whatever_another_needs() {
    let mut victim = Victim::new();
    let members = [1, 2].map(|n| member(&mut victim, n));
    for name in ["a", "b", "c", "d"] {
        victim.put(name, "1");
        victim.write(Write::delete(path(name)));
    }
    victim.now.wall_ms += 2 * Limits::default().tombstone_grace_ms;
    victim.run(61_000);
    for (link, needed) in members.into_iter().zip([vec![0], vec![1, 3]]) {
        victim.agree(link);
        victim.tell(link, &Message::Buried { round: 1, needed });
    }
    let kept = ["a", "b", "c", "d"].map(|name| victim.entries().contains_key(&at(name)));
    assert_eq!(kept, [true, true, false, true]);
}

#[test]
fn nothing_is_forgotten_when_somebody_has_become_a_member_meanwhile() {
    for joins in [false, true] {
        let mut victim = Victim::new();
        let link = member(&mut victim, 1);
        victim.put("gone", "1");
        victim.write(Write::delete(path("gone")));
        victim.now.wall_ms += 2 * Limits::default().tombstone_grace_ms;
        victim.run(61_000);
        victim.agree(link);
        if joins {
            let (key, now) = (system_key(MEMBERS, NodeId([2; 32])), victim.now.wall_ms - WALL_MS);
            victim.spread(link, 2, &vec![(key, entry(2, now, "{}"))]);
        }
        victim.tell(link, &Message::Buried { round: 1, needed: Vec::new() });
        assert_eq!(victim.status().tombstones, u64::from(joins));
    }
}

#[test]
fn a_first_write_outlives_a_tombstone_that_was_forgotten_before_it_and_no_younger_one() {
    let half = Limits::default().tombstone_grace_ms / 2;
    for (age, stays) in [(half, true), (half - 1, false)] {
        let mut victim = Victim::new();
        let link = victim.known(1);
        let change = Change::PutFirst(Bytes::from_static(b"mine"));
        victim.write(Write { change, ..Write::put(path("name"), "") });
        let Version { stamp, .. } = victim.entries()[&at("name")].version;
        let version = Version { stamp: Stamp::from_ms(stamp.ms() - age), node: NodeId([1; 32]) };
        let dead = Entry { version, value: None, ..entry(1, 0, "") };
        victim.spread(link, 1, &vec![(at("name"), dead.clone())]);
        assert_eq!(victim.get("name").is_some(), stays);
        // The rule of ranks is the same for all: what was made anew beats it everywhere.
        victim.spread(link, 2, &vec![(at("name"), dead)]);
        assert_eq!(victim.get("name").is_some(), stays);
        assert!(!stays || victim.entries()[&at("name")].version.stamp > stamp);
    }
}

/// A node that has told the end of one value, and got another only after its end.
fn with_two_that_ended() -> Victim {
    let mut victim = Victim::new();
    let expires_ms = Some(WALL_MS + 1_000);
    victim.write(Write { expires_ms, ..Write::put(path("t/told"), "1") });
    victim.run(3_000);
    let link = victim.known(2);
    let over = Entry { expires_ms: Some(WALL_MS + 2_000), ..entry(2, 0, "1") };
    victim.spread(link, 1, &vec![(at("t/over"), over)]);
    assert_eq!(logged(&victim), BTreeMap::from([(at("t/told"), 2), (at("t/over"), 1)]));
    victim
}

#[test]
fn what_had_ended_ends_again_by_a_clock_that_was_set_back() {
    let mut victim = with_two_that_ended();
    victim.run(2_000);
    victim.now.wall_ms = WALL_MS - 1_000;
    victim.run(1_500);
    assert!(victim.get("t/told").is_some() && victim.get("t/over").is_some());
    assert_eq!(logged(&victim), BTreeMap::from([(at("t/told"), 2), (at("t/over"), 1)]));
    victim.run(2_000);
    assert_eq!(logged(&victim), BTreeMap::from([(at("t/told"), 3), (at("t/over"), 2)]));
}

#[test]
fn what_ends_again_while_the_node_is_down_is_told_when_it_starts() {
    let mut victim = with_two_that_ended();
    victim.now.wall_ms = WALL_MS - 10_000;
    victim.run(1_500);
    victim.now.wall_ms = WALL_MS + 20_000;
    victim.restart();
    victim.run(100);
    assert_eq!(logged(&victim), BTreeMap::from([(at("t/told"), 3), (at("t/over"), 2)]));
}
