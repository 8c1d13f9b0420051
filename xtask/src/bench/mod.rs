//! `cargo xtask bench`: what the operator costs and how fast it is, against a real API server and a fake cloud.
//!
//! One [`Stage`] serves all scenarios: an API server, a fake cloud of `--n` clusters that answers after `--latency-ms`, and the
//! operator as a process of its own. Scenarios run one after the other, in the order of [`SCENARIOS`], and give [`Figure`]s,
//! some with a target.
//!
//! A further scenario is a file here with `pub async fn run(stage: &mut Stage, plan: &Plan) -> Result<Vec<Figure>, BenchError>`,
//! a word in [`SCENARIOS`] and a line in [`play`]. It may rely on the API server and the cloud; it calls
//! [`Stage::start_operator`] if it needs an operator with objects it has made, and leaves the stage as it found it.

mod bare;
mod change;
mod hostile;
mod measure;
mod newcomer;
mod objects;
mod outage;
mod report;
mod rest;
mod restart;
mod seen;
mod stage;
mod start;
mod syncs;
mod throttle;

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use testbed::TestbedError;
use tokio::signal::unix::{SignalKind, signal};

use self::report::{Figure, Report};
use self::stage::Stage;
use crate::demo::operator::OperatorError;
use crate::generate::GenerateError;
use harness::terminal::{say, step};

/// The scenarios, in the order in which they run.
const SCENARIOS: [&str; 11] =
    ["newcomer", "bare", "start", "rest", "among", "change", "throttle", "outage", "restart", "syncs", "hostile"];
/// Those of a smoke run: the others take minutes by their nature.
const QUICK: [&str; 6] = ["newcomer", "bare", "start", "rest", "among", "change"];

/// Measures the operator with many references: time to Ready, status writes a second, memory, CPU at rest, requests to the
/// cloud, and how soon changes are seen. Nothing leaves the machine.
#[derive(Debug, Args)]
pub struct Arguments {
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
    /// Whether looks are short and samples few.
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

    /// How long something is looked at that comes once an interval.
    pub fn window(&self) -> Duration {
        if self.quick { self.interval } else { self.interval * 2 }
    }

    /// How often something is done that is looked at one by one.
    pub fn samples(&self) -> u32 {
        if self.quick { 10 } else { 100 }
    }
}

/// Why there are no figures.
#[derive(Debug, thiserror::Error)]
pub enum BenchError {
    /// The runtime, a file or a signal handler.
    #[error("cannot prepare the run: {0}")]
    Prepare(#[from] std::io::Error),
    /// The API server.
    #[error(transparent)]
    ApiServer(#[from] TestbedError),
    /// The definitions cannot be read.
    #[error(transparent)]
    Definitions(#[from] GenerateError),
    /// The fake cloud does not start.
    #[error("the fake cloud does not start: {0}")]
    Cloud(#[from] fake_cloud::StartError),
    /// A cluster or a fault of the fake cloud.
    #[error("the fake cloud refuses: {0}")]
    State(String),
    /// The operator cannot be built, started or stopped.
    #[error(transparent)]
    Operator(#[from] OperatorError),
    /// An object is refused, or the API server does not answer.
    #[error("the API server refuses: {0}")]
    Kube(#[from] kube::Error),
    /// Something that was waited for did not come.
    #[error("{what} did not come within {} s; the operator's log ends with\n{log}", within.as_secs())]
    Late {
        /// What was waited for.
        what: String,
        /// For how long.
        within: Duration,
        /// The end of the operator's log.
        log: String,
    },
    /// A scenario was asked for that needs an operator with objects that another one makes.
    #[error("the scenario needs `start` before it: add --only start")]
    NotStarted,
    /// The report cannot be written.
    #[error("the figures cannot be written as JSON: {0}")]
    Json(#[from] serde_json::Error),
    /// `--strict`.
    #[error("{0} targets were missed")]
    Missed(usize),
    /// Ctrl-C.
    #[error("interrupted")]
    Interrupted,
}

/// Runs the bench.
///
/// # Errors
/// When something cannot be measured. By then all is torn down.
pub fn main(arguments: &Arguments) -> Result<(), BenchError> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(with_stage(arguments))
}

async fn with_stage(arguments: &Arguments) -> Result<(), BenchError> {
    let plan = Plan::of(arguments);
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    let mut stage = Stage::set(&plan, arguments.operator.clone(), arguments.operator_flag.clone()).await?;
    let outcome = tokio::select! {
        outcome = measure_all(&mut stage, &plan, &arguments.only) => outcome,
        _ = interrupt.recv() => Err(BenchError::Interrupted),
        _ = terminate.recv() => Err(BenchError::Interrupted),
    };
    if outcome.is_err() {
        stage.keep_log();
    }
    stage.tear_down().await;
    let report = outcome?;
    say(if arguments.json { report.json()? } else { report.table() });
    match report.missed() {
        missed if missed > 0 && arguments.strict => Err(BenchError::Missed(missed)),
        _ => Ok(()),
    }
}

async fn measure_all(stage: &mut Stage, plan: &Plan, only: &[String]) -> Result<Report, BenchError> {
    let mut report = Report::new(plan);
    let by_default = if plan.quick { QUICK.as_slice() } else { SCENARIOS.as_slice() };
    let wanted =
        |name: &&str| if only.is_empty() { by_default.contains(name) } else { only.iter().any(|one| one == name) };
    for name in SCENARIOS.into_iter().filter(wanted) {
        step(format_args!("{name}"));
        for figure in play(name, stage, plan).await? {
            say(format_args!("    {}", figure.line()));
            report.add(name, figure);
        }
    }
    Ok(report)
}

async fn play(name: &str, stage: &mut Stage, plan: &Plan) -> Result<Vec<Figure>, BenchError> {
    match name {
        "newcomer" => newcomer::alone(stage, plan).await,
        "bare" => bare::run(stage, plan).await,
        "start" => start::run(stage, plan).await,
        "rest" => rest::run(stage, plan).await,
        "among" => newcomer::among_all(stage, plan).await,
        "change" => change::run(stage, plan).await,
        "throttle" => throttle::run(stage, plan).await,
        "outage" => outage::run(stage, plan).await,
        "restart" => restart::run(stage, plan).await,
        "syncs" => syncs::run(stage, plan).await,
        _ => hostile::run(stage, plan).await,
    }
}
