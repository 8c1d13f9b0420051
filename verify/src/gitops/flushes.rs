//! How a RedisFlushRequest is brought into each state. Every request has an instance of its own.

use std::time::Duration;

use fake_cloud::{Fault, FaultKind, KakaoCluster, NcpInstance, Operation, RequestFilter};
use jiff::{SignedDuration, Timestamp};
use kube::api::DynamicObject;
use serde_json::{Value, json};

use super::environment::{GitopsEnvironment, QUEUE_SECRET, merge};
use super::references::{instance, kakao, ncp};
use super::setup::{StateSetup, state};
use super::table::ObjectKind::{Flush, Reference};

/// How long a flush takes that must not end during the check, in seconds.
const FOREVER: u32 = 86_400;
/// Longer than the operator waits before it calls an accepted flush stalled.
const LONG_AGO: SignedDuration = SignedDuration::from_mins(45);

/// The ID of two requests for one flush.
const SHARED_ID: &str = "spring-sale";
/// How long a request of the operator may take to arrive.
const PATIENCE: Duration = Duration::from_secs(30);

/// Every state except the one for which the operator must not run.
pub(super) const STATES: [StateSetup; 15] = [
    state!(Flush, "waiting", |environment| {
        instance(environment, "2001", "stopped", 0).await?;
        request(environment, "waiting", "2001", json!({})).await
    }),
    state!(Flush, "retrying", |environment| {
        let kind = FaultKind::TooManyRequests { retry_after_seconds: None, error_code: None };
        with_fault(environment, "retrying", "2002", kind).await
    }),
    state!(Flush, "queued", |environment| queued(environment).await),
    state!(Flush, "sending", |environment| {
        environment.cloud().inject(Fault::new(Operation::NcpFlush, FaultKind::Hang).target("2003"))?;
        instance(environment, "2003", "running", 1).await?;
        request(environment, "sending", "2003", json!({ "requestID": SHARED_ID })).await
    }),
    state!(Flush, "claimed", |environment| {
        environment.ready(Flush, "sending", "False Sending").await?;
        environment
            .cloud()
            .wait_for_requests(RequestFilter::from(Operation::NcpFlush).target("2003"), 1, PATIENCE)
            .await;
        request(environment, "claimed", "2003", json!({ "requestID": SHARED_ID })).await
    }),
    state!(Flush, "being-deleted", |environment| {
        with_fault(environment, "being-deleted", "2004", FaultKind::Hang).await?;
        environment.ready(Flush, "being-deleted", "False Sending").await?;
        environment.delete(Flush, "being-deleted", false).await
    }),
    state!(Flush, "accepted", |environment| flushed(environment, "accepted", "2005", FOREVER).await),
    state!(Flush, "not-running-again", |environment| {
        flushed(environment, "not-running-again", "2006", FOREVER).await?;
        environment.ready(Flush, "not-running-again", "False Accepted").await?;
        let long_ago = Timestamp::now().saturating_sub(LONG_AGO).unwrap_or_default();
        let sent = Timestamp::from_second(long_ago.as_second()).unwrap_or_default();
        environment.change_status(Flush, "not-running-again", json!({ "sentTime": sent })).await
    }),
    state!(Flush, "succeeded", |environment| flushed(environment, "succeeded", "2007", 1).await),
    state!(Flush, "failed", |environment| {
        let kind = FaultKind::Gateway { status: 403, error_code: "230".into(), message: None, xml: false };
        with_fault(environment, "failed", "2008", kind).await
    }),
    state!(Flush, "unknown", |environment| with_fault(environment, "unknown", "2009", FaultKind::DropAfter).await),
    state!(Flush, "wrong-confirm", |environment| {
        instance(environment, "2010", "running", 0).await?;
        request(environment, "wrong-confirm", "2010", json!({ "confirm": "2001" })).await
    }),
    state!(Flush, "created-again", |environment| {
        flushed(environment, "created-again", "2011", 1).await?;
        environment.ready(Flush, "created-again", "True FlushSucceeded").await?;
        environment.delete(Flush, "created-again", true).await?;
        request(environment, "created-again", "2011", json!({})).await
    }),
    state!(Flush, "not-ncp", |environment| {
        environment.cloud().add_kakao_cluster(KakaoCluster::instance_set("not-ncp", "not-ncp"))?;
        environment.apply(Reference, "flush-not-ncp", kakao("not-ncp", json!({}))).await?;
        request(environment, "not-ncp", "2012", json!({ "clusterRef": { "name": "flush-not-ncp" } })).await
    }),
    state!(Flush, "expired", |environment| {
        instance(environment, "2013", "stopped", 0).await?;
        request(environment, "expired", "2013", json!({ "startDeadline": "1s" })).await
    }),
];

async fn request(
    environment: &GitopsEnvironment,
    name: &str,
    number: &str,
    more: Value,
) -> anyhow::Result<DynamicObject> {
    let mut spec = json!({ "clusterRef": { "name": format!("cache-{number}") }, "confirm": number });
    merge(&mut spec, more);
    environment.apply(Flush, name, spec).await
}

/// A request that waits for others, whose reads of the instance hang; with a Secret of its own, so that no other object waits too.
async fn queued(environment: &GitopsEnvironment) -> anyhow::Result<DynamicObject> {
    let number = "2014";
    environment.cloud().add_ncp_instance(NcpInstance::single(number, "queued"))?;
    environment.apply(Reference, "cache-2014", ncp(number, json!({}), QUEUE_SECRET)).await?;
    environment.seen("cache-2014").await?;
    environment.cloud().inject(Fault::new(Operation::NcpInstancesList, FaultKind::Hang).target(number))?;
    for name in ["queued-first", "queued-second"] {
        request(environment, name, number, json!({})).await?;
    }
    environment
        .cloud()
        .wait_for_requests(RequestFilter::from(Operation::NcpInstancesList).target(number), 2, PATIENCE)
        .await;
    request(environment, "queued", number, json!({})).await
}

/// A request that meets nothing unusual; the flush takes so many seconds.
async fn flushed(
    environment: &GitopsEnvironment,
    name: &str,
    number: &str,
    seconds: u32,
) -> anyhow::Result<DynamicObject> {
    instance(environment, number, "running", seconds).await?;
    request(environment, name, number, json!({})).await
}

/// A request whose flush meets a fault.
async fn with_fault(
    environment: &GitopsEnvironment,
    name: &str,
    number: &str,
    kind: FaultKind,
) -> anyhow::Result<DynamicObject> {
    environment.cloud().inject(Fault::new(Operation::NcpFlush, kind).target(number))?;
    flushed(environment, name, number, 1).await
}
