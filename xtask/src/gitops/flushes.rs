//! How a RedisFlushRequest is brought into each state. Every request has an instance of its own.

use std::time::Duration;

use fake_cloud::{Fault, FaultKind, KakaoCluster, NcpInstance, Operation, RequestFilter};
use jiff::{SignedDuration, Timestamp};
use kube::api::DynamicObject;
use serde_json::{Value, json};

use super::references::{instance, kakao, ncp};
use super::scenes::{Scene, scene};
use super::table::Kind::{Flush, Reference};
use super::world::{QUEUE_SECRET, World, WorldError, merge};

/// How long a flush takes that is not to end while anybody looks, in seconds.
const FOREVER: u32 = 86_400;
/// Longer than the operator waits before it calls an accepted flush stalled.
const LONG_AGO: SignedDuration = SignedDuration::from_mins(45);

/// The ID of two requests for one flush.
const SHARED_ID: &str = "spring-sale";
/// How long a request of the operator may take to arrive.
const PATIENCE: Duration = Duration::from_secs(30);

/// Every state but that for which the operator must not run.
pub const SCENES: [Scene; 15] = [
    scene!(Flush, "waiting", |world| {
        instance(world, "2001", "stopped", 0).await?;
        request(world, "waiting", "2001", json!({})).await
    }),
    scene!(Flush, "retrying", |world| {
        let kind = FaultKind::TooManyRequests { retry_after_seconds: None, error_code: None };
        with_fault(world, "retrying", "2002", kind).await
    }),
    scene!(Flush, "queued", |world| queued(world).await),
    scene!(Flush, "sending", |world| {
        world.cloud().inject(Fault::new(Operation::NcpFlush, FaultKind::Hang).target("2003"))?;
        instance(world, "2003", "running", 1).await?;
        request(world, "sending", "2003", json!({ "requestID": SHARED_ID })).await
    }),
    scene!(Flush, "claimed", |world| {
        world.ready(Flush, "sending", "False Sending").await?;
        world.cloud().wait_for_requests(RequestFilter::from(Operation::NcpFlush).target("2003"), 1, PATIENCE).await;
        request(world, "claimed", "2003", json!({ "requestID": SHARED_ID })).await
    }),
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
        let kind = FaultKind::Gateway { status: 403, error_code: "230".into(), message: None, xml: false };
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

/// A request that waits for others, whose reads of the instance hang; with a Secret of its own, so that nobody else waits too.
async fn queued(world: &World) -> Result<DynamicObject, WorldError> {
    let number = "2014";
    world.cloud().add_ncp_instance(NcpInstance::single(number, "queued"))?;
    world.apply(Reference, "cache-2014", ncp(number, json!({}), QUEUE_SECRET)).await?;
    world.seen("cache-2014").await?;
    world.cloud().inject(Fault::new(Operation::NcpInstancesList, FaultKind::Hang).target(number))?;
    for name in ["queued-first", "queued-second"] {
        request(world, name, number, json!({})).await?;
    }
    world.cloud().wait_for_requests(RequestFilter::from(Operation::NcpInstancesList).target(number), 2, PATIENCE).await;
    request(world, "queued", number, json!({})).await
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
