//! The desk of one run: every write of its operators is booked here, and held where the script wants it held.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use http::StatusCode;
use tokio::sync::{Notify, mpsc, oneshot};

use super::write::{Point, Side, Write};

/// What becomes of a held write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// It goes on: to the server, or back to the operator.
    Go,
    /// The connection is closed.
    Drop,
    /// This status is answered instead of it.
    Answer(StatusCode),
}

/// A write that waits for its [`Fate`].
#[derive(Debug)]
pub struct Held {
    /// The step of the script that holds it.
    pub step: usize,
    /// The operator process that made it.
    pub process: usize,
    /// Decides; dropped, the connection is closed.
    pub fate: oneshot::Sender<Fate>,
}

/// A write as it was booked.
#[derive(Clone, Copy, Debug)]
pub struct Entry {
    /// The operator process that made it.
    pub process: usize,
    /// What it is.
    pub write: Write,
    /// Which of its kind, from 1.
    pub nth: u32,
    /// What the server answered; none if it never got there or did not answer.
    pub carried_out: Option<u16>,
    /// What the operator was told; none if nothing.
    pub told: Option<u16>,
    /// Whether it is over.
    pub over: bool,
}

#[derive(Default)]
struct Books {
    entries: Vec<Entry>,
    counts: BTreeMap<String, u32>,
    armed: Vec<(usize, Point)>,
    held: usize,
    reads: BTreeMap<(usize, String), u64>,
    watching: BTreeSet<usize>,
    outages: BTreeMap<usize, u32>,
}

/// The desk. Cheap to clone by `Arc`; shared by the proxies and the run.
pub struct Desk {
    books: Mutex<Books>,
    holds: mpsc::UnboundedSender<Held>,
    pulse: Arc<Notify>,
}

impl Desk {
    /// A desk whose held writes come out of the receiver. `pulse` is notified of everything that happens.
    pub fn new(armed: Vec<(usize, Point)>, pulse: Arc<Notify>) -> (Arc<Self>, mpsc::UnboundedReceiver<Held>) {
        let (holds, held) = mpsc::unbounded_channel();
        let books = Mutex::new(Books { armed, ..Books::default() });
        (Arc::new(Self { books, holds, pulse }), held)
    }

    fn books(&self) -> MutexGuard<'_, Books> {
        self.books.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Books a write that has arrived; it is under way until the ticket is dropped.
    pub fn arrived(self: &Arc<Self>, process: usize, write: Write) -> Ticket {
        let mut books = self.books();
        let nth = books.counts.entry(write.to_string()).or_default();
        *nth += 1;
        let nth = *nth;
        books.entries.push(Entry { process, write, nth, carried_out: None, told: None, over: false });
        let at = books.entries.len() - 1;
        drop(books);
        self.pulse.notify_one();
        Ticket { desk: Arc::clone(self), at, process, write, nth }
    }

    /// Books a read of a request.
    pub fn read(&self, process: usize, name: &str) {
        *self.books().reads.entry((process, name.to_owned())).or_default() += 1;
        self.pulse.notify_one();
    }

    /// How often a process has read a request.
    pub fn reads(&self, process: usize, name: &str) -> u64 {
        self.books().reads.get(&(process, name.to_owned())).copied().unwrap_or_default()
    }

    /// Books that a process watches the requests, so that it is at work.
    pub fn watches(&self, process: usize) {
        self.books().watching.insert(process);
        self.pulse.notify_one();
    }

    /// Whether a process is at work.
    pub fn is_watching(&self, process: usize) -> bool {
        self.books().watching.contains(&process)
    }

    /// Closes the connections of the next `requests` requests of a process to the API server.
    pub fn cut_off(&self, process: usize, requests: u32) {
        self.books().outages.insert(process, requests);
    }

    /// Whether this request of a process meets a closed connection.
    pub fn meets_outage(&self, process: usize) -> bool {
        let mut books = self.books();
        match books.outages.get_mut(&process) {
            Some(left) if *left > 0 => {
                *left -= 1;
                true
            }
            _ => false,
        }
    }

    /// How many writes are under way and not held.
    pub fn moving(&self) -> usize {
        let books = self.books();
        books.entries.iter().filter(|entry| !entry.over).count().saturating_sub(books.held)
    }

    /// All writes so far.
    pub fn entries(&self) -> Vec<Entry> {
        self.books().entries.clone()
    }
}

/// A write under way.
pub struct Ticket {
    desk: Arc<Desk>,
    at: usize,
    process: usize,
    write: Write,
    nth: u32,
}

impl Ticket {
    /// Waits, if the script wants it held here, for what becomes of it. Several steps may hold it, one after the other.
    pub async fn pass(&self, side: Side) -> Fate {
        let point = Point { side, write: self.write, nth: self.nth };
        while let Some(verdict) = self.hold(point) {
            let fate = verdict.await.unwrap_or(Fate::Drop);
            self.desk.books().held -= 1;
            if fate != Fate::Go {
                return fate;
            }
        }
        Fate::Go
    }

    /// Hands the write to the next step that is armed for this point, if there is one.
    fn hold(&self, point: Point) -> Option<oneshot::Receiver<Fate>> {
        let mut books = self.desk.books();
        let at = books.armed.iter().position(|(_, armed)| *armed == point)?;
        let (step, _) = books.armed.remove(at);
        books.held += 1;
        let (fate, verdict) = oneshot::channel();
        // It fails only when the run is over; then the fate is dropped with it.
        let _ = self.desk.holds.send(Held { step, process: self.process, fate });
        self.desk.pulse.notify_one();
        Some(verdict)
    }

    /// Books what the server answered.
    pub fn carried_out(&self, status: u16) {
        self.change(|entry| entry.carried_out = Some(status));
    }

    /// Books what the operator is told.
    pub fn told(&self, status: u16) {
        self.change(|entry| entry.told = Some(status));
    }

    fn change(&self, change: impl FnOnce(&mut Entry)) {
        if let Some(entry) = self.desk.books().entries.get_mut(self.at) {
            change(entry);
        }
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        self.change(|entry| entry.over = true);
        self.desk.pulse.notify_one();
    }
}
