//! The cloud says 429 with a Retry-After: nothing is asked until then.

use std::time::{Duration, Instant};

use fake_cloud::{FaultKind, Operation};

use super::report::Figure;
use super::stage::Stage;
use super::{BenchError, Plan};

/// Refuses the next request for a while, and counts what is asked meanwhile.
pub async fn run(stage: &mut Stage, plan: &Plan) -> Result<Vec<Figure>, BenchError> {
    if !stage.has_operator() {
        return Err(BenchError::NotStarted);
    }
    let pause: u32 = if plan.quick { 5 } else { 40 };
    let before = stage.cloud().requests(Operation::Any);
    stage.inject(FaultKind::TooManyRequests { retry_after_seconds: Some(pause), error_code: None })?;
    let come = stage.cloud().wait_for_requests(Operation::Any, before + 1, plan.interval * 2).await;
    if !come {
        return Err(BenchError::State("no request came within two intervals".to_owned()));
    }
    let refused = Instant::now();
    // Reads that were on their way when the answer came are no disobedience.
    tokio::time::sleep(plan.latency + Duration::from_millis(200)).await;
    stage.calm()?;
    let asked = stage.cloud().requests(Operation::Any);
    let pause = Duration::from_secs(pause.into());
    tokio::time::sleep(pause.saturating_sub(refused.elapsed()).saturating_sub(Duration::from_millis(200))).await;
    let during = stage.cloud().requests(Operation::Any) - asked;
    let again = stage.cloud().wait_for_requests(Operation::Any, asked + 1, plan.interval * 2).await;
    if !again {
        return Err(BenchError::State("no request came after the pause".to_owned()));
    }
    #[expect(clippy::cast_precision_loss, reason = "a few")]
    let during = during as f64;
    Ok(vec![
        Figure::new("requests before Retry-After was over", during, "").at_most(0.0),
        Figure::new("first request after the refusal", refused.elapsed().as_secs_f64(), "s"),
    ])
}
