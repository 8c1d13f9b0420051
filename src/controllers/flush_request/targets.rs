//! Which request of this process is at which target, so that one target is flushed by one request at a time.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::session::Target;

/// How long a target stays with a request whose reconcile ended while a flush was under way: until the watch has brought its
/// status, which then says the same. It is bounded, so that a request whose reconciles fail holds up no other.
const LINGER: Duration = Duration::from_secs(60);

/// Site and instance number.
type Key = (&'static str, String);

#[derive(Debug)]
struct Entry {
    /// The request, as `<namespace>/<name>`.
    by: String,
    /// Its reconcile has ended; until then the target is still its own.
    until: Option<Instant>,
}

#[derive(Debug, Default)]
struct Shared(Mutex<HashMap<Key, Entry>>);

/// Who is at which target.
#[derive(Clone, Debug, Default)]
pub struct Targets(Arc<Shared>);

/// A target, as long as a reconcile is at it. However the reconcile ends, the target is given back.
#[derive(Debug)]
pub struct AtTarget {
    shared: Arc<Shared>,
    key: Key,
    by: String,
    /// Whether a flush is under way: then the target is given back a moment later.
    pub flushing: bool,
}

impl Targets {
    /// Takes a target for a request.
    ///
    /// # Errors
    /// The request that is at it.
    pub fn take(&self, target: &Target, request: &str, now: Instant) -> Result<AtTarget, String> {
        let mut taken = self.0.lock();
        let key = (target.site.as_str(), target.instance_no.clone());
        if let Some(other) = taken.get(&key).filter(|entry| entry.by != request)
            && other.until.is_none_or(|until| now < until)
        {
            return Err(other.by.clone());
        }
        taken.insert(key.clone(), Entry { by: request.to_owned(), until: None });
        Ok(AtTarget { shared: Arc::clone(&self.0), key, by: request.to_owned(), flushing: false })
    }

    /// Gives back whatever a request took.
    pub fn give_back(&self, request: &str) {
        self.0.lock().retain(|_, entry| entry.by != request);
    }
}

impl Drop for AtTarget {
    fn drop(&mut self) {
        let mut taken = self.shared.lock();
        let Some(entry) = taken.get_mut(&self.key).filter(|entry| entry.by == self.by) else { return };
        if self.flushing {
            entry.until = Some(Instant::now() + LINGER);
        } else {
            taken.remove(&self.key);
        }
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, HashMap<Key, Entry>> {
        // Every change is one insert or removal, so a poisoned lock still guards a sound value.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::cluster_ref::NcpSite;

    fn target(no: &str) -> Target {
        Target { site: NcpSite::Public, instance_no: no.to_owned(), service_name: None }
    }

    #[test]
    fn one_request_at_a_target() {
        let (targets, now) = (Targets::default(), Instant::now());
        let held = targets.take(&target("1"), "a/x", now).unwrap();
        let again = targets.take(&target("1"), "a/x", now).unwrap();
        assert_eq!(targets.take(&target("1"), "b/y", now).unwrap_err(), "a/x");
        assert!(targets.take(&target("2"), "b/y", now).is_ok(), "another target");
        drop((held, again));
        assert!(targets.take(&target("1"), "b/y", now).is_ok());
    }

    #[test]
    fn a_panic_gives_the_target_back() {
        let targets = Targets::default();
        let held = targets.take(&target("1"), "a/x", Instant::now()).unwrap();
        let panicked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(move || {
            let _held = held;
            panic!("a bug");
        }));
        assert!(panicked.is_err());
        assert!(targets.take(&target("1"), "b/y", Instant::now()).is_ok());
    }

    #[test]
    fn a_flush_under_way_keeps_its_target_for_a_moment() {
        let targets = Targets::default();
        let mut held = targets.take(&target("1"), "a/x", Instant::now()).unwrap();
        held.flushing = true;
        drop(held);
        assert_eq!(targets.take(&target("1"), "b/y", Instant::now()).unwrap_err(), "a/x");
        assert!(targets.take(&target("1"), "b/y", Instant::now() + LINGER).is_ok());
        let mut held = targets.take(&target("1"), "a/x", Instant::now()).unwrap();
        held.flushing = true;
        drop(held);
        targets.give_back("a/x");
        assert!(targets.take(&target("1"), "b/y", Instant::now()).is_ok(), "its end was written");
    }
}
