//! Every decoder of an answer as a plain function of its bytes, for the property tests and the fuzz targets. Not part of the API.
//!
//! Each runs the very code that an answer of HTTP 200 goes through, and checks that what is built of it is bounded. A violated
//! property is a panic. `inventory::testing` goes on from there.

#![allow(clippy::panic, reason = "a violated property ends the test or the fuzzer")]

use super::error::{CloudError, Failure};
use super::kakao::{self, Cluster};
use super::ncp::{self, CloudDbInstance};
use super::response::Response;
use super::{MAX_CLUSTERS, Row};
use crate::api::Provider;

/// Elements of a list inside an entry that are ever built.
const MOST_ELEMENTS: usize = 1025;
/// Rows of a page of NCP.
const MOST_ROWS: usize = 100;

/// `GET /v1/clusters` of KakaoCloud.
pub fn decode_kakao_list(body: &[u8]) {
    let _ = kakao_clusters(body);
}

/// The clusters that can be read in a `GET /v1/clusters` of KakaoCloud.
#[must_use]
pub fn kakao_clusters(body: &[u8]) -> Vec<Cluster> {
    let rows = kakao::testing::list(response(body), &refuse).unwrap_or_default();
    at_most(rows.len(), MAX_CLUSTERS);
    let clusters: Vec<Cluster> = rows.into_iter().filter_map(readable).collect();
    clusters.iter().for_each(check_cluster);
    clusters
}

/// `GET /v1/clusters/{id}` of KakaoCloud.
pub fn decode_kakao_detail(body: &[u8]) {
    kakao_cluster(body);
}

/// The cluster of a `GET /v1/clusters/{id}` of KakaoCloud, if it can be read.
pub fn kakao_cluster(body: &[u8]) -> Option<Cluster> {
    let cluster = kakao::testing::detail(response(body), &refuse).ok();
    cluster.iter().for_each(check_cluster);
    cluster
}

/// `GET /v1/redis/versions` of KakaoCloud.
pub fn decode_kakao_versions(body: &[u8]) {
    let versions = kakao::testing::versions(response(body), &refuse).unwrap_or_default();
    at_most(versions.len(), MOST_ELEMENTS);
}

/// `GET /v1/redis/flavors` of KakaoCloud.
pub fn decode_kakao_flavors(body: &[u8]) {
    let flavors = kakao::testing::flavors(response(body), &refuse).unwrap_or_default();
    at_most(flavors.len(), MOST_ELEMENTS);
}

/// `POST /v1/clusters/{id}/parameter-group/apply` of KakaoCloud, for the cluster `c-1`.
pub fn decode_kakao_apply(body: &[u8]) {
    let reply = kakao::testing::apply(response(body), &refuse);
    if let Some(id) = reply.ok().and_then(|reply| reply.object_id) {
        check(id == "c-1", "an apply of another cluster is in doubt");
    }
}

/// `POST /identity/v3/auth/tokens` of KakaoCloud IAM.
pub fn decode_kakao_token(body: &[u8]) {
    let mut response = response(body);
    response.headers.insert("x-subject-token", reqwest::header::HeaderValue::from_static("token-0000"));
    let received_at = response.received_at;
    if let Ok(expires_at) = kakao::testing::token(response, &refuse) {
        check(expires_at > received_at, "a token that has ended is none");
    }
}

/// `getCloudDBInstanceList` of NCP, JSON or XML by its first byte.
pub fn decode_ncp_list(body: &[u8]) {
    let _ = ncp_instances(body);
}

/// The instances that can be read in a page of NCP.
#[must_use]
pub fn ncp_instances(body: &[u8]) -> Vec<CloudDbInstance> {
    let rows = ncp::testing::list(response(body), &refuse).unwrap_or_default();
    at_most(rows.len(), MOST_ROWS);
    let instances: Vec<CloudDbInstance> = rows.into_iter().filter_map(readable).collect();
    for instance in &instances {
        let lists = [instance.config_groups.len(), instance.access_control_groups.len(), instance.servers.len()];
        at_most(lists.into_iter().max().unwrap_or_default(), MOST_ELEMENTS);
        check(instance.no.as_ref().is_some_and(|no| !no.is_empty()), "an instance that is read has a number");
    }
    instances
}

/// `flushCloudDBInstance` of NCP for the instance 771203, JSON or XML by its first byte.
pub fn decode_ncp_flush(body: &[u8]) {
    if let Ok(reply) = ncp::testing::flush(response(body), &refuse) {
        at_most(reply.instances.len(), MOST_ROWS);
        check(reply.return_code == "0", "nothing but return code 0 is acceptance");
    }
}

fn check_cluster(cluster: &Cluster) {
    let replicas = cluster.subnet_assignments.iter().map(|shard| shard.replicas.len()).max();
    let lists = [cluster.subnet_ids.len(), cluster.security_group_ids.len(), cluster.subnet_assignments.len()];
    at_most(lists.into_iter().chain(replicas).max().unwrap_or_default(), MOST_ELEMENTS);
    check(!cluster.id.is_empty() && cluster.id.len() <= 512, "a cluster that is read has an ID");
    let description = cluster.description.as_ref().map_or(0, String::len);
    at_most(description, 4096);
}

fn readable<T>(row: Row<T>) -> Option<T> {
    if let Row::Unreadable(entry) = &row {
        check(!entry.error.message.is_empty(), "what cannot be read says why");
        at_most(entry.id.as_ref().map_or(0, String::len), 512);
    }
    row.ok()
}

fn at_most(count: usize, most: usize) {
    assert!(count <= most, "{count} where {most} are the most");
}

fn check(holds: bool, what: &str) {
    assert!(holds, "{what}");
}

fn response(body: &[u8]) -> Response {
    Response::received(200, body.to_vec())
}

fn refuse(failure: Failure) -> CloudError {
    failure.into_error(Provider::KakaoCloud, "test", &[])
}
