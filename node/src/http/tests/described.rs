//! Answers against the schemas of `/openapi.json`: what is answered is described, and the other way
//! round.

use super::*;
use serde_json::Value;

/// Whether a value is as a schema says; an object has no keys but those described.
fn check(whole: &Value, schema: &Value, value: &Value, at: &str) {
    if let Some(target) = schema["$ref"].as_str() {
        return check(whole, whole.pointer(&target[1..]).unwrap(), value, at);
    }
    let is = |name: &str| match name {
        "object" => value.is_object(),
        "array" => value.is_array(),
        "string" => value.is_string(),
        "integer" => value.is_i64() || value.is_u64(),
        "boolean" => value.is_boolean(),
        "null" => value.is_null(),
        other => panic!("{at}: a schema names the type {other:?}"),
    };
    let typed = match &schema["type"] {
        Value::Null => true,
        Value::String(name) => is(name),
        Value::Array(names) => names.iter().any(|name| is(name.as_str().unwrap())),
        other => panic!("{at}: {other}"),
    };
    assert!(typed, "{at} is {value}, not {}", schema["type"]);
    assert!(schema.get("const").is_none_or(|only| only == value), "{at} is {value}");
    let words = schema["enum"].as_array();
    assert!(words.is_none_or(|words| words.contains(value)), "{at} is {value}");
    for name in schema["required"].as_array().into_iter().flatten() {
        assert!(value.get(name.as_str().unwrap()).is_some(), "{at} has no {name}: {value}");
    }
    for (name, inner) in value.as_object().into_iter().flatten() {
        let known = schema["properties"].get(name).or(schema.get("additionalProperties"));
        if schema["type"] == "object" {
            let known = known.unwrap_or_else(|| panic!("{at}.{name} is not described"));
            check(whole, known, inner, &format!("{at}.{name}"));
        }
    }
    for item in value.as_array().into_iter().flatten() {
        check(whole, &schema["items"], item, &format!("{at}[]"));
    }
}

/// The schema of an answer in JSON.
fn schema_of<'a>(whole: &'a Value, path: &str, method: &str, status: u16) -> &'a Value {
    let responses = &whole["paths"][path][method]["responses"];
    let response = responses.get(status.to_string()).unwrap_or(&responses["default"]);
    let response = match response["$ref"].as_str() {
        Some(target) => whole.pointer(&target[1..]).unwrap(),
        None => response,
    };
    let schema = &response["content"]["application/json"]["schema"];
    assert!(!schema.is_null(), "{method} {path}: {status} has no schema");
    schema
}

#[tokio::test]
async fn answers_are_as_they_are_described() {
    let door = doorstep().await;
    let whole = door.ask("GET /openapi.json").await.json();
    let node = door.node.id();
    let ask = async |path: &str, line: &str, body: &str, status: u16| {
        let answer = door.tell(line, body).await;
        assert_eq!(answer.status, status, "{line}: {}", answer.body);
        let method = line.split(' ').next().unwrap().to_lowercase();
        check(&whole, schema_of(&whole, path, &method, status), &answer.json(), line);
    };
    let batch = r#"{"items":[{"path":"kept/b","value":2},{"path":"c","value":3,"ttl":60}]}"#;
    ask("/v1/data/{path}", "PUT /v1/data/kept/a", "1", 200).await;
    ask("/v1/data/{path}", "PUT /v1/data/kept/a?ttl=60&strategy=last", "[1]", 200).await;
    ask("/v1/data/{path}", "GET /v1/data/kept/a", "", 200).await;
    ask("/v1/data/{path}", "GET /v1/data/none", "", 404).await;
    ask("/v1/data/{path}", "PUT /v1/data/a", "{", 400).await;
    ask("/v1/data", "POST /v1/data", batch, 200).await;
    ask("/v1/data", "POST /v1/data", r#"{"items":[{"path":"","value":2}]}"#, 400).await;
    ask("/v1/data", "GET /v1/data?limit=1", "", 200).await;
    ask("/v1/history/{path}", "GET /v1/history/kept/a", "", 200).await;
    ask("/v1/mesh/peers", "POST /v1/mesh/peers", r#"{"address":"http://127.0.0.1:1"}"#, 200).await;
    ask("/v1/mesh", "GET /v1/mesh", "", 200).await;
    ask("/v1/status", "GET /v1/status", "", 200).await;
    ask("/v1/mesh/peers", "DELETE /v1/mesh/peers?address=http://127.0.0.1:1", "", 200).await;
    let send = r#"{"from":"anna","to":"anna","body":1}"#;
    ask("/v1/chat/messages", "POST /v1/chat/messages", send, 200).await;
    ask("/v1/chat/messages", "POST /v1/chat/messages", "{}", 400).await;
    let billy = door.send("GET /v1/chat/stream?user=billy", "", "").await;
    ask("/v1/chat/users", "GET /v1/chat/users?limit=1", "", 200).await;
    drop(billy);
    let unknown = "ab".repeat(32);
    ask("/v1/mesh/ping/{node}", &format!("POST /v1/mesh/ping/{node}"), "", 200).await;
    ask("/v1/mesh/ping/{node}", &format!("POST /v1/mesh/ping/{unknown}"), "", 504).await;
    let remove = format!("DELETE /v1/mesh/members/{unknown}");
    ask("/v1/mesh/members/{node}", &remove, "", 200).await;
    ask("/v1/data/{path}", "DELETE /v1/data/kept/a", "", 200).await;
    ask("/v1/history/{path}", "GET /v1/history/kept/a", "", 200).await;

    ask("/api/{path}", "PUT /api/kept/s", "1", 200).await;
    ask("/api/{path}", "PUT /api/kept/s", "2", 200).await;
    ask("/api/{path}", "GET /api/kept/s", "", 200).await;
    ask("/api/{path}", "GET /api/none", "", 404).await;
    ask("/api/scan/{prefix}", "GET /api/scan/ke?limit=9", "", 200).await;
    ask("/api/scan/", "GET /api/scan/", "", 200).await;
    ask("/api/status", "GET /api/status", "", 200).await;
    ask("/api/{path}", "DELETE /api/kept/s", "", 200).await;
    ask("/api/history/{path}", "GET /api/history/kept/s", "", 200).await;
    door.close().await;
}
