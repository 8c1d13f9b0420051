//! The pure parts that ten thousand references make hot: read a list, compare it with the one before, plan a status.
//!
//!     cargo bench --bench hot

#![expect(clippy::expect_used, reason = "a bench that cannot be set up ends with the reason")]

use std::hint::black_box;
use std::sync::Mutex;
use std::time::Duration;

use criterion::{BatchSize, Criterion, criterion_group, criterion_main};
use jiff::Timestamp;
use managed_redis_operator::api::RedisClusterRefStatus;
use managed_redis_operator::api::cluster_ref::RedisClusterRefSpec;
use managed_redis_operator::cloud::Row;
use managed_redis_operator::cloud::kakao::{Cluster, clusters_in};
use managed_redis_operator::controllers::cluster_ref::config_map::state::ConfigMapState;
use managed_redis_operator::controllers::cluster_ref::input::{CloudObservation, Input};
use managed_redis_operator::controllers::cluster_ref::plan::plan;
use managed_redis_operator::inventory::Query;
use managed_redis_operator::inventory::instance::Instance;
use managed_redis_operator::inventory::snapshot::{Listed, Snapshot};
use serde_json::{Value, json};

const CLUSTERS: u32 = 10_000;

/// The body of a list: instance sets, as KakaoCloud describes them.
fn body(clusters: u32) -> Vec<u8> {
    let all: Vec<Value> = (0..clusters).map(cluster).collect();
    json!({ "clusters": all }).to_string().into_bytes()
}

fn id(number: u32) -> String {
    format!("{number:08x}-0d1c-4b2a-9f3e-{number:012x}")
}

fn cluster(number: u32) -> Value {
    let (id, name) = (id(number), format!("bench-{number:05}"));
    json!({
        "projectId": "7c1f3a5b9d2e4f60817263544a5b6c7d", "objectId": id, "name": name, "description": "",
        "version": "7.2.11", "port": 6379, "clusterEnabled": false, "recoveryEnabled": true, "shardCount": 0,
        "totalNodeCount": 2, "flavorId": "0d9f4a62-71c8-4e35-b2aa-6f3e8c5d1002", "vcpu": 4, "memory": 8,
        "endpoints": { "primaryEndpoint": format!("{name}-primary.example"), "readEndpoint": format!("{name}-read.example") },
        "userName": "-", "subnets": [{ "id": "5b0e7c1a-3d42-4f6b-9a57-1c8f0d2e6b01" }],
        "subnetAssignments": [{ "primary": { "id": "5b0e7c1a-3d42-4f6b-9a57-1c8f0d2e6b01" },
                                "replicas": [{ "id": "5b0e7c1a-3d42-4f6b-9a57-1c8f0d2e6b02" }] }],
        "securityGroups": [{ "id": "c4a9e2f7-8b61-4d03-a5ce-907b3f1d4e11" }], "backupSchedule": null,
        "creator": "platform@shop.example", "license": "BSD-3-Clause", "status": "Running",
        "parameterGroupId": "e81b6d0c-25f9-4a7e-8c34-d1f07a9b6001", "parameterGroupName": "bench-1",
        "parameterGroupSyncStatus": "In-Sync", "createdAt": "2026-03-06T02:35:13Z",
    })
}

/// Takes a list into a snapshot, as the poller does.
fn take_in(snapshot: &mut Snapshot, body: Vec<u8>) {
    snapshot.begin_list();
    let shared = Mutex::new(std::mem::take(snapshot));
    let recognise =
        |row: Row<Cluster>| shared.lock().expect("no panic while locked").recognise(row.map(Instance::from));
    let listed: Vec<Listed> = clusters_in(body, &recognise).expect("a list");
    *snapshot = shared.into_inner().expect("no panic while locked");
    snapshot.listed(Timestamp::UNIX_EPOCH, listed);
}

fn lists(criterion: &mut Criterion) {
    let body = body(CLUSTERS);
    let mut group = criterion.benchmark_group("list of 10,000");
    group.sample_size(20);
    group.bench_function("decode", |bencher| {
        let count =
            |body| clusters_in(body, &|row| black_box(row.ok().map(|cluster| cluster.port))).expect("a list").len();
        bencher.iter_batched(|| body.clone(), count, BatchSize::LargeInput);
    });
    group.bench_function("decode and take in the first", |bencher| {
        bencher.iter_batched(
            || (Snapshot::default(), body.clone()),
            |(mut snapshot, body)| {
                take_in(&mut snapshot, body);
                snapshot
            },
            BatchSize::LargeInput,
        );
    });
    let mut snapshot = Snapshot::default();
    take_in(&mut snapshot, body.clone());
    group.bench_function("decode and compare the same again", |bencher| {
        bencher.iter_batched(|| body.clone(), |body| take_in(&mut snapshot, body), BatchSize::LargeInput);
    });
    let wants: Vec<Query> = (0..CLUSTERS).map(|number| Query::Id(id(number))).collect();
    group.bench_function("observe for each subscriber", |bencher| {
        bencher.iter(|| wants.iter().filter(|want| snapshot.observe(want, None, None).refresh_done).count());
    });
    group.finish();
}

fn plans(criterion: &mut Criterion) {
    let mut snapshot = Snapshot::default();
    take_in(&mut snapshot, body(1));
    let spec: RedisClusterRefSpec = serde_json::from_value(json!({
        "kakaoCloud": { "clusterID": id(0), "credentialsSecretRef": { "name": "kakaocloud" } },
    }))
    .expect("a spec");
    let decide = |previous: &RedisClusterRefStatus| {
        plan(&Input {
            spec: &spec,
            generation: 1,
            requested_at: None,
            previous,
            cloud: CloudObservation::Read(snapshot.observe(&Query::Id(id(0)), None, None)),
            config_map: ConfigMapState::NotWanted,
            obsolete_remains: false,
            heartbeat: Duration::from_secs(600),
            phase: Duration::ZERO,
            now: Timestamp::UNIX_EPOCH,
        })
    };
    let first = RedisClusterRefStatus::default();
    criterion.bench_function("plan of a new reference", |bencher| bencher.iter(|| decide(black_box(&first))));
    let settled = decide(&first).status;
    criterion.bench_function("plan of a settled reference", |bencher| bencher.iter(|| decide(black_box(&settled))));
}

criterion_group!(hot, lists, plans);
criterion_main!(hot);
