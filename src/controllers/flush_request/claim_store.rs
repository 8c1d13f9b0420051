//! Claims and the requests behind them, as the API server has them now.

use k8s_openapi::api::coordination::v1::Lease;
use kube::api::{Api, DeleteParams, Preconditions};

use super::claim::HeldClaim;
use super::request::StoredRequest;
use crate::api::RedisFlushRequest;
use crate::runtime::guard::Guarded;

/// Why the request of a claim, which exists or may exist, cannot be read.
#[derive(Debug, thiserror::Error)]
pub(super) enum ClaimantError {
    /// The API server did not give it.
    #[error(transparent)]
    Api(#[from] kube::Error),
    /// This version of the operator does not understand it.
    #[error("the request cannot be understood")]
    NotUnderstood,
}

/// The claims of the operator's namespace.
pub(super) fn claims(client: &kube::Client, operator_namespace: &str) -> Api<Lease> {
    Api::namespaced(client.clone(), operator_namespace)
}

/// Deletes exactly this claim; false if another one stands in its place.
pub(super) async fn delete_claim(claims: &Api<Lease>, claim: &HeldClaim) -> Result<bool, kube::Error> {
    let uid = Some(claim.lease_uid.clone());
    let params = DeleteParams::default().preconditions(Preconditions { uid, resource_version: None });
    match claims.delete(&claim.lease_name, &params).await {
        Ok(_) => Ok(true),
        Err(kube::Error::Api(status)) if status.is_not_found() => Ok(true),
        Err(kube::Error::Api(status)) if status.is_conflict() => Ok(false),
        Err(error) => Err(error),
    }
}

/// The request that a claim names, fresh from the API server; none if there is none of its UID.
pub(super) async fn claimant(client: &kube::Client, claim: &HeldClaim) -> Result<Option<StoredRequest>, ClaimantError> {
    if claim.namespace.is_empty() || claim.name.is_empty() {
        return Ok(None);
    }
    let api: Api<Guarded<RedisFlushRequest>> = Api::namespaced(client.clone(), &claim.namespace);
    let Some(found) = api.get_opt(&claim.name).await? else { return Ok(None) };
    match found.0 {
        Ok(request) => Ok(StoredRequest::of(&request).filter(|request| request.uid == claim.request_uid)),
        Err(metadata) if metadata.uid.as_ref() == Some(&claim.request_uid) => Err(ClaimantError::NotUnderstood),
        Err(_) => Ok(None),
    }
}
