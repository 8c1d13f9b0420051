//! The limit: how many statuses a second a bare loop of server-side applies can write to this API server, without any operator.

use std::time::Instant;

use anyhow::Result;
use fake_cloud::Seed;
use futures::{StreamExt as _, TryStreamExt as _};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use k8s_openapi::jiff::Timestamp;
use kube::api::{Api, Patch, PatchParams};
use managed_redis_operator::api::{FIELD_MANAGER, RedisClusterRef};
use serde_json::json;

use super::objects;
use super::plan::BenchPlan;
use super::report::Figure;
use super::run::BenchRun;

/// The most statuses that are written: enough for a rate.
const MOST: u32 = 2000;
/// Writes under way at once: as many as the operator's default of `--workers`, and more.
const AT_ONCE: [usize; 2] = [8, 16];

/// Writes first statuses like the operator's, half of them with each concurrency. The better rate counts.
pub(crate) async fn run(run: &mut BenchRun, plan: &BenchPlan) -> Result<Vec<Figure>> {
    let count = plan.n.min(MOST);
    let environment = run.environment("bare", Seed::default()).await?;
    let api: &Api<RedisClusterRef> = &environment.api();
    objects::create(api, 1..=count, plan.interval.as_secs()).await?;
    let half = count / 2;
    let mut best: f64 = 0.0;
    for (numbers, at_once) in [(1..=half, AT_ONCE[0]), (half + 1..=count, AT_ONCE[1])] {
        let begun = Instant::now();
        let written = numbers.clone().count();
        futures::stream::iter(numbers)
            .map(|number| write(api, number))
            .buffer_unordered(at_once)
            .try_collect::<()>()
            .await?;
        #[expect(clippy::cast_precision_loss, reason = "some thousands")]
        let rate = written as f64 / begun.elapsed().as_secs_f64();
        best = best.max(rate);
    }
    run.bare_writes = Some(best);
    Ok(vec![Figure::new("statuses written by a bare loop", best, "/s")])
}

async fn write(api: &Api<RedisClusterRef>, number: u32) -> Result<()> {
    let name = objects::name(number);
    let patch = json!({
        "apiVersion": "managedredis.dev/v1alpha1",
        "kind": "RedisClusterRef",
        "metadata": { "name": name },
        "status": status(number),
    });
    api.patch_status(&name, &PatchParams::apply(FIELD_MANAGER).force(), &Patch::Apply(&patch)).await?;
    Ok(())
}

/// The status that the operator writes for an instance set that runs.
fn status(number: u32) -> serde_json::Value {
    let name = objects::name(number);
    let now = Time(Timestamp::now());
    let condition = |type_: &str, reason: &str, message: &str| {
        json!({ "type": type_, "status": "True", "reason": reason, "message": message, "observedGeneration": 1,
                "lastTransitionTime": now })
    };
    json!({
        "observedGeneration": 1,
        "lastObservedTime": now,
        "provider": "KakaoCloud",
        "state": "Running",
        "conditions": [
            condition("Ready", "Running", "The cloud reports state Running."),
            condition("Synced", "ObserveSucceeded", "The cloud was read."),
        ],
        "cluster": {
            "id": objects::cluster_id(number),
            "name": name,
            "projectID": "7c1f3a5b9d2e4f60817263544a5b6c7d",
            "engine": "Redis", "engineVersion": "7.2.11", "port": 6379, "mode": "Standalone",
            "highAvailability": true, "shardCount": 0, "nodeCount": 2,
            "flavor": { "id": "0d9f4a62-71c8-4e35-b2aa-6f3e8c5d1002", "name": "r2.medium", "vcpus": 4, "memoryMiB": 8192 },
            "endpoints": {
                "primary": format!("{name}-primary.kr-central-2.memstore.example"),
                "read": format!("{name}-read.kr-central-2.memstore.example"),
            },
            "subnetIDs": ["5b0e7c1a-3d42-4f6b-9a57-1c8f0d2e6b01", "5b0e7c1a-3d42-4f6b-9a57-1c8f0d2e6b02"],
            "subnetAssignments": [{
                "primary": "5b0e7c1a-3d42-4f6b-9a57-1c8f0d2e6b01",
                "replicas": ["5b0e7c1a-3d42-4f6b-9a57-1c8f0d2e6b02"],
            }],
            "securityGroupIDs": ["c4a9e2f7-8b61-4d03-a5ce-907b3f1d4e11"],
            "creator": "platform@shop.example", "license": "BSD-3-Clause", "createdAt": now,
            "parameterGroup": {
                "id": "e81b6d0c-25f9-4a7e-8c34-d1f07a9b6001", "name": "bench-1", "syncStatus": "In-Sync",
            },
        },
        "engine": { "offered": true, "newest": "7.2.11" },
    })
}
