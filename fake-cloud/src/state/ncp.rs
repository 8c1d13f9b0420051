//! NCP's memory: access keys, instances and the flushes executed.

use std::collections::BTreeMap;

use jiff::Timestamp;
use secrecy::ExposeSecret as _;

use super::{StateError, after, whole_seconds};
use crate::model::NcpInstance;
use crate::seed::{NcpKey, NcpSeed, NcpTimings};
use crate::signature;

const KIND: &str = "instance";
const RUNNING: &str = "running";
const SETTING_UP: &str = "settingup";

/// What NCP remembers.
pub(crate) struct NcpState {
    pub(crate) keys: Vec<NcpKey>,
    pub(crate) service_error_status: u16,
    timings: NcpTimings,
    instances: BTreeMap<String, InstanceEntry>,
    flushes: BTreeMap<String, u64>,
}

struct InstanceEntry {
    instance: NcpInstance,
    status_ends: Option<Timestamp>,
}

/// Why nothing is flushed.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum FlushRefusal {
    /// No such instance.
    NotFound,
    /// The instance is in this state.
    Busy(String),
}

/// Why a signed request is not let in.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum KeyRefusal {
    /// The access key is not known, or its secret gives another signature.
    Unauthenticated,
    /// The key may not use the service.
    PermissionDenied,
}

impl NcpState {
    pub(crate) fn new(seed: &NcpSeed) -> Result<Self, StateError> {
        if !matches!(seed.service_error_status, 400 | 401 | 500) {
            return Err(StateError::Invalid("serviceErrorStatus must be 400, 401 or 500".into()));
        }
        Ok(Self {
            keys: seed.keys.clone(),
            service_error_status: seed.service_error_status,
            timings: seed.timings,
            instances: BTreeMap::new(),
            flushes: BTreeMap::new(),
        })
    }

    /// Recomputes the signature of a request and compares it byte for byte.
    pub(crate) fn authenticate(
        &self,
        access_key: &str,
        signature: &str,
        method: &str,
        path_and_query: &str,
        timestamp: &str,
    ) -> Result<(), KeyRefusal> {
        let known = self.keys.iter().find(|key| key.access_key == access_key).ok_or(KeyRefusal::Unauthenticated)?;
        match signature::sign(known.secret_key.expose_secret(), method, path_and_query, timestamp, access_key) {
            Ok(expected) if expected == signature && known.permission_denied => Err(KeyRefusal::PermissionDenied),
            Ok(expected) if expected == signature => Ok(()),
            _ => Err(KeyRefusal::Unauthenticated),
        }
    }

    /// Adds an instance and gives its number back.
    pub(crate) fn add(&mut self, instance: NcpInstance, now: Timestamp) -> Result<String, StateError> {
        let instance = complete(instance, now)?;
        let id = instance.instance_no.clone();
        if self.instances.contains_key(&id) {
            return Err(StateError::AlreadyExists { kind: KIND, id });
        }
        let mut entry = InstanceEntry { instance, status_ends: None };
        entry.start(now, self.timings);
        self.instances.insert(id.clone(), entry);
        Ok(id)
    }

    /// Puts another value in an instance's place. A changed status starts anew what follows from it.
    pub(crate) fn replace(&mut self, id: &str, instance: NcpInstance, now: Timestamp) -> Result<(), StateError> {
        let not_found = || StateError::NotFound { kind: KIND, id: id.to_owned() };
        let entry = self.instances.get_mut(id).ok_or_else(not_found)?;
        if instance.instance_no != id {
            return Err(StateError::Invalid(format!("cloudDBInstanceNo of instance {id} cannot be changed")));
        }
        let before = std::mem::replace(&mut entry.instance, complete(instance, now)?);
        if before.status_name != entry.instance.status_name || before.behaviour != entry.instance.behaviour {
            entry.start(now, self.timings);
        }
        Ok(())
    }

    pub(crate) fn remove(&mut self, id: &str) -> Option<NcpInstance> {
        self.instances.remove(id).map(|entry| entry.instance)
    }

    /// The instance as it is now.
    pub(crate) fn get(&mut self, id: &str, now: Timestamp) -> Option<&NcpInstance> {
        let entry = self.instances.get_mut(id)?;
        entry.settle(now);
        Some(&entry.instance)
    }

    /// Every instance as it is now, by number.
    pub(crate) fn list(&mut self, now: Timestamp) -> impl Iterator<Item = &NcpInstance> {
        self.instances.values_mut().map(move |entry| {
            entry.settle(now);
            &entry.instance
        })
    }

    /// Wipes an instance, which is then `settingup` for a while.
    pub(crate) fn flush(&mut self, id: &str, now: Timestamp) -> Result<&NcpInstance, FlushRefusal> {
        let entry = self.instances.get_mut(id).ok_or(FlushRefusal::NotFound)?;
        entry.settle(now);
        if !entry.instance.status_name.eq_ignore_ascii_case(RUNNING) {
            return Err(FlushRefusal::Busy(entry.instance.status_name.clone()));
        }
        entry.instance.status_name = SETTING_UP.into();
        entry.start(now, self.timings);
        *self.flushes.entry(id.to_owned()).or_default() += 1;
        Ok(&entry.instance)
    }

    /// How often each instance was wiped.
    pub(crate) fn flushes(&self) -> &BTreeMap<String, u64> {
        &self.flushes
    }
}

impl InstanceEntry {
    /// From `creating` and `settingup` the instance moves on by itself, from any other status it does not.
    fn start(&mut self, now: Timestamp, timings: NcpTimings) {
        let behaviour = &self.instance.behaviour;
        let seconds = match self.instance.status_name.as_str() {
            _ if behaviour.stuck => None,
            "creating" => Some(behaviour.create_seconds.unwrap_or(timings.create_seconds)),
            SETTING_UP => Some(behaviour.flush_seconds.unwrap_or(timings.flush_seconds)),
            _ => None,
        };
        self.status_ends = seconds.map(|seconds| after(now, seconds));
    }

    fn settle(&mut self, now: Timestamp) {
        if self.status_ends.take_if(|end| *end <= now).is_some() {
            self.instance.status_name = RUNNING.into();
        }
    }
}

fn complete(mut instance: NcpInstance, now: Timestamp) -> Result<NcpInstance, StateError> {
    if instance.instance_no.is_empty() || !instance.instance_no.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(StateError::Invalid("cloudDBInstanceNo must be a string of digits".into()));
    }
    instance.create_date.get_or_insert(whole_seconds(now));
    Ok(instance)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(1_790_000_000 + second).unwrap()
    }

    #[test]
    fn a_flush_wipes_once_and_then_the_instance_is_busy() {
        let mut state = NcpState::new(&NcpSeed::default()).unwrap();
        state.add(NcpInstance::highly_available("7", "cart"), at(0)).unwrap();
        assert_eq!(state.flush("7", at(0)).unwrap().status_name, SETTING_UP);
        assert_eq!(state.flush("7", at(9)).unwrap_err(), FlushRefusal::Busy(SETTING_UP.into()));
        assert_eq!(state.get("7", at(10)).unwrap().status_name, RUNNING);
        assert_eq!(state.flush("8", at(10)).unwrap_err(), FlushRefusal::NotFound);
        assert_eq!(state.flushes().get("7"), Some(&1));
    }

    #[test]
    fn an_instance_that_is_stuck_stays_so() {
        let mut state = NcpState::new(&NcpSeed::default()).unwrap();
        let mut instance = NcpInstance { status_name: "creating".into(), ..NcpInstance::single("7", "cart") };
        instance.behaviour.stuck = true;
        state.add(instance, at(0)).unwrap();
        assert_eq!(state.get("7", at(1_000_000)).unwrap().status_name, "creating");
    }
}
