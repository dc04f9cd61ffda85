//! The inbox: order, fairness, and what happens when it is full.

use super::*;
use bytes::Bytes;
use folkmoot_core::access::Principal;
use folkmoot_core::id::{Path, RequestId};
use folkmoot_core::request::{Caller, MeshRequest, Write};
use std::time::Duration;

pub(super) fn request(session: u64, number: u64) -> Input {
    let caller = Caller {
        session: SessionId(session),
        request: RequestId(number),
        principal: Principal::Owner,
    };
    Input::Request(caller, Request::Mesh(MeshRequest::Status))
}

pub(super) fn frame(link: u64, bytes: usize) -> Input {
    Input::Frame(LinkId(link), Bytes::from(vec![0; bytes]))
}

pub(super) fn number(input: &Input) -> u64 {
    match input {
        Input::Request(caller, _) => caller.request.0,
        other => panic!("no request: {other:?}"),
    }
}

fn take_all(receiver: &Receiver) -> Vec<Input> {
    let (mut all, mut count) = (Vec::new(), 0);
    while receiver.receive(&mut all, Some(Instant::now())) == Waited::Over && all.len() > count {
        count = all.len();
    }
    all
}

/// Polls `send` once: whether the input was taken without waiting.
async fn taken(inbox: &Inbox, input: Input) -> bool {
    let send = inbox.send(input);
    tokio::time::timeout(Duration::ZERO, send).await.is_ok()
}

#[tokio::test]
async fn inputs_of_one_source_keep_their_order_with_control_inputs_among_them() {
    let (inbox, receiver) = inbox();
    for number in 0..100 {
        inbox.send(request(1, number)).await.unwrap();
    }
    inbox.send_now(Input::SessionClosed(SessionId(1)));
    let mut all = take_all(&receiver);
    assert!(matches!(all.pop(), Some(Input::SessionClosed(SessionId(1)))));
    assert!(all.iter().map(number).eq(0..100));
}

#[tokio::test]
async fn a_source_that_sends_much_does_not_keep_another_waiting() {
    let (inbox, receiver) = inbox();
    for number in 0..2_000 {
        inbox.send(request(1, number)).await.unwrap();
    }
    inbox.send(request(2, 7_777)).await.unwrap();
    let all = take_all(&receiver);
    let place = all.iter().position(|input| number(input) == 7_777).unwrap();
    assert_eq!((place, all.len()), (TURN_INPUTS_MAX, 2_001));
}

#[tokio::test]
async fn a_source_waits_when_its_share_is_full_and_others_do_not() {
    let (inbox, receiver) = inbox();
    let mut count = 0;
    while taken(&inbox, request(1, count)).await {
        count += 1;
    }
    assert_eq!(count, 2_048);
    assert!(taken(&inbox, request(2, 0)).await);
    assert_eq!(take_all(&receiver).len(), 2_049);
    assert!(taken(&inbox, request(1, 0)).await);
}

#[tokio::test]
async fn bytes_count_and_no_number_of_links_gets_over_the_limit() {
    let (inbox, receiver) = inbox();
    let mut bytes = 0;
    for link in 0..300 {
        while taken(&inbox, frame(link, 64 * 1024)).await {
            bytes += 64 * 1024;
        }
    }
    assert!((15 << 20..=16 << 20).contains(&bytes), "{bytes}");
    inbox.send_now(Input::LinkDown(LinkId(299)));
    let mut first = Vec::new();
    assert_eq!(receiver.receive(&mut first, None), Waited::Over);
    let frames = first.iter().filter(|input| matches!(input, Input::Frame(..))).count();
    assert_eq!((frames, first.len()), (16, 17), "a take ends at 1 MiB");
    take_all(&receiver);
    assert!(taken(&inbox, frame(1, 64 * 1024)).await);
}

#[tokio::test]
async fn the_largest_write_finds_room_in_an_empty_inbox() {
    let (inbox, receiver) = inbox();
    let caller =
        Caller { session: SessionId(1), request: RequestId(1), principal: Principal::Owner };
    let write = Write::put(Path::new("a").unwrap(), vec![0; 64 << 20]);
    let write = Input::Request(caller, Request::Data(DataRequest::Write(vec![write])));
    assert!(taken(&inbox, write).await);
    assert_eq!(take_all(&receiver).len(), 1);
}

#[tokio::test]
async fn a_send_that_is_given_up_leaves_nothing_behind() {
    let (inbox, receiver) = inbox();
    for session in 0..4 {
        while taken(&inbox, request(session, 0)).await {}
    }
    for session in 4..2_000 {
        assert!(!taken(&inbox, request(session, 0)).await);
    }
    assert_eq!(take_all(&receiver).len(), 8_192);
    for session in 5_000..10_000 {
        assert!(taken(&inbox, request(session, 0)).await);
        take_all(&receiver);
    }
    assert_eq!(inbox.shared.room.available_permits(), INBOX_UNITS_MAX);
    let queues = inbox.shared.lock();
    assert!(queues.slots.len() <= 2_001, "{}", queues.slots.len());
    assert!(queues.slots.iter().all(|slot| slot.share.available_permits() == SOURCE_UNITS_MAX));
}

#[tokio::test]
async fn a_closed_inbox_refuses_and_hands_out_what_it_has() {
    let (inbox, receiver) = inbox();
    while taken(&inbox, request(1, 0)).await {}
    let waiting = tokio::spawn({
        let inbox = inbox.clone();
        async move { inbox.send(request(1, 1)).await }
    });
    tokio::task::yield_now().await;
    inbox.close();
    assert_eq!(waiting.await.unwrap(), Err(Closed));
    assert_eq!(inbox.send(request(2, 0)).await, Err(Closed));
    assert_eq!(take_all(&receiver).len(), 2_048);
    assert_eq!(receiver.receive(&mut Vec::new(), None), Waited::Closed);
}

#[test]
fn a_receiver_that_waits_is_woken() {
    let (inbox, receiver) = inbox();
    let soon = Some(Instant::now() + Duration::from_millis(1));
    assert_eq!(receiver.receive(&mut Vec::new(), soon), Waited::Over);
    let thread = std::thread::spawn(move || {
        let mut inputs = Vec::new();
        (receiver.receive(&mut inputs, None), inputs.len())
    });
    inbox.send_now(Input::Tick);
    assert_eq!(thread.join().unwrap(), (Waited::Over, 1));
}

/// Prints a figure; run it with optimisation: `cargo test --release -p folkmoot -- --ignored
/// --nocapture a_million_inputs`.
#[test]
#[ignore = "a measurement"]
fn a_million_inputs_pass_in_a_second() {
    const EACH: u64 = 20_000;
    const SESSIONS: u64 = 64;
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).build().unwrap();
    let (inbox, receiver) = inbox();
    let start = Instant::now();
    for session in 0..SESSIONS {
        let inbox = inbox.clone();
        runtime.spawn(async move {
            for number in 0..EACH {
                inbox.send(request(session, number)).await.unwrap();
            }
        });
    }
    let (mut received, mut takes, mut batch) = (0, 0, Vec::new());
    while received < SESSIONS * EACH {
        assert_eq!(receiver.receive(&mut batch, None), Waited::Over);
        received += u64::try_from(batch.len()).unwrap();
        takes += 1;
        batch.clear();
    }
    let seconds = start.elapsed().as_secs_f64();
    #[expect(clippy::cast_precision_loss, reason = "a figure for people")]
    let rate = received as f64 / seconds / 1e6;
    println!("{rate:.2} million inputs/s in {takes} takes");
}

#[tokio::test]
async fn messages_of_chat_count_by_their_bytes_and_what_finds_no_room_is_given_back() {
    use folkmoot_core::access::Principal;
    use folkmoot_core::chat::words::{ChatRequest, Kind, Post, Target};
    use folkmoot_core::id::RequestId;
    use folkmoot_core::request::Caller;
    let (inbox, receiver) = inbox();
    let send = |session, bytes: usize| {
        let post = Post {
            number: 1,
            to: Target::Everyone,
            kind: Kind::Message,
            local: false,
            body: vec![b'1'; bytes].into(),
        };
        let (session, request) = (SessionId(session), RequestId::UNANSWERED);
        let caller = Caller { session, request, principal: Principal::Owner };
        Input::Request(caller, Request::Chat(ChatRequest::Send(vec![post; 16])))
    };
    let mut taken = 0;
    let given_back = loop {
        match inbox.try_send(send(1, 64 * 1024)) {
            Ok(()) => taken += 1,
            Err(Unsent::NoRoom(input)) => break input,
            Err(Unsent::Closed) => panic!("it is open"),
        }
    };
    assert_eq!(taken, SOURCE_UNITS_MAX * UNIT_BYTES / (16 * 64 * 1024) - 1);
    assert!(matches!(given_back, Input::Request(Caller { session: SessionId(1), .. }, _)));
    inbox.try_send(send(2, 1)).unwrap();
    receiver.receive(&mut Vec::new(), None);
    inbox.try_send(given_back).unwrap();
    inbox.close();
    assert!(matches!(inbox.try_send(send(2, 1)), Err(Unsent::Closed)));
}
