//! Nothing changes: the CPU time and the requests of the operator, first while it still reads cluster by cluster what the
//! cloud's list leaves out, then at rest.

use std::time::{Duration, Instant};

use anyhow::Result;
use fake_cloud::Operation;
use harness::terminal::say;

use super::measure::{counter, share_of_core};
use super::plan::BenchPlan;
use super::report::Figure;
use super::run::BenchRun;
use super::start::{MEMORY, limit, status_writes};

/// Reads of single clusters a second (`--cloud-qps`): they decide how long the first round takes.
const READS_A_SECOND: u64 = 5;

/// Measures the operator twice, for two intervals each.
pub(crate) async fn run(run: &mut BenchRun, plan: &BenchPlan) -> Result<Vec<Figure>> {
    run.operator()?;
    let first = usage(run, plan).await?;
    let mut figures = vec![
        Figure::new("CPU while the list's gaps are filled", first.cpu, "%core"),
        Figure::new("… status writes a minute meanwhile", first.writes_a_minute, ""),
    ];
    say("    waiting until every reference shows its parameter group");
    let (all, round) = (plan.n as usize, Duration::from_secs(u64::from(plan.n) / READS_A_SECOND));
    run.until("every parameter group", 2 * round + plan.interval * 3, |seen| seen.whole() == all).await?;
    let rest = usage(run, plan).await?;
    let memory = run.memory()?;
    // One list serves all references; the jitter of a tenth can put one more into the window.
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

/// What the operator used and requested in a time.
struct OperatorUsage {
    /// Percent of a core.
    cpu: f64,
    lists_an_interval: f64,
    requests_a_minute: f64,
    writes_a_minute: f64,
    secrets_an_interval: f64,
}

async fn usage(run: &BenchRun, plan: &BenchPlan) -> Result<OperatorUsage> {
    let asked = |operation| run.clouds().requests(operation);
    let (lists, requests) = (asked(Operation::KakaoClustersList), asked(Operation::Any));
    let (cpu, writes, secrets) = (run.cpu_time()?, status_writes(run).await?, secret_gets(run).await?);
    let begun = Instant::now();
    tokio::time::sleep(plan.window()).await;
    let over = begun.elapsed();
    let intervals = over.as_secs_f64() / plan.interval.as_secs_f64();
    let a_minute = |count: f64| count * 60.0 / over.as_secs_f64();
    #[expect(clippy::cast_precision_loss, reason = "some thousands")]
    let since = |now: u64, before: u64| (now - before) as f64;
    Ok(OperatorUsage {
        cpu: share_of_core(cpu, run.cpu_time()?, over),
        lists_an_interval: since(asked(Operation::KakaoClustersList), lists) / intervals,
        requests_a_minute: a_minute(since(asked(Operation::Any), requests)),
        writes_a_minute: a_minute(status_writes(run).await? - writes),
        secrets_an_interval: (secret_gets(run).await? - secrets) / intervals,
    })
}

async fn secret_gets(run: &BenchRun) -> Result<f64> {
    let metrics = run.apiserver_metrics().await?;
    Ok(counter(&metrics, "apiserver_request_total", &["resource=\"secrets\"", "verb=\"GET\""]))
}
