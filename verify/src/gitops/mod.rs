//! `cargo xtask gitops`: brings live objects into every state there is, and checks that kstatus (as `helm --wait` and Flux
//! use it) and Argo CD, with the health checks of examples/argocd, make of each what docs/gitops.md says.

mod environment;
mod evaluators;
mod examples;
mod flushes;
mod references;
mod setup;
mod states;
mod syncs;
mod table;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::ExitStatus;
use std::time::Instant;

use anyhow::{Context as _, anyhow, bail};
use clap::Args;
use futures::future::join_all;
use harness::terminal::{Style, say, step};
use harness::{Operator, program, root};
use kube::api::DynamicObject;

use self::environment::{GitopsEnvironment, NotReached};
use self::evaluators::{ToolHealth, evaluate};
use self::table::{ObjectKind, StateRow};

/// The page with the tables.
const PAGE: &str = "docs/gitops.md";

/// Brings an object of each kind into each of its states, on a real API server and with fake clouds, and compares what
/// kstatus and Argo CD make of it with the tables in docs/gitops.md.
#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// Write every object as it was evaluated to this folder, one YAML file each
    #[arg(long, value_name = "FOLDER")]
    record: Option<PathBuf>,
}

/// Checks the tables.
///
/// # Errors
/// When anything does not come up, or a row does not hold. By then all is torn down.
pub(crate) fn main(arguments: &Arguments) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().context("cannot prepare")?;
    runtime.block_on(run(arguments.record.as_deref()))
}

async fn run(record: Option<&Path>) -> anyhow::Result<()> {
    let rows = table::parse(&read(&root().join(PAGE))?).context(PAGE)?;
    // Said and built first: the objects do not keep their states for ever.
    evaluate(&[]).await?;
    step("Building the operator");
    let program = program::build().await?;
    step("Starting etcd, kube-apiserver and the clouds");
    let environment = GitopsEnvironment::open().await?;
    let started = Instant::now();
    let collected = perform(&environment, &program, &rows).await;
    environment.close().await;
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
        bail!("{} of {} rows of {PAGE} do not hold:\n  {}", differences.len(), rows.len(), differences.join("\n  "))
    }
}

/// The objects by kind and name, as they were in their states; and the states that did not come about.
struct Collected {
    objects: BTreeMap<String, DynamicObject>,
    differences: Vec<String>,
}

async fn perform(environment: &GitopsEnvironment, program: &Path, rows: &[StateRow]) -> anyhow::Result<Collected> {
    for example in examples::objects(root())? {
        environment.would_accept(&example).await?;
    }
    let mut seen: Vec<DynamicObject> = states::fresh(environment).await?.into();
    step(format_args!("Bringing objects into {} states", rows.len()));
    let mut operator = environment.start_operator(program, &[])?;
    let outcomes = tokio::select! {
        outcomes = bring_about(environment, rows) => outcomes,
        status = operator.ended() => Err(ended(status)),
    };
    if outcomes.as_ref().map_or(true, |outcomes| outcomes.iter().any(Result::is_err)) {
        keep_log(&operator);
    }
    operator.stop().await?;
    let mut differences = Vec::new();
    for outcome in outcomes? {
        match outcome {
            Ok(object) => seen.push(object),
            Err(error) => differences.push(error.downcast::<NotReached>()?.to_string()),
        }
    }
    states::change(environment).await?;
    for kind in states::POLLED {
        let row = row_of(rows, kind, states::CHANGED)?;
        seen.push(environment.shows(kind, states::CHANGED, &row.shown).await?);
    }
    seen.push(without_config_maps(environment, program, rows).await?);
    let objects = seen.into_iter().filter_map(|object| Some((table::key_of(&object)?, object))).collect();
    Ok(Collected { objects, differences })
}

/// Brings about the state that takes an operator with another flag.
async fn without_config_maps(
    environment: &GitopsEnvironment,
    program: &Path,
    rows: &[StateRow],
) -> anyhow::Result<DynamicObject> {
    let row = row_of(rows, ObjectKind::Reference, states::MAPS_OFF)?;
    let mut operator = environment.start_operator(program, &[states::MAPS_OFF_FLAG])?;
    let shown = async {
        states::maps_off(environment).await?;
        environment.shows(row.kind, &row.name, &row.shown).await
    };
    let outcome = tokio::select! {
        shown = shown => shown,
        status = operator.ended() => Err(ended(status)),
    };
    operator.stop().await?;
    outcome
}

/// Brings all states about that need a running operator, at once.
async fn bring_about(
    environment: &GitopsEnvironment,
    rows: &[StateRow],
) -> anyhow::Result<Vec<anyhow::Result<DynamicObject>>> {
    states::outage(environment).await?;
    states::unchanged(environment).await?;
    let mut pending = Vec::new();
    for setup in states::all() {
        let row = row_of(rows, setup.kind, setup.name)?;
        pending.push((row, Some(setup.set)));
    }
    for kind in states::POLLED {
        for name in states::OUTAGE {
            pending.push((row_of(rows, kind, name)?, None));
        }
    }
    let outcomes = pending.into_iter().map(|(row, set)| async move {
        if let Some(set) = set {
            set(environment).await?;
        }
        environment.shows(row.kind, &row.name, &row.shown).await
    });
    Ok(join_all(outcomes).await)
}

/// The operator ended, which it should not.
fn ended(status: std::io::Result<ExitStatus>) -> anyhow::Error {
    match status {
        Ok(status) => anyhow!("the operator ended by itself ({status})"),
        Err(error) => anyhow!("cannot wait for the operator: {error}"),
    }
}

fn row_of<'a>(rows: &'a [StateRow], kind: ObjectKind, name: &str) -> anyhow::Result<&'a StateRow> {
    let row = rows.iter().find(|row| row.kind == kind && row.name == name);
    row.with_context(|| format!("{PAGE} has no row for {}", table::key(kind, name)))
}

/// Evaluates the objects; the differences are sentences.
async fn compare(rows: &[StateRow], objects: &BTreeMap<String, DynamicObject>) -> anyhow::Result<Vec<String>> {
    let there: Vec<(&StateRow, &DynamicObject)> =
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

fn difference(row: &StateRow, object: &DynamicObject, health: &ToolHealth) -> Option<String> {
    let shown = table::ShownState::of(row.kind, object);
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

fn show(row: &StateRow, health: &ToolHealth, holds: bool) {
    let style = Style::of_stdout();
    let mark = if holds { style.good("✔") } else { style.bold("✘") };
    let (kstatus, argocd) = (&health.kstatus.status, &health.argocd.status);
    let (kind, name) = (row.kind.as_str(), &row.name);
    say(format_args!("{mark} {kind:<18} {name:<20} {:<34} {kstatus:<11} {argocd:<11}", row.shown.ready));
}

/// Prints the end of the operator's log, which is lost with the API server's folder.
fn keep_log(operator: &Operator) {
    say(format_args!("The last lines of the operator's log:\n{}", operator.tail()));
}

fn read(path: &Path) -> anyhow::Result<String> {
    std::fs::read_to_string(path).with_context(|| path.display().to_string())
}

/// Writes the objects to a folder, a file each, without what only the API server cares for.
fn write(folder: &Path, objects: &BTreeMap<String, DynamicObject>) -> anyhow::Result<()> {
    std::fs::create_dir_all(folder).with_context(|| folder.display().to_string())?;
    for (key, object) in objects {
        let mut object = object.clone();
        object.metadata.managed_fields = None;
        let path = folder.join(format!("{}.yaml", key.to_lowercase().replace(' ', "-")));
        let text = serde_saphyr::to_string(&object).context("cannot write an object as YAML")?;
        std::fs::write(&path, text).with_context(|| path.display().to_string())?;
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
        let on_the_page: BTreeSet<String> = rows.iter().map(StateRow::key).collect();
        let states = states::states();
        let brought_about: BTreeSet<String> = states.iter().map(|(kind, name)| table::key(*kind, name)).collect();
        assert_eq!(on_the_page, brought_about);
        assert_eq!(states.len(), brought_about.len(), "every state is brought about once");
    }
}
