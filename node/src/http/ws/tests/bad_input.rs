//! What no client should send. After each the node serves the next.

use super::*;
use crate::websocket::frame::push_text;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// Raw bytes after a handshake, and with what the node closes then.
async fn code_for(url: &str, bytes: &[u8]) -> u16 {
    let mut tcp = Person::arrive(url).await.client.into_tcp();
    tcp.write_all(bytes).await.unwrap();
    close_code(&mut tcp).await
}

/// The code of the close frame that comes next, behind texts.
async fn close_code(tcp: &mut TcpStream) -> u16 {
    let mut all = Vec::new();
    let read = tokio::time::timeout(PATIENCE, tcp.read_to_end(&mut all)).await;
    read.expect("the node closes").unwrap();
    let at = all.windows(2).position(|two| two[0] == 0x88 && two[1] >= 2).expect("a close frame");
    u16::from_be_bytes([all[at + 2], all[at + 3]])
}

/// A frame with a mask of zeros, which leaves the bytes as they are.
fn masked(first: u8, payload: &[u8]) -> Vec<u8> {
    let mut out = vec![first];
    match payload.len() {
        short @ 0..=125 => out.push(0x80 | short as u8),
        length => {
            out.push(0xff);
            out.extend_from_slice(&(length as u64).to_be_bytes());
        }
    }
    out.extend_from_slice(&[0; 4]);
    out.extend_from_slice(payload);
    out
}

#[tokio::test(flavor = "multi_thread")]
async fn what_breaks_the_rules_of_frames_is_closed_with_its_code() {
    let node = start().await;
    let url = node.url();
    let mut unmasked = Vec::new();
    push_text(&mut unmasked, |out| out.extend_from_slice(b"{\"op\":\"ping\"}"));
    for (bytes, code) in [
        (unmasked, 1002),
        (masked(0x82, b"{\"op\":\"ping\"}"), 1003),
        (masked(0x81, b"\"\xff\""), 1007),
        (masked(0xc1, b"{}"), 1002),
        (masked(0x83, b"{}"), 1002),
        (masked(0x80, b"{}"), 1002),
        (masked(0x09, b""), 1002),
        (masked(0x81, b"[1]"), 1007),
        (masked(0x81, b"{\"op\":\"ping\",\"op\":\"ping\"}"), 1007),
        (masked(0x81, b"{\"op\":\"ping\",\"x\":[1,]}"), 1007),
        (masked(0x88, b"\x03\xe8"), 1000),
    ] {
        assert_eq!(code_for(&url, &bytes).await, code, "{}", String::from_utf8_lossy(&bytes));
    }
    Person::come(&url, "anna", 1).await;
    node.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_frame_of_ten_megabytes_is_refused_at_its_head_and_one_of_128_kib_is_not() {
    let node = start().await;
    let mut large = vec![0x81, 0xff];
    large.extend_from_slice(&(10_u64 << 20).to_be_bytes());
    large.extend_from_slice(&[0; 4]);
    assert_eq!(code_for(&node.url(), &large).await, 1009);
    let mut anna = Person::come(&node.url(), "anna", 1).await;
    let frame = |bytes: usize| {
        let start = r#"{"op":"ping","id":1,"x":""#;
        format!("{start}{}\"}}", "x".repeat(bytes - start.len() - 2))
    };
    anna.client.say(&frame(128 * 1024));
    anna.told("pong").await;
    anna.client.say(&frame(128 * 1024 + 1));
    assert_eq!(anna.closed().await, 1009);
    node.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_text_in_fragments_with_pings_between_is_heard_as_one() {
    let node = start().await;
    let mut tcp = Person::arrive(&node.url()).await.client.into_tcp();
    let text = "{\"op\":\"ping\",\"id\":\"é\"}".as_bytes();
    let mut bytes = masked(0x01, &text[..20]);
    bytes.extend(masked(0x89, b"there?"));
    bytes.extend(masked(0x00, &text[20..21]));
    bytes.extend(masked(0x80, &text[21..]));
    for byte in bytes {
        tcp.write_all(&[byte]).await.unwrap();
    }
    let mut expected = vec![0x8a, 6];
    expected.extend_from_slice(b"there?");
    push_text(&mut expected, |out| {
        out.extend_from_slice("{\"op\":\"pong\",\"id\":\"é\"}".as_bytes())
    });
    let mut answer = vec![0; expected.len()];
    tokio::time::timeout(PATIENCE, tcp.read_exact(&mut answer)).await.unwrap().unwrap();
    assert_eq!(answer, expected);
    node.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_over_its_limit_is_refused_and_the_next_one_is_not() {
    let node = start().await;
    let mut anna = Person::come(&node.url(), "anna", 1).await;
    anna.client.say_send(1, ("to", "anna"), &format!("\"{}\"", "x".repeat(64 * 1024)));
    let settled = anna.told("settled").await;
    assert_eq!(
        (&settled["outcome"], &settled["error"]),
        (&json!("refused"), &json!("message_too_large"))
    );
    anna.client.say_send(2, ("to", "nobody"), &format!("\"{}\"", "x".repeat(64 * 1024 - 2)));
    assert_eq!(anna.told("settled").await["outcome"], "unknown");
    node.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn pages_of_another_origin_and_clients_without_a_handshake_do_not_get_in() {
    let node = start().await;
    let ask = async |headers: &str| {
        let mut tcp = TcpStream::connect(node.addr()).await.unwrap();
        let host = node.addr();
        let head = format!("GET /v1/ws HTTP/1.1\r\nhost: {host}\r\n{headers}\r\n");
        tcp.write_all(head.as_bytes()).await.unwrap();
        let mut answer = [0; 12];
        tcp.read_exact(&mut answer).await.unwrap();
        String::from_utf8(answer.to_vec()).unwrap()
    };
    let upgrade = "connection: upgrade\r\nupgrade: websocket\r\nsec-websocket-version: 13\r\n\
                   sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n";
    let from = |origin: &str| format!("{upgrade}origin: {origin}\r\n");
    assert_eq!(ask(&from("https://evil.example")).await, "HTTP/1.1 403");
    assert_eq!(ask(&from("null")).await, "HTTP/1.1 403");
    assert_eq!(ask(&from(&node.url())).await, "HTTP/1.1 101");
    assert_eq!(ask(upgrade).await, "HTTP/1.1 101");
    assert_eq!(ask("").await, "HTTP/1.1 426");
    node.close().await;
}

/// On one thread, whose sockets use their buffers in turn.
#[tokio::test]
async fn what_was_for_a_client_that_left_is_told_to_nobody_else() {
    let node = start().await;
    let mut carl = Person::come(&node.url(), "carl", 1).await;
    for round in 2..12 {
        // Who is in the room, and the farewell.
        let mut billy = Person::come(&node.url(), "billy", round).await;
        billy.say(json!({"op": "join", "room": "tea"}));
        billy.say(json!({"op": "bye"}));
        assert_eq!(billy.closed().await, 1000);
        carl.say(json!({"op": "status", "text": "here", "id": round}));
        assert_eq!(carl.told("done").await["id"], round);
    }
    node.close().await;
}
