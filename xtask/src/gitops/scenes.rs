//! Every state there is, and how an object is brought into it.

use fake_cloud::{Fault, FaultKind, KakaoCluster, Operation};
use futures::future::BoxFuture;
use kube::api::DynamicObject;
use serde_json::json;

use super::references::kakao;
use super::table::Kind;
use super::world::{FAILING, World, WorldError, merge};
use super::{flushes, references, syncs};

/// What a scene does last is of no interest.
pub trait Outcome {
    /// Forgets it.
    fn done(self) -> Result<(), WorldError>;
}

impl Outcome for Result<(), WorldError> {
    fn done(self) -> Result<(), WorldError> {
        self
    }
}

impl Outcome for Result<DynamicObject, WorldError> {
    fn done(self) -> Result<(), WorldError> {
        self.map(drop)
    }
}

/// How an object of a kind is brought into a state; the object has the state's name.
pub struct Scene {
    /// The kind.
    pub kind: Kind,
    /// The state's name, and the object's.
    pub name: &'static str,
    /// Does everything but the waiting for the state itself.
    pub set: for<'a> fn(&'a World) -> BoxFuture<'a, Result<(), WorldError>>,
}

/// A scene whose steps are an async block with the world at hand.
macro_rules! scene {
    ($kind:expr, $name:expr, |$world:ident| $steps:expr) => {
        $crate::gitops::scenes::Scene {
            kind: $kind,
            name: $name,
            set: |$world| {
                Box::pin(async move {
                    let steps = async { $steps };
                    $crate::gitops::scenes::Outcome::done(steps.await)
                })
            },
        }
    };
}
pub(super) use scene;

/// The state of an object that no operator has seen: of every kind.
pub const FRESH: &str = "fresh";
/// The state of an object whose newest spec no operator has seen: of the kinds whose spec can change.
pub const CHANGED: &str = "spec-changed";
/// The states of objects whose cloud fails after it was read, for a moment and for long: of the kinds that are polled.
pub const OUTAGE: [&str; 2] = ["outage", "stale"];
/// The kinds that are polled, and whose spec can change.
pub const POLLED: [Kind; 2] = [Kind::Reference, Kind::Sync];

/// The state of a reference whose ConfigMap the operator may not keep, by its own flag.
pub const MAPS_OFF: &str = "maps-off";
/// That flag.
pub const MAPS_OFF_FLAG: &str = "--connection-config-maps=false";

/// The scenes that are set while the operator runs.
pub fn all() -> impl Iterator<Item = &'static Scene> {
    references::SCENES.iter().chain(&references::PLAIN).chain(&syncs::SCENES).chain(&flushes::SCENES)
}

/// Every state: kind and name.
#[cfg(test)]
pub fn states() -> Vec<(Kind, &'static str)> {
    let fresh = Kind::ALL.map(|kind| (kind, FRESH));
    let polled = POLLED.into_iter().flat_map(|kind| [CHANGED, OUTAGE[0], OUTAGE[1]].map(|name| (kind, name)));
    let maps_off = [(Kind::Reference, MAPS_OFF)];
    all().map(|scene| (scene.kind, scene.name)).chain(fresh).chain(polled).chain(maps_off).collect()
}

/// Applies an object of every kind that no operator will see for now, and gives them back as they are then.
///
/// # Errors
/// When the API server refuses one.
pub async fn fresh(world: &World) -> Result<[DynamicObject; 3], WorldError> {
    let reference = world.apply(Kind::Reference, FRESH, kakao(FRESH, json!({}))).await?;
    let sync = world.apply(Kind::Sync, FRESH, json!({ "clusterRef": { "name": FRESH } })).await?;
    let request = json!({ "clusterRef": { "name": FRESH }, "confirm": "1" });
    let flush = world.apply(Kind::Flush, FRESH, request).await?;
    Ok([reference, sync, flush])
}

/// Lets the cloud that fails be read with success first, and fail then.
///
/// # Errors
/// When an object does not get Ready.
pub async fn outage(world: &World) -> Result<(), WorldError> {
    for name in OUTAGE {
        world.failing().add_kakao_cluster(KakaoCluster::instance_set(name, name))?;
        world.apply(Kind::Reference, name, kakao(name, json!({ "region": FAILING.0 }))).await?;
        world.apply(Kind::Sync, name, json!({ "clusterRef": { "name": name } })).await?;
    }
    for name in OUTAGE {
        world.ready(Kind::Reference, name, "True Running").await?;
        world.ready(Kind::Sync, name, "True InSync").await?;
    }
    let kind = FaultKind::Status { code: 503, body: None, content_type: None, retry_after: None };
    world.failing().inject(Fault::new(Operation::Any, kind))?;
    Ok(())
}

/// Makes objects Ready whose spec is changed later.
///
/// # Errors
/// When one does not get Ready.
pub async fn unchanged(world: &World) -> Result<(), WorldError> {
    world.cloud().add_kakao_cluster(KakaoCluster::instance_set(CHANGED, CHANGED))?;
    world.apply(Kind::Reference, CHANGED, kakao(CHANGED, json!({}))).await?;
    world.apply(Kind::Sync, CHANGED, json!({ "clusterRef": { "name": CHANGED } })).await?;
    world.ready(Kind::Reference, CHANGED, "True Running").await?;
    world.ready(Kind::Sync, CHANGED, "True InSync").await.map(drop)
}

/// Changes their specs, once no operator runs any more.
///
/// # Errors
/// When the API server refuses it.
pub async fn change(world: &World) -> Result<(), WorldError> {
    world.change(Kind::Reference, CHANGED, json!({ "pollInterval": "1h" })).await?;
    world.change(Kind::Sync, CHANGED, json!({ "stuckAfter": "1h" })).await
}

/// Applies a reference that wants a ConfigMap, for an operator that runs with [`MAPS_OFF_FLAG`].
///
/// # Errors
/// When the API server refuses it.
pub async fn maps_off(world: &World) -> Result<(), WorldError> {
    world.cloud().add_kakao_cluster(KakaoCluster::instance_set(MAPS_OFF, MAPS_OFF))?;
    let mut spec = kakao(MAPS_OFF, json!({}));
    merge(&mut spec, json!({ "connectionConfigMap": { "name": MAPS_OFF } }));
    world.apply(Kind::Reference, MAPS_OFF, spec).await.map(drop)
}
