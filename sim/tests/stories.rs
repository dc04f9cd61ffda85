//! Bugs that seeds have found, each told again in a small world, on a line and on a ring.
//!
//! Each of these was red before its fix. At the end of each story the faults end, and every
//! invariant must come to hold.

use folkmoot_core::data::read::{self, Value};
use folkmoot_core::id::Path;
use folkmoot_core::stats::Stats;
use folkmoot_sim::clock::{TEN_YEARS_MS, true_ms};
use folkmoot_sim::faults::{Fault, Planned};
use folkmoot_sim::network::Cut;
use folkmoot_sim::oracle::{Outcome, Wish, WriteId};
use folkmoot_sim::run::come_to_rest;
use folkmoot_sim::swarm::{Swarm, Topology};
use folkmoot_sim::world::World;

/// Worlds of each shape in which a story is told.
const SEEDS: u64 = 10;
const HOUR_MS: i64 = 3_600_000;

/// Tells a story in worlds of `nodes` nodes, otherwise as `change` makes them.
fn tell(nodes: usize, change: impl Fn(&mut Swarm), story: impl Fn(&mut World)) {
    for topology in [Topology::Line, Topology::Ring] {
        tell_on(topology, nodes, &change, &story);
    }
}

fn tell_on(
    topology: Topology,
    nodes: usize,
    change: impl Fn(&mut Swarm),
    story: impl Fn(&mut World),
) {
    for seed in 0..SEEDS {
        let mut options = Swarm::calm(seed, nodes, topology);
        options.first_op_ms = 3_001; // the story's clients, if it has any
        change(&mut options);
        let mut world = World::new(options, None, false);
        world.clients.active = false;
        world.begin();
        world.run_until(3_000);
        story(&mut world);
        world.clients.active = false;
        come_to_rest(&mut world);
        assert_eq!(world.violation, None, "seed {seed} on a {topology:?}");
    }
}

fn path(text: &str) -> Path {
    Path::new(text.to_owned()).expect("a sound path")
}

fn pass(world: &mut World, ms: u64) {
    world.run_until(world.now + ms);
    assert_eq!(world.violation, None);
}

/// Cuts a node off from all others, or lets it back in.
fn cut_off(world: &mut World, node: usize, cut: bool) {
    for other in (0..world.hosts.len()).filter(|other| *other != node) {
        for pair in [(node, other), (other, node)] {
            world.network.set_cut(world.now, &mut world.queue, pair, Cut::Vanish, cut);
        }
    }
}

fn fields(names: &[&str]) -> Wish {
    Wish::Fields(names.iter().map(|name| name.to_string()).collect())
}

/// Everything that every node counted.
fn count(world: &World, what: impl Fn(&Stats) -> u64) -> u64 {
    let engines = world.hosts.iter().filter_map(|host| host.engine.as_ref());
    engines.map(|engine| what(engine.stats())).sum()
}

/// What a client of a node is shown at a path.
fn shown(world: &World, node: usize, path: &Path) -> Option<Value> {
    let host = &world.hosts[node];
    let found = read::get(host.disk.durable(), path, host.clock.wall_ms(world.now));
    found.expect("memory can be read").map(|found| found.value)
}

/// The first and the last node are near the middle and far from each other.
fn one_long_way(options: &mut Swarm) {
    let last = options.nodes - 1;
    for (a, b) in [(0, last), (last, 0)] {
        options.ways[a][b].latency_ms = 300;
    }
}

#[test]
fn an_announcement_that_overtakes_an_envelope_asks_for_nothing() {
    tell(3, one_long_way, |world| {
        pass(world, 30_000); // until the round trips are known
        let before = count(world, |stats| stats.grafts);
        for _ in 0..30 {
            world.put(0, &path("last/h0"));
            pass(world, 700);
        }
        assert_eq!(count(world, |stats| stats.grafts), before);
    });
}

#[test]
fn a_summary_that_overtakes_an_envelope_pulls_nothing() {
    let busy = |options: &mut Swarm| {
        one_long_way(options);
        options.limits.compare_ms = 2_000;
    };
    tell(3, busy, |world| {
        pass(world, 30_000);
        let before = count(world, |stats| stats.caught_up);
        for _ in 0..30 {
            world.put(0, &path("last/h0"));
            pass(world, 330);
        }
        assert_eq!(count(world, |stats| stats.caught_up), before);
    });
}

#[test]
fn nodes_that_restarted_pull_nothing_that_is_spread() {
    let busy = |options: &mut Swarm| {
        one_long_way(options);
        options.limits.compare_ms = 2_000;
    };
    tell(3, busy, |world| {
        for node in 0..3 {
            world.put(node, &path("last/h0"));
            pass(world, 1_000);
        }
        for node in [1, 2] {
            world.crash(node, false);
            world.start(node);
        }
        pass(world, 40_000);
        let before = count(world, |stats| stats.caught_up);
        for _ in 0..30 {
            world.put(0, &path("last/h0"));
            pass(world, 330);
        }
        assert_eq!(count(world, |stats| stats.caught_up), before);
    });
}

#[test]
fn a_page_that_takes_longer_than_a_pull_waits_is_sent_once() {
    let late = |options: &mut Swarm| {
        let node = options.nodes - 1;
        options.bulk_bytes = 192 << 10;
        options.full_bytes = 16 << 10;
        options.late = vec![node];
        options.faults = vec![Planned { at_ms: 0, lasts_ms: 20_000, fault: Fault::Late { node } }];
        for other in 0..node {
            options.ways[node][other].bytes_per_ms = 12;
            options.ways[other][node].bytes_per_ms = 12;
        }
    };
    tell(3, late, |world| {
        world.clients.active = true;
        pass(world, 10_000);
        world.clients.active = false;
        pass(world, 200_000);
        let (held, caught_up) = (entries(world), count(world, |stats| stats.caught_up));
        assert!(caught_up <= 4 * held, "{caught_up} copies of {held} entries");
    });
}

/// Entries on the disk of the first node.
fn entries(world: &World) -> u64 {
    folkmoot_sim::oracle::entries(world.hosts[0].disk.durable()).len() as u64
}

#[test]
fn nothing_is_sent_again_and_again_over_a_full_link() {
    let narrow = |options: &mut Swarm| {
        options.bulk_bytes = 512 << 10;
        options.full_bytes = 4 << 10;
        options.ways.iter_mut().flatten().for_each(|way| way.bytes_per_ms = 100);
    };
    tell(4, narrow, |world| {
        world.clients.active = true;
        pass(world, 10_000);
    });
}

#[test]
fn a_delete_outlives_an_absence_that_is_longer_than_the_grace() {
    let short = |options: &mut Swarm| options.limits.tombstone_grace_ms = 20_000;
    tell(4, short, |world| absence(world, 0));
}

#[test]
fn clocks_ten_years_ahead_forget_no_delete_too_early() {
    tell(4, |_| {}, |world| absence(world, TEN_YEARS_MS));
}

/// While the last node is away something is deleted, and the clocks of all others jump.
fn absence(world: &mut World, jump_ms: i64) {
    let (away, path) = (world.hosts.len() - 1, path("last/h0"));
    world.put(0, &path);
    pass(world, 2_000);
    cut_off(world, away, true);
    pass(world, 20_000);
    world.write_one(1, &path, Wish::Delete);
    pass(world, 1_000);
    world.hosts[..away].iter_mut().for_each(|host| host.clock.jump(jump_ms));
    pass(world, 200_000);
    world.hosts[..away].iter_mut().for_each(|host| host.clock.set_right());
    cut_off(world, away, false);
    pass(world, 60_000);
    assert_eq!(shown(world, away, &path), None);
}

#[test]
fn fields_stay_gone_when_the_delete_above_them_is_forgotten() {
    let short = |options: &mut Swarm| options.limits.tombstone_grace_ms = 20_000;
    tell(3, short, |world| {
        let path = path("merge/h0");
        world.write_one(0, &path, fields(&["a", "b"]));
        pass(world, 1_000);
        world.write_one(1, &path, Wish::Delete);
        pass(world, 250_000);
        assert!(count(world, |stats| stats.collected) > 0, "nothing was forgotten");
        assert_eq!((0..3).find_map(|node| shown(world, node, &path)), None);
    });
}

#[test]
fn a_watcher_is_shown_a_field_that_comes_after_the_delete_above_it_was_forgotten() {
    let late = |options: &mut Swarm| {
        options.limits.tombstone_grace_ms = 20_000;
        options.late = vec![options.nodes - 1];
        options.watchers = vec![(0, None)];
    };
    tell(3, late, |world| {
        let (away, path) = (world.hosts.len() - 1, path("merge/h0"));
        cut_off(world, away, true);
        world.start(away);
        world.write_one(away, &path, fields(&["a"]));
        world.write_one(0, &path, fields(&["b"]));
        pass(world, 1_000);
        world.write_one(0, &path, Wish::Delete);
        pass(world, 250_000);
        assert!(count(world, |stats| stats.collected) > 0, "nothing was forgotten");
        cut_off(world, away, false);
        pass(world, 60_000);
        assert!(shown(world, 0, &path).is_some(), "no member had said that it held it");
    });
}

#[test]
fn what_a_clock_that_ran_ahead_stamped_keeps_its_order() {
    tell(
        3,
        |_| {},
        |world| {
            let path = path("merge/h0");
            cut_off(world, 0, true);
            world.hosts[0].clock.jump(HOUR_MS);
            world.write_one(0, &path, fields(&["a", "b"]));
            world.write_one(0, &path, Wish::Delete);
            let op = world.write_one(0, &path, fields(&["b"]));
            pass(world, 1_000);
            world.hosts[0].clock.set_right();
            cut_off(world, 0, false);
            pass(world, 60_000);
            let value = WriteId { op, index: 0 }.to_value(0);
            let only = Value::Fields { base: None, fields: vec![("b".to_owned(), value)] };
            assert_eq!(shown(world, 2, &path), Some(only));
        },
    );
}

#[test]
fn a_delete_that_is_stamped_anew_still_beats_what_it_deleted() {
    tell(
        3,
        |_| {},
        |world| {
            let path = path("last/h0");
            world.hosts[1].clock.jump(50_000);
            world.put(1, &path);
            pass(world, 1_000);
            world.hosts[0].clock.jump(HOUR_MS);
            world.write_one(0, &path, Wish::Delete);
            pass(world, 1_000);
            world.hosts[0].clock.set_right();
            pass(world, 60_000);
            assert_eq!((0..3).find_map(|node| shown(world, node, &path)), None);
        },
    );
}

#[test]
fn clocks_that_were_set_right_are_believed_again_over_busy_links() {
    tell_on(
        Topology::Star,
        4,
        |_| {},
        |world| {
            (1..4).for_each(|node| world.hosts[node].clock.jump(HOUR_MS));
            pass(world, 20_000);
            (1..4).for_each(|node| world.hosts[node].clock.set_right());
            for round in 0..150 {
                world.put(1 + round % 3, &path("last/h1")); // nobody falls silent
                pass(world, 200);
            }
            let op = world.put(0, &path("last/h0"));
            pass(world, 1_000);
            let outcome = &world.oracle.ops[&op].outcome;
            assert!(matches!(outcome, Outcome::Done(..)), "{outcome:?}");
        },
    );
}

#[test]
fn a_node_that_restarts_all_the_time_does_not_run_into_the_future() {
    tell(
        3,
        |_| {},
        |world| {
            for _ in 0..15 {
                world.put(0, &path("last/h0"));
                pass(world, 1_000);
                world.crash(0, false);
                world.start(0);
                pass(world, 2_000);
            }
            assert_eq!(count(world, |stats| stats.future_refused), 0);
        },
    );
}

#[test]
fn what_is_written_all_the_time_is_not_caught_up_all_the_time() {
    let busy = |options: &mut Swarm| options.bulk_bytes = 512 << 10;
    tell(3, busy, |world| {
        cut_off(world, 2, true);
        world.clients.active = true;
        pass(world, 60_000);
        world.clients.active = false;
        pass(world, 20_000);
        let before = count(world, |stats| stats.caught_up);
        cut_off(world, 2, false);
        pass(world, 60_000);
        let (held, caught_up) = (entries(world), count(world, |stats| stats.caught_up) - before);
        assert!(caught_up <= 4 * held, "{caught_up} copies of {held} entries");
    });
}

#[test]
fn clocks_that_stand_still_stamp_nothing_twice_after_a_restart() {
    tell(
        3,
        |_| {},
        |world| {
            let second = true_ms(world.now) / 1000 * 1000;
            world.hosts.iter_mut().for_each(|host| host.clock.freeze(second));
            world.hosts[1].clock.freeze(second + world.options.limits.drift_ms_max);
            world.put(1, &path("last/h0"));
            pass(world, 1_000);
            world.hosts[1].clock.freeze(second);
            for _ in 0..3 {
                pass(world, 12_000); // until the clocks are known to agree
                for _ in 0..5 {
                    world.put(0, &path("last/h0"));
                }
                pass(world, 1_000);
                world.crash(0, false);
                world.start(0);
            }
        },
    );
}

#[test]
fn a_clock_that_starts_twice_from_one_bound_stamps_nothing_twice() {
    let put_back = |options: &mut Swarm| {
        let crash = Fault::Crash { node: 0, power: true, jump_ms: 0 };
        options.faults = vec![
            Planned { at_ms: 4_000, lasts_ms: 3_000, fault: Fault::Restore { node: 0 } },
            Planned { at_ms: 4_500, lasts_ms: 500, fault: crash },
        ];
    };
    tell(3, put_back, |world| {
        pass(world, 2_500); // started from the bound
        for _ in 0..2 {
            for _ in 0..5 {
                world.put(0, &path("last/h0"));
            }
            pass(world, 2_600); // put back, and started from the bound again
        }
    });
}

#[test]
fn what_a_wrong_clock_refused_comes_soon_after_it_is_set_right_however_much_it_is() {
    tell(
        3,
        |options| options.patience_ms = 100_000,
        |world| {
            world.hosts[1].clock.jump(-HOUR_MS);
            for number in 0..400 {
                world.put(0, &path(&format!("last/c{number}")));
                pass(world, 10);
            }
            pass(world, 10_000);
            world.hosts[1].clock.set_right();
        },
    );
}

#[test]
fn what_a_wrong_clock_refused_comes_at_once_when_it_is_set_right_however_long_it_was_wrong() {
    tell(
        3,
        |_| {},
        |world| {
            world.hosts[1].clock.jump(-HOUR_MS);
            world.put(0, &path("last/d"));
            pass(world, 20 * 60_000);
            assert!(shown(world, 1, &path("last/d")).is_none());
            world.hosts[1].clock.set_right();
            pass(world, 2_500);
            for node in 0..3 {
                assert!(shown(world, node, &path("last/d")).is_some(), "node {node}");
            }
        },
    );
}
