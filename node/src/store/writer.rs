//! The one thread that writes: what is queued becomes one commit, then its outputs leave.
//!
//! Promise: the outputs of a step leave in order, after its batch and those of all earlier steps
//! are durable and to be seen in snapshots; the engine goes on meanwhile. One batch is on its way
//! to the disk while the next is gathered. A failed write or sync ends the process: what is on
//! disk then is not known, so nothing may be acknowledged any more.
//!
//! What no caller waits for, entries of other nodes, is put off a little while it comes as a
//! stream: one sync for [`STREAM_PAUSE`] instead of one for each few entries leaves the disk and the
//! cores to those who do wait, often on a node beside. A change that comes alone is not put off.
//! Limits: `GATHERED_BYTES_MAX`, `GATHERED_OUTPUTS_MAX`, `STREAM_PAUSE`.

use super::check::Opened;
use super::{Durability, Views};
use crate::fatal;
use folkmoot_core::engine::Output;
use folkmoot_core::store::Batch;
use std::mem;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// Bytes of batches that are gathered before the engine has to wait.
const GATHERED_BYTES_MAX: usize = 1024 * 1024;
/// Outputs that are gathered before the engine has to wait.
const GATHERED_OUTPUTS_MAX: usize = 16 * 1024;
/// How long a commit that no caller waits for is put off after the last one.
const STREAM_PAUSE: Duration = Duration::from_millis(3);
/// Writes in a commit that make a stream of it.
const STREAM_WRITES_MIN: usize = 32;

/// The engine's side of the writer.
pub(crate) struct Writer {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
    /// The number of the last batch handed over.
    ticket: u64,
}

struct Shared {
    gathered: Mutex<Gathered>,
    /// There is something to write, or nothing will come any more.
    work: Condvar,
    /// There is room again.
    room: Condvar,
    /// The ticket of the last batch that is on disk.
    done: AtomicU64,
}

#[derive(Default)]
struct Gathered {
    batches: Vec<Arc<Batch>>,
    bytes: usize,
    outputs: Vec<Output>,
    /// A caller waits for one of the outputs.
    awaited: bool,
    /// The writer has taken what was gathered and is not done with it.
    busy: bool,
    closed: bool,
}

impl Writer {
    /// Starts the thread. It acts on outputs through `act`.
    pub(crate) fn start(
        opened: Opened,
        durability: Durability,
        views: Arc<Views>,
        act: impl FnMut(&mut Vec<Output>) + Send + 'static,
    ) -> std::io::Result<Writer> {
        let shared = Arc::new(Shared {
            gathered: Mutex::default(),
            work: Condvar::new(),
            room: Condvar::new(),
            done: AtomicU64::new(0),
        });
        let thread = std::thread::Builder::new().name("store".into()).spawn({
            let shared = shared.clone();
            move || {
                let _guard = fatal::OnPanic("the store's writer");
                write(&shared, opened, durability, &views, act);
            }
        })?;
        Ok(Writer { shared, thread: Some(thread), ticket: 0 })
    }

    /// The ticket of the last batch that is on disk.
    pub(crate) fn done(&self) -> u64 {
        self.shared.done.load(Ordering::Acquire)
    }

    /// Hands over a step's batch, and its outputs if they have to wait. Waits itself only while
    /// a whole batch is gathered already. Answers the batch's ticket.
    pub(crate) fn hand_over(&mut self, batch: Arc<Batch>, outputs: &mut Vec<Output>) -> u64 {
        let mut gathered = self.shared.lock();
        if batch.is_empty() {
            // Outputs that wait for nothing stay with the caller, who acts on them.
            if !outputs.is_empty() && (gathered.busy || !gathered.is_empty()) {
                gathered.push_outputs(outputs);
                // The writer may be putting off what is before it.
                if gathered.awaited && !gathered.busy {
                    self.shared.work.notify_one();
                }
            }
            return self.ticket;
        }
        while gathered.is_full() {
            let waited = self.shared.room.wait(gathered);
            gathered = waited.unwrap_or_else(PoisonError::into_inner);
        }
        let first = gathered.is_empty();
        gathered.bytes += batch.bytes();
        gathered.batches.push(batch);
        gathered.push_outputs(outputs);
        let wake = !gathered.busy && (first || gathered.is_pressing());
        drop(gathered);
        if wake {
            self.shared.work.notify_one();
        }
        self.ticket += 1;
        self.ticket
    }

    /// Writes what is left and ends the thread.
    pub(crate) fn close(mut self) {
        self.shared.lock().closed = true;
        self.shared.work.notify_one();
        if let Some(thread) = self.thread.take() {
            // A panic there has ended the process.
            drop(thread.join());
        }
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Gathered> {
        self.gathered.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Gathered {
    fn is_empty(&self) -> bool {
        self.batches.is_empty() && self.outputs.is_empty()
    }

    fn is_full(&self) -> bool {
        self.bytes >= GATHERED_BYTES_MAX || self.outputs.len() >= GATHERED_OUTPUTS_MAX
    }

    /// Nothing of it may be put off.
    fn is_pressing(&self) -> bool {
        self.awaited || self.closed || self.is_full()
    }

    fn push_outputs(&mut self, outputs: &mut Vec<Output>) {
        self.awaited |= outputs.iter().any(|output| matches!(output, Output::Reply(..)));
        if self.outputs.is_empty() {
            mem::swap(&mut self.outputs, outputs);
        } else {
            self.outputs.append(outputs);
        }
    }
}

fn write(
    shared: &Shared,
    mut opened: Opened,
    durability: Durability,
    views: &Views,
    mut act: impl FnMut(&mut Vec<Output>),
) {
    let (mut batches, mut outputs) = (Vec::new(), Vec::new());
    let mut done = 0;
    let mut streams_until = Instant::now();
    loop {
        {
            let mut gathered = shared.lock();
            gathered.busy = false;
            while gathered.is_empty() && !gathered.closed {
                gathered = shared.work.wait(gathered).unwrap_or_else(PoisonError::into_inner);
            }
            if gathered.is_empty() {
                break;
            }
            while !gathered.is_pressing() {
                let pause = streams_until.saturating_duration_since(Instant::now());
                if pause.is_zero() {
                    break;
                }
                let waited = shared.work.wait_timeout(gathered, pause);
                gathered = waited.unwrap_or_else(PoisonError::into_inner).0;
            }
            gathered.awaited = false;
            mem::swap(&mut gathered.batches, &mut batches);
            mem::swap(&mut gathered.outputs, &mut outputs);
            gathered.bytes = 0;
            gathered.busy = true;
        }
        shared.room.notify_one();
        if !batches.is_empty() {
            if let Err(error) = opened.commit(&batches, durability) {
                fatal::stop(&format!("a write to disk failed: {error}"));
            }
            views.publish(&batches);
            let writes: usize = batches.iter().map(|batch| batch.writes().len()).sum();
            if writes >= STREAM_WRITES_MIN {
                streams_until = Instant::now() + STREAM_PAUSE;
            }
            done += batches.len() as u64;
            shared.done.store(done, Ordering::Release);
            batches.clear();
        }
        act(&mut outputs);
        outputs.clear();
    }
    if let Err(error) = opened.close() {
        fatal::stop(&format!("the store cannot be closed: {error}"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use folkmoot_core::id::{LinkId, RequestId, SessionId};
    use folkmoot_core::request::Reply;

    #[test]
    fn a_reply_an_end_and_a_full_commit_are_not_put_off() {
        let mut gathered = Gathered::default();
        gathered.push_outputs(&mut vec![Output::Close(LinkId(1), "")]);
        assert!(!gathered.is_pressing());
        let reply = Output::Reply(SessionId(1), RequestId(1), Reply::Done);
        gathered.push_outputs(&mut vec![reply]);
        assert!(gathered.is_pressing());
        assert!(Gathered { closed: true, ..Gathered::default() }.is_pressing());
        assert!(Gathered { bytes: GATHERED_BYTES_MAX, ..Gathered::default() }.is_pressing());
    }

    #[test]
    fn a_reply_without_a_batch_does_not_wait_for_a_stream_that_is_put_off() {
        let shared = Arc::new(Shared {
            gathered: Mutex::default(),
            work: Condvar::new(),
            room: Condvar::new(),
            done: AtomicU64::new(0),
        });
        shared.lock().batches.push(Arc::default());
        let waiting = shared.clone();
        let thread = std::thread::spawn(move || {
            let mut gathered = waiting.lock();
            while !gathered.is_pressing() {
                gathered = waiting.work.wait(gathered).unwrap();
            }
        });
        let mut writer = Writer { shared, thread: None, ticket: 0 };
        let reply = Output::Reply(SessionId(1), RequestId(1), Reply::Done);
        writer.hand_over(Arc::default(), &mut vec![reply]);
        thread.join().unwrap();
    }
}
