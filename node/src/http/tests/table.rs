//! The route table against its description, and what is around it.

use super::*;
use std::collections::BTreeMap;

/// The methods that the table takes at each path, by asking with one that none takes.
async fn methods_of_the_table(door: &Doorstep) -> BTreeMap<String, Vec<String>> {
    let mut table = BTreeMap::new();
    for (path, _) in routes() {
        let asked = path
            .replace("{*path}", "a")
            .replace("{*prefix}", "a")
            .replace("{*file}", "a")
            .replace("{node}", "a");
        let answer = door.ask(&format!("TRACE {asked}")).await;
        assert_eq!(answer.status, 405, "{path}");
        let mut methods: Vec<_> =
            answer.header("allow").split(',').map(|method| method.to_lowercase()).collect();
        methods.retain(|method| method != "head");
        methods.sort();
        table.insert(path.replace("{*", "{"), methods);
    }
    table
}

#[tokio::test]
async fn every_route_is_described_and_nothing_else() {
    let door = doorstep().await;
    let described = door.ask("GET /openapi.json").await.json();
    let described: BTreeMap<String, Vec<String>> = described["paths"]
        .as_object()
        .unwrap()
        .iter()
        .map(|(path, item)| {
            let mut methods: Vec<_> = item.as_object().unwrap().keys().cloned().collect();
            methods.retain(|name| name != "parameters");
            methods.sort();
            (path.clone(), methods)
        })
        .collect();
    assert_eq!(described, methods_of_the_table(&door).await);
    door.close().await;
}

#[test]
fn the_page_for_clients_names_every_route() {
    let page = include_str!("../../../../docs/http.md");
    for (path, _) in routes() {
        let path = format!("`{}`", path.replace("{*", "{"));
        assert!(page.contains(&path), "{path}");
    }
}

#[test]
fn references_in_the_description_lead_somewhere() {
    let text = page::OPENAPI;
    let whole: serde_json::Value = serde_json::from_str(text).unwrap();
    for part in text.split("\"#").skip(1) {
        let pointer = part.split('"').next().unwrap();
        assert!(whole.pointer(pointer).is_some(), "#{pointer}");
    }
    crate::json::check(text.as_bytes(), 32).expect("it keeps our own rules");
}

#[tokio::test]
async fn what_is_not_there_is_said_in_the_words_of_the_place() {
    let door = doorstep().await;
    let answer = door.ask("GET /nothing").await;
    assert_eq!((answer.status, &answer.json()["error"]), (404, &"no_route".into()));
    let answer = door.ask("PATCH /v1/data/a").await;
    assert_eq!((answer.status, &answer.json()["error"]), (405, &"method".into()));
    assert_eq!(answer.header("allow"), "GET,HEAD,PUT,DELETE");
    let answer = door.ask("POST /api/a").await;
    assert_eq!((answer.status, answer.json().as_object().unwrap().len()), (405, 1));
    door.close().await;
}

#[tokio::test]
async fn routes_of_the_program_are_behind_the_table_and_the_guard() {
    let extra = Router::new()
        .route("/hello", get(|| async { "from the program" }))
        .route("/v1/status", get(|| async { "not reached" }));
    let door = doorstep_with(Policy::default(), extra).await;
    assert_eq!(door.ask("GET /hello").await.body, "from the program");
    assert!(door.ask("GET /v1/status").await.json()["node"].is_string());
    assert_eq!(door.ask("GET /nothing").await.status, 404);
    let evil = door.ask_with("GET /hello", "origin: https://evil.example", "").await;
    assert_eq!(evil.status, 403);
    door.close().await;
}

#[tokio::test]
async fn an_allowed_origin_may_read_and_write_and_is_told_so() {
    let policy = Policy { origins: vec!["https://folk.example".into()], ..Policy::default() };
    let door = doorstep_with(policy, Router::new()).await;
    let page = "origin: https://folk.example\nsec-fetch-site: cross-site";
    let asked = door.ask_with("OPTIONS /v1/data/a", page, "").await;
    assert_eq!(asked.status, 204);
    assert!(asked.header("access-control-allow-methods").contains("PUT"));
    assert!(asked.header("access-control-allow-headers").contains("if-match"));
    let headers = format!("{page}\ncontent-type: application/json");
    let put = door.ask_with("PUT /v1/data/a", &headers, "1").await;
    assert_eq!(put.status, 200);
    assert_eq!(put.header("access-control-allow-origin"), "https://folk.example");
    assert!(put.header("access-control-expose-headers").contains("etag"));
    assert_eq!(put.header("vary"), "origin");
    door.close().await;
}

#[tokio::test]
async fn operators_find_what_they_look_for() {
    let door = doorstep().await;
    door.put(&[("a", "1")]).await;
    assert_eq!(door.ask("GET /healthz").await.body, "ok\n");
    assert_eq!(door.ask("GET /readyz").await.body, "ready\n");
    let index = door.ask("GET /").await;
    assert!(index.body.contains("curl") && index.body.contains(&door.node.id().to_string()));
    let status = door.ask("GET /v1/status").await.json();
    assert!(status["data"]["entries"].as_u64().is_some_and(|entries| entries >= 1));
    assert!(status["counters"]["writes"].as_u64().is_some_and(|writes| writes >= 1));
    assert_eq!(status["durability"], "sync");
    let mesh = door.ask("GET /v1/mesh").await.json();
    assert_eq!(mesh["nodes"][0]["self"], true);
    let metrics = door.ask("GET /metrics").await;
    assert!(metrics.header("content-type").starts_with("text/plain"));
    assert!(metrics.body.contains("\nfolkmoot_writes_total "), "{}", metrics.body);
    for line in metrics.body.lines().filter(|line| !line.starts_with('#')) {
        let (name, value) = line.split_once(' ').unwrap();
        assert!(name.starts_with("folkmoot_"), "{line}");
        value.parse::<f64>().unwrap();
    }
    door.close().await;
}

#[tokio::test]
async fn a_closed_node_says_that_it_closes() {
    let door = doorstep().await;
    door.node.clone().close().await;
    let answer = door.tell("PUT /v1/data/a", "1").await;
    assert_eq!((answer.status, &answer.json()["error"]), (503, &"closing".into()));
    assert_eq!(answer.header("retry-after"), "2");
    assert_eq!(door.ask("GET /readyz").await.status, 503);
    assert_eq!(door.ask("GET /healthz").await.status, 200);
}

#[tokio::test]
async fn browsers_get_pages_and_others_get_text() {
    let door = doorstep().await;
    let accept = "accept: text/html,application/xhtml+xml,*/*;q=0.8";
    let page = door.ask_with("GET /", accept, "").await;
    assert_eq!(page.header("content-type"), "text/html; charset=utf-8");
    assert_eq!(page.header("vary"), "accept");
    assert!(page.header("content-security-policy").starts_with("default-src 'none'; "));
    assert_eq!(page.header("x-content-type-options"), "nosniff");
    assert_eq!(page.header("cache-control"), "no-cache");
    for asked in ["accept: */*", "accept: text/plain", "accept: application/json"] {
        let text = door.ask_with("GET /", asked, "").await;
        assert_eq!(text.header("content-type"), "text/plain; charset=utf-8", "{asked}");
    }
    let script = door.ask("GET /ui/main.js").await;
    assert_eq!(script.header("content-type"), "text/javascript; charset=utf-8");
    let known = format!("if-none-match: {}", script.header("etag"));
    let again = door.ask_with("GET /ui/main.js", &known, "").await;
    assert_eq!((again.status, again.body.len()), (304, 0));
    for name in ["nothing.js", "../Cargo.toml", "%6dain.js", ""] {
        assert_eq!(door.ask(&format!("GET /ui/{name}")).await.status, 404, "{name}");
    }
    door.close().await;
}
