//! Text from outside (a cloud, a tenant, the Kubernetes API) on its way to where people read it. A leaf.
//!
//! [`one_line`] is for what enters a sentence, [`printable`] for what is shown as data, [`escape`] for lines of the log.

use std::borrow::Cow;

/// What stands in data for a character that cannot be shown.
const REPLACEMENT: char = '\u{fffd}';

/// Whether a character controls a terminal, or hides or reorders the text around it: Unicode's categories Cc, Cf, Zl and Zp.
#[must_use]
pub fn is_unprintable(character: char) -> bool {
    match character {
        ' '..='~' => false,
        '\0'..='\u{9f}' => true,
        // Soft hyphen, Arabic and Syriac format characters, zero-width characters, separators and overrides of the direction.
        '\u{ad}' | '\u{600}'..='\u{605}' | '\u{61c}' | '\u{6dd}' | '\u{70f}' | '\u{890}'..='\u{891}' | '\u{8e2}' => {
            true
        }
        '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}' => true,
        // Interlinear annotations, Kaithi, hieroglyphs, shorthand and music.
        '\u{fff9}'..='\u{fffb}' | '\u{110bd}' | '\u{110cd}' | '\u{13430}'..='\u{1343f}' => true,
        '\u{1bca0}'..='\u{1bca3}' | '\u{1d173}'..='\u{1d17a}' => true,
        // Tags: a whole alphabet that nobody sees.
        '\u{e0000}'..='\u{e007f}' => true,
        _ => false,
    }
}

/// Text as one line: unprintable characters and runs of blanks become one blank, and at most `max_chars` stay.
#[must_use]
pub fn one_line(text: &str, max_chars: usize) -> String {
    let mut line = String::new();
    let mut length = 0;
    let mut blank = false;
    for character in text.chars() {
        if is_unprintable(character) || character.is_whitespace() {
            blank = length > 0;
            continue;
        }
        let needed = 1 + usize::from(blank);
        if length + needed > max_chars {
            truncate_with_ellipsis(&mut line, length, max_chars);
            break;
        }
        if blank {
            line.push(' ');
        }
        line.push(character);
        length += needed;
        blank = false;
    }
    line
}

fn truncate_with_ellipsis(line: &mut String, length: usize, max_chars: usize) {
    if length == max_chars {
        line.pop();
    }
    if max_chars > 0 {
        line.push('…');
    }
}

/// A sentence as one line of at most `max_bytes`.
#[must_use]
pub fn sentence(text: &str, max_bytes: usize) -> String {
    cut(one_line(text, usize::MAX), max_bytes)
}

/// The text, at most `max_bytes` of it, with an ellipsis where it is cut.
#[must_use]
pub fn cut(mut text: String, max_bytes: usize) -> String {
    if text.len() > max_bytes {
        text.truncate(text.floor_char_boundary(max_bytes.saturating_sub('…'.len_utf8())));
        text.push('…');
    }
    text
}

/// The text as a whole sentence: with one full stop at its end, unless it was cut there.
#[must_use]
pub fn full_stop(text: &str) -> String {
    let text = text.trim_end_matches('.');
    if text.ends_with('…') { text.to_owned() } else { format!("{text}.") }
}

/// A name or word as data: each unprintable character is replaced by U+FFFD, so that two different texts do not become one by
/// losing what makes the difference.
#[must_use]
pub fn printable(text: &str) -> Cow<'_, str> {
    if text.chars().any(is_unprintable) {
        text.chars().map(|character| if is_unprintable(character) { REPLACEMENT } else { character }).collect()
    } else {
        Cow::Borrowed(text)
    }
}

/// Text for a line of the log: unprintable characters become escapes such as `\n` and `\u{202e}`.
///
/// # Errors
/// When `out` cannot be written to.
pub fn escape(text: &str, out: &mut dyn std::fmt::Write) -> std::fmt::Result {
    let mut rest = text;
    while let Some(at) = rest.find(is_unprintable) {
        let (plain, tail) = rest.split_at(at);
        out.write_str(plain)?;
        let mut characters = tail.chars();
        if let Some(character) = characters.next() {
            write!(out, "{}", character.escape_default())?;
        }
        rest = characters.as_str();
    }
    out.write_str(rest)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_line_is_one_line_within_the_limit() {
        assert_eq!(one_line("a\r\n\tb\u{0}\u{202e}c  ", 10), "a b c");
        assert_eq!(one_line("abcdef", 6), "abcdef");
        assert_eq!(one_line("abcdefg", 6), "abcde…");
        assert_eq!(one_line("ab cd", 3), "ab…");
        assert_eq!(one_line("\n", 3), "");
        assert_eq!(one_line("abc", 0), "");
    }

    #[test]
    fn data_keeps_its_length_and_its_differences() {
        assert_eq!(printable("장바구니 🛒"), "장바구니 🛒");
        assert_eq!(printable("a\nb\u{200b}"), "a\u{fffd}b\u{fffd}");
        assert_ne!(printable("car\u{200b}ts"), "carts");
    }

    #[test]
    fn the_log_shows_what_there_was() {
        let mut line = String::new();
        escape("a\nb\u{1b}[31m\u{202e}\u{0}장 \"q\"", &mut line).unwrap();
        assert_eq!(line, r#"a\nb\u{1b}[31m\u{202e}\u{0}장 "q""#);
    }

    #[test]
    fn a_sentence_has_one_full_stop_at_its_end() {
        for (text, wanted) in [("no way", "no way."), ("no way.", "no way."), ("no…", "no…"), ("", ".")] {
            assert_eq!(full_stop(text), wanted);
        }
    }

    #[test]
    fn cuts_are_between_characters() {
        assert_eq!(cut("abc".to_owned(), 3), "abc");
        let short = cut("가".repeat(100), 20);
        assert!(short.len() <= 20 && short.ends_with('…'), "{short}");
        assert_eq!(sentence("  no\nway", 100), "no way");
    }

    proptest::proptest! {
        #[test]
        fn nothing_unprintable_is_left(text in ".{0,400}", max in 0_usize..50) {
            let line = one_line(&text, max);
            assert!(line.chars().count() <= max);
            let mut escaped = String::new();
            escape(&text, &mut escaped).unwrap();
            for shown in [line, printable(&text).into_owned(), escaped, sentence(&text, 100)] {
                assert!(!shown.chars().any(is_unprintable), "{shown:?}");
            }
        }
    }
}
