//! From what was observed to what is done: the next status of a reference, what becomes of its ConfigMap, and when to look
//! again. Pure.

use std::time::Duration;

use jiff::Timestamp;

use super::config_map::state::{ConfigMapState, ConfigMapWrite};
use super::config_map_plan;
use super::input::{CloudObservation, Input};
use super::last_known::LastKnown;
use super::status::{self, STALE_INTERVALS};
use crate::api::cluster_ref::RedisClusterRefStatus;
use crate::api::conditions;
use crate::api::shared::whole_seconds;
use crate::runtime::requeue;

/// What to do.
#[derive(Debug)]
pub struct Plan {
    /// The whole status to report.
    pub status: RedisClusterRefStatus,
    /// What to write into the ConfigMap that the spec names, if it has to change.
    pub config_map: Option<ConfigMapWrite>,
    /// The ConfigMap that an earlier spec named, which is to be deleted.
    pub obsolete_config_map: Option<String>,
    /// When to look again, if nothing happens before.
    pub requeue_after: Duration,
}

/// The whole decision.
pub fn plan(input: &Input<'_>) -> Plan {
    let known = LastKnown::of(input);
    let config_map = config_map_plan::plan(input, &known);
    let desired = status::conditions(input, &known, config_map.problem);
    let mut status = RedisClusterRefStatus {
        observed_generation: Some(input.generation),
        last_handled_reconcile_at: last_handled(input),
        last_observed_time: known.read_at.map(whole_seconds),
        conditions: conditions::merge(&input.previous.conditions, desired, input.generation, input.now),
        provider: input.spec.target().ok().map(|target| target.provider().as_str().to_owned()),
        state: known.state,
        cluster: known.cluster,
        engine: known.engine,
        connection_config_map: remembered_config_map(input),
    };
    keep_observed_time(&mut status, input);
    let requeue_after = requeue_after(input, &status);
    Plan { status, config_map: config_map.write, obsolete_config_map: obsolete_config_map(input), requeue_after }
}

/// The annotation is echoed once the read that it asks for was made; where nothing can be read, at once.
fn last_handled(input: &Input<'_>) -> Option<String> {
    let before = || input.previous.last_handled_reconcile_at.clone();
    match input.cloud.read() {
        Some(observation) if !observation.refresh_done => before(),
        _ => input.requested_at.clone().or_else(before),
    }
}

fn wanted_config_map<'a>(input: &Input<'a>) -> Option<&'a str> {
    input.spec.connection_config_map.as_ref().map(|wanted| wanted.name.as_str())
}

/// The name that the status remembers, so that the ConfigMap is deleted when the spec names another.
fn remembered_config_map(input: &Input<'_>) -> Option<String> {
    if input.obsolete_remains || input.config_map == ConfigMapState::Disabled {
        return input.previous.connection_config_map.clone();
    }
    wanted_config_map(input).map(str::to_owned)
}

fn obsolete_config_map(input: &Input<'_>) -> Option<String> {
    let before = input.previous.connection_config_map.as_deref()?;
    let is_obsolete = input.config_map != ConfigMapState::Disabled && Some(before) != wanted_config_map(input);
    is_obsolete.then(|| before.to_owned())
}

/// An unchanged status keeps its lastObservedTime until the object's next turn, so that it need not be written.
fn keep_observed_time(status: &mut RedisClusterRefStatus, input: &Input<'_>) {
    let previous = input.previous;
    let (Some(fresh), Some(old)) = (&status.last_observed_time, &previous.last_observed_time) else { return };
    if turn(input, fresh.0) > turn(input, old.0) {
        return;
    }
    let unchanged = RedisClusterRefStatus { last_observed_time: Some(old.clone()), ..status.clone() };
    if unchanged == *previous {
        *status = unchanged;
    }
}

/// Counts the object's turns, one a heartbeat, up to a time.
fn turn(input: &Input<'_>, time: Timestamp) -> i64 {
    (time.as_second() + seconds(input.phase)).div_euclid(seconds(input.heartbeat).max(1))
}

/// Until the object's turn after `last`.
fn until_next_turn(input: &Input<'_>, last: Timestamp) -> Duration {
    let heartbeat = seconds(input.heartbeat).max(1);
    let at = (turn(input, last) + 1).saturating_mul(heartbeat) - seconds(input.phase);
    Duration::from_secs(u64::try_from(at - input.now.as_second()).unwrap_or(0))
}

fn seconds(duration: Duration) -> i64 {
    i64::try_from(duration.as_secs()).unwrap_or(i64::MAX / 4)
}

/// When to look again, if nothing happens before. The inventory triggers the object when the cloud changes; what remains is
/// what comes with time alone.
fn requeue_after(input: &Input<'_>, status: &RedisClusterRefStatus) -> Duration {
    let interval = Duration::from(input.spec.poll_interval);
    let mut wait = if input.obsolete_remains { interval } else { requeue::WHEN_CHANGED };
    if let ConfigMapState::Failed(problem) = &input.config_map {
        wait = wait.min(problem.again);
    }
    let observation = match &input.cloud {
        CloudObservation::Suspended => return wait,
        CloudObservation::Blocked(_) => return wait.min(interval),
        CloudObservation::Read(observation) => observation,
    };
    if let Some(read_at) = &status.last_observed_time {
        wait = wait.min(match observation.problem {
            // The time of the read is to be reported again: after the turn, once a newer read has come.
            None => until_next_turn(input, read_at.0) + interval.mul_f64(1.1),
            Some(_) => until_stale(input, read_at.0, interval),
        });
    }
    // There is no watch on ConfigMaps, so one that was changed or deleted is found by looking.
    if wanted_config_map(input).is_some() { wait.min(interval) } else { wait }
}

/// Until what was read at `read_at` is stale; if it is, until something changes.
fn until_stale(input: &Input<'_>, read_at: Timestamp, interval: Duration) -> Duration {
    let stale_after = interval * STALE_INTERVALS + Duration::from_secs(1);
    let age = Duration::try_from(input.now.duration_since(read_at)).unwrap_or_default();
    if age > stale_after { requeue::WHEN_CHANGED } else { stale_after - age }
}

#[cfg(test)]
#[path = "tests/mod.rs"]
mod tests;
