//! The table of values in the chart's README, from the comments of `values.yaml` that begin with `--` (as helm-docs has it).

use anyhow::{Context as _, bail};
use delivery::chart::CHART;
use serde_json::Value;

use super::{not_yaml, read};

const BEGIN: &str = "<!-- values: written by cargo xtask generate -->\n";
const END: &str = "<!-- end of values -->\n";

/// A value and what it is for.
#[derive(Debug, PartialEq, Eq)]
struct ValueRow {
    /// Keys from the outside inwards.
    path: Vec<String>,
    description: String,
}

/// The chart's README with its table brought up to date, and its path.
pub(super) fn readme() -> anyhow::Result<(String, String)> {
    let (path, values) = (format!("{CHART}/README.md"), format!("{CHART}/values.yaml"));
    let text = read(&values)?;
    let defaults: Value = serde_saphyr::from_str(&text).with_context(|| not_yaml(&values))?;
    let rows = rows(&text);
    if let Some(path) = undocumented(&defaults, &rows, &mut Vec::new()) {
        bail!("{values}: {path} has no comment that begins with `# -- `");
    }
    let readme = read(&path)?;
    let parts = readme.split_once(BEGIN).and_then(|(before, rest)| Some((before, rest.split_once(END)?.1)));
    let Some((before, after)) = parts else {
        bail!("{path}: has no place for the values between {BEGIN:?} and {END:?}");
    };
    Ok((path, format!("{before}{BEGIN}{}{END}{after}", table(&rows, &defaults))))
}

/// The values with a comment, in their order in the file.
fn rows(text: &str) -> Vec<ValueRow> {
    let mut rows = Vec::new();
    let mut open: Vec<(usize, String)> = Vec::new();
    let mut description: Option<String> = None;
    for line in text.lines() {
        let indent = line.len() - line.trim_start().len();
        let line = line.trim();
        if let Some(begun) = line.strip_prefix("# -- ") {
            description = Some(begun.to_owned());
        } else if let (Some(more), Some(begun)) = (line.strip_prefix("# "), description.as_mut()) {
            begun.push(' ');
            begun.push_str(more);
        } else if let Some((key, _)) = line.split_once(':').filter(|(key, _)| is_key(key)) {
            open.retain(|(outer, _)| *outer < indent);
            open.push((indent, key.to_owned()));
            if let Some(description) = description.take() {
                rows.push(ValueRow { path: open.iter().map(|(_, key)| key.clone()).collect(), description });
            }
        }
    }
    rows
}

fn is_key(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_alphanumeric())
}

/// The first value that neither it nor anything it is a part of is told about.
fn undocumented(value: &Value, rows: &[ValueRow], path: &mut Vec<String>) -> Option<String> {
    if rows.iter().any(|row| row.path == *path) {
        return None;
    }
    let Value::Object(fields) = value else { return Some(path.join(".")) };
    for (key, inner) in fields {
        path.push(key.clone());
        let found = undocumented(inner, rows, path);
        path.pop();
        if found.is_some() {
            return found;
        }
    }
    None
}

fn table(rows: &[ValueRow], defaults: &Value) -> String {
    let cell = |text: &str| text.replace('|', r"\|");
    let line = |row: &ValueRow| {
        let default = row.path.iter().fold(defaults, |value, key| &value[key.as_str()]);
        format!("| `{}` | `{}` | {} |\n", row.path.join("."), cell(&default.to_string()), cell(&row.description))
    };
    let lines: String = rows.iter().map(line).collect();
    format!("| value | default | |\n|---|---|---|\n{lines}")
}

#[cfg(test)]
mod tests {
    use super::*;

    const VALUES: &str = "# About.\na:\n  # -- First,\n  # and on\n  b: 1\n  # Not for the table.\n  c:\n    # -- Second | last\n    d: [x]\n# -- Whole\ne:\n  f: \"\"\n  g: {}\n";

    fn parsed(text: &str) -> Value {
        serde_saphyr::from_str(text).unwrap_or_default()
    }

    #[test]
    fn comments_become_rows() {
        let wanted = "| value | default | |\n|---|---|---|\n\
            | `a.b` | `1` | First, and on |\n\
            | `a.c.d` | `[\"x\"]` | Second \\| last |\n\
            | `e` | `{\"f\":\"\",\"g\":{}}` | Whole |\n";
        assert_eq!(table(&rows(VALUES), &parsed(VALUES)), wanted);
        assert_eq!(undocumented(&parsed(VALUES), &rows(VALUES), &mut Vec::new()), None);
    }

    #[test]
    fn a_value_without_a_comment_is_found() {
        let more = VALUES.replace("# -- Second | last", "#");
        assert_eq!(undocumented(&parsed(&more), &rows(&more), &mut Vec::new()).as_deref(), Some("a.c.d"));
    }
}
