//! One run: the script is played, the faults stop, everything has to come to rest, and the evidence is taken.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use managed_redis_operator::api::flush_request::FlushPhase;
use tokio::sync::{Notify, mpsc, oneshot};

use super::environment::{MAIN, RunEnvironment};
use super::history::History;
use super::operator::{OperatorSetup, OperatorState, ProxiedOperator};
use super::script::{Act, Epilogue, FaultScript, ScriptChange};
use super::servers::{ServerShare, Servers};
use super::verdict::{RunEvidence, Violation, judge};
use super::write::OperatorWrite;
use super::write_log::{Held, LoggedWrite, WriteFate, WriteLog};

/// How long everything may take to come to rest after the last thing that went wrong: more than the longest wait of the
/// protocol, a deadline of 60 s and a call of 30 s, on a machine that is busy.
const REST_WITHIN: Duration = Duration::from_secs(150);
/// A pause that is longer than the guard before a send, which is 20 s.
const LONG_PAUSE: Duration = Duration::from_secs(21);
/// What is broken for a while is set right after this, if the operator has not taken notice before.
const HEAL_AFTER: Duration = Duration::from_secs(6);
/// How often timers are checked; everything else notifies the pulse.
const TICK: Duration = Duration::from_millis(200);

/// What came of a run.
#[derive(Debug)]
pub(super) struct FlushOutcome {
    /// What it was.
    pub script: FaultScript,
    /// Which steps were reached.
    pub met: Vec<bool>,
    /// The promises that were not kept.
    pub violations: Vec<Violation>,
    /// Flushes of the instance.
    pub flushes: u64,
    /// The last phase of the main request; none if it was deleted and not applied again.
    pub phase: Option<FlushPhase>,
    /// The phases of all requests that are there in the end.
    pub phases: Vec<FlushPhase>,
    /// The last phases of those that were removed.
    pub removed_in: Vec<FlushPhase>,
    /// All writes.
    pub entries: Vec<LoggedWrite>,
    /// How many operators were started.
    pub processes: usize,
    /// Where the operators' logs are.
    pub folder: PathBuf,
    /// How long it took.
    pub took: Duration,
}

struct Waiting {
    process: usize,
    fate: oneshot::Sender<WriteFate>,
    until: Option<Instant>,
}

/// Passed once every running operator has read every request after it was begun.
struct Barrier {
    token: String,
    reads: BTreeMap<(usize, &'static str), u64>,
}

struct ScriptRun<'a> {
    share: ServerShare<'a>,
    script: FaultScript,
    environment: RunEnvironment,
    write_log: Arc<WriteLog>,
    holds: mpsc::UnboundedReceiver<Held>,
    history: History,
    setup: OperatorSetup,
    processes: Vec<ProxiedOperator>,
    met: Vec<bool>,
    /// Writes of killed processes, and answers that no process waits for any more: they come through at the end.
    late: Vec<oneshot::Sender<WriteFate>>,
    paused: Vec<Waiting>,
    barrier: Option<Barrier>,
    barriers: u32,
    last_trouble: Instant,
    pulse: Arc<Notify>,
}

/// Plays a script in a namespace of its own.
///
/// # Errors
/// When the surroundings fail, not when the operator does.
pub(super) async fn play(servers: &Servers, script: FaultScript) -> anyhow::Result<FlushOutcome> {
    let name = &servers.next_name();
    let share = servers.share(script.is_exclusive()).await?;
    let started = Instant::now();
    let pulse = Arc::new(Notify::new());
    let environment = RunEnvironment::create(share.client(), name.to_owned(), &script).await?;
    let armed = script.steps.iter().map(|step| step.at).enumerate().collect();
    let (write_log, holds) = WriteLog::new(armed, Arc::clone(&pulse));
    let history = History::start(share.client(), name, Arc::clone(&pulse));
    let setup = OperatorSetup {
        program: servers.program(),
        folder: servers.folder(name)?,
        namespace: name.to_owned(),
        upstream: servers.upstream(&share, environment.cloud.url()),
    };
    let met = vec![false; script.steps.len()];
    let mut run = ScriptRun {
        share,
        script,
        environment,
        write_log,
        holds,
        history,
        setup,
        processes: Vec::new(),
        met,
        late: Vec::new(),
        paused: Vec::new(),
        barrier: None,
        barriers: 0,
        last_trouble: Instant::now(),
        pulse,
    };
    let settled = run.perform_all().await?;
    run.finish(settled, started).await
}

impl ScriptRun<'_> {
    async fn perform_all(&mut self) -> anyhow::Result<bool> {
        for _ in 0..self.script.replicas {
            self.start_operator().await?;
        }
        if !self.come_to_rest().await? {
            return Ok(false);
        }
        let Some(epilogue) = self.script.epilogue else { return Ok(true) };
        match epilogue {
            Epilogue::Restart => {
                for process in &mut self.processes {
                    process.kill()?;
                }
                self.start_operator().await?;
            }
            Epilogue::Change(change) => self.change(change).await?,
        }
        self.disturbed();
        self.come_to_rest().await
    }

    /// Handles what the proxies hold until nothing is left to come; false if it takes too long.
    async fn come_to_rest(&mut self) -> anyhow::Result<bool> {
        loop {
            while let Ok(held) = self.holds.try_recv() {
                self.perform(held).await?;
            }
            self.follow_up().await?;
            if self.is_at_rest() && !self.release_what_waits().await? && self.everybody_looked_again().await? {
                return Ok(true);
            }
            if self.last_trouble.elapsed() > REST_WITHIN || !self.ended_by_themselves()?.is_empty() {
                return Ok(false);
            }
            // In time or not, the loop looks again.
            let _ = tokio::time::timeout(TICK, self.pulse.notified()).await;
        }
    }

    fn disturbed(&mut self) {
        self.barrier = None;
        self.last_trouble = Instant::now();
    }

    async fn start_operator(&mut self) -> anyhow::Result<usize> {
        let number = self.processes.len();
        self.processes.push(ProxiedOperator::start(&self.setup, number, Arc::clone(&self.write_log)).await?);
        Ok(number)
    }

    fn is_running(&self, process: usize) -> bool {
        self.processes.get(process).is_some_and(|process| process.state() == OperatorState::Running)
    }

    fn running(&self) -> impl Iterator<Item = usize> + '_ {
        (0..self.processes.len()).filter(|process| self.is_running(*process))
    }

    async fn keep_one_running(&mut self) -> anyhow::Result<()> {
        if self.running().next().is_none() {
            self.start_operator().await?;
        }
        Ok(())
    }

    async fn perform(&mut self, Held { step, process, fate }: Held) -> anyhow::Result<()> {
        self.disturbed();
        self.met[step] = true;
        let go = match self.script.steps[step].act.clone() {
            Act::Kill { late } => {
                self.processes[process].kill()?;
                if late {
                    self.late.push(fate);
                } else {
                    // The process that waited for the answer is gone.
                    let _ = fate.send(WriteFate::Drop);
                }
                return self.keep_one_running().await;
            }
            Act::Pause => {
                self.pause(process, fate, None)?;
                return self.keep_one_running().await;
            }
            Act::LongPause { takeover } => {
                self.pause(process, fate, Some(Instant::now() + LONG_PAUSE))?;
                return if takeover { self.keep_one_running().await } else { Ok(()) };
            }
            Act::Hang => {
                self.late.push(fate);
                return Ok(());
            }
            Act::Drop => WriteFate::Drop,
            Act::Answer(status) => WriteFate::Answer(status),
            Act::Replica => {
                let replica = self.start_operator().await?;
                self.wait_until_at_work(replica).await;
                WriteFate::Go
            }
            Act::Outage { requests } => {
                self.write_log.cut_off(process, requests);
                self.processes[process].proxy.end_watches();
                WriteFate::Drop
            }
            Act::RestartApiServer => {
                self.share.restart().await?;
                WriteFate::Go
            }
            Act::Cloud(fault) => {
                // The script draws none that the fake cloud refuses; a test says so.
                let _ = self.environment.cloud.state().inject(fault);
                WriteFate::Go
            }
            Act::Change(change) => {
                self.change(change).await?;
                WriteFate::Go
            }
        };
        // An operator that gave up meanwhile does not wait for it.
        let _ = fate.send(go);
        Ok(())
    }

    async fn change(&mut self, change: ScriptChange) -> anyhow::Result<()> {
        let writes = self.write_log.entries().len();
        self.environment.change(change, &self.history, writes).await
    }

    /// Pauses a process until then; without `until`, until another process has settled everything.
    fn pause(
        &mut self,
        process: usize,
        fate: oneshot::Sender<WriteFate>,
        until: Option<Instant>,
    ) -> anyhow::Result<()> {
        if self.is_running(process) {
            self.processes[process].pause()?;
        }
        self.paused.push(Waiting { process, fate, until });
        Ok(())
    }

    async fn wait_until_at_work(&self, process: usize) {
        let begun = Instant::now();
        while !self.write_log.is_watching(process) && begun.elapsed() < REST_WITHIN {
            let _ = tokio::time::timeout(TICK, self.pulse.notified()).await;
        }
    }

    /// Applies objects again that are gone, sets right what the operator has noticed, and resumes processes whose pause is over.
    async fn follow_up(&mut self) -> anyhow::Result<()> {
        let gone = |name: &&'static str| self.history.current(name).is_none();
        let gone = self.environment.to_reapply.iter().position(gone);
        if let Some(at) = gone
            && self.environment.may_apply().await?
        {
            let name = self.environment.to_reapply.swap_remove(at);
            self.environment.apply_request(name).await?;
            self.disturbed();
        }
        if self.environment.broken.iter().any(|broken| self.is_to_be_healed(broken)) {
            self.environment.heal().await?;
            self.disturbed();
        }
        let due = |waiting: &Waiting| waiting.until.is_some_and(|until| Instant::now() >= until);
        if let Some(at) = self.paused.iter().position(due) {
            let waiting = self.paused.swap_remove(at);
            self.resume(waiting)?;
        }
        Ok(())
    }

    fn is_to_be_healed(&self, broken: &super::environment::Broken) -> bool {
        let noticed = || {
            let entries = self.write_log.entries();
            let after = entries.get(broken.writes..).unwrap_or_default();
            after
                .iter()
                .any(|entry| matches!(entry.write, OperatorWrite::RequestStatus(_) | OperatorWrite::ReferenceStatus))
        };
        broken.since.elapsed() >= HEAL_AFTER || (self.script.is_patient() && noticed())
    }

    fn is_at_rest(&self) -> bool {
        let as_expected = self.environment.expected.iter().all(|(name, wanted)| match self.history.current(name) {
            Some(course) => *wanted && course.is_at_rest(),
            None => !*wanted,
        });
        let at_work = self.running().any(|process| self.write_log.is_watching(process));
        as_expected
            && at_work
            && self.write_log.moving() == 0
            && self.holds.is_empty()
            && self.environment.to_reapply.is_empty()
    }

    /// Lets one late write through, resumes one paused process, or sets right what is broken; false if none of these is left.
    async fn release_what_waits(&mut self) -> anyhow::Result<bool> {
        if let Some(fate) = self.late.pop() {
            let _ = fate.send(WriteFate::Go);
        } else if let Some(at) = self.paused.iter().position(|waiting| waiting.until.is_none()) {
            let waiting = self.paused.swap_remove(at);
            self.resume(waiting)?;
        } else if !self.environment.broken.is_empty() {
            self.environment.heal().await?;
        } else {
            // A long pause ends by itself.
            return Ok(!self.paused.is_empty());
        }
        self.disturbed();
        Ok(true)
    }

    fn resume(&mut self, Waiting { process, fate, .. }: Waiting) -> anyhow::Result<()> {
        let others_hold_it = self.paused.iter().any(|waiting| waiting.process == process);
        if self.processes[process].state() == OperatorState::Paused && !others_hold_it {
            self.processes[process].resume()?;
        }
        let _ = fate.send(WriteFate::Go);
        self.disturbed();
        Ok(())
    }

    /// Asks all operators to reconcile all requests once more, so that nothing is left undone; true once they have.
    async fn everybody_looked_again(&mut self) -> anyhow::Result<bool> {
        let wanted: Vec<&'static str> =
            self.environment.expected.iter().filter(|(_, wanted)| **wanted).map(|(name, _)| *name).collect();
        if let Some(Barrier { token, reads }) = &self.barrier {
            let echoed =
                |name: &&str| self.history.current(name).is_some_and(|course| course.echo.as_ref() == Some(token));
            let looked = |((process, name), before): (&(usize, &'static str), &u64)| {
                !self.is_running(*process) || self.write_log.reads(*process, name) > *before
            };
            return Ok(wanted.iter().all(echoed) && reads.iter().all(looked));
        }
        let running: Vec<usize> = self.running().collect();
        let pairs = running.into_iter().flat_map(|process| wanted.iter().map(move |name| (process, *name)));
        let reads = pairs.map(|(process, name)| ((process, name), self.write_log.reads(process, name))).collect();
        self.barriers += 1;
        let token = format!("look-{}", self.barriers);
        self.environment.request_reconcile(&token).await?;
        self.barrier = Some(Barrier { token, reads });
        Ok(false)
    }

    fn ended_by_themselves(&mut self) -> anyhow::Result<Vec<usize>> {
        let mut ended = Vec::new();
        for (number, process) in self.processes.iter_mut().enumerate() {
            if process.ended_by_itself()? {
                ended.push(number);
            }
        }
        Ok(ended)
    }

    async fn finish(mut self, settled: bool, started: Instant) -> anyhow::Result<FlushOutcome> {
        let ended_by_themselves = self.ended_by_themselves()?;
        for process in &mut self.processes {
            process.kill()?;
        }
        let courses = self.history.courses();
        let (flushes, flushes_elsewhere) = self.environment.flushes();
        let entries = self.write_log.entries();
        let main = self.history.current(MAIN).and_then(|course| course.phase);
        let (removed, there): (Vec<_>, Vec<_>) = courses.iter().partition(|course| course.gone);
        let phases = there.iter().filter_map(|course| course.phase).collect();
        let removed_in = removed.iter().filter_map(|course| course.phase).collect();
        let violations = judge(&RunEvidence {
            watch_interrupted: self.script.is_exclusive(),
            courses,
            flushes,
            flushes_elsewhere,
            entries: entries.clone(),
            settled,
            ended_by_themselves,
        });
        let outcome = FlushOutcome {
            script: self.script,
            met: self.met,
            violations,
            flushes,
            phase: main,
            phases,
            removed_in,
            entries,
            processes: self.processes.len(),
            folder: self.setup.folder,
            took: started.elapsed(),
        };
        if outcome.violations.is_empty() {
            self.environment.clean_up().await?;
        }
        Ok(outcome)
    }
}
