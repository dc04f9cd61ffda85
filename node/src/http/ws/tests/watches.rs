//! Data on the same socket.

use super::*;

#[tokio::test(flavor = "multi_thread")]
async fn data_is_watched_beside_chat_and_gone_on_with_by_its_token() {
    let node = start().await;
    node.put("a/1", &1).await.unwrap();
    let mut anna = Person::come(&node.url(), "anna", 1).await;
    anna.say(json!({"op": "watch", "watch": 7, "prefix": "a", "id": "w"}));
    anna.told("done").await;
    let put = anna.told("put").await;
    assert_eq!((&put["watch"], &put["path"], &put["value"]), (&json!(7), &json!("a/1"), &json!(1)));
    assert!(put["version"].is_string() && put["timestamp"].is_u64() && put.get("token").is_none());
    let ready = anna.told("ready").await;
    node.put("a/2", &json!({"b": 2})).await.unwrap();
    node.put("b", &3).await.unwrap();
    let put = anna.told("put").await;
    assert_eq!((&put["path"], &put["value"]), (&json!("a/2"), &json!({"b": 2})));
    anna.say(json!({"op": "unwatch", "watch": 7, "id": 1}));
    anna.told("done").await;
    assert!(node.del("a/1").await.unwrap());
    let since = ready["token"].as_str().unwrap();
    anna.say(json!({"op": "watch", "watch": 8, "prefix": "a", "since": since}));
    let put = anna.told("put").await;
    assert_eq!((&put["watch"], &put["path"]), (&json!(8), &json!("a/2")));
    let gone = anna.told("delete").await;
    let expected = json!({"op": "delete", "watch": 8, "path": "a/1", "token": gone["token"]});
    assert_eq!(gone, expected);
    let elsewhere = format!("{}-7", "05".repeat(16));
    anna.say(json!({"op": "watch", "watch": 8, "prefix": "a", "since": elsewhere}));
    assert_eq!(anna.told("reset").await, json!({"op": "reset", "watch": 8}));
    assert_eq!(anna.told("put").await["path"], "a/2");
    anna.told("ready").await;
    node.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn watches_are_limited() {
    let node = start().await;
    let mut anna = Person::come(&node.url(), "anna", 1).await;
    for watch in 0..129 {
        anna.say(json!({"op": "watch", "watch": watch, "since": "now", "id": watch}));
    }
    for watch in 0..128 {
        assert_eq!(anna.told("done").await["id"], watch);
    }
    assert_eq!(anna.told("error").await["error"], "watches_max");
    node.close().await;
}
