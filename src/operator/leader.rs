//! Leader election by a Lease: one replica works, the others stand by.

use std::time::{Duration, Instant};

use kube::Client;
use kube_lease_manager::{LeaseManager, LeaseManagerBuilder};
use tokio_util::sync::CancellationToken;
use tracing::{debug, info, warn};

use super::OperatorError;
use crate::controllers::context::Settings;

/// Name of the Lease, in the operator's namespace.
pub const LEASE: &str = "managed-redis-operator";
/// How long a lease holds without being renewed, in seconds.
const DURATION_SECONDS: u64 = 15;
/// How long before its end it is renewed, in seconds.
const GRACE_SECONDS: u64 = 5;
/// Renewals that fail for so long mean that the lease is as good as lost: well before another replica can have it.
const GIVE_UP: Duration = Duration::from_secs(3);
/// Wait between two tries while the API server does not answer.
const RETRY: Duration = Duration::from_millis(500);
/// The lease is released within this, or left to expire.
const RELEASE_WITHIN: Duration = Duration::from_secs(1);

/// This process's part in the election.
pub struct Election {
    manager: LeaseManager,
    shutdown: CancellationToken,
}

impl Election {
    /// Joins the election; nothing is won yet.
    ///
    /// # Errors
    /// When the Lease can neither be read nor created.
    pub async fn join(
        client: &Client,
        settings: &Settings,
        shutdown: CancellationToken,
    ) -> Result<Self, OperatorError> {
        let manager = LeaseManagerBuilder::new(client.clone(), LEASE)
            .with_namespace(&settings.operator_namespace)
            .with_identity(&settings.identity)
            .with_duration(DURATION_SECONDS)
            .with_grace(GRACE_SECONDS)
            .build()
            .await
            .map_err(|error| {
                OperatorError::LeaderElection(format!(
                    "Lease {LEASE} in namespace {} cannot be used: {error}",
                    settings.operator_namespace
                ))
            })?;
        Ok(Self { manager, shutdown })
    }

    /// Resolves true when this process leads, false when it was told to stop first.
    pub async fn lead(&self) -> bool {
        info!(lease = LEASE, "waiting to lead");
        loop {
            tokio::select! {
                () = self.shutdown.cancelled() => return false,
                changed = self.manager.changed() => match changed {
                    Ok(true) => return true,
                    Ok(false) => {}
                    Err(error) => {
                        warn!(%error, "leader election: the lease could not be read or written; trying again");
                        tokio::time::sleep(RETRY).await;
                    }
                },
            }
        }
    }

    /// Resolves when this process must not work any more: the lease is another's, or cannot be renewed. Renews it meanwhile.
    pub async fn lost(&self) {
        let mut failing_since: Option<(Instant, Instant)> = None;
        loop {
            match self.manager.changed().await {
                Ok(true) => failing_since = None,
                Ok(false) => return,
                Err(error) => {
                    debug!(%error, "leader election: the lease could not be renewed");
                    let now = Instant::now();
                    let first = match failing_since {
                        // Failures far apart had a success between them.
                        Some((first, last)) if now.duration_since(last) < GIVE_UP => first,
                        _ => now,
                    };
                    if now.duration_since(first) >= GIVE_UP {
                        warn!(%error, "leader election: the lease cannot be renewed");
                        return;
                    }
                    failing_since = Some((first, now));
                    tokio::time::sleep(RETRY).await;
                }
            }
        }
    }

    /// Gives the lease back, so that another replica need not wait for its end.
    pub async fn release(&self) {
        match tokio::time::timeout(RELEASE_WITHIN, self.manager.release()).await {
            Ok(Ok(())) => debug!("lease released"),
            Ok(Err(error)) => warn!(%error, "the lease could not be released; it ends by itself"),
            Err(_) => warn!("the lease could not be released in time; it ends by itself"),
        }
    }
}
