//! The entries of a list, read one by one: one that is not as documented costs no other.

use std::cell::RefCell;
use std::fmt;
use std::sync::Arc;

use serde::Deserializer as _;
use serde::de::{DeserializeOwned, Error as _, IgnoredAny, MapAccess, Visitor};
use serde_json::value::RawValue;

use super::error::{CloudError, Failure};
use super::lenient::{self, Document};
use super::response::{JsonProblem, lossy, read_slice_with};
use super::split::{MAX_ENTRY_BYTES, RawEntry};
use super::transport::Refuse;

/// Entries of one list whose errors are told one by one; more of them share one sentence.
const MOST_TOLD: usize = 100;

/// One entry of a list.
#[derive(Clone, Debug, PartialEq)]
pub enum Row<T> {
    /// It is as documented.
    Read(T),
    /// It is not.
    Unreadable(UnreadableRow),
}

impl<T> Row<T> {
    /// What was read, if it could be.
    pub fn ok(self) -> Option<T> {
        match self {
            Self::Read(value) => Some(value),
            Self::Unreadable(_) => None,
        }
    }

    /// The same with another value in it.
    pub fn map<U>(self, change: impl FnOnce(T) -> U) -> Row<U> {
        match self {
            Self::Read(value) => Row::Read(change(value)),
            Self::Unreadable(unreadable) => Row::Unreadable(unreadable),
        }
    }
}

/// An entry that is not as documented, with ID and name as far as they can be found.
#[derive(Clone, Debug, PartialEq)]
pub struct UnreadableRow {
    /// Its ID, if that could be found.
    pub id: Option<String>,
    /// Its name, if that could be found.
    pub name: Option<String>,
    /// Names the field that cannot be read.
    pub error: Arc<CloudError>,
}

/// The fields that identify an entry.
#[derive(Clone, Copy, Debug)]
pub(super) struct Keys {
    pub(super) id: &'static str,
    pub(super) name: &'static str,
}

/// Reads entries and counts those that cannot be read.
#[derive(Default)]
pub(super) struct Reader {
    unreadable: usize,
    like_many: Option<Arc<CloudError>>,
}

impl Reader {
    /// Reads one entry as it came.
    pub(super) fn read<T: DeserializeOwned>(&mut self, raw: RawEntry<'_>, keys: Keys, refuse: Refuse<'_>) -> Row<T> {
        if raw.is_cut {
            let (id, name) = identify(raw.json, keys);
            return self.unreadable(id, name, refuse, || format!("the entry has more than {MAX_ENTRY_BYTES} bytes"));
        }
        match read_slice_with(raw.json, &Document::<T>::new) {
            Ok(value) => Row::Read(value),
            Err(problem) => {
                let (id, name) = identify(raw.json, keys);
                self.unreadable(id, name, refuse, || match problem {
                    JsonProblem::Field(message) => message.replace("the answer: ", "the entry: "),
                    JsonProblem::NotJson(error) | JsonProblem::GoesOn(error) => {
                        format!("the entry is not valid JSON: {error}")
                    }
                })
            }
        }
    }

    /// An entry that cannot be read.
    pub(super) fn unreadable<T>(
        &mut self,
        id: Option<String>,
        name: Option<String>,
        refuse: Refuse<'_>,
        message: impl FnOnce() -> String,
    ) -> Row<T> {
        self.unreadable += 1;
        let error = if self.unreadable <= MOST_TOLD {
            Arc::new(refuse(Failure::unexpected(message())))
        } else {
            let like_many =
                || Arc::new(refuse(Failure::unexpected("the entry is not as documented, as many of this list")));
            Arc::clone(self.like_many.get_or_insert_with(like_many))
        };
        Row::Unreadable(UnreadableRow { id, name, error })
    }
}

/// ID and name of an entry that cannot be read, as far as they come before what cannot even be skipped.
fn identify(json: &[u8], keys: Keys) -> (Option<String>, Option<String>) {
    let json = lossy(json);
    let found = RefCell::default();
    let mut deserializer = serde_json::Deserializer::from_str(&json);
    // It ends with an error more often than not; what was found until then stays.
    let _ = deserializer.deserialize_map(Identify { keys, found: &found });
    let (id, name): (Option<String>, Option<String>) = found.into_inner();
    (id, name.filter(|name| !name.contains('\u{fffd}')))
}

struct Identify<'a> {
    keys: Keys,
    found: &'a RefCell<(Option<String>, Option<String>)>,
}

impl<'de> Visitor<'de> for Identify<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut fields: A) -> Result<(), A::Error> {
        while let Some(field) = fields.next_key::<std::borrow::Cow<'de, str>>()? {
            let is_id = field == self.keys.id;
            if !is_id && field != self.keys.name {
                fields.next_value::<IgnoredAny>()?;
                continue;
            }
            let value = fields.next_value::<&RawValue>()?;
            let text = lenient::text(&mut serde_json::Deserializer::from_str(value.get())).map_err(A::Error::custom)?;
            let mut found = self.found.borrow_mut();
            if is_id {
                // Two IDs are none.
                let is_second = found.0.is_some();
                found.0 = text;
                if is_second {
                    found.0 = None;
                    return Ok(());
                }
            } else {
                found.1 = text;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEYS: Keys = Keys { id: "id", name: "name" };

    #[test]
    fn an_entry_is_identified_as_far_as_it_can_be_read() {
        for (json, id, name) in [
            (r#"{"id": "c-1", "x": {}, "name": "carts"}"#, Some("c-1"), Some("carts")),
            (r#"{"name": "carts", "id": 7, "x""#, Some("7"), Some("carts")),
            (r#"{"x": [1, {"id": "no"}], "id": "c-1", "x": [0,0"#, Some("c-1"), None),
            (r#"{"id": {}, "name": "carts"}"#, None, None),
            (r#"{"id": "c-1", "id": "c-2", "name": "carts"}"#, None, None),
            (r#"{"id": null}"#, None, None),
            ("[]", None, None),
            ("7", None, None),
            ("", None, None),
        ] {
            let expected = (id.map(str::to_owned), name.map(str::to_owned));
            assert_eq!(identify(json.as_bytes(), KEYS), expected, "{json}");
        }
        let not_utf8 = b"{\"id\": \"c-1\", \"name\": \"\xb0\xa1\"}";
        assert_eq!(identify(not_utf8, KEYS), (Some("c-1".to_owned()), None));
    }
}
