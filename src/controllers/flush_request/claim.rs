//! The claim: the Lease in the operator's namespace whose creation decides who may send a flush.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{MicroTime, ObjectMeta};

use super::request::StoredRequest;
use crate::api::cluster_ref::NcpSite;
use crate::digest;

/// Label that marks a Lease as a claim; its value is [`CLAIM_KIND`].
pub(super) const CLAIM_LABEL: &str = "managedredis.dev/claim";
/// Value of [`CLAIM_LABEL`] on the claims of flush requests.
pub(super) const CLAIM_KIND: &str = "flush";
/// Label with the UID of the request that holds the claim.
pub(super) const REQUEST_UID_LABEL: &str = "managedredis.dev/request-uid";

const REQUEST_NAMESPACE: &str = "managedredis.dev/request-namespace";
const REQUEST_NAME: &str = "managedredis.dev/request-name";
const REQUEST_ID: &str = "managedredis.dev/request-id";
const ATTEMPT_ID: &str = "managedredis.dev/attempt-id";
const OPERATOR: &str = "managedredis.dev/operator";
const TARGET: &str = "managedredis.dev/target";

/// Hexadecimal digits of the hash in a claim's name: with the prefix 63 characters, so that the name also fits a label.
const HASH_DIGITS: usize = 57;

/// What one flush empties, and what "at most once" is about. It is named by what never changes.
///
/// Of NCP Classic it is a whole instance. Of a cloud that empties an instance shard by shard it would be one shard.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct FlushUnit {
    /// Site of the instance; instance numbers are unique within one.
    pub site: NcpSite,
    /// Number of the instance.
    pub instance_no: String,
}

impl FlushUnit {
    /// The parts that tell it from every other unit. They never change: claims outlive operators.
    fn parts(&self) -> [&str; 2] {
        [self.site.as_str(), &self.instance_no]
    }
}

/// What a claim is on: one request ID and what it flushes.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ClaimKey {
    /// What is flushed.
    pub unit: FlushUnit,
    /// `spec.requestID`, or its default.
    pub request_id: String,
}

impl ClaimKey {
    /// Name of the Lease: `flush-` and a SHA-256 over the parts, each with its length, so that no two keys share a text.
    #[must_use]
    pub fn lease_name(&self) -> String {
        let mut digits = digest::hex(self.unit.parts().into_iter().chain([self.request_id.as_str()]));
        digits.truncate(HASH_DIGITS);
        format!("{CLAIM_KIND}-{digits}")
    }
}

/// A claim to be created.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Claim {
    /// What it is on.
    pub key: ClaimKey,
    /// UID of the request that claims.
    pub request_uid: String,
    /// Namespace of that request.
    pub namespace: String,
    /// Name of that request.
    pub name: String,
    /// The attempt it is for: `status.attempt.id`.
    pub attempt_id: String,
    /// Identity of the operator process that claims.
    pub operator: String,
    /// When it is claimed.
    pub claimed_at: Timestamp,
}

impl Claim {
    /// The Lease to create in the operator's namespace.
    #[must_use]
    pub fn to_lease(&self, operator_namespace: &str) -> Lease {
        let labels = [(CLAIM_LABEL, CLAIM_KIND), (REQUEST_UID_LABEL, self.request_uid.as_str())];
        let target = format!("ncp/{}", self.key.unit.parts().join("/"));
        let annotations = [
            (REQUEST_NAMESPACE, self.namespace.as_str()),
            (REQUEST_NAME, self.name.as_str()),
            (REQUEST_ID, self.key.request_id.as_str()),
            (ATTEMPT_ID, self.attempt_id.as_str()),
            (OPERATOR, self.operator.as_str()),
            (TARGET, target.as_str()),
        ];
        Lease {
            metadata: ObjectMeta {
                name: Some(self.key.lease_name()),
                namespace: Some(operator_namespace.to_owned()),
                labels: Some(owned(&labels)),
                annotations: Some(owned(&annotations)),
                ..ObjectMeta::default()
            },
            spec: Some(LeaseSpec {
                holder_identity: Some(self.request_uid.clone()),
                acquire_time: Some(MicroTime(self.claimed_at)),
                ..LeaseSpec::default()
            }),
        }
    }
}

fn owned(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
}

/// A claim as the API server has it. What a Lease does not say is empty, and that equals no UID and no attempt: a Lease that
/// this operator did not write can block a flush, but never permit one.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct HeldClaim {
    /// Name of the Lease.
    pub lease_name: String,
    /// UID of the Lease, the precondition of its deletion.
    pub lease_uid: String,
    /// UID of the request that holds it.
    pub request_uid: String,
    /// Namespace of that request.
    pub namespace: String,
    /// Name of that request.
    pub name: String,
    /// The attempt it was taken for.
    pub attempt_id: String,
    /// When it was taken, if the Lease says so.
    pub claimed_at: Option<Timestamp>,
}

impl HeldClaim {
    /// Reads a Lease.
    #[must_use]
    pub fn from_lease(lease: &Lease) -> Self {
        let meta = &lease.metadata;
        let annotation =
            |key| meta.annotations.as_ref().and_then(|annotations| annotations.get(key)).cloned().unwrap_or_default();
        let spec = lease.spec.as_ref();
        Self {
            lease_name: meta.name.clone().unwrap_or_default(),
            lease_uid: meta.uid.clone().unwrap_or_default(),
            request_uid: spec.and_then(|spec| spec.holder_identity.clone()).unwrap_or_default(),
            namespace: annotation(REQUEST_NAMESPACE),
            name: annotation(REQUEST_NAME),
            attempt_id: annotation(ATTEMPT_ID),
            claimed_at: spec
                .and_then(|spec| spec.acquire_time.as_ref().map(|time| time.0))
                .or_else(|| meta.creation_timestamp.as_ref().map(|time| time.0)),
        }
    }

    /// Whether this request holds it.
    #[must_use]
    pub fn is_of(&self, request_uid: &str) -> bool {
        !request_uid.is_empty() && self.request_uid == request_uid
    }

    /// Whether it was taken for this attempt of this request.
    #[must_use]
    pub fn is_for(&self, request_uid: &str, attempt_id: &str) -> bool {
        self.is_of(request_uid) && !attempt_id.is_empty() && self.attempt_id == attempt_id
    }

    /// Whether its request says that exactly its attempt was not executed, so that it may be released at once. The plan releases
    /// it; the sweep does so where the plan could not (no access, a creation that arrived late).
    #[must_use]
    pub fn is_unused(&self, request: &StoredRequest) -> bool {
        self.is_for(&request.uid, request.attempt_not_executed())
    }
}

/// Whether the sweep may delete a claim for its age: not before `retention`, and never while its request could still act on its absence.
///
/// `request_still_open` is [`still_open`] for the object of the claim's request UID, false if there is none. A Lease
/// without a time is never expired, for nothing says how old it is.
#[must_use]
pub(super) fn expired(claim: &HeldClaim, now: Timestamp, retention: Duration, request_still_open: bool) -> bool {
    !request_still_open
        && claim.claimed_at.and_then(|since| since.checked_add(retention).ok()).is_some_and(|until| now >= until)
}

/// Whether a request still needs its claim: it is not final, or it is final but its deadline has not passed, so that a
/// status that got lost would make it start anew.
#[must_use]
pub(super) fn still_open(request: &StoredRequest, now: Timestamp) -> bool {
    !request.phase().is_terminal() || now < request.deadline().at
}
