//! Deserialisers for serde attributes: lenient where no harm can come of it, and bounded while they read.
//!
//! A number is taken as text and the other way round, null and `""` as absent, whatever type a field has. Every other type is an
//! error, so that the message names the field. What is longer than any value of the APIs is never built.

use std::fmt;
use std::marker::PhantomData;

use jiff::Timestamp;
use serde::Deserialize;
use serde::de::value::MapAccessDeserializer;
use serde::de::{DeserializeSeed, Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Unexpected, Visitor};

use super::normalise::{
    MAX_PROSE_BYTES, MAX_TEXT_BYTES, mib_from_bytes, mib_from_gib, parse_time, says_something, time_from_epoch,
};
use crate::text::printable;

/// Most elements of a list inside an entry that are of interest. One more is built, as the sign that there are more; the rest is
/// skipped.
pub(crate) const MAX_ELEMENTS: usize = 1024;
/// Up to here every integer is a float of its own.
const MAX_EXACT_FLOAT: f64 = 9_007_199_254_740_992.0;

/// Text or a number as text; absent when null, `""`, `"-"` or longer than any name.
pub(crate) fn text<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<String>, D::Error> {
    deserializer.deserialize_any(Text { max_bytes: MAX_TEXT_BYTES })
}

/// As [`text`], for what people write at length.
pub(crate) fn prose<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<String>, D::Error> {
    deserializer.deserialize_any(Text { max_bytes: MAX_PROSE_BYTES })
}

/// As [`text`], for what an entry is nothing without.
pub(crate) fn identity<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    text(deserializer)?.ok_or_else(|| D::Error::invalid_value(Unexpected::Other("no text"), &"an ID"))
}

/// An integer, a float without fraction, or the text of one.
pub(crate) fn integer<'de, T: TryFrom<i64>, D: Deserializer<'de>>(deserializer: D) -> Result<Option<T>, D::Error> {
    let Some(number) = deserializer.deserialize_any(Integer)? else { return Ok(None) };
    let fits =
        T::try_from(number).map_err(|_| D::Error::invalid_value(Unexpected::Signed(number), &"a smaller integer"));
    fits.map(Some)
}

/// `true` or `false`, also as text, as 1 or 0, or as `Y` or `N`.
pub(crate) fn boolean<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<bool>, D::Error> {
    deserializer.deserialize_any(Boolean)
}

/// GiB, in MiB.
pub(crate) fn gib<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<i64>, D::Error> {
    let Some(gib) = deserializer.deserialize_any(Float)? else { return Ok(None) };
    mib_from_gib(gib).map(Some).ok_or_else(|| D::Error::invalid_value(Unexpected::Float(gib), &"a size in GiB"))
}

/// Bytes, in MiB.
pub(crate) fn bytes<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<i64>, D::Error> {
    Ok(integer(deserializer)?.map(mib_from_bytes))
}

/// A point in time: text, seconds or milliseconds. Text that is no time is absent: no page promises its form.
pub(crate) fn time<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Timestamp>, D::Error> {
    deserializer.deserialize_any(Time)
}

/// An object, absent when null or `""`.
pub(crate) fn object<'de, T: Deserialize<'de>, D: Deserializer<'de>>(deserializer: D) -> Result<Option<T>, D::Error> {
    deserializer.deserialize_any(Object(PhantomData))
}

/// A list of objects without its nulls, empty when null or `""`; at most [`MAX_ELEMENTS`] and one are built.
pub(crate) fn list<'de, T: Deserialize<'de>, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<T>, D::Error> {
    Ok(elements::<Element<T>, D>(deserializer)?.into_iter().filter_map(|Element(element)| element).collect())
}

/// As [`list`], of elements of any kind.
pub(crate) fn elements<'de, T: Deserialize<'de>, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<T>, D::Error> {
    deserializer.deserialize_any(List(PhantomData))
}

/// A document that is an object and nothing else: serde takes a list for the fields of one, in the order in which they are
/// declared, which would be a guess.
pub(crate) struct Document<T>(PhantomData<T>);

impl<T> Document<T> {
    pub(crate) fn new() -> Self {
        Self(PhantomData)
    }
}

impl<'de, T: Deserialize<'de>> DeserializeSeed<'de> for Document<T> {
    type Value = T;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<T, D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de, T: Deserialize<'de>> Visitor<'de> for Document<T> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, fields: A) -> Result<T, A::Error> {
        T::deserialize(MapAccessDeserializer::new(fields))
    }
}

/// An object in a list.
#[derive(Deserialize)]
#[serde(bound = "T: Deserialize<'de>")]
struct Element<T>(#[serde(deserialize_with = "object")] Option<T>);

/// What null is, and a text that says nothing.
macro_rules! absent_when_null {
    ($absent:expr) => {
        fn visit_unit<E: Error>(self) -> Result<Self::Value, E> {
            Ok($absent)
        }
    };
}

struct Text {
    max_bytes: usize,
}

impl Visitor<'_> for Text {
    type Value = Option<String>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("text")
    }

    absent_when_null!(None);

    fn visit_str<E: Error>(self, value: &str) -> Result<Option<String>, E> {
        Ok(says_something(value, self.max_bytes).then(|| printable(value).into_owned()))
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<Option<String>, E> {
        Ok(Some(value.to_string()))
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<Option<String>, E> {
        Ok(Some(value.to_string()))
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<Option<String>, E> {
        Ok(Some(value.to_string()))
    }
}

struct Integer;

impl Visitor<'_> for Integer {
    type Value = Option<i64>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an integer")
    }

    absent_when_null!(None);

    fn visit_i64<E: Error>(self, value: i64) -> Result<Option<i64>, E> {
        Ok(Some(value))
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<Option<i64>, E> {
        i64::try_from(value).map(Some).map_err(|_| E::invalid_value(Unexpected::Unsigned(value), &self))
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<Option<i64>, E> {
        integral(value).map(Some).ok_or_else(|| E::invalid_value(Unexpected::Float(value), &self))
    }

    fn visit_str<E: Error>(self, value: &str) -> Result<Option<i64>, E> {
        if !says_something(value, MAX_TEXT_BYTES) && value.len() <= MAX_TEXT_BYTES {
            return Ok(None);
        }
        let number = value.trim();
        let parsed = number.parse().ok().or_else(|| integral(number.parse().ok()?));
        parsed.map(Some).ok_or_else(|| E::invalid_type(Unexpected::Str(value), &self))
    }
}

/// A float as the integer that it is.
fn integral(value: f64) -> Option<i64> {
    #[expect(clippy::cast_possible_truncation, reason = "without fraction and within the exact range")]
    (value.fract() == 0.0 && value.abs() <= MAX_EXACT_FLOAT).then_some(value as i64)
}

struct Boolean;

impl Visitor<'_> for Boolean {
    type Value = Option<bool>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("true or false")
    }

    absent_when_null!(None);

    fn visit_bool<E: Error>(self, value: bool) -> Result<Option<bool>, E> {
        Ok(Some(value))
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<Option<bool>, E> {
        match value {
            0 | 1 => Ok(Some(value == 1)),
            _ => Err(E::invalid_value(Unexpected::Unsigned(value), &self)),
        }
    }

    fn visit_str<E: Error>(self, value: &str) -> Result<Option<bool>, E> {
        let is = |words: [&str; 3]| words.iter().any(|word| value.trim().eq_ignore_ascii_case(word));
        match value.trim() {
            "" | "-" => Ok(None),
            _ if is(["true", "y", "1"]) => Ok(Some(true)),
            _ if is(["false", "n", "0"]) => Ok(Some(false)),
            _ => Err(E::invalid_type(Unexpected::Str(value), &self)),
        }
    }
}

struct Float;

impl Visitor<'_> for Float {
    type Value = Option<f64>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a number")
    }

    absent_when_null!(None);

    fn visit_f64<E: Error>(self, value: f64) -> Result<Option<f64>, E> {
        Ok(Some(value))
    }

    #[expect(clippy::cast_precision_loss, reason = "a size; beyond 2^53 it is refused")]
    fn visit_i64<E: Error>(self, value: i64) -> Result<Option<f64>, E> {
        Ok(Some(value as f64))
    }

    #[expect(clippy::cast_precision_loss, reason = "a size; beyond 2^53 it is refused")]
    fn visit_u64<E: Error>(self, value: u64) -> Result<Option<f64>, E> {
        Ok(Some(value as f64))
    }

    fn visit_str<E: Error>(self, value: &str) -> Result<Option<f64>, E> {
        match value.trim() {
            "" | "-" => Ok(None),
            number => number.parse().map(Some).map_err(|_| E::invalid_type(Unexpected::Str(value), &self)),
        }
    }
}

struct Time;

impl Visitor<'_> for Time {
    type Value = Option<Timestamp>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a time as text or as an integer")
    }

    absent_when_null!(None);

    fn visit_i64<E: Error>(self, value: i64) -> Result<Option<Timestamp>, E> {
        Ok(time_from_epoch(value))
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<Option<Timestamp>, E> {
        Ok(i64::try_from(value).ok().and_then(time_from_epoch))
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<Option<Timestamp>, E> {
        Ok(integral(value.trunc()).and_then(time_from_epoch))
    }

    fn visit_str<E: Error>(self, value: &str) -> Result<Option<Timestamp>, E> {
        Ok(Some(value).filter(|value| value.len() <= MAX_TEXT_BYTES).and_then(parse_time))
    }
}

struct Object<T>(PhantomData<T>);

impl<'de, T: Deserialize<'de>> Visitor<'de> for Object<T> {
    type Value = Option<T>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    absent_when_null!(None);

    fn visit_str<E: Error>(self, value: &str) -> Result<Option<T>, E> {
        match value.trim() {
            "" | "-" => Ok(None),
            _ => Err(E::invalid_type(Unexpected::Str(value), &self)),
        }
    }

    fn visit_map<A: MapAccess<'de>>(self, fields: A) -> Result<Option<T>, A::Error> {
        T::deserialize(MapAccessDeserializer::new(fields)).map(Some)
    }
}

struct List<T>(PhantomData<T>);

impl<'de, T: Deserialize<'de>> Visitor<'de> for List<T> {
    type Value = Vec<T>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list")
    }

    absent_when_null!(Vec::new());

    fn visit_str<E: Error>(self, value: &str) -> Result<Vec<T>, E> {
        match value.trim() {
            "" | "-" => Ok(Vec::new()),
            _ => Err(E::invalid_type(Unexpected::Str(value), &self)),
        }
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut elements: A) -> Result<Vec<T>, A::Error> {
        let mut built = Vec::new();
        while built.len() <= MAX_ELEMENTS {
            match elements.next_element::<Option<T>>()? {
                Some(element) => built.extend(element),
                None => return Ok(built),
            }
        }
        while elements.next_element::<IgnoredAny>()?.is_some() {}
        Ok(built)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    #[derive(Debug, Default, PartialEq, Deserialize)]
    #[serde(default)]
    struct All {
        #[serde(deserialize_with = "text")]
        text: Option<String>,
        #[serde(deserialize_with = "integer")]
        port: Option<u16>,
        #[serde(deserialize_with = "boolean")]
        flag: Option<bool>,
        #[serde(deserialize_with = "gib")]
        gib: Option<i64>,
        #[serde(deserialize_with = "bytes")]
        bytes: Option<i64>,
        #[serde(deserialize_with = "time")]
        time: Option<Timestamp>,
        #[serde(deserialize_with = "object")]
        object: Option<Inner>,
        #[serde(deserialize_with = "list")]
        list: Vec<Inner>,
    }

    #[derive(Debug, PartialEq, Deserialize)]
    struct Inner {}

    fn read(field: &str, value: &Value) -> Result<All, String> {
        serde_json::from_value(json!({ field: value })).map_err(|error| error.to_string())
    }

    #[test]
    fn null_and_empty_text_are_absent_whatever_the_type() {
        for field in ["text", "port", "flag", "gib", "bytes", "time", "object", "list"] {
            for value in [json!(null), json!(""), json!("-")] {
                assert_eq!(read(field, &value), Ok(All::default()), "{field} {value}");
            }
        }
    }

    #[test]
    fn numbers_and_texts_are_taken_for_each_other() {
        let all = All::default;
        for (field, value, expected) in [
            ("text", json!(7), All { text: Some("7".to_owned()), ..all() }),
            ("text", json!(1.5), All { text: Some("1.5".to_owned()), ..all() }),
            ("port", json!("6379"), All { port: Some(6379), ..all() }),
            ("port", json!(" 6379.0 "), All { port: Some(6379), ..all() }),
            ("port", json!(6379.0), All { port: Some(6379), ..all() }),
            ("flag", json!("TRUE"), All { flag: Some(true), ..all() }),
            ("flag", json!("N"), All { flag: Some(false), ..all() }),
            ("flag", json!(1), All { flag: Some(true), ..all() }),
            ("gib", json!("0.5"), All { gib: Some(512), ..all() }),
            ("gib", json!(8), All { gib: Some(8192), ..all() }),
            ("bytes", json!("4294967296"), All { bytes: Some(4096), ..all() }),
            ("object", json!({}), All { object: Some(Inner {}), ..all() }),
            ("list", json!([{}, null]), All { list: vec![Inner {}], ..all() }),
            ("time", json!(1.5), All { time: Timestamp::from_second(1).ok(), ..all() }),
            ("time", json!("soon"), all()),
            ("time", json!(u64::MAX), all()),
        ] {
            assert_eq!(read(field, &value), Ok(expected), "{field} {value}");
        }
    }

    #[test]
    fn what_is_neither_is_an_error() {
        for (field, value) in [
            ("text", json!([])),
            ("text", json!(true)),
            ("port", json!(70_000)),
            ("port", json!(-1)),
            ("port", json!(1.5)),
            ("port", json!("many")),
            ("port", json!("x".repeat(600))),
            ("flag", json!("perhaps")),
            ("flag", json!(2)),
            ("gib", json!(-1)),
            ("gib", json!("NaN")),
            ("bytes", json!({})),
            ("time", json!({})),
            ("object", json!("a.example")),
            ("object", json!([])),
            ("list", json!({})),
            ("list", json!(["s-1"])),
            ("list", json!([["s-1"]])),
        ] {
            assert!(read(field, &value).is_err(), "{field} {value}");
        }
    }

    #[test]
    fn a_long_list_is_counted_and_not_built() {
        let built = read("list", &json!(vec![json!({}); 5000])).unwrap().list.len();
        assert_eq!(built, MAX_ELEMENTS + 1);
        assert_eq!(read("text", &json!("x".repeat(MAX_TEXT_BYTES + 1))), Ok(All::default()));
    }

    proptest::proptest! {
        #[test]
        fn no_value_panics(text in "\\PC{0,30}", number in proptest::num::f64::ANY, integer in proptest::num::i64::ANY) {
            for field in ["text", "port", "flag", "gib", "bytes", "time", "object", "list"] {
                for value in [json!(text), json!(number), json!(integer), json!([text]), json!({ "a": integer })] {
                    let _ = read(field, &value);
                }
            }
        }
    }
}
