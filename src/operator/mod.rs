//! Wiring: from a typed configuration to a running operator, and back to rest.

pub(crate) mod admin;
mod chores;
mod deadline;
mod election;
mod kube_client;
pub(crate) mod leader;
mod leadership;
pub(crate) mod namespaces;
pub(crate) mod open_files;
pub(crate) mod readiness;
pub(crate) mod serve;
pub(crate) mod telemetry;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};

use self::admin::AdminPages;
use self::chores::Chores;
use self::kube_client::KubeCluster;
use self::leader::Candidate;
use self::leadership::Leadership;
use self::readiness::Readiness;
use crate::cloud::{CloudSettings, HttpCore, SetupError};
use crate::controllers::context::Settings;
use crate::controllers::kind::Controllers;
use crate::controllers::kinds;
use crate::metrics::Metrics;
use crate::runtime::machinery::Machinery;
use crate::runtime::runner::Scope;

/// How long work under way may take to finish after a SIGTERM. With the release of the Lease and the end of the admin server, the
/// whole takes less than 10 s.
const GRACE: Duration = Duration::from_secs(8);

/// Everything `run` needs, resolved from flags.
#[derive(Clone, Debug)]
pub(crate) struct OperatorConfig {
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
pub(crate) enum OperatorError {
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
pub(crate) async fn run(mut config: OperatorConfig) -> Result<(), OperatorError> {
    let shutdown = CancellationToken::new();
    stop_on_signal(shutdown.clone())?;
    let cluster = KubeCluster::infer().await?;
    if config.settings.operator_namespace.is_empty() {
        config.settings.operator_namespace = cluster.namespace().to_owned();
    }
    let leadership = if config.leader_election { Leadership::to_be_won() } else { Leadership::unconditional() };
    let client = cluster.client(leadership.clone())?;
    // The Lease has connections of its own, and is written without leading.
    let lease_client = cluster.client(Leadership::unconditional())?;
    let candidate = config.leader_election.then(|| Candidate::new(&lease_client, &config.settings, leadership));
    let metrics = Arc::new(Metrics::new());
    let core = HttpCore::new(config.cloud.clone(), Arc::clone(&metrics) as _)?;
    let settings = config.settings.clone();
    let machinery = Machinery::new(client, metrics, settings.identity.clone(), settings.workers);
    let (ctx, kinds, controllers) = kinds::register(&machinery, core, settings, shutdown.clone());
    let readiness = Arc::new(Readiness::default());
    let files = open_files::prepare(&machinery.watches, kinds.count(), config.scope.namespaces.len());
    let admin = admin::serve(
        config.admin_addr,
        AdminPages::new(Arc::clone(&ctx), Arc::clone(&machinery.watches), Arc::clone(&readiness)),
        files.admin,
        shutdown.clone(),
    );
    let admin = admin.await?;
    info!(
        version = env!("CARGO_PKG_VERSION"),
        identity = %config.settings.identity,
        namespace = %config.settings.operator_namespace,
        admin = %admin.addr,
        "starting"
    );
    let (scope, watches) = (config.scope, machinery.watches);
    let chores = Chores { ctx, kinds, watches, readiness, namespaces: scope.namespaces.clone() };
    let outcome = Work { scope, controllers, chores }.run(candidate, &shutdown).await;
    shutdown.cancel();
    admin.stopped().await;
    info!("stopped");
    outcome
}

/// What is done once this process may work.
struct Work {
    scope: Scope,
    controllers: Controllers,
    chores: Chores,
}

impl Work {
    /// Waits for the CRDs, for leadership (of the candidate, if there is one), and runs the controllers.
    async fn run(self, candidate: Option<Candidate>, shutdown: &CancellationToken) -> Result<(), OperatorError> {
        let Chores { ctx, readiness, .. } = &self.chores;
        let (readiness, metrics) = (Arc::clone(readiness), Arc::clone(&ctx.metrics));
        if !readiness::wait_for_crds(&ctx.client, &readiness, shutdown).await {
            return Ok(());
        }
        let Some(mut candidate) = candidate else {
            warn!("leader election is off: run one replica only");
            metrics.leader(true);
            self.run_controllers(shutdown.clone()).await;
            return Ok(());
        };
        readiness.stand_by();
        if !candidate.lead(shutdown).await? {
            candidate.release().await;
            return Ok(());
        }
        info!("leading");
        readiness.lead();
        metrics.leader(true);
        let stop = shutdown.child_token();
        let outcome = tokio::select! {
            () = self.run_controllers(stop.clone()) => Ok(()),
            loss = candidate.lost() => {
                // Nothing more may be begun; what is under way is cut off with the process.
                stop.cancel();
                Err(OperatorError::LeadershipLost(loss.to_string()))
            }
        };
        metrics.leader(false);
        if outcome.is_ok() {
            candidate.release().await;
        }
        outcome
    }

    /// Runs the controllers of all kinds until `stop`, and gives them time to finish.
    async fn run_controllers(self, stop: CancellationToken) {
        let mut controllers = self.controllers.start(&self.scope, &stop);
        let chores = tokio::spawn(self.chores.run());
        stop.cancelled().await;
        info!("stopping; finishing what is under way");
        let finish = async { while controllers.join_next().await.is_some() {} };
        if tokio::time::timeout(GRACE, finish).await.is_err() {
            error!("not everything finished within {} s; it will be picked up after the next start", GRACE.as_secs());
        }
        chores.abort();
    }
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
