//! `cargo xtask faults`: the process-level proof that a flush is sent at most once.
//!
//! The real operator runs as a process of its own, against a real API server and a fake cloud of its own for each run.
//! Between it and both stands a [`proxy`], which numbers every write and can hold each one before it is carried out and
//! before its answer goes back. While a write is held, the script of the run ([`script`]) has the operator killed, stopped,
//! cut off, doubled, or its environment changed. Nothing is timed: the held writes give the order. Then the faults stop,
//! everything has to come to rest ([`run`]), and what happened is judged ([`verdict`]).

mod environment;
mod history;
mod operator;
mod proxy;
mod report;
mod run;
mod script;
mod servers;
mod syncs;
mod verdict;
mod write;
mod write_log;

use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context as _, anyhow, bail};
use clap::Args;
use futures::StreamExt as _;
use harness::signals;
use harness::terminal::{say, step};
use managed_redis_operator::api::flush_request::FlushPhase;

use self::report::Tally;
use self::run::{FlushOutcome, play};
use self::script::{Act, FaultScript, ScriptStep};
use self::servers::Servers;
use self::write::{Point, Side};
use self::write_log::LoggedWrite;

/// How often progress is told.
const PROGRESS: Duration = Duration::from_secs(5);
/// After so many failed runs more of them say nothing new.
const MOST_FAILURES: usize = 10;
/// Seeds of following runs are this far apart: an odd number, so that none comes twice.
const NEXT_SEED: u64 = 0x9e37_79b9_7f4a_7c15;

/// Proves that a flush is sent at most once: runs the real operator against a real API server and a fake cloud, kills,
/// stops and cuts it off at every write, and checks what came of it. Nothing leaves the machine.
#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// How many runs, each with faults of its own
    #[arg(long, default_value_t = 300)]
    runs: u64,
    /// What the faults are drawn from; the first run's seed is this very number
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// How many runs at once
    #[arg(long, default_value_t = 8, value_parser = clap::value_parser!(u16).range(1..=64))]
    jobs: u16,
    /// Begin no more runs after so many minutes
    #[arg(long)]
    minutes: Option<u64>,
    /// Instead of random faults, kill the operator once at every point of the normal course
    #[arg(long, conflicts_with_all = ["runs", "minutes"])]
    enumerate: bool,
    /// Instead of flushes, kill the operator once at every point of the course of a RedisParameterSync
    #[arg(long, conflicts_with_all = ["runs", "minutes", "enumerate"])]
    parameter_syncs: bool,
    /// The operator to test, instead of building it
    #[arg(long)]
    operator: Option<PathBuf>,
}

/// Runs the proof.
///
/// # Errors
/// When a run fails, or could not be played. By then all is torn down.
pub(crate) fn main(arguments: &Arguments) -> anyhow::Result<()> {
    let runtime =
        tokio::runtime::Builder::new_multi_thread().enable_all().build().context("cannot prepare the runs")?;
    runtime.block_on(with_lab(arguments))
}

async fn with_lab(arguments: &Arguments) -> anyhow::Result<()> {
    let interrupted = signals::interrupted().context("cannot prepare the runs")?;
    let servers = Servers::open(arguments.operator.clone()).await?;
    let outcome = tokio::select! {
        outcome = prove(&servers, arguments) => outcome,
        () = interrupted => Err(anyhow!("interrupted")),
    };
    servers.close().await;
    outcome
}

async fn prove(servers: &Servers, arguments: &Arguments) -> anyhow::Result<()> {
    let jobs = usize::from(arguments.jobs);
    if arguments.parameter_syncs {
        return syncs::enumerate(servers, jobs).await;
    }
    if arguments.enumerate {
        return enumerate(servers, jobs).await;
    }
    let (runs, seed) = (arguments.runs, arguments.seed);
    step(format_args!("{runs} runs from seed {seed}, {jobs} at once"));
    let until = arguments.minutes.map(|minutes| Instant::now() + Duration::from_secs(60 * minutes));
    let scripts = (0..runs).map(|run| FaultScript::draw(seed.wrapping_add(run.wrapping_mul(NEXT_SEED))));
    let scripts = scripts.take_while(move |_| until.is_none_or(|until| Instant::now() < until));
    let started = Instant::now();
    let mut tally = Tally::default();
    campaign(servers, scripts, runs, jobs, &mut tally, |_| {}).await?;
    say(tally.table(started.elapsed()));
    verdict_of(&tally)
}

fn verdict_of(tally: &Tally) -> anyhow::Result<()> {
    let never_met: Vec<String> = tally.never_met().into_iter().map(str::to_owned).collect();
    match tally.runs - tally.kept {
        0 if tally.runs == 0 => bail!("no run was played, so nothing is proven"),
        0 if !never_met.is_empty() => {
            bail!("these faults were drawn and never happened, so they prove nothing: {}", never_met.join(", "))
        }
        0 => Ok(()),
        failed => bail!("{failed} of {} runs failed", tally.runs),
    }
}

/// Plays scripts, some at once, and tells of progress and of failures.
async fn campaign(
    servers: &Servers,
    scripts: impl Iterator<Item = FaultScript>,
    wanted: u64,
    jobs: usize,
    tally: &mut Tally,
    mut each: impl FnMut(&FlushOutcome),
) -> anyhow::Result<()> {
    let started = Instant::now();
    let plays = scripts.map(|script| async move {
        let seed = script.seed;
        play(servers, script).await.with_context(|| format!("the run of seed {seed} could not be played"))
    });
    let mut outcomes = futures::stream::iter(plays).buffer_unordered(jobs);
    let mut tick = tokio::time::interval(PROGRESS);
    tick.tick().await;
    let (mut done, mut failures) = (0, 0);
    loop {
        tokio::select! {
            outcome = outcomes.next() => {
                let Some(outcome) = outcome else { return Ok(()) };
                let outcome = outcome?;
                tally.count(&outcome);
                done += 1;
                each(&outcome);
                if outcome.violations.is_empty() {
                    // The logs of a run that went well are of no use.
                    std::fs::remove_dir_all(&outcome.folder)?;
                } else {
                    say(report::failure(&outcome, &keep_logs(&outcome.folder, outcome.script.seed)));
                    failures += 1;
                }
                if failures >= MOST_FAILURES {
                    return Ok(());
                }
            }
            _ = tick.tick() => say(format_args!(
                "    {:>4} s  {done} of {wanted} runs, {failures} failed", started.elapsed().as_secs()
            )),
        }
    }
}

/// Copies the logs of a run out of the folder that goes with the API server, and says where they are.
fn keep_logs(folder: &Path, seed: u64) -> String {
    let kept = std::env::temp_dir().join(format!("managed-redis-operator-faults-{seed}"));
    let copy = || {
        std::fs::create_dir_all(&kept)?;
        for entry in std::fs::read_dir(folder)? {
            let entry = entry?;
            if entry.path().extension().is_some_and(|extension| extension == "log") {
                std::fs::copy(entry.path(), kept.join(entry.file_name()))?;
            }
        }
        io::Result::Ok(())
    };
    match copy() {
        Ok(()) => kept.display().to_string(),
        Err(error) => format!("not kept: {error}"),
    }
}

/// Kills the operator once before, once after, and once with the write coming late, at every write of the normal course
/// and of the one in which the first send is refused for now.
async fn enumerate(servers: &Servers, jobs: usize) -> anyhow::Result<()> {
    let started = Instant::now();
    let mut tally = Tally::default();
    for (name, course) in [("normal", FaultScript::calm()), ("refused once", FaultScript::refused_once())] {
        step(format_args!("The {name} course"));
        let calm = play(servers, course.clone()).await;
        let calm = calm.context("the run of seed 0 could not be played")?;
        if calm.phase != Some(FlushPhase::Succeeded) || !calm.violations.is_empty() {
            say(report::failure(&calm, &keep_logs(&calm.folder, calm.script.seed)));
            bail!("the run without faults ended as {}, not as Succeeded", report::column(calm.phase));
        }
        let scripts = every_kill(&course, &calm.entries);
        step(format_args!("{} writes, {} kills, {jobs} at once", calm.entries.len(), scripts.len()));
        let wanted = scripts.len() as u64;
        let mut lines = Vec::new();
        campaign(servers, scripts.into_iter(), wanted, jobs, &mut tally, |outcome| lines.push(line(outcome))).await?;
        lines.sort();
        say(format_args!("  {:>2}  {:<30} {:<28} {:<10} flushes", "", "write", "killed", "phase"));
        lines.iter().for_each(|(_, line)| say(line));
    }
    say(tally.table(started.elapsed()));
    verdict_of(&tally)
}

/// The scripts that follow a course up to one of its writes and kill the operator there.
fn every_kill(course: &FaultScript, entries: &[LoggedWrite]) -> Vec<FaultScript> {
    let kinds = [(Side::Before, false), (Side::After, false), (Side::Before, true)];
    let kill = |(at, entry): (usize, &LoggedWrite), (side, late)| {
        let mut script = FaultScript { seed: at as u64, ..course.clone() };
        script
            .steps
            .push(ScriptStep { at: Point { side, write: entry.write, nth: entry.nth }, act: Act::Kill { late } });
        script
    };
    entries.iter().enumerate().flat_map(|entry| kinds.map(|kind| kill(entry, kind))).collect()
}

fn line(outcome: &FlushOutcome) -> ((u64, String), String) {
    let number = outcome.script.seed;
    let (place, how) = outcome.script.steps.last().map_or_else(Default::default, |step| {
        (format!("{} #{}", step.at.write, step.at.nth), step.act.kind(step.at.side))
    });
    let met = if outcome.met.last() == Some(&true) { "" } else { "  (not reached)" };
    let phase = report::column(outcome.phase);
    let text = format!("  {:>2}  {place:<30} {how:<28} {phase:<10} {}{met}", number + 1, outcome.flushes);
    ((number, how), text)
}
