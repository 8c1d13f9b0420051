//! Deletes claims that are old enough, and those that are proven unused.

use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::coordination::v1::Lease;
use kube::api::{Api, ListParams};
use tracing::{debug, info, warn};

use super::claim::{CLAIM_KIND, CLAIM_LABEL, HeldClaim, expired, still_open};
use super::claim_store::{self, ClaimantError, claimant, delete_claim};
use super::context::FlushContext;
use super::request::StoredRequest;

/// Claims read at once.
const PAGE: u32 = 500;
/// The longest that one claim may take.
const A_CLAIM: Duration = Duration::from_secs(10);
/// Claims in a row that could not be settled after which a pass ends.
const MAX_FAILURES: u32 = 10;

/// One pass over all claims of the operator's namespace.
///
/// # Errors
/// When the claims cannot be listed. A claim whose request cannot be read, or that cannot be deleted, stays and holds up no other;
/// after some of them in a row the pass ends, because then the API server is the problem.
pub(super) async fn expired_claims(ctx: &FlushContext) -> Result<(), kube::Error> {
    let claims = claim_store::claims(&ctx.client, &ctx.settings.operator_namespace);
    let mut params = ListParams::default().labels(&format!("{CLAIM_LABEL}={CLAIM_KIND}")).limit(PAGE);
    loop {
        let page = claims.list(&params).await?;
        let mut failures = 0;
        for lease in &page.items {
            let claim = HeldClaim::from_lease(lease);
            match tokio::time::timeout(A_CLAIM, settle(ctx, &claims, &claim)).await {
                Ok(true) => failures = 0,
                Ok(false) | Err(_) if failures + 1 < MAX_FAILURES => failures += 1,
                Ok(false) | Err(_) => return Ok(()),
            }
        }
        match page.metadata.continue_.filter(|token| !token.is_empty()) {
            Some(token) => params.continue_token = Some(token),
            None => return Ok(()),
        }
    }
}

/// Deletes a claim if it may be deleted; false if that could not be found out or done. Its request is read fresh, and one that
/// cannot be read keeps its claim.
async fn settle(ctx: &FlushContext, claims: &Api<Lease>, claim: &HeldClaim) -> bool {
    let request = match claimant(&ctx.client, claim).await {
        Ok(request) => request,
        // Only this one request is concerned, so it does not count as a failure.
        Err(ClaimantError::NotUnderstood) => return true,
        Err(ClaimantError::Api(error)) => {
            debug!(claim = %claim.lease_name, %error, "the request of a claim cannot be read");
            return matches!(&error, kube::Error::Api(status) if (400..500).contains(&status.code));
        }
    };
    if !may_go(ctx, claim, request.as_ref()) {
        return true;
    }
    match delete_claim(claims, claim).await {
        Ok(deleted) => {
            if deleted {
                info!(claim = %claim.lease_name, request = %claim.name, namespace = %claim.namespace, "claim deleted");
            }
            true
        }
        Err(error) => {
            warn!(claim = %claim.lease_name, %error, "a claim could not be deleted; retrying in a minute");
            false
        }
    }
}

/// Whether a claim may be deleted.
fn may_go(ctx: &FlushContext, claim: &HeldClaim, request: Option<&StoredRequest>) -> bool {
    let now = Timestamp::now();
    let open = request.is_some_and(|request| still_open(request, now));
    let unused = request.is_some_and(|request| claim.is_unused(request));
    unused || expired(claim, now, ctx.settings.flush_claim_retention, open)
}
