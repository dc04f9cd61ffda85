//! Words, numbers and the page that lists them.

use super::*;

fn said(refusal: &Refusal) -> String {
    String::from_utf8(refusal.body()).unwrap()
}

#[test]
fn a_code_of_core_keeps_its_number_and_sentence() {
    let refusal = Refusal::from(ErrorCode::Conflict);
    assert_eq!(refusal.status(), StatusCode::PRECONDITION_FAILED);
    let body: serde_json::Value = serde_json::from_slice(&refusal.body()).unwrap();
    assert_eq!(body["error"], "conflict");
    assert_eq!(body["code"], 202);
    assert_eq!(body["detail"], ErrorCode::Conflict.to_string());
}

#[test]
fn the_seed_gets_its_own_words() {
    let refusal = Refusal::from(ErrorCode::NotFound).in_seed_words();
    assert_eq!(said(&refusal), r#"{"error":"Not found"}"#);
    let refusal = Refusal::from(Problem::Escape).in_seed_words();
    assert!(said(&refusal).starts_with(r#"{"error":"a percent escape"#));
}

#[test]
fn every_name_is_one_word_and_every_refusal_is_json() {
    for problem in [Problem::Escape, Problem::Batch, Problem::Node, Problem::BodyBroken] {
        let refusal = problem.because("\"quoted\"\n").at_item(3);
        let body: serde_json::Value = serde_json::from_slice(&refusal.body()).unwrap();
        assert_eq!(body["code"], problem as u16);
        assert_eq!(body["item"], 3);
        assert!(!body["error"].as_str().unwrap().contains(' '));
        assert!(refusal.status().is_client_error());
    }
}

#[test]
fn busy_says_when_to_come_back() {
    let response = Refusal::from(ErrorCode::Busy).into_response();
    assert_eq!(response.headers()[header::RETRY_AFTER], "2");
}

/// All problems, in the order of their numbers.
const PROBLEMS: [Problem; 24] = [
    Problem::Escape,
    Problem::NotUtf8,
    Problem::Json,
    Problem::JsonTooDeep,
    Problem::JsonRepeats,
    Problem::MediaType,
    Problem::BodyTooLarge,
    Problem::BodySlow,
    Problem::Query,
    Problem::Condition,
    Problem::Host,
    Problem::Origin,
    Problem::CrossSite,
    Problem::NotLocal,
    Problem::NoRoute,
    Problem::Method,
    Problem::Upgrade,
    Problem::Cursor,
    Problem::Batch,
    Problem::Token,
    Problem::Node,
    Problem::BodyBroken,
    Problem::TooMany,
    Problem::Op,
];
/// What a client can be told of core; the others are between nodes.
const CODES: [ErrorCode; 32] = [
    ErrorCode::PathTooLong,
    ErrorCode::PathSegmentEmpty,
    ErrorCode::PathSegmentDots,
    ErrorCode::PathControl,
    ErrorCode::PathNotUtf8,
    ErrorCode::ValueTooLarge,
    ErrorCode::BatchSize,
    ErrorCode::BatchRepeats,
    ErrorCode::TtlRange,
    ErrorCode::WatchesMax,
    ErrorCode::PeerAddress,
    ErrorCode::FieldsMax,
    ErrorCode::Name,
    ErrorCode::MessageTooLarge,
    ErrorCode::RoomsMax,
    ErrorCode::StatusText,
    ErrorCode::NamesMax,
    ErrorCode::NotConnected,
    ErrorCode::NotInRoom,
    ErrorCode::NotResumed,
    ErrorCode::Unsettled,
    ErrorCode::Forbidden,
    ErrorCode::Conflict,
    ErrorCode::NotFound,
    ErrorCode::Unreachable,
    ErrorCode::Busy,
    ErrorCode::ClockOff,
    ErrorCode::DiskFull,
    ErrorCode::Closing,
    ErrorCode::PeersMax,
    ErrorCode::Removed,
    ErrorCode::Store,
];

#[test]
fn the_page_for_clients_has_every_refusal_as_it_is() {
    let page = include_str!("../../../../docs/http.md");
    let problems = PROBLEMS.map(Refusal::from);
    for refusal in problems.into_iter().chain(CODES.map(Refusal::from)) {
        let body: serde_json::Value = serde_json::from_slice(&refusal.body()).unwrap();
        let (name, code) = (body["error"].as_str().unwrap(), &body["code"]);
        let row = format!("| {} | {code} | `{name}` |", refusal.status().as_u16());
        assert!(page.contains(&row), "{row}");
    }
    let numbers = PROBLEMS.map(|problem| problem as u16);
    assert!(numbers.iter().copied().eq(601..=624), "{numbers:?}");
}
