//! One run: the script is played, the faults stop, everything has to come to rest, and the evidence is taken.

use std::collections::BTreeMap;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use managed_redis_operator::api::flush_request::FlushPhase;
use testbed::TestbedError;
use tokio::sync::{Notify, mpsc, oneshot};

use super::desk::{Desk, Entry, Fate, Held};
use super::lab::{Lab, LabError, Share};
use super::process::{Home, Process, State};
use super::record::Record;
use super::scene::{MAIN, Scene, SceneError};
use super::script::{Act, Change, Epilogue, Script};
use super::verdict::{Evidence, Violation, judge};
use super::write::Write;

/// How long everything may take to come to rest after the last thing that went wrong: more than the longest wait of the
/// protocol, a deadline of 60 s and a call of 30 s, on a machine that is busy.
const REST_WITHIN: Duration = Duration::from_secs(150);
/// A pause that is longer than the guard before a send, which is 20 s.
const LONG_PAUSE: Duration = Duration::from_secs(21);
/// What is broken for a while is set right after this, if the operator has not taken notice before.
const HEAL_AFTER: Duration = Duration::from_secs(6);
/// How often timers are looked at; everything else is told by the pulse.
const TICK: Duration = Duration::from_millis(200);

/// Why a run could not be played; nothing to do with the operator's promises.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// The world.
    #[error(transparent)]
    Scene(#[from] SceneError),
    /// A process or a file.
    #[error("the operator process: {0}")]
    Io(#[from] io::Error),
    /// The API server did not come up again.
    #[error(transparent)]
    ApiServer(#[from] TestbedError),
    /// A second API server did not come up.
    #[error(transparent)]
    Lab(#[from] LabError),
}

/// What came of a run.
#[derive(Debug)]
pub struct Outcome {
    /// What it was.
    pub script: Script,
    /// Which steps were reached.
    pub met: Vec<bool>,
    /// The promises that were not kept.
    pub violations: Vec<Violation>,
    /// Flushes of the instance.
    pub flushes: u64,
    /// The last phase of the main request's last life; none if it was deleted for good.
    pub phase: Option<FlushPhase>,
    /// The phases of all requests that are there in the end.
    pub phases: Vec<FlushPhase>,
    /// The last phases of those that were removed.
    pub removed_in: Vec<FlushPhase>,
    /// All writes.
    pub entries: Vec<Entry>,
    /// How many operators were started.
    pub processes: usize,
    /// Where the operators' logs are.
    pub folder: PathBuf,
    /// How long it took.
    pub took: Duration,
}

struct Waiting {
    process: usize,
    fate: oneshot::Sender<Fate>,
    until: Option<Instant>,
}

/// Every live operator has looked at every request after this was begun.
struct Barrier {
    token: String,
    reads: BTreeMap<(usize, &'static str), u64>,
}

struct Run<'a> {
    share: Share<'a>,
    script: Script,
    scene: Scene,
    desk: Arc<Desk>,
    holds: mpsc::UnboundedReceiver<Held>,
    record: Record,
    home: Home,
    processes: Vec<Process>,
    met: Vec<bool>,
    /// Writes of killed processes, and answers nobody waits for any more, that come through in the end.
    late: Vec<oneshot::Sender<Fate>>,
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
pub async fn play(lab: &Lab, script: Script) -> Result<Outcome, RunError> {
    let name = &lab.next_name();
    let share = lab.share(script.is_exclusive()).await?;
    let started = Instant::now();
    let pulse = Arc::new(Notify::new());
    let scene = Scene::set(share.client(), name.to_owned(), &script).await?;
    let armed = script.steps.iter().map(|step| step.at).enumerate().collect();
    let (desk, holds) = Desk::new(armed, Arc::clone(&pulse));
    let record = Record::start(share.client(), name, Arc::clone(&pulse));
    let home = Home {
        program: lab.program(),
        folder: lab.folder(name)?,
        namespace: name.to_owned(),
        upstream: lab.upstream(&share, scene.cloud.url()),
    };
    let met = vec![false; script.steps.len()];
    let mut run = Run {
        share,
        script,
        scene,
        desk,
        holds,
        record,
        home,
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

impl Run<'_> {
    async fn perform_all(&mut self) -> Result<bool, RunError> {
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
                    process.kill().await?;
                }
                self.start_operator().await?;
            }
            Epilogue::Change(change) => self.change(change).await?,
        }
        self.disturbed();
        self.come_to_rest().await
    }

    /// Handles what the proxies hold until nothing is left to come; false if it takes too long.
    async fn come_to_rest(&mut self) -> Result<bool, RunError> {
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

    async fn start_operator(&mut self) -> Result<usize, RunError> {
        let number = self.processes.len();
        self.processes.push(Process::start(&self.home, number, Arc::clone(&self.desk)).await?);
        Ok(number)
    }

    fn is_running(&self, process: usize) -> bool {
        self.processes.get(process).is_some_and(|process| process.state() == State::Running)
    }

    fn running(&self) -> impl Iterator<Item = usize> + '_ {
        (0..self.processes.len()).filter(|process| self.is_running(*process))
    }

    async fn keep_one_running(&mut self) -> Result<(), RunError> {
        if self.running().next().is_none() {
            self.start_operator().await?;
        }
        Ok(())
    }

    async fn perform(&mut self, Held { step, process, fate }: Held) -> Result<(), RunError> {
        self.disturbed();
        self.met[step] = true;
        let go = match self.script.steps[step].act.clone() {
            Act::Kill { late } => {
                self.processes[process].kill().await?;
                if late {
                    self.late.push(fate);
                } else {
                    // Nobody is left to care for the answer.
                    let _ = fate.send(Fate::Drop);
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
            Act::Drop => Fate::Drop,
            Act::Answer(status) => Fate::Answer(status),
            Act::Replica => {
                let replica = self.start_operator().await?;
                self.wait_until_at_work(replica).await;
                Fate::Go
            }
            Act::Outage { requests } => {
                self.desk.cut_off(process, requests);
                self.processes[process].proxy.end_watches();
                Fate::Drop
            }
            Act::RestartApiServer => {
                self.share.restart().await?;
                Fate::Go
            }
            Act::Cloud(fault) => {
                // The script draws none that the fake cloud refuses; a test says so.
                let _ = self.scene.cloud.state().inject(fault);
                Fate::Go
            }
            Act::Change(change) => {
                self.change(change).await?;
                Fate::Go
            }
        };
        // An operator that gave up meanwhile does not wait for it.
        let _ = fate.send(go);
        Ok(())
    }

    async fn change(&mut self, change: Change) -> Result<(), RunError> {
        let writes = self.desk.entries().len();
        Ok(self.scene.change(change, &self.record, writes).await?)
    }

    /// Stops a process until then; without `until`, until everything is settled by another one.
    fn pause(&mut self, process: usize, fate: oneshot::Sender<Fate>, until: Option<Instant>) -> io::Result<()> {
        if self.is_running(process) {
            self.processes[process].stop()?;
        }
        self.paused.push(Waiting { process, fate, until });
        Ok(())
    }

    async fn wait_until_at_work(&self, process: usize) {
        let begun = Instant::now();
        while !self.desk.is_watching(process) && begun.elapsed() < REST_WITHIN {
            let _ = tokio::time::timeout(TICK, self.pulse.notified()).await;
        }
    }

    /// What follows from something that has happened: an object that is gone is applied again, what was noticed is set right.
    async fn follow_up(&mut self) -> Result<(), RunError> {
        let gone = |name: &&'static str| self.record.current(name).is_none();
        let gone = self.scene.to_reapply.iter().position(gone);
        if let Some(at) = gone
            && self.scene.may_apply().await?
        {
            let name = self.scene.to_reapply.swap_remove(at);
            self.scene.apply_request(name).await?;
            self.disturbed();
        }
        if self.scene.broken.iter().any(|broken| self.is_to_be_healed(broken)) {
            self.scene.heal().await?;
            self.disturbed();
        }
        let due = |waiting: &Waiting| waiting.until.is_some_and(|until| Instant::now() >= until);
        if let Some(at) = self.paused.iter().position(due) {
            let waiting = self.paused.swap_remove(at);
            self.wake(waiting)?;
        }
        Ok(())
    }

    fn is_to_be_healed(&self, broken: &super::scene::Broken) -> bool {
        let noticed = || {
            let entries = self.desk.entries();
            let after = entries.get(broken.writes..).unwrap_or_default();
            after.iter().any(|entry| matches!(entry.write, Write::RequestStatus(_) | Write::ReferenceStatus))
        };
        broken.since.elapsed() >= HEAL_AFTER || (self.script.is_patient() && noticed())
    }

    fn is_at_rest(&self) -> bool {
        let as_expected = self.scene.expected.iter().all(|(name, wanted)| match self.record.current(name) {
            Some(life) => *wanted && life.is_at_rest(),
            None => !*wanted,
        });
        let at_work = self.running().any(|process| self.desk.is_watching(process));
        as_expected && at_work && self.desk.moving() == 0 && self.holds.is_empty() && self.scene.to_reapply.is_empty()
    }

    /// Lets through what is late, wakes who is paused, sets right what is broken; false if there is nothing of it.
    async fn release_what_waits(&mut self) -> Result<bool, RunError> {
        if let Some(fate) = self.late.pop() {
            let _ = fate.send(Fate::Go);
        } else if let Some(at) = self.paused.iter().position(|waiting| waiting.until.is_none()) {
            let waiting = self.paused.swap_remove(at);
            self.wake(waiting)?;
        } else if !self.scene.broken.is_empty() {
            self.scene.heal().await?;
        } else {
            // A long pause ends by itself.
            return Ok(!self.paused.is_empty());
        }
        self.disturbed();
        Ok(true)
    }

    fn wake(&mut self, Waiting { process, fate, .. }: Waiting) -> Result<(), RunError> {
        let others_hold_it = self.paused.iter().any(|waiting| waiting.process == process);
        if self.processes[process].state() == State::Stopped && !others_hold_it {
            self.processes[process].wake()?;
        }
        let _ = fate.send(Fate::Go);
        self.disturbed();
        Ok(())
    }

    /// Asks all operators to look at all requests, so that whatever they still had in mind is done; true once they have.
    async fn everybody_looked_again(&mut self) -> Result<bool, RunError> {
        let wanted: Vec<&'static str> =
            self.scene.expected.iter().filter(|(_, wanted)| **wanted).map(|(name, _)| *name).collect();
        if let Some(Barrier { token, reads }) = &self.barrier {
            let echoed = |name: &&str| self.record.current(name).is_some_and(|life| life.echo.as_ref() == Some(token));
            let looked = |((process, name), before): (&(usize, &'static str), &u64)| {
                !self.is_running(*process) || self.desk.reads(*process, name) > *before
            };
            return Ok(wanted.iter().all(echoed) && reads.iter().all(looked));
        }
        let running: Vec<usize> = self.running().collect();
        let pairs = running.into_iter().flat_map(|process| wanted.iter().map(move |name| (process, *name)));
        let reads = pairs.map(|(process, name)| ((process, name), self.desk.reads(process, name))).collect();
        self.barriers += 1;
        let token = format!("look-{}", self.barriers);
        self.scene.request_reconcile(&token).await?;
        self.barrier = Some(Barrier { token, reads });
        Ok(false)
    }

    fn ended_by_themselves(&mut self) -> Result<Vec<usize>, RunError> {
        let mut ended = Vec::new();
        for (number, process) in self.processes.iter_mut().enumerate() {
            if process.ended_by_itself()? {
                ended.push(number);
            }
        }
        Ok(ended)
    }

    async fn finish(mut self, settled: bool, started: Instant) -> Result<Outcome, RunError> {
        let ended_by_themselves = self.ended_by_themselves()?;
        for process in &mut self.processes {
            process.kill().await?;
        }
        let lives = self.record.lives();
        let (flushes, flushes_elsewhere) = self.scene.flushes();
        let entries = self.desk.entries();
        let main = self.record.current(MAIN).and_then(|life| life.phase);
        let (removed, there): (Vec<_>, Vec<_>) = lives.iter().partition(|life| life.gone);
        let phases = there.iter().filter_map(|life| life.phase).collect();
        let removed_in = removed.iter().filter_map(|life| life.phase).collect();
        let violations = judge(&Evidence {
            watch_interrupted: self.script.is_exclusive(),
            lives,
            flushes,
            flushes_elsewhere,
            entries: entries.clone(),
            settled,
            ended_by_themselves,
        });
        let outcome = Outcome {
            script: self.script,
            met: self.met,
            violations,
            flushes,
            phase: main,
            phases,
            removed_in,
            entries,
            processes: self.processes.len(),
            folder: self.home.folder,
            took: started.elapsed(),
        };
        if outcome.violations.is_empty() {
            self.scene.strike().await?;
        }
        Ok(outcome)
    }
}
