//! The cloud fails for a while: how often the operator probes it, and how soon the operator sees that it is back.

use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use fake_cloud::{FaultKind, Operation};

use super::change::set_state;
use super::objects;
use super::plan::BenchPlan;
use super::report::Figure;
use super::run::BenchRun;

/// The operator probes a failed connection at most once in this time, in seconds.
const PROBE_SECONDS: f64 = 30.0;

/// Answers 503 to everything for a while, then nothing but good answers.
pub(crate) async fn run(run: &mut BenchRun, plan: &BenchPlan) -> Result<Vec<Figure>> {
    run.operator()?;
    let look = Duration::from_secs(if plan.quick { 35 } else { 190 });
    let before = run.clouds().requests(Operation::Any);
    run.inject(FaultKind::Status { code: 503, body: None, content_type: None, retry_after: None })?;
    if !run.clouds().wait_for_requests(Operation::Any, before + 1, plan.interval * 2).await {
        bail!("no request came within two intervals");
    }
    // Requests that were under way when the cloud failed are retried a few times at once.
    tokio::time::sleep(Duration::from_secs(5)).await;
    let (asked, begun) = (run.clouds().requests(Operation::Any), Instant::now());
    tokio::time::sleep(look).await;
    #[expect(clippy::cast_precision_loss, reason = "a few")]
    let probes = (run.clouds().requests(Operation::Any) - asked) as f64;
    let allowed = (begun.elapsed().as_secs_f64() / PROBE_SECONDS).ceil();
    set_state(run, 1, "Stopped")?;
    run.calm()?;
    let back = Instant::now();
    let name = objects::name(1);
    let within = plan.interval * 5 + Duration::from_secs(60);
    run.until("the end of the outage", within, |seen| {
        seen.get(&name).is_some_and(|reference| reference.state.as_deref() == Some("Stopped"))
    })
    .await?;
    let recovery = back.elapsed().as_secs_f64();
    set_state(run, 1, "Running")?;
    let all = plan.n as usize;
    run.until("all references Ready again", within, |seen| seen.ready() == all).await?;
    let longest = plan.interval.as_secs_f64().max(PROBE_SECONDS * 1.1) + 1.0;
    Ok(vec![
        Figure::new(format!("requests in {} s of outage", look.as_secs()), probes, "").at_most(allowed),
        Figure::new("recovery after the outage", recovery, "s").at_most(longest),
    ])
}
