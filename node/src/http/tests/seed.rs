//! `/api`: the words of p2p-data-sync.

use super::*;

#[tokio::test]
async fn put_get_scan_and_delete_say_what_the_seed_says() {
    let door = doorstep().await;
    let put = door.tell("PUT /api/users/1", r#"{"name":"Alice"}"#).await.json();
    let ms = put["timestamp"].as_u64().unwrap();
    assert!(ms.abs_diff(Node::wall_ms()) < 60_000);
    assert_eq!(put["path"], "users/1");
    assert_eq!(put["value"]["name"], "Alice");
    let get = door.ask("GET /api/users%2f1").await;
    assert_eq!(get.body, r#"{"path":"users/1","data":{"name":"Alice"}}"#);
    let scan = door.ask("GET /api/scan/us").await;
    let origin = door.node.id().short();
    let row = format!(
        r#"[{{"path":"users/1","value":{{"name":"Alice"}},"timestamp":{ms},"origin":"{origin}"}}]"#
    );
    assert_eq!(scan.body, row, "by plain string prefix");
    let delete = door.ask("DELETE /api/users/1").await;
    assert_eq!(delete.body, r#"{"success":true,"path":"users/1"}"#);
    for line in ["GET /api/users/1", "DELETE /api/users/1", "GET /api/users"] {
        let answer = door.ask(line).await;
        assert_eq!((answer.status, &answer.body[..]), (404, r#"{"error":"Not found"}"#));
    }
    assert_eq!(door.ask("GET /api/scan/us").await.body, "[]");
    door.close().await;
}

#[tokio::test]
async fn a_scan_without_limit_streams_everything_and_a_limit_holds() {
    let door = doorstep().await;
    let filler = "x".repeat(1_000);
    for batch in 0..3 {
        let items: Vec<_> = (0..300)
            .map(|i| format!(r#"{{"path":"s/{:04}","value":"{filler}"}}"#, batch * 300 + i))
            .collect();
        let body = format!(r#"{{"items":[{}]}}"#, items.join(","));
        assert_eq!(door.tell("POST /v1/data", &body).await.status, 200);
    }
    let scan = door.ask("GET /api/scan/s/").await;
    let rows = scan.json();
    let paths: Vec<_> =
        rows.as_array().unwrap().iter().map(|row| row["path"].as_str().unwrap()).collect();
    let expected: Vec<_> = (0..900).map(|i| format!("s/{i:04}")).collect();
    assert_eq!(paths, expected);
    for limit in [0, 1, 64, 65, 899, 900, 901] {
        let rows = door.ask(&format!("GET /api/scan/s/?limit={limit}")).await.json();
        assert_eq!(rows.as_array().unwrap().len(), limit.min(900), "limit {limit}");
    }
    let all = door.ask("GET /api/scan/").await.json();
    assert_eq!(all.as_array().unwrap().len(), 900);
    let bad = door.ask("GET /api/scan/s?limit=abc").await;
    assert_eq!((bad.status, bad.json().as_object().unwrap().len()), (400, 1));
    door.close().await;
}

#[tokio::test]
async fn words_of_the_interface_shadow_paths_for_reading_only() {
    let door = doorstep().await;
    for path in ["scan/x", "history/x", "status"] {
        assert_eq!(door.tell(&format!("PUT /api/{path}"), "1").await.status, 200);
        assert_eq!(door.ask(&format!("GET /v1/data/{path}")).await.body, "1");
        assert_eq!(door.ask(&format!("DELETE /api/{path}")).await.status, 200);
    }
    door.close().await;
}

#[tokio::test]
async fn history_and_status_have_the_seed_names() {
    let door = doorstep().await;
    door.put(&[("kept/a", "1"), ("kept/a", "null")]).await;
    let rows = door.ask("GET /api/history/kept/a").await.json();
    let values: Vec<_> = rows.as_array().unwrap().iter().map(|row| row["value"].clone()).collect();
    assert_eq!(values, [serde_json::Value::Null, 1.into()]);
    assert_eq!(rows[0]["origin"], door.node.id().short());
    let status = door.ask("GET /api/status").await.json();
    assert_eq!(status["serverID"], door.node.id().short());
    assert_eq!(status["port"], door.node.addr().port());
    assert!(status["entries"].as_u64().is_some_and(|entries| entries >= 1));
    door.close().await;
}
