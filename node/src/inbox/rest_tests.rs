//! An engine that rests: who handles what comes.

use super::tests::{frame, number, request};
use super::*;
use std::thread::{self, ThreadId};
use std::time::Duration;

const PAUSE: Duration = Duration::from_micros(100);
const SOON: Duration = Duration::from_secs(20);

/// An engine that keeps what it handles, and who handled it.
#[derive(Default)]
struct Engine {
    handled: Mutex<Vec<(ThreadId, Input)>>,
    busy: bool,
    /// From a step to when it wants another.
    next: Option<Duration>,
}

impl Engine {
    fn turn(&self, take: &mut dyn FnMut(&mut Vec<Input>)) {
        let mut handled = self.handled.lock().unwrap();
        let mut inputs = Vec::new();
        take(&mut inputs);
        handled.extend(inputs.into_iter().map(|input| (thread::current().id(), input)));
    }
}

impl Rests for Engine {
    fn step_now(&self, take: &mut dyn FnMut(&mut Vec<Input>)) -> Option<Option<Instant>> {
        if self.busy {
            return None;
        }
        self.turn(take);
        Some(self.next.map(|next| Instant::now() + next))
    }
}

/// Lets an inbox's receiver rest with the engine, brings an input, and answers whether the
/// engine's thread was woken for it.
fn wakes(engine: &Arc<Engine>, input: Input) -> bool {
    let (inbox, receiver) = inbox();
    let engine: Arc<dyn Rests> = engine.clone();
    receiver.rest(Arc::downgrade(&engine));
    let began = Instant::now();
    thread::scope(|scope| {
        let own = scope.spawn(|| receiver.wait(Some(began + SOON), 0));
        rest(&inbox);
        assert!(inbox.try_send(input).is_ok());
        let woken = !inbox.shared.lock().rests;
        if !woken {
            inbox.close();
        }
        assert_eq!(own.join().unwrap() == Waited::Over, woken);
        assert!(began.elapsed() < SOON, "it was not woken");
        woken
    })
}

/// Waits until the receiver rests.
fn rest(inbox: &Inbox) {
    while !inbox.shared.lock().rests {
        thread::yield_now();
    }
}

#[test]
fn what_comes_while_the_engine_rests_is_handled_by_whoever_brings_it() {
    let engine = Arc::new(Engine::default());
    assert!(!wakes(&engine, request(1, 7)));
    let handled = engine.handled.lock().unwrap();
    assert_eq!(handled.len(), 1);
    assert_eq!((handled[0].0, number(&handled[0].1)), (thread::current().id(), 7));
}

#[test]
fn an_input_of_the_largest_light_size_is_handled_here_and_one_more_byte_wakes_the_thread() {
    let engine = Arc::new(Engine::default());
    assert!(!wakes(&engine, frame(1, LIGHT_BYTES_MAX)));
    assert!(wakes(&engine, frame(1, LIGHT_BYTES_MAX + 1)));
    assert_eq!(engine.handled.lock().unwrap().len(), 1);
}

#[test]
fn an_engine_that_does_nothing_now_has_its_thread_woken() {
    let engine = Arc::new(Engine { busy: true, ..Engine::default() });
    assert!(wakes(&engine, request(1, 7)));
    assert!(engine.handled.lock().unwrap().is_empty());
}

#[test]
fn a_thread_that_planned_to_sleep_longer_is_woken_and_one_that_did_not_is_not() {
    let sooner = Arc::new(Engine { next: Some(Duration::ZERO), ..Engine::default() });
    assert!(wakes(&sooner, request(1, 7)));
    let later = Arc::new(Engine { next: Some(2 * SOON), ..Engine::default() });
    assert!(!wakes(&later, request(1, 7)));
}

#[test]
fn a_step_between_a_turn_of_the_thread_and_its_rest_is_noticed() {
    let (inbox, receiver) = inbox();
    let engine = Arc::new(Engine { next: Some(SOON), ..Engine::default() });
    let rests: Arc<dyn Rests> = engine.clone();
    receiver.rest(Arc::downgrade(&rests));
    let seen = receiver.take(&mut Vec::new());
    // As the thread planned it once, and as a step that began before leaves it.
    let mut queues = inbox.shared.lock();
    (queues.rests, queues.planned) = (true, Some(Instant::now()));
    drop(queues);
    assert!(inbox.try_send(request(1, 7)).is_ok());
    assert_eq!(engine.handled.lock().unwrap().len(), 1);
    let began = Instant::now();
    assert_eq!(receiver.wait(Some(began + SOON), seen), Waited::Over);
    assert!(began.elapsed() < SOON, "it slept as it had planned before the step");
}

#[test]
fn inputs_of_many_threads_are_all_handled_each_threads_in_order() {
    const THREADS: u64 = 4;
    const EACH: u64 = 3_000;
    let (inbox, receiver) = inbox();
    let engine = Arc::new(Engine::default());
    let rests: Arc<dyn Rests> = engine.clone();
    receiver.rest(Arc::downgrade(&rests));
    let own = thread::spawn({
        let engine = engine.clone();
        move || {
            let mut seen = 0;
            while receiver.wait(Some(Instant::now() + SOON), seen) == Waited::Over {
                engine.turn(&mut |into| seen = receiver.take(into));
            }
            thread::current().id()
        }
    });
    thread::scope(|scope| {
        for source in 0..THREADS {
            let inbox = &inbox;
            scope.spawn(move || {
                for number in 0..EACH {
                    while inbox.try_send(request(source, number)).is_err() {
                        thread::yield_now();
                    }
                    if number % 16 == source {
                        thread::sleep(PAUSE);
                    }
                }
            });
        }
    });
    inbox.close();
    let own = own.join().unwrap();
    let handled = std::mem::take(&mut *engine.handled.lock().unwrap());
    assert_eq!(handled.len() as u64, THREADS * EACH);
    let mut next = [0; THREADS as usize];
    for (_, input) in &handled {
        let Input::Request(caller, _) = input else { panic!("{input:?}") };
        let next = &mut next[usize::try_from(caller.session.0).unwrap()];
        assert_eq!(number(input), *next);
        *next += 1;
    }
    assert!(handled.iter().any(|(thread, _)| *thread != own), "the engine has rested");
}
