//! `cargo xtask gitops`: brings live objects into every state there is, and checks that kstatus (as `helm --wait` and Flux
//! use it) and Argo CD, with the health checks of examples/argocd, make of each what docs/gitops.md says.

mod evaluators;
mod examples;
mod flushes;
mod references;
mod scenes;
mod syncs;
mod table;
mod world;

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Instant;

use clap::Args;
use futures::future::join_all;
use kube::api::DynamicObject;

use self::evaluators::{EvaluatorError, Health, evaluate};
use self::examples::ExampleError;
use self::table::{Kind, Row, TableError};
use self::world::{World, WorldError};
use crate::demo::operator::{self, Operator, OperatorError};
use crate::output::{Style, say, step};
use crate::root;

/// The page with the tables.
const PAGE: &str = "docs/gitops.md";
/// How many lines of the operator's log an error shows.
const LOG_LINES: usize = 25;

/// Brings an object of each kind into each of its states, on a real API server and with fake clouds, and compares what
/// kstatus and Argo CD make of it with the tables in docs/gitops.md.
#[derive(Debug, Args)]
pub struct Arguments {
    /// Write every object as it was evaluated to this folder, one YAML file each
    #[arg(long, value_name = "FOLDER")]
    record: Option<PathBuf>,
}

/// Why the states are not as the page says.
#[derive(Debug, thiserror::Error)]
pub enum GitopsError {
    /// The runtime.
    #[error("cannot prepare: {0}")]
    Prepare(#[from] io::Error),
    /// A file cannot be read or written.
    #[error("{}: {source}", path.display())]
    File {
        /// The file or folder.
        path: PathBuf,
        /// The operating system's answer.
        source: io::Error,
    },
    /// The page is not as it should be.
    #[error("{PAGE}: {0}")]
    Table(#[from] TableError),
    /// The page does not mention a state.
    #[error("{PAGE} has no row for {0}")]
    NoRow(String),
    /// The surroundings.
    #[error(transparent)]
    World(#[from] WorldError),
    /// The operator.
    #[error(transparent)]
    Operator(#[from] OperatorError),
    /// The examples.
    #[error(transparent)]
    Examples(#[from] ExampleError),
    /// The evaluators.
    #[error(transparent)]
    Evaluator(#[from] EvaluatorError),
    /// An object cannot be written.
    #[error("cannot write an object as YAML: {0}")]
    Yaml(#[from] serde_saphyr::SerializeError),
    /// Something differs.
    #[error("{} of {rows} rows of {PAGE} do not hold:\n  {}", differences.len(), differences.join("\n  "))]
    Differs {
        /// Number of rows.
        rows: usize,
        /// What was expected and found, for each that differs.
        differences: Vec<String>,
    },
}

/// Checks the tables.
///
/// # Errors
/// When anything does not come up, or a row does not hold. By then all is torn down.
pub fn main(arguments: &Arguments) -> Result<(), GitopsError> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(run(arguments.record.as_deref()))
}

async fn run(record: Option<&Path>) -> Result<(), GitopsError> {
    let rows = table::parse(&read(&root().join(PAGE))?)?;
    // Said and built first: the objects do not keep their states for ever.
    evaluate(&[]).await?;
    step("Building the operator");
    let program = operator::build().await?;
    step("Starting etcd, kube-apiserver and the clouds");
    let world = World::open().await?;
    let started = Instant::now();
    let collected = perform(&world, &program, &rows).await;
    world.close().await;
    let Collected { objects, mut differences } = collected?;
    if let Some(folder) = record {
        write(folder, &objects)?;
    }
    step("What kstatus and Argo CD make of them");
    differences.extend(compare(&rows, &objects).await?);
    if differences.is_empty() {
        let seconds = started.elapsed().as_secs();
        say(format_args!("All {} rows of {PAGE} hold, after {seconds} s.", rows.len()));
        Ok(())
    } else {
        Err(GitopsError::Differs { rows: rows.len(), differences })
    }
}

/// The objects by kind and name, as they were in their states; and the states that did not come about.
struct Collected {
    objects: BTreeMap<String, DynamicObject>,
    differences: Vec<String>,
}

async fn perform(world: &World, program: &Path, rows: &[Row]) -> Result<Collected, GitopsError> {
    for example in examples::objects(root())? {
        world.would_accept(&example).await?;
    }
    let mut seen: Vec<DynamicObject> = scenes::fresh(world).await?.into();
    step(format_args!("Bringing objects into {} states", rows.len()));
    let mut operator = world.start_operator(program, &[])?;
    let outcomes = tokio::select! {
        outcomes = bring_about(world, rows) => outcomes,
        error = operator.ended() => Err(error.into()),
    };
    if outcomes.as_ref().map_or(true, |outcomes| outcomes.iter().any(Result::is_err)) {
        keep_log(&operator);
    }
    operator.stop().await?;
    let mut differences = Vec::new();
    for outcome in outcomes? {
        match outcome {
            Ok(object) => seen.push(object),
            Err(not_reached @ WorldError::NotReached { .. }) => differences.push(not_reached.to_string()),
            Err(error) => return Err(error.into()),
        }
    }
    scenes::change(world).await?;
    for kind in scenes::POLLED {
        let row = row_of(rows, kind, scenes::CHANGED)?;
        seen.push(world.shows(kind, scenes::CHANGED, &row.shown).await?);
    }
    seen.push(without_config_maps(world, program, rows).await?);
    let objects = seen.into_iter().filter_map(|object| Some((table::key_of(&object)?, object))).collect();
    Ok(Collected { objects, differences })
}

/// Brings about the state that takes an operator with another flag.
async fn without_config_maps(world: &World, program: &Path, rows: &[Row]) -> Result<DynamicObject, GitopsError> {
    let row = row_of(rows, Kind::Reference, scenes::MAPS_OFF)?;
    let mut operator = world.start_operator(program, &[scenes::MAPS_OFF_FLAG])?;
    let shown = async {
        scenes::maps_off(world).await?;
        world.shows(row.kind, &row.name, &row.shown).await
    };
    let outcome = tokio::select! {
        shown = shown => shown.map_err(GitopsError::from),
        error = operator.ended() => Err(error.into()),
    };
    operator.stop().await?;
    outcome
}

/// Brings all states about that need a running operator, at once.
async fn bring_about(world: &World, rows: &[Row]) -> Result<Vec<Result<DynamicObject, WorldError>>, GitopsError> {
    scenes::outage(world).await?;
    scenes::unchanged(world).await?;
    let mut pending = Vec::new();
    for scene in scenes::all() {
        let row = row_of(rows, scene.kind, scene.name)?;
        pending.push((row, Some(scene.set)));
    }
    for kind in scenes::POLLED {
        for name in scenes::OUTAGE {
            pending.push((row_of(rows, kind, name)?, None));
        }
    }
    let outcomes = pending.into_iter().map(|(row, set)| async move {
        if let Some(set) = set {
            set(world).await?;
        }
        world.shows(row.kind, &row.name, &row.shown).await
    });
    Ok(join_all(outcomes).await)
}

fn row_of<'a>(rows: &'a [Row], kind: Kind, name: &str) -> Result<&'a Row, GitopsError> {
    let row = rows.iter().find(|row| row.kind == kind && row.name == name);
    row.ok_or_else(|| GitopsError::NoRow(table::key(kind, name)))
}

/// Evaluates the objects; the differences are sentences.
async fn compare(rows: &[Row], objects: &BTreeMap<String, DynamicObject>) -> Result<Vec<String>, GitopsError> {
    let there: Vec<(&Row, &DynamicObject)> =
        rows.iter().filter_map(|row| Some((row, objects.get(&row.key())?))).collect();
    let found = evaluate(&there.iter().map(|(_, object)| *object).collect::<Vec<_>>()).await?;
    let mut differences = Vec::new();
    for ((row, object), health) in there.iter().zip(&found) {
        let difference = difference(row, object, health);
        show(row, health, difference.is_none());
        differences.extend(difference);
    }
    Ok(differences)
}

fn difference(row: &Row, object: &DynamicObject, health: &Health) -> Option<String> {
    let shown = table::Shown::of(row.kind, object);
    let found = (health.kstatus.status.as_str(), health.argocd.status.as_str());
    (shown != row.shown || found != (&row.kstatus, &row.argocd)).then(|| {
        format!(
            "{}: the page says {} | {} | {}, found {shown} | {} ({}) | {} ({})",
            row.key(),
            row.shown,
            row.kstatus,
            row.argocd,
            found.0,
            health.kstatus.message,
            found.1,
            health.argocd.message,
        )
    })
}

fn show(row: &Row, health: &Health, holds: bool) {
    let style = Style::of_stdout();
    let mark = if holds { style.good("✔") } else { style.bold("✘") };
    let (kstatus, argocd) = (&health.kstatus.status, &health.argocd.status);
    let (kind, name) = (row.kind.as_str(), &row.name);
    say(format_args!("{mark} {kind:<18} {name:<20} {:<34} {kstatus:<11} {argocd:<11}", row.shown.ready));
}

/// The operator's log goes with the API server's folder.
fn keep_log(operator: &Operator) {
    say(format_args!("The last lines of the operator's log:\n{}", operator::tail(operator.log(), LOG_LINES)));
}

fn read(path: &Path) -> Result<String, GitopsError> {
    std::fs::read_to_string(path).map_err(|source| GitopsError::File { path: path.to_owned(), source })
}

/// Writes the objects to a folder, a file each, without what only the API server cares for.
fn write(folder: &Path, objects: &BTreeMap<String, DynamicObject>) -> Result<(), GitopsError> {
    let failed = |path: &Path| {
        let path = path.to_owned();
        move |source| GitopsError::File { path, source }
    };
    std::fs::create_dir_all(folder).map_err(failed(folder))?;
    for (key, object) in objects {
        let mut object = object.clone();
        object.metadata.managed_fields = None;
        let path = folder.join(format!("{}.yaml", key.to_lowercase().replace(' ', "-")));
        std::fs::write(&path, serde_saphyr::to_string(&object)?).map_err(failed(&path))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn the_page_and_the_scenes_have_the_same_states() {
        let rows = table::parse(&read(&root().join(PAGE)).unwrap()).unwrap();
        let on_the_page: BTreeSet<String> = rows.iter().map(Row::key).collect();
        let states = scenes::states();
        let brought_about: BTreeSet<String> = states.iter().map(|(kind, name)| table::key(*kind, name)).collect();
        assert_eq!(on_the_page, brought_about);
        assert_eq!(states.len(), brought_about.len(), "every state is brought about once");
    }
}
