//! RedisFlushRequest: every phase in its plain cases, and never a second flush.

use fake_cloud::{Fault, FaultKind, NcpInstance, Operation};
use k8s_openapi::api::coordination::v1::Lease;
use kube::ResourceExt as _;
use kube::api::{ListParams, Patch, PatchParams};
use managed_redis_operator::api::flush_request::FlushPhase;
use managed_redis_operator::api::{RedisClusterRef, RedisFlushRequest, RedisFlushRequestStatus};
use serde_json::{Value, json};

use crate::support::{BOUND, Env, kakao, ncp, until};

pub(crate) const NUMBER: &str = "771001";

/// A namespace with a running instance that flushes in a moment, and a reference to it that is Ready.
pub(crate) async fn with_instance(prefix: &str) -> Env {
    let env = Env::start(prefix).await;
    add_instance(&env).await;
    env
}

pub(crate) async fn add_instance(env: &Env) {
    let mut instance = NcpInstance::single(NUMBER, "cart");
    instance.behaviour.flush_seconds = Some(0);
    env.clouds().add_ncp_instance(instance).unwrap();
    env.create::<RedisClusterRef>(ncp("cart", NUMBER)).await;
    env.until("cart", "it has a picture", |reference: &RedisClusterRef| {
        reference.status.as_ref().is_some_and(|status| status.cluster.is_some())
    })
    .await;
}

#[expect(clippy::needless_pass_by_value, reason = "it is always a literal")]
pub(crate) fn request(name: &str, more: Value) -> Value {
    let mut spec = json!({ "clusterRef": { "name": "cart" }, "confirm": NUMBER });
    for (key, value) in more.as_object().unwrap() {
        spec[key] = value.clone();
    }
    json!({
        "apiVersion": "managedredis.dev/v1alpha1",
        "kind": "RedisFlushRequest",
        "metadata": { "name": name },
        "spec": spec,
    })
}

pub(crate) fn status(request: &RedisFlushRequest) -> RedisFlushRequestStatus {
    request.status.clone().unwrap_or_default()
}

pub(crate) fn is_settled(request: &RedisFlushRequest) -> bool {
    status(request).phase.is_some_and(FlushPhase::is_terminal) && request.finalizers().is_empty()
}

/// Waits for the verdict, and checks that it is this phase for this reason.
pub(crate) async fn verdict(env: &Env, name: &str, phase: FlushPhase, reason: &str) -> RedisFlushRequestStatus {
    let settled = env.until(name, &format!("a verdict, {phase:?} {reason}"), is_settled).await;
    let status = status(&settled);
    let ready = status.conditions.iter().find(|condition| condition.type_ == "Ready").unwrap();
    let message = status.message.clone().unwrap_or_default();
    assert_eq!((status.phase, ready.reason.as_str()), (Some(phase), reason), "{message}");
    let is_true =
        |type_| status.conditions.iter().any(|condition| condition.type_ == type_ && condition.status == "True");
    let succeeded = phase == FlushPhase::Succeeded;
    assert_eq!((is_true("Ready"), is_true("Succeeded"), is_true("Stalled")), (succeeded, succeeded, !succeeded));
    assert!(!is_true("Reconciling") && status.finished_time.is_some());
    status
}

pub(crate) async fn claims(env: &Env) -> Vec<Lease> {
    let label = ListParams::default().labels("managedredis.dev/claim=flush");
    env.api::<Lease>().list(&label).await.unwrap().items
}

async fn delete(env: &Env, name: &str) {
    let api = env.api::<RedisFlushRequest>();
    let uid = api.get(name).await.unwrap().uid().unwrap();
    api.delete(name, &Default::default()).await.unwrap();
    let gone = kube::runtime::wait::await_condition(api, name, kube::runtime::wait::conditions::is_deleted(&uid));
    tokio::time::timeout(BOUND, gone).await.expect("it is deleted").unwrap();
}

#[tokio::test]
async fn a_flush_is_sent_once_and_watched_to_its_end() {
    let env = with_instance("flush").await;
    env.create::<RedisFlushRequest>(request("wipe", json!({}))).await;
    let status = verdict(&env, "wipe", FlushPhase::Succeeded, "FlushSucceeded").await;
    assert_eq!(env.clouds().flushes(NUMBER), 1);
    assert_eq!(env.clouds().requests(Operation::NcpFlush), 1);
    let response = status.response.unwrap();
    assert_eq!((response.http_status, response.return_code.as_deref()), (Some(200), Some("0")));
    let target = status.target.unwrap();
    assert_eq!(target.cloud_db_instance_no.as_deref(), Some(NUMBER));
    assert_eq!((target.service_name.as_deref(), target.state.as_deref()), (Some("cart"), Some("running")));
    let attempt = status.attempt.unwrap();
    let claims = claims(&env).await;
    assert_eq!(claims.len(), 1, "the claim outlives the request");
    assert_eq!(claims[0].annotations()["managedredis.dev/attempt-id"], attempt.id);
    assert_eq!(claims[0].annotations()["managedredis.dev/request-name"], "wipe");
}

#[tokio::test]
async fn what_must_not_be_flushed_is_rejected() {
    let env = with_instance("flush-rejected").await;
    env.create::<RedisFlushRequest>(request("typo", json!({ "confirm": "771002" }))).await;
    let status = verdict(&env, "typo", FlushPhase::Rejected, "ConfirmMismatch").await;
    let message = status.message.unwrap();
    assert!(message.contains("771002") && message.contains(NUMBER), "{message}");
    assert!(status.sent_time.is_none());

    env.clouds().add_kakao_cluster(fake_cloud::KakaoCluster::instance_set("set-1", "sessions")).unwrap();
    env.create::<RedisClusterRef>(kakao("sessions", "set-1")).await;
    env.create::<RedisFlushRequest>(request("kakao", json!({ "clusterRef": { "name": "sessions" } }))).await;
    verdict(&env, "kakao", FlushPhase::Rejected, "NotSupported").await;
    assert_eq!(env.clouds().requests(Operation::NcpFlush), 0);
    assert!(claims(&env).await.is_empty());
}

#[tokio::test]
async fn the_same_manifest_applied_again_flushes_nothing() {
    let env = with_instance("flush-replay").await;
    env.create::<RedisFlushRequest>(request("wipe", json!({}))).await;
    verdict(&env, "wipe", FlushPhase::Succeeded, "FlushSucceeded").await;
    delete(&env, "wipe").await;
    env.create::<RedisFlushRequest>(request("wipe", json!({}))).await;
    let status = verdict(&env, "wipe", FlushPhase::Rejected, "AlreadyExecuted").await;
    assert!(status.message.unwrap().contains("/wipe (UID "), "it names who did");
    // Another name for the same deliberate act.
    let id = format!("{}/wipe", env.namespace.name());
    env.create::<RedisFlushRequest>(request("again", json!({ "requestID": id }))).await;
    verdict(&env, "again", FlushPhase::Rejected, "AlreadyExecuted").await;
    assert_eq!(env.clouds().flushes(NUMBER), 1);
    // A new ID is a new act.
    env.create::<RedisFlushRequest>(request("anew", json!({ "requestID": "another" }))).await;
    verdict(&env, "anew", FlushPhase::Succeeded, "FlushSucceeded").await;
    assert_eq!(env.clouds().flushes(NUMBER), 2);
}

#[tokio::test]
async fn past_its_deadline_nothing_is_sent() {
    let env = with_instance("flush-expired").await;
    env.clouds().update_ncp_instance(NUMBER, |instance| instance.status_name = "stopped".into()).unwrap();
    env.create::<RedisFlushRequest>(request("late", json!({ "startDeadline": "2s" }))).await;
    let status = verdict(&env, "late", FlushPhase::Expired, "DeadlineExceeded").await;
    assert!(status.message.unwrap().contains("stopped"), "it says what it waited for");
    env.create::<RedisFlushRequest>(request("past", json!({ "notAfter": "2026-01-01T00:00:00Z" }))).await;
    verdict(&env, "past", FlushPhase::Expired, "DeadlineExceeded").await;
    assert_eq!(env.clouds().requests(Operation::NcpFlush), 0);
}

#[tokio::test]
async fn a_refusal_is_final_and_gives_the_request_id_back() {
    let env = with_instance("flush-failed").await;
    let refusal = FaultKind::Gateway { status: 403, error_code: "230".into(), message: None, xml: false };
    env.clouds().inject(Fault::new(Operation::NcpFlush, refusal).times(1)).unwrap();
    env.create::<RedisFlushRequest>(request("wipe", json!({}))).await;
    let status = verdict(&env, "wipe", FlushPhase::Failed, "PermissionDenied").await;
    assert_eq!(status.response.unwrap().http_status, Some(403));
    assert_eq!(env.clouds().flushes(NUMBER), 0);
    assert!(claims(&env).await.is_empty(), "the claim is released");
    delete(&env, "wipe").await;
    env.create::<RedisFlushRequest>(request("wipe", json!({}))).await;
    verdict(&env, "wipe", FlushPhase::Succeeded, "FlushSucceeded").await;
    assert_eq!(env.clouds().flushes(NUMBER), 1);
}

#[tokio::test]
async fn an_ambiguous_answer_is_unknown_and_never_sent_again() {
    let env = with_instance("flush-unknown").await;
    let flush = |fault| Fault::new(Operation::NcpFlush, fault);
    let error = FaultKind::Gateway { status: 500, error_code: "900".into(), message: None, xml: false };
    let cases = [
        ("dropped-before", flush(FaultKind::DropBefore), 0),
        ("dropped-after", flush(FaultKind::DropAfter), 1),
        ("half", flush(FaultKind::HalfJson).execute(true), 1),
        ("html", flush(FaultKind::Html).execute(true), 1),
        ("error", flush(error).execute(false), 0),
    ];
    for (name, fault, executed) in cases {
        let before = (env.clouds().flushes(NUMBER), env.clouds().requests(Operation::NcpFlush));
        env.clouds().inject(fault.times(1)).unwrap();
        env.create::<RedisFlushRequest>(request(name, json!({}))).await;
        let settled = status(&env.until(name, "a verdict", is_settled).await);
        assert_eq!(settled.phase, Some(FlushPhase::Unknown), "{name}: {:?}", settled.message);
        assert!(settled.message.unwrap().contains("new requestID"), "{name}");
        let after = (env.clouds().flushes(NUMBER), env.clouds().requests(Operation::NcpFlush));
        assert_eq!(after, (before.0 + executed, before.1 + 1), "{name}");
        env.merge::<RedisFlushRequest>(
            name,
            json!({ "metadata": { "annotations": { "managedredis.dev/reconcile-requested-at": "now" } } }),
        )
        .await;
        let echoed = env
            .until(name, "the annotation is echoed", |request: &RedisFlushRequest| {
                status(request).last_handled_reconcile_at.as_deref() == Some("now")
            })
            .await;
        assert_eq!(status(&echoed).phase, Some(FlushPhase::Unknown));
        assert_eq!(env.clouds().requests(Operation::NcpFlush), before.1 + 1, "{name}: never again");
    }
    assert_eq!(claims(&env).await.len(), 5, "each keeps its claim");
}

#[tokio::test]
async fn turned_away_by_the_rate_limit_it_tries_again() {
    let env = with_instance("flush-limited").await;
    let limited = FaultKind::TooManyRequests { retry_after_seconds: Some(1), error_code: None };
    env.clouds().inject(Fault::new(Operation::NcpFlush, limited).times(1)).unwrap();
    env.create::<RedisFlushRequest>(request("wipe", json!({}))).await;
    let waiting = env
        .until("wipe", "Pending after an attempt", |request: &RedisFlushRequest| {
            status(request).next_attempt_time.is_some()
        })
        .await;
    assert_eq!(status(&waiting).phase, Some(FlushPhase::Pending));
    verdict(&env, "wipe", FlushPhase::Succeeded, "FlushSucceeded").await;
    assert_eq!((env.clouds().flushes(NUMBER), env.clouds().requests(Operation::NcpFlush)), (1, 2));
}

#[tokio::test]
async fn a_request_deleted_while_it_waits_sends_nothing() {
    let env = with_instance("flush-deleted").await;
    env.clouds().update_ncp_instance(NUMBER, |instance| instance.status_name = "stopped".into()).unwrap();
    env.create::<RedisFlushRequest>(request("wipe", json!({}))).await;
    env.until("wipe", "it waits for the instance", |request: &RedisFlushRequest| {
        status(request).message.is_some_and(|message| message.contains("stopped"))
    })
    .await;
    delete(&env, "wipe").await;
    assert_eq!(env.clouds().requests(Operation::NcpFlush), 0);
    assert!(claims(&env).await.is_empty());
}

#[tokio::test]
async fn a_killed_operator_leaves_unknown_behind() {
    let env = Env::without_operator("flush-killed").await;
    let first = env.spawn(&[]);
    first.ready().await;
    add_instance(&env).await;
    env.clouds().inject(Fault::new(Operation::NcpFlush, FaultKind::Hang).times(1)).unwrap();
    env.create::<RedisFlushRequest>(request("wipe", json!({}))).await;
    assert!(env.clouds().wait_for_requests(Operation::NcpFlush, 1, BOUND).await, "the flush arrives");
    drop(first); // SIGKILL
    let second = env.spawn(&[]);
    let settled = until(env.api::<RedisFlushRequest>(), "wipe", "a verdict", Some(&second), is_settled).await;
    let status = status(&settled);
    assert_eq!(status.phase, Some(FlushPhase::Unknown));
    assert!(status.message.unwrap().contains("never sent again"));
    assert_eq!(env.clouds().requests(Operation::NcpFlush), 1);
}

#[tokio::test]
async fn a_status_that_was_lost_sends_nothing_again() {
    let env = with_instance("flush-lost").await;
    env.create::<RedisFlushRequest>(request("wipe", json!({}))).await;
    verdict(&env, "wipe", FlushPhase::Succeeded, "FlushSucceeded").await;
    let api = env.api::<RedisFlushRequest>();
    let emptied = json!({ "status": null });
    api.patch_status("wipe", &PatchParams::default(), &Patch::Merge(&emptied)).await.unwrap();
    verdict(&env, "wipe", FlushPhase::Unknown, "StatusLost").await;
    assert_eq!(env.clouds().requests(Operation::NcpFlush), 1);
}

#[tokio::test]
async fn one_target_is_flushed_by_one_request_at_a_time() {
    let env = with_instance("flush-busy").await;
    env.clouds().update_ncp_instance(NUMBER, |instance| instance.behaviour.flush_seconds = Some(3600)).unwrap();
    env.create::<RedisFlushRequest>(request("first", json!({}))).await;
    env.until("first", "Accepted", |request: &RedisFlushRequest| status(request).phase == Some(FlushPhase::Accepted))
        .await;
    env.create::<RedisFlushRequest>(request("second", json!({}))).await;
    let waiting =
        env.until("second", "it waits", |request: &RedisFlushRequest| status(request).message.is_some()).await;
    assert_eq!(status(&waiting).phase, Some(FlushPhase::Pending), "{:?}", status(&waiting).message);
    assert_eq!(env.clouds().flushes(NUMBER), 1);
    env.clouds().update_ncp_instance(NUMBER, |instance| instance.behaviour.flush_seconds = Some(0)).unwrap();
    env.clouds().advance(std::time::Duration::from_secs(7200));
    verdict(&env, "first", FlushPhase::Succeeded, "FlushSucceeded").await;
    verdict(&env, "second", FlushPhase::Succeeded, "FlushSucceeded").await;
    assert_eq!(env.clouds().flushes(NUMBER), 2);
}
