//! Readiness: the CRDs exist and all objects are known, or another replica leads.

use std::collections::BTreeSet;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use kube::Client;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use crate::api::crds;
use crate::runtime::watch_health::WatchSummary;

/// How often the API server is asked whether CRDs are missing.
const CRD_CHECK: Duration = Duration::from_secs(2);
/// After how many checks the wait for CRDs is logged again.
const CRD_REMINDER: u32 = 15;

/// How far the start has come.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
enum Stage {
    #[default]
    Connecting,
    MissingCrds(Vec<String>),
    NoApi(String),
    StandBy,
    Working,
}

/// How far the start has come, and what is left of it.
#[derive(Debug)]
struct Progress {
    stage: Stage,
    /// The kinds of which not all objects are known.
    unknown: BTreeSet<String>,
}

/// What /readyz tells.
#[derive(Debug)]
pub(crate) struct Readiness(Mutex<Progress>);

impl Default for Readiness {
    /// Waits for the objects of every kind that has a CRD, so that a kind nobody watches is never taken for ready.
    fn default() -> Self {
        let unknown = crds().into_iter().map(|crd| crd.spec.names.kind).collect();
        Self(Mutex::new(Progress { stage: Stage::default(), unknown }))
    }
}

impl Readiness {
    fn set(&self, stage: Stage) {
        self.progress().stage = stage;
    }

    fn progress(&self) -> MutexGuard<'_, Progress> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Another replica leads; this one is ready to take over.
    pub(crate) fn stand_by(&self) {
        self.set(Stage::StandBy);
    }

    /// This replica leads now, and lists all objects first.
    pub(crate) fn lead(&self) {
        self.set(Stage::Working);
    }

    /// All objects of a kind have been listed once.
    pub(crate) fn kind_is_known(&self, kind: &str) {
        self.progress().unknown.remove(kind);
    }

    /// Whether to answer 200, and the sentence to answer with. `watches` says whether the watches work.
    pub(crate) fn tell(&self, watches: WatchSummary) -> (bool, String) {
        let progress = self.progress();
        match &progress.stage {
            Stage::Connecting => (false, "connecting to the Kubernetes API".to_owned()),
            Stage::MissingCrds(names) => (false, format!("waiting for the CRDs: {}", names.join(", "))),
            Stage::NoApi(error) => (false, format!("the Kubernetes API does not answer: {error}")),
            Stage::StandBy => (true, "standing by, another replica leads".to_owned()),
            Stage::Working if !progress.unknown.is_empty() => match watches {
                WatchSummary::Working => (false, "listing objects".to_owned()),
                WatchSummary::Partial(why) | WatchSummary::Failing(why) => (false, format!("listing objects: {why}")),
            },
            Stage::Working => match watches {
                WatchSummary::Working => (true, "ok".to_owned()),
                WatchSummary::Partial(why) => (true, format!("ok, but {why}")),
                WatchSummary::Failing(why) => (false, why),
            },
        }
    }
}

/// Waits until the API server serves all kinds; false if `shutdown` came first.
pub(crate) async fn wait_for_crds(client: &Client, readiness: &Readiness, shutdown: &CancellationToken) -> bool {
    let mut checks = 0;
    loop {
        let stage = match missing(client).await {
            Ok(missing) if missing.is_empty() => {
                readiness.set(Stage::Working);
                return true;
            }
            Ok(missing) => Stage::MissingCrds(missing),
            Err(error) => Stage::NoApi(error.to_string()),
        };
        if checks % CRD_REMINDER == 0 {
            match &stage {
                Stage::MissingCrds(names) => info!(
                    missing = %names.join(", "),
                    "waiting for CRDs: install them with `managed-redis-operator crds | kubectl apply --server-side -f -`"
                ),
                Stage::NoApi(error) => warn!(%error, "the Kubernetes API does not answer; retrying"),
                _ => {}
            }
        }
        checks += 1;
        readiness.set(stage);
        tokio::select! {
            () = shutdown.cancelled() => return false,
            () = tokio::time::sleep(CRD_CHECK) => {}
        }
    }
}

/// The CRDs that the API server does not serve, found by discovery, which every client may do.
async fn missing(client: &Client) -> Result<Vec<String>, kube::Error> {
    let served = match client.list_api_group_resources("managedredis.dev/v1alpha1").await {
        Ok(list) => list.resources.into_iter().map(|resource| resource.name).collect(),
        // For a group without CRDs the API server answers "404 page not found" in plain text, so there is only the code to go by.
        Err(kube::Error::Api(status)) if status.code == 404 => Vec::new(),
        Err(error) => return Err(error),
    };
    let wanted = crds().into_iter().map(|crd| (crd.spec.names.plural, crd.metadata.name.unwrap_or_default()));
    Ok(wanted.filter(|(plural, _)| !served.contains(plural)).map(|(_, name)| name).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all_are_known(readiness: &Readiness) {
        crds().iter().for_each(|crd| readiness.kind_is_known(&crd.spec.names.kind));
    }

    /// As if a kind had been forgotten where kinds are registered.
    #[test]
    fn a_kind_that_nobody_watches_is_never_ready() {
        for forgotten in crds() {
            let readiness = Readiness::default();
            readiness.lead();
            for crd in crds().iter().filter(|crd| crd.spec.names.kind != forgotten.spec.names.kind) {
                readiness.kind_is_known(&crd.spec.names.kind);
            }
            assert_eq!(readiness.tell(WatchSummary::Working), (false, "listing objects".to_owned()));
        }
    }

    #[test]
    fn ready_only_when_there_is_nothing_left_to_wait_for() {
        let readiness = Readiness::default();
        assert!(!readiness.tell(WatchSummary::Working).0);
        readiness.set(Stage::MissingCrds(vec!["redisclusterrefs.managedredis.dev".to_owned()]));
        assert_eq!(
            readiness.tell(WatchSummary::Working),
            (false, "waiting for the CRDs: redisclusterrefs.managedredis.dev".to_owned())
        );
        readiness.stand_by();
        assert!(readiness.tell(WatchSummary::Working).0);
        readiness.lead();
        assert!(!readiness.tell(WatchSummary::Working).0);
        all_are_known(&readiness);
        assert_eq!(readiness.tell(WatchSummary::Working), (true, "ok".to_owned()));
    }

    #[test]
    fn without_working_watches_nothing_is_ready_unless_another_leads() {
        let (readiness, failing) = (Readiness::default(), || WatchSummary::Failing("cannot list".to_owned()));
        readiness.lead();
        assert_eq!(readiness.tell(failing()), (false, "listing objects: cannot list".to_owned()));
        all_are_known(&readiness);
        assert_eq!(readiness.tell(failing()), (false, "cannot list".to_owned()));
        let partial = WatchSummary::Partial("cannot list".to_owned());
        assert_eq!(readiness.tell(partial), (true, "ok, but cannot list".to_owned()));
        readiness.stand_by();
        assert!(readiness.tell(failing()).0);
    }
}
