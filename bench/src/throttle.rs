//! The cloud answers 429 with a Retry-After: the operator sends no request until then.

use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use fake_cloud::{FaultKind, Operation};

use super::plan::BenchPlan;
use super::report::Figure;
use super::run::BenchRun;

/// Refuses requests for a moment, and counts those that come before Retry-After is over.
pub(crate) async fn run(run: &mut BenchRun, plan: &BenchPlan) -> Result<Vec<Figure>> {
    run.operator()?;
    let pause: u32 = if plan.quick { 5 } else { 40 };
    let before = run.clouds().requests(Operation::Any);
    run.inject(FaultKind::TooManyRequests { retry_after_seconds: Some(pause), error_code: None })?;
    let come = run.clouds().wait_for_requests(Operation::Any, before + 1, plan.interval * 2).await;
    if !come {
        bail!("no request came within two intervals");
    }
    let refused = Instant::now();
    // Requests that were on their way when the answer came are allowed.
    tokio::time::sleep(plan.latency + Duration::from_millis(200)).await;
    run.calm()?;
    let asked = run.clouds().requests(Operation::Any);
    let pause = Duration::from_secs(pause.into());
    tokio::time::sleep(pause.saturating_sub(refused.elapsed()).saturating_sub(Duration::from_millis(200))).await;
    let during = run.clouds().requests(Operation::Any) - asked;
    let again = run.clouds().wait_for_requests(Operation::Any, asked + 1, plan.interval * 2).await;
    if !again {
        bail!("no request came after the pause");
    }
    #[expect(clippy::cast_precision_loss, reason = "a few")]
    let during = during as f64;
    Ok(vec![
        Figure::new("requests before Retry-After was over", during, "").at_most(0.0),
        Figure::new("first request after the refusal", refused.elapsed().as_secs_f64(), "s"),
    ])
}
