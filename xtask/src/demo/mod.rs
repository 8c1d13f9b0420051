//! `cargo xtask demo`: the real operator on a real API server, with the examples and a fake cloud.

mod setup;
mod show;

use std::time::Duration;

use anyhow::{Result, anyhow, bail};
use clap::Args;
use delivery::examples;
use delivery::examples::expected::{self, ExampleOutcome, ExampleOutcomes};
use delivery::examples::seen::{self, RowChange};
use fake_cloud::StateHandle;
use futures::StreamExt as _;
use futures::stream::BoxStream;
use harness::terminal::{say, step};
use harness::{Operator, signals};
use tokio::time::MissedTickBehavior;

use self::setup::Setup;
use self::show::Screen;

/// How long everything may take to come out as expected.
const SETTLE_WITHIN: Duration = Duration::from_secs(180);
/// How often the elapsed time is redrawn.
const REDRAW: Duration = Duration::from_secs(1);
/// How many lines of the operator's log an error shows.
const LOG_LINES: usize = 25;

/// Shows the operator at work: starts a Kubernetes API server and a fake cloud on this machine, runs the operator, applies
/// examples/ and shows what becomes of them. Nothing leaves the machine and nothing is left behind.
#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// End as soon as everything has settled, with exit code 0 only if all came out as expected
    #[arg(long)]
    once: bool,
}

/// Runs the demonstration.
///
/// # Errors
/// When it could not be set up, or not everything came out as expected. By then all is stopped and removed.
pub(crate) fn main(arguments: &Arguments) -> Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(run(arguments.once))
}

async fn run(once: bool) -> Result<()> {
    let interrupted = signals::interrupted()?;
    let mut setup = Setup::default();
    let outcome = tokio::select! {
        outcome = perform(once, &mut setup) => Some(outcome),
        () = interrupted => None,
    };
    // A terminal shows "^C" where the cursor is.
    say("");
    if let Some(Err(_)) = &outcome {
        setup.keep_log(LOG_LINES);
    }
    let ended = setup.stop().await;
    match outcome {
        Some(outcome) => outcome.and(ended),
        None if once => bail!("interrupted"),
        None => ended,
    }
}

async fn perform(once: bool, setup: &mut Setup) -> Result<()> {
    let running = setup.start(once).await?;
    step("The examples, as the operator sees them");
    let mut outcomes = ExampleOutcomes::new();
    let mut screen = Screen::stdout();
    let mut changes = seen::watch(&running.client, examples::NAMESPACE);
    examples::apply(&running.client, &mut outcomes).await?;
    for (key, refused) in outcomes.iter().filter(|_| !screen.is_terminal()) {
        screen.change(key, Some(refused));
    }
    let operator = running.operator;
    settle(&mut changes, &mut outcomes, &mut screen, operator).await?;
    screen.finish(&outcomes);
    let effects = [
        effects_of(&running.cloud.state()),
        examples::connection(&running.client).await.map_err(|error| error.to_string()),
    ];
    let mismatches: Vec<String> = effects.iter().filter_map(|effect| effect.clone().err()).collect();
    if !mismatches.is_empty() {
        return Err(not_as_expected(screen.elapsed(), &mismatches));
    }
    say("");
    effects.into_iter().flatten().for_each(say);
    say(format_args!("Everything is as it should be, after {} s.", screen.elapsed().as_secs()));
    if once {
        return Ok(());
    }
    for line in setup::hints(&running.kubeconfig, operator, running.cloud).await? {
        say(line);
    }
    follow(&mut changes, &mut outcomes, &screen, operator).await
}

/// What was expected and found, for each difference.
fn not_as_expected(after: Duration, mismatches: &[String]) -> anyhow::Error {
    anyhow!("after {} s this is not as expected:\n  {}", after.as_secs(), mismatches.join("\n  "))
}

/// What was done to the fake cloud: [`expected::effects`].
fn effects_of(cloud: &StateHandle) -> Result<String, String> {
    expected::effects(cloud.all_flushes(), cloud.all_applies())
}

/// Shows changes until everything is as expected.
async fn settle(
    changes: &mut BoxStream<'static, RowChange>,
    outcomes: &mut ExampleOutcomes,
    screen: &mut Screen,
    operator: &mut Operator,
) -> Result<()> {
    let mut deadline = std::pin::pin!(tokio::time::sleep(SETTLE_WITHIN));
    let mut tick = tokio::time::interval(REDRAW);
    tick.set_missed_tick_behavior(MissedTickBehavior::Skip);
    while !expected::all_met(outcomes) {
        tokio::select! {
            Some(change) = changes.next() => note(change, outcomes, screen, !screen.is_terminal()),
            _ = tick.tick() => {}
            status = operator.ended() => bail!("the operator ended by itself ({})", status?),
            () = &mut deadline => {
                screen.finish(outcomes);
                return Err(not_as_expected(SETTLE_WITHIN, &expected::mismatches(outcomes)));
            }
        }
        screen.redraw(outcomes);
    }
    match expected::mismatches(outcomes) {
        unknown if unknown.is_empty() => Ok(()),
        unknown => Err(not_as_expected(screen.elapsed(), &unknown)),
    }
}

/// Tells of changes, a line each, for as long as the operator runs.
async fn follow(
    changes: &mut BoxStream<'static, RowChange>,
    outcomes: &mut ExampleOutcomes,
    screen: &Screen,
    operator: &mut Operator,
) -> Result<()> {
    loop {
        tokio::select! {
            Some(change) = changes.next() => note(change, outcomes, screen, true),
            status = operator.ended() => bail!("the operator ended by itself ({})", status?),
        }
    }
}

/// Puts a change among the outcomes and, where there is no table, tells of it.
fn note(change: RowChange, outcomes: &mut ExampleOutcomes, screen: &Screen, tell: bool) {
    match change {
        RowChange::Is(key, seen) => {
            let found = ExampleOutcome::Stands(seen);
            let news = outcomes.get(&key) != Some(&found);
            if news && tell {
                screen.change(&key, Some(&found));
            }
            outcomes.insert(key, found);
        }
        RowChange::Gone(key) => {
            outcomes.remove(&key);
            if tell {
                screen.change(&key, None);
            }
        }
        // The table shows that nothing moves, and the log says why.
        RowChange::Trouble(error) if tell => say(format_args!("the API server did not answer the watch: {error}")),
        RowChange::Trouble(_) => {}
    }
}
