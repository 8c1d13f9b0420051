//! All references exist, and the operator starts: how soon they are Ready, and what that takes.

use std::time::{Duration, Instant};

use anyhow::Result;
use harness::terminal::say;

use super::measure::counter;
use super::objects;
use super::plan::BenchPlan;
use super::report::Figure;
use super::run::BenchRun;

const WITHIN: Duration = Duration::from_secs(600);
/// Targets of the time to Ready, in seconds, each for up to so many references.
const READY_WITHIN: [(u32, f64); 2] = [(1000, 5.0), (10_000, 30.0)];
/// Targets of the memory, in MiB, each for up to so many references.
pub(crate) const MEMORY: [(u32, f64); 2] = [(1000, 24.0), (10_000, 64.0)];

/// Starts the operator, which keeps running for the scenarios that follow.
pub(crate) async fn run(run: &mut BenchRun, plan: &BenchPlan) -> Result<Vec<Figure>> {
    say(format_args!("    creating {} references", plan.n));
    objects::create(&run.api(), 1..=plan.n, plan.interval.as_secs()).await?;
    let all = plan.n as usize;
    let before = status_writes(run).await?;
    let begun = run.start_operator()?;
    let spent = run.cpu_time()?;
    run.until("the first Ready reference", WITHIN, |seen| seen.ready() > 0).await?;
    let first = Instant::now();
    run.until("all references Ready", WITHIN, |seen| seen.ready() == all).await?;
    let (ready, writing) = (begun.elapsed().as_secs_f64(), first.elapsed().as_secs_f64());
    let cpu = run.cpu_time()?.saturating_sub(spent).as_secs_f64();
    let writes = status_writes(run).await? - before;
    let memory = run.memory()?;
    let rate = (f64::from(plan.n) - 1.0) / writing.max(0.001);
    let mut figures = vec![
        limit(Figure::new("time until all are Ready", ready, "s"), plan.n, &READY_WITHIN),
        Figure::new("references made Ready", rate, "/s"),
        Figure::new("status writes for each reference", writes / f64::from(plan.n), ""),
        Figure::new("CPU time used by then", cpu, "s"),
        Figure::new("memory, most by then", memory.most, "MiB"),
        limit(Figure::new("memory then", memory.now, "MiB"), plan.n, &MEMORY),
    ];
    if let Some(bare) = run.bare_writes {
        figures.insert(2, Figure::new("… of the bare loop's writes", 100.0 * rate / bare, "%").at_least(70.0));
    }
    Ok(figures)
}

/// Status writes to RedisClusterRefs that the API server has counted.
pub(crate) async fn status_writes(run: &BenchRun) -> Result<f64> {
    let metrics = run.apiserver_metrics().await?;
    let labels = ["resource=\"redisclusterrefs\"", "subresource=\"status\""];
    Ok(counter(&metrics, "apiserver_request_total", &labels))
}

/// Gives a figure the target for this many references, if there is one.
pub(crate) fn limit(figure: Figure, n: u32, targets: &[(u32, f64)]) -> Figure {
    match targets.iter().find(|(upto, _)| n <= *upto) {
        Some((_, limit)) => figure.at_most(*limit),
        None => figure,
    }
}
