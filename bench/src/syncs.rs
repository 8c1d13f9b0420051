//! A parameter group of many clusters, a third of which fail in different ways: whether everything settles with as many
//! requests for application as the plan says, and how long that takes at the default rate.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use anyhow::Result;
use fake_cloud::{Fault, FaultKind, KakaoCluster, Operation, RequestFilter, Seed, StateHandle};
use futures::StreamExt as _;
use harness::terminal::say;
use kube::api::{Api, PostParams};
use kube::runtime::{WatchStreamExt as _, watcher};
use managed_redis_operator::api::RedisParameterSync;
use managed_redis_operator::api::parameter_sync::{ClusterSync, RedisParameterSyncStatus, SyncPhase};
use serde_json::json;

use super::measure::memory;
use super::objects;
use super::plan::BenchPlan;
use super::report::Figure;
use super::run::BenchRun;

const APPLY: Operation = Operation::KakaoParameterGroupApply;
/// One object covers at most so many clusters.
const MOST: u32 = 1000;
const MAX_ATTEMPTS: u32 = 3;
const WITHIN: Duration = Duration::from_secs(1200);

/// What is wrong with a cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum ClusterTrouble {
    Nothing,
    /// The first application holds.
    Once,
    /// The first application fails, the second holds.
    Twice,
    /// Two applications are rolled back, and the third holds.
    RolledBack,
    /// No application ever holds.
    Forever,
    /// Every request is answered with 500 and has no effect.
    Refused,
    /// The first request is answered with 409.
    Busy,
    /// The connection ends without an answer, after the effect.
    BreaksOff,
    /// It is not Running.
    NotRunning,
    /// The cloud is applying and never finishes.
    InProgress,
}

impl ClusterTrouble {
    /// Every third cluster fails, each in the next way.
    fn of(number: u32) -> Self {
        const WAYS: [ClusterTrouble; 9] = [
            ClusterTrouble::Once,
            ClusterTrouble::Twice,
            ClusterTrouble::RolledBack,
            ClusterTrouble::Forever,
            ClusterTrouble::Refused,
            ClusterTrouble::Busy,
            ClusterTrouble::BreaksOff,
            ClusterTrouble::NotRunning,
            ClusterTrouble::InProgress,
        ];
        if number.is_multiple_of(3) { WAYS[(number / 3) as usize % WAYS.len()] } else { Self::Nothing }
    }

    /// The requests for application that the plan predicts, and the phase it ends in.
    fn predicted(self) -> (u64, SyncPhase) {
        let attempts = u64::from(MAX_ATTEMPTS);
        match self {
            Self::Nothing => (0, SyncPhase::InSync),
            Self::Once | Self::BreaksOff => (1, SyncPhase::InSync),
            Self::Twice | Self::Busy => (2, SyncPhase::InSync),
            Self::RolledBack => (3, SyncPhase::InSync),
            Self::Forever | Self::Refused => (attempts, SyncPhase::GaveUp),
            Self::NotRunning | Self::InProgress => (0, SyncPhase::Waiting),
        }
    }

    fn cluster(self, number: u32) -> KakaoCluster {
        let mut cluster = KakaoCluster::instance_set(id(number), objects::name(number));
        cluster.behaviour.apply_seconds = Some(1);
        let word = if self == Self::InProgress { "Applying" } else { "Error-Sync" };
        cluster.parameter_group_sync_status = (self != Self::Nothing).then(|| word.to_owned());
        let behaviour = &mut cluster.behaviour;
        match self {
            Self::Nothing => cluster.parameter_group_sync_status = Some("In-Sync".to_owned()),
            Self::Twice => behaviour.apply_failures = 1,
            Self::RolledBack => {
                behaviour.apply_failures = 2;
                behaviour.apply_failure_status = Some("Suspended".to_owned());
            }
            Self::Forever => behaviour.apply_failures = u32::MAX,
            Self::InProgress => behaviour.stuck = true,
            Self::NotRunning => "Modifying".clone_into(&mut cluster.status),
            Self::Once | Self::Refused | Self::Busy | Self::BreaksOff => {}
        }
        cluster
    }

    fn fault(self, number: u32) -> Option<Fault> {
        let answer = |code| FaultKind::Status { code, body: None, content_type: None, retry_after: None };
        let fault = match self {
            Self::Refused => Fault::new(APPLY, answer(500)),
            Self::Busy => Fault::new(APPLY, answer(409)).times(1),
            Self::BreaksOff => Fault::new(APPLY, FaultKind::DropAfter).times(1),
            _ => return None,
        };
        Some(fault.target(id(number)))
    }
}

fn id(number: u32) -> String {
    format!("sync-{number:05}")
}

/// Runs an operator with clouds of its own.
pub(crate) async fn run(run: &mut BenchRun, plan: &BenchPlan) -> Result<Vec<Figure>> {
    let clusters = plan.n.min(MOST);
    let environment = run.environment("bench-syncs", Seed::default()).await?;
    fill(&environment.clouds(), plan, clusters)?;
    let api: Api<RedisParameterSync> = environment.api();
    api.create(&PostParams::default(), &object()?).await?;
    let begun = Instant::now();
    let operator = run.launch(&environment, &["--poll-interval", "10s", "--max-clusters-per-sync", "1000"])?;
    let settled = tokio::time::timeout(WITHIN, settles(&api, clusters)).await;
    let took = begun.elapsed().as_secs_f64();
    let memory = memory(operator.id())?;
    operator.stop().await?;
    match settled {
        Ok(outcome) => outcome?,
        Err(_) => return Err(run.late("all clusters at rest", WITHIN)),
    }
    Ok(figures(&environment.clouds(), clusters, took, memory.most))
}

fn fill(cloud: &StateHandle, plan: &BenchPlan, clusters: u32) -> Result<()> {
    cloud.inject(Fault::new(Operation::Any, plan.delay()))?;
    for number in 1..=clusters {
        let trouble = ClusterTrouble::of(number);
        cloud.add_kakao_cluster(trouble.cluster(number))?;
        if let Some(fault) = trouble.fault(number) {
            cloud.inject(fault)?;
        }
    }
    Ok(())
}

fn object() -> Result<RedisParameterSync> {
    let group = json!({ "name": "shop-defaults", "credentialsSecretRef": { "name": "kakaocloud" } });
    Ok(serde_json::from_value(json!({
        "apiVersion": "managedredis.dev/v1alpha1",
        "kind": "RedisParameterSync",
        "metadata": { "name": "all" },
        "spec": {
            "parameterGroup": { "kakaoCloud": group },
            "retry": { "maxAttempts": MAX_ATTEMPTS, "initialBackoff": "2s", "maxBackoff": "4s" },
        },
    }))?)
}

/// Waits until every cluster is in the phase that is predicted for it.
async fn settles(api: &Api<RedisParameterSync>, clusters: u32) -> Result<()> {
    let wanted: HashMap<String, SyncPhase> =
        (1..=clusters).map(|number| (id(number), ClusterTrouble::of(number).predicted().1)).collect();
    let in_sync = wanted.values().filter(|phase| **phase == SyncPhase::InSync).count();
    let is_settled = |status: &RedisParameterSyncStatus| {
        let as_predicted = |entry: &ClusterSync| wanted.get(&entry.id) == Some(&entry.phase);
        let count = |number: Option<i32>| number.and_then(|number| usize::try_from(number).ok());
        // The status only counts clusters that were In-Sync from the start.
        count(status.total) == Some(wanted.len())
            && count(status.in_sync) == Some(in_sync)
            && status.clusters.iter().all(as_predicted)
    };
    let mut objects = watcher(api.clone(), watcher::Config::default()).default_backoff().applied_objects().boxed();
    let mut last = 0;
    while let Some(object) = objects.next().await {
        let Some(status) = object.ok().and_then(|object| object.status) else { continue };
        let in_sync = status.in_sync.unwrap_or_default();
        if in_sync / 50 != last / 50 {
            say(format_args!("    {in_sync} of {clusters} In-Sync"));
        }
        last = in_sync;
        if is_settled(&status) {
            return Ok(());
        }
    }
    Ok(())
}

fn figures(cloud: &StateHandle, clusters: u32, took: f64, memory: f64) -> Vec<Figure> {
    let made = |number| cloud.requests(RequestFilter::from(APPLY).target(id(number)));
    let predicted: u64 = (1..=clusters).map(|number| ClusterTrouble::of(number).predicted().0).sum();
    let wrong = (1..=clusters).filter(|number| made(*number) != ClusterTrouble::of(*number).predicted().0).count();
    let lists = cloud.requests(Operation::KakaoClustersList);
    #[expect(clippy::cast_precision_loss, reason = "counts of requests")]
    let count = |name: &str, value: u64| Figure::new(name, value as f64, "");
    let applications = cloud.requests(APPLY);
    let mut figures = vec![
        Figure::new("clusters, a third of them failing", clusters.into(), ""),
        Figure::new("time until all are at rest", took, "s"),
        count("requests for application", applications),
        count("… predicted by the plan", predicted),
        count("clusters asked for otherwise than predicted", wrong as u64).at_most(0.0),
        Figure::new("list requests a minute", 60.0 * lists as f64 / took, "/min"),
        Figure::new("memory, most", memory, "MiB"),
    ];
    if let Some(rate) = busiest_second(cloud) {
        // --cloud-qps 5 and --cloud-burst 10 are the defaults.
        figures.push(Figure::new("applications in the busiest second", rate, "").at_most(15.0));
    }
    figures
}

/// The most applications within any second, among the requests that the cloud has recorded.
fn busiest_second(cloud: &StateHandle) -> Option<f64> {
    let recent = cloud.recent_requests();
    let times: Vec<_> =
        recent.iter().filter(|request| request.operation == APPLY).map(|request| request.time).collect();
    let within = |begin: usize| {
        let later = &times[begin..];
        later.iter().take_while(|time| time.duration_since(times[begin]).as_secs() < 1).count()
    };
    (0..times.len()).map(within).max().and_then(|most| u32::try_from(most).ok()).map(f64::from)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_third_fails_in_every_way() {
        let troubles: Vec<ClusterTrouble> = (1..=1000).map(ClusterTrouble::of).collect();
        assert_eq!(troubles.iter().filter(|trouble| **trouble != ClusterTrouble::Nothing).count(), 333);
        for way in [ClusterTrouble::Once, ClusterTrouble::Forever, ClusterTrouble::InProgress] {
            assert_eq!(troubles.iter().filter(|trouble| **trouble == way).count(), 37, "{way:?}");
        }
    }
}
