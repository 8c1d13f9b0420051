//! The lists of kinds in the roles, of the chart and of `deploy/`: a line that ends with one of the marks below is written from the
//! CRDs, so that a new kind is in the roles without an edit.

use managed_redis_operator::api::crds;

/// The files with such lines, from the repository's root.
pub(super) const FILES: [&str; 4] = [
    "charts/managed-redis-operator/templates/rbac.yaml",
    "charts/managed-redis-operator/templates/user-roles.yaml",
    "deploy/rbac.yaml",
    "deploy/user-roles.yaml",
];

/// All kinds.
const EVERY: &str = "every kind";
/// The statuses of all kinds.
const STATUSES: &str = "the status of every kind";
/// All kinds but the one whose resource follows.
const ALL_BUT: &str = "every kind but ";

/// The text, with its lists brought up to date.
pub(super) fn update(text: &str) -> String {
    let kinds: Vec<String> = crds().into_iter().map(|crd| crd.spec.names.plural).collect();
    text.split_inclusive('\n').map(|line| line_of(line, &kinds).unwrap_or_else(|| line.to_owned())).collect()
}

/// A line `resources: [...] # MARK` with the resources that its mark asks for; none if it has no mark.
fn line_of(line: &str, kinds: &[String]) -> Option<String> {
    let (list, mark) = line.split_once("] # ")?;
    let (before, _) = list.split_once('[')?;
    let mark = mark.trim_end();
    let resources: Vec<String> = match (mark, mark.strip_prefix(ALL_BUT)) {
        (EVERY, _) => kinds.to_vec(),
        (STATUSES, _) => kinds.iter().map(|kind| format!("{kind}/status")).collect(),
        (_, Some(except)) => kinds.iter().filter(|kind| *kind != except).cloned().collect(),
        _ => return None,
    };
    Some(format!("{before}[{}] # {mark}\n", resources.join(", ")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_lines_with_a_mark_change() {
        let kinds = ["as", "bs"].map(str::to_owned);
        for (line, wanted) in [
            ("  resources: [x] # every kind\n", Some("  resources: [as, bs] # every kind\n")),
            (
                "resources: [] # the status of every kind\n",
                Some("resources: [as/status, bs/status] # the status of every kind\n"),
            ),
            ("resources: [as, bs] # every kind but bs\n", Some("resources: [as] # every kind but bs\n")),
            ("  resources: [bs]\n", None),
            ("  verbs: [get] # whatever\n", None),
        ] {
            assert_eq!(line_of(line, &kinds).as_deref(), wanted);
        }
    }

    #[test]
    fn every_file_has_a_list() {
        for file in FILES {
            let text = std::fs::read_to_string(harness::root().join(file)).unwrap();
            assert!(text.lines().any(|line| line.contains(&format!("] # {EVERY}"))), "{file}");
        }
    }
}
