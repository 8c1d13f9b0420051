//! Clients of the admin port that open connections and never end their requests.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use anyhow::Result;
use fake_cloud::Seed;
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;

use super::{begin, peak};
use crate::plan::BenchPlan;
use crate::report::Figure;
use crate::run::BenchRun;

const CASE: &str = "8,000 half-open requests at the admin port";
const CONNECTIONS: usize = 8000;
/// How long the operator may take to serve its first probe.
const STARTED_WITHIN: Duration = Duration::from_secs(30);
/// The default timeout of a kubelet's probe, in milliseconds.
const PROBE_WITHIN: f64 = 1000.0;

/// Opens the connections, all of them half-open at once if the operator lets them, and probes it meanwhile.
pub(super) async fn run(run: &BenchRun, plan: &BenchPlan) -> Result<Vec<Figure>> {
    begin(CASE);
    let files = rustix::process::getrlimit(rustix::process::Resource::Nofile);
    let raised = rustix::process::Rlimit { current: files.maximum, ..files };
    rustix::process::setrlimit(rustix::process::Resource::Nofile, raised).map_err(std::io::Error::from)?;
    let environment = run.environment("hostile-visitors", Seed::default()).await?;
    let operator = run.launch(&environment, &[])?;
    let admin = operator.admin().await?;
    let begun = Instant::now();
    while probe(admin).await.is_none() {
        if begun.elapsed() > STARTED_WITHIN {
            return Err(run.late("the first probe", STARTED_WITHIN));
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let count = if plan.quick { CONNECTIONS / 10 } else { CONNECTIONS };
    let (mut held, mut slowest, mut unanswered) = (Vec::with_capacity(count), Duration::ZERO, 0);
    for number in 1..=count {
        // The operator should refuse connections at some point, so a failure is fine.
        if let Ok(Ok(mut stream)) = tokio::time::timeout(Duration::from_secs(1), TcpStream::connect(admin)).await {
            let _ = stream.write_all(b"GET /metrics HTTP/1.1\r\nhost: operator\r\nx-padding: ").await;
            held.push(stream);
        }
        if number % (count / 10) == 0 {
            match probe(admin).await {
                Some(took) => slowest = slowest.max(took),
                None => unanswered += 1,
            }
        }
    }
    let figures = vec![
        peak(CASE, &operator)?,
        Figure::new(format!("{CASE}: slowest probe"), 1000.0 * slowest.as_secs_f64(), "ms").at_most(PROBE_WITHIN),
        Figure::new(format!("{CASE}: probes without answer"), f64::from(unanswered), "").at_most(0.0),
    ];
    drop(held);
    operator.stop().await?;
    Ok(figures)
}

/// How long /healthz takes over a connection of its own; none if it does not answer in time.
async fn probe(admin: SocketAddr) -> Option<Duration> {
    let client = reqwest::Client::builder().no_proxy().timeout(Duration::from_secs(5)).build().ok()?;
    let begun = Instant::now();
    let answer = client.get(format!("http://{admin}/healthz")).send().await.ok()?;
    answer.status().is_success().then(|| begun.elapsed())
}
