//! `cargo xtask demo`: the real operator on a real API server, with the examples and a fake cloud.

pub mod operator;
mod show;
pub mod stage;

use std::io;
use std::time::Duration;

use clap::Args;
use fake_cloud::StateHandle;
use futures::StreamExt as _;
use futures::stream::BoxStream;
use tokio::signal::unix::{SignalKind, signal};
use tokio::time::MissedTickBehavior;

use self::operator::{Operator, OperatorError};
use self::show::Screen;
use self::stage::{Stage, StageError};
use delivery::examples::expected::{ExampleOutcome, ExampleOutcomes};
use delivery::examples::seen::RowChange;
use harness::terminal::{say, step};

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

/// Why the demonstration failed.
#[derive(Debug, thiserror::Error)]
pub enum DemoError {
    /// The runtime or the signal handlers.
    #[error("cannot prepare the demonstration: {0}")]
    Prepare(#[from] io::Error),
    /// What it takes could not be set up.
    #[error(transparent)]
    Stage(#[from] StageError),
    /// The operator did not run, or did not end well.
    #[error(transparent)]
    Operator(#[from] OperatorError),
    /// Not everything came out as expected.
    #[error("after {} s this is not as expected:\n  {}", after.as_secs(), mismatches.join("\n  "))]
    NotAsExpected {
        /// How long it had been waited for.
        after: Duration,
        /// What was expected and found, for each difference.
        mismatches: Vec<String>,
    },
    /// Ctrl-C came before the end of `--once`.
    #[error("interrupted")]
    Interrupted,
}

/// Runs the demonstration.
///
/// # Errors
/// When it could not be set up, or not everything came out as expected. By then all is torn down.
pub fn main(arguments: &Arguments) -> Result<(), DemoError> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(run(arguments.once))
}

async fn run(once: bool) -> Result<(), DemoError> {
    let interrupted = interrupted()?;
    let mut stage = Stage::default();
    let outcome = tokio::select! {
        outcome = perform(once, &mut stage) => outcome,
        () = interrupted => if once { Err(DemoError::Interrupted) } else { Ok(()) },
    };
    // A terminal shows "^C" where the cursor is.
    say("");
    if let Err(DemoError::NotAsExpected { .. } | DemoError::Operator(OperatorError::Ended(_))) = &outcome {
        stage.keep_log(LOG_LINES);
    }
    let ended = stage.tear_down().await;
    outcome.and(ended.map_err(DemoError::from))
}

/// Waits for Ctrl-C, or for who stops this process in another way.
///
/// # Errors
/// When the signal handlers cannot be installed.
pub fn interrupted() -> io::Result<impl Future<Output = ()>> {
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    let mut hang_up = signal(SignalKind::hangup())?;
    Ok(async move {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
            _ = hang_up.recv() => {}
        }
    })
}

async fn perform(once: bool, stage: &mut Stage) -> Result<(), DemoError> {
    let running = stage.set(once).await?;
    step("The examples, as the operator sees them");
    let mut board = ExampleOutcomes::new();
    let mut screen = Screen::stdout();
    let mut changes = seen::watch(&running.client, examples::NAMESPACE);
    examples::apply(&running.client, &mut board).await?;
    for (key, refused) in board.iter().filter(|_| !screen.is_terminal()) {
        screen.change(key, Some(refused));
    }
    let operator = running.operator;
    settle(&mut changes, &mut board, &mut screen, operator).await?;
    screen.finish(&board);
    let effects = [
        effects_of(&running.cloud.state()),
        examples::connection(&running.client).await.map_err(|error| error.to_string()),
    ];
    let mismatches: Vec<String> = effects.iter().filter_map(|effect| effect.clone().err()).collect();
    if !mismatches.is_empty() {
        return Err(DemoError::NotAsExpected { after: screen.elapsed(), mismatches });
    }
    say("");
    effects.into_iter().flatten().for_each(say);
    say(format_args!("Everything is as it should be, after {} s.", screen.elapsed().as_secs()));
    if once {
        return Ok(());
    }
    for line in stage::hints(&running.kubeconfig, operator, running.cloud).await {
        say(line);
    }
    follow(&mut changes, &mut board, &screen, operator).await
}

/// What was done to the fake cloud: [`expect::effects`].
fn effects_of(cloud: &StateHandle) -> Result<String, String> {
    expect::effects(cloud.all_flushes(), cloud.all_applies())
}

/// Shows changes until everything is as expected.
async fn settle(
    changes: &mut BoxStream<'static, RowChange>,
    board: &mut ExampleOutcomes,
    screen: &mut Screen,
    operator: &mut Operator,
) -> Result<(), DemoError> {
    let mut deadline = std::pin::pin!(tokio::time::sleep(SETTLE_WITHIN));
    let mut tick = tokio::time::interval(REDRAW);
    tick.set_missed_tick_behavior(MissedTickBehavior::Skip);
    while !expect::all_met(board) {
        tokio::select! {
            Some(change) = changes.next() => note(change, board, screen, !screen.is_terminal()),
            _ = tick.tick() => {}
            error = operator.ended() => return Err(error.into()),
            () = &mut deadline => {
                screen.finish(board);
                return Err(DemoError::NotAsExpected { after: SETTLE_WITHIN, mismatches: expect::mismatches(board) });
            }
        }
        screen.redraw(board);
    }
    match expect::mismatches(board) {
        unknown if unknown.is_empty() => Ok(()),
        unknown => Err(DemoError::NotAsExpected { after: screen.elapsed(), mismatches: unknown }),
    }
}

/// Tells of changes, a line each, for as long as the operator runs.
async fn follow(
    changes: &mut BoxStream<'static, RowChange>,
    board: &mut ExampleOutcomes,
    screen: &Screen,
    operator: &mut Operator,
) -> Result<(), DemoError> {
    loop {
        tokio::select! {
            Some(change) = changes.next() => note(change, board, screen, true),
            error = operator.ended() => return Err(error.into()),
        }
    }
}

/// Puts a change on the board and, where there is no table, tells of it.
fn note(change: RowChange, board: &mut ExampleOutcomes, screen: &Screen, tell: bool) {
    match change {
        RowChange::Is(key, seen) => {
            let found = ExampleOutcome::Stands(seen);
            let news = board.get(&key) != Some(&found);
            if news && tell {
                screen.change(&key, Some(&found));
            }
            board.insert(key, found);
        }
        RowChange::Gone(key) => {
            board.remove(&key);
            if tell {
                screen.change(&key, None);
            }
        }
        // The table shows that nothing moves, and the log says why.
        RowChange::Trouble(error) if tell => say(format_args!("the API server did not answer the watch: {error}")),
        RowChange::Trouble(_) => {}
    }
}
