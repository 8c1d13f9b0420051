//! The API server restarts, then the operator: no change is lost, requests do not come in a burst, and memory is back where it was.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use anyhow::Result;
use fake_cloud::Operation;

use super::change::set_state;
use super::objects;
use super::plan::BenchPlan;
use super::report::Figure;
use super::run::BenchRun;
use super::start::status_writes;

/// The operator's default of `--status-heartbeat`.
const HEARTBEAT: Duration = Duration::from_secs(600);

/// Restarts the API server with a change at the cloud meanwhile, then the operator.
pub(crate) async fn run(run: &mut BenchRun, plan: &BenchPlan) -> Result<Vec<Figure>> {
    run.operator()?;
    let mut figures = apiserver(run, plan).await?;
    figures.extend(operator(run, plan).await?);
    Ok(figures)
}

async fn apiserver(run: &mut BenchRun, plan: &BenchPlan) -> Result<Vec<Figure>> {
    let before = run.memory()?.now;
    let name = objects::name(1);
    let within = plan.interval * 3 + Duration::from_secs(120);
    set_state(run, 1, "Stopped")?;
    run.restart_apiserver().await?;
    run.until("the change made during the restart", within, |seen| {
        seen.get(&name).is_some_and(|reference| reference.state.as_deref() == Some("Stopped"))
    })
    .await?;
    set_state(run, 1, "Running")?;
    run.until("all references Ready again", within, |seen| seen.ready() == plan.n as usize).await?;
    // The API server's counters begin at zero when it starts.
    let writes = status_writes(run).await?;
    let after = run.memory()?.now;
    Ok(vec![
        Figure::new("API server restart: memory after it", 100.0 * after / before, "%").at_most(115.0),
        Figure::new("API server restart: status writes", writes, ""),
    ])
}

async fn operator(run: &mut BenchRun, plan: &BenchPlan) -> Result<Vec<Figure>> {
    run.stop_operator().await?;
    let (writes, asked) = (status_writes(run).await?, run.clouds().requests(Operation::Any));
    let first = run.clouds().recent_requests().last().map_or(0, |request| request.id);
    run.start_operator()?;
    let begun = Instant::now();
    tokio::time::sleep(plan.interval).await;
    let requests = run.clouds().requests(Operation::Any) - asked;
    let mut seconds: BTreeMap<i64, u32> = BTreeMap::new();
    for request in run.clouds().recent_requests().iter().filter(|request| request.id > first) {
        *seconds.entry(request.time.as_second()).or_default() += 1;
    }
    let peak = f64::from(seconds.values().copied().max().unwrap_or_default());
    #[expect(clippy::cast_precision_loss, reason = "some thousands")]
    let mean = requests as f64 / begun.elapsed().as_secs_f64();
    let writes = status_writes(run).await? - writes;
    // Heartbeats go on as before. The tenth more is for their uneven spread, and for those that fell due during the restart.
    let heartbeats = f64::from(plan.n) * plan.interval.as_secs_f64() / HEARTBEAT.as_secs_f64();
    Ok(vec![
        Figure::new("operator restart: status writes", writes, "").at_most(1.1 * heartbeats),
        Figure::new("operator restart: requests a second, mean", mean, "/s"),
        // The operator requests a token, a list and the catalog in the first second, however few requests follow.
        Figure::new("operator restart: requests, peak second", peak, "/s").at_most((2.0 * mean).max(5.0)),
    ])
}
