//! The claims: Leases in the operator's namespace.

use k8s_openapi::api::coordination::v1::Lease;
use kube::api::{Api, ListParams, PostParams};
use tracing::warn;

use super::super::claim::{Claim, ClaimKey, HeldClaim, REQUEST_UID_LABEL};
use super::super::claim_store::{self, ClaimantError, claimant, delete_claim};
use super::super::effect::EffectReport;
use super::super::facts::{Holder, ObservedClaim};
use super::super::messages;
use super::super::session::Session;
use super::Executor;
use super::writes::pause_after;
use crate::api::FIELD_MANAGER;

impl Executor {
    fn claims(&self) -> Api<Lease> {
        claim_store::claims(&self.ctx.client, &self.ctx.settings.operator_namespace)
    }

    pub(super) async fn read_claim(&self, session: &Session, key: Option<&ClaimKey>) -> ObservedClaim {
        tokio::time::sleep(pause_after(self.failed_writes)).await;
        let failed = |error: &kube::Error| {
            ObservedClaim::Failed(messages::claims_unread(&self.ctx.settings.operator_namespace, error))
        };
        if let Some(key) = key {
            match self.claims().get_opt(&key.lease_name()).await {
                Ok(Some(lease)) => return ObservedClaim::Present(HeldClaim::from_lease(&lease)),
                Ok(None) => {}
                Err(error) => return failed(&error),
            }
        }
        let mine = ListParams::default().labels(&format!("{REQUEST_UID_LABEL}={}", session.object.uid));
        match self.claims().list(&mine).await {
            Ok(leases) => leases
                .items
                .first()
                .map_or(ObservedClaim::Absent, |lease| ObservedClaim::Present(HeldClaim::from_lease(lease))),
            Err(error) => failed(&error),
        }
    }

    /// What the request that holds a claim says now.
    pub(super) async fn read_holder(&self, claim: &HeldClaim) -> Holder {
        match claimant(&self.ctx.client, claim).await {
            Ok(request) => Holder::of(claim, request.as_ref()),
            Err(ClaimantError::NotUnderstood) => Holder::Spent,
            // The operator does not see that namespace, and never will: nobody can tell.
            Err(ClaimantError::Api(kube::Error::Api(status))) if status.is_forbidden() => Holder::Spent,
            Err(ClaimantError::Api(error)) => Holder::Failed(error.to_string()),
        }
    }

    pub(super) async fn create_claim(&mut self, claim: &Claim) -> EffectReport {
        let lease = claim.to_lease(&self.ctx.settings.operator_namespace);
        let params = PostParams { field_manager: Some(FIELD_MANAGER.to_owned()), ..PostParams::default() };
        match self.claims().create(&params, &lease).await {
            Ok(created) => EffectReport::Claim(ObservedClaim::Present(HeldClaim::from_lease(&created))),
            Err(kube::Error::Api(status)) if !status.is_already_exists() && (400..500).contains(&status.code) => {
                let namespace = &self.ctx.settings.operator_namespace;
                let why = messages::claim_not_created(namespace, &status.message);
                EffectReport::Claim(ObservedClaim::Failed(why))
            }
            Err(error) => {
                if !matches!(&error, kube::Error::Api(status) if status.is_already_exists()) {
                    self.failed_writes = self.failed_writes.saturating_add(1);
                }
                warn!(%error, "the result of creating the claim is not known; reading the claim");
                EffectReport::ClaimUncertain
            }
        }
    }

    pub(super) async fn release_claim(&self, claim: &HeldClaim) -> EffectReport {
        match delete_claim(&self.claims(), claim).await {
            Ok(true) => EffectReport::Released,
            Ok(false) => EffectReport::ClaimUncertain,
            Err(error) => EffectReport::Claim(ObservedClaim::Failed(messages::claim_not_deleted(&error))),
        }
    }
}
