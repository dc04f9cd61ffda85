//! One session, packet by packet, with a clock of its own.

use super::*;

fn packet(text: &'static str) -> engine_io::Packet {
    engine_io::Packet::decode(Bytes::from_static(text.as_bytes()), engine_io::Bounds::CLIENT)
        .unwrap()
}

/// A session after its handshake was taken.
fn opened(protocol: Protocol) -> (Session, Instant) {
    let now = Instant::now();
    let mut session = Session::open(protocol, "abc".into(), true, now);
    session.queue.take();
    (session, now)
}

fn texts(session: &mut Session) -> Vec<String> {
    let text = |packet: Bytes| String::from_utf8(packet.to_vec()).unwrap();
    session.queue.take().all().into_iter().map(text).collect()
}

/// Says what leaves nothing for anybody else.
fn say(session: &mut Session, text: &'static str, now: Instant) -> Vec<String> {
    assert_eq!(session.on_packet(&packet(text), now), Ok(Said::Nothing), "{text}");
    texts(session)
}

#[test]
fn the_handshake_says_what_the_original_says() {
    let now = Instant::now();
    let handshake = "0{\"sid\":\"abc\",\"upgrades\":[\"websocket\"],\"pingInterval\":25000,\
                     \"pingTimeout\":20000,\"maxPayload\":1000000}";
    let mut session = Session::open(Protocol::Three, "abc".into(), true, now);
    assert_eq!(texts(&mut session), [handshake, "40"]);
    let mut session = Session::open(Protocol::Four, "abc".into(), false, now);
    assert_eq!(texts(&mut session), [handshake.replace("\"websocket\"", "")]);
}

#[test]
fn protocol_4_enters_before_it_speaks() {
    let (mut session, now) = opened(Protocol::Four);
    assert!(say(&mut session, "42[\"identify\",\"a\"]", now).is_empty());
    assert_eq!(say(&mut session, "40", now), ["40{\"sid\":\"abc\"}"]);
    let event = packet("4212[\"q\"]");
    let said = session.on_packet(&event, now);
    assert_eq!(said, Ok(Said::Event { id: Some(12), data: "[\"q\"]" }));
    assert_eq!(session.on_packet(&packet("41"), now), Ok(Said::Left));
    assert!(say(&mut session, "42[\"q\"]", now).is_empty());
}

#[test]
fn who_does_not_enter_is_given_up() {
    let (mut session, now) = opened(Protocol::Four);
    let mut at = now;
    while session.on_time(at).is_ok() {
        say(&mut session, "3", at);
        at = session.deadline();
    }
    assert_eq!(at, now + ENTER_TIMEOUT);
}

#[test]
fn the_longest_name_of_a_namespace_is_repeated_and_a_longer_one_is_not() {
    let (mut session, now) = opened(Protocol::Three);
    for (bytes, is_repeated) in [(NAMESPACE_BYTES_MAX, true), (NAMESPACE_BYTES_MAX + 1, false)] {
        let name = format!("/{}", "n".repeat(bytes - 1));
        let text = Bytes::from(format!("40{name}"));
        let packet = engine_io::Packet::decode(text, engine_io::Bounds::CLIENT).unwrap();
        assert_eq!(session.on_packet(&packet, now), Ok(Said::Nothing));
        let shown = if is_repeated { &name } else { "/?" };
        assert_eq!(texts(&mut session), [format!("44{shown},\"Invalid namespace\"")]);
    }
}

#[test]
fn other_namespaces_and_binary_events_are_refused_in_words() {
    let (mut session, now) = opened(Protocol::Three);
    assert_eq!(say(&mut session, "40/chat", now), ["44/chat,\"Invalid namespace\""]);
    assert_eq!(say(&mut session, "40/\"é", now), ["44/?,\"Invalid namespace\""]);
    assert!(say(&mut session, "42/chat,[\"im\"]", now).is_empty());
    let refused = say(&mut session, "451-[\"im\",{\"_placeholder\":true,\"num\":0}]", now);
    assert_eq!(refused, ["42[\"error\",\"events with binary data are not taken\"]"]);
    assert!(say(&mut session, "bAQL/", now).is_empty());
}

#[test]
fn protocol_3_pings_and_is_answered() {
    let (mut session, start) = opened(Protocol::Three);
    assert_eq!(say(&mut session, "2", start), ["3"]);
    assert_eq!(say(&mut session, "2probe", start), ["3probe"]);
    let late = start + PING_INTERVAL + PING_TIMEOUT;
    assert_eq!(session.deadline(), late);
    assert_eq!(session.on_time(late - Duration::from_millis(1)), Ok(()));
    assert_eq!(session.on_time(late), Err(End::Silent));
}

#[test]
fn protocol_4_is_pinged_and_answers() {
    let (mut session, start) = opened(Protocol::Four);
    say(&mut session, "40", start);
    let first = start + PING_INTERVAL;
    assert_eq!(session.deadline(), first);
    assert_eq!(session.on_time(first), Ok(()));
    assert_eq!(texts(&mut session), ["2"]);
    assert_eq!(session.deadline(), first + PING_TIMEOUT);
    say(&mut session, "3", first + Duration::from_secs(1));
    // It is pinged at equal pauses: it counts on that.
    assert_eq!(session.deadline(), first + PING_INTERVAL);
    assert_eq!(session.on_time(first + PING_INTERVAL), Ok(()));
    assert_eq!(session.on_time(first + PING_INTERVAL + PING_TIMEOUT), Err(End::Silent));
}

#[test]
fn a_close_ends_it_and_so_does_nonsense() {
    let (mut session, now) = opened(Protocol::Three);
    assert_eq!(session.on_packet(&packet("1"), now), Err(End::Gone));
    assert!(matches!(session.on_packet(&packet("4x"), now), Err(End::Malformed(_))));
}

#[test]
fn a_waiting_list_of_users_is_replaced_by_the_newest() {
    let mut queue = Queue::default();
    queue.push(Bytes::from_static(b"a"));
    queue.push_list(Bytes::from_static(b"old"));
    queue.push_received(3);
    let batch = queue.take();
    queue.push(Bytes::from_static(b"b"));
    queue.push_list(Bytes::from_static(b"new"));
    queue.restore(batch);
    assert_eq!(queue.bytes(), 2);
    queue.push_list(Bytes::from_static(b"newest"));
    let batch = queue.take();
    assert_eq!(batch.all(), ["a", "b", "newest"]);
    assert_eq!((batch.received, queue.bytes(), queue.is_empty()), (Some(3), 0, true));
}

#[test]
fn a_list_of_users_that_comes_back_is_a_list_still() {
    let mut queue = Queue::default();
    queue.push_list(vec![b' '; QUEUE_BYTES_MAX + 1].into());
    let batch = queue.take();
    queue.restore(batch);
    assert_eq!((queue.bytes(), queue.is_empty()), (0, false));
    queue.push_list(Bytes::from_static(b"new"));
    assert_eq!(queue.take().all(), ["new"]);
}
