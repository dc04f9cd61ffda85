//! An entry on disk that does not decode: the node stops wherever it is read, and serves nothing
//! in its place.

use super::*;
use crate::replica::index::Index;
use crate::store::Batch;

impl Victim {
    /// Makes what stands at a key undecodable.
    fn damage(&mut self, key: &EntryKey) {
        let mut batch = Batch::default();
        batch.put(crate::store::space::ENTRIES.key(key.as_bytes()), vec![0xff; 40]);
        self.store.apply(&batch);
        self.may_halt = true;
    }

    fn assert_halted(&self, when: &str) {
        let halted = self.halted.as_ref().map(ToString::to_string).unwrap_or_default();
        assert!(halted.contains("does not decode"), "{when}: {halted:?}");
    }
}

#[test]
fn a_damaged_entry_that_a_neighbor_pulls_stops_the_node() {
    let key = *blake3::hash(&[b"folkmoot index 1", &NETWORK.0[..]].concat()).as_bytes();
    let hash = Index::new(key).hash(at("a").as_bytes());
    let asked = [
        Message::Pull(super::super::message::From::Number(0)),
        Message::Pull(super::super::message::From::Key(Bytes::new())),
        Message::Want(vec![(hash.bucket, hash.id)]),
    ];
    for message in asked {
        let mut victim = Victim::new();
        let link = victim.known(1);
        victim.put("a", "1");
        victim.put("b", "1");
        victim.damage(&at("a"));
        victim.tell(link, &message);
        victim.run(100);
        victim.assert_halted(&format!("{message:?}"));
    }
}

#[test]
fn a_damaged_entry_that_a_change_is_judged_by_stops_the_node() {
    let mut victim = Victim::new();
    let link = victim.known(1);
    let change = Change::PutFirst(Bytes::from_static(b"1"));
    victim.write(Write { change, ..Write::put(path("name"), "") });
    victim.damage(&at("name"));
    victim.spread(link, 1, &vec![(at("name"), entry(1, 20_000, "2"))]);
    victim.assert_halted("a first write");
}

#[test]
fn a_damaged_entry_of_which_a_history_is_kept_stops_the_node() {
    let mut victim = Victim::new();
    victim.put("old/a", "1");
    victim.damage(&at("old/a"));
    victim.ask(Request::Data(DataRequest::Write(vec![Write::put(path("old/a"), "2")])));
    victim.assert_halted("a history");
}

#[test]
fn a_damaged_entry_that_ends_or_is_buried_stops_the_node() {
    let mut victim = Victim::new();
    let expires_ms = Some(victim.now.wall_ms + 500);
    victim.write(Write { expires_ms, ..Write::put(path("short"), "1") });
    victim.damage(&at("short"));
    victim.run(2_000);
    victim.assert_halted("the end of a time to live");

    let mut victim = Victim::new();
    victim.put("gone", "1");
    victim.write(Write::delete(path("gone")));
    victim.damage(&at("gone"));
    victim.now.wall_ms += Limits::default().tombstone_grace_ms;
    victim.run(130_000);
    victim.assert_halted("a burial");
}

#[test]
fn a_damaged_entry_that_is_to_be_stamped_anew_stops_the_node() {
    let mut victim = Victim::new();
    victim.now.wall_ms += 1_000_000;
    victim.put("ahead", "1");
    victim.put("damaged", "1");
    victim.now.wall_ms -= 1_000_000;
    victim.damage(&at("damaged"));
    victim.link(1);
    victim.input(Input::Tick);
    victim.assert_halted("a clock that had run ahead");
}
