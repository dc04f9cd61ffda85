//! People who talk: on one node, over two, and after a broken connection.

use super::*;

#[tokio::test(flavor = "multi_thread")]
async fn two_people_on_one_node_talk_and_learn_that_it_arrived() {
    let node = start().await;
    let mut anna = Person::come(&node.url(), "anna", 0x9f3c_2a77_00d1_e842).await;
    let mut billy = Person::come(&node.url(), "billy", 2).await;
    anna.say(json!({"op": "send", "n": 1, "to": "billy", "body": {"text": "hi"}}));
    anna.client.turn(&mut |_| std::ops::ControlFlow::Continue(())).await.unwrap();
    let message = billy.told("message").await;
    assert!(message["at"].as_u64().is_some_and(|at| at > 1_700_000_000_000), "{message}");
    let expected = json!({
        "op": "message", "n": 1, "from": "anna", "client": "9f3c2a7700d1e842", "m": 1,
        "to": "billy", "at": message["at"], "body": {"text": "hi"},
    });
    assert_eq!(message, expected);
    billy.say(json!({"op": "received", "n": 1}));
    billy.say(json!({"op": "send", "n": 1, "to": "anna", "body": "hello"}));
    billy.client.turn(&mut |_| std::ops::ControlFlow::Continue(())).await.unwrap();
    let mut told = [anna.hear().await.unwrap(), anna.hear().await.unwrap()];
    told.sort_by_key(|one| one["op"] == "settled");
    assert_eq!(told[0]["body"], "hello");
    let delivered =
        json!({"op": "settled", "from": 1, "upto": 1, "outcome": "delivered", "sessions": 1});
    assert_eq!(told[1], delivered);
    anna.say(json!({"op": "send", "n": 2, "to": "nobody", "body": 1}));
    assert_eq!(anna.told("settled").await["outcome"], "unknown");
    node.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_are_answered_under_their_ids_and_refusals_always() {
    let node = start().await;
    let mut anna = Person::arrive(&node.url()).await;
    anna.say(json!({"op": "join", "room": "tea", "id": 0}));
    let refused = anna.told("error").await;
    assert_eq!((&refused["error"], &refused["id"]), (&json!("not_connected"), &json!(0)));
    anna.say(json!({"op": "ping", "id": "p"}));
    assert_eq!(anna.told("pong").await, json!({"op": "pong", "id": "p"}));
    anna.say(json!({"op": "hello", "user": " ", "client": "0000000000000001", "id": 1}));
    let refused = anna.told("error").await;
    assert_eq!((&refused["code"], &refused["id"]), (&json!(112), &json!(1)));
    anna.say(json!({"op": "hello", "session": "00".repeat(16), "received": 0}));
    assert_eq!(anna.told("error").await["code"], 212);
    anna.say(json!({"op": "hello", "user": "anna", "client": "0000000000000001", "id": 2}));
    anna.say(json!({"op": "status", "text": "away", "id": 3}));
    anna.say(json!({"op": "send", "n": 1, "to": "x\n", "body": 1, "id": 4}));
    anna.say(json!({"op": "send", "n": 2, "room": "tea", "body": 1, "id": 5}));
    anna.say(json!({"op": "sing"}));
    anna.told("welcome").await;
    assert_eq!(anna.told("done").await["id"], 2);
    let mut told = Vec::new();
    while told.len() < 5 {
        told.push(anna.hear().await.unwrap());
    }
    let with = |key: &str, value: Value| told.iter().find(|one| one[key] == value).unwrap().clone();
    assert_eq!(with("id", json!(3))["op"], "done");
    let refused = with("id", json!(4));
    assert_eq!((&refused["code"], &refused["n"]), (&json!(112), &json!(1)));
    assert_eq!(with("id", json!(5))["op"], "done");
    assert_eq!(with("op", json!("settled"))["error"], "not_in_room");
    assert!(with("code", json!(624)).get("id").is_none());
    node.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_room_hears_who_comes_and_what_is_said_and_signals_are_not_settled() {
    let node = start().await;
    let mut anna = Person::come(&node.url(), "anna \"a\"", 1).await;
    let mut billy = Person::come(&node.url(), "billy", 2).await;
    for person in [&mut anna, &mut billy] {
        person.say(json!({"op": "join", "room": "tea", "id": 1}));
        person.until(|told| told["op"] == "done").await;
    }
    let has = |who: &'static str| {
        move |told: &Value| {
            told["op"] == "room" && told["joined"].as_array().unwrap().contains(&json!(who))
        }
    };
    anna.until(has("billy")).await;
    billy.until(has("anna \"a\"")).await;
    billy.say(json!({"op": "send", "signal": true, "room": "tea", "body": "typing"}));
    billy.say(json!({"op": "send", "n": 1, "room": "tea", "body": "hot"}));
    billy.client.turn(&mut |_| std::ops::ControlFlow::Continue(())).await.unwrap();
    let mut heard = Vec::new();
    while heard.len() < 2 {
        heard.push(anna.until(|told| told["op"] != "room").await);
    }
    let signal = heard.iter().find(|told| told["op"] == "signal").unwrap();
    assert_eq!((&signal["body"], &signal["room"]), (&json!("typing"), &json!("tea")));
    assert!(signal.get("n").is_none() && signal.get("m").is_none());
    let message = heard.iter().find(|told| told["op"] == "message").unwrap();
    assert_eq!((&message["n"], &message["room"]), (&json!(1), &json!("tea")));
    anna.say(json!({"op": "received", "n": 1}));
    anna.client.turn(&mut |_| std::ops::ControlFlow::Continue(())).await.unwrap();
    let settled = billy.until(|told| told["op"] == "settled").await;
    assert_eq!((&settled["outcome"], &settled["sessions"]), (&json!("delivered"), &json!(1)));
    node.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_watches_users_sees_them_come_change_and_go() {
    let node = start().await;
    let mut anna = Person::come(&node.url(), "anna", 1).await;
    anna.say(json!({"op": "users", "prefix": "b"}));
    let all = anna.told("users").await;
    assert_eq!(all, json!({"op": "users", "all": true, "users": []}));
    let mut billy = Person::come(&node.url(), "billy", 2).await;
    let told = anna.told("users").await;
    assert_eq!(told["users"], json!([{"user": "billy", "sessions": 1}]));
    billy.say(json!({"op": "status", "text": "a \"b\"", "id": 1}));
    billy.told("done").await;
    assert_eq!(anna.told("users").await["users"][0]["status"], "a \"b\"");
    billy.say(json!({"op": "bye"}));
    assert_eq!(billy.closed().await, 1000);
    let gone = anna.told("users").await;
    assert_eq!(gone["users"][0]["sessions"], 0);
    assert!(gone["users"][0]["seen"].is_u64(), "{gone}");
    node.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broken_connection_is_gone_on_with_without_gap_or_repeat() {
    let node = start().await;
    let mut anna = Person::come(&node.url(), "anna", 1).await;
    let mut billy = Person::come(&node.url(), "billy", 2).await;
    for n in 1..=3 {
        anna.client.say_send(n, ("to", "billy"), "1");
    }
    anna.client.turn(&mut |_| std::ops::ControlFlow::Continue(())).await.unwrap();
    for n in 1..=3 {
        assert_eq!(billy.told("message").await["n"], n);
    }
    // He has seen three, and said so of two; what he sent himself may be lost.
    billy.client.say_received(2);
    billy.client.turn(&mut |_| std::ops::ControlFlow::Continue(())).await.unwrap();
    let session = billy.vanish();
    for n in 4..=5 {
        anna.client.say_send(n, ("to", "billy"), "1");
    }
    let mut settled = 0;
    while settled < 2 {
        settled = anna.told("settled").await["upto"].as_u64().unwrap();
    }
    let mut billy = Person::arrive(&node.url()).await;
    billy.say(json!({"op": "hello", "session": session, "received": 3}));
    let welcome = billy.told("welcome").await;
    assert_eq!((&welcome["resumed"], &welcome["session"]), (&json!(true), &json!(session)));
    for n in 4..=5 {
        let message = billy.told("message").await;
        assert_eq!((&message["n"], &message["m"]), (&json!(n), &json!(n)));
    }
    billy.client.say_received(5);
    billy.client.turn(&mut |_| std::ops::ControlFlow::Continue(())).await.unwrap();
    while settled < 5 {
        let told = anna.told("settled").await;
        assert_eq!((&told["outcome"], &told["from"]), (&json!("delivered"), &json!(settled + 1)));
        settled = told["upto"].as_u64().unwrap();
    }
    node.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_that_is_gone_on_with_elsewhere_ends_here() {
    let node = start().await;
    let mut first = Person::come(&node.url(), "anna", 1).await;
    let mut second = Person::arrive(&node.url()).await;
    second.say(json!({"op": "hello", "session": first.session, "received": 0}));
    second.told("welcome").await;
    assert_eq!(first.closed().await, 4002);
    second.client.say_send(1, ("to", "nobody"), "1");
    second.told("settled").await;
    node.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn people_on_two_nodes_talk_and_one_moves_to_the_other_node() {
    let first = start().await;
    let second = start_beside(&first).await;
    let mut anna = Person::come(&first.url(), "anna", 1).await;
    anna.say(json!({"op": "users", "names": ["billy"]}));
    let mut billy = Person::come(&second.url(), "billy", 2).await;
    anna.until(|told| told["op"] == "users" && told["users"][0]["sessions"] == 1).await;
    for n in 1..=100 {
        anna.client.say_send(n, ("to", "billy"), &format!("{n}"));
    }
    anna.client.turn(&mut |_| std::ops::ControlFlow::Continue(())).await.unwrap();
    for n in 1..=100 {
        let message = billy.told("message").await;
        assert_eq!((&message["m"], &message["body"]), (&json!(n), &json!(n)));
    }
    billy.client.say_received(100);
    billy.client.turn(&mut |_| std::ops::ControlFlow::Continue(())).await.unwrap();
    anna.until(|told| told["op"] == "settled" && told["upto"] == 100).await;
    let session = billy.vanish();
    let mut billy = Person::arrive(&first.url()).await;
    billy.say(json!({"op": "hello", "session": session, "received": 100}));
    assert_eq!(billy.told("error").await["code"], 212);
    billy.client.say_hello("billy", 2);
    billy.told("welcome").await;
    anna.client.say_send(101, ("to", "billy"), "\"here?\"");
    anna.client.turn(&mut |_| std::ops::ControlFlow::Continue(())).await.unwrap();
    let message = billy.told("message").await;
    assert_eq!((&message["n"], &message["m"]), (&json!(1), &json!(101)));
    second.close().await;
    first.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_shuts_down_says_so_to_everybody() {
    let node = start().await;
    let mut anna = Person::come(&node.url(), "anna", 1).await;
    let mut silent = Person::arrive(&node.url()).await;
    let closing = tokio::spawn(node.close());
    assert_eq!(anna.closed().await, 1001);
    assert_eq!(silent.closed().await, 1001);
    drop((anna, silent));
    tokio::time::timeout(PATIENCE, closing).await.expect("it ends").unwrap();
}
