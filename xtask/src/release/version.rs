//! One version for the tag, the package and the chart, or nothing is published.

use anyhow::{Context as _, bail};
use delivery::chart;
use serde::Deserialize;

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Chart {
    version: String,
    app_version: String,
}

/// The version that the package, the chart and the tag agree on.
///
/// # Errors
/// When they do not, or the chart cannot be read.
pub(super) fn agreed(tag: Option<&str>) -> anyhow::Result<String> {
    let path = chart::folder().join("Chart.yaml");
    let text = std::fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
    let Chart { version, app_version } = serde_saphyr::from_str(&text).with_context(|| path.display().to_string())?;
    let found = [
        ("Cargo.toml", env!("CARGO_PKG_VERSION")),
        ("version of Chart.yaml", &version),
        ("appVersion of Chart.yaml", &app_version),
    ];
    agree(tag, &found)
}

fn agree(tag: Option<&str>, found: &[(&str, &str)]) -> anyhow::Result<String> {
    let tagged = tag.map(|tag| ("the tag", tag.strip_prefix('v').unwrap_or(tag)));
    let all: Vec<(&str, &str)> = tagged.into_iter().chain(found.iter().copied()).collect();
    match all.first() {
        Some((_, version)) if all.iter().all(|(_, other)| other == version) => Ok((*version).to_owned()),
        _ => {
            let told: Vec<String> = all.iter().map(|(what, version)| format!("{what} has {version}")).collect();
            bail!("the versions differ: {}", told.join(", "))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_agree_or_nothing_is_published() {
        let found = [("Cargo.toml", "1.2.0"), ("version of Chart.yaml", "1.2.0")];
        assert_eq!(agree(None, &found).unwrap(), "1.2.0");
        assert_eq!(agree(Some("v1.2.0"), &found).unwrap(), "1.2.0");
        assert_eq!(
            agree(Some("v1.2.1"), &found).unwrap_err().to_string(),
            "the versions differ: the tag has 1.2.1, Cargo.toml has 1.2.0, version of Chart.yaml has 1.2.0"
        );
        assert!(agree(None, &[("a", "1"), ("b", "2")]).is_err());
    }

    #[test]
    fn the_versions_of_this_repository_agree() {
        assert_eq!(agreed(None).unwrap(), env!("CARGO_PKG_VERSION"));
    }
}
