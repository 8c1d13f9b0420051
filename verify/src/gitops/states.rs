//! Every state there is, and how an object is brought into it.

use fake_cloud::{Fault, FaultKind, KakaoCluster, Operation};
use kube::api::DynamicObject;
use serde_json::json;

use super::environment::{FAILING, GitopsEnvironment, merge};
use super::references::kakao;
use super::setup::StateSetup;
use super::table::ObjectKind;
use super::{flushes, references, syncs};

/// The state of an object that no operator has seen: of every kind.
pub(super) const FRESH: &str = "fresh";
/// The state of an object whose newest spec no operator has seen: of the kinds whose spec can change.
pub(super) const CHANGED: &str = "spec-changed";
/// The states of objects whose cloud fails after it was read, for a moment and for long: of the kinds that are polled.
pub(super) const OUTAGE: [&str; 2] = ["outage", "stale"];
/// The kinds that are polled, and whose spec can change.
pub(super) const POLLED: [ObjectKind; 2] = [ObjectKind::Reference, ObjectKind::Sync];

/// The state of a reference whose ConfigMap the operator may not keep, by its own flag.
pub(super) const MAPS_OFF: &str = "maps-off";
/// The flag.
pub(super) const MAPS_OFF_FLAG: &str = "--connection-config-maps=false";

/// The states that are brought about while the operator runs.
pub(super) fn all() -> impl Iterator<Item = &'static StateSetup> {
    references::STATES.iter().chain(&references::PLAIN).chain(&syncs::STATES).chain(&flushes::STATES)
}

/// Every state: kind and name.
#[cfg(test)]
pub(super) fn states() -> Vec<(ObjectKind, &'static str)> {
    let fresh = ObjectKind::ALL.map(|kind| (kind, FRESH));
    let polled = POLLED.into_iter().flat_map(|kind| [CHANGED, OUTAGE[0], OUTAGE[1]].map(|name| (kind, name)));
    let maps_off = [(ObjectKind::Reference, MAPS_OFF)];
    all().map(|state| (state.kind, state.name)).chain(fresh).chain(polled).chain(maps_off).collect()
}

/// Applies an object of every kind while no operator runs, and gives them back.
///
/// # Errors
/// When the API server refuses one.
pub(super) async fn fresh(environment: &GitopsEnvironment) -> anyhow::Result<[DynamicObject; 3]> {
    let reference = environment.apply(ObjectKind::Reference, FRESH, kakao(FRESH, json!({}))).await?;
    let sync = environment.apply(ObjectKind::Sync, FRESH, json!({ "clusterRef": { "name": FRESH } })).await?;
    let request = json!({ "clusterRef": { "name": FRESH }, "confirm": "1" });
    let flush = environment.apply(ObjectKind::Flush, FRESH, request).await?;
    Ok([reference, sync, flush])
}

/// Lets the cloud that fails be read with success first, and fail then.
///
/// # Errors
/// When an object does not get Ready.
pub(super) async fn outage(environment: &GitopsEnvironment) -> anyhow::Result<()> {
    for name in OUTAGE {
        environment.failing().add_kakao_cluster(KakaoCluster::instance_set(name, name))?;
        environment.apply(ObjectKind::Reference, name, kakao(name, json!({ "region": FAILING.0 }))).await?;
        environment.apply(ObjectKind::Sync, name, json!({ "clusterRef": { "name": name } })).await?;
    }
    for name in OUTAGE {
        environment.ready(ObjectKind::Reference, name, "True Running").await?;
        environment.ready(ObjectKind::Sync, name, "True InSync").await?;
    }
    let kind = FaultKind::Status { code: 503, body: None, content_type: None, retry_after: None };
    environment.failing().inject(Fault::new(Operation::Any, kind))?;
    Ok(())
}

/// Makes objects Ready whose spec is changed later.
///
/// # Errors
/// When one does not get Ready.
pub(super) async fn unchanged(environment: &GitopsEnvironment) -> anyhow::Result<()> {
    environment.cloud().add_kakao_cluster(KakaoCluster::instance_set(CHANGED, CHANGED))?;
    environment.apply(ObjectKind::Reference, CHANGED, kakao(CHANGED, json!({}))).await?;
    environment.apply(ObjectKind::Sync, CHANGED, json!({ "clusterRef": { "name": CHANGED } })).await?;
    environment.ready(ObjectKind::Reference, CHANGED, "True Running").await?;
    environment.ready(ObjectKind::Sync, CHANGED, "True InSync").await.map(drop)
}

/// Changes their specs, once no operator runs any more.
///
/// # Errors
/// When the API server refuses it.
pub(super) async fn change(environment: &GitopsEnvironment) -> anyhow::Result<()> {
    environment.change(ObjectKind::Reference, CHANGED, json!({ "pollInterval": "1h" })).await?;
    environment.change(ObjectKind::Sync, CHANGED, json!({ "stuckAfter": "1h" })).await
}

/// Applies a reference that wants a ConfigMap, for an operator that runs with [`MAPS_OFF_FLAG`].
///
/// # Errors
/// When the API server refuses it.
pub(super) async fn maps_off(environment: &GitopsEnvironment) -> anyhow::Result<()> {
    environment.cloud().add_kakao_cluster(KakaoCluster::instance_set(MAPS_OFF, MAPS_OFF))?;
    let mut spec = kakao(MAPS_OFF, json!({}));
    merge(&mut spec, json!({ "connectionConfigMap": { "name": MAPS_OFF } }));
    environment.apply(ObjectKind::Reference, MAPS_OFF, spec).await.map(drop)
}
