//! From what was observed to what is reported: the whole status of a RedisClusterRef and what becomes of its ConfigMap.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;

use super::input::Picture;
pub use super::input::{ConfigMapState, Input, MapProblem, View};
use super::map_plan;
pub use super::map_plan::ConfigMapWrite;
use crate::api::cluster_ref::{ClusterStatus, ParameterGroupStatus, RedisClusterRefSpec, RedisClusterRefStatus};
use crate::api::conditions::{self, ConditionStatus, DesiredCondition, READY, RECONCILING, STALLED, SYNCED};
use crate::api::shared::whole_seconds;
use crate::cloud::words::{StateMeaning, state_meaning};
use crate::controllers::problem::Problem;
use crate::inventory::{Observation, Sight};
use crate::runtime::requeue;
use crate::text::one_line;

/// Longest word or name of a cloud in a sentence, in characters.
const MAX_WORD_CHARS: usize = 64;
/// After so many intervals without a good read, the picture is stale.
const STALE_INTERVALS: u32 = 3;

/// What to do.
#[derive(Debug)]
pub struct Plan {
    /// The whole status to stand.
    pub status: RedisClusterRefStatus,
    /// The ConfigMap to apply, if it has to change.
    pub config_map: Option<ConfigMapWrite>,
    /// When to look again, if nothing happens before.
    pub requeue_after: Duration,
}

/// The whole decision.
pub fn plan(input: &Input<'_>) -> Plan {
    let interval = Duration::from(input.spec.poll_interval);
    let picture = picture(input);
    let mut desired = judge(input, &picture, interval);
    let config_map = map_plan::plan(input, &picture, &mut desired);
    let handled = match &input.view {
        View::Seen(observation) if !observation.forced_read_done => input.previous.last_handled_reconcile_at.clone(),
        _ => input.requested_at.clone().or_else(|| input.previous.last_handled_reconcile_at.clone()),
    };
    let mut status = RedisClusterRefStatus {
        observed_generation: Some(input.generation),
        last_handled_reconcile_at: handled,
        last_observed_time: picture.read_at.map(whole_seconds),
        conditions: conditions::merge(&input.previous.conditions, desired, input.generation, input.now),
        provider: Some(provider(input.spec).to_owned()),
        state: picture.state,
        cluster: picture.cluster,
        engine: picture.engine,
        connection_config_map: match &input.config_map {
            // What was made before is still there, and has to be remembered.
            _ if input.renamed_remains => input.previous.connection_config_map.clone(),
            ConfigMapState::Disabled => input.previous.connection_config_map.clone(),
            _ => input.spec.connection_config_map.as_ref().map(|wanted| wanted.name.clone()),
        },
    };
    keep_observed_time(&mut status, input);
    let requeue_after = look_again(input, &status, interval);
    Plan { status, config_map, requeue_after }
}

fn picture(input: &Input<'_>) -> Picture {
    if let View::Seen(Observation { sight: Sight::Found(found), engine, .. }) = &input.view {
        let mut cluster = found.cluster();
        if found.parameters_read_at.is_none() && cluster.parameter_group.is_none() {
            cluster.parameter_group = known_group(input.previous, &cluster);
        }
        return Picture {
            state: found.state().map(str::to_owned),
            cluster: Some(cluster),
            engine: engine.as_deref().cloned(),
            read_at: Some(found.read_at),
        };
    }
    let gone = matches!(
        &input.view,
        View::Seen(Observation { sight: Sight::Absent | Sight::Ambiguous(_) | Sight::Members(_), .. })
    );
    if gone || !describes_target(input.spec, input.previous) {
        return Picture { state: None, cluster: None, engine: None, read_at: None };
    }
    Picture {
        state: input.previous.state.clone(),
        cluster: input.previous.cluster.clone(),
        engine: input.previous.engine.clone(),
        read_at: input.previous.last_observed_time.as_ref().map(|time| time.0),
    }
}

/// The parameter group that the status has of this cluster: until it is read, as after a restart, what was read before stays.
fn known_group(previous: &RedisClusterRefStatus, cluster: &ClusterStatus) -> Option<ParameterGroupStatus> {
    let known = previous.cluster.as_ref().filter(|known| known.id.is_some() && known.id == cluster.id)?;
    known.parameter_group.clone()
}

/// Whether the picture in the status is one of the target the spec names now.
fn describes_target(spec: &RedisClusterRefSpec, status: &RedisClusterRefStatus) -> bool {
    let Some(cluster) = &status.cluster else { return false };
    let (id, name) = match (&spec.kakao_cloud, &spec.ncp) {
        (Some(kakao), _) => (&kakao.cluster_id, &kakao.cluster_name),
        (_, Some(ncp)) => (&ncp.cloud_db_instance_no, &ncp.cloud_db_service_name),
        (None, None) => return false,
    };
    status.provider.as_deref() == Some(provider(spec))
        && id.as_ref().is_none_or(|id| cluster.id.as_ref() == Some(id))
        && name.as_ref().is_none_or(|name| cluster.name.as_ref() == Some(name))
}

/// The provider a spec names, as `status.provider` has it.
pub fn provider(spec: &RedisClusterRefSpec) -> &'static str {
    if spec.kakao_cloud.is_some() { "KakaoCloud" } else { "NCP" }
}

fn judge(input: &Input<'_>, picture: &Picture, interval: Duration) -> Vec<DesiredCondition> {
    match &input.view {
        View::Suspended => suspended(input.previous, picture),
        View::Blocked(problem) => troubled(input, picture, problem, interval),
        View::Seen(observation) => {
            let problem = observation.problem.as_deref().map(Problem::from);
            let target = describe_target(input.spec);
            match (&observation.sight, problem) {
                (_, Some(problem)) => troubled(input, picture, &problem, interval),
                (Sight::Found(_), None) => by_state(picture.state.as_deref()),
                (Sight::Absent, None) => stalled(&Problem::stalled(
                    "ClusterNotFound",
                    format!("the cloud has no {target}; it is looked for again every {}", words(interval)),
                )),
                (Sight::Ambiguous(ids), None) => stalled(&Problem::stalled(
                    "AmbiguousName",
                    format!("{} clusters are a {target}: refer to one of them by ID ({})", ids.len(), few(ids)),
                )),
                (Sight::NotYet | Sight::Members(_), None) => waiting(picture),
            }
        }
    }
}

/// No read has come back yet: what stood goes on standing.
fn waiting(picture: &Picture) -> Vec<DesiredCondition> {
    let mut desired = match &picture.cluster {
        Some(_) => by_state(picture.state.as_deref()),
        None => vec![DesiredCondition::new(
            READY,
            ConditionStatus::Unknown,
            "Observing",
            "the cloud is being read for the first time",
        )],
    };
    desired.retain(|condition| condition.type_ != SYNCED && condition.type_ != RECONCILING);
    desired.push(DesiredCondition::new(SYNCED, ConditionStatus::Unknown, "Observing", "the cloud is being read"));
    desired.push(DesiredCondition::new(RECONCILING, ConditionStatus::True, "Observing", "the cloud is being read"));
    desired
}

fn by_state(state: Option<&str>) -> Vec<DesiredCondition> {
    let word = &one_line(state.unwrap_or_default(), MAX_WORD_CHARS);
    let mut desired = vec![DesiredCondition::new(
        SYNCED,
        ConditionStatus::True,
        "ObserveSucceeded",
        "the cloud was read with success",
    )];
    let ready = match state_meaning(word) {
        StateMeaning::Serving => {
            DesiredCondition::new(READY, ConditionStatus::True, "Running", format!("the cloud says {word}"))
        }
        StateMeaning::Transitional => {
            let message = format!("the cloud says {word}; waiting until it is running");
            desired.push(DesiredCondition::new(RECONCILING, ConditionStatus::True, "Progressing", message.clone()));
            DesiredCondition::new(READY, ConditionStatus::False, "Progressing", message)
        }
        StateMeaning::Down => {
            DesiredCondition::new(READY, ConditionStatus::False, "NotRunning", format!("the cloud says {word}"))
        }
        StateMeaning::Unknown if word.is_empty() => DesiredCondition::new(
            READY,
            ConditionStatus::Unknown,
            "UnknownState",
            "the cloud names no state for this Redis",
        ),
        StateMeaning::Unknown => DesiredCondition::new(
            READY,
            ConditionStatus::Unknown,
            "UnknownState",
            format!("the cloud says {word}, a state this version of the operator does not know"),
        ),
    };
    desired.push(ready);
    desired
}

/// The last talk failed: what needs a person is Stalled, what heals by itself keeps the picture until that is stale.
fn troubled(input: &Input<'_>, picture: &Picture, problem: &Problem, interval: Duration) -> Vec<DesiredCondition> {
    if problem.needs_a_person {
        return stalled(problem);
    }
    let synced = DesiredCondition::new(SYNCED, ConditionStatus::False, problem.reason, problem.message.clone());
    let stale_after = SignedDuration::try_from(interval * STALE_INTERVALS).unwrap_or(SignedDuration::MAX);
    let Some(read_at) = picture.read_at.filter(|_| picture.cluster.is_some()) else {
        return vec![
            DesiredCondition::new(READY, ConditionStatus::Unknown, problem.reason, problem.message.clone()),
            DesiredCondition::new(RECONCILING, ConditionStatus::True, problem.reason, "the cloud is asked again"),
            synced,
        ];
    };
    if input.now.duration_since(read_at) > stale_after {
        let message = format!("last seen at {}, since then: {}", whole_seconds(read_at).0, problem.message);
        return vec![
            DesiredCondition::new(READY, ConditionStatus::Unknown, "ObservationStale", message),
            DesiredCondition::new(RECONCILING, ConditionStatus::True, "ObservationStale", "the cloud is asked again"),
            synced,
        ];
    }
    let mut desired = by_state(picture.state.as_deref());
    desired.retain(|condition| condition.type_ != SYNCED);
    desired.push(synced);
    desired
}

fn stalled(problem: &Problem) -> Vec<DesiredCondition> {
    vec![
        DesiredCondition::new(READY, ConditionStatus::False, problem.reason, problem.message.clone()),
        DesiredCondition::new(STALLED, ConditionStatus::True, problem.reason, problem.message.clone()),
        DesiredCondition::new(SYNCED, ConditionStatus::False, problem.reason, problem.message.clone()),
    ]
}

/// Reading stopped on purpose: Ready stands as it was last known, unless that was of another target.
fn suspended(previous: &RedisClusterRefStatus, picture: &Picture) -> Vec<DesiredCondition> {
    let note = "reading is suspended by spec.suspend; the picture is that of lastObservedTime";
    let of_another = previous.cluster.is_some() && picture.cluster.is_none();
    let ready = match conditions::find(&previous.conditions, READY).filter(|_| !of_another) {
        Some(Condition { status, .. }) if status == "True" => {
            DesiredCondition::new(READY, ConditionStatus::True, "Suspended", note)
        }
        Some(Condition { status, .. }) if status == "False" => {
            DesiredCondition::new(READY, ConditionStatus::False, "Suspended", note)
        }
        _ => DesiredCondition::new(READY, ConditionStatus::Unknown, "Suspended", note),
    };
    vec![ready, DesiredCondition::new(SYNCED, ConditionStatus::False, "Suspended", note)]
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
    (time.as_second() + whole(input.phase)).div_euclid(whole(input.heartbeat).max(1))
}

/// Until the object's turn after `last`.
fn until_next_turn(input: &Input<'_>, last: Timestamp) -> Duration {
    let heartbeat = whole(input.heartbeat).max(1);
    let at = (turn(input, last) + 1).saturating_mul(heartbeat) - whole(input.phase);
    Duration::from_secs(u64::try_from(at - input.now.as_second()).unwrap_or(0))
}

fn whole(duration: Duration) -> i64 {
    i64::try_from(duration.as_secs()).unwrap_or(i64::MAX / 4)
}

/// When to look again, if nothing happens before. The inventory wakes the object when the cloud changes; what remains is what
/// comes with time alone.
fn look_again(input: &Input<'_>, status: &RedisClusterRefStatus, interval: Duration) -> Duration {
    let mut wait = if input.renamed_remains { interval } else { requeue::WHEN_CHANGED };
    if let ConfigMapState::Failed(problem) = &input.config_map {
        wait = wait.min(problem.again);
    }
    let View::Seen(observation) = &input.view else {
        return if matches!(input.view, View::Suspended) { wait } else { wait.min(interval) };
    };
    // The picture grows stale, or its time is to be told again: after the turn, once a read has come that is newer.
    if let Some(seen) = &status.last_observed_time {
        wait = wait.min(match &observation.problem {
            None => until_next_turn(input, seen.0) + interval.mul_f64(1.1),
            Some(_) => {
                let stale = interval * STALE_INTERVALS + Duration::from_secs(1);
                let age = Duration::try_from(input.now.duration_since(seen.0)).unwrap_or_default();
                if age > stale { requeue::WHEN_CHANGED } else { stale - age }
            }
        });
    }
    // Nobody tells of a ConfigMap that somebody else has changed or deleted.
    if input.spec.connection_config_map.is_some() { wait.min(interval) } else { wait }
}

/// What the spec refers to, for a sentence.
fn describe_target(spec: &RedisClusterRefSpec) -> String {
    match (&spec.kakao_cloud, &spec.ncp) {
        (Some(kakao), _) => match (&kakao.cluster_id, &kakao.cluster_name) {
            (Some(id), _) => format!("cluster or instance set {id} in {}", kakao.region),
            (None, name) => {
                format!("cluster or instance set named {} in {}", name.as_deref().unwrap_or("?"), kakao.region)
            }
        },
        (None, Some(ncp)) => match (&ncp.cloud_db_instance_no, &ncp.cloud_db_service_name) {
            (Some(number), _) => format!("Redis instance {number} at site {}", ncp.site.as_str()),
            (None, name) => {
                format!("Redis instance named {} at site {}", name.as_deref().unwrap_or("?"), ncp.site.as_str())
            }
        },
        (None, None) => "target".to_owned(),
    }
}

fn few(ids: &[String]) -> String {
    let mut few: Vec<String> = ids.iter().take(3).map(|id| one_line(id, MAX_WORD_CHARS)).collect();
    if ids.len() > few.len() {
        few.push("…".to_owned());
    }
    few.join(", ")
}

fn words(interval: Duration) -> String {
    crate::api::shared::Duration::from(interval).to_string()
}

#[cfg(test)]
#[path = "tests/mod.rs"]
mod tests;
