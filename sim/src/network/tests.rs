//! Links on their own: order, cuts, full queues, ends.

use super::*;

struct Wire {
    network: Network,
    queue: Queue<Event>,
    now: u64,
    /// Whether the sender knows that its queue is full.
    knowing: bool,
}

/// Two nodes and one link between them, both ends open.
fn wire() -> Wire {
    let mut wire = Wire {
        network: Network::new(vec![vec![Way::new(10, 5); 2]; 2], 100, 1),
        queue: Queue::default(),
        now: 0,
        knowing: false,
    };
    wire.network.dial(0, &mut wire.queue, [0, 1], 0, "node-1".to_owned());
    wire.queue.pop();
    for end in 0..2 {
        wire.network.open(0, end);
    }
    wire.network.link(0).unwrap().settled = true;
    wire
}

impl Wire {
    fn send(&mut self, from: u64, text: &'static str) -> Sent {
        self.network.send(self.now, &mut self.queue, LinkId(from), Bytes::from(text), self.knowing)
    }

    fn cut(&mut self, how: Cut, cut: bool) {
        self.network.set_cut(self.now, &mut self.queue, (0, 1), how, cut);
    }

    /// What happens until nothing is due: frames, and `-` for an end that lost its link.
    fn run(&mut self) -> String {
        let mut seen = Vec::new();
        while let Some((at, event)) = self.queue.pop() {
            self.now = at;
            match event {
                Event::Link(LinkEvent::Arrived(id)) => seen.extend(self.network.arrive(id)),
                Event::Link(LinkEvent::Lost(_)) => seen.push(Bytes::from("-")),
                Event::Link(LinkEvent::Left(id, bytes)) if self.network.leave(id, bytes) => {
                    seen.push(Bytes::from("drained"));
                }
                _ => {}
            }
        }
        seen.iter().map(|bytes| String::from_utf8_lossy(bytes)).collect::<Vec<_>>().join(" ")
    }
}

#[test]
fn frames_arrive_in_order_whatever_the_jitter() {
    let mut wire = wire();
    for text in ["a", "b", "c", "d", "e", "f"] {
        wire.send(0, text);
    }
    assert_eq!(wire.run(), "a b c d e f");
    assert!(wire.now >= 10);
}

#[test]
fn frames_that_vanish_take_the_direction_with_them() {
    let mut wire = wire();
    wire.send(0, "under way");
    wire.cut(Cut::Vanish, true);
    assert_eq!(wire.run(), "");
    wire.cut(Cut::Vanish, false);
    wire.send(0, "after");
    wire.send(1, "back");
    assert_eq!(wire.run(), "back");
}

#[test]
fn frames_that_stall_arrive_in_order_after_the_cut() {
    let mut wire = wire();
    wire.send(0, "a");
    wire.cut(Cut::Stall, true);
    wire.send(0, "b");
    assert_eq!(wire.run(), "");
    wire.cut(Cut::Stall, false);
    wire.send(0, "c");
    assert_eq!(wire.run(), "a b c");
}

#[test]
fn a_slow_way_fills_the_queue_once_and_drains_it() {
    let mut wire = wire();
    wire.network.way(0, 1).bytes_per_ms = 1;
    let frame = "fifty bytes fifty bytes fifty bytes fifty bytes 50";
    assert_eq!(wire.send(0, frame), Sent::Quietly);
    assert_eq!(wire.send(0, frame), Sent::Quietly);
    assert_eq!(wire.send(0, frame), Sent::Full);
    assert_eq!(wire.send(0, frame), Sent::Quietly);
    assert_eq!(wire.network.over_full_max, 0, "who does not know of it yet may go on");
    wire.knowing = true;
    assert_eq!(wire.send(0, frame), Sent::Quietly);
    assert_eq!(wire.network.over_full_max, 50);
    assert!(wire.run().contains("drained"));
    assert!(wire.now >= 200);
}

#[test]
fn the_other_end_hears_of_a_close_after_what_was_sent() {
    let mut wire = wire();
    wire.send(0, "last words");
    wire.network.close(wire.now, &mut wire.queue, LinkId(0), false);
    assert_eq!(wire.run(), "last words -");
}

#[test]
fn nobody_hears_of_a_machine_that_goes_dark_until_it_is_back() {
    let mut wire = wire();
    wire.network.darken(1);
    wire.send(0, "lost");
    assert_eq!(wire.run(), "");
    wire.network.dark[1] = false;
    wire.send(0, "refused");
    assert_eq!(wire.run(), "-");
}
