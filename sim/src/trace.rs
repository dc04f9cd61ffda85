//! What happened: a hash that two runs of a seed must share, and lines for who asks for them.

use folkmoot_core::engine::Input;

/// The record of a run.
#[derive(Debug)]
pub struct Trace {
    /// Whether lines are printed.
    pub loud: bool,
    hash: u64,
    inputs: u64,
}

impl Trace {
    /// An empty record.
    pub fn new(loud: bool) -> Trace {
        Trace { loud, hash: 0xcbf2_9ce4_8422_2325, inputs: 0 }
    }

    /// The hash of everything so far.
    pub fn hash(&self) -> u64 {
        self.hash
    }

    /// Inputs that engines have handled.
    pub fn inputs(&self) -> u64 {
        self.inputs
    }

    /// Adds facts to the hash.
    pub fn mix(&mut self, facts: &[u64]) {
        for fact in facts {
            self.hash = (self.hash.rotate_left(5) ^ fact).wrapping_mul(0x517c_c1b7_2722_0a95);
        }
    }

    /// Adds an input, and prints it if it is more than a frame or a tick.
    pub fn input(&mut self, now: u64, node: usize, input: &Input) {
        self.inputs += 1;
        match input {
            Input::Frame(link, bytes) => {
                self.mix(&[now, node as u64, 1, link.0]);
                self.mix_bytes(bytes);
                return;
            }
            Input::Tick => return self.mix(&[now, node as u64, 2]),
            Input::LinkUp { link, boot, .. } => self.mix(&[now, node as u64, 3, link.0, *boot]),
            Input::LinkDown(link) => self.mix(&[now, node as u64, 4, link.0]),
            Input::LinkFull(link) => self.mix(&[now, node as u64, 5, link.0]),
            Input::LinkDrained(link) => self.mix(&[now, node as u64, 6, link.0]),
            Input::DialFailed(..) => self.mix(&[now, node as u64, 7]),
            Input::Request(caller, _) => self.mix(&[now, node as u64, 8, caller.request.0]),
            Input::SessionClosed(session) => self.mix(&[now, node as u64, 9, session.0]),
        }
        self.line(now, || format!("node-{node} <- {input:?}"));
    }

    fn mix_bytes(&mut self, bytes: &[u8]) {
        let mut words = bytes.chunks_exact(8);
        for word in &mut words {
            self.mix(&[u64::from_le_bytes(word.try_into().expect("eight bytes"))]);
        }
        let rest = words.remainder().iter().fold(1, |rest, byte| rest << 8 | u64::from(*byte));
        self.mix(&[rest]);
    }

    /// Prints a line, if lines are printed.
    pub fn line(&self, now: u64, text: impl FnOnce() -> String) {
        if self.loud {
            println!("{now:>8} {}", text());
        }
    }
}
