//! Checked by example, against serde_json, and on bytes at random.

use super::*;
use proptest::prelude::*;
use serde_json::Value;

fn refused(text: &str) -> String {
    check(text.as_bytes(), DEPTH_MAX).expect_err(text).to_string()
}

#[test]
fn every_kind_of_value_passes_and_is_kept_as_written() {
    for text in ["null", "true", "false", "0", "-0.50e+3", "\"\"", "[]", "{}", "[1,{\"a\":[]}]"] {
        let spaced = format!(" \r\n\t{text} ");
        assert_eq!(check(spaced.as_bytes(), DEPTH_MAX), Ok(text));
    }
    let inner = r#"{ "b" : 1.00 , "a" : 12345678901234567890123 }"#;
    assert_eq!(check(inner.as_bytes(), DEPTH_MAX), Ok(inner));
}

#[test]
fn what_is_not_json_is_refused_where_it_goes_wrong() {
    assert_eq!(refused("{\"a\":"), "not JSON: a value at byte 5");
    assert_eq!(refused("{\"a\" 1}"), "not JSON: ':' at byte 5");
    assert_eq!(refused("[1,]"), "not JSON: a value at byte 3");
    assert_eq!(refused("{} x"), "not JSON: nothing more at byte 3");
    assert_eq!(refused("{a:1}"), "not JSON: a key in quotes at byte 1");
    for text in ["", " ", "01", "1.", ".5", "+1", "1e", "tru", "nul", "'a'", "NaN", "[1 2]", "\"a"]
    {
        assert!(refused(text).starts_with("not JSON"), "{text}");
    }
    for text in ["\"\n\"", r#""\x""#, r#""\u12""#, "\"\\", "{\"a\":1,}", "-", "\u{feff}1"] {
        assert!(refused(text).starts_with("not JSON"), "{text}");
    }
    assert_eq!(check(b"\"\xff\"", DEPTH_MAX), Err(JsonError::NotUtf8(1)));
}

#[test]
fn depth_is_counted_to_the_level() {
    let nested = |depth: usize| "[".repeat(depth) + &"]".repeat(depth);
    assert!(check(nested(DEPTH_MAX).as_bytes(), DEPTH_MAX).is_ok());
    assert_eq!(refused(&nested(DEPTH_MAX + 1)), JsonError::TooDeep(DEPTH_MAX).to_string());
    let open = "[{\"a\":".repeat(100_000);
    assert_eq!(refused(&open), JsonError::TooDeep(DEPTH_MAX).to_string());
    assert!(check(b"1", 0).is_ok() && check(b"[]", 0).is_err());
}

#[test]
fn a_key_may_occur_once_in_an_object_however_it_is_written() {
    assert!(refused(r#"{"a":1,"a":1}"#).contains("\"a\" occurs twice"));
    assert!(refused(r#"{"a":1,"\u0061":1}"#).contains("\"a\" occurs twice"));
    assert!(refused(r#"[{"x":{"\/":1,"b":0,"/":1}}]"#).contains("\"/\" occurs twice"));
    assert!(check(br#"{"a":{"a":{"a":1},"b":[{"a":1},{"a":1}]}}"#, DEPTH_MAX).is_ok());
    let many = (0..1_000).map(|i| format!("\"k{i}\":{i}")).collect::<Vec<_>>().join(",");
    assert!(check(format!("{{{many}}}").as_bytes(), DEPTH_MAX).is_ok());
    assert!(refused(&format!("{{{many},\"k500\":0}}")).contains("\"k500\" occurs twice"));
}

/// The members of an object that knows the keys `a` and `b`.
fn members_of(text: &str) -> Result<Vec<(String, String)>, JsonError> {
    let mut all: Vec<(String, String)> = Vec::new();
    members(text, &mut |key, raw| {
        let known = ["a", "b"].contains(&key);
        if known && all.iter().any(|(other, _)| other == key) {
            return Err(JsonError::Repeats(key.to_owned()));
        }
        all.push((key.to_owned(), raw.to_owned()));
        Ok(if known { Member::Known } else { Member::Unknown })
    })?;
    Ok(all)
}

#[test]
fn members_are_told_with_their_values_as_written() {
    let pair = |key: &str, raw: &str| (key.to_owned(), raw.to_owned());
    let text = r#" { "a" : [1, {"x": 2}] , "\u0062":"\n", "": null } "#;
    let told = members_of(text).unwrap();
    assert_eq!(told, [pair("a", r#"[1, {"x": 2}]"#), pair("b", r#""\n""#), pair("", "null")]);
    assert_eq!(members_of("{}"), Ok(vec![]));
}

#[test]
fn members_are_checked_as_values_are() {
    for text in
        ["", "[]", "1", "{", "{}x", "{\"a\"}", "{\"a\":}", "{\"a\":1,}", "{a:1}", "{\"a\":1 2}"]
    {
        assert!(matches!(members_of(text), Err(JsonError::Syntax { .. })), "{text}");
    }
    for text in [r#"{"a":1,"a":2}"#, r#"{"x":1,"b":0,"x":2}"#, r#"{"x":{"y":1,"y":1}}"#] {
        assert!(matches!(members_of(text), Err(JsonError::Repeats(_))), "{text}");
    }
    let nested = |depth: usize| format!("{{\"a\":{}{}}}", "[".repeat(depth), "]".repeat(depth));
    assert!(members_of(&nested(DEPTH_MAX)).is_ok());
    assert_eq!(members_of(&nested(DEPTH_MAX + 1)), Err(JsonError::TooDeep(DEPTH_MAX)));
}

#[test]
fn strings_say_what_they_mean() {
    assert_eq!(string_of(r#""plain é""#).as_deref(), Some("plain é"));
    assert_eq!(string_of(r#""a\"\u0062\n""#).as_deref(), Some("a\"b\n"));
    assert_eq!((string_of("1"), string_of("null")), (None, None));
}

#[test]
fn numbers_are_written_in_digits() {
    for number in [0, 7, 10, 12_345, u64::MAX] {
        let mut out = b"x".to_vec();
        push_number(&mut out, number);
        assert_eq!(out, format!("x{number}").into_bytes());
    }
}

#[test]
fn half_surrogates_are_refused_and_whole_ones_pass() {
    assert!(check(br#""\ud83d\ude00 \u0000""#, DEPTH_MAX).is_ok());
    for text in [r#""\ud83d""#, r#""\ude00""#, r#""\ud83dx""#, r#""\ud83d\u0041""#, r#""\ud83d\""#]
    {
        assert!(refused(text).contains("surrogate"), "{text}");
    }
}

#[test]
fn numbers_that_no_reader_can_hold_are_refused() {
    assert!(refused("[1e999]").contains("too large"));
    assert!(refused(&"9".repeat(400)).contains("too large"));
    assert!(check(b"[1e308,1e-999]", DEPTH_MAX).is_ok());
    assert!(check("9".repeat(300).as_bytes(), DEPTH_MAX).is_ok());
}

#[test]
fn strings_are_written_so_that_they_read_back() {
    for text in ["", "a/b", "\"\\\u{7f}\u{1}\n\t", "ключ \u{1F600}"] {
        let mut out = Vec::new();
        push_string(&mut out, text);
        assert_eq!(serde_json::from_slice::<String>(&out).unwrap(), text);
    }
}

fn any_value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        any::<String>().prop_map(Value::from),
    ];
    leaf.prop_recursive(6, 64, 12, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..12).prop_map(Value::from),
            prop::collection::btree_map(any::<String>(), inner, 0..12)
                .prop_map(|map| Value::Object(map.into_iter().collect())),
        ]
    })
}

proptest! {
    #[test]
    fn what_serde_writes_passes(value in any_value()) {
        let text = value.to_string();
        prop_assert_eq!(check(text.as_bytes(), DEPTH_MAX), Ok(&text[..]));
        let pretty = serde_json::to_string_pretty(&value).unwrap();
        prop_assert!(check(pretty.as_bytes(), DEPTH_MAX).is_ok());
    }

    #[test]
    fn what_passes_serde_reads(text in r#"[\[\]{}",:\\ untrefalsd0-9.eE+a-c/-]{0,24}"#) {
        if let Ok(checked) = check(text.as_bytes(), DEPTH_MAX) {
            prop_assert!(serde_json::from_str::<Value>(checked).is_ok(), "{}", checked);
        }
    }

    #[test]
    fn no_bytes_make_it_fall_over(bytes in prop::collection::vec(any::<u8>(), 0..64)) {
        let _ = check(&bytes, DEPTH_MAX);
    }

    #[test]
    fn a_changed_byte_is_judged_as_serde_judges_it(
        value in any_value(), at in any::<prop::sample::Index>(), byte in any::<u8>()
    ) {
        let mut text = value.to_string().into_bytes();
        let at = at.index(text.len());
        text[at] = byte;
        match (check(&text, DEPTH_MAX), serde_json::from_slice::<Value>(&text)) {
            (Ok(_), Err(error)) => prop_assert!(false, "passed, but serde says {error}"),
            (Err(JsonError::Syntax { .. } | JsonError::NotUtf8(_)), Ok(value)) => {
                prop_assert!(false, "refused, but serde reads {value}")
            }
            _ => {}
        }
    }
}
