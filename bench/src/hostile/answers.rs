//! Answers of a cloud that are no larger than allowed, but made to cost the operator memory or CPU time.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Result;
use k8s_openapi::api::core::v1::Secret;
use kube::api::{Api, PostParams};
use managed_redis_operator::api::RedisClusterRef;
use serde_json::json;

use super::cloud::{HostileAnswer, HostileCloud};
use super::{begin, peak, share_of_core};
use crate::measure::counter;
use crate::plan::BenchPlan;
use crate::report::Figure;
use crate::run::BenchRun;

/// How long the operator may take to send the first request for a list.
const ASKED_WITHIN: Duration = Duration::from_secs(60);
/// The peak is read after so many answers: the first, and those of a second list or of further pages.
const ANSWERS: u64 = 4;
/// How long they may take. An operator that sends fewer requests has had its peak by then.
const LOOK: Duration = Duration::from_secs(30);
const MIB: usize = 1 << 20;

/// One hostile cloud.
pub(super) struct HostileCase {
    name: &'static str,
    /// The part of the namespace's name that is the case's own.
    word: &'static str,
    provider: HostileProvider,
    /// Credentials, each of which is a connection of its own.
    credentials: u32,
    answer: fn() -> HostileAnswer,
    measure: CaseFigures,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum HostileProvider {
    KakaoCloud,
    Ncp,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum CaseFigures {
    Peak,
    /// The peak and the share of a core.
    PeakAndCpu,
    /// The peak and the number of series of `managed_redis_clusters`.
    PeakAndSeries,
}

const fn case(
    name: &'static str,
    word: &'static str,
    provider: HostileProvider,
    answer: fn() -> HostileAnswer,
) -> HostileCase {
    HostileCase { name, word, provider, credentials: 1, answer, measure: CaseFigures::Peak }
}

/// Every hostile cloud.
pub(super) const CASES: [HostileCase; 9] = [
    case("2 MiB page of 700,000 empty rows, without end", "rows", HostileProvider::Ncp, || {
        HostileAnswer::whole(ncp_page(&repeated("{}", 2 * MIB), 100_000_000))
    }),
    case("57 MiB page of empty rows, gzipped", "gzipped", HostileProvider::Ncp, || {
        HostileAnswer::gzipped(&ncp_page(&repeated("{}", 57 * MIB), 100_000_000))
    }),
    case("59 MiB page with numbers in an unknown field", "zeros", HostileProvider::Ncp, || {
        let zeros = repeated("0", 59 * MIB);
        HostileAnswer::whole(format!(
            r#"{{"getCloudDBInstanceListResponse":{{"returnCode":"0","unknown":[{zeros}],"totalRows":0,"cloudDBInstanceList":[]}}}}"#
        ))
    }),
    case("60 MiB list: a cluster with 21 million subnets", "subnets", HostileProvider::KakaoCloud, || {
        let subnets = repeated("{}", 60 * MIB);
        HostileAnswer::whole(format!(
            r#"{{"clusters":[{{"objectId":"{ID}","status":"Running","subnets":[{subnets}]}}]}}"#
        ))
    }),
    case("60 MiB list of 2.4 million clusters", "clusters", HostileProvider::KakaoCloud, || {
        HostileAnswer::whole(format!(
            r#"{{"clusters":[{}]}}"#,
            numbered(2_400_000, |number| format!(r#"{{"objectId":"{number:08}"}}"#))
        ))
    }),
    HostileCase {
        credentials: 6,
        ..case("34 MiB list for six credentials at once", "six", HostileProvider::KakaoCloud, || {
            // A list of real clusters with the longest descriptions would be as large.
            let clusters = numbered(20_000, |number| plausible(number, "Running"));
            HostileAnswer::whole(format!(r#"{{"clusters":[{clusters}]}}"#))
        })
    },
    HostileCase {
        measure: CaseFigures::PeakAndSeries,
        ..case("20,000 clusters, each in a state of its own", "states", HostileProvider::KakaoCloud, || {
            let clusters =
                numbered(20_000, |number| format!(r#"{{"objectId":"{}","status":"state-{number}"}}"#, id(number)));
            HostileAnswer::whole(format!(r#"{{"clusters":[{clusters}]}}"#))
        })
    },
    HostileCase {
        measure: CaseFigures::PeakAndCpu,
        ..case("103 Early Hints without end", "hints", HostileProvider::Ncp, || {
            HostileAnswer::Endless(b"HTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\n".to_vec())
        })
    },
    HostileCase {
        measure: CaseFigures::PeakAndCpu,
        ..case("chunks of one byte without end", "trickle", HostileProvider::Ncp, || HostileAnswer::Trickle)
    },
];

const ID: &str = "00000001-0d1c-4b2a-9f3e-000000000001";

fn id(number: u32) -> String {
    format!("{number:08x}-0d1c-4b2a-9f3e-{number:012x}")
}

/// An item repeated, with commas between, up to so many bytes.
fn repeated(item: &str, bytes: usize) -> String {
    let mut text = format!("{item},").repeat(bytes / (item.len() + 1));
    text.pop();
    text
}

fn numbered(count: u32, item: impl Fn(u32) -> String) -> String {
    let mut text = String::new();
    for number in 1..=count {
        if number > 1 {
            text.push(',');
        }
        text.push_str(&item(number));
    }
    text
}

fn ncp_page(rows: &str, total: u64) -> String {
    format!(
        r#"{{"getCloudDBInstanceListResponse":{{"returnCode":"0","totalRows":{total},"cloudDBInstanceList":[{rows}]}}}}"#
    )
}

/// A cluster with every field that real ones have, 1.7 KiB.
fn plausible(number: u32, state: &str) -> String {
    json!({
        "projectId": "0c1e0c1e", "objectId": id(number), "name": format!("carts-{number:05}"),
        "description": "carts of a shop ".repeat(60), "version": "7.2.11", "port": 6379, "clusterEnabled": false,
        "recoveryEnabled": true, "shardCount": 0, "totalNodeCount": 2, "flavorId": "flavor-1", "vcpu": 2, "memory": 4,
        "endpoints": { "primaryEndpoint": format!("carts-{number:05}.memstore.example"), "readEndpoint": "" },
        "userName": "-", "subnets": [{ "id": "subnet-a" }, { "id": "subnet-b" }],
        "subnetAssignments": [{ "primary": { "id": "subnet-a" }, "replicas": [{ "id": "subnet-b" }] }],
        "securityGroups": [{ "id": "group-a" }], "backupSchedule": null, "creator": "someone@example.com",
        "license": "BSD-3-Clause", "status": state, "parameterGroupId": "group-1",
        "parameterGroupName": "shop-defaults", "parameterGroupSyncStatus": "In-Sync", "createdAt": "2026-03-06T02:35:13Z",
    })
    .to_string()
}

/// Runs an operator against the cloud of the case.
pub(super) async fn run(run: &BenchRun, plan: &BenchPlan, case: &HostileCase) -> Result<Vec<Figure>> {
    begin(case.name);
    let namespace = format!("hostile-{}", case.word);
    let kind = if case.provider == HostileProvider::Ncp { "/clouddb/" } else { "/v1/clusters" };
    let cloud = HostileCloud::start(kind, Arc::new((case.answer)())).await?;
    objects(run, &namespace, case).await?;
    let operator = run.launch_against(&namespace, &cloud.url())?;
    if !cloud.answered(u64::from(case.credentials), ASKED_WITHIN).await {
        return Err(run.late("the first request for a list", ASKED_WITHIN));
    }
    let mut figures = Vec::new();
    if case.measure == CaseFigures::PeakAndCpu {
        let over = if plan.quick { plan.interval } else { LOOK };
        figures.push(share_of_core(case.name, &operator, over).await?);
    } else {
        cloud.answered(ANSWERS * u64::from(case.credentials), LOOK).await;
    }
    if case.measure == CaseFigures::PeakAndSeries {
        let (_, metrics) = operator.page("/metrics").await?;
        let series = metrics.lines().filter(|line| line.starts_with("managed_redis_clusters{")).count();
        let listed = counter(&metrics, "managed_redis_clusters", &[]);
        figures.push(Figure::new(format!("{}: listed", case.name), listed, ""));
        let series = u32::try_from(series).unwrap_or(u32::MAX);
        figures.push(Figure::new(format!("{}: series", case.name), series.into(), "").at_most(50.0));
    }
    figures.insert(0, peak(case.name, &operator)?);
    operator.stop().await?;
    Ok(figures)
}

/// A namespace with a Secret and a reference for each credential.
async fn objects(run: &BenchRun, namespace: &str, case: &HostileCase) -> Result<()> {
    let client = run.client();
    harness::objects::namespace(&client, namespace).await?;
    let secrets: Api<Secret> = Api::namespaced(client.clone(), namespace);
    let references: Api<RedisClusterRef> = Api::namespaced(client, namespace);
    for number in 1..=case.credentials {
        let name = format!("hostile-{number}");
        let (keys, target) = match case.provider {
            HostileProvider::KakaoCloud => (
                ["KAKAOCLOUD_APPLICATION_CREDENTIAL_ID", "KAKAOCLOUD_APPLICATION_CREDENTIAL_SECRET"],
                json!({ "kakaoCloud": { "clusterID": ID, "credentialsSecretRef": { "name": name } } }),
            ),
            HostileProvider::Ncp => (
                ["NCLOUD_ACCESS_KEY", "NCLOUD_SECRET_KEY"],
                json!({ "ncp": { "cloudDBInstanceNo": "1", "credentialsSecretRef": { "name": name } } }),
            ),
        };
        let data = keys.map(|key| (key.to_owned(), format!("credential-{number}"))).into();
        harness::objects::secret(&secrets, &name, data).await?;
        let mut spec = target;
        spec["pollInterval"] = json!("10s");
        let reference = serde_json::from_value(json!({
            "apiVersion": "managedredis.dev/v1alpha1", "kind": "RedisClusterRef",
            "metadata": { "name": name }, "spec": spec,
        }))?;
        references.create(&PostParams::default(), &reference).await?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;

    #[test]
    fn the_answers_are_what_they_say() {
        assert_eq!(repeated("{}", 2 * MIB).matches("{}").count(), 699_050);
        let list: Value =
            serde_json::from_str(&format!("[{}]", numbered(3, |number| plausible(number, "Running")))).unwrap();
        assert_eq!(list.as_array().map(Vec::len), Some(3));
        let bytes = plausible(1, "Running").len();
        assert!((1650..1850).contains(&bytes), "20,000 of {bytes} bytes are no 34 MiB");
        let page: Value = serde_json::from_str(&ncp_page(&repeated("{}", 30), 7)).unwrap();
        assert_eq!(page["getCloudDBInstanceListResponse"]["cloudDBInstanceList"].as_array().map(Vec::len), Some(10));
    }
}
