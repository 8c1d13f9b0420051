//! Deletes claims whose time is over, and those that are proven unused.

use jiff::Timestamp;
use k8s_openapi::api::coordination::v1::Lease;
use kube::api::{Api, ListParams};
use tracing::info;

use super::claim::{CLAIM_KIND, CLAIM_LABEL, HeldClaim, expired, still_open};
use super::executor::{delete_claim, request_of};
use crate::controllers::context::Context;

/// Claims read at once.
const PAGE: u32 = 500;

/// One pass over all claims of the operator's namespace.
///
/// # Errors
/// When the claims cannot be listed or deleted; a request that cannot be read keeps its claim.
pub async fn expired_claims(ctx: &Context) -> Result<(), kube::Error> {
    let claims: Api<Lease> = Api::namespaced(ctx.client.clone(), &ctx.settings.operator_namespace);
    let mut params = ListParams::default().labels(&format!("{CLAIM_LABEL}={CLAIM_KIND}")).limit(PAGE);
    loop {
        let page = claims.list(&params).await?;
        for lease in &page.items {
            let claim = HeldClaim::from_lease(lease);
            if may_go(ctx, &claim).await && delete_claim(&claims, &claim).await? {
                info!(claim = %claim.lease_name, request = %claim.name, namespace = %claim.namespace, "claim deleted");
            }
        }
        match page.metadata.continue_.filter(|token| !token.is_empty()) {
            Some(token) => params.continue_token = Some(token),
            None => return Ok(()),
        }
    }
}

/// Whether a claim may be deleted; its request is read fresh, and one that cannot be read keeps its claim.
async fn may_go(ctx: &Context, claim: &HeldClaim) -> bool {
    let now = Timestamp::now();
    let retention = ctx.settings.flush_claim_retention;
    let old = expired(claim, now, retention, false);
    let request = match request_of(ctx, claim).await {
        Ok(request) => request,
        Err(_) => return false,
    };
    match request {
        Some(request) => {
            claim.is_unused(&request) || (old && expired(claim, now, retention, still_open(&request, now)))
        }
        None => old,
    }
}
