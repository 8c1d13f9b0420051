//! What becomes of a decoded answer, as plain functions of its bytes, for the property tests and the fuzz targets. Not part of the
//! API. A violated property is a panic.

#![allow(clippy::panic, reason = "a violated property ends the test or the fuzzer")]

use super::instance::Instance;
use super::packed::{Catalog, Interner, PackedInstance};
use crate::api::cluster_ref::ClusterStatus;
use crate::cloud::testing;

/// A list of KakaoCloud: each cluster that can be read can be shown and kept, and nothing of it is lost.
pub fn keep_kakao_list(body: &[u8]) {
    testing::kakao_clusters(body).into_iter().map(Instance::from).for_each(keep);
}

/// A single cluster of KakaoCloud, as above.
pub fn keep_kakao_detail(body: &[u8]) {
    testing::kakao_cluster(body).into_iter().map(Instance::from).for_each(keep);
}

/// A page of NCP, as above.
pub fn keep_ncp_list(body: &[u8]) {
    testing::ncp_instances(body).into_iter().map(Instance::from).for_each(keep);
}

/// Answer → status → JSON → status, and answer → kept → status, lose nothing.
fn keep(instance: Instance) {
    let shown = instance.cluster.clone();
    let json = serde_json::to_vec(&shown);
    let read: Option<ClusterStatus> = json.ok().and_then(|json| serde_json::from_slice(&json).ok());
    assert!(read.as_ref() == Some(&shown), "a status that is written is read as it was");
    let state = instance.state.clone();
    let Ok(packed) = PackedInstance::new(instance, &Catalog::default(), &mut Interner::default()) else {
        panic!("an instance of a cloud can be kept: {shown:?}")
    };
    assert!(packed.cluster() == shown && packed.state() == state.as_deref(), "what is kept is what was read");
}
