//! `/v1/watch`: what a client of server-sent events sees.

use super::*;
use axum::body::BodyDataStream;
use futures_util::StreamExt;
use serde_json::Value;
use std::time::Duration;

/// One event as a browser would dispatch it.
#[derive(Debug)]
pub(super) struct Event {
    pub(super) name: String,
    pub(super) id: Option<String>,
    pub(super) data: Value,
}

/// A client that reads events.
pub(super) struct Client {
    stream: BodyDataStream,
    text: String,
}

impl Client {
    pub(super) async fn start(door: &Doorstep, line: &str, headers: &str) -> Client {
        let response = door.send(line, headers, Body::empty()).await;
        assert_eq!(response.status(), 200);
        assert_eq!(response.headers()["content-type"], "text/event-stream");
        Client { stream: response.into_body().into_data_stream(), text: String::new() }
    }

    /// The next event; `None` when the stream has ended.
    pub(super) async fn next(&mut self) -> Option<Event> {
        loop {
            if let Some((block, rest)) = self.text.split_once("\n\n") {
                let (block, rest) = (block.to_owned(), rest.to_owned());
                self.text = rest;
                let field = |name: &str| {
                    let mut lines = block.lines();
                    lines.find_map(|line| line.strip_prefix(name)?.strip_prefix(": "))
                };
                let Some(name) = field("event") else { continue };
                let data = serde_json::from_str(field("data").unwrap()).unwrap();
                return Some(Event { name: name.into(), id: field("id").map(Into::into), data });
            }
            let chunk = tokio::time::timeout(Duration::from_secs(10), self.stream.next()).await;
            let chunk = chunk.expect("an event comes")?.unwrap();
            self.text.push_str(std::str::from_utf8(&chunk).unwrap());
        }
    }

    #[track_caller]
    fn expect(event: Option<Event>, name: &str, path: &str) -> Event {
        let event = event.expect("the stream goes on");
        assert_eq!((&event.name[..], event.data["path"].as_str().unwrap_or("")), (name, path));
        event
    }

    async fn told(&mut self, name: &str, path: &str) -> Event {
        Client::expect(self.next().await, name, path)
    }
}

#[tokio::test]
async fn a_watch_tells_what_is_there_and_then_every_change() {
    let door = doorstep().await;
    door.put(&[("a/1", "1"), ("ab", "9"), ("a", "{\n \"x\": 0}")]).await;
    let mut client = Client::start(&door, "GET /v1/watch?prefix=a", "").await;
    assert_eq!(client.told("put", "a").await.data["value"]["x"], 0);
    assert!(client.told("put", "a/1").await.id.is_none());
    assert!(client.told("ready", "").await.id.is_some());
    door.put(&[("a/2", "2"), ("b", "9"), ("abc", "9")]).await;
    assert_eq!(door.ask("DELETE /v1/data/a/1").await.status, 200);
    assert_eq!(client.told("put", "a/2").await.data["value"], 2);
    assert!(client.told("delete", "a/1").await.id.is_some());
    door.close().await;
}

#[tokio::test]
async fn a_client_that_comes_back_misses_nothing_and_hears_nothing_twice() {
    let door = doorstep().await;
    door.put(&[("a", "1")]).await;
    let mut client = Client::start(&door, "GET /v1/watch", "").await;
    client.told("put", "a").await;
    client.told("ready", "").await;
    door.put(&[("b", "1")]).await;
    let id = client.told("put", "b").await.id.unwrap();
    drop(client);
    door.put(&[("c", "1"), ("d", "1")]).await;
    let headers = format!("last-event-id: {id}");
    let mut client = Client::start(&door, "GET /v1/watch", &headers).await;
    client.told("put", "c").await;
    client.told("put", "d").await;
    door.put(&[("e", "1")]).await;
    client.told("put", "e").await;
    let mut client = Client::start(&door, &format!("GET /v1/watch?since={id}"), "").await;
    client.told("put", "c").await;
    door.close().await;
}

#[tokio::test]
async fn a_client_that_was_away_is_told_what_ended_meanwhile() {
    let door = doorstep().await;
    assert_eq!(door.tell("PUT /v1/data/short?ttl=1", "1").await.status, 200);
    let mut client = Client::start(&door, "GET /v1/watch", "").await;
    client.told("put", "short").await;
    let id = client.told("ready", "").await.id.unwrap();
    drop(client);
    let gone = async {
        while door.ask("GET /v1/data/short").await.status != 404 {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        // A live watch tells when the node has noticed.
        let line = "GET /v1/watch?prefix=next&since=now";
        let mut other = Client::start(&door, line, "").await;
        assert_eq!(door.tell("PUT /v1/data/next?ttl=1", "1").await.status, 200);
        other.told("put", "next").await;
        other.told("delete", "next").await;
    };
    tokio::time::timeout(Duration::from_secs(20), gone).await.expect("they end");
    let headers = format!("last-event-id: {id}");
    let mut client = Client::start(&door, "GET /v1/watch", &headers).await;
    client.told("delete", "short").await;
    client.told("delete", "next").await;
    door.close().await;
}

#[tokio::test]
async fn a_token_of_another_store_is_answered_by_a_reset() {
    let door = doorstep().await;
    door.put(&[("a", "1")]).await;
    let headers = format!("last-event-id: {}-5", "ab".repeat(16));
    let mut client = Client::start(&door, "GET /v1/watch", &headers).await;
    assert!(client.told("reset", "").await.id.is_none());
    client.told("put", "a").await;
    client.told("ready", "").await;
    door.close().await;
}

#[tokio::test]
async fn from_now_on_means_changes_only() {
    let door = doorstep().await;
    door.put(&[("a", "1")]).await;
    let mut client = Client::start(&door, "GET /v1/watch?since=now", "").await;
    door.put(&[("b", "1")]).await;
    client.told("put", "b").await;
    door.close().await;
}

#[tokio::test]
async fn streams_end_when_the_node_shuts_down() {
    let door = doorstep().await;
    let mut client = Client::start(&door, "GET /v1/watch", "").await;
    client.told("ready", "").await;
    door.stop.send_replace(true);
    assert!(client.next().await.is_none());
    door.close().await;
}
