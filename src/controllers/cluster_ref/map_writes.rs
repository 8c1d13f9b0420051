//! Writes of ConfigMaps, beside the reconciles: an admission webhook that hangs holds up the ConfigMap, and neither the status
//! nor a worker.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::oneshot;

use super::config_map::{Failed, Write};
use super::plan::MapProblem;
use crate::runtime::requeue;

/// How long a status waits for the write before it says that there is no answer yet. A write takes some milliseconds.
const PATIENCE: Duration = Duration::from_secs(2);
/// Writes under way at once in a namespace, and in all.
const IN_A_NAMESPACE: usize = 8;
const IN_ALL: usize = 64;
/// No wait between two attempts is longer, so that what was mended is noticed soon.
const LONGEST_WAIT: Duration = Duration::from_secs(60);

/// What came of a write by the time the status is written.
#[derive(Debug)]
pub enum Written {
    /// The ConfigMap is as planned.
    Done,
    /// It was not any more what was seen: look again.
    Lost,
    /// It could not be written, or not yet.
    Failed(MapProblem),
}

/// The writes under way, and those that failed.
#[derive(Debug, Default)]
pub struct MapWrites(Mutex<HashMap<(String, String), Slot>>);

#[derive(Debug, Default)]
struct Slot {
    is_under_way: bool,
    /// How often it failed in a row.
    failures: u32,
    /// How the last one failed, and when to try again.
    failed: Option<(MapProblem, Instant)>,
    /// Whether the last one took longer than a status waits: then the next status does not wait at all.
    is_slow: bool,
}

impl MapWrites {
    /// Writes the ConfigMap of a reference, unless a write is under way, or failed a moment ago and nobody asks. `later` is called
    /// when the write ends after this has returned.
    pub async fn write(
        self: &Arc<Self>,
        of: (&str, &str),
        is_asked_for: bool,
        write: Write,
        later: impl FnOnce() + Send + 'static,
    ) -> Written {
        let key = (of.0.to_owned(), of.1.to_owned());
        let patience = match self.begin(&key, is_asked_for, Instant::now()) {
            Ok(patience) => patience,
            Err(problem) => return Written::Failed(problem),
        };
        let (answer, mut answered) = oneshot::channel();
        let (writes, of) = (Arc::clone(self), key.clone());
        tokio::spawn(async move {
            let written = writes.end(&of, write.send().await, Instant::now());
            if answer.send(written).is_err() {
                later();
            }
        });
        match tokio::time::timeout(patience, &mut answered).await {
            Ok(answer) => answer.unwrap_or(Written::Lost),
            Err(_) => {
                // Without a slot it has just ended well.
                if let Some(slot) = self.lock().get_mut(&key) {
                    slot.is_slow = true;
                }
                // It may have come just now.
                answered.try_recv().unwrap_or(Written::Failed(unanswered()))
            }
        }
    }

    /// Forgets a reference that is gone.
    pub fn forget(&self, namespace: &str, name: &str) {
        let mut slots = self.lock();
        if !slots.is_empty() {
            slots.remove(&(namespace.to_owned(), name.to_owned()));
        }
    }

    /// Takes note of a write that begins; how long to wait for it.
    fn begin(&self, key: &(String, String), is_asked_for: bool, now: Instant) -> Result<Duration, MapProblem> {
        let mut slots = self.lock();
        if let Some(slot) = slots.get(key) {
            if slot.is_under_way {
                return Err(unanswered());
            }
            if let Some((problem, again)) = slot.failed.as_ref().filter(|(_, again)| !is_asked_for && *again > now) {
                return Err(MapProblem { again: *again - now, ..problem.clone() });
            }
        }
        let under_way = || slots.iter().filter(|(_, slot)| slot.is_under_way);
        if under_way().count() >= IN_ALL || under_way().filter(|(of, _)| of.0 == key.0).count() >= IN_A_NAMESPACE {
            return Err(crowded());
        }
        let slot = slots.entry(key.clone()).or_default();
        slot.is_under_way = true;
        Ok(if slot.is_slow { Duration::ZERO } else { PATIENCE })
    }

    /// Takes note of how a write ended.
    fn end(&self, key: &(String, String), outcome: Result<(), Failed>, now: Instant) -> Written {
        let mut slots = self.lock();
        let problem = match outcome {
            Ok(()) => {
                slots.remove(key);
                return Written::Done;
            }
            Err(Failed::Lost) => {
                slots.remove(key);
                return Written::Lost;
            }
            Err(Failed::Problem(problem)) => problem.doing("cannot be written"),
        };
        let slot = slots.entry(key.clone()).or_default();
        slot.failures = slot.failures.saturating_add(1);
        let again = requeue::after_failures(slot.failures).min(LONGEST_WAIT);
        let problem = MapProblem { again, ..problem };
        slot.is_under_way = false;
        slot.failed = Some((problem.clone(), now + again));
        Written::Failed(problem)
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<(String, String), Slot>> {
        // Every change is one assignment or insert, so a poisoned lock still guards a sound value.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn unanswered() -> MapProblem {
    let message = format!(
        "is not written yet: the Kubernetes API has not answered for {} s, an admission webhook may be slow or down. \
         Applications may find it missing or out of date. The write goes on.",
        PATIENCE.as_secs()
    );
    MapProblem { message, needs_a_person: false, again: LONGEST_WAIT }
}

fn crowded() -> MapProblem {
    let message = "is not written yet: too many writes of ConfigMaps wait for the Kubernetes API. It is tried again.";
    MapProblem { message: message.to_owned(), needs_a_person: false, again: Duration::from_secs(5) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(namespace: &str, name: &str) -> (String, String) {
        (namespace.to_owned(), name.to_owned())
    }

    fn refused() -> Result<(), Failed> {
        let message = "exceeded quota.".to_owned();
        Err(Failed::Problem(MapProblem { message, needs_a_person: true, again: Duration::ZERO }))
    }

    #[test]
    fn what_failed_is_tried_again_with_backoff_or_when_somebody_asks() {
        let (writes, carts, start) = (MapWrites::default(), key("shop", "carts"), Instant::now());
        let after = |seconds| start + Duration::from_secs(seconds);
        assert_eq!(writes.begin(&carts, false, start), Ok(PATIENCE));
        assert!(writes.begin(&carts, true, start).unwrap_err().message.contains("has not answered"), "one at a time");
        let Written::Failed(problem) = writes.end(&carts, refused(), start) else { panic!() };
        assert_eq!(
            problem.message,
            "cannot be written: exceeded quota. Applications may find it missing or out of date. It is tried again."
        );
        assert_eq!(problem.again, Duration::from_secs(1));
        assert_eq!(writes.begin(&carts, false, start), Err(problem));
        assert!(writes.begin(&carts, true, start).is_ok(), "somebody asks");
        let Written::Failed(problem) = writes.end(&carts, refused(), start) else { panic!() };
        assert_eq!(problem.again, Duration::from_secs(2));
        assert!(writes.begin(&carts, false, after(2)).is_ok());
        assert!(matches!(writes.end(&carts, Ok(()), after(2)), Written::Done));
        assert!(writes.lock().is_empty(), "nothing is left of it");
    }

    #[test]
    fn one_namespace_cannot_take_all_the_places() {
        let (writes, now) = (MapWrites::default(), Instant::now());
        for number in 0..IN_A_NAMESPACE {
            assert!(writes.begin(&key("hangs", &number.to_string()), false, now).is_ok());
        }
        assert_eq!(writes.begin(&key("hangs", "one-more"), true, now), Err(crowded()));
        assert_eq!(writes.begin(&key("shop", "carts"), false, now), Ok(PATIENCE));
        writes.forget("hangs", "0");
        assert!(writes.begin(&key("hangs", "one-more"), false, now).is_ok());
    }

    #[test]
    fn who_waited_in_vain_once_does_not_wait_again() {
        let (writes, carts, now) = (MapWrites::default(), key("shop", "carts"), Instant::now());
        writes.begin(&carts, false, now).unwrap();
        writes.lock().get_mut(&carts).unwrap().is_slow = true;
        writes.end(&carts, refused(), now);
        assert_eq!(writes.begin(&carts, true, now), Ok(Duration::ZERO));
    }
}
