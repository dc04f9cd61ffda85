//! One session against a hand that plays the engine.

use super::*;
use crate::inbox::{Receiver, inbox};
use bytes::Bytes;
use folkmoot_core::chat::words::ChatEvent;
use folkmoot_core::data::{Entry, EntryKey, Strategy};
use folkmoot_core::id::{NodeId, Path, WatchId};
use folkmoot_core::replica::Version;
use folkmoot_core::request::{Changed, DataRequest, MeshRequest, Write};
use folkmoot_core::time::Stamp;
use state::{EVENT_BYTES_MAX, EVENTS_MAX, REQUESTS_MAX};
use std::pin::Pin;
use std::task::{Context, Poll, Waker};
use std::time::Instant;

struct Hand {
    sessions: Arc<Sessions>,
    inbox: Receiver,
    delivery: Delivery,
}

impl Hand {
    fn new() -> Hand {
        let (sender, inbox) = inbox();
        let sessions = Sessions::new(sender);
        Hand { delivery: Delivery::new(sessions.clone()), sessions, inbox }
    }

    /// What was sent to the engine since the last time; waits for something.
    fn inputs(&self) -> Vec<Input> {
        let mut inputs = Vec::new();
        let deadline = Instant::now() + Duration::from_secs(10);
        self.inbox.receive(&mut inputs, Some(deadline));
        inputs
    }

    fn callers(&self) -> Vec<Caller> {
        let caller = |input| match input {
            Input::Request(caller, _) => caller,
            other => panic!("no request: {other:?}"),
        };
        self.inputs().into_iter().map(caller).collect()
    }

    fn answer(&mut self, callers: &[Caller], hops: u32) {
        let reply =
            |caller: &Caller| Parcel::Reply(caller.request, Reply::Pong { round_trip_ms: 0, hops });
        let mut rest = callers[1..].iter().map(reply);
        self.delivery.deliver(callers[0].session, reply(&callers[0]), &mut || rest.next());
        self.delivery.wake();
    }
}

fn poll_once<F: Future>(future: &mut Pin<Box<F>>) -> Poll<F::Output> {
    future.as_mut().poll(&mut Context::from_waker(Waker::noop()))
}

fn ping() -> Request {
    Request::Mesh(MeshRequest::Ping(NodeId([0; 32])))
}

fn hops(reply: &Reply) -> u32 {
    match reply {
        Reply::Pong { hops, .. } => *hops,
        other => panic!("no pong: {other:?}"),
    }
}

fn change(bytes: usize) -> Event {
    let path = Path::new("a").unwrap();
    let version = Version { stamp: Stamp(1), node: NodeId([0; 32]) };
    let value = Some(Bytes::from(vec![b'1'; bytes]));
    let entry = Entry { version, strategy: Strategy::Last, expires_ms: None, value };
    let changed = Changed { number: 1, key: EntryKey::path(&path), entry, expired: false };
    Event::Changed(WatchId(1), vec![changed])
}

#[tokio::test]
async fn each_request_gets_its_own_reply_in_whatever_order_they_come() {
    let mut hand = Hand::new();
    let session = hand.sessions.open(Principal::Owner);
    let (first, second, ()) = tokio::join!(session.ask(ping()), session.ask(ping()), async {
        let callers = hand.callers();
        hand.answer(&callers[1..], 2);
        hand.answer(&callers[..1], 1);
    });
    assert_eq!((hops(&first), hops(&second)), (1, 2));
}

#[tokio::test]
async fn the_reply_to_a_forgotten_request_goes_to_nobody() {
    let mut hand = Hand::new();
    let session = hand.sessions.open(Principal::Owner);
    let mut forgotten = Box::pin(session.ask(ping()));
    assert!(poll_once(&mut forgotten).is_pending());
    drop(forgotten);
    let late = hand.callers();
    let mut second = Box::pin(session.ask(ping()));
    assert!(poll_once(&mut second).is_pending());
    let callers = hand.callers();
    assert_ne!(late[0].request, callers[0].request);
    hand.answer(&late, 1);
    // The slot is free again; its old name is nobody's.
    let mut third = Box::pin(session.ask(ping()));
    assert!(poll_once(&mut third).is_pending());
    let third_caller = hand.callers();
    hand.answer(&late, 1);
    hand.answer(&callers, 2);
    hand.answer(&third_caller, 3);
    assert_eq!((hops(&second.await), hops(&third.await)), (2, 3));
}

#[tokio::test]
async fn streamed_replies_come_in_order_under_their_ids() {
    let mut hand = Hand::new();
    let session = hand.sessions.open(Principal::Owner);
    let mut sent = Vec::new();
    for _ in 0..100 {
        sent.push(session.send(ping()).await.unwrap());
    }
    let mut callers = Vec::new();
    while callers.len() < 100 {
        callers.extend(hand.callers());
    }
    hand.answer(&callers, 7);
    let first = session.next_reply().await.unwrap();
    let mut replies = vec![first];
    session.next_replies(&mut replies).await;
    assert!(replies.iter().map(|(id, _)| *id).eq(sent));
}

#[tokio::test]
async fn a_session_with_too_many_requests_is_told_so() {
    let hand = Hand::new();
    let session = hand.sessions.open(Principal::Owner);
    let mut sent = 0;
    let refused = loop {
        match poll_once(&mut Box::pin(session.send(ping()))) {
            Poll::Ready(Ok(_)) => sent += 1,
            Poll::Ready(Err(code)) => break code,
            Poll::Pending => {
                drop(hand.inputs());
                tokio::task::yield_now().await;
            }
        }
    };
    assert_eq!((sent, refused), (REQUESTS_MAX, ErrorCode::Busy));
}

#[tokio::test]
async fn a_request_that_finds_no_room_for_two_seconds_is_answered_busy() {
    let hand = Hand::new();
    let session = hand.sessions.open(Principal::Owner);
    let large = || {
        let path = Path::new("a").unwrap();
        Request::Data(DataRequest::Write(vec![Write::put(path, vec![b'1'; 256 * 1024])]))
    };
    let mut waiting = Vec::new();
    for _ in 0..100 {
        waiting.push(session.ask(large()));
    }
    let mut answers: Vec<_> = waiting.into_iter().map(Box::pin).collect();
    let began = Instant::now();
    let last = answers.pop().unwrap();
    for answer in &mut answers {
        assert!(poll_once(answer).is_pending());
    }
    assert!(matches!(last.await, Reply::Failed(ErrorCode::Busy, 0)));
    assert!(began.elapsed() >= INBOX_WAIT);
}

#[tokio::test]
async fn writes_are_refused_while_the_disk_has_no_room_and_reads_go_on() {
    let mut hand = Hand::new();
    let session = hand.sessions.open(Principal::Owner);
    let write = || {
        let write = Write::put(Path::new("a").unwrap(), "1");
        Request::Data(DataRequest::Write(vec![write]))
    };
    hand.sessions.set_room(false);
    assert!(matches!(session.ask(write()).await, Reply::Failed(ErrorCode::DiskFull, 0)));
    assert_eq!(session.send(write()).await, Err(ErrorCode::DiskFull));
    let (pong, ()) = tokio::join!(session.ask(ping()), async {
        let callers = hand.callers();
        hand.answer(&callers, 1);
    });
    assert_eq!(hops(&pong), 1);
    hand.sessions.set_room(true);
    assert!(session.send(write()).await.is_ok());
}

#[tokio::test]
async fn a_session_that_does_not_read_is_closed_and_told_why() {
    let mut hand = Hand::new();
    let mut session = hand.sessions.open(Principal::Owner);
    hand.delivery.deliver(session.id(), Parcel::Event(change(2 << 20)), &mut || None);
    hand.delivery.wake();
    assert!(session.next_event().await.is_some());
    let mut parcels = (0..5).map(|_| Parcel::Event(change(256 * 1024)));
    let first = parcels.next().unwrap();
    hand.delivery.deliver(session.id(), first, &mut || parcels.next());
    hand.delivery.wake();
    assert!(session.next_event().await.is_none());
    assert!(session.closed_reason().unwrap().contains("does not read"));
    assert!(matches!(hand.inputs()[..], [Input::SessionClosed(id)] if id == session.id()));
    assert!(matches!(session.ask(ping()).await, Reply::Failed(ErrorCode::Closing, 0)));
}

#[tokio::test]
async fn as_many_events_as_may_wait_are_all_read_and_one_more_closes_the_session() {
    let small = || Event::Chat(ChatEvent::Signals(Vec::new()));
    // An event counts 128 bytes beside its path of one byte and its value.
    let large = || change(EVENT_BYTES_MAX / 16 - 129);
    assert_tells_no_more_than(EVENTS_MAX, small, small()).await;
    assert_tells_no_more_than(16, large, change(1)).await;
}

/// `most` events wait for a session that does not read, and are read; `last` is too much.
async fn assert_tells_no_more_than(most: usize, event: impl Fn() -> Event, last: Event) {
    let mut hand = Hand::new();
    let mut session = hand.sessions.open(Principal::Owner);
    let mut tell = |events: Vec<Event>, session: &Session| {
        let mut parcels = events.into_iter().map(Parcel::Event);
        let first = parcels.next().unwrap();
        hand.delivery.deliver(session.id(), first, &mut || parcels.next());
        hand.delivery.wake();
    };
    tell((0..most).map(|_| event()).collect(), &session);
    for _ in 0..most {
        assert!(poll_once(&mut Box::pin(session.next_event())).is_ready());
    }
    assert!(poll_once(&mut Box::pin(session.next_event())).is_pending());
    assert_eq!(session.closed_reason(), None);
    tell((0..most).map(|_| event()).chain([last]).collect(), &session);
    assert!(session.next_event().await.is_none());
    assert!(session.closed_reason().unwrap().contains("does not read"));
}

#[tokio::test]
async fn everything_that_waits_is_answered_when_the_node_closes() {
    let hand = Hand::new();
    let mut session = hand.sessions.open(Principal::Owner);
    let other = hand.sessions.open(Principal::Owner);
    let (reply, event, streamed, ()) =
        tokio::join!(other.ask(ping()), session.next_event(), other.next_reply(), async {
            hand.sessions.close_all()
        });
    assert!(matches!(reply, Reply::Failed(ErrorCode::Closing, 0)));
    assert!(event.is_none() && streamed.is_none());
    let late = hand.sessions.open(Principal::Owner);
    assert!(matches!(late.ask(ping()).await, Reply::Failed(ErrorCode::Closing, 0)));
}

#[tokio::test]
async fn a_dropped_session_takes_its_watches_with_it() {
    let mut hand = Hand::new();
    let session = hand.sessions.open(Principal::Owner);
    let id = session.id();
    drop(session);
    assert!(matches!(hand.inputs()[..], [Input::SessionClosed(closed)] if closed == id));
    hand.delivery.deliver(id, Parcel::Event(change(1)), &mut || None);
    hand.delivery.wake();
}

#[tokio::test]
async fn what_finds_no_room_goes_later_and_in_order() {
    let hand = Hand::new();
    let session = hand.sessions.open(Principal::Owner);
    let large = || {
        let path = Path::new("a").unwrap();
        Request::Data(DataRequest::Write(vec![Write::put(path, vec![b'1'; 256 * 1024])]))
    };
    let (mut unsent, mut sent) = (None, Vec::new());
    while unsent.is_none() {
        sent.push(session.send_soon(large(), true, &mut unsent).unwrap());
    }
    for _ in 0..3 {
        sent.push(session.send_soon(ping(), true, &mut unsent).unwrap());
    }
    assert_eq!(session.send_soon(ping(), false, &mut unsent), Ok(RequestId::UNANSWERED));
    sent.push(RequestId::UNANSWERED);
    let mut unsent = unsent.unwrap();
    assert!(poll_unsent(&mut unsent).is_pending());
    let (mut taken, mut all_sent) = (Vec::new(), false);
    while taken.len() < sent.len() {
        taken.extend(hand.callers().into_iter().map(|caller| caller.request));
        all_sent = all_sent || poll_unsent(&mut unsent).is_ready();
    }
    assert_eq!(taken, sent);
}

fn poll_unsent(unsent: &mut Unsent) -> Poll<()> {
    unsent.as_mut().poll(&mut Context::from_waker(Waker::noop()))
}

#[tokio::test]
async fn all_that_is_told_is_taken_at_once_up_to_a_size() {
    let mut hand = Hand::new();
    let session = hand.sessions.open(Principal::Owner);
    let request = session.send_soon(ping(), true, &mut None).unwrap();
    let callers = hand.callers();
    let take = |bytes| {
        let (mut replies, mut events) = (Vec::new(), Vec::new());
        let context = &mut Context::from_waker(Waker::noop());
        let told = session.poll_told(context, bytes, &mut replies, &mut events);
        (told, replies, events.len())
    };
    assert!(take(1).0.is_pending());
    hand.answer(&callers, 1);
    let mut parcels = (0..3).map(|_| Parcel::Event(change(1_000)));
    hand.delivery.deliver(session.id(), parcels.next().unwrap(), &mut || parcels.next());
    hand.delivery.wake();
    let (told, replies, events) = take(2_000);
    assert_eq!((told, replies[0].0, events), (Poll::Ready(true), request, 2));
    assert_eq!(take(2_000).2, 1);
    assert!(take(1).0.is_pending());
    hand.sessions.close_all();
    assert_eq!(take(1).0, Poll::Ready(false));
}

#[tokio::test]
async fn a_request_that_nobody_waits_for_costs_no_place() {
    let hand = Hand::new();
    let session = hand.sessions.open(Principal::Owner);
    for _ in 0..2 * 4_096 {
        session.tell(ping()).await.unwrap();
        assert_eq!(hand.callers()[0].request, RequestId::UNANSWERED);
    }
}

#[tokio::test]
async fn sessions_at_the_doors_end_before_the_others() {
    let hand = Hand::new();
    let mut inside = hand.sessions.open(Principal::Owner);
    let mut at_door = hand.sessions.open_at_door(Principal::Owner);
    hand.sessions.close_doors();
    assert!(at_door.next_event().await.is_none());
    assert_eq!(at_door.closed_reason(), Some(CLOSING));
    let late = hand.sessions.open_at_door(Principal::Owner);
    assert_eq!(late.closed_reason(), Some(CLOSING));
    assert!(poll_once(&mut Box::pin(inside.next_event())).is_pending());
}
