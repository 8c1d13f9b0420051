//! RedisFlushRequest: what one request waits for, or cannot have written, costs no other.

use fake_cloud::{FakeCloud, Fault, FaultKind, NcpInstance, Operation, Seed};
use k8s_openapi::api::events::v1::Event;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::api::{Api, ApiResource, DynamicObject, ListParams, Patch, PatchParams, PostParams};
use managed_redis_operator::api::flush_request::FlushPhase;
use managed_redis_operator::api::{RECONCILE_REQUESTED_AT, RedisClusterRef, RedisFlushRequest, crds};
use serde_json::{Value, json};
use testbed::{ApiServer, Options};

use crate::flush::{NUMBER, add_instance, claims, request, status, verdict, with_instance};
use crate::support::{BOUND, Env, ncp, until};

/// Requests at the site that hangs.
const HANGING: usize = 40;

async fn until_it_has_a_picture(env: &Env, name: &str) {
    env.until(name, "it has a picture", |reference: &RedisClusterRef| {
        reference.status.as_ref().is_some_and(|status| status.cluster.is_some())
    })
    .await;
}

#[tokio::test]
async fn a_flush_at_a_healthy_site_waits_for_no_request_at_one_that_hangs() {
    let other_site = FakeCloud::start(Seed::default()).await.unwrap();
    let gov = format!("Gov={}", other_site.url());
    let env = Env::without_operator("flush-hanging").await.with_operator(&["--ncp-endpoint", &gov]).await;
    let mut healthy = NcpInstance::single(NUMBER, "cart");
    healthy.behaviour.flush_seconds = Some(0);
    other_site.state().add_ncp_instance(healthy).unwrap();
    let mut reference = ncp("cart", NUMBER);
    reference["spec"]["ncp"]["site"] = json!("Gov");
    env.create::<RedisClusterRef>(reference).await;
    // Half of the others go to one instance, the rest to one each.
    let instances: Vec<String> = (0..=HANGING / 2).map(|n| format!("88{n:04}")).collect();
    for no in &instances {
        env.clouds().add_ncp_instance(NcpInstance::single(no, format!("hanging-{no}"))).unwrap();
        env.create::<RedisClusterRef>(ncp(&format!("at-{no}"), no)).await;
    }
    for name in instances.iter().map(|no| format!("at-{no}")).chain(["cart".to_owned()]) {
        until_it_has_a_picture(&env, &name).await;
    }

    env.clouds().inject(Fault::new(Operation::NcpInstancesList, FaultKind::Hang)).unwrap();
    env.clouds().inject(Fault::new(Operation::NcpFlush, FaultKind::Hang)).unwrap();
    let names: Vec<String> = (0..HANGING).map(|n| format!("hanging-{n}")).collect();
    for (n, name) in names.iter().enumerate() {
        let no = &instances[n.saturating_sub(HANGING / 2 - 1)];
        let target = json!({ "clusterRef": { "name": format!("at-{no}") }, "confirm": no });
        env.create::<RedisFlushRequest>(request(name, target)).await;
    }
    assert!(env.clouds().wait_for_requests(Operation::NcpInstancesList, 4, BOUND).await, "they ask");

    env.create::<RedisFlushRequest>(request("wipe", json!({}))).await;
    verdict(&env, "wipe", FlushPhase::Succeeded, "FlushSucceeded").await;
    assert_eq!(other_site.state().flushes(NUMBER), 1);
    let all = env.api::<RedisFlushRequest>().list(&ListParams::default()).await.unwrap();
    let open = all.items.iter().filter(|request| !status(request).phase.is_some_and(FlushPhase::is_terminal));
    assert_eq!(open.count(), HANGING, "all of the others still wait");
    assert_eq!(env.clouds().requests(Operation::NcpFlush), 0);
}

/// The CRDs as they were when `notAfter` was a date-time for the API server and not always one for CEL.
fn older_crds() -> Vec<CustomResourceDefinition> {
    let mut crds = serde_json::to_value(crds()).unwrap();
    for crd in crds.as_array_mut().unwrap() {
        let schema = &mut crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"];
        if let Some(not_after) = schema["spec"]["properties"].get_mut("notAfter") {
            *not_after = json!({ "type": "string", "format": "date-time" });
        }
    }
    serde_json::from_value(crds).unwrap()
}

/// Waits for an event with this reason and text.
async fn event_says(env: &Env, reason: &str, text: &str) {
    let says = |event: &Event| {
        event.reason.as_deref() == Some(reason) && event.note.as_deref().is_some_and(|note| note.contains(text))
    };
    let api = env.api::<Event>();
    let found = async {
        while !api.list(&ListParams::default()).await.unwrap().items.iter().any(says) {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(BOUND, found).await.unwrap_or_else(|_| panic!("no event {reason} with {text}"));
}

#[tokio::test]
async fn a_request_whose_writes_are_refused_costs_no_other_and_says_so() {
    let server = ApiServer::start(Options::default()).await.unwrap();
    let client = server.client().unwrap();
    testbed::crds::install(&client, &older_crds()).await.unwrap();
    let env = Env::on(&server, "flush-refused").await.with_operator(&[]).await;
    add_instance(&env).await;
    let resource = ApiResource::erase::<RedisFlushRequest>(&());
    let api = Api::<DynamicObject>::namespaced_with(client.clone(), env.namespace.name(), &resource);
    let create = async |name: &str, more: Value| {
        let object = serde_json::from_value(request(name, more)).unwrap();
        api.create(&PostParams::default(), &object).await.unwrap();
    };
    // More than there are workers, and all for the one instance.
    for n in 0..20 {
        let more = json!({ "notAfter": "2999-01-01t00:00:00z", "requestID": format!("stuck-{n}") });
        create(&format!("stuck-{n}"), more).await;
    }
    let mistaken = json!({ "notAfter": "2999-01-01t00:00:00z", "confirm": "1", "requestID": "mistaken" });
    create("mistaken", mistaken).await;
    create("unreadable", json!({ "notAfter": "9999-12-31T23:59:59Z", "requestID": "unreadable" })).await;
    create("neither", json!({ "notAfter": "2999-01-01T00:00:00+99:99", "requestID": "neither" })).await;
    env.operator().logged("Invalid date-time").await;
    env.create::<RedisFlushRequest>(request("wipe", json!({}))).await;
    verdict(&env, "wipe", FlushPhase::Succeeded, "FlushSucceeded").await;
    assert_eq!(env.clouds().flushes(NUMBER), 1);
    env.until("stuck-0", "it still has no status", |request: &RedisFlushRequest| status(request).phase.is_none()).await;

    event_says(&env, "WriteRefused", "2999-01-01t00:00:00z").await;
    event_says(&env, "InvalidObject", "refuses to write this into its status").await;

    // The CRD of this version lets them be written again: each comes to its verdict.
    testbed::crds::install(&client, &crds()).await.unwrap();
    // An edit spares the test their backoff.
    let edit = Patch::Merge(json!({ "metadata": { "annotations": { RECONCILE_REQUESTED_AT: "now" } } }));
    for name in ["mistaken", "unreadable", "neither"] {
        api.patch(name, &PatchParams::default(), &edit).await.unwrap();
    }
    verdict(&env, "mistaken", FlushPhase::Rejected, "ConfirmMismatch").await;
    for name in ["unreadable", "neither"] {
        let told = |object: &DynamicObject| object.data["status"]["conditions"][0]["reason"] == "InvalidObject";
        until(api.clone(), name, "it is told what is wrong with it", Some(env.operator()), told).await;
    }
    drop(env);
    server.stop().await;
}

#[tokio::test]
async fn a_request_id_that_another_request_could_not_use_is_free_again() {
    let env = with_instance("flush-claimed").await;
    let delay = FaultKind::Delay { ms: 3000 };
    let refusal = FaultKind::Gateway { status: 403, error_code: "230".into(), message: None, xml: false };
    for fault in [delay, refusal] {
        env.clouds().inject(Fault::new(Operation::NcpFlush, fault).times(1)).unwrap();
    }
    let id = json!({ "requestID": "black-friday" });
    env.create::<RedisFlushRequest>(request("thief", id.clone())).await;
    assert!(env.clouds().wait_for_requests(Operation::NcpFlush, 1, BOUND).await, "the first flush is sent");
    env.create::<RedisFlushRequest>(request("owner", id.clone())).await;
    let waiting = env
        .until("owner", "it says what it waits for", |request: &RedisFlushRequest| status(request).message.is_some())
        .await;
    let waiting = status(&waiting);
    assert_eq!(waiting.phase, Some(FlushPhase::Pending), "{:?}", waiting.message);
    assert_eq!(waiting.conditions.iter().find(|condition| condition.type_ == "Ready").unwrap().reason, "ClaimHeld");
    assert!(waiting.message.unwrap().contains("/thief (UID "), "it names who holds the claim");
    verdict(&env, "thief", FlushPhase::Failed, "PermissionDenied").await;
    verdict(&env, "owner", FlushPhase::Succeeded, "FlushSucceeded").await;
    assert_eq!(env.clouds().flushes(NUMBER), 1);
    // And one that was executed refuses all that come after it.
    env.create::<RedisFlushRequest>(request("late", id)).await;
    verdict(&env, "late", FlushPhase::Rejected, "AlreadyExecuted").await;
    assert_eq!((env.clouds().flushes(NUMBER), claims(&env).await.len()), (1, 1));
}
