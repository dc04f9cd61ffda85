//! What the operator is told when clocks or keys are not as they should be.

use super::*;

impl Victim {
    /// How often it was said that the clock is off, since the last call.
    fn take_clock_off(&mut self) -> Vec<i64> {
        let off = |notice| match notice {
            Notice::ClockOff(ms) => Some(ms),
            _ => None,
        };
        std::mem::take(&mut self.notices).into_iter().filter_map(off).collect()
    }
}

#[test]
fn three_neighbors_convict_a_clock_to_the_millisecond_and_two_do_not() {
    let limit = Limits::default().clock_off_ms_max;
    let cases = [(3, limit + 1, true), (3, limit, false), (2, 10 * limit, false)];
    for ((neighbors, off_ms, convicted), ahead) in
        cases.into_iter().flat_map(|c| [(c, true), (c, false)])
    {
        let mut victim = Victim::new();
        let wall_ms = if ahead { WALL_MS + off_ms } else { WALL_MS - off_ms };
        for n in 1..=neighbors {
            victim.link_at(n, wall_ms);
        }
        victim.input(Input::Tick);
        let told = i64::try_from(off_ms).unwrap() * if ahead { 1 } else { -1 };
        let expected: &[i64] = if convicted { &[told] } else { &[] };
        assert_eq!(victim.take_clock_off(), expected, "{neighbors} neighbors, {told} ms");
        let reply = victim.ask(Request::Data(DataRequest::Write(vec![Write::put(path("a"), "1")])));
        let refused = matches!(reply, Reply::Failed(crate::error::ErrorCode::ClockOff, 0));
        assert_eq!(refused, convicted, "{reply:?}");
        assert_eq!(refused, victim.get("a").is_none());
    }
}

#[test]
fn it_is_told_once_that_the_clock_is_off_and_again_when_it_is_off_again() {
    let mut victim = Victim::new();
    let mut links: Vec<LinkId> = (1..=3).map(|n| victim.link_at(n, WALL_MS + 60_000)).collect();
    for _ in 0..3 {
        victim.input(Input::Tick);
    }
    assert_eq!(victim.take_clock_off(), [60_000]);
    victim.input(Input::LinkDown(links.remove(0)));
    victim.input(Input::Tick);
    assert_eq!(victim.take_clock_off(), [] as [i64; 0], "two cannot judge");
    victim.link_at(4, WALL_MS + 60_000);
    victim.input(Input::Tick);
    assert_eq!(victim.take_clock_off(), [60_000]);
}

#[test]
fn a_node_that_runs_with_the_same_key_is_told_of_and_the_last_run_is_not() {
    let mut victim = Victim::new();
    let link = victim.link(1);
    victim.run(1_000);
    let twins = |victim: &mut Victim| {
        let notices = std::mem::take(&mut victim.notices);
        notices.iter().filter(|notice| matches!(notice, Notice::Twin)).count()
    };
    victim.say(link, Kind::Record, &record(VICTIM, 0, 9, &[]));
    assert_eq!(twins(&mut victim), 0, "of an earlier run");
    victim.say(link, Kind::Record, &record(VICTIM, 2, 1, &[]));
    assert_eq!(twins(&mut victim), 1);
    victim.say(link, Kind::Record, &record(VICTIM, 2, 2, &[]));
    assert_eq!(twins(&mut victim), 0, "it was told of this one");
    let mut forged = record(VICTIM, 3, 1, &[]);
    forged[0] ^= 1;
    victim.say(link, Kind::Record, &forged);
    assert_eq!(twins(&mut victim), 0, "not signed by this node's key");
}

#[test]
fn a_node_that_runs_on_beside_a_later_run_of_itself_is_shown_its_record() {
    let mut victim = Victim::new();
    let later = victim.link(1);
    let node = NodeId([1; 32]);
    for link in [LinkId(50), LinkId(51)] {
        victim.said.clear();
        victim.peers.insert(link, (node, Unpacker::default()));
        let wall_ms = victim.now.wall_ms;
        victim.input(Input::LinkUp { link, node, boot: 0, wall_ms, dialled: None });
        let shown = &record(node, 1, 1, &[VICTIM])[..];
        let said = |(to, kind, body): &(LinkId, u8, Bytes)| {
            *to == link && Kind::from_byte(*kind) == Some(Kind::Record) && body == shown
        };
        assert!(victim.said.iter().any(said), "{:?}", victim.said);
        assert_eq!(victim.closed.pop().unwrap().0, link);
    }
    let refused =
        |notice: &&Notice| matches!(notice, Notice::Refused { node: told, .. } if *told == node);
    assert_eq!(victim.notices.iter().filter(refused).count(), 1, "the operator is told once");
    assert!(victim.closed.is_empty() && victim.peers.contains_key(&later));
}
