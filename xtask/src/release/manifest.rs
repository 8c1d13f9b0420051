//! Texts that name the image as it is built here, made to name the published one.

use super::ReleaseError;
use crate::root;

/// Of `text`, the file at `path`, the one line that is `before` (but for the blanks in front), as `after`.
///
/// # Errors
/// When there is not exactly one: then the file has changed in a way that somebody has to look at.
pub fn with_line(path: &str, text: &str, before: &str, after: &str) -> Result<String, ReleaseError> {
    let count = text.lines().filter(|line| line.trim_start() == before).count();
    if count != 1 {
        let reason = format!("there are {count} lines {before:?} to put {after:?} in the place of, instead of one");
        return Err(ReleaseError::File { path: root().join(path), reason });
    }
    let changed = text.lines().map(|line| match line.strip_suffix(before) {
        Some(blanks) if blanks.trim().is_empty() => format!("{blanks}{after}\n"),
        _ => format!("{line}\n"),
    });
    Ok(changed.collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_line_is_changed_and_keeps_its_place() {
        let text = "a:\n  image: x:1\n  other: image: x:1\n";
        let changed = with_line("f", text, "image: x:1", "image: y@sha256:0").unwrap();
        assert_eq!(changed, "a:\n  image: y@sha256:0\n  other: image: x:1\n");
        for text in ["", "image: x:1\n- image: x:1\n image: x:1\n"] {
            assert!(with_line("f", text, "image: x:1", "y").is_err(), "{text:?}");
        }
    }
}
