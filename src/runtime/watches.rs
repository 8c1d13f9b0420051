//! All watches of the process: their health, and how many may be open at once.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tracing::{info, warn};

use super::watch_health::{HealthBoard, LogLine, WatchFailure, WatchId, WatchNumbers, WatchSummary};

/// Concurrent lists, so that hundreds of namespaces are not listed at the same moment.
const LISTS_AT_ONCE: usize = 16;
/// How often failures are logged. Those within this time are logged together.
const SPEAK_EVERY: Duration = Duration::from_secs(1);
/// How often a step back of the API server's versions is logged, which every watch notices.
const WENT_BACK_EVERY: Duration = Duration::from_secs(60);

/// All watches of the process.
#[derive(Debug)]
pub struct Watches {
    board: Mutex<HealthBoard>,
    went_back: Mutex<Option<Instant>>,
    lists: Arc<Semaphore>,
    places: Arc<Semaphore>,
}

impl Default for Watches {
    fn default() -> Self {
        Self {
            board: Mutex::default(),
            went_back: Mutex::default(),
            lists: Arc::new(Semaphore::new(LISTS_AT_ONCE)),
            places: Arc::new(Semaphore::new(Semaphore::MAX_PERMITS)),
        }
    }
}

impl Watches {
    /// No more than `open` watches may be open at once. The others wait, and `sentence` says so.
    pub fn limit(&self, open: usize, sentence: String) {
        self.places.forget_permits(self.places.available_permits().saturating_sub(open));
        self.board().hold_up(sentence);
    }

    /// Whether the watches work.
    pub fn summary(&self) -> WatchSummary {
        self.board().summary(Instant::now())
    }

    /// For metrics: each kind that is watched.
    pub fn numbers(&self) -> Vec<WatchNumbers> {
        self.board().numbers(Instant::now())
    }

    /// Logs what fails, for as long as it is polled.
    pub async fn speak(&self) {
        let mut every = tokio::time::interval(SPEAK_EVERY);
        loop {
            every.tick().await;
            let lines = self.board().lines(Instant::now());
            for line in lines {
                match line {
                    LogLine::Warning(sentence) => warn!("{sentence}"),
                    LogLine::Recovered(kind) => info!(kind, "all objects are watched again"),
                }
            }
        }
    }

    pub(super) fn begin(&self, id: WatchId) {
        self.board().begin(id, Instant::now());
    }

    pub(super) fn heard(&self, id: &WatchId) {
        self.board().heard(id, Instant::now());
    }

    pub(super) fn up(&self, id: &WatchId) {
        self.board().up(id, Instant::now());
    }

    pub(super) fn failed(&self, id: &WatchId, failure: WatchFailure) -> Duration {
        self.board().failed(id, failure, Instant::now())
    }

    /// A list is older than what a watch has seen before.
    pub(super) fn went_back(&self, before: u64, now: u64) {
        let mut last = self.went_back.lock().unwrap_or_else(PoisonError::into_inner);
        if last.is_none_or(|last| last.elapsed() >= WENT_BACK_EVERY) {
            *last = Some(Instant::now());
            warn!(
                before,
                now,
                "the API server's resourceVersion went back, as after a restore of etcd; all objects were listed again"
            );
        }
    }

    /// Waits until this watch may be open. None only at the end of the process.
    pub(super) async fn place(&self, id: &WatchId) -> Option<OwnedSemaphorePermit> {
        if let Ok(place) = Arc::clone(&self.places).try_acquire_owned() {
            return Some(place);
        }
        self.board().waits(id);
        Arc::clone(&self.places).acquire_owned().await.ok()
    }

    /// Waits until one more list may begin.
    pub(super) async fn turn_to_list(&self) -> Option<OwnedSemaphorePermit> {
        Arc::clone(&self.lists).acquire_owned().await.ok()
    }

    fn board(&self) -> MutexGuard<'_, HealthBoard> {
        // It is consistent after every single operation.
        self.board.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
