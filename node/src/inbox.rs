//! Where everything that happens waits for the engine: bounded, and fair over links and sessions.
//!
//! Promise: inputs of one source (a link, a session) are taken in the order in which they were
//! sent; no source can crowd out another, for sources take turns, and each has its own share. A
//! sender that finds no room waits, so a socket whose inputs find none is simply not read.
//! An input that `send` did not take (it was cancelled, or the inbox closed) never happens.
//!
//! Room is counted in units, so that one count bounds both number and bytes. Waiting blocks the
//! calling thread: it is for the one thread that the engine has for itself. To wake it costs more
//! than most steps take: what comes while the engine rests is handled by the thread that brings it
//! ([`Rests`]), and what comes meanwhile, or is large, by the engine's own.
//! Limits: `INBOX_UNITS_MAX`, `SOURCE_UNITS_MAX`, `TAKE_INPUTS_MAX`, `TAKE_BYTES_MAX`,
//! `LIGHT_BYTES_MAX`.

use folkmoot_core::chat::words::ChatRequest;
use folkmoot_core::engine::Input;
use folkmoot_core::id::{LinkId, SessionId};
use folkmoot_core::limits::MESSAGE_COST_BYTES;
use folkmoot_core::request::{Change, DataRequest, Request};
use std::collections::{HashMap, VecDeque};
use std::mem;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError, Weak};
use std::time::Instant;
use tokio::sync::Semaphore;

/// Room of the inbox, in units: 16 MiB, or 8,192 small inputs.
const INBOX_UNITS_MAX: usize = 16 * 1024;
/// Room that one link or session may take of it, in units: 4 MiB, or 2,048 small inputs.
const SOURCE_UNITS_MAX: usize = 4 * 1024;
/// Bytes of a unit.
const UNIT_BYTES: usize = 1024;
/// Units of an input beside its bytes.
const INPUT_UNITS: usize = INBOX_UNITS_MAX / 8_192;
/// Inputs that are taken at once: the largest group commit.
const TAKE_INPUTS_MAX: usize = 4_096;
/// Bytes at which no more inputs are taken at once.
const TAKE_BYTES_MAX: usize = 1024 * 1024;
/// Inputs that a source may hand over before it is another's turn.
const TURN_INPUTS_MAX: usize = 64;
/// Bytes after which it is another's turn.
const TURN_BYTES_MAX: usize = 64 * 1024;
/// Bytes of an input up to which the thread that brings it may handle it.
const LIGHT_BYTES_MAX: usize = 16 * 1024;
/// Empty sources that are kept for use by new ones.
const SPARE_SOURCES_MAX: usize = 256;

/// The node is shutting down: nothing is taken any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the node is shutting down")]
pub(crate) struct Closed;

/// Why an input was not taken at once.
#[derive(Debug)]
pub(crate) enum Unsent {
    /// There is no room for it now.
    NoRoom(Input),
    /// The node is shutting down.
    Closed,
}

/// Why [`Receiver::wait`] returned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Waited {
    /// There may be inputs, or something else to do.
    Over,
    /// There are no inputs, and there will be none.
    Closed,
}

/// An engine that rests while there is nothing to do.
pub(crate) trait Rests: Send + Sync {
    /// Handles what `take` appends, on this thread, if that is likely not for long and no other
    /// thread is at it. Answers until when the engine may rest then, which may be for ever;
    /// `None` if nothing was done.
    fn step_now(&self, take: &mut dyn FnMut(&mut Vec<Input>)) -> Option<Option<Instant>>;
}

/// The sending side; cheap to clone.
#[derive(Clone)]
pub(crate) struct Inbox {
    shared: Arc<Shared>,
}

/// The receiving side. Dropping it closes the inbox.
pub(crate) struct Receiver {
    shared: Arc<Shared>,
}

/// An empty inbox.
pub(crate) fn inbox() -> (Inbox, Receiver) {
    let shared = Arc::new(Shared {
        queues: Mutex::new(Queues::default()),
        arrived: Condvar::new(),
        room: Semaphore::new(INBOX_UNITS_MAX),
        engine: OnceLock::new(),
    });
    (Inbox { shared: shared.clone() }, Receiver { shared })
}

impl Inbox {
    /// Hands over an input, as soon as there is room for it. Like [`Inbox::try_send`] it may act
    /// on what comes of it before it returns: no lock may be held that acting needs.
    pub(crate) async fn send(&self, input: Input) -> Result<(), Closed> {
        // What is answered at once would otherwise never let other tasks of the thread run.
        tokio::task::coop::consume_budget().await;
        let (source, bytes) = (Source::of(&input), bytes_of(&input));
        let units = units(bytes);
        let share = {
            let mut queues = self.shared.lock();
            let index = queues.index_of(source)?;
            let share = &queues.slots[index].share;
            if take_room(share, &self.shared.room, units) {
                queues.push(index, Waiting { input, bytes, units });
                self.shared.arrived_or_step(queues, bytes);
                return Ok(());
            }
            share.clone()
        };
        // The share is held here, so the source's slot is not given to another meanwhile.
        let own = share.acquire_many(units).await.map_err(|_| Closed)?;
        let common = self.shared.room.acquire_many(units).await.map_err(|_| Closed)?;
        let mut queues = self.shared.lock();
        let index = queues.index_of(source)?;
        own.forget();
        common.forget();
        queues.push(index, Waiting { input, bytes, units });
        self.shared.arrived(queues);
        Ok(())
    }

    /// Hands over an input if there is room for it now, or gives it back. May not be called while
    /// an earlier [`Inbox::send`] of the same source waits: it would overtake it.
    pub(crate) fn try_send(&self, input: Input) -> Result<(), Unsent> {
        let (source, bytes) = (Source::of(&input), bytes_of(&input));
        let units = units(bytes);
        let mut queues = self.shared.lock();
        let Ok(index) = queues.index_of(source) else { return Err(Unsent::Closed) };
        if !take_room(&queues.slots[index].share, &self.shared.room, units) {
            return Err(Unsent::NoRoom(input));
        }
        queues.push(index, Waiting { input, bytes, units });
        self.shared.arrived_or_step(queues, bytes);
        Ok(())
    }

    /// Hands over an input without regard to room, still behind what its source sent before.
    /// For small inputs that happen seldom: the beginning and end of links and sessions, ticks.
    /// Nothing happens once the inbox is closed. It never acts on what comes of it, so it may be
    /// called with any lock held.
    pub(crate) fn send_now(&self, input: Input) {
        let mut queues = self.shared.lock();
        if let Ok(index) = queues.index_of(Source::of(&input)) {
            queues.push(index, Waiting { input, bytes: 0, units: 0 });
            self.shared.arrived(queues);
        }
    }

    /// Takes no more inputs; what is there can still be received.
    pub(crate) fn close(&self) {
        self.shared.close();
    }
}

impl Receiver {
    /// From now on `engine` is asked to handle inputs while this waits.
    pub(crate) fn rest(&self, engine: Weak<dyn Rests>) {
        let first = self.shared.engine.set(engine).is_ok();
        debug_assert!(first, "an inbox has one engine");
    }

    /// Blocks until there is something to take, `deadline` has come, or somebody has taken
    /// something since [`Receiver::take`] answered `seen`: then there may be another deadline.
    pub(crate) fn wait(&self, deadline: Option<Instant>, seen: u64) -> Waited {
        let mut queues = self.shared.lock();
        let waited = loop {
            if queues.closed && queues.turns.is_empty() {
                break Waited::Closed;
            }
            let pause = deadline.map(|at| at.saturating_duration_since(Instant::now()));
            let over = pause.is_some_and(|pause| pause.is_zero());
            if over || queues.taken != seen || !queues.turns.is_empty() {
                break Waited::Over;
            }
            (queues.rests, queues.planned) = (true, deadline);
            queues = match pause {
                None => self.shared.arrived.wait(queues).unwrap_or_else(PoisonError::into_inner),
                Some(pause) => {
                    let waited = self.shared.arrived.wait_timeout(queues, pause);
                    waited.unwrap_or_else(PoisonError::into_inner).0
                }
            };
        };
        queues.rests = false;
        waited
    }

    /// Appends what waits to `into`, up to 4,096 inputs or 1 MiB; answers how often something was
    /// taken so far.
    pub(crate) fn take(&self, into: &mut Vec<Input>) -> u64 {
        self.shared.take(into)
    }

    /// Waits and takes.
    #[cfg(test)]
    pub(crate) fn receive(&self, into: &mut Vec<Input>, deadline: Option<Instant>) -> Waited {
        let seen = self.shared.lock().taken;
        let waited = self.wait(deadline, seen);
        self.take(into);
        waited
    }
}

impl Drop for Receiver {
    fn drop(&mut self) {
        self.shared.close();
    }
}

struct Shared {
    queues: Mutex<Queues>,
    arrived: Condvar,
    room: Semaphore,
    engine: OnceLock<Weak<dyn Rests>>,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Queues> {
        self.queues.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn take(&self, into: &mut Vec<Input>) -> u64 {
        let mut queues = self.lock();
        let units = queues.take(into);
        queues.taken += 1;
        let taken = queues.taken;
        drop(queues);
        self.room.add_permits(units);
        taken
    }

    /// Wakes the engine's thread, if nobody is awake who will look.
    fn arrived(&self, mut queues: MutexGuard<'_, Queues>) {
        let rested = mem::take(&mut queues.rests);
        drop(queues);
        if rested {
            self.arrived.notify_one();
        }
    }

    /// The same for an input of so many bytes, which this thread may handle.
    fn arrived_or_step(&self, mut queues: MutexGuard<'_, Queues>, bytes: usize) {
        let rested = mem::take(&mut queues.rests);
        drop(queues);
        if rested && (bytes > LIGHT_BYTES_MAX || !self.step_now()) {
            self.arrived.notify_one();
        }
    }

    /// Whether everything was handled, so that the engine's thread can go on resting.
    fn step_now(&self) -> bool {
        let Some(engine) = self.engine.get().and_then(Weak::upgrade) else { return false };
        let mut take = |into: &mut Vec<Input>| {
            self.take(into);
        };
        let Some(until) = engine.step_now(&mut take) else { return false };
        let mut queues = self.lock();
        // The thread sees by what was taken that this plan is over, should it not rest now.
        let planned = queues.planned;
        let sooner = until.is_some_and(|at| planned.is_none_or(|planned| at < planned));
        queues.rests = !sooner && !queues.closed && queues.turns.is_empty();
        queues.rests
    }

    fn close(&self) {
        let mut queues = self.lock();
        queues.closed = true;
        for slot in &queues.slots {
            slot.share.close();
        }
        self.room.close();
        self.arrived(queues);
    }
}

/// Whose turn an input waits for.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
enum Source {
    Node,
    Link(LinkId),
    Session(SessionId),
}

impl Source {
    fn of(input: &Input) -> Source {
        match input {
            Input::LinkUp { link, .. }
            | Input::LinkDown(link)
            | Input::LinkFull(link)
            | Input::LinkDrained(link)
            | Input::Frame(link, _) => Source::Link(*link),
            Input::Request(caller, _) => Source::Session(caller.session),
            Input::SessionClosed(session) => Source::Session(*session),
            Input::DialFailed(..) | Input::Tick => Source::Node,
        }
    }
}

struct Waiting {
    input: Input,
    bytes: usize,
    units: u32,
}

struct Slot {
    source: Source,
    queue: VecDeque<Waiting>,
    /// What is left of the source's own share. Senders that wait hold a copy.
    share: Arc<Semaphore>,
}

#[derive(Default)]
struct Queues {
    slots: Vec<Slot>,
    of_source: HashMap<Source, usize>,
    /// Slots without a source.
    spare: Vec<usize>,
    /// Slots with something in their queue, in the order of their turns; each once.
    turns: VecDeque<usize>,
    /// Slots at which it is worth the while to look for forgotten ones.
    sweep_at: usize,
    /// Whether the engine rests: nobody is awake who will look at what comes.
    rests: bool,
    /// Until when the engine's thread sleeps, or slept last.
    planned: Option<Instant>,
    /// How often something was taken.
    taken: u64,
    closed: bool,
}

impl Queues {
    fn index_of(&mut self, source: Source) -> Result<usize, Closed> {
        if self.closed {
            return Err(Closed);
        }
        if let Some(index) = self.of_source.get(&source) {
            return Ok(*index);
        }
        if self.spare.is_empty() && self.slots.len() >= self.sweep_at {
            self.sweep();
        }
        let index = self.spare.pop().unwrap_or_else(|| {
            let share = Arc::new(Semaphore::new(SOURCE_UNITS_MAX));
            self.slots.push(Slot { source, queue: VecDeque::new(), share });
            self.slots.len() - 1
        });
        self.slots[index].source = source;
        self.of_source.insert(source, index);
        Ok(index)
    }

    fn push(&mut self, index: usize, waiting: Waiting) {
        let queue = &mut self.slots[index].queue;
        if queue.is_empty() {
            self.turns.push_back(index);
        }
        queue.push_back(waiting);
    }

    /// Lets sources hand over inputs in turn; answers the units that they took up.
    fn take(&mut self, into: &mut Vec<Input>) -> usize {
        let (mut inputs, mut bytes, mut units) = (0, 0, 0);
        while inputs < TAKE_INPUTS_MAX && bytes < TAKE_BYTES_MAX {
            let Some(index) = self.turns.pop_front() else { break };
            let slot = &mut self.slots[index];
            let (mut turn_inputs, mut turn_bytes, mut turn_units) = (0, 0, 0);
            while turn_inputs < TURN_INPUTS_MAX && turn_bytes < TURN_BYTES_MAX {
                let Some(waiting) = slot.queue.pop_front() else { break };
                turn_inputs += 1;
                turn_bytes += waiting.bytes;
                turn_units += waiting.units as usize;
                into.push(waiting.input);
            }
            if turn_units > 0 {
                slot.share.add_permits(turn_units);
            }
            (inputs, bytes, units) = (inputs + turn_inputs, bytes + turn_bytes, units + turn_units);
            if !slot.queue.is_empty() {
                self.turns.push_back(index);
            } else if Arc::strong_count(&slot.share) == 1 {
                self.of_source.remove(&slot.source);
                self.spare(index);
            }
        }
        units
    }

    /// Finds the slots that were left empty by senders which waited and then gave up.
    fn sweep(&mut self) {
        for index in 0..self.slots.len() {
            let slot = &self.slots[index];
            if slot.queue.is_empty() && Arc::strong_count(&slot.share) == 1 {
                self.of_source.remove(&slot.source);
                self.spare(index);
            }
        }
        self.sweep_at = 2 * self.slots.len().max(SPARE_SOURCES_MAX);
    }

    fn spare(&mut self, index: usize) {
        let queue = &mut self.slots[index].queue;
        if self.spare.len() >= SPARE_SOURCES_MAX {
            *queue = VecDeque::new();
        }
        self.spare.push(index);
    }
}

fn take_room(share: &Semaphore, room: &Semaphore, units: u32) -> bool {
    let (Ok(own), Ok(common)) = (share.try_acquire_many(units), room.try_acquire_many(units))
    else {
        return false;
    };
    own.forget();
    common.forget();
    true
}

fn units(bytes: usize) -> u32 {
    let units = INPUT_UNITS + bytes / UNIT_BYTES;
    u32::try_from(units.min(SOURCE_UNITS_MAX)).expect("the limit fits")
}

/// The bytes that an input keeps in memory, where they can be many.
fn bytes_of(input: &Input) -> usize {
    match input {
        Input::Frame(_, frame) => frame.len(),
        Input::Request(_, Request::Data(DataRequest::Write(writes))) => {
            let change = |change: &Change| match change {
                Change::Put(value) | Change::PutFirst(value) => value.len(),
                Change::Merge(fields) => {
                    fields.iter().map(|(name, value)| name.len() + value.len()).sum()
                }
                Change::Delete => 0,
            };
            writes.iter().map(|write| write.path.as_bytes().len() + change(&write.change)).sum()
        }
        Input::Request(_, Request::Chat(ChatRequest::Send(posts))) => {
            posts.iter().map(|post| MESSAGE_COST_BYTES + post.body.len()).sum()
        }
        _ => 0,
    }
}

#[cfg(test)]
mod rest_tests;
#[cfg(test)]
mod tests;
