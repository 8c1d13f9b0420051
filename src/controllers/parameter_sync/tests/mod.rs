//! Tests of the plan through its public face only: inputs in, statuses out.

mod bounds;
mod clusters;
mod conditions;
mod fleet;
mod properties;

use std::collections::HashSet;
use std::time::Duration;

use jiff::Timestamp;

use super::input::{ApplyResult, ClusterObservation, GroupObservation, Input, ObservedCluster, OtherSyncs, Unresolved};
use super::plan::{Apply, MAX_APPLIES_PER_PASS, Plan, plan};
use super::policy::retry_delay;
use super::status::{MAX_CLUSTERS_SHOWN, SHOWN_WHOLE};
use crate::api::Reason;
use crate::api::cluster_ref::ParameterGroupStatus;
use crate::api::conditions::{READY, RECONCILING, STALLED, SYNCED, find, is_true};
use crate::api::parameter_sync::{
    ClusterSync, RedisParameterSyncSpec, RedisParameterSyncStatus, Retry, SyncError, SyncPhase,
};
use crate::api::shared::{Duration as SpecDuration, LocalRef};
use crate::controllers::problem::Problem;
use crate::runtime::events::Note;

/// The time at which every story begins; times in tests are seconds from it.
const EPOCH: i64 = 1_800_000_000;

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(EPOCH + second).unwrap()
}

fn seconds(count: u64) -> SpecDuration {
    Duration::from_secs(count).into()
}

fn spec() -> RedisParameterSyncSpec {
    RedisParameterSyncSpec {
        cluster_ref: Some(LocalRef { name: "sessions".into() }),
        cluster_selector: None,
        parameter_group: None,
        retry_on: vec!["Error-Sync".into(), "Suspended".into(), "Partial-Sync".into()],
        retry: Retry { max_attempts: 3, initial_backoff: seconds(30), max_backoff: seconds(600) },
        stuck_after: seconds(1800),
        suspend: false,
    }
}

fn observation(word: Option<&str>, second: i64) -> GroupObservation {
    GroupObservation {
        state: Some("Running".into()),
        group_id: Some("pg-1".into()),
        group_name: Some("tuned".into()),
        sync_status: word.map(str::to_owned),
        observed_at: at(second),
    }
}

fn observed(id: &str, observation: ClusterObservation) -> ObservedCluster {
    let name = Some(format!("name-{id}"));
    ObservedCluster { id: id.into(), name, observation, others: OtherSyncs::default(), shown_group: None }
}

fn seen(id: &str, word: &str, second: i64) -> ObservedCluster {
    observed(id, ClusterObservation::Read(observation(Some(word), second)))
}

fn unreadable(reason: Reason, message: &str) -> ClusterObservation {
    ClusterObservation::Unreadable(Problem::new(reason, message))
}

fn list_unreadable(reason: Reason, message: &str) -> Unresolved {
    Unresolved::Unreadable(Problem::new(reason, message))
}

fn no_clusters(reason: Reason, message: &str) -> Unresolved {
    Unresolved::NoClusters(Problem::new(reason, message))
}

/// One object and the status that was last written for it.
struct Story {
    spec: RedisParameterSyncSpec,
    generation: i64,
    requested_at: Option<String>,
    status: Option<RedisParameterSyncStatus>,
    poll: Duration,
    /// Clusters that it is about and does not cover.
    left_out: usize,
}

impl Story {
    fn new() -> Self {
        Self {
            spec: spec(),
            generation: 1,
            requested_at: None,
            status: None,
            poll: Duration::from_secs(60),
            left_out: 0,
        }
    }

    fn plan(&self, clusters: Result<&[ObservedCluster], &Unresolved>, second: i64) -> Plan {
        self.plan_without_slot(clusters, second, &HashSet::new())
    }

    /// Plans while these clusters' connections have no room for another request.
    fn plan_without_slot(
        &self,
        clusters: Result<&[ObservedCluster], &Unresolved>,
        second: i64,
        without_slot: &HashSet<String>,
    ) -> Plan {
        plan(&Input {
            spec: &self.spec,
            generation: self.generation,
            refresh_requested: self.requested_at.as_deref(),
            previous: self.status.as_ref(),
            clusters,
            left_out: self.left_out,
            max_clusters: 200,
            now: at(second),
            poll_interval: self.poll,
            jitter: 0.5,
            without_slot,
        })
    }

    /// Plans and writes the status; the cloud is not asked.
    fn pass(&mut self, clusters: &[ObservedCluster], second: i64) -> Plan {
        let plan = self.plan(Ok(clusters), second);
        self.status = Some(plan.status.clone());
        plan
    }

    /// Plans, writes, and answers every request.
    fn pass_answered(&mut self, clusters: &[ObservedCluster], second: i64, answer: &ApplyResult) -> Plan {
        let plan = self.pass(clusters, second);
        let answers: Vec<_> = plan.applies.iter().map(|apply| (apply.id.clone(), answer.clone())).collect();
        let recorded = plan.record(&answers, at(second), 0.5);
        self.status = Some(recorded.status.clone());
        recorded
    }

    /// The cluster `a` shows this word, freshly read.
    fn word(&mut self, word: &str, second: i64) -> Plan {
        self.pass(&[seen("a", word, second)], second)
    }

    fn entry(&self, id: &str) -> &ClusterSync {
        self.status.as_ref().unwrap().clusters.iter().find(|entry| entry.id == id).unwrap()
    }

    fn phase(&self) -> SyncPhase {
        self.entry("a").phase
    }
}

fn refused() -> ApplyResult {
    ApplyResult::Failed(SyncError { code: Some("500".into()), message: "Internal error.".into() })
}

fn reason<'a>(status: &'a RedisParameterSyncStatus, type_: &str) -> &'a str {
    find(&status.conditions, type_).map_or("absent", |condition| &condition.reason)
}

fn condition_status<'a>(status: &'a RedisParameterSyncStatus, type_: &str) -> &'a str {
    find(&status.conditions, type_).map_or("absent", |condition| &condition.status)
}

fn message<'a>(status: &'a RedisParameterSyncStatus, type_: &str) -> &'a str {
    find(&status.conditions, type_).map_or("", |condition| &condition.message)
}

fn reasons(plan: &Plan) -> Vec<&str> {
    plan.events.iter().map(|event| event.reason.as_str()).collect()
}
