//! Values in one form for both clouds: times in UTC, memory in MiB, no `"-"` and `""`. Words stay unchanged.
//!
//! What serde attributes use is in [`super::lenient`].

use std::borrow::Cow;
use std::cmp::Ordering;

use jiff::Timestamp;
use jiff::civil::{Date, DateTime};
use jiff::tz::TimeZone;

use crate::text::{one_line, printable};

const BYTES_PER_MIB: i64 = 1 << 20;
const MIB_PER_GIB: f64 = 1024.0;
/// 0001-01-01T00:00:00Z. The last time that a [`Timestamp`] can hold is in the year 9999.
const FIRST_STORABLE: Timestamp = Timestamp::constant(-62_135_596_800, 0);
/// Integers of at least this size are milliseconds: as seconds it is the year 5138.
const FIRST_MILLISECONDS: i64 = 100_000_000_000;

/// Longest name, word, ID or address that is believed, in bytes: none of either API comes near it, and what an object shows has
/// to fit into the object.
pub(super) const MAX_TEXT_BYTES: usize = 512;
/// Longest description, in bytes.
pub(super) const MAX_PROSE_BYTES: usize = 4096;

/// Text that says something: `""`, blanks and `"-"` are an absent value in both APIs, and what is absurdly long is none.
#[must_use]
pub fn text(value: String) -> Option<String> {
    says_something(&value, MAX_TEXT_BYTES).then(|| shown(value))
}

/// As [`text`], for what people write at length.
#[must_use]
pub fn prose(value: String) -> Option<String> {
    says_something(&value, MAX_PROSE_BYTES).then(|| shown(value))
}

/// Whether the text can be an ID of either cloud: letters, digits, dashes and underscores, at most 128 of them.
#[must_use]
pub fn is_identifier(text: &str) -> bool {
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
    (1..=128).contains(&text.len()) && text.bytes().all(fits)
}

/// A state or a role, cut to 64 characters because it is a column of a table.
#[must_use]
pub fn word(value: String) -> String {
    const MAX_CHARS: usize = 64;
    match value.char_indices().nth(MAX_CHARS) {
        None => value,
        Some(_) => one_line(&value, MAX_CHARS),
    }
}

/// Words stay unchanged, except for characters that would control a terminal.
fn shown(value: String) -> String {
    match printable(&value) {
        Cow::Borrowed(_) => value,
        Cow::Owned(replaced) => replaced,
    }
}

/// Whether a text is neither empty nor `"-"` nor longer than any that is believed.
pub(super) fn says_something(value: &str, max_bytes: usize) -> bool {
    value.len() <= max_bytes && !matches!(value.trim(), "" | "-")
}

/// Whether the API server can store the time: RFC 3339 has the years 1 to 9999 only, written with four digits. (The year 0 is
/// in RFC 3339 too, but no parser of the cluster's programs reads it.)
fn is_storable(time: Timestamp) -> bool {
    time >= FIRST_STORABLE
}

/// A point in time from RFC 3339, from ISO 8601 with an offset without colon (NCP: `2018-12-28T17:28:00+0900`), or from a
/// date or date-time without offset, which is taken as UTC. A time before the year 1 is absent, for no object can hold it.
#[must_use]
pub fn parse_time(value: &str) -> Option<Timestamp> {
    let value = value.trim();
    let with_offset = || value.parse::<Timestamp>().ok();
    let basic_offset = || Timestamp::strptime("%Y-%m-%dT%H:%M:%S%z", value).ok();
    let utc = |at: DateTime| at.to_zoned(TimeZone::UTC).ok().map(|zoned| zoned.timestamp());
    with_offset()
        .or_else(basic_offset)
        .or_else(|| value.parse::<DateTime>().ok().and_then(utc))
        .or_else(|| value.parse::<Date>().ok().and_then(|date| utc(date.to_datetime(jiff::civil::Time::midnight()))))
        .filter(|time| is_storable(*time))
}

/// A point in time from seconds or milliseconds since the epoch, told apart by size; none before the year 1.
#[must_use]
pub fn time_from_epoch(value: i64) -> Option<Timestamp> {
    let time = if value.unsigned_abs() >= FIRST_MILLISECONDS.unsigned_abs() {
        Timestamp::from_millisecond(value)
    } else {
        Timestamp::from_second(value)
    };
    time.ok().filter(|time| is_storable(*time))
}

/// MiB from bytes, rounded down.
#[must_use]
pub const fn mib_from_bytes(bytes: i64) -> i64 {
    bytes / BYTES_PER_MIB
}

/// MiB from GiB, rounded; none for a negative or absurd size.
#[must_use]
pub fn mib_from_gib(gib: f64) -> Option<i64> {
    let mib = (gib * MIB_PER_GIB).round();
    // Up to 2^53 every integer is exact.
    #[expect(clippy::cast_possible_truncation, reason = "the range was just checked")]
    (0.0..=9_007_199_254_740_992.0).contains(&mib).then_some(mib as i64)
}

/// Engine and version of NCP's `"REDIS 4.0.2"`: `Redis` and `4.0.2`. A lone version has no engine and the other way round.
#[must_use]
pub fn split_engine(value: &str) -> (Option<String>, Option<String>) {
    let is_version = |word: &&str| word.starts_with(|first: char| first.is_ascii_digit());
    let words: Vec<&str> = value.split_whitespace().collect();
    let version = words.iter().copied().find(is_version).map(str::to_owned);
    let name = words.iter().copied().take_while(|word| !is_version(word)).collect::<Vec<_>>().join(" ");
    let engine = if name.eq_ignore_ascii_case("redis") { Some("Redis".to_owned()) } else { text(name) };
    (engine, version)
}

/// Orders versions by their numbers: 6.2.10 is newer than 6.2.9. Parts that are no numbers count as words.
#[must_use]
pub fn compare_versions(left: &str, right: &str) -> Ordering {
    let parts = |version: &str| -> Vec<(u64, String)> {
        version
            .split(['.', '-', '+'])
            .map(|part| part.parse().map_or_else(|_| (0, part.to_owned()), |number| (number, String::new())))
            .collect()
    };
    let (mut left, mut right) = (parts(left), parts(right));
    let length = left.len().max(right.len());
    // 7.2 and 7.2.0 are the same version.
    left.resize(length, (0, String::new()));
    right.resize(length, (0, String::new()));
    left.cmp(&right)
}

/// The newest of a list of versions.
#[must_use]
pub fn newest_version(versions: &[String]) -> Option<&str> {
    versions.iter().map(String::as_str).max_by(|left, right| compare_versions(left, right))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_in_every_form_that_was_seen() {
        for (value, expected) in [
            ("2026-03-06T02:35:13Z", Some("2026-03-06T02:35:13Z")),
            ("2026-03-06T02:35:13.123456Z", Some("2026-03-06T02:35:13.123456Z")),
            ("2026-03-06T11:35:13+09:00", Some("2026-03-06T02:35:13Z")),
            ("2026-03-06T11:35:13+0900", Some("2026-03-06T02:35:13Z")),
            ("2026-03-06T02:35:13", Some("2026-03-06T02:35:13Z")),
            ("2026-03-06 02:35:13", Some("2026-03-06T02:35:13Z")),
            ("2026-03-06", Some("2026-03-06T00:00:00Z")),
            ("", None),
            ("-", None),
            ("yesterday", None),
            ("2026-13-06T02:35:13Z", None),
            ("0001-01-01T00:00:00Z", Some("0001-01-01T00:00:00Z")),
            ("0000-12-31T23:59:59Z", None),
            ("-000001-06-01T00:00:00Z", None),
            ("+010000-01-01T00:00:00Z", None),
            ("9999-12-30T21:59:59Z", Some("9999-12-30T21:59:59Z")),
            ("9999-12-31T23:59:59Z", None),
        ] {
            assert_eq!(parse_time(value).map(|time| time.to_string()).as_deref(), expected, "{value:?}");
        }
    }

    #[test]
    fn epochs_are_told_apart_by_size() {
        let expected = "2026-03-06T02:35:13Z".parse().ok();
        assert_eq!(time_from_epoch(1_772_764_513), expected);
        assert_eq!(time_from_epoch(1_772_764_513_000), expected);
        assert_eq!(time_from_epoch(i64::MAX), None);
        assert_eq!(time_from_epoch(i64::MIN), None);
        assert_eq!(time_from_epoch(-62_135_596_800_001), None, "the year 0, in milliseconds");
        assert_eq!(
            time_from_epoch(-62_135_596_800_000).map(|time| time.to_string()).as_deref(),
            Some("0001-01-01T00:00:00Z")
        );
    }

    #[test]
    fn sizes_become_mib() {
        assert_eq!(mib_from_bytes(3_221_225_472), 3072);
        assert_eq!(mib_from_gib(16.0), Some(16_384));
        assert_eq!(mib_from_gib(0.5), Some(512));
        for absurd in [-1.0, f64::NAN, f64::INFINITY, 1e300] {
            assert_eq!(mib_from_gib(absurd), None, "{absurd}");
        }
    }

    #[test]
    fn engines_are_split() {
        for (value, engine, version) in [
            ("REDIS 4.0.2", Some("Redis"), Some("4.0.2")),
            ("redis 7.0", Some("Redis"), Some("7.0")),
            ("5.0.6", None, Some("5.0.6")),
            ("REDIS", Some("Redis"), None),
            ("Valkey Cluster 8.1", Some("Valkey Cluster"), Some("8.1")),
            ("", None, None),
        ] {
            let owned = (engine.map(str::to_owned), version.map(str::to_owned));
            assert_eq!(split_engine(value), owned, "{value:?}");
        }
    }

    #[test]
    fn versions_are_ordered_by_number() {
        let versions = ["6.2.5", "7.2.6", "7.2.11", "5.0.6", "7.0.15"].map(str::to_owned);
        assert_eq!(newest_version(&versions), Some("7.2.11"));
        assert_eq!(newest_version(&[]), None);
        assert_eq!(compare_versions("7.2", "7.2.0"), Ordering::Equal);
        assert_eq!(compare_versions("10.0", "9.9"), Ordering::Greater);
    }

    #[test]
    fn empty_words_are_absent() {
        for (value, expected) in [("", None), ("  ", None), ("-", None), ("a-b", Some("a-b")), (" a ", Some(" a "))] {
            assert_eq!(text(value.to_owned()).as_deref(), expected, "{value:?}");
            assert_eq!(prose(value.to_owned()).as_deref(), expected, "{value:?}");
        }
    }

    #[test]
    fn what_controls_a_terminal_is_replaced() {
        for value in ["a\nb", "a\u{1b}b", "a\u{202e}b", "a\u{200b}b", "a\0b"] {
            assert_eq!(text(value.to_owned()).as_deref(), Some("a\u{fffd}b"), "{value:?}");
            assert_eq!(prose(value.to_owned()).as_deref(), Some("a\u{fffd}b"), "{value:?}");
        }
    }

    #[test]
    fn a_word_fits_into_a_column() {
        assert_eq!(word("Scaling(horizontal)".to_owned()), "Scaling(horizontal)");
        assert_eq!(word("가".repeat(64)), "가".repeat(64));
        assert_eq!(word("가".repeat(65)), format!("{}…", "가".repeat(63)));
    }

    #[test]
    fn what_is_absurdly_long_is_absent() {
        let long = |bytes: usize| "x".repeat(bytes);
        assert_eq!(text(long(MAX_TEXT_BYTES)).map(|text| text.len()), Some(MAX_TEXT_BYTES));
        assert_eq!(text(long(MAX_TEXT_BYTES + 1)), None);
        assert_eq!(prose(long(MAX_PROSE_BYTES)).map(|text| text.len()), Some(MAX_PROSE_BYTES));
        assert_eq!(prose(long(MAX_PROSE_BYTES + 1)), None);
    }

    proptest::proptest! {
        #[test]
        fn nothing_panics(value in "\\PC{0,40}", other in "[0-9.a+-]{0,20}", number in proptest::num::i64::ANY) {
            let _ = (parse_time(&value), split_engine(&value), time_from_epoch(number));
            assert_eq!(compare_versions(&value, &other), compare_versions(&other, &value).reverse());
        }
    }
}
