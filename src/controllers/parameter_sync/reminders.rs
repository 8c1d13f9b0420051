//! Reminds objects that something they follow has changed, and bounds what that costs.
//!
//! Every object of a namespace can follow every cluster, so one change can concern all of them, again and again. An object is
//! reminded at most once until it was looked at, and the more objects a namespace has, the longer it is left alone after
//! that: the passes a second of a namespace are bounded, and no other namespace waits for them.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::api::RedisParameterSync;
use crate::runtime::queue::Lane;
use crate::runtime::trigger::Trigger;

/// Passes a second because of reminders that all objects of a namespace make together.
const PASSES_A_SECOND: u32 = 20;
/// The longest time an object is left alone.
const LONGEST_REST: Duration = Duration::from_secs(60);

#[derive(Clone, Copy, Debug)]
struct Slot {
    /// It was reminded, and its pass has not begun.
    is_reminded: bool,
    /// It is left alone until then.
    rests_until: Instant,
}

/// Reminds the objects of all namespaces.
#[derive(Clone, Debug)]
pub struct Reminders {
    slots: Arc<Mutex<HashMap<Box<str>, HashMap<Box<str>, Slot>>>>,
    waker: Trigger<RedisParameterSync>,
}

impl Reminders {
    /// Nobody was reminded yet; `waker` wakes who is.
    pub fn new(waker: Trigger<RedisParameterSync>) -> Self {
        Self { slots: Arc::default(), waker }
    }

    /// Something that the object follows has changed: it is looked at, now or when its rest is over. It needs a Tokio runtime.
    pub fn remind(&self, namespace: &str, name: &str) {
        match self.wait(namespace, name, Instant::now()) {
            None => {}
            Some(Duration::ZERO) => self.waker.wake_in(Lane::Periodic, namespace, name),
            Some(wait) => {
                let (waker, namespace, name) = (self.waker.clone(), namespace.to_owned(), name.to_owned());
                tokio::spawn(async move {
                    tokio::time::sleep(wait).await;
                    waker.wake_in(Lane::Periodic, &namespace, &name);
                });
            }
        }
    }

    /// A pass of the object begins: what changes from now on is news again.
    pub fn begin(&self, namespace: &str, name: &str) {
        self.begin_at(namespace, name, Instant::now());
    }

    /// The object is gone.
    pub fn forget(&self, namespace: &str, name: &str) {
        let mut slots = self.lock();
        let Some(here) = slots.get_mut(namespace) else { return };
        here.remove(name);
        if here.is_empty() {
            slots.remove(namespace);
        }
    }

    /// How long a reminder waits; none if the object is reminded already, or was never looked at: then it will be.
    fn wait(&self, namespace: &str, name: &str, now: Instant) -> Option<Duration> {
        let mut slots = self.lock();
        let slot = slots.get_mut(namespace)?.get_mut(name).filter(|slot| !slot.is_reminded)?;
        slot.is_reminded = true;
        Some(slot.rests_until.saturating_duration_since(now))
    }

    fn begin_at(&self, namespace: &str, name: &str, now: Instant) {
        let mut slots = self.lock();
        let here = slots.entry(namespace.into()).or_default();
        let others = u32::try_from(here.len()).unwrap_or(u32::MAX);
        let rests_until = now + rest(others);
        here.insert(name.into(), Slot { is_reminded: false, rests_until });
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Box<str>, HashMap<Box<str>, Slot>>> {
        self.slots.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// How long each of so many objects is left alone.
fn rest(objects: u32) -> Duration {
    (Duration::from_secs(1) / PASSES_A_SECOND).saturating_mul(objects).min(LONGEST_REST)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::runtime::trigger::TriggerStream;

    fn reminders() -> (Reminders, TriggerStream) {
        let (waker, wakes) = Trigger::channel();
        (Reminders::new(waker), wakes)
    }

    #[test]
    fn an_object_is_reminded_once_until_it_is_looked_at() {
        let (reminders, mut wakes) = reminders();
        reminders.remind("shop", "a");
        assert!(wakes.try_recv().is_err(), "a new one is looked at anyway");
        reminders.begin("shop", "a");
        for _ in 0..3 {
            reminders.remind("shop", "a");
        }
        assert_eq!(wakes.try_recv().unwrap().1, Lane::Periodic);
        assert!(wakes.try_recv().is_err());
        reminders.forget("shop", "a");
        assert!(reminders.lock().is_empty());
    }

    #[test]
    fn few_are_reminded_at_once_and_many_of_a_namespace_rest_in_between() {
        let (reminders, now) = (reminders().0, Instant::now());
        let at = |seconds: u64| now + Duration::from_secs(seconds);
        reminders.begin_at("bank", "a", now);
        for number in 0..500 {
            reminders.begin_at("shop", &number.to_string(), now);
        }
        assert_eq!(reminders.wait("bank", "a", now), Some(Duration::ZERO), "another namespace does not wait");
        // Something changes every second, and whoever is reminded is looked at.
        let passes = (1..=60).map(|second| {
            let due = (0..500).filter(|number| {
                let name = number.to_string();
                let is_due = reminders.wait("shop", &name, at(second)).is_some_and(|wait| wait.is_zero());
                reminders.lock().get_mut("shop").unwrap().get_mut(name.as_str()).unwrap().is_reminded = false;
                is_due
            });
            due.map(|number| reminders.begin_at("shop", &number.to_string(), at(second))).count()
        });
        let passes: usize = passes.sum();
        assert!((1000..=1700).contains(&passes), "{passes} in a minute");
    }
}
