//! `cargo xtask chart`: the Helm chart, as Helm renders it and a real API server takes it.
//!
//! 1. Helm: strict lint; a golden render for each case of `tests/cases`; values it must refuse (`tests/refused`).
//! 2. Renders and manifests: the CRDs are those of `crds/`; `deploy/` is the same as the chart's default.
//! 3. API server: takes every object of every case in a strict server-side dry run.
//! 4. Releases: installed, upgraded from an older CRD, uninstalled and adopted; the flush policy at work.

mod cases;
mod golden;
pub mod helm;
mod manifests;
mod objects;
mod policy;
pub mod release;
mod server;
#[cfg(test)]
mod tests;

use std::io;
use std::path::{Path, PathBuf};
use std::time::Instant;

use clap::Args;
use testbed::{ApiServer, AssetsError, Options, TestbedError};

use self::cases::Case;
use self::helm::Helm;
use crate::generate::{CHART, GenerateError};
use crate::output::{say, step};
use crate::root;

/// Name and namespace of the release that is rendered and installed.
const RELEASE: &str = "managed-redis-operator";

/// Checks the Helm chart and the manifests of deploy/ with Helm and a real API server.
#[derive(Debug, Args)]
pub struct Arguments {
    /// Write the golden renders of tests/cases instead of comparing them
    #[arg(long)]
    bless: bool,
}

/// Why the chart is not good, or could not be checked.
#[derive(Debug, thiserror::Error)]
pub enum ChartError {
    /// The runtime.
    #[error("cannot prepare the checks: {0}")]
    Prepare(#[source] io::Error),
    /// Helm or kubectl is neither there nor can be built.
    #[error(transparent)]
    Assets(#[from] AssetsError),
    /// The API server.
    #[error(transparent)]
    Testbed(#[from] TestbedError),
    /// The API server refused something that it should not.
    #[error("the API server: {0}")]
    Kube(#[from] kube::Error),
    /// The CRDs could not be made or read.
    #[error(transparent)]
    Generate(#[from] GenerateError),
    /// A file or folder cannot be read or written.
    #[error("cannot {what} {}: {source}", path.display())]
    Io {
        /// What was tried, as a verb.
        what: &'static str,
        /// The file or folder.
        path: PathBuf,
        /// The operating system's answer.
        source: io::Error,
    },
    /// A program cannot be started.
    #[error("cannot run {program}: {source}")]
    Start {
        /// The program.
        program: &'static str,
        /// The operating system's answer.
        source: io::Error,
    },
    /// A program failed.
    #[error("{program} {arguments} failed:\n{output}")]
    Failed {
        /// The program.
        program: &'static str,
        /// Its arguments.
        arguments: String,
        /// What it printed.
        output: String,
    },
    /// A document is not YAML, or no Kubernetes object.
    #[error("{what} is no Kubernetes object: {reason}")]
    Object {
        /// Where the document is from.
        what: String,
        /// What the parser said, or what is missing.
        reason: String,
    },
    /// Golden renders differ.
    #[error(
        "what the chart renders has changed: {}\nlook at it with `cargo xtask chart --bless` and `git diff`, and commit it if it is meant",
        .0.join(", ")
    )]
    Golden(Vec<String>),
    /// The chart is not as it should be.
    #[error("{0}")]
    Wrong(String),
}

impl ChartError {
    fn io(what: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::Io { what, path, source }
    }
}

/// Fails with a sentence unless `holds`.
fn ensure(holds: bool, sentence: impl FnOnce() -> String) -> Result<(), ChartError> {
    if holds { Ok(()) } else { Err(ChartError::Wrong(sentence())) }
}

/// The chart's folder.
pub fn chart() -> PathBuf {
    root().join(CHART)
}

/// Checks the chart.
///
/// # Errors
/// At the first thing that is not as it should be; golden renders are all compared first.
pub fn main(arguments: &Arguments) -> Result<(), ChartError> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().map_err(ChartError::Prepare)?;
    runtime.block_on(run(arguments.bless))
}

async fn run(bless: bool) -> Result<(), ChartError> {
    let started = Instant::now();
    let helm = Helm::find().await?;
    step("Helm: lint, golden renders, refused values");
    let rendered = render(&helm).await?;
    golden::check(&rendered, bless)?;
    let refused = cases::check_refused(&helm).await?;
    ensure(!rendered.is_empty() && refused > 0, || "the chart's tests have no cases, or nothing to refuse".to_owned())?;
    manifests::check_crds(&rendered)?;
    manifests::check_deploy(&rendered).await?;
    say(format_args!("{} cases rendered, {refused} refused", rendered.len()));

    step("API server: every object in a strict dry run");
    let server = ApiServer::start(Options { users: policy::users(), ..Options::default() }).await?;
    let count = server::dry_run(&server, &rendered).await?;
    say(format_args!("{count} different objects accepted"));

    step("Releases: install, upgrade, uninstall, adopt, flush policy");
    let helm = helm.on(&server);
    release::check(&helm, &server).await?;
    policy::check(&helm, &server).await?;
    server.stop().await;
    say(format_args!("the chart is good, {} s", started.elapsed().as_secs()));
    Ok(())
}

/// Lints and renders every case.
async fn render(helm: &Helm) -> Result<Vec<Case>, ChartError> {
    let mut rendered = Vec::new();
    for (name, values) in cases::files("cases", ".values.yaml")? {
        helm.lint(&values).await?;
        let text = helm.template(&values).await?;
        rendered.push(Case::read(name, &text)?);
    }
    Ok(rendered)
}
