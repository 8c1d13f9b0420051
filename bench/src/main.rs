//! `cargo xtask bench`: what the operator costs and how fast it is, against a real API server and a fake cloud.
//!
//! One [`BenchRun`] serves all scenarios: an API server, a fake cloud of `--n` clusters that answers after `--latency-ms`, and the
//! operator as a process of its own. Scenarios run one after the other, in the order of [`SCENARIOS`], and give [`Figure`]s,
//! some with a target.
//!
//! A further scenario is a file here with `pub async fn run(run: &mut BenchRun, plan: &BenchPlan) -> Result<Vec<Figure>>`, a word in
//! [`SCENARIOS`] and a line in [`play`]. It may rely on the API server and the clouds; it calls [`BenchRun::start_operator`] if it
//! needs an operator with objects it has made, and leaves the run as it found it.

mod bare;
mod change;
mod hostile;
mod measure;
mod newcomer;
mod objects;
mod outage;
mod plan;
mod references;
mod report;
mod rest;
mod restart;
mod run;
mod start;
mod syncs;
mod throttle;

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Result, anyhow, bail};
use clap::Parser;
use harness::signals;
use harness::terminal::{exit_code, say, step};

use self::plan::BenchPlan;
use self::report::{BenchReport, Figure};
use self::run::BenchRun;

/// The scenarios, in the order in which they run.
const SCENARIOS: [&str; 11] =
    ["newcomer", "bare", "start", "rest", "among", "change", "throttle", "outage", "restart", "syncs", "hostile"];
/// The scenarios of a smoke run: the others cannot take less than minutes.
const QUICK: [&str; 6] = ["newcomer", "bare", "start", "rest", "among", "change"];

/// Measures the operator with many references: time to Ready, status writes a second, memory, CPU at rest, requests to the
/// cloud, and how soon changes are seen. Nothing leaves the machine.
#[derive(Debug, Parser)]
#[command(name = "cargo xtask bench", bin_name = "cargo xtask bench")]
struct Arguments {
    /// How many references, and clusters at the cloud
    #[arg(long, default_value_t = 1000, value_parser = clap::value_parser!(u32).range(10..=100_000))]
    n: u32,
    /// A smoke run of less than a minute: 200 references, an interval of 10 s, short looks, and without the scenarios throttle,
    /// outage and restart unless --only names them. Its figures mean little
    #[arg(long)]
    quick: bool,
    /// The references' pollInterval in seconds
    #[arg(long, default_value_t = 60, value_parser = clap::value_parser!(u32).range(10..=3600))]
    interval: u32,
    /// How long the cloud takes for each answer, in milliseconds
    #[arg(long, default_value_t = 50)]
    latency_ms: u64,
    /// Run these scenarios only (repeatable)
    #[arg(long, value_name = "SCENARIO", value_parser = clap::builder::PossibleValuesParser::new(SCENARIOS))]
    only: Vec<String>,
    /// The operator to measure, instead of a release build of this working copy
    #[arg(long)]
    operator: Option<PathBuf>,
    /// Further flags for the operator, such as --operator-flag=--workers=16 (repeatable)
    #[arg(long, value_name = "FLAG", allow_hyphen_values = true)]
    operator_flag: Vec<String>,
    /// Print the figures as JSON
    #[arg(long)]
    json: bool,
    /// Fail if a target is missed
    #[arg(long)]
    strict: bool,
}

impl Arguments {
    fn plan(&self) -> BenchPlan {
        let (n, interval) = if self.quick { (200, 10) } else { (self.n, self.interval) };
        BenchPlan {
            n,
            interval: Duration::from_secs(interval.into()),
            latency: Duration::from_millis(self.latency_ms),
            quick: self.quick,
        }
    }
}

fn main() -> ExitCode {
    exit_code(&measure(&Arguments::parse()))
}

#[tokio::main]
async fn measure(arguments: &Arguments) -> Result<()> {
    let plan = arguments.plan();
    let interrupted = signals::interrupted()?;
    let mut run = BenchRun::start(&plan, arguments.operator.clone(), arguments.operator_flag.clone()).await?;
    let outcome = tokio::select! {
        outcome = measure_all(&mut run, &plan, &arguments.only) => outcome,
        () = interrupted => Err(anyhow!("interrupted")),
    };
    if outcome.is_err() {
        run.keep_log();
    }
    run.stop().await;
    let report = outcome?;
    say(if arguments.json { report.json()? } else { report.table() });
    match report.missed() {
        missed if missed > 0 && arguments.strict => bail!("{missed} targets were missed"),
        _ => Ok(()),
    }
}

async fn measure_all(run: &mut BenchRun, plan: &BenchPlan, only: &[String]) -> Result<BenchReport> {
    let mut report = BenchReport::new(plan);
    let by_default = if plan.quick { QUICK.as_slice() } else { SCENARIOS.as_slice() };
    let wanted =
        |name: &&str| if only.is_empty() { by_default.contains(name) } else { only.iter().any(|one| one == name) };
    for name in SCENARIOS.into_iter().filter(wanted) {
        step(format_args!("{name}"));
        for figure in play(name, run, plan).await? {
            say(format_args!("    {}", figure.line()));
            report.add(name, figure);
        }
    }
    Ok(report)
}

async fn play(name: &str, run: &mut BenchRun, plan: &BenchPlan) -> Result<Vec<Figure>> {
    match name {
        "newcomer" => newcomer::alone(run, plan).await,
        "bare" => bare::run(run, plan).await,
        "start" => start::run(run, plan).await,
        "rest" => rest::run(run, plan).await,
        "among" => newcomer::among_all(run, plan).await,
        "change" => change::run(run, plan).await,
        "throttle" => throttle::run(run, plan).await,
        "outage" => outage::run(run, plan).await,
        "restart" => restart::run(run, plan).await,
        "syncs" => syncs::run(run, plan).await,
        _ => hostile::run(run, plan).await,
    }
}
