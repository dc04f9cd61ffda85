//! Addresses at which nobody answers, or not for long.

use super::*;

/// An address that this node dials.
const ADDRESS: &str = "http://10.0.0.1:3655";

impl Victim {
    fn dialling() -> Victim {
        let mut victim = Victim::new();
        victim.ask(Request::Mesh(MeshRequest::AddPeer(ADDRESS.to_owned())));
        victim.pause_before_dialling();
        victim
    }

    /// How long it takes until it dials, in milliseconds.
    fn pause_before_dialling(&mut self) -> u64 {
        let began = self.now.time;
        while self.dialled == 0 {
            assert!(self.now.time - began < 100_000, "it has given up");
            self.run(10);
        }
        self.dialled = 0;
        self.now.time - began
    }

    fn fail(&mut self) -> u64 {
        self.input(Input::DialFailed(ADDRESS.to_owned(), "nobody there".to_owned()));
        self.pause_before_dialling()
    }

    /// A link that is dialled and lost again after a while.
    fn hold(&mut self, ms: u64) -> u64 {
        self.next += 1;
        let (link, node, dialled) = (LinkId(self.next), NodeId([1; 32]), Some(ADDRESS.to_owned()));
        self.peers.insert(link, (node, Unpacker::default()));
        let wall_ms = self.now.wall_ms;
        self.input(Input::LinkUp { link, node, boot: 1, wall_ms, dialled });
        self.run(ms);
        assert_eq!(self.dialled, 0, "not while it is linked");
        self.peers.remove(&link);
        self.input(Input::LinkDown(link));
        self.pause_before_dialling()
    }
}

#[test]
fn pauses_double_up_to_their_limit_and_are_drawn_from_a_range() {
    let Limits { redial_ms_min, redial_ms_max, .. } = Limits::default();
    let mut victim = Victim::dialling();
    let mut drawn = Vec::new();
    for attempt in 0..60 {
        let longest = (redial_ms_min << attempt.min(20)).min(redial_ms_max);
        let pause = victim.fail();
        assert!(pause >= longest / 10 && pause <= longest + 20, "{attempt}: {pause} of {longest}");
        drawn.push(pause);
    }
    let late = &drawn[10..];
    assert!(late.iter().any(|pause| *pause < redial_ms_max / 3), "{late:?}");
    assert!(late.iter().any(|pause| *pause > redial_ms_max * 2 / 3), "{late:?}");
}

#[test]
fn pauses_begin_anew_only_after_a_link_that_held() {
    let Limits { redial_ms_min, .. } = Limits::default();
    let steady_ms = crate::limits::STEADY_MS;
    let mut victim = Victim::dialling();
    for _ in 0..20 {
        victim.fail();
    }
    let longest_of_five = |victim: &mut Victim, held_ms| {
        (0..5).map(|_| victim.hold(held_ms)).max().unwrap_or_default()
    };
    assert!(longest_of_five(&mut victim, steady_ms - 100) > 2 * redial_ms_min);
    assert!(longest_of_five(&mut victim, steady_ms) <= redial_ms_min + 20);
}
