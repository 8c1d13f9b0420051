//! `cargo xtask chart`: the Helm chart, as Helm renders it and a real API server takes it.
//!
//! 1. Helm: strict lint; a golden render for each case of `tests/cases`; values it must refuse (`tests/refused`).
//! 2. Renders and manifests: the CRDs are those of `crds/`; `deploy/` is the same as the chart's default.
//! 3. API server: takes every object of every case in a strict server-side dry run.
//! 4. Releases: installed, upgraded from an older CRD, uninstalled and adopted; the flush policy at work.

mod cases;
mod golden;
mod manifests;
mod objects;
mod policy;
mod release;
mod server;
#[cfg(test)]
mod tests;

use std::time::Instant;

use anyhow::{Context as _, ensure};
use clap::Args;
use testbed::{ApiServer, Options};

use self::cases::ChartCase;
use delivery::helm::Helm;
use harness::terminal::{say, step};

/// Checks the Helm chart and the manifests of deploy/ with Helm and a real API server.
#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// Write the golden renders of tests/cases instead of comparing them
    #[arg(long)]
    bless: bool,
}

/// Checks the chart.
///
/// # Errors
/// At the first thing that is not as it should be; golden renders are all compared first.
pub(crate) fn main(arguments: &Arguments) -> anyhow::Result<()> {
    let runtime =
        tokio::runtime::Builder::new_multi_thread().enable_all().build().context("cannot prepare the checks")?;
    runtime.block_on(run(arguments.bless))
}

async fn run(bless: bool) -> anyhow::Result<()> {
    let started = Instant::now();
    let helm = Helm::find().await?;
    step("Helm: lint, golden renders, refused values");
    let rendered = render(&helm).await?;
    golden::check(&rendered, bless)?;
    let refused = cases::check_refused(&helm).await?;
    ensure!(!rendered.is_empty() && refused > 0, "the chart's tests have no cases, or nothing to refuse");
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
async fn render(helm: &Helm) -> anyhow::Result<Vec<ChartCase>> {
    let mut rendered = Vec::new();
    for (name, values) in cases::files("cases", ".values.yaml")? {
        helm.lint(&values).await?;
        let text = helm.template(&values).await?;
        rendered.push(ChartCase::read(name, &text)?);
    }
    Ok(rendered)
}
