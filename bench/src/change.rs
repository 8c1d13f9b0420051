//! The cloud changes: how soon a status says so.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use rand::RngExt as _;

use super::measure::percentile;
use super::objects;
use super::plan::BenchPlan;
use super::report::Figure;
use super::run::BenchRun;

/// Changes clusters at random moments of two intervals, and waits until each change is seen.
pub(crate) async fn run(run: &mut BenchRun, plan: &BenchPlan) -> Result<Vec<Figure>> {
    run.operator()?;
    let count = plan.samples().min(plan.n);
    let over = plan.window();
    let mut moments: Vec<Duration> = (0..count).map(|_| over.mul_f64(rand::rng().random_range(0.0..1.0))).collect();
    moments.sort();
    let (begun, mut changed) = (Instant::now(), Vec::new());
    for (index, moment) in (0..count).zip(moments) {
        tokio::time::sleep(moment.saturating_sub(begun.elapsed())).await;
        // Spread over all references.
        let number = 1 + index * (plan.n / count);
        set_state(run, number, "Stopped")?;
        changed.push((objects::name(number), number, Instant::now()));
    }
    let within = plan.interval * 3 + Duration::from_secs(30);
    let mut samples = Vec::new();
    for (name, _, at) in &changed {
        let stopped = |state: Option<&str>| state == Some("Stopped");
        run.until(name, within, |seen| seen.get(name).is_some_and(|reference| stopped(reference.state.as_deref())))
            .await?;
        samples.extend(run.references.get(name).map(|reference| reference.at.saturating_duration_since(*at)));
    }
    for (_, number, _) in &changed {
        set_state(run, *number, "Running")?;
    }
    run.until("all references Ready again", within, |seen| seen.ready() == plan.n as usize).await?;
    let limit = plan.interval.as_secs_f64() + 1.0;
    Ok(vec![
        Figure::new("change in the cloud to status, p50", percentile(&samples, 0.5), "s"),
        Figure::new("change in the cloud to status, p99", percentile(&samples, 0.99), "s").at_most(limit),
    ])
}

/// Sets the state of a cluster. The fake cloud does not change such a state by itself.
pub(crate) fn set_state(run: &BenchRun, number: u32, state: &str) -> Result<()> {
    let changed =
        run.clouds().update_kakao_cluster(&objects::cluster_id(number), |cluster| cluster.status = state.into());
    changed.map(drop).context("the fake cloud refuses the state")
}
