//! Cuts the entries of one list out of a JSON document while its bytes arrive, so that a list is never in memory as a whole.
//!
//! What is left is the *envelope*: the document with an empty list in that place. It is small, is kept, and is parsed by
//! `serde_json` afterwards, as is each entry; so nothing here decides what is valid JSON. Only strings, brackets and the commas of
//! the list itself are understood.

use std::ops::Range;

/// Largest entry, in bytes: a cluster takes 1 to 2 KiB, a thousand of the longest lists in it some 100 KiB.
pub(crate) const MAX_ENTRY_BYTES: usize = 256 << 10;
/// Largest envelope, in bytes: a return code, a message and a total take some 200.
pub(crate) const MAX_ENVELOPE_BYTES: usize = 64 << 10;
/// Longest name of a field that is compared with the list's.
const MAX_KEY_BYTES: usize = 64;

/// One entry of the list.
#[derive(Clone, Copy, Debug)]
pub(crate) struct RawEntry<'a> {
    /// Its bytes; only the first [`MAX_ENTRY_BYTES`] of one that has more.
    pub(crate) json: &'a [u8],
    /// Whether it has more.
    pub(crate) is_cut: bool,
}

/// Why the document cannot be cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum SplitError {
    /// There is more than [`MAX_ENVELOPE_BYTES`] beside the list.
    LargeEnvelope,
    /// The list's entries are not separated by commas.
    Separators,
    /// The document has the list twice.
    TwoLists,
}

/// The state between two pieces of a document.
pub(crate) struct Splitter {
    key: &'static str,
    /// How deep the list may be: 1 is a field of the document itself.
    deepest: usize,
    envelope: Vec<u8>,
    position: Position,
    /// Open brackets of the envelope, and of the present entry.
    depth: usize,
    entry_depth: usize,
    string: InString,
    /// The last string at a depth where the list could be.
    last_string: Vec<u8>,
    /// The list's name and a colon have come.
    list_is_next: bool,
    lists: usize,
    entry: PartialEntry,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum InString {
    No,
    Yes,
    AfterBackslash,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Position {
    Envelope,
    /// Between two entries.
    List(Expect),
    /// In an entry that is an object, a list or a string.
    Composite,
    /// In an entry that is a number or a word.
    Scalar,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Expect {
    EntryOrEnd,
    Entry,
    CommaOrEnd,
}

/// The part of the present entry that came with earlier pieces.
#[derive(Default)]
struct PartialEntry {
    json: Vec<u8>,
    is_cut: bool,
}

impl PartialEntry {
    fn append(&mut self, part: &[u8]) {
        let room = MAX_ENTRY_BYTES - self.json.len().min(MAX_ENTRY_BYTES);
        self.is_cut |= part.len() > room;
        self.json.extend_from_slice(&part[..part.len().min(room)]);
    }
}

impl Splitter {
    /// Cuts the list that is the value of `key`, at most `deepest` objects deep.
    pub(crate) fn new(key: &'static str, deepest: usize) -> Self {
        Self {
            key,
            deepest,
            envelope: Vec::new(),
            position: Position::Envelope,
            depth: 0,
            entry_depth: 0,
            string: InString::No,
            last_string: Vec::new(),
            list_is_next: false,
            lists: 0,
            entry: PartialEntry::default(),
        }
    }

    /// The document without the entries.
    pub(crate) fn into_envelope(self) -> Vec<u8> {
        self.envelope
    }

    /// Bytes that are kept at the moment.
    #[cfg(test)]
    fn kept(&self) -> usize {
        self.envelope.len() + self.entry.json.len() + self.last_string.len()
    }

    /// Takes in the next bytes of the document and hands over each entry that ends in them.
    ///
    /// # Errors
    /// [`SplitError`], or what `take` says: then nothing more is to come.
    pub(crate) fn feed<E: From<SplitError>>(
        &mut self,
        piece: &[u8],
        take: &mut dyn FnMut(RawEntry<'_>) -> Result<(), E>,
    ) -> Result<(), E> {
        let mut at = 0;
        while at < piece.len() {
            at = match self.position {
                Position::Envelope => self.envelope(piece, at)?,
                Position::List(expect) => self.list(piece, at, expect)?,
                Position::Composite => self.composite(piece, at, take)?,
                Position::Scalar => self.scalar(piece, at, take)?,
            };
        }
        Ok(())
    }

    /// Reads on in the envelope, up to the list or the end of the piece.
    fn envelope(&mut self, piece: &[u8], start: usize) -> Result<usize, SplitError> {
        let mut at = start;
        while at < piece.len() && self.position == Position::Envelope {
            self.envelope_byte(piece[at])?;
            at += 1;
        }
        if self.envelope.len() + (at - start) > MAX_ENVELOPE_BYTES {
            return Err(SplitError::LargeEnvelope);
        }
        self.envelope.extend_from_slice(&piece[start..at]);
        Ok(at)
    }

    fn envelope_byte(&mut self, byte: u8) -> Result<(), SplitError> {
        match self.string {
            InString::AfterBackslash => self.string = InString::Yes,
            InString::Yes => match byte {
                b'\\' => self.string = InString::AfterBackslash,
                b'"' => self.string = InString::No,
                _ if self.depth <= self.deepest && self.last_string.len() < MAX_KEY_BYTES => {
                    self.last_string.push(byte);
                }
                _ => {}
            },
            InString::No => {
                let list_is_next = std::mem::take(&mut self.list_is_next);
                match byte {
                    b'"' => {
                        self.string = InString::Yes;
                        self.last_string.clear();
                    }
                    b':' => {
                        let is_within = (1..=self.deepest).contains(&self.depth);
                        self.list_is_next = is_within && self.last_string == self.key.as_bytes();
                    }
                    b'[' if list_is_next => {
                        self.lists += 1;
                        self.position = Position::List(Expect::EntryOrEnd);
                        if self.lists > 1 {
                            return Err(SplitError::TwoLists);
                        }
                    }
                    b'{' | b'[' => self.depth += 1,
                    b'}' | b']' => self.depth = self.depth.saturating_sub(1),
                    b' ' | b'\t' | b'\r' | b'\n' => self.list_is_next = list_is_next,
                    _ => {}
                }
            }
        }
        Ok(())
    }

    /// Reads one byte between two entries.
    fn list(&mut self, piece: &[u8], at: usize, expect: Expect) -> Result<usize, SplitError> {
        match (piece[at], expect) {
            (b' ' | b'\t' | b'\r' | b'\n', _) => {}
            (b']', Expect::EntryOrEnd | Expect::CommaOrEnd) => {
                self.envelope.push(b']');
                self.position = Position::Envelope;
            }
            (b',', Expect::CommaOrEnd) => self.position = Position::List(Expect::Entry),
            (_, Expect::CommaOrEnd) | (b',' | b']', _) => return Err(SplitError::Separators),
            (first, Expect::EntryOrEnd | Expect::Entry) => {
                self.position =
                    if matches!(first, b'{' | b'[' | b'"') { Position::Composite } else { Position::Scalar };
                self.entry_depth = 0;
                // Its first byte is read again, as part of it.
                return Ok(at);
            }
        }
        Ok(at + 1)
    }

    /// Reads on in an entry with brackets or quotes, up to its end or that of the piece.
    fn composite<E: From<SplitError>>(
        &mut self,
        piece: &[u8],
        start: usize,
        take: &mut dyn FnMut(RawEntry<'_>) -> Result<(), E>,
    ) -> Result<usize, E> {
        for (at, byte) in piece.iter().enumerate().skip(start) {
            match self.string {
                InString::AfterBackslash => self.string = InString::Yes,
                InString::Yes => match byte {
                    b'\\' => self.string = InString::AfterBackslash,
                    b'"' => self.string = InString::No,
                    _ => continue,
                },
                InString::No => match byte {
                    b'"' => self.string = InString::Yes,
                    b'{' | b'[' => self.entry_depth += 1,
                    b'}' | b']' => self.entry_depth = self.entry_depth.saturating_sub(1),
                    _ => continue,
                },
            }
            if self.entry_depth == 0 && self.string == InString::No {
                self.end_entry(piece, start..at + 1, take)?;
                return Ok(at + 1);
            }
        }
        self.entry.append(&piece[start..]);
        Ok(piece.len())
    }

    /// Reads on in a number or a word, up to what follows it or the end of the piece.
    fn scalar<E: From<SplitError>>(
        &mut self,
        piece: &[u8],
        start: usize,
        take: &mut dyn FnMut(RawEntry<'_>) -> Result<(), E>,
    ) -> Result<usize, E> {
        let is_end = |byte: &u8| matches!(byte, b',' | b']' | b' ' | b'\t' | b'\r' | b'\n');
        let Some(length) = piece[start..].iter().position(is_end) else {
            self.entry.append(&piece[start..]);
            return Ok(piece.len());
        };
        self.end_entry(piece, start..start + length, take)?;
        Ok(start + length)
    }

    fn end_entry<E>(
        &mut self,
        piece: &[u8],
        rest: Range<usize>,
        take: &mut dyn FnMut(RawEntry<'_>) -> Result<(), E>,
    ) -> Result<(), E> {
        self.position = Position::List(Expect::CommaOrEnd);
        if self.entry.json.is_empty() && rest.len() <= MAX_ENTRY_BYTES {
            return take(RawEntry { json: &piece[rest], is_cut: false });
        }
        self.entry.append(&piece[rest]);
        let PartialEntry { json, is_cut } = std::mem::take(&mut self.entry);
        take(RawEntry { json: &json, is_cut })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::*;

    const KEY: &str = "clusters";

    /// What comes of a document that comes in pieces of `length` bytes: the envelope and the entries.
    fn cut(document: &[u8], length: usize) -> Result<(String, Vec<String>), SplitError> {
        let (mut splitter, mut entries) = (Splitter::new(KEY, 2), Vec::new());
        for piece in document.chunks(length) {
            splitter.feed::<SplitError>(piece, &mut |entry| {
                entries.push(String::from_utf8_lossy(entry.json).into_owned());
                Ok(())
            })?;
        }
        Ok((String::from_utf8_lossy(&splitter.into_envelope()).into_owned(), entries))
    }

    #[test]
    fn entries_are_cut_out_whatever_the_pieces() {
        for (document, envelope, entries) in [
            (r#"{"clusters":[]}"#, r#"{"clusters":[]}"#, vec![]),
            (
                r#"{"a":1,"clusters" : [ {"b":"]}\""} ,7, "x,]" ,[[1]] ],"c":{}}"#,
                r#"{"a":1,"clusters" : [],"c":{}}"#,
                vec![r#"{"b":"]}\""}"#, "7", r#""x,]""#, "[[1]]"],
            ),
            (r#"{"w":{"clusters":[null]}}"#, r#"{"w":{"clusters":[]}}"#, vec!["null"]),
            // Too deep, a text that only has the name, and a value that is no list.
            (r#"{"v":{"w":{"clusters":[1]}}}"#, r#"{"v":{"w":{"clusters":[1]}}}"#, vec![]),
            (r#"{"a":"clusters","b":[1]}"#, r#"{"a":"clusters","b":[1]}"#, vec![]),
            (r#"["clusters",[1]]"#, r#"["clusters",[1]]"#, vec![]),
            (r#"{"clusters":{"a":[1]}}"#, r#"{"clusters":{"a":[1]}}"#, vec![]),
            // Broken ones stay broken.
            (r#"{"clusters":[{"a":1"#, r#"{"clusters":["#, vec![]),
            (r#"{"clusters":[1]]"#, r#"{"clusters":[]]"#, vec!["1"]),
            (r#"{"clusters":[{"a":1],{"b":2}]}"#, r#"{"clusters":[]}"#, vec![r#"{"a":1]"#, r#"{"b":2}"#]),
        ] {
            for length in [1, 2, 3, 7, 1000] {
                let expected = (envelope.to_owned(), entries.iter().map(|entry| (*entry).to_owned()).collect());
                assert_eq!(cut(document.as_bytes(), length), Ok(expected), "{document} in pieces of {length}");
            }
        }
    }

    #[test]
    fn what_is_no_list_is_an_error() {
        for (document, error) in [
            (r#"{"clusters":[1 2]}"#, SplitError::Separators),
            (r#"{"clusters":[,1]}"#, SplitError::Separators),
            (r#"{"clusters":[1,]}"#, SplitError::Separators),
            (r#"{"clusters":[{}{}]}"#, SplitError::Separators),
            (r#"{"clusters":[1],"clusters":[2]}"#, SplitError::TwoLists),
        ] {
            assert_eq!(cut(document.as_bytes(), 1), Err(error), "{document}");
        }
    }

    #[test]
    fn little_is_kept_of_much() {
        let mut splitter = Splitter::new(KEY, 2);
        let (mut most, mut lengths) = (0, Vec::new());
        let pieces = [b"{\"clusters\":[{\"a\":[".to_vec()].into_iter();
        let pieces = pieces.chain(std::iter::repeat_n(b"0,".repeat(5000), 1000)).chain([b"0]},{}]}".to_vec()]);
        for piece in pieces {
            splitter
                .feed::<SplitError>(&piece, &mut |entry| {
                    lengths.push((entry.json.len(), entry.is_cut));
                    Ok(())
                })
                .unwrap();
            most = most.max(splitter.kept());
        }
        assert_eq!(lengths, [(MAX_ENTRY_BYTES, true), (2, false)]);
        assert!(most <= MAX_ENTRY_BYTES + 100, "{most}");
        let large = format!(r#"{{"a":[{}0],"clusters":[]}}"#, "0,".repeat(MAX_ENVELOPE_BYTES));
        assert_eq!(cut(large.as_bytes(), 1000), Err(SplitError::LargeEnvelope));
    }

    fn value() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            "[a-z\"\\\\\\]\\[{},: \u{e9}]{0,12}".prop_map(Value::from),
        ];
        leaf.prop_recursive(3, 20, 4, |inner| {
            prop_oneof![
                proptest::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
                proptest::collection::btree_map("[a-z\"{]{0,6}", inner, 0..4).prop_map(|map| json!(map)),
            ]
        })
    }

    proptest! {
        /// Of every document with a list the same entries are cut that a parser finds, and the rest is left.
        #[test]
        fn it_finds_what_a_parser_finds(entries in proptest::collection::vec(value(), 0..5), beside in value(), length in 1_usize..40) {
            let document = json!({ "beside": beside, "clusters": entries });
            let Ok((envelope, cut)) = cut(document.to_string().as_bytes(), length) else { return Ok(()) };
            // `beside` can hold a list of that name too.
            if beside.get(KEY).is_none() {
                let cut: Vec<Value> = cut.iter().map(|entry| serde_json::from_str(entry).unwrap()).collect();
                prop_assert_eq!(cut, entries);
                let envelope: Value = serde_json::from_str(&envelope).unwrap();
                prop_assert_eq!(envelope, json!({ "beside": beside, "clusters": [] }));
            }
        }

        /// Noise never panics, and the pieces make no difference.
        #[test]
        fn pieces_make_no_difference(noise in "[\\[\\]{}\",:0-9a \\\\]{0,80}", length in 1_usize..10) {
            let document = format!("{{\"clusters\":[{noise}");
            prop_assert_eq!(cut(document.as_bytes(), length), cut(document.as_bytes(), 1000));
        }
    }
}
