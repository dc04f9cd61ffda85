//! `/v1/data`: one value, batches, pages, history.

use super::*;

#[tokio::test]
async fn a_value_is_kept_byte_for_byte_with_its_version_as_tag() {
    let door = doorstep().await;
    let text = "{ \"n\" : 1.00, \"big\" : 12345678901234567890, \"s\" : \"\\u00e9\\/\" }";
    let put = door.tell("PUT /v1/data/a/b", &format!(" {text}\r\n")).await;
    assert_eq!((put.status, &put.json()["created"]), (200, &true.into()));
    let get = door.ask("GET /v1/data/a%2Fb").await;
    assert_eq!((get.status, &get.body[..]), (200, text));
    assert_eq!(get.header("etag"), put.header("etag"));
    assert_eq!(get.header("etag"), format!("\"{}\"", put.json()["version"].as_str().unwrap()));
    assert_eq!(get.header("folkmoot-node"), door.node.id().to_string());
    let stamp = get.header("folkmoot-stamp").split_once('.').unwrap().0;
    assert_eq!(stamp, put.json()["timestamp"].to_string());
    let known = format!("if-none-match: {}", put.header("etag"));
    let again = door.ask_with("GET /v1/data/a/b", &known, "").await;
    assert_eq!((again.status, &again.body[..]), (304, ""));
    assert_eq!(door.ask("HEAD /v1/data/a/b").await.status, 200);
    door.close().await;
}

#[tokio::test]
async fn null_is_a_value_and_deletion_is_a_delete() {
    let door = doorstep().await;
    door.put(&[("a", "null")]).await;
    let get = door.ask("GET /v1/data/a").await;
    assert_eq!((get.status, &get.body[..]), (200, "null"));
    let delete = door.ask("DELETE /v1/data/a").await;
    assert_eq!((delete.status, &delete.json()["deleted"]), (200, &true.into()));
    for line in ["GET /v1/data/a", "DELETE /v1/data/a", "DELETE /v1/data/never"] {
        let answer = door.ask(line).await;
        assert_eq!((answer.status, &answer.json()["error"]), (404, &"not_found".into()), "{line}");
    }
    door.close().await;
}

#[tokio::test]
async fn conditions_are_judged_against_what_the_node_holds() {
    let door = doorstep().await;
    let write = async |line: &str, condition: &str| {
        let headers = format!("content-type: application/json\n{condition}");
        door.ask_with(line, &headers, "1").await
    };
    assert_eq!(write("PUT /v1/data/a", "if-match: *").await.status, 412);
    let first = write("PUT /v1/data/a", "if-none-match: *").await;
    assert_eq!(first.status, 200);
    let refused = write("PUT /v1/data/a", "if-none-match: *").await;
    assert_eq!((refused.status, &refused.json()["error"]), (412, &"conflict".into()));
    let same = format!("if-match: {}", first.header("etag"));
    let second = write("PUT /v1/data/a", &same).await;
    assert_eq!(second.status, 200);
    assert_eq!(write("PUT /v1/data/a", &same).await.status, 412, "it has changed");
    assert_eq!(write("DELETE /v1/data/a", &same).await.status, 412);
    let same = format!("if-match: {}", second.header("etag"));
    assert_eq!(write("DELETE /v1/data/a", &same).await.status, 200);
    for bad in ["if-match: x", "if-match: \"1-2\"", "if-none-match: \"x\"", "if-match: W/\"a\""] {
        let answer = write("PUT /v1/data/a", bad).await;
        assert_eq!((answer.status, &answer.json()["error"]), (400, &"bad_condition".into()));
    }
    door.close().await;
}

#[tokio::test]
async fn strategies_settle_writes() {
    let door = doorstep().await;
    assert_eq!(door.tell("PUT /v1/data/firsts/a", "1").await.status, 200);
    assert_eq!(door.tell("PUT /api/firsts/a", "2").await.status, 200);
    assert_eq!(door.ask("GET /v1/data/firsts/a").await.json(), 1);
    let first = door.tell("PUT /v1/data/f?strategy=first", "1").await;
    let second = door.tell("PUT /v1/data/f?strategy=first", "2").await;
    assert_eq!(
        (&first.json()["changed"], &second.json()["changed"]),
        (&true.into(), &false.into())
    );
    assert_eq!(first.json()["version"], second.json()["version"]);
    assert_eq!(door.ask("GET /v1/data/f").await.body, "1");
    assert_eq!(door.tell("PUT /v1/data/m?strategy=merge", r#"{"a":1,"b":1}"#).await.status, 200);
    assert_eq!(door.tell("PUT /v1/data/m?strategy=merge", r#"{"b":2.0,"c":2}"#).await.status, 200);
    assert_eq!(door.ask("GET /v1/data/m").await.body, r#"{"a":1,"b":2.0,"c":2}"#);
    assert_eq!(door.tell("PUT /v1/data/m?strategy=merge", "[1]").await.status, 400);
    assert_eq!(door.tell("PUT /v1/data/m?strategy=newest", "1").await.status, 400);
    door.close().await;
}

#[tokio::test]
async fn a_value_with_a_time_to_live_ends() {
    let door = doorstep().await;
    let before = Node::wall_ms();
    assert_eq!(door.tell("PUT /v1/data/a?ttl=1", "1").await.status, 200);
    let get = door.ask("GET /v1/data/a").await;
    let expires: u64 = get.header("folkmoot-expires").parse().unwrap();
    assert!((before + 1_000..=Node::wall_ms() + 1_000).contains(&expires));
    while door.ask("GET /v1/data/a").await.status == 200 {
        assert!(Node::wall_ms() < expires + 5_000, "it does not end");
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    for ttl in ["0", "-1", "1.5", "", "4000000000", "18446744073709551615"] {
        let answer = door.tell(&format!("PUT /v1/data/b?ttl={ttl}"), "1").await;
        assert_eq!(answer.status, 400, "{ttl}: {}", answer.body);
    }
    assert_eq!(door.ask("GET /v1/data/b").await.status, 404);
    door.close().await;
}

#[tokio::test]
async fn a_batch_is_done_whole_or_not_at_all() {
    let door = doorstep().await;
    door.put(&[("old", "1")]).await;
    let batch = r#"{"items":[{"path":"a","value":[1]},{"path":"old","delete":true},
        {"path":"b","value":null,"if_none_match":"*"}]}"#;
    let answer = door.tell("POST /v1/data", batch).await;
    assert_eq!(answer.status, 200, "{}", answer.body);
    let items = answer.json()["items"].as_array().unwrap().clone();
    assert_eq!(items.len(), 3);
    let tag = format!("\"{}\"", items[0]["version"].as_str().unwrap());
    assert_eq!(door.ask("GET /v1/data/a").await.header("etag"), tag);
    assert_eq!(door.ask("GET /v1/data/old").await.status, 404);
    let batch = r#"{"items":[{"path":"c","value":1},{"path":"b","value":1,"if_none_match":"*"}]}"#;
    let answer = door.tell("POST /v1/data", batch).await;
    assert_eq!((answer.status, &answer.json()["item"]), (412, &1.into()), "{}", answer.body);
    assert_eq!(door.ask("GET /v1/data/c").await.status, 404, "nothing of it was done");
    let batch = r#"{"items":[{"path":"c","value":1},{"path":"c","value":2}]}"#;
    let answer = door.tell("POST /v1/data", batch).await;
    assert_eq!((answer.status, &answer.json()["error"]), (400, &"batch_repeats".into()));
    door.close().await;
}

#[tokio::test]
async fn the_largest_batch_passes_and_one_byte_more_does_not() {
    let door = doorstep().await;
    let batch = |bytes: usize| {
        // Ten items with paths of two bytes; a string has two quotes.
        let items: Vec<_> = (0..10)
            .map(|at| {
                let length = bytes / 10 + usize::from(at == 0) * (bytes % 10) - 2 - 2;
                format!(r#"{{"path":"p{at}","value":"{}"}}"#, "x".repeat(length))
            })
            .collect();
        format!(r#"{{"items":[{}]}}"#, items.join(","))
    };
    let most = folkmoot_core::limits::BATCH_BYTES_MAX;
    assert_eq!(door.tell("POST /v1/data", &batch(most)).await.status, 200);
    let answer = door.tell("POST /v1/data", &batch(most + 1)).await;
    assert_eq!((answer.status, &answer.json()["error"]), (413, &"batch_size".into()));
    door.close().await;
}

#[tokio::test]
async fn pages_tell_every_value_below_a_path_once_and_in_order() {
    let door = doorstep().await;
    let below: Vec<String> = (0..25).map(|i| format!("a/b/{i:02}/x")).collect();
    for path in &below {
        door.put(&[(path, "1")]).await;
    }
    door.put(&[("a/b", "0"), ("a", "9"), ("a/b!", "9"), ("a/bc", "9"), ("a/b0", "9"), ("b", "9")])
        .await;
    for limit in [1, 7, 25, 26, 27, 1000] {
        let (mut seen, mut cursor) = (Vec::new(), String::new());
        loop {
            let page = door.ask(&format!("GET /v1/data?prefix=a/b&limit={limit}{cursor}")).await;
            let page = page.json();
            let items = page["items"].as_array().unwrap();
            assert!(items.len() <= limit);
            seen.extend(items.iter().map(|item| item["path"].as_str().unwrap().to_owned()));
            match page["cursor"].as_str() {
                Some(next) => cursor = format!("&cursor={next}"),
                None => break,
            }
        }
        let expected: Vec<String> =
            std::iter::once("a/b".to_owned()).chain(below.iter().cloned()).collect();
        assert_eq!(seen, expected, "limit {limit}");
    }
    let all = door.ask("GET /v1/data?limit=1000").await.json();
    assert_eq!(all["items"].as_array().unwrap().len(), 31);
    let none = door.ask("GET /v1/data?prefix=zzz").await;
    assert_eq!(none.body, r#"{"items":[]}"#);
    door.close().await;
}

#[tokio::test]
async fn a_page_of_large_values_ends_early() {
    let door = doorstep().await;
    let large = format!("\"{}\"", "x".repeat(250 * 1024));
    for at in 0..6 {
        door.put(&[(&format!("large/{at}"), &large)]).await;
    }
    let first = door.ask("GET /v1/data?prefix=large&limit=1000").await;
    assert!(first.body.len() < 1_400 * 1024, "{}", first.body.len());
    let first = first.json();
    let cursor = first["cursor"].as_str().expect("more follow");
    let rest = door.ask(&format!("GET /v1/data?prefix=large&cursor={cursor}")).await.json();
    let count = |page: &serde_json::Value| page["items"].as_array().unwrap().len();
    assert_eq!(count(&first) + count(&rest), 6);
    assert_eq!(rest.get("cursor"), None);
    door.close().await;
}

#[tokio::test]
async fn cursors_belong_to_their_scan() {
    let door = doorstep().await;
    door.put(&[("a/1", "1"), ("a/2", "2"), ("b/1", "3")]).await;
    let page = door.ask("GET /v1/data?prefix=a&limit=1").await.json();
    let cursor = page["cursor"].as_str().unwrap();
    assert_eq!(door.ask(&format!("GET /v1/data?prefix=b&cursor={cursor}")).await.status, 400);
    for cursor in ["", "x", "6", "2e2e"] {
        let answer = door.ask(&format!("GET /v1/data?cursor={cursor}")).await;
        assert_eq!((answer.status, &answer.json()["error"]), (400, &"bad_cursor".into()));
    }
    door.close().await;
}

#[tokio::test]
async fn history_has_what_was_kept() {
    let door = doorstep().await;
    door.put(&[("kept/a", "1"), ("kept/a", "2"), ("kept/a", "3"), ("other", "1"), ("other", "2")])
        .await;
    let versions = door.ask("GET /v1/history/kept/a").await.json();
    let values: Vec<_> = versions["versions"].as_array().unwrap().iter().collect();
    let values: Vec<_> = values.iter().map(|version| version["value"].as_u64().unwrap()).collect();
    assert_eq!(values, [3, 2, 1]);
    let versions = door.ask("GET /v1/history/other").await.json();
    assert_eq!(versions["versions"].as_array().unwrap().len(), 1);
    assert_eq!(door.ask("GET /v1/history/never").await.status, 404);
    door.close().await;
}
