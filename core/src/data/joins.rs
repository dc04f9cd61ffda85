//! Merging is a join: whatever the order, the repeats and the grouping in which entries come, all
//! nodes end with the same.

use super::hostile::{Victim, at};
use super::message::Entries;
use super::{Entry, EntryKey, Strategy};
use crate::id::{NodeId, Path};
use crate::replica::Version;
use crate::rng::Rng;
use crate::time::Stamp;
use proptest::prelude::{
    Just, ProptestConfig, any, prop_assert, prop_assert_eq, prop_oneof, proptest,
};
use proptest::strategy::Strategy as Arbitrary;

/// Entries of few keys, stamps, nodes and values, so that they meet.
fn entry() -> impl Arbitrary<Value = (EntryKey, Entry)> {
    let key = prop_oneof![Just(at("a")), Just(at("b")), Just(field("a")), Just(field("b"))];
    let version = (0u64..6, 0u8..2);
    let strategy = prop_oneof![Just(None), (0u64..4).prop_map(Some)];
    let expires = prop_oneof![Just(None), Just(Some(1)), Just(Some(u64::MAX)), Just(Some(90))];
    let value =
        prop_oneof![Just(None), Just(Some("")), Just(Some("x")), Just(Some("\0\0\0\0\0\0\0Z"))];
    (key, version, strategy, expires, value).prop_map(|(key, version, first, expires_ms, value)| {
        let stamp = |n| Stamp::from_ms(1_700_000_000_000 + n);
        let strategy = match first {
            None if version.0 % 2 == 0 => Strategy::Field,
            None => Strategy::Last,
            Some(0) => Strategy::First { after: Stamp(0) },
            Some(n) => Strategy::First { after: stamp(n - 1) },
        };
        let version = Version { stamp: stamp(version.0 / 2), node: NodeId([version.1; 32]) };
        let value = value.map(|value| bytes::Bytes::from_static(value.as_bytes()));
        (key, Entry { version, strategy, expires_ms, value })
    })
}

fn field(path: &str) -> EntryKey {
    EntryKey::field(&Path::new(path.to_owned()).unwrap(), "f").unwrap()
}

/// A node that was told `entries` in an order and in groups that depend on `seed`.
fn told(entries: &Entries, seed: u64) -> Victim {
    let mut rng = Rng::new(seed);
    let mut node = Victim::new();
    let link = node.link(1);
    let mut rest: Entries = [&entries[..], &entries[..entries.len() / 2]].concat();
    let mut sequence = 0;
    while !rest.is_empty() {
        let mut group = Entries::new();
        for _ in 0..=rng.below(3) {
            if !rest.is_empty() {
                group.push(rest.swap_remove(rng.below(rest.len() as u64) as usize));
            }
        }
        sequence += 1;
        node.spread(link, sequence, &group);
    }
    node
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]
    #[test]
    fn three_nodes_end_with_the_same_in_whatever_order_entries_come(
        entries in proptest::collection::vec(entry(), 1..12),
        seed in any::<u64>(),
    ) {
        let mut nodes: Vec<Victim> = (0..3).map(|n| told(&entries, seed.wrapping_add(n))).collect();
        let held = nodes[0].entries();
        for node in &mut nodes {
            prop_assert_eq!(&node.entries(), &held);
        }
        let digests: Vec<_> = nodes.iter_mut().map(|node| node.status().digest).collect();
        prop_assert!(digests.windows(2).all(|pair| pair[0] == pair[1]));
    }
}
