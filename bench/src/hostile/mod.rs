//! What others can cost the operator, by intent or by mistake: its peak memory and CPU time with hostile clouds, with crowds of
//! objects that one tenant creates, and with clients that fill the admin port.
//!
//! Each case has an operator process, a namespace and a cloud of its own, so that the peak is that case's alone.

mod answers;
mod cloud;
mod crowds;
mod visitors;

use std::time::Duration;

use anyhow::Result;
use harness::Operator;
use harness::terminal::say;

use super::measure::{cpu_time, memory};
use super::plan::BenchPlan;
use super::report::Figure;
use super::run::BenchRun;

/// The most memory that a case may take: half of what the chart gives the pod.
const MOST_MIB: f64 = 128.0;
/// The most of a core that a cloud may cost which only keeps the operator busy, in percent.
const MOST_OF_A_CORE: f64 = 20.0;

/// Runs all cases one after the other.
pub(crate) async fn run(run: &mut BenchRun, plan: &BenchPlan) -> Result<Vec<Figure>> {
    // An operator of an earlier scenario would share the machine with the cases.
    run.stop_operator().await?;
    let mut figures = Vec::new();
    for case in &answers::CASES {
        figures.extend(answers::run(run, plan, case).await?);
    }
    figures.extend(visitors::run(run, plan).await?);
    figures.extend(crowds::references_and_syncs(run, plan).await?);
    figures.extend(crowds::large_annotations(run, plan).await?);
    Ok(figures)
}

/// The cases take minutes, so each is named when it begins.
fn begin(case: &str) {
    say(format_args!("    {case}"));
}

/// The most memory that was ever resident.
fn peak(case: &str, operator: &Operator) -> Result<Figure> {
    Ok(Figure::new(format!("{case}: peak"), memory(operator.id())?.most, "MiB").at_most(MOST_MIB))
}

/// The share of a core that an operator uses over a while.
async fn share_of_core(case: &str, operator: &Operator, over: Duration) -> Result<Figure> {
    let before = cpu_time(operator.id())?;
    tokio::time::sleep(over).await;
    let share = super::measure::share_of_core(before, cpu_time(operator.id())?, over);
    Ok(Figure::new(format!("{case}: CPU"), share, "%").at_most(MOST_OF_A_CORE))
}
