//! Golden renders. That of the default has every object; that of another case only what is different from it, so that one
//! sees what a value does.

use std::path::PathBuf;

use anyhow::{Context as _, ensure};
use harness::terminal::say;

use super::cases::folder;
use super::cases::{self, ChartCase, DEFAULT};
use super::objects::ChartObject;

/// Compares the renders with the golden ones, or writes these.
///
/// # Errors
/// With the names of all that differ.
pub(super) fn check(rendered: &[ChartCase], bless: bool) -> anyhow::Result<()> {
    let default = cases::default(rendered)?;
    let mut differing = Vec::new();
    for case in rendered {
        let text = golden(case, default);
        let path = path(&case.name);
        if std::fs::read_to_string(&path).is_ok_and(|have| have == text) {
            continue;
        }
        if bless {
            std::fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))?;
            say(format_args!("wrote {}", path.display()));
        } else {
            differing.push(case.name.clone());
        }
    }
    for (name, path) in cases::files("cases", ".rendered.yaml")? {
        if rendered.iter().any(|case| case.name == name) {
            continue;
        }
        if bless {
            std::fs::remove_file(&path).with_context(|| format!("cannot remove {}", path.display()))?;
        } else {
            differing.push(format!("{name} (has no values)"));
        }
    }
    ensure!(
        differing.is_empty(),
        "what the chart renders has changed: {}\nlook at it with `cargo xtask chart --bless` and `git diff`, and commit it if it is meant",
        differing.join(", ")
    );
    Ok(())
}

fn path(name: &str) -> PathBuf {
    folder("cases").join(format!("{name}.rendered.yaml"))
}

fn golden(case: &ChartCase, default: &ChartCase) -> String {
    let mut text =
        format!("# What tests/cases/{}.values.yaml renders, written by cargo xtask chart --bless.\n", case.name);
    let shown: Vec<&ChartObject> = if case.name == DEFAULT {
        case.objects.iter().collect()
    } else {
        text.push_str("# What is as in default.rendered.yaml is left out.\n");
        for gone in default.objects.iter().filter(|object| find(case, object).is_none()) {
            text.push_str(&format!("# Gone: {}\n", gone.id));
        }
        let is_new = |object: &&ChartObject| find(default, object).is_none_or(|before| before.text != object.text);
        case.objects.iter().filter(is_new).collect()
    };
    for object in shown {
        text.push_str("---\n");
        text.push_str(&abridged(object));
        text.push('\n');
    }
    text
}

fn find<'a>(case: &'a ChartCase, object: &ChartObject) -> Option<&'a ChartObject> {
    case.objects.iter().find(|other| other.id == object.id)
}

/// The text without long parts that are files of the repository themselves.
fn abridged(object: &ChartObject) -> String {
    let (from, instead) = match object.id.kind.as_str() {
        "CustomResourceDefinition" => ("\nspec:", "\n# spec: that of crds/"),
        "ConfigMap" => ("\ndata:", "\n# data: files/dashboard.json"),
        _ => return object.text.clone(),
    };
    match object.text.split_once(from) {
        Some((before, _)) => format!("{before}{instead}"),
        None => object.text.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn case(name: &str, text: &str) -> ChartCase {
        ChartCase::read(name.to_owned(), text).unwrap()
    }

    #[test]
    fn only_what_a_value_changes_is_shown() {
        let object =
            |name: &str, more: &str| format!("---\napiVersion: v1\nkind: A\nmetadata: {{name: {name}}}\n{more}");
        let default = case(DEFAULT, &[object("same", ""), object("gone", ""), object("other", "a: 1\n")].concat());
        let changed = case("x", &[object("same", ""), object("other", "a: 2\n"), object("new", "")].concat());
        let text = golden(&changed, &default);
        assert!(text.contains("# Gone: v1 A gone\n"), "{text}");
        let shown: Vec<&str> = text.lines().filter_map(|line| line.strip_prefix("metadata: ")).collect();
        assert_eq!(shown, ["{name: new}", "{name: other}"]);
        assert_eq!(golden(&default, &default).matches("---\n").count(), 3);
    }

    #[test]
    fn long_parts_are_left_out() {
        let text = "apiVersion: v1\nkind: CustomResourceDefinition\nmetadata:\n  name: a\nspec:\n  b: c\n";
        let crd = case(DEFAULT, text);
        assert!(golden(&crd, &crd).ends_with("  name: a\n# spec: that of crds/\n"));
    }
}
