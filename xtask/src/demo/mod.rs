//! `cargo xtask demo`: the real operator on a real API server, with the examples and a fake cloud.

pub mod examples;
pub mod expect;
pub mod manifests;
pub mod operator;
pub mod seen;
mod setup;
mod show;

use std::time::Duration;

use anyhow::{Result, anyhow, bail};
use clap::Args;
use fake_cloud::StateHandle;
use futures::StreamExt as _;
use futures::stream::BoxStream;
use harness::{Operator, signals};
use tokio::time::MissedTickBehavior;

use self::expect::{Board, Found};
use self::seen::Change;
use self::setup::Setup;
use self::show::Screen;
use crate::output::{say, step};

/// How long everything may take to come out as expected.
const SETTLE_WITHIN: Duration = Duration::from_secs(180);
/// How often the elapsed time is redrawn.
const REDRAW: Duration = Duration::from_secs(1);
/// How many lines of the operator's log an error shows.
const LOG_LINES: usize = 25;

/// Shows the operator at work: starts a Kubernetes API server and a fake cloud on this machine, runs the operator, applies
/// examples/ and shows what becomes of them. Nothing leaves the machine and nothing is left behind.
#[derive(Debug, Args)]
pub struct Arguments {
    /// End as soon as everything has settled, with exit code 0 only if all came out as expected
    #[arg(long)]
    once: bool,
}

/// Runs the demonstration.
///
/// # Errors
/// When it could not be set up, or not everything came out as expected. By then all is stopped and removed.
pub fn main(arguments: &Arguments) -> Result<()> {
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
    let mut board = Board::new();
    let mut screen = Screen::stdout();
    let mut changes = seen::watch(&running.client, examples::NAMESPACE);
    examples::apply_examples(&running.client, &mut board).await?;
    for (key, refused) in board.iter().filter(|_| !screen.is_terminal()) {
        screen.change(key, Some(refused));
    }
    let operator = running.operator;
    settle(&mut changes, &mut board, &mut screen, operator).await?;
    screen.finish(&board);
    let effects = [effects_of(&running.cloud.state()), examples::connection(&running.client).await];
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
    follow(&mut changes, &mut board, &screen, operator).await
}

/// What was expected and found, for each difference.
fn not_as_expected(after: Duration, mismatches: &[String]) -> anyhow::Error {
    anyhow!("after {} s this is not as expected:\n  {}", after.as_secs(), mismatches.join("\n  "))
}

/// What was done to the fake cloud: [`expect::effects`].
fn effects_of(cloud: &StateHandle) -> Result<String, String> {
    expect::effects(cloud.all_flushes(), cloud.all_applies())
}

/// Shows changes until everything is as expected.
async fn settle(
    changes: &mut BoxStream<'static, Change>,
    board: &mut Board,
    screen: &mut Screen,
    operator: &mut Operator,
) -> Result<()> {
    let mut deadline = std::pin::pin!(tokio::time::sleep(SETTLE_WITHIN));
    let mut tick = tokio::time::interval(REDRAW);
    tick.set_missed_tick_behavior(MissedTickBehavior::Skip);
    while !expect::all_met(board) {
        tokio::select! {
            Some(change) = changes.next() => note(change, board, screen, !screen.is_terminal()),
            _ = tick.tick() => {}
            status = operator.ended() => bail!("the operator ended by itself ({})", status?),
            () = &mut deadline => {
                screen.finish(board);
                return Err(not_as_expected(SETTLE_WITHIN, &expect::mismatches(board)));
            }
        }
        screen.redraw(board);
    }
    match expect::mismatches(board) {
        unknown if unknown.is_empty() => Ok(()),
        unknown => Err(not_as_expected(screen.elapsed(), &unknown)),
    }
}

/// Tells of changes, a line each, for as long as the operator runs.
async fn follow(
    changes: &mut BoxStream<'static, Change>,
    board: &mut Board,
    screen: &Screen,
    operator: &mut Operator,
) -> Result<()> {
    loop {
        tokio::select! {
            Some(change) = changes.next() => note(change, board, screen, true),
            status = operator.ended() => bail!("the operator ended by itself ({})", status?),
        }
    }
}

/// Puts a change on the board and, where there is no table, tells of it.
fn note(change: Change, board: &mut Board, screen: &Screen, tell: bool) {
    match change {
        Change::Is(key, seen) => {
            let found = Found::Stands(seen);
            let news = board.get(&key) != Some(&found);
            if news && tell {
                screen.change(&key, Some(&found));
            }
            board.insert(key, found);
        }
        Change::Gone(key) => {
            board.remove(&key);
            if tell {
                screen.change(&key, None);
            }
        }
        // The table shows that nothing moves, and the log says why.
        Change::Trouble(error) if tell => say(format_args!("the API server did not answer the watch: {error}")),
        Change::Trouble(_) => {}
    }
}
