//! Nothing changes: what the operator uses and asks for, first while it still reads for the first time what the cloud's list
//! leaves out, then at rest.

use std::time::{Duration, Instant};

use fake_cloud::Operation;

use super::measure::{counter, share_of_core};
use super::report::Figure;
use super::stage::Stage;
use super::start::{MEMORY, limit, status_writes};
use super::{BenchError, Plan};
use harness::terminal::say;

/// Single reads a second (`--cloud-qps`), by which the first round of them takes its time.
const READS_A_SECOND: u64 = 5;

/// Looks at an operator twice, for two intervals each.
pub async fn run(stage: &mut Stage, plan: &Plan) -> Result<Vec<Figure>, BenchError> {
    if !stage.has_operator() {
        return Err(BenchError::NotStarted);
    }
    let first = look(stage, plan).await?;
    let mut figures = vec![
        Figure::new("CPU while the list's gaps are filled", first.cpu, "%core"),
        Figure::new("… status writes a minute meanwhile", first.writes_a_minute, ""),
    ];
    say("    waiting until every reference shows its parameter group");
    let (all, round) = (plan.n as usize, Duration::from_secs(u64::from(plan.n) / READS_A_SECOND));
    stage.until("every parameter group", 2 * round + plan.interval * 3, |seen| seen.whole() == all).await?;
    let rest = look(stage, plan).await?;
    let memory = stage.memory()?;
    // One page for all; the jitter of a tenth can put one more into the window.
    let once = if plan.quick { 2.0 } else { 1.5 };
    figures.extend([
        Figure::new("CPU at rest", rest.cpu, "%core").at_most(2.0),
        Figure::new("list requests an interval", rest.lists_an_interval, "").at_most(once),
        Figure::new("requests to the cloud a minute", rest.requests_a_minute, ""),
        Figure::new("status writes a minute", rest.writes_a_minute, ""),
        Figure::new("Secret reads an interval", rest.secrets_an_interval, "").at_most(once),
        limit(Figure::new("memory at rest", memory.now, "MiB"), plan.n, &MEMORY),
        Figure::new("memory, most ever", memory.most, "MiB"),
    ]);
    Ok(figures)
}

/// What was used and asked for in a time.
struct Look {
    /// Percent of a core.
    cpu: f64,
    lists_an_interval: f64,
    requests_a_minute: f64,
    writes_a_minute: f64,
    secrets_an_interval: f64,
}

async fn look(stage: &Stage, plan: &Plan) -> Result<Look, BenchError> {
    let asked = |operation| stage.cloud().requests(operation);
    let (lists, requests) = (asked(Operation::KakaoClustersList), asked(Operation::Any));
    let (cpu, writes, secrets) = (stage.cpu_time()?, status_writes(stage).await?, secret_gets(stage).await?);
    let begun = Instant::now();
    tokio::time::sleep(plan.window()).await;
    let over = begun.elapsed();
    let intervals = over.as_secs_f64() / plan.interval.as_secs_f64();
    let a_minute = |count: f64| count * 60.0 / over.as_secs_f64();
    #[expect(clippy::cast_precision_loss, reason = "some thousands")]
    let since = |now: u64, before: u64| (now - before) as f64;
    Ok(Look {
        cpu: share_of_core(cpu, stage.cpu_time()?, over),
        lists_an_interval: since(asked(Operation::KakaoClustersList), lists) / intervals,
        requests_a_minute: a_minute(since(asked(Operation::Any), requests)),
        writes_a_minute: a_minute(status_writes(stage).await? - writes),
        secrets_an_interval: (secret_gets(stage).await? - secrets) / intervals,
    })
}

async fn secret_gets(stage: &Stage) -> Result<f64, BenchError> {
    let metrics = stage.apiserver_metrics().await?;
    Ok(counter(&metrics, "apiserver_request_total", &["resource=\"secrets\"", "verb=\"GET\""]))
}
