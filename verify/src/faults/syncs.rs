//! The operator killed once before, once after, and once with the write coming late, at every write of the course of a
//! `RedisParameterSync` whose cluster fails twice before it holds: no attempt is lost, none is one too many, and it comes to its end.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail, ensure};
use fake_cloud::{FakeCloud, KakaoCluster, Operation, Seed};
use futures::{StreamExt as _, TryStreamExt as _};
use harness::objects::{self, KAKAO_SECRET};
use harness::terminal::{say, step};
use kube::Client;
use kube::api::{Api, PostParams};
use kube::runtime::{WatchStreamExt as _, watcher};
use managed_redis_operator::api::parameter_sync::{ClusterSync, SyncPhase};
use managed_redis_operator::api::{RECONCILE_REQUESTED_AT, RedisClusterRef, RedisParameterSync};
use serde_json::{Value, json};
use tokio::sync::{Notify, mpsc, oneshot};

use super::operator::{OperatorSetup, ProxiedOperator};
use super::script;
use super::servers::Servers;
use super::write::{OperatorWrite, Point, Side};
use super::write_log::{Held, LoggedWrite, WriteFate, WriteLog};

const CLUSTER: &str = "set-1";
const SYNC: &str = "keep";
const REFERENCE: &str = "cache";
const MAX_ATTEMPTS: u64 = 5;
/// Applications that fail before one holds: a lost attempt and a killed one still leave one that can hold.
const FAILURES: u32 = 2;
/// How long a run may take.
const WITHIN: Duration = Duration::from_secs(150);

/// Where the operator is killed, and whether the write comes late.
#[derive(Clone, Copy, Debug)]
struct Kill {
    at: Point,
    late: bool,
}

struct SyncOutcome {
    number: u64,
    kill: Option<Kill>,
    reached: bool,
    entries: Vec<LoggedWrite>,
    applications: u64,
    /// The entry of the cluster in the end; none if it did not come to an end in time.
    end: Option<ClusterSync>,
    /// What the statuses said of the attempts, in order.
    attempts: Vec<i32>,
    folder: PathBuf,
}

/// Plays the calm course, then every kill.
pub(super) async fn enumerate(servers: &Servers, jobs: usize) -> anyhow::Result<()> {
    let started = Instant::now();
    step("The course of a RedisParameterSync");
    let calm = play(servers, 0, None).await?;
    if let Some(broken) = broken(&calm) {
        say(format_args!("  without any fault: {broken}; logs in {}", calm.folder.display()));
        bail!("1 of 1 runs failed");
    }
    let kills = every_kill(&calm.entries);
    step(format_args!("{} writes, {} kills, {jobs} at once", calm.entries.len(), kills.len()));
    let wanted = kills.len() as u64;
    let plays = futures::stream::iter((1..).zip(kills))
        .map(|(number, kill)| play(servers, number, Some(kill)))
        .buffer_unordered(jobs);
    let outcomes: Vec<SyncOutcome> = plays.try_collect().await?;
    let mut failed = 0;
    for outcome in &outcomes {
        let Some(broken) = broken(outcome) else { continue };
        failed += 1;
        say(format_args!(
            "  {}: {broken}; logs in {}",
            name(outcome.kill),
            super::keep_logs(&outcome.folder, outcome.number)
        ));
    }
    let unreached = outcomes.iter().filter(|outcome| !outcome.reached).count();
    say(format_args!(
        "  {wanted} kills in {} s, {unreached} not reached, at most {} applications for one cluster of {MAX_ATTEMPTS} allowed; \
         {failed} failed",
        started.elapsed().as_secs(),
        outcomes.iter().map(|outcome| outcome.applications).max().unwrap_or_default(),
    ));
    ensure!(failed == 0, "{failed} of {wanted} runs failed");
    Ok(())
}

fn every_kill(entries: &[LoggedWrite]) -> Vec<Kill> {
    let kinds = [(Side::Before, false), (Side::After, false), (Side::Before, true)];
    let kill =
        |entry: &LoggedWrite, (side, late)| Kill { at: Point { side, write: entry.write, nth: entry.nth }, late };
    entries.iter().flat_map(|entry| kinds.map(|kind| kill(entry, kind))).collect()
}

fn name(kill: Option<Kill>) -> String {
    kill.map_or_else(String::new, |kill| {
        format!("{}, {}", kill.at, script::Act::Kill { late: kill.late }.kind(kill.at.side))
    })
}

/// The promise that was not kept, if one was not.
fn broken(outcome: &SyncOutcome) -> Option<String> {
    let SyncOutcome { applications, end, attempts, .. } = outcome;
    let Some(end) = end else { return Some(format!("not at rest in time, attempts {attempts:?}")) };
    if end.phase != SyncPhase::InSync {
        return Some(format!("it ended {:?} after {applications} applications: {end:?}", end.phase));
    }
    if *applications > MAX_ATTEMPTS {
        return Some(format!("{applications} applications, {MAX_ATTEMPTS} are allowed"));
    }
    // Within an episode the count only grows, except that one is taken back when the cloud was busy with one that came late.
    let busy = |entry: &&LoggedWrite| entry.write == OperatorWrite::CloudApply && entry.carried_out == Some(409);
    let taken_back = outcome.entries.iter().filter(busy).count();
    let lost: Vec<_> = attempts.windows(2).filter(|pair| pair[1] < pair[0] && pair[1] != 0).collect();
    let first = lost.first().filter(|_| lost.len() > taken_back)?;
    Some(format!("an attempt was forgotten: {} came after {}", first[1], first[0]))
}

struct SyncRun {
    setup: OperatorSetup,
    write_log: Arc<WriteLog>,
    holds: mpsc::UnboundedReceiver<Held>,
    processes: Vec<ProxiedOperator>,
    late: Option<oneshot::Sender<WriteFate>>,
    reached: bool,
    attempts_at_kill: i32,
    pulse: Arc<Notify>,
}

impl SyncRun {
    async fn start_operator(&mut self) -> anyhow::Result<()> {
        let number = self.processes.len();
        self.processes.push(ProxiedOperator::start(&self.setup, number, Arc::clone(&self.write_log)).await?);
        Ok(())
    }

    async fn kill(&mut self, held: Held, late: bool) -> anyhow::Result<()> {
        self.reached = true;
        self.processes[held.process].kill()?;
        if late {
            self.late = Some(held.fate);
        } else {
            // The process that waited for the answer is gone.
            let _ = held.fate.send(WriteFate::Drop);
        }
        self.start_operator().await
    }
}

async fn play(servers: &Servers, number: u64, kill: Option<Kill>) -> anyhow::Result<SyncOutcome> {
    let name = servers.next_name();
    let share = servers.share(false).await?;
    let cloud = FakeCloud::start(Seed::default()).await.context("the fake cloud does not start")?;
    let client = share.client();
    create_objects(&client, &name, &cloud).await?;
    let pulse = Arc::new(Notify::new());
    let (write_log, holds) = WriteLog::new(kill.iter().map(|kill| (0, kill.at)).collect(), Arc::clone(&pulse));
    let folder = servers.folder(&name)?;
    let setup = OperatorSetup {
        program: servers.program(),
        folder: folder.clone(),
        namespace: name.clone(),
        upstream: servers.upstream(&share, cloud.url()),
    };
    let mut run = SyncRun {
        setup,
        write_log,
        holds,
        processes: Vec::new(),
        late: None,
        reached: false,
        attempts_at_kill: 0,
        pulse,
    };
    run.start_operator().await?;
    let mut attempts = Vec::new();
    let late = kill.is_some_and(|kill| kill.late);
    let course = follow(&mut run, &client, &name, late, &mut attempts);
    let end = tokio::time::timeout(WITHIN, course).await.ok().transpose()?;
    for process in &mut run.processes {
        process.kill()?;
    }
    Ok(SyncOutcome {
        number,
        kill,
        reached: run.reached,
        entries: run.write_log.entries(),
        applications: cloud.state().requests(Operation::KakaoParameterGroupApply),
        end,
        attempts,
        folder,
    })
}

/// Follows the object until it is at rest, then lets through what is late and follows it once more.
async fn follow(
    run: &mut SyncRun,
    client: &Client,
    namespace: &str,
    late: bool,
    attempts: &mut Vec<i32>,
) -> anyhow::Result<ClusterSync> {
    let api: Api<RedisParameterSync> = Api::namespaced(client.clone(), namespace);
    let mut objects = watcher(api, watcher::Config::default()).default_backoff().applied_objects().boxed();
    loop {
        let status = tokio::select! {
            Some(held) = run.holds.recv() => {
                run.attempts_at_kill = attempts.last().copied().unwrap_or_default();
                run.kill(held, late).await?;
                continue;
            }
            Some(object) = objects.next() => match object {
                Ok(object) => object.status.unwrap_or_default(),
                // The watch begins again by itself.
                Err(_) => continue,
            },
        };
        let Some(entry) = status.clusters.into_iter().find(|entry| entry.id == CLUSTER) else { continue };
        if attempts.last() != Some(&entry.attempts) {
            attempts.push(entry.attempts);
        }
        let is_at_rest = matches!(entry.phase, SyncPhase::InSync | SyncPhase::GaveUp);
        // What comes late is most dangerous once the next process has counted on.
        let has_gone_on = entry.attempts > run.attempts_at_kill + 1;
        if let Some(fate) = run.late.take_if(|_| is_at_rest || has_gone_on) {
            let _ = fate.send(WriteFate::Go);
            // What came late may have changed something: the end counts once everybody has looked again.
            while run.write_log.moving() > 0 {
                run.pulse.notified().await;
            }
            look_again(client, namespace).await?;
            continue;
        }
        if is_at_rest {
            return Ok(entry);
        }
    }
}

/// Has the reference read once more, and the sync reconciled after it.
async fn look_again(client: &Client, namespace: &str) -> anyhow::Result<()> {
    let token = "look";
    let api: Api<RedisClusterRef> = Api::namespaced(client.clone(), namespace);
    let patch = json!({ "metadata": { "annotations": { RECONCILE_REQUESTED_AT: token } } });
    api.patch(REFERENCE, &Default::default(), &kube::api::Patch::Merge(&patch)).await?;
    let handled = |object: Option<&RedisClusterRef>| {
        let status = object.and_then(|object| object.status.as_ref());
        status.is_some_and(|status| status.last_handled_reconcile_at.as_deref() == Some(token))
    };
    let wait = kube::runtime::wait::await_condition(api, REFERENCE, handled);
    // The run as a whole has a limit, and a watch that fails has been left for the next look.
    let _ = wait.await;
    let syncs: Api<RedisParameterSync> = Api::namespaced(client.clone(), namespace);
    let mark = json!({ "metadata": { "labels": { "looked": token } } });
    syncs.patch(SYNC, &Default::default(), &kube::api::Patch::Merge(&mark)).await?;
    Ok(())
}

async fn create_objects(client: &Client, namespace: &str, cloud: &FakeCloud) -> anyhow::Result<()> {
    let mut cluster = KakaoCluster::instance_set(CLUSTER, "carts");
    cluster.parameter_group_sync_status = Some("Error-Sync".to_owned());
    cluster.behaviour.apply_failures = FAILURES;
    cluster.behaviour.apply_seconds = Some(1);
    cloud.state().add_kakao_cluster(cluster)?;
    objects::namespace(client, namespace).await?;
    let secrets = Api::namespaced(client.clone(), namespace);
    objects::secret(&secrets, KAKAO_SECRET, objects::kakao_secret()).await?;
    let target = json!({ "clusterID": CLUSTER, "credentialsSecretRef": { "name": KAKAO_SECRET } });
    let spec = json!({ "kakaoCloud": target, "pollInterval": "10s" });
    create::<RedisClusterRef>(client, namespace, object("RedisClusterRef", REFERENCE, spec)).await?;
    let retry = json!({ "maxAttempts": MAX_ATTEMPTS, "initialBackoff": "1s", "maxBackoff": "1s" });
    let spec = json!({ "clusterRef": { "name": REFERENCE }, "retry": retry });
    create::<RedisParameterSync>(client, namespace, object("RedisParameterSync", SYNC, spec)).await
}

fn object(kind: &str, name: &str, spec: Value) -> Value {
    let mut object = json!({ "apiVersion": "managedredis.dev/v1alpha1", "kind": kind, "metadata": { "name": name } });
    object["spec"] = spec;
    object
}

async fn create<K>(client: &Client, namespace: &str, object: Value) -> anyhow::Result<()>
where
    K: kube::Resource<DynamicType = (), Scope = kube::core::NamespaceResourceScope>
        + Clone
        + std::fmt::Debug
        + serde::de::DeserializeOwned
        + serde::Serialize,
{
    let object: K = serde_json::from_value(object)?;
    let api: Api<K> = Api::namespaced(client.clone(), namespace);
    api.create(&PostParams::default(), &object).await.map(drop).context("the API server refuses an object of the run")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ended(phase: SyncPhase, applications: u64, attempts: &[i32]) -> SyncOutcome {
        SyncOutcome {
            number: 1,
            kill: None,
            reached: true,
            entries: Vec::new(),
            applications,
            end: Some(ClusterSync { phase, ..ClusterSync::default() }),
            attempts: attempts.to_vec(),
            folder: PathBuf::new(),
        }
    }

    #[test]
    fn every_broken_promise_is_seen() {
        assert_eq!(broken(&ended(SyncPhase::InSync, 3, &[0, 1, 2, 3, 0])), None);
        let seen = |outcome: &SyncOutcome| broken(outcome).unwrap_or_default();
        assert!(seen(&ended(SyncPhase::GaveUp, 4, &[0, 1, 4])).starts_with("it ended GaveUp"));
        assert!(seen(&ended(SyncPhase::InSync, 6, &[0, 1, 2, 0])).starts_with("6 applications"));
        assert!(seen(&ended(SyncPhase::InSync, 3, &[0, 1, 2, 1, 2, 0])).starts_with("an attempt was forgotten"));
        let answered = |status| LoggedWrite {
            process: 1,
            write: OperatorWrite::CloudApply,
            nth: 1,
            carried_out: Some(status),
            told: Some(status),
            over: true,
        };
        let counts = [0, 1, 2, 1, 2, 0];
        let busy = SyncOutcome { entries: vec![answered(409)], ..ended(SyncPhase::InSync, 3, &counts) };
        assert_eq!(broken(&busy), None, "taken back");
        let accepted = SyncOutcome { entries: vec![answered(202)], ..ended(SyncPhase::InSync, 3, &counts) };
        assert!(seen(&accepted).starts_with("an attempt was forgotten"));
        let stuck = SyncOutcome { end: None, ..ended(SyncPhase::Waiting, 1, &[0, 1]) };
        assert!(seen(&stuck).starts_with("not at rest in time"));
    }
}
