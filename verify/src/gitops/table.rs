//! The tables of docs/gitops.md: what GitOps tools make of each state. They are read, not repeated, so that what users
//! read is what is checked.

use std::fmt;

use anyhow::{Context as _, bail};
use kube::ResourceExt as _;
use kube::api::DynamicObject;
use serde_json::Value;

/// What stands in a cell for nothing.
const NOTHING: &str = "–";
/// First cell of the tables' heads.
const HEAD: &str = "case";
/// Every table's columns.
const COLUMNS: usize = 7;

/// One of the three kinds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum ObjectKind {
    /// RedisClusterRef.
    Reference,
    /// RedisParameterSync.
    Sync,
    /// RedisFlushRequest.
    Flush,
}

impl ObjectKind {
    /// All three.
    pub(super) const ALL: [Self; 3] = [Self::Reference, Self::Sync, Self::Flush];

    /// The kind's name.
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Reference => "RedisClusterRef",
            Self::Sync => "RedisParameterSync",
            Self::Flush => "RedisFlushRequest",
        }
    }
}

/// What an object shows of itself, in the words of the tables.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct ShownState {
    /// The state, the phases of the clusters, or the phase.
    pub status: String,
    /// Status and reason of the condition Ready.
    pub ready: String,
    /// What else the tools look at.
    pub also: String,
}

impl ShownState {
    /// What an object shows.
    pub(super) fn of(kind: ObjectKind, object: &DynamicObject) -> Self {
        let status = &object.data["status"];
        let text = |value: &Value| value.as_str().map(str::to_owned);
        let condition = |type_: &str| {
            let mut conditions = status["conditions"].as_array().into_iter().flatten();
            conditions.find(|condition| condition["type"] == type_)
        };
        let is = |type_: &str, value: &str| condition(type_).is_some_and(|condition| condition["status"] == value);
        let own = match kind {
            ObjectKind::Reference => text(&status["state"]),
            ObjectKind::Sync => {
                let clusters = status["clusters"].as_array().into_iter().flatten();
                let mut phases: Vec<String> = clusters.filter_map(|cluster| text(&cluster["phase"])).collect();
                phases.dedup();
                (!phases.is_empty()).then(|| phases.join(", "))
            }
            ObjectKind::Flush => text(&status["phase"]),
        };
        let ready = condition("Ready").map(|ready| {
            format!("{} {}", ready["status"].as_str().unwrap_or_default(), ready["reason"].as_str().unwrap_or_default())
        });
        // A deletion that a finalizer holds back counts as a new generation; nothing in the spec is new then.
        let deleted = object.metadata.deletion_timestamp.is_some();
        let unobserved = status["observedGeneration"].as_i64() != object.metadata.generation;
        let also: Vec<&str> = [
            (unobserved && !deleted, "not observed yet"),
            (deleted, "being deleted"),
            (is("Reconciling", "True"), "Reconciling"),
            (is("Stalled", "True"), "Stalled"),
            (is("Synced", "False"), "not Synced"),
        ]
        .into_iter()
        .filter_map(|(holds, word)| holds.then_some(word))
        .collect();
        let or_nothing = |text: Option<String>| text.unwrap_or_else(|| NOTHING.to_owned());
        let also = (!also.is_empty()).then(|| also.join(", "));
        Self { status: or_nothing(own), ready: or_nothing(ready), also: or_nothing(also) }
    }
}

impl fmt::Display for ShownState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} | {} | {}", self.status, self.ready, self.also)
    }
}

/// A row: a state, and what is to be made of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct StateRow {
    /// The kind.
    pub kind: ObjectKind,
    /// Name of the case, unique for the kind, and of the object that is brought into it.
    pub name: String,
    /// What such an object shows.
    pub shown: ShownState,
    /// Its kstatus.
    pub kstatus: String,
    /// Its health in Argo CD.
    pub argocd: String,
}

impl StateRow {
    /// Kind and name.
    pub(super) fn key(&self) -> String {
        key(self.kind, &self.name)
    }
}

/// Kind and name, for people.
pub(super) fn key(kind: ObjectKind, name: &str) -> String {
    format!("{} {name}", kind.as_str())
}

/// Kind and name of an object, if it is of the three kinds.
pub(super) fn key_of(object: &DynamicObject) -> Option<String> {
    let types = object.types.as_ref()?;
    let kind = ObjectKind::ALL.into_iter().find(|kind| kind.as_str() == types.kind)?;
    Some(key(kind, &object.name_any()))
}

/// The rows of a page: every table whose first column is called `case`, of the kind that the heading above it names.
///
/// # Errors
/// When a row is malformed or doubled, or a kind has none.
pub(super) fn parse(page: &str) -> anyhow::Result<Vec<StateRow>> {
    let mut rows: Vec<StateRow> = Vec::new();
    let (mut kind, mut inside) = (None, false);
    for (number, line) in page.lines().enumerate() {
        if let Some(heading) = line.strip_prefix('#') {
            let heading = heading.trim_start_matches('#').trim();
            kind = ObjectKind::ALL.into_iter().find(|kind| kind.as_str() == heading);
        }
        let Some(cells) = cells(line) else {
            inside = false;
            continue;
        };
        let (Some(kind), Some(first)) = (kind, cells.first()) else { continue };
        match (inside, first.as_str()) {
            (false, HEAD) => inside = true,
            (true, first) if !first.starts_with("--") => {
                let row = row(kind, &cells).with_context(|| cells_wanted(number + 1, cells.len()))?;
                if rows.iter().any(|other| (other.kind, &other.name) == (row.kind, &row.name)) {
                    bail!("there are two rows for {}", row.key());
                }
                rows.push(row);
            }
            _ => {}
        }
    }
    match ObjectKind::ALL.into_iter().find(|kind| !rows.iter().any(|row| row.kind == *kind)) {
        Some(kind) => bail!("there is no table of the states of {}", kind.as_str()),
        None => Ok(rows),
    }
}

fn cells_wanted(line: usize, found: usize) -> String {
    format!("line {line}: a row of a table of states has {COLUMNS} cells, this one has {found}")
}

/// The cells of a table's line, without code marks.
fn cells(line: &str) -> Option<Vec<String>> {
    let line = line.trim().strip_prefix('|')?.strip_suffix('|')?;
    Some(line.split('|').map(|cell| cell.trim().replace('`', "")).collect())
}

fn row(kind: ObjectKind, cells: &[String]) -> Option<StateRow> {
    let [name, _what, status, ready, also, kstatus, argocd] = cells else { return None };
    let shown = ShownState { status: status.clone(), ready: ready.clone(), also: also.clone() };
    Some(StateRow { kind, name: name.clone(), shown, kstatus: kstatus.clone(), argocd: argocd.clone() })
}

#[cfg(test)]
mod tests {
    use managed_redis_operator::api::flush_request::FlushPhase;
    use managed_redis_operator::api::parameter_sync::SyncPhase;
    use serde_json::json;

    use super::*;

    fn page() -> String {
        std::fs::read_to_string(harness::root().join(super::super::PAGE)).unwrap()
    }

    const HEADS: &str = "| case | what | status | Ready | also | kstatus | Argo CD |\n|---|---|---|---|---|---|---|\n";

    fn small(row: &str) -> String {
        let table = |kind: ObjectKind| {
            format!("### {}\n\n{HEADS}| a | x | – | `True Y` | – | Current | Healthy |\n", kind.as_str())
        };
        ObjectKind::ALL.map(table).join("\n") + row
    }

    #[test]
    fn tables_are_read() {
        let rows = parse(&small("")).unwrap();
        assert_eq!(rows.iter().map(StateRow::key).collect::<Vec<_>>(), ObjectKind::ALL.map(|kind| key(kind, "a")));
        assert_eq!(rows[0].shown.to_string(), "– | True Y | –");
        assert_eq!((rows[0].kstatus.as_str(), rows[0].argocd.as_str()), ("Current", "Healthy"));
    }

    #[test]
    fn what_is_wrong_with_a_table_is_said() {
        let wrong = |page: &str| parse(page).unwrap_err().to_string();
        assert_eq!(wrong(&small("| b | x | – |\n")), cells_wanted(18, 3));
        let twice = small("| a | y | – | – | – | Failed | Degraded |\n");
        assert_eq!(wrong(&twice), "there are two rows for RedisFlushRequest a");
        assert_eq!(wrong("### RedisClusterRef\n"), "there is no table of the states of RedisClusterRef");
        let elsewhere = small("\n## Flux\n\n| b | x |\n|---|---|\n| c | d |\n");
        assert_eq!(parse(&elsewhere).unwrap().len(), 3, "other tables are none of its business");
    }

    #[test]
    fn the_page_has_every_phase() {
        let rows = parse(&page()).unwrap();
        let shows =
            |kind: ObjectKind, phase: &str| rows.iter().any(|row| row.kind == kind && row.shown.status == phase);
        for phase in FlushPhase::ALL {
            assert!(shows(ObjectKind::Flush, phase.as_str()), "{phase:?}");
        }
        use SyncPhase::{Applying, BackingOff, GaveUp, InSync, NotFound, Waiting};
        for phase in [InSync, Waiting, Applying, BackingOff, GaveUp, NotFound] {
            assert!(shows(ObjectKind::Sync, &format!("{phase:?}")), "{phase:?}");
        }
    }

    #[test]
    fn an_object_is_described_in_the_words_of_the_tables() {
        let object: DynamicObject = serde_json::from_value(json!({
            "apiVersion": "managedredis.dev/v1alpha1", "kind": "RedisClusterRef",
            "metadata": { "name": "a", "generation": 2, "deletionTimestamp": "2026-05-01T00:00:00Z" },
            "status": { "observedGeneration": 1, "state": "Running", "conditions": [
                { "type": "Ready", "status": "Unknown", "reason": "ObservationStale" },
                { "type": "Reconciling", "status": "True" }, { "type": "Synced", "status": "False" } ] },
        }))
        .unwrap();
        let shown = ShownState::of(ObjectKind::Reference, &object).to_string();
        assert_eq!(shown, "Running | Unknown ObservationStale | being deleted, Reconciling, not Synced");
        assert_eq!(key_of(&object).as_deref(), Some("RedisClusterRef a"));
        let fresh: DynamicObject =
            serde_json::from_value(json!({ "metadata": { "name": "b", "generation": 1 } })).unwrap();
        assert_eq!(ShownState::of(ObjectKind::Sync, &fresh).to_string(), "– | – | not observed yet");
    }
}
