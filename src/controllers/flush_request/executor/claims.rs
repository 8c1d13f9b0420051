//! The claims: Leases in the operator's namespace.

use k8s_openapi::api::coordination::v1::Lease;
use kube::api::{Api, DeleteParams, ListParams, PostParams, Preconditions};
use tracing::warn;

use super::super::claim::{Claim, ClaimKey, HeldClaim, REQUEST_UID_LABEL};
use super::super::session::{ClaimView, Holder, Report, Session, Snapshot};
use super::{Executor, pause_after};
use crate::api::{FIELD_MANAGER, RedisFlushRequest};
use crate::controllers::context::Context;
use crate::runtime::guard::Guarded;

impl Executor {
    fn claims(&self) -> Api<Lease> {
        Api::namespaced(self.ctx.client.clone(), &self.ctx.settings.operator_namespace)
    }

    pub(super) async fn read_claim(&self, session: &Session, key: Option<&ClaimKey>) -> ClaimView {
        tokio::time::sleep(pause_after(self.failed_writes)).await;
        let failed = |error: &kube::Error| {
            ClaimView::Failed(format!(
                "the claims in namespace {} cannot be read ({error}).",
                self.ctx.settings.operator_namespace
            ))
        };
        if let Some(key) = key {
            match self.claims().get_opt(&key.lease_name()).await {
                Ok(Some(lease)) => return ClaimView::Present(HeldClaim::from_lease(&lease)),
                Ok(None) => {}
                Err(error) => return failed(&error),
            }
        }
        let mine = ListParams::default().labels(&format!("{REQUEST_UID_LABEL}={}", session.object.uid));
        match self.claims().list(&mine).await {
            Ok(leases) => {
                leases.items.first().map_or(ClaimView::Absent, |lease| ClaimView::Present(HeldClaim::from_lease(lease)))
            }
            Err(error) => failed(&error),
        }
    }

    /// What the request that holds a claim says now.
    pub(super) async fn read_holder(&self, claim: &HeldClaim) -> Holder {
        match request_of(&self.ctx, claim).await {
            Ok(request) => Holder::of(claim, request.as_ref()),
            Err(Unreadable::Object) => Holder::Spent,
            // The operator does not see that namespace, and never will: nobody can tell.
            Err(Unreadable::Api(kube::Error::Api(status))) if status.is_forbidden() => Holder::Spent,
            Err(Unreadable::Api(error)) => Holder::Failed(format!("{error}.")),
        }
    }

    pub(super) async fn create_claim(&mut self, claim: &Claim) -> Report {
        let lease = claim.to_lease(&self.ctx.settings.operator_namespace);
        let params = PostParams { field_manager: Some(FIELD_MANAGER.to_owned()), ..PostParams::default() };
        match self.claims().create(&params, &lease).await {
            Ok(created) => Report::Claim(ClaimView::Present(HeldClaim::from_lease(&created))),
            Err(kube::Error::Api(status)) if !status.is_already_exists() && (400..500).contains(&status.code) => {
                let namespace = &self.ctx.settings.operator_namespace;
                let why = format!("the claim cannot be created in namespace {namespace} ({}).", status.message);
                Report::Claim(ClaimView::Failed(why))
            }
            Err(error) => {
                if !matches!(&error, kube::Error::Api(status) if status.is_already_exists()) {
                    self.failed_writes = self.failed_writes.saturating_add(1);
                }
                warn!(%error, "the claim was not created, or nobody knows; reading it");
                Report::ClaimUncertain
            }
        }
    }

    pub(super) async fn release_claim(&self, claim: &HeldClaim) -> Report {
        match delete_claim(&self.claims(), claim).await {
            Ok(true) => Report::Released,
            Ok(false) => Report::ClaimUncertain,
            Err(error) => Report::Claim(ClaimView::Failed(format!("the claim cannot be deleted ({error})."))),
        }
    }
}

/// Deletes exactly this claim; false if another one stands in its place.
pub(in super::super) async fn delete_claim(claims: &Api<Lease>, claim: &HeldClaim) -> Result<bool, kube::Error> {
    let uid = Some(claim.lease_uid.clone());
    let params = DeleteParams::default().preconditions(Preconditions { uid, resource_version: None });
    match claims.delete(&claim.lease_name, &params).await {
        Ok(_) => Ok(true),
        Err(kube::Error::Api(status)) if status.is_not_found() => Ok(true),
        Err(kube::Error::Api(status)) if status.is_conflict() => Ok(false),
        Err(error) => Err(error),
    }
}

/// Why the request of a claim, which exists or may exist, cannot be read.
#[derive(Debug)]
pub(in super::super) enum Unreadable {
    /// The API server did not give it.
    Api(kube::Error),
    /// This version of the operator cannot read it.
    Object,
}

/// The request of a claim, fresh from the API server; none if there is none of its UID.
pub(in super::super) async fn request_of(ctx: &Context, claim: &HeldClaim) -> Result<Option<Snapshot>, Unreadable> {
    if claim.namespace.is_empty() || claim.name.is_empty() {
        return Ok(None);
    }
    let api: Api<Guarded<RedisFlushRequest>> = Api::namespaced(ctx.client.clone(), &claim.namespace);
    let Some(found) = api.get_opt(&claim.name).await.map_err(Unreadable::Api)? else { return Ok(None) };
    match found.0 {
        Ok(request) => Ok(Snapshot::of(&request).filter(|request| request.uid == claim.request_uid)),
        Err(metadata) if metadata.uid.as_ref() == Some(&claim.request_uid) => Err(Unreadable::Object),
        Err(_) => Ok(None),
    }
}
