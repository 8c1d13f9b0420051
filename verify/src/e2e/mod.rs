//! `cargo xtask e2e`: the chart on real nodes, from installation to uninstallation, as a sequence of steps.

mod arguments;
mod availability;
mod cloud;
mod cluster;
mod flush;
mod install;
mod lifecycle;
mod logs;
mod namespace;
mod release;
mod rights;
mod until;

use std::path::PathBuf;
use std::time::Instant;

use anyhow::{Context as _, anyhow, bail, ensure};
use harness::describe;
use harness::signals::interrupted;
use harness::terminal::{Style, say, step};

pub(crate) use self::arguments::Arguments;
use self::cluster::TestCluster;
use self::logs::Logs;
use self::release::Role;

/// Runs the tests.
///
/// # Errors
/// With the first step that fails.
pub(crate) fn main(arguments: &Arguments) -> anyhow::Result<()> {
    let runtime =
        tokio::runtime::Builder::new_multi_thread().enable_all().build().context("cannot prepare the tests")?;
    runtime.block_on(run(arguments))
}

async fn run(arguments: &Arguments) -> anyhow::Result<()> {
    let mut interrupted = std::pin::pin!(interrupted()?);
    let started = Instant::now();
    step("Images");
    let (images, archives) = tokio::select! {
        built = cluster::build_images(arguments) => built?,
        () = &mut interrupted => bail!("interrupted"),
    };
    step("Cluster");
    let cluster = tokio::select! {
        cluster = TestCluster::start(arguments, images) => cluster?,
        () = &mut interrupted => bail!("interrupted"),
    };
    let outcome = tokio::select! {
        outcome = perform(&cluster, &archives, arguments.only.as_deref()) => outcome,
        () = &mut interrupted => Err(anyhow!("interrupted")),
    };
    cluster.stop().await;
    outcome?;
    say(format_args!("All good after {} s.", started.elapsed().as_secs()));
    Ok(())
}

async fn perform(cluster: &TestCluster, archives: &[PathBuf], only: Option<&str>) -> anyhow::Result<()> {
    if let Some(own) = &cluster.own {
        for archive in archives {
            own.import_image(archive).await?;
        }
    }
    let logs = Logs::follow(&cluster.client)?;
    let outcome = steps(cluster, &logs, only).await;
    if outcome.is_err() {
        logs::diagnose(cluster, Some(&logs)).await;
        say(format_args!("The operator's logs are in {}", logs.folder().display()));
    }
    outcome
}

/// The sequence. Each step finds what those before have left.
async fn steps(cluster: &TestCluster, logs: &Logs, only: Option<&str>) -> anyhow::Result<()> {
    step("Steps");
    let cloud = cluster.cloud().await?;
    let previous = release::values(&cloud, &cluster.images.previous, Role::Previous);
    let values = release::values(&cloud, &cluster.images.operator, Role::Present);
    let always = Steps { only: None };
    always.run("helm install --wait, restricted", install::install(cluster, &previous)).await?;
    always.run("the examples", install::examples(cluster, &cloud)).await?;
    flush::create_reference(cluster).await?;
    let some = Steps { only };
    some.run("metrics", install::metrics(cluster)).await?;
    some.run("leader killed, flush accepted", availability::killed_while_accepted(cluster, &cloud)).await?;
    some.run("leader killed, flush being sent", availability::killed_while_sending(cluster, &cloud)).await?;
    some.run("helm upgrade in the middle of a flush", availability::upgraded_while_flushing(cluster, &cloud)).await?;
    some.run("drain", availability::drained(cluster)).await?;
    some.run("helm upgrade with another CRD", lifecycle::crd_changed(cluster, &values)).await?;
    some.run("no right was missed", async { enough(logs) }).await?;
    some.run("watchNamespaces", lifecycle::watch_namespaces(cluster, &values)).await?;
    // The release watches one namespace now, and so leaves those alone in which rights are missing.
    some.run("each right is needed", rights::each_needed(cluster, &cloud)).await?;
    some.run("all namespaces again", lifecycle::all_namespaces(cluster, &values)).await?;
    let again = lifecycle::installed_again(cluster, &cloud, &values);
    some.run("helm uninstall in the middle of a flush", again).await?;
    some.run("helm uninstall", lifecycle::uninstalled(cluster)).await?;
    always.run("tidying up", lifecycle::tidied_up(cluster)).await
}

/// Runs steps, or those that are wanted.
struct Steps<'a> {
    only: Option<&'a str>,
}

impl Steps<'_> {
    /// A step, on a line with its outcome and how long it took.
    async fn run(&self, name: &str, work: impl Future<Output = anyhow::Result<String>>) -> anyhow::Result<()> {
        if self.only.is_some_and(|only| !name.contains(only)) {
            return Ok(());
        }
        let style = Style::of_stdout();
        let started = Instant::now();
        let outcome = work.await;
        let seconds = started.elapsed().as_secs_f64();
        match outcome {
            Ok(told) => {
                say(format_args!("{} {name:<40} {seconds:>5.1} s  {}", style.good("✔"), style.faint(&told)));
                Ok(())
            }
            Err(error) => {
                say(format_args!("✘ {name:<40} {seconds:>5.1} s  {}", describe(&error)));
                Err(error)
            }
        }
    }
}

/// No request of the operator was refused in all this time, in which its rights were not changed.
fn enough(logs: &Logs) -> anyhow::Result<String> {
    let (lines, files) = logs.count()?;
    // One of each version and pod at least.
    ensure!(files >= 4, "only {files} logs were followed");
    let forbidden = logs.forbidden()?;
    ensure!(forbidden.is_empty(), "requests were refused:\n{}", forbidden.join("\n"));
    Ok(format!("nothing forbidden in {lines} lines of {files} containers"))
}
