//! Clients over WebSocket, good and bad.

use super::*;

fn im(from: &str, to: &str, text: &str) -> String {
    format!(
        "42[\"im\",{{\"from\":\"{from}\",\"to\":\"{to}\",\"text\":\"{text}\",\"forwarded\":false}}]"
    )
}

#[tokio::test]
async fn two_users_talk_whatever_they_speak() {
    let node = node().await;
    for (mine, theirs) in [(3, 4), (4, 3)] {
        let mut anna = Client::named(node.addr(), mine, "Anna").await;
        let mut billy = Client::named(node.addr(), theirs, "Billy").await;
        let said = im("Anna", "Billy", "é😀");
        anna.say(&said).await;
        assert_eq!(billy.next_said().await, said);
        assert_eq!(anna.next_said().await, said);
        anna.say(&im("Anna", "Nobody", "x")).await;
        assert_eq!(anna.next_said().await, im("Anna", "Nobody", "x"));
        anna.say("1").await;
        billy.until_listed(&["Billy"], &["Anna"]).await;
        billy.say("1").await;
        assert!(billy.next_said().await.starts_with("closed"));
    }
    node.close().await;
}

#[tokio::test]
async fn every_connection_of_both_gets_a_message_once_and_to_oneself_twice() {
    let node = node().await;
    let mut anna = Client::named(node.addr(), 3, "Anna").await;
    let mut other = Client::named(node.addr(), 4, "Anna").await;
    let said = im("Anna", "Anna", "me");
    anna.say(&said).await;
    for client in [&mut anna, &mut other] {
        assert_eq!(
            (client.next_said().await, client.next_said().await),
            (said.clone(), said.clone())
        );
    }
    let last = im("Anna", "x", "last");
    anna.say(&last).await;
    for client in [&mut anna, &mut other] {
        assert_eq!(client.next_said().await, last);
    }
    node.close().await;
}

#[tokio::test]
async fn nobody_speaks_as_somebody_else_or_as_nobody() {
    let node = node().await;
    let mut anna = Client::named(node.addr(), 3, "Anna").await;
    let mut mallory = Client::connect(node.addr(), 3).await;
    mallory.say(&im("Billy", "Anna", "hi")).await;
    assert_eq!(mallory.next().await, "42[\"error\",\"identify first\"]");
    mallory.say("42[\"identify\",\"Mallory\"]").await;
    mallory.say(&im("Billy", "Anna", "hi")).await;
    assert_eq!(mallory.next_said().await, im("Mallory", "Anna", "hi"));
    assert_eq!(anna.next_said().await, im("Mallory", "Anna", "hi"));
    node.close().await;
}

#[tokio::test]
async fn a_second_name_ends_the_first_user() {
    let node = node().await;
    let mut anna = Client::named(node.addr(), 3, "Anna").await;
    let mut billy = Client::named(node.addr(), 4, "Billy").await;
    billy.say("42[\"identify\",\"Carl\"]").await;
    anna.until_listed(&["Anna", "Carl"], &["Billy"]).await;
    anna.say(&im("Anna", "Billy", "lost")).await;
    anna.say(&im("Anna", "Carl", "found")).await;
    assert_eq!(billy.next_said().await, im("Anna", "Carl", "found"));
    node.close().await;
}

#[tokio::test]
async fn nonsense_is_answered_and_the_socket_lives() {
    let node = node().await;
    let mut client = Client::named(node.addr(), 3, "constructor").await;
    for bad in [
        "42[\"identify\",{\"name\":\"x\"}]",
        "42[\"identify\",\"\"]",
        "42[\"identify\"]",
        "42[\"im\",null]",
        "42[\"im\",{}]",
        "42[\"im\",{\"to\":null}]",
        "42[\"im\",{\"to\":{\"toString\":1}}]",
        "42[\"im\"",
        "42{}",
        "42",
        "451-[\"im\",{\"_placeholder\":true,\"num\":0}]",
        "42[\"update_peer\",null]",
        "42[\"update_peer\",{\"peerId\":\"server-2\",\"list\":[{\"id\":\"ghost\",\"connections\":1}]}]",
    ] {
        client.say(bad).await;
        let answer = client.next_said().await;
        assert!(answer.starts_with("42[\"error\",\""), "{bad}: {answer}");
    }
    client.0.send(Message::binary(vec![1, 2, 255])).await.unwrap();
    for ignored in ["42[\"unknown\",1]", "43[1]", "44\"x\"", "6", "5", "41/other"] {
        client.say(ignored).await;
    }
    client.say("427[\"im\",{\"to\":\"constructor\",\"forwarded\":true}]").await;
    let echo = "42[\"im\",{\"from\":\"constructor\",\"to\":\"constructor\",\"forwarded\":true}]";
    assert_eq!(client.next_said().await, echo);
    assert_eq!(client.next_said().await, "437[]");
    client.say("428[\"im\",{}]").await;
    while !client.next_said().await.starts_with("438[{\"error\":\"") {}
    node.close().await;
}

#[tokio::test]
async fn what_is_no_packet_closes_the_socket_alone() {
    let node = node().await;
    let mut witness = Client::named(node.addr(), 3, "Witness").await;
    let large = format!("42[\"identify\",\"{}\"]", "n".repeat(10 * 1024 * 1024));
    for bad in ["", "x", "4", "4x", "7", &large] {
        let mut client = Client::connect(node.addr(), 4).await;
        // The node may close before it has read all.
        let _ = client.0.send(Message::text(bad)).await;
        assert!(client.next_said().await.starts_with("closed"), "{:.20}", bad);
    }
    let mut client = Client::connect(node.addr(), 4).await;
    // A text frame of one byte that is no UTF-8, masked with zeros.
    let frame = [0x81, 0x81, 0, 0, 0, 0, 0xff];
    client.0.get_mut().write_all(&frame).await.unwrap();
    assert!(client.next().await.starts_with("closed"));
    // Fragments are put together, as the WebSocket protocol wants.
    let fragments = b"\x01\x82\0\0\0\x0042\x80\x8c\0\0\0\0[\"q\",{\"a\":1}";
    let mut client = Client::connect(node.addr(), 4).await;
    client.0.get_mut().write_all(fragments).await.unwrap();
    assert!(client.next().await.starts_with("42[\"error\""));
    witness.say("2").await;
    assert_eq!(witness.next_said().await, "3");
    node.close().await;
}

#[tokio::test]
async fn who_only_writes_is_closed() {
    let node = node().await;
    let mut client = Client::named(node.addr(), 3, "Anna").await;
    let said = im("Anna", "Nobody", &"x".repeat(60_000));
    let (mut read, mut write) = (client.0.get_mut().peer_addr().is_ok(), 0);
    // Nothing is read: sooner or later neither side's buffers take more.
    while read && write < 10_000 {
        let sent = tokio::time::timeout(
            Duration::from_secs(30),
            client.0.send(Message::text(said.clone())),
        );
        read = matches!(sent.await, Ok(Ok(())));
        write += 1;
    }
    assert!(write < 10_000, "it was never closed");
    node.close().await;
}

#[tokio::test]
async fn what_is_said_just_before_leaving_is_delivered() {
    let node = node().await;
    let mut billy = Client::named(node.addr(), 3, "Billy").await;
    for leaving in [Message::Close(None), Message::text("x")] {
        let mut anna = Client::connect(node.addr(), 3).await;
        let identify = "42[\"identify\",\"Anna\"]".to_owned();
        let ims: Vec<_> = (0..5).map(|n| im("Anna", "Billy", &n.to_string())).collect();
        // They leave with one write.
        for text in [identify].iter().chain(&ims) {
            anna.0.feed(Message::text(text)).await.unwrap();
        }
        anna.0.send(leaving).await.unwrap();
        for im in ims {
            assert_eq!(billy.next_said().await, im);
        }
    }
    node.close().await;
}

#[tokio::test]
async fn a_stopping_node_says_so() {
    let node = node().await;
    let mut client = Client::named(node.addr(), 4, "Anna").await;
    let closing = tokio::spawn(node.close());
    assert_eq!(client.next_said().await, "closed Some(1001)");
    in_time(closing).await.unwrap();
}
