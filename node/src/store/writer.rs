//! Two threads that write: one makes commits of what is queued, one brings them to the disk.
//!
//! Promise: the outputs of a step leave in order, after its batch and those of all earlier steps
//! are durable and to be seen in snapshots; the engine goes on meanwhile. While one commit is on
//! its way to the disk the next is written to the journal and into memory; a sync is for all
//! commits that are written when it begins. A failed write or sync ends the process: what is on
//! disk then is not known, so nothing may be acknowledged any more.
//!
//! What no caller waits for, entries of other nodes, is put off a little while it comes as a
//! stream: one sync for [`STREAM_PAUSE`] instead of one for each few entries leaves the disk and the
//! cores to those who do wait, often on a node beside. A change that comes alone is not put off.
//! Limits: `PART_BYTES_MAX`, `PART_OUTPUTS_MAX`, `STREAM_PAUSE`.

use super::check::{Committer, Opened};
use super::sync::Syncer;
use super::{Durability, Views};
use crate::fatal;
use folkmoot_core::engine::Output;
use folkmoot_core::store::Batch;
use std::mem;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// Bytes of batches that are gathered before the engine has to wait, and that are written before
/// the next commit has to wait for a sync.
const PART_BYTES_MAX: usize = 1024 * 1024;
/// The same for outputs.
const PART_OUTPUTS_MAX: usize = 16 * 1024;
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

#[derive(Default)]
struct Shared {
    queue: Mutex<Queue>,
    /// There is something to commit, or nothing will come any more.
    work: Condvar,
    /// There is something to sync, or nothing will come any more.
    written: Condvar,
    /// There is room again among what is gathered.
    room: Condvar,
    /// There is room again among what is written.
    written_room: Condvar,
    /// The ticket of the last batch that is on disk.
    done: AtomicU64,
}

#[derive(Default)]
struct Queue {
    /// What waits for a commit.
    gathered: Part,
    /// A caller waits for one of the outputs that are gathered.
    awaited: bool,
    /// The writing thread has taken what was gathered and has not passed it on.
    writing: bool,
    /// What is committed and waits for a sync.
    written: Part,
    /// Until when what no caller waits for is put off: a commit was that of a stream.
    streams_until: Option<Instant>,
    /// The newest commit in `written`, if there is one.
    commit: Option<Commit>,
    /// The syncing thread has taken what was written and is not done with it.
    syncing: bool,
    /// Nothing will be gathered any more.
    closed: bool,
    /// Nothing will be written any more.
    ended: bool,
}

/// Batches, and the outputs that leave after them.
#[derive(Default)]
struct Part {
    batches: Vec<Arc<Batch>>,
    bytes: usize,
    outputs: Vec<Output>,
}

/// A commit that the database has and the disk perhaps not.
pub(crate) struct Commit {
    /// Its number.
    pub(crate) number: u64,
    /// What the database shows after it.
    pub(crate) snapshot: fjall::Snapshot,
}

impl Writer {
    /// Starts the threads. They act on outputs through `act`.
    pub(crate) fn start(
        opened: Opened,
        durability: Durability,
        views: Arc<Views>,
        mut act: impl FnMut(&mut Vec<Output>) + Send + 'static,
    ) -> std::io::Result<Writer> {
        let shared = Arc::new(Shared::default());
        let thread = std::thread::Builder::new().name("store".into()).spawn({
            let shared = shared.clone();
            move || {
                let _guard = fatal::OnPanic("the store's writer");
                let Opened { database, mut committer, mut syncer } = opened;
                std::thread::scope(|scope| {
                    let sync = || {
                        let _guard = fatal::OnPanic("the store's sync");
                        shared.sync_all(&mut syncer, durability, &views, &mut act);
                    };
                    let thread = std::thread::Builder::new().name("sync".into());
                    if let Err(error) = thread.spawn_scoped(scope, sync) {
                        fatal::stop(&format!("a thread cannot be started: {error}"));
                    }
                    shared.write_all(&mut committer, durability);
                });
                if let Err(error) = (Opened { database, committer, syncer }).close() {
                    fatal::stop(&format!("the store cannot be closed: {error}"));
                }
            }
        })?;
        Ok(Writer { shared, thread: Some(thread), ticket: 0 })
    }

    /// The ticket of the last batch that is on disk.
    pub(crate) fn done(&self) -> u64 {
        self.shared.done.load(Ordering::Acquire)
    }

    /// Whether whatever was handed over has left: the next hand-over does not wait.
    pub(crate) fn is_idle(&self) -> bool {
        self.shared.lock().is_idle()
    }

    /// Hands over a step's batch, and its outputs if they have to wait. Waits itself only while
    /// a whole batch is gathered already. Answers the batch's ticket.
    pub(crate) fn hand_over(&mut self, batch: Arc<Batch>, outputs: &mut Vec<Output>) -> u64 {
        let mut queue = self.shared.lock();
        let is_empty = batch.is_empty();
        // Outputs that wait for nothing stay with the caller, who acts on them.
        if is_empty && (outputs.is_empty() || queue.is_idle()) {
            return self.ticket;
        }
        while !is_empty && queue.gathered.is_full() {
            let waited = self.shared.room.wait(queue);
            queue = waited.unwrap_or_else(PoisonError::into_inner);
        }
        let was_pressing = queue.is_pressing();
        let first = queue.gathered.is_empty();
        queue.awaited |= outputs.iter().any(|output| matches!(output, Output::Reply(..)));
        queue.gathered.push(batch, outputs);
        // The thread may be putting off what was gathered before.
        let wake = !queue.writing && (first || (queue.is_pressing() && !was_pressing));
        drop(queue);
        if wake {
            self.shared.work.notify_one();
        }
        self.ticket += u64::from(!is_empty);
        self.ticket
    }

    /// Writes what is left and ends the threads.
    pub(crate) fn close(mut self) {
        self.shared.lock().closed = true;
        self.shared.work.notify_one();
        if let Some(thread) = self.thread.take() {
            // A panic there has ended the process.
            drop(thread.join());
        }
    }
}

impl Queue {
    /// Whatever was handed over has left.
    fn is_idle(&self) -> bool {
        !self.writing && !self.syncing && self.gathered.is_empty() && self.written.is_empty()
    }

    /// Nothing of what is gathered may be put off.
    fn is_pressing(&self) -> bool {
        self.awaited || self.closed || self.gathered.is_full()
    }
}

impl Part {
    fn is_empty(&self) -> bool {
        self.batches.is_empty() && self.outputs.is_empty()
    }

    fn is_full(&self) -> bool {
        self.bytes >= PART_BYTES_MAX || self.outputs.len() >= PART_OUTPUTS_MAX
    }

    fn is_stream(&self) -> bool {
        let writes: usize = self.batches.iter().map(|batch| batch.writes().len()).sum();
        writes >= STREAM_WRITES_MIN
    }

    fn push(&mut self, batch: Arc<Batch>, outputs: &mut Vec<Output>) {
        if !batch.is_empty() {
            self.bytes += batch.bytes();
            self.batches.push(batch);
        }
        append(&mut self.outputs, outputs);
    }

    /// Takes over what `other` has, behind what is here.
    fn append(&mut self, other: &mut Part) {
        append(&mut self.batches, &mut other.batches);
        append(&mut self.outputs, &mut other.outputs);
        self.bytes += mem::take(&mut other.bytes);
    }
}

/// [`Vec::append`] that leaves its allocation to `from` where it can.
fn append<T>(to: &mut Vec<T>, from: &mut Vec<T>) {
    if to.is_empty() {
        mem::swap(to, from);
    } else {
        to.append(from);
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Makes commits of what is gathered, until nothing will come any more.
    fn write_all(&self, committer: &mut Committer, durability: Durability) {
        let mut taken = Part::default();
        while self.take_gathered(&mut taken) {
            let mut commit = None;
            if !taken.batches.is_empty() {
                match committer.commit(&taken.batches, durability) {
                    Ok(made) => commit = Some(made),
                    Err(error) => fatal::stop(&format!("a write to disk failed: {error}")),
                }
            }
            self.pass_on(&mut taken, commit);
        }
        self.lock().ended = true;
        self.written.notify_one();
    }

    /// Waits until there is something to commit, and takes it. `false`: nothing will come.
    fn take_gathered(&self, taken: &mut Part) -> bool {
        let mut queue = self.lock();
        while queue.gathered.is_empty() && !queue.closed {
            queue = self.work.wait(queue).unwrap_or_else(PoisonError::into_inner);
        }
        while !queue.is_pressing() {
            let Some(until) = queue.streams_until else { break };
            let pause = until.saturating_duration_since(Instant::now());
            if pause.is_zero() {
                break;
            }
            let waited = self.work.wait_timeout(queue, pause);
            queue = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
        while queue.written.is_full() {
            let waited = self.written_room.wait(queue);
            queue = waited.unwrap_or_else(PoisonError::into_inner);
        }
        if queue.gathered.is_empty() {
            return false;
        }
        let was_full = queue.gathered.is_full();
        mem::swap(&mut queue.gathered, taken);
        queue.awaited = false;
        queue.writing = true;
        drop(queue);
        if was_full {
            self.room.notify_one();
        }
        true
    }

    /// Gives to the syncing thread what is committed.
    fn pass_on(&self, taken: &mut Part, commit: Option<Commit>) {
        let mut queue = self.lock();
        if taken.is_stream() {
            queue.streams_until = Some(Instant::now() + STREAM_PAUSE);
        }
        let wake = queue.written.is_empty() && !queue.syncing;
        queue.written.append(taken);
        // The older snapshot, if there is one, is dropped after the lock.
        let _older = commit.and_then(|commit| queue.commit.replace(commit));
        queue.writing = false;
        drop(queue);
        if wake {
            self.written.notify_one();
        }
    }

    /// Brings to the disk what is written, and lets its outputs leave, until nothing will come.
    fn sync_all(
        &self,
        syncer: &mut Syncer,
        durability: Durability,
        views: &Views,
        act: &mut impl FnMut(&mut Vec<Output>),
    ) {
        let mut taken = Part::default();
        let mut done = 0;
        while let Some(commit) = self.take_written(&mut taken) {
            if let Some(commit) = commit {
                if let Err(error) = syncer.sync(commit.number, durability) {
                    fatal::stop(&format!("a write to disk failed: {error}"));
                }
                views.publish(&taken.batches, commit.snapshot);
                done += taken.batches.len() as u64;
                self.done.store(done, Ordering::Release);
            }
            act(&mut taken.outputs);
            taken.outputs.clear();
            taken.batches.clear();
            taken.bytes = 0;
        }
    }

    /// Waits until there is something to sync, and takes it. `None`: nothing will come.
    fn take_written(&self, taken: &mut Part) -> Option<Option<Commit>> {
        let mut queue = self.lock();
        queue.syncing = false;
        while queue.written.is_empty() && !queue.ended {
            queue = self.written.wait(queue).unwrap_or_else(PoisonError::into_inner);
        }
        if queue.written.is_empty() {
            return None;
        }
        let was_full = queue.written.is_full();
        mem::swap(&mut queue.written, taken);
        queue.syncing = true;
        let commit = queue.commit.take();
        drop(queue);
        if was_full {
            self.written_room.notify_one();
        }
        Some(commit)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use folkmoot_core::id::{LinkId, RequestId, SessionId};
    use folkmoot_core::request::Reply;
    use std::sync::mpsc::channel;

    /// How long to wait for what should come.
    const PATIENCE: Duration = Duration::from_secs(60);

    fn part(bytes: usize) -> Part {
        Part { batches: vec![Arc::default()], bytes, outputs: Vec::new() }
    }

    fn writer(shared: &Arc<Shared>) -> Writer {
        Writer { shared: shared.clone(), thread: None, ticket: 0 }
    }

    fn reply() -> Output {
        Output::Reply(SessionId(1), RequestId(1), Reply::Done)
    }

    #[test]
    fn a_reply_an_end_and_a_full_commit_are_not_put_off() {
        let shared = Arc::new(Shared::default());
        shared.lock().gathered = part(PART_BYTES_MAX - 1);
        let mut outputs = vec![Output::Close(LinkId(1), "")];
        writer(&shared).hand_over(Arc::default(), &mut outputs);
        assert!(!shared.lock().is_pressing());
        writer(&shared).hand_over(Arc::default(), &mut vec![reply()]);
        assert!(shared.lock().is_pressing());
        assert!(Queue { closed: true, ..Queue::default() }.is_pressing());
        let gathered = part(PART_BYTES_MAX);
        assert!(Queue { gathered, ..Queue::default() }.is_pressing());
    }

    /// What a thread takes that puts off what is gathered for as long as it may.
    fn take(shared: &Arc<Shared>) -> std::sync::mpsc::Receiver<Part> {
        let (sender, receiver) = channel();
        let shared = shared.clone();
        shared.lock().streams_until = Some(Instant::now() + 2 * PATIENCE);
        std::thread::spawn(move || {
            let mut taken = Part::default();
            while shared.take_gathered(&mut taken) {
                shared.lock().writing = false;
                sender.send(mem::take(&mut taken)).unwrap();
            }
        });
        receiver
    }

    #[test]
    fn a_stream_is_put_off_until_somebody_waits_also_for_a_reply_without_a_batch() {
        let shared = Arc::new(Shared::default());
        let taken = take(&shared);
        shared.lock().gathered = part(1);
        shared.work.notify_one();
        assert!(taken.recv_timeout(Duration::from_millis(20)).is_err());
        writer(&shared).hand_over(Arc::default(), &mut vec![reply()]);
        let part = taken.recv_timeout(PATIENCE).unwrap();
        assert_eq!((part.batches.len(), part.outputs.len()), (1, 1));
        writer(&shared).close();
    }

    #[test]
    fn a_commit_of_so_many_writes_is_a_stream_and_one_of_fewer_is_none() {
        for (writes, is_stream) in [(STREAM_WRITES_MIN - 1, false), (STREAM_WRITES_MIN, true)] {
            let shared = Shared::default();
            let mut batch = Batch::default();
            (0..writes).for_each(|key| batch.put(key.to_be_bytes().to_vec(), Vec::new()));
            let mut taken = Part::default();
            taken.push(Arc::new(batch), &mut Vec::new());
            shared.pass_on(&mut taken, None);
            let until = shared.lock().streams_until;
            assert_eq!(until.is_some(), is_stream);
            assert!(until.is_none_or(|until| until <= Instant::now() + STREAM_PAUSE));
        }
    }

    #[test]
    fn a_commit_waits_while_too_much_is_written_and_not_on_disk() {
        let outputs = |count| {
            let outputs = (0..count).map(|_| Output::Close(LinkId(1), "")).collect();
            Part { outputs, ..part(1) }
        };
        let written = [
            (part(PART_BYTES_MAX - 1), true),
            (part(PART_BYTES_MAX), false),
            (outputs(PART_OUTPUTS_MAX - 1), true),
            (outputs(PART_OUTPUTS_MAX), false),
        ];
        for (written, goes_on) in written {
            let shared = Arc::new(Shared::default());
            shared.lock().written = written;
            let taken = take(&shared);
            writer(&shared).hand_over(Arc::default(), &mut vec![reply()]);
            if !goes_on {
                assert!(taken.recv_timeout(Duration::from_millis(20)).is_err());
                assert!(shared.take_written(&mut Part::default()).is_some());
            }
            assert_eq!(taken.recv_timeout(PATIENCE).unwrap().outputs.len(), 1);
            writer(&shared).close();
        }
    }

    #[test]
    fn outputs_wait_behind_whatever_is_on_its_way() {
        let busy = [
            Queue { writing: true, ..Queue::default() },
            Queue { syncing: true, ..Queue::default() },
            Queue { written: part(1), ..Queue::default() },
            Queue { gathered: part(1), ..Queue::default() },
        ];
        for queue in busy {
            let shared = Arc::new(Shared { queue: Mutex::new(queue), ..Shared::default() });
            let mut outputs = vec![reply()];
            writer(&shared).hand_over(Arc::default(), &mut outputs);
            assert!(outputs.is_empty());
        }
        let mut outputs = vec![reply()];
        writer(&Arc::default()).hand_over(Arc::default(), &mut outputs);
        assert_eq!(outputs.len(), 1);
    }
}
