//! What goes wrong, and how it is set right again.

use crate::clock::true_ms;
use crate::network::Cut;
use crate::world::{Event, World};
use folkmoot_core::store::MemoryStore;

/// One fault; it begins and it ends.
#[derive(Clone, Debug, PartialEq)]
pub enum Fault {
    /// A node is killed and started again at the end; its clock may have jumped meanwhile.
    Crash {
        /// Which.
        node: usize,
        /// Whether the machine goes dark too, so that nobody is told.
        power: bool,
        /// By how much the clock is off after the start.
        jump_ms: i64,
    },
    /// Every machine goes dark at one moment.
    PowerAll,
    /// Two nodes cannot reach each other.
    Cut {
        /// One of them.
        a: usize,
        /// The other.
        b: usize,
        /// What becomes of frames.
        how: Cut,
    },
    /// What one node sends does not reach the other.
    OneWay {
        /// Who is not heard.
        from: usize,
        /// Who does not hear.
        to: usize,
        /// What becomes of frames.
        how: Cut,
    },
    /// The nodes fall into two groups that cannot reach each other.
    Partition {
        /// The nodes of one group, a bit each.
        group: u32,
        /// What becomes of frames.
        how: Cut,
    },
    /// Two nodes are cut and healed again and again.
    Flap {
        /// One of them.
        a: usize,
        /// The other.
        b: usize,
        /// How long they are cut, and how long not, in milliseconds.
        ms: u64,
    },
    /// Links between two nodes are reset once.
    Reset {
        /// One of them.
        a: usize,
        /// The other.
        b: usize,
    },
    /// The ways between two nodes carry little.
    Slow {
        /// One of them.
        a: usize,
        /// The other.
        b: usize,
        /// Bytes in a millisecond.
        bytes_per_ms: u64,
    },
    /// A node is stopped and goes on at the end, as if nothing had been.
    Pause {
        /// Which.
        node: usize,
    },
    /// A wall clock jumps, and jumps back at the end.
    ClockJump {
        /// Whose.
        node: usize,
        /// How far.
        by_ms: i64,
    },
    /// Wall clocks of some nodes stand still, all at the same second.
    ClockFreeze {
        /// The nodes, a bit each.
        nodes: u32,
    },
    /// A node is away and comes back with an empty disk.
    Wipe {
        /// Which.
        node: usize,
        /// Whether its key was saved.
        same_key: bool,
    },
    /// A node is away and comes back with the disk it had when the fault began.
    Restore {
        /// Which.
        node: usize,
    },
    /// A disk takes long to sync.
    SlowDisk {
        /// Whose.
        node: usize,
        /// The longest time of a sync, in milliseconds.
        ms: u64,
    },
    /// A node comes late: it was not there before the end.
    Late {
        /// Which.
        node: usize,
    },
}

impl Fault {
    /// The name of its kind.
    pub fn kind(&self) -> &'static str {
        match self {
            Fault::Crash { power: false, .. } => "crash",
            Fault::Crash { power: true, .. } => "power",
            Fault::PowerAll => "power-all",
            Fault::Cut { .. } => "cut",
            Fault::OneWay { .. } => "one-way",
            Fault::Partition { .. } => "partition",
            Fault::Flap { .. } => "flap",
            Fault::Reset { .. } => "reset",
            Fault::Slow { .. } => "slow",
            Fault::Pause { .. } => "pause",
            Fault::ClockJump { .. } => "clock-jump",
            Fault::ClockFreeze { .. } => "clock-freeze",
            Fault::Wipe { .. } => "wipe",
            Fault::Restore { .. } => "restore",
            Fault::SlowDisk { .. } => "slow-disk",
            Fault::Late { .. } => "late",
        }
    }
}

/// A fault and when it happens.
#[derive(Clone, Debug, PartialEq)]
pub struct Planned {
    /// World time of its beginning, in milliseconds.
    pub at_ms: u64,
    /// How long it lasts, in milliseconds.
    pub lasts_ms: u64,
    /// What it is.
    pub fault: Fault,
}

impl World {
    pub(crate) fn fault_begins(&mut self, index: usize) {
        let Some(fault) = self.fault(index) else { return };
        self.trace(|| format!("fault {index} begins: {fault:?}"));
        self.mix(&[10, index as u64]);
        match fault {
            Fault::Crash { node, power, .. } => self.crash(node, power),
            Fault::PowerAll => (0..self.hosts.len()).for_each(|node| self.crash(node, true)),
            Fault::Flap { .. } => self.flap(index),
            Fault::Reset { a, b } => self.reset(a, b),
            Fault::Slow { a, b, bytes_per_ms } => self.set_speed(a, b, bytes_per_ms),
            Fault::Pause { node } => self.pause(node, true),
            Fault::ClockJump { node, by_ms } => self.hosts[node].clock.jump(by_ms),
            Fault::ClockFreeze { nodes } => {
                let second = true_ms(self.now) / 1000 * 1000;
                for host in self.hosts.iter_mut().filter(|host| nodes & (1 << host.index) != 0) {
                    host.clock.freeze(second);
                }
            }
            Fault::Wipe { node, .. } => self.crash(node, true),
            Fault::Restore { node } => {
                self.backups.insert(index, self.hosts[node].disk.durable().clone());
            }
            Fault::SlowDisk { node, ms } => self.hosts[node].sync_ms = (1, ms),
            Fault::Late { .. } => {}
            Fault::Cut { .. } | Fault::OneWay { .. } | Fault::Partition { .. } => {
                self.set_cuts(&fault, true);
            }
        }
    }

    pub(crate) fn fault_ends(&mut self, index: usize) {
        let Some(fault) = self.fault(index) else { return };
        self.trace(|| format!("fault {index} ends: {fault:?}"));
        self.mix(&[11, index as u64]);
        match fault {
            Fault::Crash { node, jump_ms, .. } => {
                if jump_ms != 0 && self.hosts[node].engine.is_none() {
                    self.hosts[node].clock.jump(jump_ms);
                }
                self.start(node);
            }
            Fault::PowerAll => {
                for node in 0..self.hosts.len() {
                    if !self.is_late(node) {
                        self.start(node);
                    }
                }
            }
            Fault::Flap { .. } if self.flapped[index] => self.flap(index),
            Fault::Slow { a, b, .. } => self.set_speed(a, b, self.options.ways[a][b].bytes_per_ms),
            Fault::Pause { node } => self.pause(node, false),
            Fault::ClockJump { node, by_ms } => {
                if !self.hosts[node].clock.is_right() {
                    self.hosts[node].clock.jump(-by_ms);
                }
            }
            Fault::ClockFreeze { nodes } => {
                for host in self.hosts.iter_mut().filter(|host| nodes & (1 << host.index) != 0) {
                    host.clock.set_right();
                }
            }
            Fault::Wipe { node, same_key } => {
                self.crash(node, true);
                self.hosts[node].generation += u32::from(!same_key);
                self.replace_disk(node, MemoryStore::default());
            }
            Fault::Restore { node } => {
                self.crash(node, true);
                if let Some(backup) = self.backups.remove(&index) {
                    self.replace_disk(node, backup);
                }
            }
            Fault::SlowDisk { node, .. } => self.hosts[node].sync_ms = self.options.sync_ms,
            Fault::Late { node } => self.start(node),
            Fault::Cut { .. } | Fault::OneWay { .. } | Fault::Partition { .. } => {
                self.set_cuts(&fault, false);
            }
            Fault::Flap { .. } | Fault::Reset { .. } => {}
        }
    }

    fn fault(&self, index: usize) -> Option<Fault> {
        self.options.faults.get(index).map(|planned| planned.fault.clone())
    }

    /// Whether a node is still to come.
    fn is_late(&self, node: usize) -> bool {
        self.options.faults.iter().any(|planned| {
            planned.fault == Fault::Late { node } && planned.at_ms + planned.lasts_ms > self.now
        })
    }

    fn replace_disk(&mut self, node: usize, disk: MemoryStore) {
        self.hosts[node].disk.restore(disk);
        self.void_promises();
        self.clients.forget_watch(node);
        self.start(node);
    }

    fn set_speed(&mut self, a: usize, b: usize, bytes_per_ms: u64) {
        self.network.way(a, b).bytes_per_ms = bytes_per_ms;
        self.network.way(b, a).bytes_per_ms = bytes_per_ms;
    }

    fn reset(&mut self, a: usize, b: usize) {
        for number in self.network.between(a, b) {
            self.network.reset(self.now, &mut self.queue, number);
        }
    }

    /// Cuts a flapping pair, or heals it, and plans the next time.
    pub(crate) fn flap(&mut self, index: usize) {
        let planned = self.options.faults.get(index).cloned();
        let Some(Planned { at_ms, lasts_ms, fault: Fault::Flap { a, b, ms } }) = planned else {
            return;
        };
        let over = self.now >= at_ms + lasts_ms;
        if over && !self.flapped[index] {
            return;
        }
        self.flapped[index] = !self.flapped[index];
        let how = if index.is_multiple_of(2) { Cut::Vanish } else { Cut::Stall };
        self.set_cuts(&Fault::Cut { a, b, how }, self.flapped[index]);
        if self.flapped[index] && self.rng.below(2) == 0 {
            self.reset(a, b);
        }
        if !over {
            let pause = self.rng.jitter(ms).max(1);
            self.queue.push(self.now + pause, Event::Flap(index));
        }
    }

    fn set_cuts(&mut self, fault: &Fault, cut: bool) {
        let both = |a, b| vec![(a, b), (b, a)];
        let (pairs, how) = match *fault {
            Fault::Cut { a, b, how } => (both(a, b), how),
            Fault::OneWay { from, to, how } => (vec![(from, to)], how),
            Fault::Partition { group, how } => {
                let inside = |node: usize| group & (1 << node) != 0;
                let nodes = 0..self.hosts.len();
                let pairs = nodes.clone().flat_map(|a| nodes.clone().map(move |b| (a, b)));
                (pairs.filter(|(a, b)| inside(*a) != inside(*b)).collect(), how)
            }
            _ => return,
        };
        for pair in pairs {
            self.network.set_cut(self.now, &mut self.queue, pair, how, cut);
        }
    }

    /// Ends all faults: the network is whole, every node runs, every clock is right.
    pub fn heal(&mut self) {
        for index in 0..self.options.faults.len() {
            let planned = &self.options.faults[index];
            if planned.at_ms <= self.now && planned.at_ms + planned.lasts_ms > self.now {
                self.fault_ends(index);
            }
        }
        self.options.faults.clear();
        for node in 0..self.hosts.len() {
            self.hosts[node].clock.set_right();
            self.pause(node, false);
            self.start(node);
        }
    }
}
