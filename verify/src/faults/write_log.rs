//! The log of all writes of one run's operators. It holds a write where the script wants it held.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use http::StatusCode;
use tokio::sync::{Notify, mpsc, oneshot};

use super::write::{OperatorWrite, Point, Side};

/// What becomes of a held write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum WriteFate {
    /// It goes on: to the server, or back to the operator.
    Go,
    /// The connection is closed.
    Drop,
    /// This status is answered instead of it.
    Answer(StatusCode),
}

/// A write that waits for its [`WriteFate`].
#[derive(Debug)]
pub(super) struct Held {
    /// The step of the script that holds it.
    pub step: usize,
    /// The operator process that made it.
    pub process: usize,
    /// Decides what becomes of it. If it is dropped, the connection is closed.
    pub fate: oneshot::Sender<WriteFate>,
}

/// A write as it was logged.
#[derive(Clone, Copy, Debug)]
pub(super) struct LoggedWrite {
    /// The operator process that made it.
    pub process: usize,
    /// What it is.
    pub write: OperatorWrite,
    /// Which of its kind, from 1.
    pub nth: u32,
    /// Status of the server's answer; none if the write did not reach the server, or the server did not answer.
    pub carried_out: Option<u16>,
    /// Status of the answer that the operator got; none if it got none.
    pub told: Option<u16>,
    /// Whether it is over.
    pub over: bool,
}

#[derive(Default)]
struct Writes {
    entries: Vec<LoggedWrite>,
    counts: BTreeMap<String, u32>,
    armed: Vec<(usize, Point)>,
    held: usize,
    reads: BTreeMap<(usize, String), u64>,
    watching: BTreeSet<usize>,
    outages: BTreeMap<usize, u32>,
}

/// The log of one run, shared by its proxies and the run itself.
pub(super) struct WriteLog {
    writes: Mutex<Writes>,
    holds: mpsc::UnboundedSender<Held>,
    pulse: Arc<Notify>,
}

impl WriteLog {
    /// An empty log. Writes that the script wants held come out of the receiver; `pulse` is notified of everything that happens.
    pub(super) fn new(armed: Vec<(usize, Point)>, pulse: Arc<Notify>) -> (Arc<Self>, mpsc::UnboundedReceiver<Held>) {
        let (holds, held) = mpsc::unbounded_channel();
        let writes = Mutex::new(Writes { armed, ..Writes::default() });
        (Arc::new(Self { writes, holds, pulse }), held)
    }

    fn writes(&self) -> MutexGuard<'_, Writes> {
        self.writes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Logs a write that has arrived at a proxy. It is under way until the returned value is dropped.
    pub(super) fn arrived(self: &Arc<Self>, process: usize, write: OperatorWrite) -> OpenWrite {
        let mut writes = self.writes();
        let nth = writes.counts.entry(write.to_string()).or_default();
        *nth += 1;
        let nth = *nth;
        writes.entries.push(LoggedWrite { process, write, nth, carried_out: None, told: None, over: false });
        let at = writes.entries.len() - 1;
        drop(writes);
        self.pulse.notify_one();
        OpenWrite { write_log: Arc::clone(self), at, process, write, nth }
    }

    /// Counts a read of a request.
    pub(super) fn read(&self, process: usize, name: &str) {
        *self.writes().reads.entry((process, name.to_owned())).or_default() += 1;
        self.pulse.notify_one();
    }

    /// How often a process has read a request.
    pub(super) fn reads(&self, process: usize, name: &str) -> u64 {
        self.writes().reads.get(&(process, name.to_owned())).copied().unwrap_or_default()
    }

    /// Notes that a process watches the requests, which means that it reconciles.
    pub(super) fn watches(&self, process: usize) {
        self.writes().watching.insert(process);
        self.pulse.notify_one();
    }

    /// Whether a process watches the requests.
    pub(super) fn is_watching(&self, process: usize) -> bool {
        self.writes().watching.contains(&process)
    }

    /// Closes the connections of the next `requests` requests of a process to the API server.
    pub(super) fn cut_off(&self, process: usize, requests: u32) {
        self.writes().outages.insert(process, requests);
    }

    /// Whether the connection of this request is to be closed.
    pub(super) fn meets_outage(&self, process: usize) -> bool {
        let mut writes = self.writes();
        match writes.outages.get_mut(&process) {
            Some(left) if *left > 0 => {
                *left -= 1;
                true
            }
            _ => false,
        }
    }

    /// How many writes are under way and not held.
    pub(super) fn moving(&self) -> usize {
        let writes = self.writes();
        writes.entries.iter().filter(|entry| !entry.over).count().saturating_sub(writes.held)
    }

    /// All writes so far.
    pub(super) fn entries(&self) -> Vec<LoggedWrite> {
        self.writes().entries.clone()
    }
}

/// A write under way.
pub(super) struct OpenWrite {
    write_log: Arc<WriteLog>,
    at: usize,
    process: usize,
    write: OperatorWrite,
    nth: u32,
}

impl OpenWrite {
    /// Waits for what becomes of the write, if a step of the script holds it at this point. Several steps may hold it in turn.
    pub(super) async fn pass(&self, side: Side) -> WriteFate {
        let point = Point { side, write: self.write, nth: self.nth };
        while let Some(verdict) = self.hold(point) {
            let fate = verdict.await.unwrap_or(WriteFate::Drop);
            self.write_log.writes().held -= 1;
            if fate != WriteFate::Go {
                return fate;
            }
        }
        WriteFate::Go
    }

    /// Hands the write to the next step that is armed for this point, if there is one.
    fn hold(&self, point: Point) -> Option<oneshot::Receiver<WriteFate>> {
        let mut writes = self.write_log.writes();
        let at = writes.armed.iter().position(|(_, armed)| *armed == point)?;
        let (step, _) = writes.armed.remove(at);
        writes.held += 1;
        let (fate, verdict) = oneshot::channel();
        // Sending fails only when the run is over; then the fate is dropped, and the connection is closed.
        let _ = self.write_log.holds.send(Held { step, process: self.process, fate });
        self.write_log.pulse.notify_one();
        Some(verdict)
    }

    /// Logs the server's answer.
    pub(super) fn carried_out(&self, status: u16) {
        self.change(|entry| entry.carried_out = Some(status));
    }

    /// Logs the answer that the operator gets.
    pub(super) fn told(&self, status: u16) {
        self.change(|entry| entry.told = Some(status));
    }

    fn change(&self, change: impl FnOnce(&mut LoggedWrite)) {
        if let Some(entry) = self.write_log.writes().entries.get_mut(self.at) {
            change(entry);
        }
    }
}

impl Drop for OpenWrite {
    fn drop(&mut self) {
        self.change(|entry| entry.over = true);
        self.write_log.pulse.notify_one();
    }
}
