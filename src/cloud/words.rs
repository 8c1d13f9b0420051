//! The clouds' own words: open sets, passed on unchanged, with predicates where the operator has to understand one.

/// What a provider's state word means for a user of the Redis.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum StateMeaning {
    /// It serves requests.
    Serving,
    /// It is on its way to another state by itself.
    Transitional,
    /// It does not serve and does not change by itself.
    Down,
    /// A word this version does not know.
    Unknown,
}

/// The meaning of a state word of either cloud, compared without case.
///
/// KakaoCloud (`status` of a cluster): Init, Creating, Running, Modifying, Scaling(horizontal), Scaling(vertical), …
/// NCP (`cloudDBInstanceStatusName`): running, settingup, creating, deleting, deleted, pending, recovering, …
#[must_use]
pub fn state_meaning(word: &str) -> StateMeaning {
    let word = word.trim().to_ascii_lowercase();
    // "Scaling(horizontal)" and whatever else comes in parentheses is a kind of scaling.
    let stem = word.split('(').next().unwrap_or_default().trim_end();
    match stem {
        "running" => StateMeaning::Serving,
        "init" | "creating" | "modifying" | "scaling" | "deleting" | "settingup" | "pending" | "recovering"
        | "restarting" | "shuttingdown" | "upgrading" | "downgrading" => StateMeaning::Transitional,
        "stopped" | "deleted" => StateMeaning::Down,
        _ => StateMeaning::Unknown,
    }
}

/// Whether the provider's state word says that the Redis serves requests (`Running` / `running`).
#[must_use]
pub fn is_serving(word: &str) -> bool {
    state_meaning(word) == StateMeaning::Serving
}

/// Whether the provider's state word says that a change is under way.
#[must_use]
pub fn is_transitional(word: &str) -> bool {
    state_meaning(word) == StateMeaning::Transitional
}

/// Whether the text can be an ID of either cloud: letters, digits, dashes and underscores, at most 128 of them.
#[must_use]
pub fn is_identifier(text: &str) -> bool {
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
    (1..=128).contains(&text.len()) && text.bytes().all(fits)
}

/// Text from outside as one line: control characters and runs of blanks become one blank, and at most `max_chars` stay.
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

/// Control characters and the invisible ones that reorder or hide text in a terminal.
fn is_unprintable(character: char) -> bool {
    character.is_control()
        || matches!(character, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{2069}' | '\u{feff}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn states_of_both_clouds() {
        for (word, meaning) in [
            ("Running", StateMeaning::Serving),
            ("running", StateMeaning::Serving),
            ("Init", StateMeaning::Transitional),
            ("Scaling(horizontal)", StateMeaning::Transitional),
            ("Scaling(vertical)", StateMeaning::Transitional),
            ("settingup", StateMeaning::Transitional),
            ("stopped", StateMeaning::Down),
            ("Runnin", StateMeaning::Unknown),
            ("not running", StateMeaning::Unknown),
            ("", StateMeaning::Unknown),
        ] {
            assert_eq!(state_meaning(word), meaning, "{word}");
        }
    }

    #[test]
    fn one_line_is_one_line_within_the_limit() {
        assert_eq!(one_line("a\r\n\tb\u{0}\u{202e}c  ", 10), "a b c");
        assert_eq!(one_line("abcdef", 6), "abcdef");
        assert_eq!(one_line("abcdefg", 6), "abcde…");
        assert_eq!(one_line("ab cd", 3), "ab…");
        assert_eq!(one_line("\n", 3), "");
        assert_eq!(one_line("abc", 0), "");
    }

    proptest::proptest! {
        #[test]
        fn one_line_never_exceeds_and_never_controls(text in ".{0,400}", max in 0_usize..50) {
            let line = one_line(&text, max);
            assert!(line.chars().count() <= max);
            assert!(!line.chars().any(char::is_control));
        }
    }
}
