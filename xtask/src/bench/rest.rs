//! Nothing changes: what the operator uses and asks for.

use std::time::Instant;

use fake_cloud::Operation;

use super::measure::{counter, share_of_core};
use super::report::Figure;
use super::stage::Stage;
use super::start::status_writes;
use super::{BenchError, Plan};

/// Looks at an operator at rest, for two intervals.
pub async fn run(stage: &mut Stage, plan: &Plan) -> Result<Vec<Figure>, BenchError> {
    if !stage.has_operator() {
        return Err(BenchError::NotStarted);
    }
    let window = plan.window();
    let lists = || stage.cloud().requests(Operation::KakaoClustersList);
    let requests = || stage.cloud().requests(Operation::Any);
    let (cpu, writes, secrets) = (stage.cpu_time()?, status_writes(stage).await?, secret_gets(stage).await?);
    let (listed, asked, begun) = (lists(), requests(), Instant::now());
    tokio::time::sleep(window).await;
    let over = begun.elapsed();
    let used = share_of_core(cpu, stage.cpu_time()?, over);
    let a_minute = |count: f64| count * 60.0 / over.as_secs_f64();
    let intervals = over.as_secs_f64() / plan.interval.as_secs_f64();
    #[expect(clippy::cast_precision_loss, reason = "some thousands")]
    let (listed, asked) = ((lists() - listed) as f64, (requests() - asked) as f64);
    let writes = status_writes(stage).await? - writes;
    let secrets = secret_gets(stage).await? - secrets;
    let memory = stage.memory()?;
    Ok(vec![
        Figure::new("CPU at rest", used, "%core").at_most(2.0),
        // One page for all; the jitter of a tenth can put one more into the window.
        Figure::new("list requests an interval", listed / intervals, "").at_most(if plan.quick { 2.0 } else { 1.5 }),
        Figure::new("requests to the cloud a minute", a_minute(asked), ""),
        Figure::new("status writes a minute", a_minute(writes), ""),
        Figure::new("Secret reads an interval", secrets / intervals, "").at_most(if plan.quick { 2.0 } else { 1.5 }),
        Figure::new("memory at rest", memory.now, "MiB"),
    ])
}

async fn secret_gets(stage: &Stage) -> Result<f64, BenchError> {
    let metrics = stage.apiserver_metrics().await?;
    Ok(counter(&metrics, "apiserver_request_total", &["resource=\"secrets\"", "verb=\"GET\""]))
}
