//! Any bytes, from a node or from the disk: an error at worst, never a panic.

use super::message::{Message, decode_entries};
use super::{Entry, EntryKey, read};
use crate::engine::{Engine, Output, Step};
use crate::id::Path;
use crate::store::{Batch, MemoryStore, Store};
use proptest::collection::vec;
use proptest::prelude::*;

/// Bytes that get further than random ones: small numbers, and lengths that nearly fit.
fn bytes() -> impl Strategy<Value = Vec<u8>> {
    let byte = prop_oneof![Just(0), Just(1), Just(0xff), 0u8..20, any::<u8>()];
    vec(byte, 0..200)
}

/// A store whose keys are in the right spaces, and nothing else is right.
fn store() -> impl Strategy<Value = MemoryStore> {
    let names = prop_oneof![
        Just(b"mboot".to_vec()),
        Just(b"mclock".to_vec()),
        Just(b"mnumber".to_vec()),
        Just(b"mfloor".to_vec()),
        Just(b"mstore".to_vec()),
        Just(b"mfields".to_vec()),
        Just(b"ea".to_vec()),
        Just(b"l\xff\xff\xff\xff\xff\xff\xff\xff".to_vec()),
        Just(b"l\0\0\0\0\0\0\0\x01".to_vec()),
        (prop_oneof![Just(b'e'), Just(b'l'), Just(b'h'), Just(b'm')], bytes())
            .prop_map(|(space, rest)| [&[space][..], &rest].concat()),
    ];
    let value = prop_oneof![bytes(), vec(Just(0xff), 8), vec(Just(0), 8)];
    vec((names, value), 0..12).prop_map(|pairs| {
        let mut batch = Batch::default();
        pairs.into_iter().for_each(|(key, value)| batch.put(key, value));
        let mut store = MemoryStore::default();
        store.apply(&batch);
        store
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(500))]

    #[test]
    fn messages_and_entries(kind in 0u8..14, bytes in bytes()) {
        let message = [&[kind][..], &bytes].concat();
        if let Ok(Some(message)) = Message::decode(message.into()) {
            prop_assert_eq!(Message::decode(message.encode()), Ok(Some(message)));
        }
        let _ = decode_entries(bytes.clone().into());
        if let Ok(entry) = Entry::from_bytes(bytes.clone().into()) {
            prop_assert_eq!(Entry::from_bytes(entry.to_bytes()), Ok(entry));
        }
        if let Some(key) = EntryKey::parse(bytes.into()) {
            prop_assert_eq!(EntryKey::parse(key.as_bytes().clone()), Some(key));
        }
    }

    #[test]
    fn stores(store in store(), number: u64) {
        let path = Path::new("a").unwrap();
        let _ = read::get(&store, &path, 1_000);
        let _ = read::scan(&store, "", None, 1_000, &mut |_| true);
        let _ = read::scan(&store, "a", Some(&path), 1_000, &mut |_| true);
        let _ = read::history(&store, &path);
        let _ = read::changes_after(&store, number, &mut |_, _| true);
        let _ = read::changes_after(&store, 0, &mut |_, _| true);
        let _ = (read::number(&store), read::floor(&store), read::store_id(&store));
    }

    #[test]
    fn a_node_on_a_store_that_makes_no_sense_stops_or_runs(store in store()) {
        let mut step = Step::default();
        let now = super::hostile::NOW;
        let config = super::hostile::config();
        let mut engine = Engine::open(config, now, &store, &mut step);
        let halted = |step: &Step| step.at_once.iter().any(|o| matches!(o, Output::Halt(_)));
        if !halted(&step) {
            engine.handle(now, crate::engine::Input::Tick, &store, &mut step);
            engine.finish(now, &store, &mut step);
        }
        let mut entries = 0;
        store.scan(b"e", b"f", &mut |_, _| { entries += 1; true }).unwrap();
        prop_assert!(halted(&step) || engine.stats().writes <= 1 + entries);
    }
}
