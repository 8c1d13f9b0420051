//! The writes of ConfigMaps under way. They run beside the reconciles, so that an admission webhook that hangs delays the
//! ConfigMap, and neither the status nor a worker.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::oneshot;

use super::super::messages;
use super::object::{ConfigMapError, Write};
use super::state::ConfigMapProblem;
use crate::backoff::Backoff;
use crate::object_key::ObjectKey;

/// How long a status waits for the write before it says that there is no answer yet. A write takes some milliseconds.
const PATIENCE: Duration = Duration::from_secs(2);
/// Writes under way at once in a namespace, and in all.
const IN_A_NAMESPACE: usize = 8;
const IN_ALL: usize = 64;
/// Never longer, so that a cause that is gone is noticed soon.
const LONGEST_WAIT: Duration = Duration::from_secs(60);
const BACKOFF: Backoff = Backoff::new(Duration::from_secs(1), LONGEST_WAIT);

/// What came of a write by the time the status is written.
#[derive(Debug)]
pub enum WriteOutcome {
    /// The ConfigMap is as planned.
    Done,
    /// It is not any more as it was observed: observe it again.
    Lost,
    /// It could not be written, or not yet.
    Failed(ConfigMapProblem),
}

/// The writes under way, and those that failed.
#[derive(Debug, Default)]
pub struct ConfigMapWrites(Mutex<HashMap<ObjectKey, WriteState>>);

#[derive(Debug, Default)]
struct WriteState {
    is_under_way: bool,
    /// How often it failed in a row.
    failures: u32,
    /// How the last one failed, and when to try again.
    failed: Option<(ConfigMapProblem, Instant)>,
    /// Whether the last one took longer than a status waits: then the next status does not wait at all.
    is_slow: bool,
}

impl ConfigMapWrites {
    /// Writes the ConfigMap of a reference, unless a write is under way, or one failed a moment ago and no person waits for the
    /// reference (`is_awaited`). `later` is called if the write ends after this has returned.
    pub async fn write(
        self: &Arc<Self>,
        key: ObjectKey,
        is_awaited: bool,
        write: Write,
        later: impl FnOnce() + Send + 'static,
    ) -> WriteOutcome {
        let patience = match self.begin(&key, is_awaited, Instant::now()) {
            Ok(patience) => patience,
            Err(problem) => return WriteOutcome::Failed(problem),
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
            Ok(answer) => answer.unwrap_or(WriteOutcome::Lost),
            Err(_) => {
                // Without a state it has just ended with success.
                if let Some(state) = self.lock().get_mut(&key) {
                    state.is_slow = true;
                }
                // The answer may have come just now.
                answered.try_recv().unwrap_or(WriteOutcome::Failed(unanswered()))
            }
        }
    }

    /// Forgets a reference that is gone.
    pub fn forget(&self, key: &ObjectKey) {
        let mut states = self.lock();
        if !states.is_empty() {
            states.remove(key);
        }
    }

    /// Records that a write begins. Gives back how long to wait for it.
    fn begin(&self, key: &ObjectKey, is_awaited: bool, now: Instant) -> Result<Duration, ConfigMapProblem> {
        let mut states = self.lock();
        if let Some(state) = states.get(key) {
            if state.is_under_way {
                return Err(unanswered());
            }
            if let Some((problem, again)) = state.failed.as_ref().filter(|(_, again)| !is_awaited && *again > now) {
                return Err(ConfigMapProblem { again: *again - now, ..problem.clone() });
            }
        }
        let under_way = || states.iter().filter(|(_, state)| state.is_under_way);
        if under_way().count() >= IN_ALL
            || under_way().filter(|(of, _)| of.namespace() == key.namespace()).count() >= IN_A_NAMESPACE
        {
            return Err(crowded());
        }
        let state = states.entry(key.clone()).or_default();
        state.is_under_way = true;
        Ok(if state.is_slow { Duration::ZERO } else { PATIENCE })
    }

    /// Records how a write ended.
    fn end(&self, key: &ObjectKey, outcome: Result<(), ConfigMapError>, now: Instant) -> WriteOutcome {
        let mut states = self.lock();
        let problem = match outcome {
            Ok(()) => {
                states.remove(key);
                return WriteOutcome::Done;
            }
            Err(ConfigMapError::Lost) => {
                states.remove(key);
                return WriteOutcome::Lost;
            }
            Err(ConfigMapError::Problem(problem)) => problem.because("cannot be written"),
        };
        let state = states.entry(key.clone()).or_default();
        state.failures = state.failures.saturating_add(1);
        let again = BACKOFF.after(state.failures);
        let problem = ConfigMapProblem { again, ..problem };
        state.is_under_way = false;
        state.failed = Some((problem.clone(), now + again));
        WriteOutcome::Failed(problem)
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<ObjectKey, WriteState>> {
        // Every change is one assignment or insert, so a poisoned lock still guards a sound value.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn unanswered() -> ConfigMapProblem {
    let message = messages::config_map_unanswered(PATIENCE);
    ConfigMapProblem { message, needs_a_person: false, again: LONGEST_WAIT }
}

fn crowded() -> ConfigMapProblem {
    let message = messages::CONFIG_MAP_CROWDED.to_owned();
    ConfigMapProblem { message, needs_a_person: false, again: Duration::from_secs(5) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(namespace: &str, name: &str) -> ObjectKey {
        ObjectKey::new(namespace, name)
    }

    fn refused() -> Result<(), ConfigMapError> {
        let message = "exceeded quota.".to_owned();
        Err(ConfigMapError::Problem(ConfigMapProblem { message, needs_a_person: true, again: Duration::ZERO }))
    }

    #[test]
    fn a_failed_write_is_tried_again_with_backoff_or_when_a_person_asks() {
        let (writes, carts, start) = (ConfigMapWrites::default(), key("shop", "carts"), Instant::now());
        let after = |seconds| start + Duration::from_secs(seconds);
        assert_eq!(writes.begin(&carts, false, start), Ok(PATIENCE));
        assert!(writes.begin(&carts, true, start).unwrap_err().message.contains("has not answered"), "one at a time");
        let WriteOutcome::Failed(problem) = writes.end(&carts, refused(), start) else { panic!() };
        assert_eq!(
            problem.message,
            "cannot be written: exceeded quota. Applications may find it missing or out of date. It is retried."
        );
        assert_eq!(problem.again, Duration::from_secs(1));
        assert_eq!(writes.begin(&carts, false, start), Err(problem));
        assert!(writes.begin(&carts, true, start).is_ok(), "somebody asks");
        let WriteOutcome::Failed(problem) = writes.end(&carts, refused(), start) else { panic!() };
        assert_eq!(problem.again, Duration::from_secs(2));
        assert!(writes.begin(&carts, false, after(2)).is_ok());
        assert!(matches!(writes.end(&carts, Ok(()), after(2)), WriteOutcome::Done));
        assert!(writes.lock().is_empty(), "nothing is left of it");
    }

    #[test]
    fn one_namespace_cannot_take_all_the_places() {
        let (writes, now) = (ConfigMapWrites::default(), Instant::now());
        for number in 0..IN_A_NAMESPACE {
            assert!(writes.begin(&key("hangs", &number.to_string()), false, now).is_ok());
        }
        assert_eq!(writes.begin(&key("hangs", "one-more"), true, now), Err(crowded()));
        assert_eq!(writes.begin(&key("shop", "carts"), false, now), Ok(PATIENCE));
        writes.forget(&key("hangs", "0"));
        assert!(writes.begin(&key("hangs", "one-more"), false, now).is_ok());
    }

    #[test]
    fn a_status_that_waited_in_vain_once_does_not_wait_again() {
        let (writes, carts, now) = (ConfigMapWrites::default(), key("shop", "carts"), Instant::now());
        writes.begin(&carts, false, now).unwrap();
        writes.lock().get_mut(&carts).unwrap().is_slow = true;
        writes.end(&carts, refused(), now);
        assert_eq!(writes.begin(&carts, true, now), Ok(Duration::ZERO));
    }
}
