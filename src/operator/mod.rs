//! Wiring: from a typed configuration to a running operator, and back to rest.

pub mod admin;
mod deadline;
mod election;
mod kube_client;
pub mod leader;
mod leadership;
pub mod namespaces;
pub mod open_files;
pub mod readiness;
pub mod serve;
pub mod telemetry;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use kube::ResourceExt as _;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};

use self::kube_client::Cluster;
use self::leader::Candidate;
use self::leadership::Leadership;
use self::readiness::Readiness;
use crate::api::{RedisClusterRef, RedisFlushRequest, RedisParameterSync};
use crate::cloud::{CloudSettings, HttpCore, SetupError};
use crate::controllers::cluster_ref::target;
use crate::controllers::context::{Context, Settings, Triggers};
use crate::controllers::credentials::SecretKey;
use crate::controllers::flush_request::sweep;
use crate::controllers::parameter_sync::reminders::Reminders;
use crate::inventory::{Inventory, Subscriber, SubscriberKind, Urgency};
use crate::metrics::Metrics;
use crate::runtime::queue::Lane;
use crate::runtime::runner::{self, Scope};
use crate::runtime::trigger::{Trigger, TriggerStream};

/// How long what is under way may take to finish after a SIGTERM. With the release of the lease and the end of the admin
/// server after it, the whole stays below 10 s.
const GRACE: Duration = Duration::from_secs(8);
/// How often subscriptions of objects whose deletion nobody saw are dropped.
const PRUNE_EVERY: Duration = Duration::from_secs(60);

/// Everything `run` needs, resolved from flags.
#[derive(Clone, Debug)]
pub struct OperatorConfig {
    /// How the clouds are reached.
    pub cloud: CloudSettings,
    /// How objects are reconciled. `operator_namespace` is filled in from the client if empty.
    pub settings: Settings,
    /// Which objects are watched.
    pub scope: Scope,
    /// Whether a lease decides which replica works.
    pub leader_election: bool,
    /// Where /metrics, /healthz and /readyz are served.
    pub admin_addr: SocketAddr,
}

/// Why the operator could not start or had to stop.
#[derive(Debug, thiserror::Error)]
pub enum OperatorError {
    /// Neither a kubeconfig nor a pod's service account.
    #[error("no Kubernetes cluster to work with: {0}")]
    NoCluster(String),
    /// The admin address cannot be listened on.
    #[error("cannot listen on --admin-addr {addr}: {source}")]
    AdminAddress {
        /// The address.
        addr: SocketAddr,
        /// Why not.
        source: std::io::Error,
    },
    /// The clouds' HTTP core cannot be set up.
    #[error(transparent)]
    Cloud(#[from] SetupError),
    /// The lease cannot be used.
    #[error("leader election: {0}")]
    LeaderElection(String),
    /// Another replica may lead now, so this one must not go on.
    #[error("leadership was lost: {0}; exiting so that another replica, or a restart of this one, takes over")]
    LeadershipLost(String),
    /// Signals cannot be caught.
    #[error("cannot catch signals: {0}")]
    Signals(std::io::Error),
}

/// Runs until SIGTERM or SIGINT; returns when everything under way is finished and the lease is released.
///
/// # Errors
/// When it cannot start, or must not go on.
pub async fn run(mut config: OperatorConfig) -> Result<(), OperatorError> {
    let shutdown = CancellationToken::new();
    stop_on_signal(shutdown.clone())?;
    let cluster = Cluster::infer().await?;
    if config.settings.operator_namespace.is_empty() {
        config.settings.operator_namespace = cluster.namespace().to_owned();
    }
    let leadership = if config.leader_election { Leadership::to_be_won() } else { Leadership::unconditional() };
    let client = cluster.client(leadership.clone())?;
    // The Lease has connections of its own, and is written without leading.
    let lease_client = cluster.client(Leadership::unconditional())?;
    let candidate = Candidate::new(&lease_client, &config.settings, leadership);
    let metrics = Arc::new(Metrics::new());
    let readiness = Arc::new(Readiness::default());
    let (wakers, streams) = channels();
    let inventory = Inventory::new(wake_by_kind(&wakers));
    let core = Arc::new(HttpCore::new(config.cloud.clone(), Arc::clone(&metrics) as _)?);
    let settings = config.settings.clone();
    let ctx = Arc::new(Context::new(client, inventory, core, metrics, settings, wakers, shutdown.clone()));
    let budget = open_files::prepare(&ctx.watches, config.scope.namespaces.len());
    let admin =
        admin::serve(config.admin_addr, Arc::clone(&ctx), Arc::clone(&readiness), budget.admin, shutdown.clone());
    let admin = admin.await?;
    info!(
        version = env!("CARGO_PKG_VERSION"),
        identity = %config.settings.identity,
        namespace = %config.settings.operator_namespace,
        admin = %admin.addr,
        "starting"
    );
    let outcome = work(&config, candidate, &ctx, &readiness, streams, &shutdown).await;
    shutdown.cancel();
    admin.stopped().await;
    info!("stopped");
    outcome
}

/// Waits for the CRDs, for leadership, and runs the controllers.
async fn work(
    config: &OperatorConfig,
    mut candidate: Candidate,
    ctx: &Arc<Context>,
    readiness: &Arc<Readiness>,
    streams: Streams,
    shutdown: &CancellationToken,
) -> Result<(), OperatorError> {
    if !readiness::wait_for_crds(&ctx.client, readiness, shutdown).await {
        return Ok(());
    }
    if !config.leader_election {
        warn!("leader election is off: run one replica only");
        ctx.metrics.leader(true);
        controllers(config, ctx, readiness, streams, shutdown.clone()).await;
        return Ok(());
    }
    readiness.stand_by();
    if !candidate.lead(shutdown).await? {
        candidate.release().await;
        return Ok(());
    }
    info!("leading");
    readiness.lead();
    ctx.metrics.leader(true);
    let stop = shutdown.child_token();
    let running = controllers(config, ctx, readiness, streams, stop.clone());
    tokio::pin!(running);
    let outcome = tokio::select! {
        () = &mut running => Ok(()),
        loss = candidate.lost() => {
            // Nothing more may be begun; what is under way is cut off with the process.
            stop.cancel();
            Err(OperatorError::LeadershipLost(loss.to_string()))
        }
    };
    ctx.metrics.leader(false);
    if outcome.is_ok() {
        candidate.release().await;
    }
    outcome
}

async fn controllers(
    config: &OperatorConfig,
    ctx: &Arc<Context>,
    readiness: &Arc<Readiness>,
    streams: Streams,
    stop: CancellationToken,
) {
    let mut tasks = JoinSet::new();
    let scope = &config.scope;
    tasks.spawn(runner::run::<RedisClusterRef>(Arc::clone(ctx), scope.clone(), streams.cluster_refs, stop.clone()));
    tasks.spawn(runner::run::<RedisParameterSync>(
        Arc::clone(ctx),
        scope.clone(),
        streams.parameter_syncs,
        stop.clone(),
    ));
    tasks.spawn(runner::run::<RedisFlushRequest>(Arc::clone(ctx), scope.clone(), streams.flush_requests, stop.clone()));
    let chores = tokio::spawn(chores(Arc::clone(ctx), Arc::clone(readiness), scope.namespaces.clone()));
    stop.cancelled().await;
    info!("stopping; finishing what is under way");
    let finish = async { while tasks.join_next().await.is_some() {} };
    if tokio::time::timeout(GRACE, finish).await.is_err() {
        error!("not everything finished within {} s; it will be picked up after the next start", GRACE.as_secs());
    }
    chores.abort();
}

/// Readiness once the stores are filled, then what has to be done now and then.
async fn chores(ctx: Arc<Context>, readiness: Arc<Readiness>, namespaces: Vec<String>) {
    let work = async {
        ctx.cluster_refs.ready().await;
        ctx.parameter_syncs.ready().await;
        ctx.flush_requests.ready().await;
        readiness.controllers_synced();
        info!("watching; all objects are known");
        wake_those_who_wait(&ctx);
        let secrets = ctx.secrets.watch_over(|secret| secret_changed(&ctx, secret));
        tokio::join!(secrets, sweep(&ctx), namespaces::watch_over(&ctx, &namespaces));
    };
    tokio::join!(work, ctx.watches.speak());
}

/// A parameter sync that was looked at before all references were listed waits for them. Most often the list wakes it, but not
/// one that is empty or refused.
fn wake_those_who_wait(ctx: &Context) {
    for sync in ctx.parameter_syncs.filter(|_| true) {
        ctx.wakers.parameter_syncs.wake_in(
            Lane::Periodic,
            sync.namespace().as_deref().unwrap_or_default(),
            &sync.name_any(),
        );
    }
}

/// TriggerStream who takes a credential from a Secret, or may do so by way of a reference.
fn secret_changed(ctx: &Context, secret: &SecretKey) {
    info!(namespace = %secret.namespace, secret = %secret.name, "the Secret has another credential");
    for reference in ctx.cluster_refs.filter_in(&secret.namespace, |reference| target::uses(reference, secret)) {
        ctx.wakers.cluster_refs.wake(&secret.namespace, &reference.name_any());
    }
    // What concerns references comes to the others by way of them.
    for name in ctx.membership.of_groups(&secret.namespace) {
        ctx.wakers.reminders.remind(&secret.namespace, &name);
    }
}

/// Does what has to be done now and then, all the time.
async fn sweep(ctx: &Context) {
    let mut every = tokio::time::interval(PRUNE_EVERY);
    loop {
        every.tick().await;
        ctx.inventory.prune(|who| exists(ctx, who));
        if let Err(error) = sweep::expired_claims(ctx).await {
            warn!(%error, "the flush claims could not be swept; they are looked at again in a minute");
        }
    }
}

fn exists(ctx: &Context, who: &Subscriber) -> bool {
    match who.kind {
        SubscriberKind::ClusterRef => ctx.cluster_refs.contains(&who.namespace, &who.name),
        SubscriberKind::ParameterSync => ctx.parameter_syncs.contains(&who.namespace, &who.name),
    }
}

struct Streams {
    cluster_refs: TriggerStream,
    parameter_syncs: TriggerStream,
    flush_requests: TriggerStream,
}

fn channels() -> (Triggers, Streams) {
    let (cluster_refs, cluster_ref_stream) = Trigger::channel();
    let (parameter_syncs, parameter_sync_stream) = Trigger::channel();
    let (flush_requests, flush_request_stream) = Trigger::channel();
    let streams = Streams {
        cluster_refs: cluster_ref_stream,
        parameter_syncs: parameter_sync_stream,
        flush_requests: flush_request_stream,
    };
    let reminders = Reminders::new(parameter_syncs.clone());
    (Triggers { cluster_refs, parameter_syncs, reminders, flush_requests }, streams)
}

fn wake_by_kind(wakers: &Triggers) -> crate::inventory::Wake {
    let wakers = wakers.clone();
    Arc::new(move |who: &Subscriber, urgency: Urgency| {
        let lane = match urgency {
            Urgency::Asked => Lane::Interactive,
            Urgency::Routine => Lane::Periodic,
        };
        match who.kind {
            SubscriberKind::ClusterRef => wakers.cluster_refs.wake_in(lane, &who.namespace, &who.name),
            SubscriberKind::ParameterSync if urgency == Urgency::Routine => {
                wakers.reminders.remind(&who.namespace, &who.name);
            }
            SubscriberKind::ParameterSync => wakers.parameter_syncs.wake_in(lane, &who.namespace, &who.name),
        }
    })
}

fn stop_on_signal(shutdown: CancellationToken) -> Result<(), OperatorError> {
    use tokio::signal::unix::{SignalKind, signal};
    let mut terminate = signal(SignalKind::terminate()).map_err(OperatorError::Signals)?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(OperatorError::Signals)?;
    tokio::spawn(async move {
        tokio::select! {
            _ = terminate.recv() => info!("SIGTERM"),
            _ = interrupt.recv() => info!("SIGINT"),
        }
        shutdown.cancel();
    });
    Ok(())
}
