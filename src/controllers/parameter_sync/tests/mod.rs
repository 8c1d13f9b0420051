//! Tests of the plan through its public face only: inputs in, statuses out.

mod bounds;
mod clusters;
mod conditions;
mod fleet;
mod properties;

use std::collections::HashSet;
use std::time::Duration;

use jiff::Timestamp;

use super::*;
use crate::api::conditions::{READY, RECONCILING, STALLED, SYNCED, find, is_true};
use crate::api::parameter_sync::{
    ClusterSync, RedisParameterSyncSpec, RedisParameterSyncStatus, Retry, SyncError, SyncPhase,
};
use crate::api::shared::{Duration as SpecDuration, LocalRef};

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

fn observation(word: Option<&str>, second: i64) -> Observation {
    Observation {
        state: Some("Running".into()),
        group_id: Some("pg-1".into()),
        group_name: Some("tuned".into()),
        sync_status: word.map(str::to_owned),
        observed_at: at(second),
    }
}

fn target(id: &str, outcome: Outcome) -> Target {
    let name = Some(format!("name-{id}"));
    Target { id: id.into(), name, outcome, elsewhere: Elsewhere::default(), last_known: None }
}

fn seen(id: &str, word: &str, second: i64) -> Target {
    target(id, Outcome::Observed(observation(Some(word), second)))
}

/// One object and the status that was last written for it.
struct Story {
    spec: RedisParameterSyncSpec,
    generation: i64,
    requested_at: Option<String>,
    status: Option<RedisParameterSyncStatus>,
    poll: Duration,
    /// Clusters that it is about and does not cover.
    beyond: usize,
}

impl Story {
    fn new() -> Self {
        Self { spec: spec(), generation: 1, requested_at: None, status: None, poll: Duration::from_secs(60), beyond: 0 }
    }

    fn plan(&self, targets: Result<&[Target], &Problem>, second: i64) -> Plan {
        self.plan_holding(targets, second, &HashSet::new())
    }

    /// Plans while these clusters' connections have no room for another request.
    fn plan_holding(&self, targets: Result<&[Target], &Problem>, second: i64, held: &HashSet<String>) -> Plan {
        plan(&Input {
            spec: &self.spec,
            generation: self.generation,
            requested_at: self.requested_at.as_deref(),
            previous: self.status.as_ref(),
            targets,
            beyond: self.beyond,
            most: 200,
            now: at(second),
            poll_interval: self.poll,
            jitter: 0.5,
            held,
        })
    }

    /// Plans and writes the status; the cloud is not asked.
    fn pass(&mut self, targets: &[Target], second: i64) -> Plan {
        let plan = self.plan(Ok(targets), second);
        self.status = Some(plan.status.clone());
        plan
    }

    /// Plans, writes, and answers every request.
    fn pass_answered(&mut self, targets: &[Target], second: i64, answer: &ApplyResult) -> Plan {
        let plan = self.pass(targets, second);
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
    ApplyResult::Error { code: Some("500".into()), message: "Internal error.".into(), kind: ErrorKind::Failed }
}

fn reason<'a>(status: &'a RedisParameterSyncStatus, type_: &str) -> &'a str {
    find(&status.conditions, type_).map_or("absent", |condition| &condition.reason)
}

fn truth<'a>(status: &'a RedisParameterSyncStatus, type_: &str) -> &'a str {
    find(&status.conditions, type_).map_or("absent", |condition| &condition.status)
}

fn message<'a>(status: &'a RedisParameterSyncStatus, type_: &str) -> &'a str {
    find(&status.conditions, type_).map_or("", |condition| &condition.message)
}

fn reasons(plan: &Plan) -> Vec<&'static str> {
    plan.events.iter().map(|event| event.reason).collect()
}
