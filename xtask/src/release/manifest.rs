//! Texts that name the image as it is built here, made to name the published one.

use anyhow::bail;

use harness::root;

/// Of `text`, the file at `path`, the one line that is `before` (but for the blanks in front), as `after`.
///
/// # Errors
/// When there is not exactly one: then the file has changed, and a person has to look at it.
pub(super) fn with_line(path: &str, text: &str, before: &str, after: &str) -> anyhow::Result<String> {
    let count = text.lines().filter(|line| line.trim_start() == before).count();
    if count != 1 {
        let path = root().join(path);
        bail!(
            "{}: there are {count} lines {before:?} to put {after:?} in the place of, instead of one",
            path.display()
        );
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
