//! The loop: inbox, engine, store, outputs. No rule of any service.
//!
//! Promise: inputs are handled one after another, on one thread; what waits together becomes one
//! step and one commit; an output leaves after the batch of its step, and of all earlier steps, is
//! durable, unless it tells nothing that is not. Ticks come when the engine asked for them.

use crate::fatal;
use crate::inbox::{Received, Receiver};
use crate::link::Links;
use crate::session::{Delivery, Parcel, Sessions};
use crate::store::Overlay;
use crate::store::writer::Writer;
use bytes::Bytes;
use folkmoot_core::engine::{Engine, Input, Notice, Output, Step};
use folkmoot_core::id::{LinkId, SessionId};
use folkmoot_core::time::{Now, Time};
use std::mem;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

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

    fn run(mut self) {
        let mut step = mem::take(&mut self.first);
        self.hand_over(&mut step);
        let mut inputs = Vec::new();
        loop {
            (self.between_steps)();
            let tick = self.engine.next_tick();
            let deadline = tick.and_then(|time| self.clock.instant(time));
            if self.inbox.recv_many(&mut inputs, deadline) == Received::Closed {
                break;
            }
            let now = self.clock.now();
            self.overlay.trim(self.writer.done());
            if tick.is_some_and(|time| time <= now.time) {
                inputs.push(Input::Tick);
            }
            if inputs.is_empty() {
                continue;
            }
            for input in inputs.drain(..) {
                self.engine.handle(now, input, &self.overlay, &mut step);
            }
            self.engine.finish(now, &self.overlay, &mut step);
            self.hand_over(&mut step);
        }
        self.writer.close();
    }

    /// Sees to it that a step is written and acted on; leaves an empty one.
    fn hand_over(&mut self, step: &mut Step) {
        self.act.act(&mut step.at_once);
        let batch = Arc::new(mem::take(&mut step.batch));
        let is_empty = batch.is_empty();
        let ticket = self.writer.hand_over(batch.clone(), &mut step.outputs);
        if !is_empty {
            self.overlay.push(ticket, batch);
        }
        // What is left waits for nothing.
        self.act.act(&mut step.outputs);
    }
}
