//! JSON values as they are kept: the text as it was written, checked once, when it enters.

use crate::error::Error;
use crate::json;
use bytes::Bytes;
use folkmoot_core::data::read;
use serde::de::{DeserializeOwned, IgnoredAny, MapAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::value::RawValue;
use std::collections::BTreeMap;
use std::fmt;

/// One JSON value, as text.
#[derive(Clone, PartialEq, Eq)]
pub struct Value(Bytes);

impl Value {
    /// The JSON text of anything that serde can write.
    pub fn new(value: &(impl Serialize + ?Sized)) -> Result<Value, Error> {
        let text = serde_json::to_vec(value).map_err(|error| Error::Value(error.to_string()))?;
        Value::from_text(text)
    }

    /// Takes JSON text as it is, but for white space around it.
    ///
    /// ```
    /// # use folkmoot::api::Value;
    /// let value = Value::from_text(r#"{"a": 1.50}"#).unwrap();
    /// assert_eq!(value.to_string(), r#"{"a": 1.50}"#);
    /// assert!(Value::from_text(r#"{"a": 1, "a": 2}"#).is_err());
    /// ```
    pub fn from_text(text: impl Into<Bytes>) -> Result<Value, Error> {
        let text = text.into();
        match json::check(&text, json::DEPTH_MAX) {
            Ok(inner) => Ok(Value(text.slice_ref(inner.as_bytes()))),
            Err(error) => Err(Error::Value(error.to_string())),
        }
    }

    /// What a reader found, fields put together.
    pub fn from_found(found: &read::Value) -> Value {
        match found {
            read::Value::Plain(text) => Value(text.clone()),
            read::Value::Fields { base, fields } => Value(together(base.as_ref(), fields)),
        }
    }

    /// The text.
    pub fn as_bytes(&self) -> &Bytes {
        &self.0
    }

    /// Reads it as a type.
    pub fn parse<T: DeserializeOwned>(&self) -> Result<T, Error> {
        serde_json::from_slice(&self.0).map_err(|error| Error::Value(error.to_string()))
    }

    /// Whether it is an object.
    pub(crate) fn is_object(&self) -> bool {
        self.0.first() == Some(&b'{')
    }

    /// Takes what another node sent: as it is, or as a string if it is no JSON.
    pub(crate) fn from_anything(text: &Bytes) -> Value {
        match json::check(text, json::DEPTH_MAX) {
            Ok(inner) => Value(text.slice_ref(inner.as_bytes())),
            Err(_) => {
                let mut out = Vec::new();
                json::push_string(&mut out, &String::from_utf8_lossy(text));
                Value(out.into())
            }
        }
    }

    /// Takes JSON text that has been checked.
    pub(crate) fn from_checked(text: Bytes) -> Value {
        Value(text)
    }

    /// The fields of an object, names without escapes.
    pub(crate) fn fields(&self) -> Result<Vec<(String, Bytes)>, Error> {
        let Fields(fields) = serde_json::from_slice(&self.0)
            .map_err(|_| Error::Value("only an object can be merged".into()))?;
        let text = |(name, value): (String, Box<RawValue>)| {
            (name, Bytes::from(Box::<str>::from(value).into_string()))
        };
        Ok(fields.into_iter().map(text).collect())
    }
}

impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&String::from_utf8_lossy(&self.0))
    }
}

impl fmt::Debug for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Serialize for Value {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let raw: &RawValue = serde_json::from_slice(&self.0).map_err(serde::ser::Error::custom)?;
        raw.serialize(serializer)
    }
}

/// An object's fields in the order in which they were written.
struct Fields(Vec<(String, Box<RawValue>)>);

impl<'de> Deserialize<'de> for Fields {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Fields, D::Error> {
        struct Pairs;
        impl<'de> Visitor<'de> for Pairs {
            type Value = Fields;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Fields, A::Error> {
                let mut fields = Vec::new();
                while let Some(pair) = map.next_entry()? {
                    fields.push(pair);
                }
                Ok(Fields(fields))
            }
        }
        deserializer.deserialize_map(Pairs)
    }
}

/// The object of a base's own fields and of those written since, in name order.
fn together(base: Option<&Bytes>, fields: &[(String, Bytes)]) -> Bytes {
    let of_base: Fields = base
        .and_then(|base| serde_json::from_slice(base).ok())
        .unwrap_or_else(|| Fields(Vec::new()));
    let mut all: BTreeMap<&str, &[u8]> = BTreeMap::new();
    all.extend(of_base.0.iter().map(|(name, value)| (&name[..], value.get().as_bytes())));
    // Other nodes may send what is no JSON: such a field does not count.
    let is_json = |text: &[u8]| serde_json::from_slice::<IgnoredAny>(text).is_ok();
    let valid = fields.iter().filter(|(_, value)| is_json(value));
    all.extend(valid.map(|(name, value)| (&name[..], &value[..])));
    let mut out = Vec::new();
    for (name, value) in all {
        out.push(if out.is_empty() { b'{' } else { b',' });
        json::push_string(&mut out, name);
        out.push(b':');
        out.extend_from_slice(value);
    }
    if out.is_empty() {
        out.push(b'{');
    }
    out.push(b'}');
    out.into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn the_text_is_kept_as_written() {
        for text in ["1.50", "\"\\u0041\"", "{\"b\":1, \"a\":[ ]}", "null"] {
            assert_eq!(Value::from_text(text).unwrap().to_string(), text);
        }
        assert_eq!(Value::from_text(" [1] \n").unwrap().to_string(), "[1]");
        assert_eq!(Value::new(&json!({"a": 1})).unwrap().to_string(), r#"{"a":1}"#);
        let nested = vec![vec![Value::from_text("1.0").unwrap()]];
        assert_eq!(Value::new(&nested).unwrap().to_string(), "[[1.0]]");
    }

    #[test]
    fn what_is_no_json_is_refused() {
        for text in ["", "{", "{\"a\":1,\"a\":2}", "nul", "1 2"] {
            assert!(matches!(Value::from_text(text), Err(Error::Value(_))), "{text}");
        }
    }

    #[test]
    fn an_object_comes_apart_and_together() {
        let value = Value::from_text(r#"{"b":1.0,"a":{"x":[]},"\u00e9\"":null}"#).unwrap();
        let fields = value.fields().unwrap();
        assert_eq!(fields[0], ("b".to_owned(), Bytes::from("1.0")));
        assert_eq!(fields[2].0, "é\"");
        let whole = read::Value::Fields { base: None, fields };
        let text = r#"{"a":{"x":[]},"b":1.0,"é\"":null}"#;
        assert_eq!(Value::from_found(&whole).to_string(), text);
        assert!(Value::from_text("[1]").unwrap().fields().is_err());
    }

    #[test]
    fn fields_count_before_those_of_the_value_below() {
        let fields = vec![("a".to_owned(), Bytes::from("2")), ("x".to_owned(), "{bad".into())];
        let over = |base: &'static str| {
            let base = Some(Bytes::from(base));
            Value::from_found(&read::Value::Fields { base, fields: fields.clone() }).to_string()
        };
        assert_eq!(over(r#"{"a":1,"b":1}"#), r#"{"a":2,"b":1}"#);
        assert_eq!(over("17"), r#"{"a":2}"#);
    }
}
