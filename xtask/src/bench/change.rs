//! The cloud changes: how soon a status says so.

use std::time::{Duration, Instant};

use rand::RngExt as _;

use super::measure::percentile;
use super::report::Figure;
use super::stage::Stage;
use super::{BenchError, Plan, objects};

/// Changes clusters at random moments of two intervals, and waits until each change is seen.
pub async fn run(stage: &mut Stage, plan: &Plan) -> Result<Vec<Figure>, BenchError> {
    if !stage.has_operator() {
        return Err(BenchError::NotStarted);
    }
    let count = plan.samples().min(plan.n);
    let over = plan.window();
    let mut moments: Vec<Duration> = (0..count).map(|_| over.mul_f64(rand::rng().random_range(0.0..1.0))).collect();
    moments.sort();
    let (begun, mut changed) = (Instant::now(), Vec::new());
    for (index, moment) in (0..count).zip(moments) {
        tokio::time::sleep(moment.saturating_sub(begun.elapsed())).await;
        // Spread over all references.
        let number = 1 + index * (plan.n / count);
        set_state(stage, number, "Stopped")?;
        changed.push((objects::name(number), number, Instant::now()));
    }
    let within = plan.interval * 3 + Duration::from_secs(30);
    let mut samples = Vec::new();
    for (name, _, at) in &changed {
        let stopped = |state: Option<&str>| state == Some("Stopped");
        stage.until(name, within, |seen| seen.look(name).is_some_and(|look| stopped(look.state.as_deref()))).await?;
        samples.extend(stage.seen.look(name).map(|look| look.at.saturating_duration_since(*at)));
    }
    for (_, number, _) in &changed {
        set_state(stage, *number, "Running")?;
    }
    stage.until("all references Ready again", within, |seen| seen.ready() == plan.n as usize).await?;
    let limit = plan.interval.as_secs_f64() + 1.0;
    Ok(vec![
        Figure::new("change in the cloud to status, p50", percentile(&samples, 0.5), "s"),
        Figure::new("change in the cloud to status, p99", percentile(&samples, 0.99), "s").at_most(limit),
    ])
}

/// Gives a cluster another state, which is not one that the cloud leaves by itself.
pub fn set_state(stage: &Stage, number: u32, state: &str) -> Result<(), BenchError> {
    let changed =
        stage.cloud().update_kakao_cluster(&objects::cluster_id(number), |cluster| cluster.status = state.into());
    changed.map(drop).map_err(|error| BenchError::State(error.to_string()))
}
