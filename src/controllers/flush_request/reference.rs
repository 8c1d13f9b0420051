//! What a flush request's reference leads to.

use super::facts::{ObservedReference, TargetCache};
use super::messages::sentence;
use crate::api::conditions::{self, READY, STALLED};
use crate::api::{RedisClusterRef, Target};

/// What a reference leads to. Its cache is taken from a status that belongs to its present spec.
pub(super) fn resolve(reference: &RedisClusterRef) -> ObservedReference {
    let site = match reference.spec.target() {
        Ok(Target::NcpClassic { site, .. }) => site,
        Ok(Target::KakaoCloud { .. }) => return ObservedReference::NoFlush,
        Err(error) => return ObservedReference::NotReady(sentence(&error.to_string())),
    };
    if reference.spec.suspend {
        return ObservedReference::Suspended;
    }
    let status = reference.status.as_ref();
    let observed = status.and_then(|status| status.observed_generation);
    let Some(status) = status.filter(|_| observed.is_some() && observed == reference.metadata.generation) else {
        return ObservedReference::NotReady("its status is not up to date yet.".to_owned());
    };
    if let Some(stalled) = conditions::find(&status.conditions, STALLED) {
        return ObservedReference::NotReady(sentence(&stalled.message));
    }
    let cluster = status.cluster.as_ref();
    let Some(instance_no) = cluster.and_then(|cluster| cluster.id.clone()) else {
        let why = conditions::find(&status.conditions, READY).map(|ready| sentence(&ready.message));
        return ObservedReference::NotReady(why.unwrap_or_else(|| "its instance was not read yet.".to_owned()));
    };
    let name = cluster.and_then(|cluster| cluster.name.clone());
    ObservedReference::Target(TargetCache { site, instance_no, name })
}
