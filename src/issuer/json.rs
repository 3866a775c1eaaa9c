//! JSON that trust depends on: an object whose keys stand in it once, at every depth. Two parsers that disagree on which of
//! two values counts are an old way in; this one takes neither. It gives no meaning to what it reads.

use serde::de::{self, Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value};
use std::fmt;

/// Reads one object and nothing after it.
///
/// # Errors
/// What is no JSON object, or holds a key twice. The words name no value.
pub fn object(bytes: &[u8]) -> Result<Map<String, Value>, String> {
    match serde_json::from_slice::<Strict>(bytes) {
        Ok(Strict(Value::Object(map))) => Ok(map),
        Ok(_) => Err("JSON that is no object".to_owned()),
        Err(e) => match e.classify() {
            serde_json::error::Category::Data => Err("JSON with a key that stands twice in one object".to_owned()),
            _ => Err(format!("no JSON (line {}, column {})", e.line(), e.column())),
        },
    }
}

/// A value that must be a string if it is there at all.
///
/// # Errors
/// When it is something else.
pub fn string<'a>(map: &'a Map<String, Value>, key: &str) -> Result<Option<&'a str>, String> {
    match map.get(key) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(s)) => Ok(Some(s)),
        Some(_) => Err(format!("{key} is not a string")),
    }
}

/// A value that must be a number if it is there at all, in whole units, rounded down.
///
/// # Errors
/// When it is something else: read as absent, a mistyped `exp` would mean "never" (CVE-2026-25537).
pub fn number(map: &Map<String, Value>, key: &str) -> Result<Option<i64>, String> {
    match map.get(key) {
        None => Ok(None),
        Some(Value::Number(n)) => whole(n).map(Some).ok_or_else(|| format!("{key} is out of range")),
        Some(_) => Err(format!("{key} is not a number")),
    }
}

/// A value that must be a string or an array of strings if it is there at all.
///
/// # Errors
/// When it is something else.
pub fn strings<'a>(map: &'a Map<String, Value>, key: &str) -> Result<Vec<&'a str>, String> {
    match map.get(key) {
        None | Some(Value::Null) => Ok(Vec::new()),
        Some(Value::String(s)) => Ok(vec![s]),
        Some(Value::Array(all)) => {
            all.iter().map(|v| v.as_str().ok_or_else(|| format!("{key} holds something that is not a string"))).collect()
        }
        Some(_) => Err(format!("{key} is neither a string nor an array of strings")),
    }
}

fn whole(n: &Number) -> Option<i64> {
    const LIMIT: f64 = 9.0e15; // far beyond any date, and exact in a double
    n.as_i64().or_else(|| n.as_f64().filter(|f| f.abs() < LIMIT).map(|f| f.floor() as i64))
}

struct Strict(Value);

impl<'de> Deserialize<'de> for Strict {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        d.deserialize_any(Reader).map(Strict)
    }
}

struct Reader;

impl<'de> Visitor<'de> for Reader {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, v: bool) -> Result<Value, E> {
        Ok(Value::Bool(v))
    }

    fn visit_i64<E>(self, v: i64) -> Result<Value, E> {
        Ok(v.into())
    }

    fn visit_u64<E>(self, v: u64) -> Result<Value, E> {
        Ok(v.into())
    }

    fn visit_f64<E>(self, v: f64) -> Result<Value, E> {
        Ok(v.into())
    }

    fn visit_str<E>(self, v: &str) -> Result<Value, E> {
        Ok(v.into())
    }

    fn visit_string<E>(self, v: String) -> Result<Value, E> {
        Ok(v.into())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Value, A::Error> {
        let mut out = Vec::new();
        while let Some(Strict(v)) = seq.next_element()? {
            out.push(v);
        }
        Ok(Value::Array(out))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Value, A::Error> {
        let mut out = Map::new();
        while let Some((key, Strict(value))) = map.next_entry::<String, Strict>()? {
            if out.insert(key, value).is_some() {
                return Err(de::Error::custom("a key stands twice"));
            }
        }
        Ok(Value::Object(out))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_stands_once_at_every_depth() {
        assert!(object(br#"{"a":1,"b":{"a":[{"a":2.5,"c":null,"d":true,"e":"x"}]}}"#).is_ok());
        for twice in [r#"{"a":1,"a":1}"#, r#"{"b":{"a":1,"a":2}}"#, r#"{"b":[{"a":1,"a":2}]}"#, r#"{"a":1,"\u0061":2}"#] {
            assert_eq!(object(twice.as_bytes()).unwrap_err(), "JSON with a key that stands twice in one object", "{twice}");
        }
        for bad in ["", "[]", "{} {}", "{", "null", "{\"a\":1}x", &("[".repeat(300))] {
            assert!(object(bad.as_bytes()).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_wrong_type_is_not_the_same_as_absent() {
        let map = object(br#"{"s":"x","n":-103,"f":12.9,"t":"12","l":["a","b"],"m":["a",1],"z":null,"h":1e300}"#).unwrap();
        assert_eq!(number(&map, "n"), Ok(Some(-103)));
        assert_eq!(number(&map, "f"), Ok(Some(12)));
        assert_eq!(number(&map, "absent"), Ok(None));
        assert!(number(&map, "t").is_err() && number(&map, "z").is_err() && number(&map, "h").is_err());
        assert_eq!(string(&map, "s"), Ok(Some("x")));
        assert!(string(&map, "n").is_err());
        assert_eq!(strings(&map, "s"), Ok(vec!["x"]));
        assert_eq!(strings(&map, "l"), Ok(vec!["a", "b"]));
        assert!(strings(&map, "m").is_err() && strings(&map, "n").is_err());
    }
}
