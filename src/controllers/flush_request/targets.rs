//! Which request is at which target, so that one target is flushed by one request at a time.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use jiff::Timestamp;

use super::facts::TargetCache;
use super::plan::WATCH_LIMIT;
use crate::api::cluster_ref::NcpSite;
use crate::api::flush_request::{FlushPhase, RedisFlushRequestStatus};
use crate::object_key::ObjectKey;

/// How long a target stays with a request whose reconcile ended while a flush was under way: until the watch has brought its
/// status, which then says the same. It is bounded, so that a request whose reconciles fail holds up no other.
const LINGER: Duration = Duration::from_secs(60);

/// A request that is Sending or Accepted for longer than this is not waited for any more: what ended it is not written down, and
/// perhaps cannot be.
const LONGEST_FLUSH: (Duration, Duration) =
    (Duration::from_mins(10), WATCH_LIMIT.saturating_add(Duration::from_mins(10)));

/// Site and instance number.
type TargetKey = (NcpSite, String);

/// The request at a target.
#[derive(Debug)]
struct Occupant {
    request: ObjectKey,
    /// Its reconcile has ended, and the target is its own until this time.
    until: Option<Instant>,
}

#[derive(Debug, Default)]
struct Occupants(Mutex<HashMap<TargetKey, Occupant>>);

/// The targets that requests of this process are at.
#[derive(Clone, Debug, Default)]
pub struct BusyTargets(Arc<Occupants>);

/// The right to a target for one reconcile. However the reconcile ends, the target is given back.
#[derive(Debug)]
pub struct TargetGuard {
    occupants: Arc<Occupants>,
    key: TargetKey,
    request: ObjectKey,
    /// Whether a flush is under way: then the target is given back a moment later.
    pub flushing: bool,
}

impl BusyTargets {
    /// Takes a target for a request.
    ///
    /// # Errors
    /// The request that is at it.
    pub fn take(&self, target: &TargetCache, request: &ObjectKey, now: Instant) -> Result<TargetGuard, ObjectKey> {
        let mut taken = self.0.lock();
        let key = (target.site, target.instance_no.clone());
        if let Some(other) = taken.get(&key).filter(|occupant| occupant.request != *request)
            && other.until.is_none_or(|until| now < until)
        {
            return Err(other.request.clone());
        }
        taken.insert(key.clone(), Occupant { request: request.clone(), until: None });
        Ok(TargetGuard { occupants: Arc::clone(&self.0), key, request: request.clone(), flushing: false })
    }

    /// Gives back whatever a request took.
    pub fn give_back(&self, request: &ObjectKey) {
        self.0.lock().retain(|_, occupant| occupant.request != *request);
    }
}

impl Drop for TargetGuard {
    fn drop(&mut self) {
        let mut taken = self.occupants.lock();
        let Some(occupant) = taken.get_mut(&self.key).filter(|occupant| occupant.request == self.request) else {
            return;
        };
        if self.flushing {
            occupant.until = Some(Instant::now() + LINGER);
        } else {
            taken.remove(&self.key);
        }
    }
}

impl Occupants {
    fn lock(&self) -> MutexGuard<'_, HashMap<TargetKey, Occupant>> {
        // Every change is one insert or removal, so a poisoned lock still guards a sound value.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether a request's status says that it flushes this target.
pub(super) fn is_flushing(status: &RedisFlushRequestStatus, target: &TargetCache, now: Timestamp) -> bool {
    let no = status.target.as_ref().and_then(|target| target.cloud_db_instance_no.as_ref());
    let began = status.attempt.as_ref().map(|attempt| attempt.started_at.0);
    let for_less_than =
        |longest: Duration| began.and_then(|began| began.checked_add(longest).ok()).is_none_or(|latest| now < latest);
    no == Some(&target.instance_no)
        && match status.phase {
            Some(FlushPhase::Sending) => for_less_than(LONGEST_FLUSH.0),
            Some(FlushPhase::Accepted) => for_less_than(LONGEST_FLUSH.1),
            _ => false,
        }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::flush_request::{Attempt, FlushTarget};

    fn target(no: &str) -> TargetCache {
        TargetCache { site: NcpSite::Public, instance_no: no.to_owned(), name: None }
    }

    fn request(key: &str) -> ObjectKey {
        let (namespace, name) = key.split_once('/').unwrap();
        ObjectKey::new(namespace, name)
    }

    #[test]
    fn one_request_at_a_target() {
        let (targets, now) = (BusyTargets::default(), Instant::now());
        let held = targets.take(&target("1"), &request("a/x"), now).unwrap();
        let again = targets.take(&target("1"), &request("a/x"), now).unwrap();
        assert_eq!(targets.take(&target("1"), &request("b/y"), now).unwrap_err(), request("a/x"));
        assert!(targets.take(&target("2"), &request("b/y"), now).is_ok(), "another target");
        drop((held, again));
        assert!(targets.take(&target("1"), &request("b/y"), now).is_ok());
    }

    #[test]
    fn a_panic_gives_the_target_back() {
        let targets = BusyTargets::default();
        let held = targets.take(&target("1"), &request("a/x"), Instant::now()).unwrap();
        let panicked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(move || {
            let _held = held;
            panic!("a bug");
        }));
        assert!(panicked.is_err());
        assert!(targets.take(&target("1"), &request("b/y"), Instant::now()).is_ok());
    }

    #[test]
    fn a_flush_under_way_keeps_its_target_for_a_moment() {
        let targets = BusyTargets::default();
        let mut held = targets.take(&target("1"), &request("a/x"), Instant::now()).unwrap();
        held.flushing = true;
        drop(held);
        assert_eq!(targets.take(&target("1"), &request("b/y"), Instant::now()).unwrap_err(), request("a/x"));
        assert!(targets.take(&target("1"), &request("b/y"), Instant::now() + LINGER).is_ok());
        let mut held = targets.take(&target("1"), &request("a/x"), Instant::now()).unwrap();
        held.flushing = true;
        drop(held);
        targets.give_back(&request("a/x"));
        assert!(targets.take(&target("1"), &request("b/y"), Instant::now()).is_ok(), "its end was written");
    }

    #[test]
    fn a_request_without_a_verdict_holds_its_target_for_a_bounded_time() {
        let target = TargetCache { site: NcpSite::Public, instance_no: "1".to_owned(), name: None };
        let now = Timestamp::UNIX_EPOCH;
        let after = |phase, minutes: u64| {
            let status = RedisFlushRequestStatus {
                phase: Some(phase),
                attempt: Some(Attempt {
                    id: "a".to_owned(),
                    started_at: k8s_openapi::apimachinery::pkg::apis::meta::v1::Time(now),
                    operator: "operator-a".to_owned(),
                    not_executed: false,
                }),
                target: Some(FlushTarget { cloud_db_instance_no: Some("1".to_owned()), ..FlushTarget::default() }),
                ..RedisFlushRequestStatus::default()
            };
            is_flushing(&status, &target, now + Duration::from_mins(minutes))
        };
        assert!(after(FlushPhase::Sending, 9) && !after(FlushPhase::Sending, 10));
        assert!(after(FlushPhase::Accepted, 24 * 60) && !after(FlushPhase::Accepted, 24 * 60 + 10));
        assert!(!after(FlushPhase::Pending, 0) && !after(FlushPhase::Succeeded, 0));
        let elsewhere = TargetCache { instance_no: "2".to_owned(), ..target.clone() };
        assert!(!is_flushing(&RedisFlushRequestStatus::default(), &elsewhere, now));
    }
}
