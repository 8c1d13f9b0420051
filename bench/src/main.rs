//! `cargo xtask bench`: what the operator costs and how fast it is, against a real API server and a fake cloud.
//!
//! One [`Run`] serves all scenarios: an API server, a fake cloud of `--n` clusters that answers after `--latency-ms`, and the
//! operator as a process of its own. Scenarios run one after the other, in the order of [`SCENARIOS`], and give [`Figure`]s,
//! some with a target.
//!
//! A further scenario is a file here with `pub async fn run(run: &mut Run, plan: &Plan) -> Result<Vec<Figure>>`, a word in
//! [`SCENARIOS`] and a line in [`play`]. It may rely on the API server and the clouds; it calls [`Run::start_operator`] if it
//! needs an operator with objects it has made, and leaves the run as it found it.

mod bare;
mod change;
mod hostile;
mod measure;
mod newcomer;
mod objects;
mod outage;
mod references;
mod report;
mod rest;
mod restart;
mod run;
mod start;
mod syncs;
mod throttle;

use std::io::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Result, anyhow, bail};
use clap::Parser;
use fake_cloud::FaultKind;
use harness::terminal::{say, step};
use harness::{describe, signals};

use self::report::{Figure, Report};
use self::run::Run;

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

/// What a run is to measure, resolved from the flags.
#[derive(Clone, Debug)]
pub struct Plan {
    /// References, and clusters at the cloud.
    pub n: u32,
    /// The references' poll interval.
    pub interval: Duration,
    /// How long the cloud takes for an answer.
    pub latency: Duration,
    /// Whether to measure for a short time, with few samples.
    pub quick: bool,
}

impl Plan {
    fn of(arguments: &Arguments) -> Self {
        let (n, interval) = if arguments.quick { (200, 10) } else { (arguments.n, arguments.interval) };
        Self {
            n,
            interval: Duration::from_secs(interval.into()),
            latency: Duration::from_millis(arguments.latency_ms),
            quick: arguments.quick,
        }
    }

    /// How long to measure something that happens once an interval.
    pub fn window(&self) -> Duration {
        if self.quick { self.interval } else { self.interval * 2 }
    }

    /// The clouds' latency.
    pub fn delay(&self) -> FaultKind {
        FaultKind::Delay { ms: u64::try_from(self.latency.as_millis()).unwrap_or(u64::MAX) }
    }

    /// How many times to repeat something that is timed one by one.
    pub fn samples(&self) -> u32 {
        if self.quick { 10 } else { 100 }
    }
}

fn main() -> ExitCode {
    match measure(&Arguments::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let _ = writeln!(std::io::stderr(), "xtask: {}", describe(&error));
            ExitCode::FAILURE
        }
    }
}

#[tokio::main]
async fn measure(arguments: &Arguments) -> Result<()> {
    let plan = Plan::of(arguments);
    let interrupted = signals::interrupted()?;
    let mut run = Run::start(&plan, arguments.operator.clone(), arguments.operator_flag.clone()).await?;
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

async fn measure_all(run: &mut Run, plan: &Plan, only: &[String]) -> Result<Report> {
    let mut report = Report::new(plan);
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

async fn play(name: &str, run: &mut Run, plan: &Plan) -> Result<Vec<Figure>> {
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
