//! Wording shared by conditions, errors and events.

/// How many clusters a sentence names before it counts the rest.
const NAMED: usize = 3;

/// `a`, `a and b`, `a, b and c`, `a, b, c and 9 more`.
pub(super) fn list<S: AsRef<str>>(names: &[S]) -> String {
    let named: Vec<&str> = names.iter().take(NAMED).map(AsRef::as_ref).collect();
    match (named.as_slice(), names.len().saturating_sub(NAMED)) {
        ([], _) => String::new(),
        ([only], _) => (*only).to_owned(),
        ([head @ .., last], 0) => format!("{} and {last}", head.join(", ")),
        (all, more) => format!("{} and {more} more", all.join(", ")),
    }
}

/// A text of somebody else on one line, at most `max` bytes, without the full stop that the sentence around it has.
pub(super) fn one_line(text: &str, max: usize) -> String {
    crate::text::sentence(text, max).trim_end_matches('.').to_owned()
}

/// `1 cluster`, `12 clusters`.
pub(super) fn clusters(count: usize) -> String {
    if count == 1 { "1 cluster".to_owned() } else { format!("{count} clusters") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_name_the_first_and_count_the_rest() {
        assert_eq!(list::<&str>(&[]), "");
        assert_eq!(list(&["a"]), "a");
        assert_eq!(list(&["a", "b"]), "a and b");
        assert_eq!(list(&["a", "b", "c"]), "a, b and c");
        assert_eq!(list(&["a", "b", "c", "d", "e"]), "a, b, c and 2 more");
    }

    #[test]
    fn foreign_text_becomes_a_short_line() {
        assert_eq!(one_line("  no\nway. ", 100), "no way");
        let cut = one_line(&"가".repeat(100), 20);
        assert!(cut.len() <= 20 && cut.ends_with('…'), "{cut}");
        assert_eq!(one_line("가", 1), "…");
    }
}
