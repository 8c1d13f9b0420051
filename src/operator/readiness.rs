//! Readiness that means something: the CRDs are there, and the objects are known (or another replica leads).

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use kube::Client;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use crate::api::crds;
use crate::runtime::watch_health::Hearing;

/// How often the API server is asked for missing CRDs.
const CRD_CHECK: Duration = Duration::from_secs(2);
/// How often the wait for them is logged again.
const CRD_REMINDER: u32 = 15;

/// How far the start has come.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
enum Stage {
    #[default]
    Connecting,
    MissingCrds(Vec<String>),
    NoApi(String),
    StandBy,
    Syncing,
    Ready,
}

/// What /readyz tells.
#[derive(Debug, Default)]
pub struct Readiness(Mutex<Stage>);

impl Readiness {
    fn set(&self, stage: Stage) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = stage;
    }

    /// Another replica leads; this one is ready to take over.
    pub fn stand_by(&self) {
        self.set(Stage::StandBy);
    }

    /// This replica leads now, and begins by listing all objects.
    pub fn lead(&self) {
        self.set(Stage::Syncing);
    }

    /// Every store has been filled once.
    pub fn controllers_synced(&self) {
        self.set(Stage::Ready);
    }

    /// Whether to answer 200, and the sentence to answer with; `hearing` says how far the API server is heard.
    pub fn tell(&self, hearing: Hearing) -> (bool, String) {
        match &*self.0.lock().unwrap_or_else(PoisonError::into_inner) {
            Stage::Connecting => (false, "connecting to the Kubernetes API".to_owned()),
            Stage::MissingCrds(names) => (false, format!("waiting for the CRDs: {}", names.join(", "))),
            Stage::NoApi(error) => (false, format!("the Kubernetes API does not answer: {error}")),
            Stage::StandBy => (true, "standing by, another replica leads".to_owned()),
            Stage::Syncing => match hearing {
                Hearing::Whole => (false, "listing objects".to_owned()),
                Hearing::Partial(why) | Hearing::Deaf(why) => (false, format!("listing objects: {why}")),
            },
            Stage::Ready => match hearing {
                Hearing::Whole => (true, "ok".to_owned()),
                Hearing::Partial(why) => (true, format!("ok, but {why}")),
                Hearing::Deaf(why) => (false, why),
            },
        }
    }
}

/// Waits until the API server serves all three kinds; false if `shutdown` came first.
pub async fn wait_for_crds(client: &Client, readiness: &Readiness, shutdown: &CancellationToken) -> bool {
    let mut checks = 0;
    loop {
        let stage = match missing(client).await {
            Ok(missing) if missing.is_empty() => {
                readiness.set(Stage::Syncing);
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
                Stage::NoApi(error) => warn!(%error, "the Kubernetes API does not answer; trying again"),
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

/// The kinds that the API server does not serve, by discovery, which every client may do.
async fn missing(client: &Client) -> Result<Vec<String>, kube::Error> {
    let served = match client.list_api_group_resources("managedredis.dev/v1alpha1").await {
        Ok(list) => list.resources.into_iter().map(|resource| resource.name).collect(),
        // By its code: of a group without any CRD the API server says "404 page not found" in plain text, without a reason.
        Err(kube::Error::Api(status)) if status.code == 404 => Vec::new(),
        Err(error) => return Err(error),
    };
    let wanted = crds().into_iter().map(|crd| (crd.spec.names.plural, crd.metadata.name.unwrap_or_default()));
    Ok(wanted.filter(|(plural, _)| !served.contains(plural)).map(|(_, name)| name).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ready_only_when_there_is_nothing_left_to_wait_for() {
        let readiness = Readiness::default();
        assert!(!readiness.tell(Hearing::Whole).0);
        readiness.set(Stage::MissingCrds(vec!["redisclusterrefs.managedredis.dev".to_owned()]));
        assert_eq!(
            readiness.tell(Hearing::Whole),
            (false, "waiting for the CRDs: redisclusterrefs.managedredis.dev".to_owned())
        );
        readiness.stand_by();
        assert!(readiness.tell(Hearing::Whole).0);
        readiness.set(Stage::Syncing);
        assert!(!readiness.tell(Hearing::Whole).0);
        readiness.controllers_synced();
        assert_eq!(readiness.tell(Hearing::Whole), (true, "ok".to_owned()));
    }

    #[test]
    fn who_does_not_hear_is_not_ready_unless_another_leads() {
        let (readiness, deaf) = (Readiness::default(), || Hearing::Deaf("cannot list".to_owned()));
        readiness.lead();
        assert_eq!(readiness.tell(deaf()), (false, "listing objects: cannot list".to_owned()));
        readiness.controllers_synced();
        assert_eq!(readiness.tell(deaf()), (false, "cannot list".to_owned()));
        let partial = Hearing::Partial("cannot list".to_owned());
        assert_eq!(readiness.tell(partial), (true, "ok, but cannot list".to_owned()));
        readiness.stand_by();
        assert!(readiness.tell(deaf()).0);
    }
}
