//! Triggers objects when something they follow has changed, and bounds what that costs.
//!
//! Every object of a namespace can follow every cluster, so one change can concern all of them, again and again. An object is
//! reminded at most once until its next pass begins, and the more objects a namespace has, the longer an object rests after a
//! pass: the passes a second of a namespace are bounded, and no other namespace waits for them.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::api::RedisParameterSync;
use crate::object_key::ObjectKey;
use crate::runtime::trigger::Trigger;

/// Passes a second because of reminders that all objects of a namespace make together.
const PASSES_A_SECOND: u32 = 20;
/// The longest time an object rests after a pass.
const LONGEST_REST: Duration = Duration::from_secs(60);

#[derive(Clone, Copy, Debug)]
struct ReminderState {
    /// The object was reminded, and its next pass has not begun.
    is_reminded: bool,
    /// A reminder before this time is delivered at this time.
    rests_until: Instant,
}

/// By namespace, then by name.
type ReminderStates = HashMap<Box<str>, HashMap<Box<str>, ReminderState>>;

/// Reminds the objects of all namespaces.
#[derive(Clone, Debug)]
pub(crate) struct Reminders {
    states: Arc<Mutex<ReminderStates>>,
    trigger: Trigger<RedisParameterSync>,
}

impl Reminders {
    /// Reminders that use `trigger`; no object was reminded yet.
    pub(crate) fn new(trigger: Trigger<RedisParameterSync>) -> Self {
        Self { states: Arc::default(), trigger }
    }

    /// Something that the object follows has changed: it is triggered, now or when its rest is over. It needs a Tokio runtime.
    pub(crate) fn remind(&self, key: &ObjectKey) {
        match self.wait(key, Instant::now()) {
            None => {}
            Some(Duration::ZERO) => self.trigger.trigger(key.clone()),
            Some(wait) => {
                let (trigger, key) = (self.trigger.clone(), key.clone());
                tokio::spawn(async move {
                    tokio::time::sleep(wait).await;
                    trigger.trigger(key);
                });
            }
        }
    }

    /// A pass of the object begins: what changes from now on needs another reminder.
    pub(super) fn begin_pass(&self, key: &ObjectKey) {
        self.begin_pass_at(key, Instant::now());
    }

    /// The object is gone.
    pub(super) fn forget(&self, key: &ObjectKey) {
        let mut states = self.lock();
        let Some(of_namespace) = states.get_mut(key.namespace()) else { return };
        of_namespace.remove(key.name());
        if of_namespace.is_empty() {
            states.remove(key.namespace());
        }
    }

    /// How long a reminder waits. None if no reminder is needed: the object was reminded already, or its first pass is still to come.
    fn wait(&self, key: &ObjectKey, now: Instant) -> Option<Duration> {
        let mut states = self.lock();
        let state = states.get_mut(key.namespace())?.get_mut(key.name()).filter(|state| !state.is_reminded)?;
        state.is_reminded = true;
        Some(state.rests_until.saturating_duration_since(now))
    }

    fn begin_pass_at(&self, key: &ObjectKey, now: Instant) {
        let mut states = self.lock();
        let of_namespace = states.entry(key.namespace().into()).or_default();
        let objects = u32::try_from(of_namespace.len()).unwrap_or(u32::MAX);
        let rests_until = now + rest(objects);
        of_namespace.insert(key.name().into(), ReminderState { is_reminded: false, rests_until });
    }

    fn lock(&self) -> MutexGuard<'_, ReminderStates> {
        self.states.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// How long each of so many objects rests after a pass.
fn rest(objects: u32) -> Duration {
    (Duration::from_secs(1) / PASSES_A_SECOND).saturating_mul(objects).min(LONGEST_REST)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::runtime::queue::QueueLane;
    use crate::runtime::trigger::TriggerStream;

    fn reminders() -> (Reminders, TriggerStream) {
        let (trigger, stream) = Trigger::channel();
        (Reminders::new(trigger), stream)
    }

    #[test]
    fn an_object_is_reminded_once_until_its_pass_begins() {
        let ((reminders, mut stream), key) = (reminders(), ObjectKey::new("shop", "a"));
        reminders.remind(&key);
        assert!(stream.try_recv().is_err(), "a new object has its first pass anyway");
        reminders.begin_pass(&key);
        for _ in 0..3 {
            reminders.remind(&key);
        }
        assert_eq!(stream.try_recv().unwrap().1, QueueLane::Periodic);
        assert!(stream.try_recv().is_err());
        reminders.forget(&key);
        assert!(reminders.lock().is_empty());
    }

    #[test]
    fn few_are_reminded_at_once_and_many_of_a_namespace_rest_in_between() {
        let (reminders, now) = (reminders().0, Instant::now());
        let at = |seconds: u64| now + Duration::from_secs(seconds);
        let in_bank = ObjectKey::new("bank", "a");
        let in_shop: Vec<ObjectKey> = (0..500).map(|number| ObjectKey::new("shop", &number.to_string())).collect();
        reminders.begin_pass_at(&in_bank, now);
        in_shop.iter().for_each(|key| reminders.begin_pass_at(key, now));
        assert_eq!(reminders.wait(&in_bank, now), Some(Duration::ZERO), "another namespace does not wait");
        // Something changes every second, and each object that is reminded makes its pass.
        let passes = (1..=60).map(|second| {
            let due = in_shop.iter().filter(|key| {
                let is_due = reminders.wait(key, at(second)).is_some_and(|wait| wait.is_zero());
                reminders.lock().get_mut("shop").unwrap().get_mut(key.name()).unwrap().is_reminded = false;
                is_due
            });
            due.map(|key| reminders.begin_pass_at(key, at(second))).count()
        });
        let passes: usize = passes.sum();
        assert!((1000..=1700).contains(&passes), "{passes} in a minute");
    }
}
