//! What must be refused with a clear error, and leaves nothing behind.

use super::*;
use crate::http::limits::{BATCH_BODY_BYTES_MAX, SMALL_BODY_BYTES_MAX};
use tower_service::Service as _;

/// Raw paths that name nothing.
const BAD_PATHS: [&str; 22] = [
    "",
    "/",
    "/a",
    "a/",
    "a//b",
    ".",
    "..",
    "a/./b",
    "a/../b",
    "a/%2e%2e/b",
    "%2e",
    "a%2f%2fb",
    "a%2f",
    "%00",
    "a%00b",
    "a%0ab",
    "a%7fb",
    "a%c2%85b",
    "%",
    "a%2",
    "a%zzb",
    "%E0%A4%A",
];

async fn is_empty(door: &Doorstep) -> bool {
    door.ask("GET /v1/data").await.body == r#"{"items":[]}"#
}

#[tokio::test]
async fn bad_paths_are_refused_on_every_route_and_store_nothing() {
    let door = doorstep().await;
    let long = ["x".repeat(129), vec!["y"; 33].join("/"), vec!["z".repeat(100); 6].join("/")];
    let bytes = ["%ff", "%C0%AF", "%ED%A0%80", "a/%80"];
    let paths = BAD_PATHS.iter().copied().chain(long.iter().map(String::as_str)).chain(bytes);
    for path in paths {
        for route in ["/api/", "/v1/data/", "/v1/history/", "/api/history/"] {
            for method in ["GET", "PUT", "DELETE"] {
                if (method != "GET" && route.contains("history"))
                    || (path.is_empty() && route != "/api/")
                {
                    continue;
                }
                let answer = door.tell(&format!("{method} {route}{path}"), "1").await;
                // Nothing behind the slash is no route at all.
                let expected = if path.is_empty() { 404 } else { 400 };
                assert_eq!(answer.status, expected, "{method} {route}{path}: {}", answer.body);
                let error = answer.json()["error"].as_str().unwrap().to_owned();
                assert_eq!(error.contains(' '), route.starts_with("/api"), "{error}");
            }
        }
        let answer = door.tell("POST /v1/data", &one_item(path)).await;
        let raw_is_good = ["a%2", "%", "a%zzb"].contains(&path) || path.contains('%');
        assert_eq!(answer.status == 200, raw_is_good, "a batch does not decode: {path}");
        if raw_is_good {
            let escaped = path.replace('%', "%25");
            assert_eq!(door.ask(&format!("DELETE /v1/data/{escaped}")).await.status, 200);
        }
    }
    assert!(is_empty(&door).await);
    door.close().await;
}

fn one_item(path: &str) -> String {
    format!("{{\"items\":[{{\"path\":{path:?},\"value\":1}}]}}")
}

#[tokio::test]
async fn bad_bodies_are_refused_and_store_nothing() {
    let door = doorstep().await;
    let deep = "[".repeat(33) + &"]".repeat(33);
    let large = format!("\"{}\"", "x".repeat(256 * 1024 - 1));
    let repeats = r#"{"a":1,"b":{"c":1,"\u0063":2}}"#;
    for (body, status, error) in [
        ("", 400, "not_json"),
        ("hello", 400, "not_json"),
        ("{\"a\":", 400, "not_json"),
        ("{} {}", 400, "not_json"),
        ("\u{feff}1", 400, "not_json"),
        ("[1e999]", 400, "not_json"),
        ("\"\\ud800\"", 400, "not_json"),
        (&deep, 400, "json_too_deep"),
        (repeats, 400, "json_repeats"),
        (&large, 413, "body_too_large"),
    ] {
        let answer = door.tell("PUT /v1/data/a", body).await;
        let said = (answer.status, answer.json()["error"].as_str().unwrap().to_owned());
        assert_eq!(said, (status, error.to_owned()), "{:.40}", body);
        let answer = door.tell("PUT /api/a", body).await;
        assert_eq!((answer.status, answer.json().as_object().unwrap().len()), (status, 1));
    }
    let answer =
        door.ask_with("PUT /v1/data/a", "content-type: application/json", &b"\"\xff\""[..]);
    assert_eq!(answer.await.json()["error"], "not_json");
    assert!(is_empty(&door).await);
    let largest = format!("\"{}\"", "x".repeat(256 * 1024 - 2));
    assert_eq!(door.tell("PUT /v1/data/a", &largest).await.status, 200);
    door.close().await;
}

#[tokio::test]
async fn a_body_of_the_largest_size_is_taken_and_one_byte_more_changes_nothing() {
    let door = doorstep().await;
    let peer = |port: u16| format!(r#"{{"address":"http://127.0.0.1:{port}"}}"#);
    for (line, good, bad, max) in [
        ("POST /v1/data", one_item("most"), one_item("over"), BATCH_BODY_BYTES_MAX),
        ("POST /v1/mesh/peers", peer(1), peer(2), SMALL_BODY_BYTES_MAX),
    ] {
        let answer = door.tell(line, &padded(&good, max)).await;
        assert_eq!(answer.status, 200, "{line}: {}", answer.body);
        let answer = door.tell(line, &padded(&bad, max + 1)).await;
        let said = answer.json();
        assert_eq!((answer.status, &said["error"]), (413, &"body_too_large".into()), "{line}");
        let detail = said["detail"].as_str().unwrap();
        assert!(detail.contains(&format!("at most {} KiB", max / 1024)), "{detail}");
    }
    assert_eq!(door.ask("GET /v1/data/most").await.body, "1");
    assert_eq!(door.ask("GET /v1/data/over").await.status, 404);
    let mesh = door.ask("GET /v1/mesh").await.json();
    let peers: Vec<_> = mesh["peers"].as_array().unwrap().iter().collect();
    assert_eq!(peers.len(), 1);
    assert_eq!(peers[0]["address"], "http://127.0.0.1:1");
    door.close().await;
}

#[tokio::test]
async fn a_body_must_be_declared_json() {
    let door = doorstep().await;
    for (line, kind) in [
        ("PUT /api/a", "text/plain"),
        ("PUT /api/a", "application/x-www-form-urlencoded"),
        ("PUT /v1/data/a", "text/plain; a=application/json"),
        ("POST /v1/data", "multipart/form-data"),
        ("POST /v1/mesh/peers", "text/json"),
    ] {
        let answer = door.ask_with(line, &format!("content-type: {kind}"), "{}").await;
        assert_eq!(answer.status, 415, "{line} {kind}");
        assert_eq!(door.ask_with(line, "", "{}").await.status, 415, "{line} undeclared");
    }
    assert!(is_empty(&door).await);
    door.close().await;
}

#[tokio::test]
async fn misspelt_parameters_are_not_ignored() {
    let door = doorstep().await;
    for line in [
        "PUT /v1/data/a?tll=5",
        "PUT /v1/data/a?ttl=5&ttl=6",
        "GET /v1/data?prefx=a",
        "GET /v1/data?limit=0",
        "GET /v1/data?limit=1001",
        "GET /v1/data?limit=x",
        "GET /v1/data?prefix=a//b",
        "GET /v1/data?prefix=%zz",
        "GET /v1/data/a?raw=1",
        "DELETE /v1/data/a?ttl=1",
        "GET /v1/watch?since=x",
        "GET /v1/watch?from=now",
    ] {
        let answer = door.tell(line, "1").await;
        assert_eq!(answer.status, 400, "{line}: {}", answer.body);
        assert!(answer.json()["detail"].as_str().unwrap().len() > 10);
    }
    assert!(is_empty(&door).await);
    door.close().await;
}

#[tokio::test]
async fn the_mesh_refuses_what_it_cannot_do() {
    let door = doorstep().await;
    let away = "ab".repeat(32);
    let own = door.node.id();
    for (line, body, status, error) in [
        ("POST /v1/mesh/ping/x", "", 400, "bad_node"),
        (&format!("POST /v1/mesh/ping/{away}")[..], "", 504, "unreachable"),
        ("DELETE /v1/mesh/members/x", "", 400, "bad_node"),
        ("POST /v1/mesh/peers", "{}", 400, "not_json"),
        ("POST /v1/mesh/peers", r#"{"address":"x"}"#, 400, "peer_address"),
        ("POST /v1/mesh/peers", r#"{"address":"ftp://a:1"}"#, 400, "peer_address"),
    ] {
        let answer = door.tell(line, body).await;
        let said = (answer.status, answer.json()["error"].as_str().unwrap().to_owned());
        assert_eq!(said, (status, error.to_owned()), "{line}");
    }
    let pong = door.tell(&format!("POST /v1/mesh/ping/{own}"), "").await;
    assert!([200, 504].contains(&pong.status), "{}", pong.body);
    door.close().await;
}

#[tokio::test]
async fn a_request_that_the_guard_has_not_seen_may_do_nothing() {
    let door = doorstep().await;
    door.put(&[("a", "1")]).await;
    let node = door.node.id();
    for line in [
        "GET /v1/data/a".to_owned(),
        "PUT /v1/data/a".to_owned(),
        "DELETE /v1/data/a".to_owned(),
        "GET /v1/data".to_owned(),
        "POST /v1/data".to_owned(),
        "GET /v1/watch".to_owned(),
        "GET /v1/history/a".to_owned(),
        "GET /v1/status".to_owned(),
        "GET /v1/mesh".to_owned(),
        "POST /v1/mesh/peers".to_owned(),
        "DELETE /v1/mesh/peers?address=http://a:1".to_owned(),
        format!("POST /v1/mesh/ping/{node}"),
        format!("DELETE /v1/mesh/members/{node}"),
        "GET /metrics".to_owned(),
        "GET /readyz".to_owned(),
        "GET /api/a".to_owned(),
        "PUT /api/a".to_owned(),
        "DELETE /api/a".to_owned(),
        "GET /api/scan/a".to_owned(),
        "GET /api/history/a".to_owned(),
        "GET /api/status".to_owned(),
    ] {
        let (method, uri) = line.split_once(' ').unwrap();
        let body = match uri {
            "/v1/data" => r#"{"items":[{"path":"a","value":2}]}"#,
            "/v1/mesh/peers" => r#"{"address":"http://192.0.2.1:3655"}"#,
            _ => "2",
        };
        let request = Request::builder().method(method).uri(uri);
        let request =
            request.header("content-type", "application/json").body(Body::from(body)).unwrap();
        let response = door.router.clone().call(request).await.unwrap();
        assert_eq!(response.status(), 403, "{line}");
    }
    assert_eq!(door.ask("GET /v1/data/a").await.body, "1");
    door.close().await;
}

#[tokio::test]
async fn the_guard_stands_before_every_route() {
    let door = doorstep().await;
    for (path, _) in routes() {
        let path = path.replace("{*path}", "a").replace("{*prefix}", "a").replace("{node}", "a");
        let from_page = "origin: https://evil.example";
        let answer = door.ask_with(&format!("GET {path}"), from_page, "").await;
        assert_eq!(answer.status, 403, "{path}");
        assert!(answer.headers.get("access-control-allow-origin").is_none());
        let foreign = door.ask_with(&format!("PUT {path}"), "sec-fetch-site: cross-site", "").await;
        assert!([403, 405].contains(&foreign.status), "{path}: {}", foreign.status);
    }
    assert!(is_empty(&door).await);
    door.close().await;
}
