//! Requests applications from the cloud, each once.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::StreamExt as _;
use jiff::Timestamp;
use tracing::{info, warn};

use super::apply_slots::ApplySlot;
use super::claims::Claimant;
use super::context::SyncContext;
use super::input::ApplyResult;
use super::messages;
use super::observe::ObservedClusters;
use super::plan::Apply;
use crate::api::RedisParameterSync;
use crate::api::parameter_sync::SyncError;
use crate::cloud::{CloudError, ErrorKind, Executed};
use crate::inventory::{CloudClient, Connection};
use crate::object_key::ObjectKey;

/// Requests of one object under way at once.
const CONCURRENT_APPLIES: usize = 4;
/// A pass begins no request later than this, so that a cloud that hangs does not use up the reconcile's deadline.
const BEGIN_WITHIN: Duration = Duration::from_secs(30);

/// A slot at each connection of the applications, and the IDs of all clusters at whose connection the object has none.
pub(super) fn acquire_slots(
    ctx: &SyncContext,
    key: &ObjectKey,
    applies: &[Apply],
    connections: &HashMap<String, Arc<Connection>>,
) -> (Vec<ApplySlot>, HashSet<String>) {
    let label = |apply: &Apply| connections.get(&apply.id).map(|connection| connection.label().to_owned());
    let labels: BTreeSet<String> = applies.iter().filter_map(label).collect();
    let acquired: HashMap<String, ApplySlot> =
        labels.into_iter().filter_map(|label| Some((label.clone(), ctx.apply_slots.acquire(&label, key)?))).collect();
    let without_slot = connections.iter().filter(|(_, connection)| !acquired.contains_key(connection.label()));
    let without_slot = without_slot.map(|(id, _)| id.clone()).collect();
    (acquired.into_values().collect(), without_slot)
}

/// Requests each of the applications, and returns the answers by the clusters' IDs.
pub(super) async fn request_applications(
    ctx: &SyncContext,
    sync: &RedisParameterSync,
    applies: &[Apply],
    observed: &ObservedClusters,
) -> Vec<(String, ApplyResult)> {
    let claimant = &Claimant::of(sync);
    let begun = Instant::now();
    // Owned items: a borrowing closure is not general enough for a Send future.
    futures::stream::iter(applies.to_vec())
        .map(|apply| async move {
            let may_begin = || {
                begun.elapsed() <= BEGIN_WITHIN
                    && ctx.ownership.begin_request(claimant, &apply.id, observed.others_known_at, Timestamp::now())
            };
            let result = match observed.connections.get(&apply.id) {
                Some(connection) if may_begin() => request_application(connection, &apply.id).await,
                // The next pass requests it.
                Some(_) => ApplyResult::Busy,
                None => not_sent(messages::CONNECTION_GONE),
            };
            report(ctx, &apply, &result);
            (apply.id, result)
        })
        .buffer_unordered(CONCURRENT_APPLIES)
        .collect()
        .await
}

async fn request_application(connection: &Connection, id: &str) -> ApplyResult {
    let CloudClient::Kakao(client) = connection.client() else { return not_sent(messages::ONLY_KAKAO) };
    match client.apply_parameter_group(id).await {
        Ok(_) => ApplyResult::Accepted,
        Err(error) => result_of(&error),
    }
}

fn report(ctx: &SyncContext, apply: &Apply, result: &ApplyResult) {
    let (cluster, attempt) = (&apply.name, apply.attempt);
    let outcome = match result {
        ApplyResult::Accepted => {
            info!(%cluster, attempt, "apply accepted");
            "accepted"
        }
        ApplyResult::Busy => {
            info!(%cluster, "the cluster is busy; the apply is retried");
            "busy"
        }
        ApplyResult::Failed(error) | ApplyResult::NotSent(error) => {
            warn!(%cluster, attempt, error = %error.message, "apply failed");
            "failed"
        }
    };
    ctx.metrics.parameter_apply(outcome);
}

fn not_sent(message: &str) -> ApplyResult {
    ApplyResult::NotSent(SyncError { code: None, message: message.to_owned() })
}

fn result_of(error: &CloudError) -> ApplyResult {
    let code = error.code.clone().or_else(|| error.http_status.map(|status| status.to_string()));
    let sync_error = SyncError { code, message: error.to_string() };
    let never_arrived = error.executed == Executed::No && error.http_status.is_none();
    match error.kind {
        ErrorKind::Busy => ApplyResult::Busy,
        // The gateway refused it before the cloud did anything about the cluster.
        ErrorKind::RateLimited => ApplyResult::NotSent(sync_error),
        _ if never_arrived => ApplyResult::NotSent(sync_error),
        _ => ApplyResult::Failed(sync_error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::Provider;

    fn error(kind: ErrorKind, http_status: Option<u16>, executed: Executed) -> CloudError {
        CloudError { http_status, executed, ..CloudError::sample(Provider::KakaoCloud, "applyParameterGroup", kind) }
    }

    #[test]
    fn only_what_reached_the_cluster_is_an_attempt() {
        assert_eq!(result_of(&error(ErrorKind::Busy, Some(409), Executed::No)), ApplyResult::Busy);
        for (error, is_attempt) in [
            (error(ErrorKind::Unavailable, None, Executed::No), false),
            (error(ErrorKind::Unavailable, None, Executed::Unknown), true),
            (error(ErrorKind::Unavailable, Some(500), Executed::Unknown), true),
            (error(ErrorKind::RateLimited, Some(429), Executed::No), false),
            (error(ErrorKind::BadRequest, Some(400), Executed::No), true),
        ] {
            match result_of(&error) {
                ApplyResult::Failed(_) => assert!(is_attempt, "{error:?}"),
                ApplyResult::NotSent(_) => assert!(!is_attempt, "{error:?}"),
                other => panic!("{other:?} for {error:?}"),
            }
        }
    }
}
