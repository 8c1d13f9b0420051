//! What a flush request's reference leads to.

use super::facts::{ObservedReference, TargetCache};
use super::messages;
use crate::api::conditions::{self, READY, STALLED};
use crate::api::{RedisClusterRef, Target};
use crate::controllers::problem::Problem;

/// What a reference leads to. Its cache is taken from a status that belongs to its present spec.
pub(super) fn resolve(reference: &RedisClusterRef) -> ObservedReference {
    let site = match reference.spec.target() {
        Ok(Target::NcpClassic { site, .. }) => site,
        Ok(Target::KakaoCloud { .. }) => return ObservedReference::NoFlush,
        Err(error) => return ObservedReference::NotReady(Problem::from(error).message),
    };
    if reference.spec.suspend {
        return ObservedReference::Suspended;
    }
    let status = reference.status.as_ref();
    let observed = status.and_then(|status| status.observed_generation);
    let Some(status) = status.filter(|_| observed.is_some() && observed == reference.metadata.generation) else {
        return ObservedReference::NotReady(messages::REFERENCE_OUTDATED.to_owned());
    };
    if let Some(stalled) = conditions::find(&status.conditions, STALLED) {
        return ObservedReference::NotReady(stalled.message.clone());
    }
    let cluster = status.cluster.as_ref();
    let Some(instance_no) = cluster.and_then(|cluster| cluster.id.clone()) else {
        let why = conditions::find(&status.conditions, READY).map(|ready| ready.message.clone());
        return ObservedReference::NotReady(why.unwrap_or_else(|| messages::REFERENCE_UNREAD.to_owned()));
    };
    let name = cluster.and_then(|cluster| cluster.name.clone());
    ObservedReference::Target(TargetCache { site, instance_no, name })
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::api::cluster_ref::NcpSite;

    fn reference(spec: Value, status: Value) -> RedisClusterRef {
        let metadata = json!({ "name": "cart", "namespace": "shop", "generation": 2 });
        let kind = json!({ "apiVersion": "managedredis.dev/v1alpha1", "kind": "RedisClusterRef" });
        let mut object = kind;
        object["metadata"] = metadata;
        object["spec"] = spec;
        object["status"] = status;
        serde_json::from_value(object).unwrap()
    }

    fn ncp() -> Value {
        json!({ "ncp": { "cloudDBInstanceNo": "551234", "credentialsSecretRef": { "name": "ncp" } } })
    }

    fn condition(type_: &str, message: &str) -> Value {
        json!([{
            "type": type_, "status": "True", "reason": "Observing", "message": message,
            "lastTransitionTime": "2026-11-01T00:00:00Z",
        }])
    }

    #[test]
    fn a_target_is_taken_from_a_status_of_the_present_spec_alone() {
        let cluster = || json!({ "id": "551234", "name": "cart" });
        let current = resolve(&reference(ncp(), json!({ "observedGeneration": 2, "cluster": cluster() })));
        let target =
            TargetCache { site: NcpSite::Public, instance_no: "551234".to_owned(), name: Some("cart".to_owned()) };
        assert_eq!(current, ObservedReference::Target(target));
        for outdated in [json!({ "observedGeneration": 1, "cluster": cluster() }), json!({ "cluster": cluster() })] {
            assert!(matches!(resolve(&reference(ncp(), outdated)), ObservedReference::NotReady(_)));
        }
    }

    #[test]
    fn a_reference_without_a_target_says_why() {
        let not_ready = |conditions: Value| {
            resolve(&reference(ncp(), json!({ "observedGeneration": 2, "conditions": conditions })))
        };
        let because = |why: &str| ObservedReference::NotReady(why.to_owned());
        assert_eq!(not_ready(condition("Stalled", "The Secret is missing.")), because("The Secret is missing."));
        assert_eq!(not_ready(condition("Ready", "Reading the cloud.")), because("Reading the cloud."));
        assert_eq!(not_ready(json!([])), because("Its instance has not been read yet."));
        let mut suspended = ncp();
        suspended["suspend"] = json!(true);
        assert_eq!(resolve(&reference(suspended, json!({}))), ObservedReference::Suspended);
        let kakao = json!({ "kakaoCloud": { "clusterID": "c-1", "credentialsSecretRef": { "name": "kakao" } } });
        assert_eq!(resolve(&reference(kakao, json!({}))), ObservedReference::NoFlush);
        assert!(matches!(resolve(&reference(json!({}), json!({}))), ObservedReference::NotReady(_)));
    }
}
