//! How a RedisFlushRequest is brought into each state. Every request has an instance of its own.

use fake_cloud::{Fault, FaultKind, KakaoCluster, Operation};
use jiff::{SignedDuration, Timestamp};
use kube::api::DynamicObject;
use serde_json::{Value, json};

use super::references::{instance, kakao};
use super::scenes::{Scene, scene};
use super::table::Kind::{Flush, Reference};
use super::world::{World, WorldError, merge};

/// How long a flush takes that is not to end while anybody looks, in seconds.
const FOREVER: u32 = 86_400;
/// Longer than the operator waits before it calls an accepted flush stalled.
const LONG_AGO: SignedDuration = SignedDuration::from_mins(45);

/// Every state but that for which the operator must not run.
pub const SCENES: [Scene; 13] = [
    scene!(Flush, "waiting", |world| {
        instance(world, "2001", "stopped", 0).await?;
        request(world, "waiting", "2001", json!({})).await
    }),
    scene!(Flush, "retrying", |world| {
        let kind = FaultKind::TooManyRequests { retry_after_seconds: None, error_code: None };
        with_fault(world, "retrying", "2002", kind).await
    }),
    scene!(Flush, "sending", |world| with_fault(world, "sending", "2003", FaultKind::Hang).await),
    scene!(Flush, "being-deleted", |world| {
        with_fault(world, "being-deleted", "2004", FaultKind::Hang).await?;
        world.ready(Flush, "being-deleted", "False Sending").await?;
        world.delete(Flush, "being-deleted", false).await
    }),
    scene!(Flush, "accepted", |world| flushed(world, "accepted", "2005", FOREVER).await),
    scene!(Flush, "not-running-again", |world| {
        flushed(world, "not-running-again", "2006", FOREVER).await?;
        world.ready(Flush, "not-running-again", "False Accepted").await?;
        let long_ago = Timestamp::now().saturating_sub(LONG_AGO).unwrap_or_default();
        let sent = Timestamp::from_second(long_ago.as_second()).unwrap_or_default();
        world.change_status(Flush, "not-running-again", json!({ "sentTime": sent })).await
    }),
    scene!(Flush, "succeeded", |world| flushed(world, "succeeded", "2007", 1).await),
    scene!(Flush, "failed", |world| {
        let kind = FaultKind::Gateway { status: 403, error_code: "300".into(), message: None, xml: false };
        with_fault(world, "failed", "2008", kind).await
    }),
    scene!(Flush, "unknown", |world| with_fault(world, "unknown", "2009", FaultKind::DropAfter).await),
    scene!(Flush, "wrong-confirm", |world| {
        instance(world, "2010", "running", 0).await?;
        request(world, "wrong-confirm", "2010", json!({ "confirm": "2001" })).await
    }),
    scene!(Flush, "created-again", |world| {
        flushed(world, "created-again", "2011", 1).await?;
        world.ready(Flush, "created-again", "True FlushSucceeded").await?;
        world.delete(Flush, "created-again", true).await?;
        request(world, "created-again", "2011", json!({})).await
    }),
    scene!(Flush, "not-ncp", |world| {
        world.cloud().add_kakao_cluster(KakaoCluster::instance_set("not-ncp", "not-ncp"))?;
        world.apply(Reference, "flush-not-ncp", kakao("not-ncp", json!({}))).await?;
        request(world, "not-ncp", "2012", json!({ "clusterRef": { "name": "flush-not-ncp" } })).await
    }),
    scene!(Flush, "expired", |world| {
        instance(world, "2013", "stopped", 0).await?;
        request(world, "expired", "2013", json!({ "startDeadline": "1s" })).await
    }),
];

async fn request(world: &World, name: &str, number: &str, more: Value) -> Result<DynamicObject, WorldError> {
    let mut spec = json!({ "clusterRef": { "name": format!("cache-{number}") }, "confirm": number });
    merge(&mut spec, more);
    world.apply(Flush, name, spec).await
}

/// A request that meets nothing unusual; the flush takes so many seconds.
async fn flushed(world: &World, name: &str, number: &str, seconds: u32) -> Result<DynamicObject, WorldError> {
    instance(world, number, "running", seconds).await?;
    request(world, name, number, json!({})).await
}

/// A request whose flush meets a fault.
async fn with_fault(world: &World, name: &str, number: &str, kind: FaultKind) -> Result<DynamicObject, WorldError> {
    world.cloud().inject(Fault::new(Operation::NcpFlush, kind).target(number))?;
    flushed(world, name, number, 1).await
}
