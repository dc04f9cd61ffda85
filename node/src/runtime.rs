//! The loop: inbox, engine, store, outputs. No rule of any service.
//!
//! Promise: inputs are handled one after another, by the engine's thread or by one that brings
//! something while it rests; what waits together becomes one step and one commit; an output leaves
//! after the batch of its step, and of all earlier steps, is durable, unless it tells nothing that
//! is not. Ticks come when the engine asked for them.
//! Limits: `LENT_MAX`.

use crate::fatal;
use crate::inbox::{Receiver, Rests, Waited};
use crate::link::Links;
use crate::session::{Delivery, Parcel, Sessions};
use crate::store::Overlay;
use crate::store::writer::Writer;
use bytes::Bytes;
use folkmoot_core::engine::{Engine, Input, Notice, Output, Step};
use folkmoot_core::id::{LinkId, SessionId};
use folkmoot_core::time::{Now, Time};
use std::mem;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::thread::JoinHandle;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// How long threads of others may work for the engine before its own takes over for a turn.
const LENT_MAX: Duration = Duration::from_millis(1);

/// Both clocks of this process.
#[derive(Clone, Copy)]
pub(crate) struct Clock {
    start: Instant,
}

impl Clock {
    /// A monotonic clock that starts at zero.
    pub(crate) fn start() -> Clock {
        Clock { start: Instant::now() }
    }

    /// Both clocks now.
    pub(crate) fn now(&self) -> Now {
        let time = Time(self.start.elapsed().as_millis() as u64);
        Now { time, wall_ms: wall_ms() }
    }

    /// When `time` comes.
    fn instant(&self, time: Time) -> Option<Instant> {
        self.start.checked_add(Duration::from_millis(time.0))
    }
}

/// The wall clock, in Unix milliseconds; 0 for a clock set before 1970.
pub(crate) fn wall_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

/// Acts on outputs. The engine's thread and the writer's have one each.
pub(crate) struct Act {
    links: Links,
    /// Frames to send, so that each link's writer is woken once for what comes together.
    frames: Vec<(LinkId, Bytes)>,
    delivery: Delivery,
}

impl Act {
    /// Acts through `links` and on `sessions`.
    pub(crate) fn new(links: Links, sessions: Arc<Sessions>) -> Act {
        Act { links, frames: Vec::new(), delivery: Delivery::new(sessions) }
    }

    /// Acts on all outputs, in order for each link and session, and leaves none.
    pub(crate) fn act(&mut self, outputs: &mut Vec<Output>) {
        let mut rest = outputs.drain(..).peekable();
        while let Some(output) = rest.next() {
            let (session, parcel) = match output {
                Output::Send(link, frame) => {
                    self.frames.push((link, frame));
                    continue;
                }
                Output::Close(link, why) => {
                    self.links.send(&mut self.frames);
                    self.links.close(link, why);
                    continue;
                }
                Output::Dial(address) => {
                    self.links.dial(address);
                    continue;
                }
                Output::Notice(notice) => {
                    log(&notice);
                    continue;
                }
                Output::Halt(error) => {
                    fatal::damaged(&error);
                    continue;
                }
                Output::Reply(session, request, reply) => (session, Parcel::Reply(request, reply)),
                Output::Event(session, event) => (session, Parcel::Event(event)),
            };
            let mut next = || rest.next_if(|next| is_for(next, session)).and_then(to_parcel);
            self.delivery.deliver(session, parcel, &mut next);
        }
        self.links.send(&mut self.frames);
        self.delivery.wake();
    }
}

fn log(notice: &Notice) {
    match notice {
        Notice::Linked(_) | Notice::Unlinked(_) | Notice::DialFailed { .. } => {
            tracing::info!("{notice}");
        }
        _ => tracing::warn!("{notice}"),
    }
}

fn is_for(output: &Output, id: SessionId) -> bool {
    match output {
        Output::Reply(session, ..) | Output::Event(session, _) => *session == id,
        _ => false,
    }
}

fn to_parcel(output: Output) -> Option<Parcel> {
    match output {
        Output::Reply(_, request, reply) => Some(Parcel::Reply(request, reply)),
        Output::Event(_, event) => Some(Parcel::Event(event)),
        _ => None,
    }
}

/// All that the loop needs.
pub(crate) struct Runtime {
    /// What decides.
    pub(crate) engine: Engine,
    /// What the engine wanted when it was opened.
    pub(crate) first: Step,
    /// What it reads.
    pub(crate) overlay: Overlay,
    /// Who writes for it.
    pub(crate) writer: Writer,
    /// Where its inputs come from.
    pub(crate) inbox: Receiver,
    /// Who acts on outputs that need not wait.
    pub(crate) act: Act,
    /// The clocks.
    pub(crate) clock: Clock,
    /// What is called before waiting.
    pub(crate) between_steps: fn(),
}

impl Runtime {
    /// Starts the loop on a thread of its own. It ends when the inbox is closed and empty and
    /// everything is written.
    pub(crate) fn start(self) -> std::io::Result<JoinHandle<()>> {
        std::thread::Builder::new().name("engine".into()).spawn(move || {
            let _guard = fatal::OnPanic("the engine");
            self.run();
        })
    }

    fn run(self) {
        let Runtime { engine, first, overlay, writer, inbox, act, clock, between_steps } = self;
        let (inputs, lent) = (Vec::new(), Lent::default());
        let mut turns = Turns { engine, overlay, writer, act, clock, inputs, step: first, lent };
        turns.hand_over();
        let (mut deadline, mut seen) = (turns.deadline(), 0);
        let turns = Arc::new(Shared(Mutex::new(Some(turns))));
        let engine: Weak<Shared> = Arc::downgrade(&turns);
        inbox.rest(engine);
        loop {
            between_steps();
            if inbox.wait(deadline, seen) == Waited::Closed {
                break;
            }
            // Inputs are taken with the lock held, or another thread could take later ones first.
            if let Some(turns) = &mut *turns.lock() {
                let began = Instant::now();
                deadline = turns.turn(&mut |into| seen = inbox.take(into));
                turns.lent.on_own_turn(began.elapsed());
            }
        }
        let turns = turns.lock().take();
        if let Some(turns) = turns {
            turns.writer.close();
        }
    }
}

/// Whoever has the lock is the one who runs the engine; gone once it has ended.
struct Shared(Mutex<Option<Turns>>);

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Option<Turns>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Rests for Shared {
    fn step_now(&self, take: &mut dyn FnMut(&mut Vec<Input>)) -> Option<Option<Instant>> {
        let mut turns = self.0.try_lock().ok()?;
        // A writer at work may have no room, and then the thread would wait for the disk.
        let may = |turns: &&mut Turns| !turns.lent.is_spent() && turns.writer.is_idle();
        let turns = turns.as_mut().filter(may)?;
        if std::thread::panicking() {
            return None; // the guard would take it for a panic of the engine
        }
        let _guard = fatal::OnPanic("the engine");
        let began = Instant::now();
        let until = turns.turn(take);
        turns.lent.on_lent_turn(began.elapsed());
        Some(until)
    }
}

/// Work that threads of others have done for the engine since its own last had a turn that was
/// not long: what takes long, or goes on and on, is not for a thread that has sockets to serve.
#[derive(Default)]
struct Lent(Duration);

impl Lent {
    fn is_spent(&self) -> bool {
        self.0 >= LENT_MAX
    }

    fn on_lent_turn(&mut self, took: Duration) {
        self.0 += took;
    }

    /// After a long turn, more like it are likely.
    fn on_own_turn(&mut self, took: Duration) {
        self.0 = if took < LENT_MAX { Duration::ZERO } else { took };
    }
}

/// What takes part in a turn of the loop.
struct Turns {
    engine: Engine,
    overlay: Overlay,
    writer: Writer,
    act: Act,
    clock: Clock,
    inputs: Vec<Input>,
    step: Step,
    lent: Lent,
}

impl Turns {
    /// One turn of the loop; answers when the next is due if nothing comes.
    fn turn(&mut self, take: &mut dyn FnMut(&mut Vec<Input>)) -> Option<Instant> {
        take(&mut self.inputs);
        let now = self.clock.now();
        self.overlay.trim(self.writer.done());
        if self.engine.next_tick().is_some_and(|time| time <= now.time) {
            self.inputs.push(Input::Tick);
        }
        if !self.inputs.is_empty() {
            for input in self.inputs.drain(..) {
                self.engine.handle(now, input, &self.overlay, &mut self.step);
            }
            self.engine.finish(now, &self.overlay, &mut self.step);
            self.hand_over();
        }
        self.deadline()
    }

    fn deadline(&self) -> Option<Instant> {
        self.engine.next_tick().and_then(|time| self.clock.instant(time))
    }

    /// Sees to it that the step is written and acted on; leaves an empty one.
    fn hand_over(&mut self) {
        self.act.act(&mut self.step.at_once);
        let batch = Arc::new(mem::take(&mut self.step.batch));
        let is_empty = batch.is_empty();
        let ticket = self.writer.hand_over(batch.clone(), &mut self.step.outputs);
        if !is_empty {
            self.overlay.push(ticket, batch);
        }
        // What is left waits for nothing.
        self.act.act(&mut self.step.outputs);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn others_work_for_so_long_and_then_the_engines_thread_has_a_turn() {
        let (mut lent, bit) = (Lent::default(), Duration::from_micros(1));
        lent.on_lent_turn(LENT_MAX - bit);
        assert!(!lent.is_spent());
        lent.on_lent_turn(bit);
        assert!(lent.is_spent());
        lent.on_own_turn(LENT_MAX);
        assert!(lent.is_spent(), "that was a long one");
        lent.on_own_turn(LENT_MAX - bit);
        assert!(!lent.is_spent());
    }
}
