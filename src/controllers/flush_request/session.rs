//! What one reconcile of one request knows: everything the plan looks at, and how it grows by what effects report.

use std::time::Duration;

use jiff::Timestamp;
use kube::ResourceExt as _;

use crate::api::cluster_ref::NcpSite;
use crate::api::flush_request::{FlushPhase, RedisFlushRequest, RedisFlushRequestSpec, RedisFlushRequestStatus};
use crate::api::reconcile_requested_at;

use super::FINALIZER;
use super::claim::{ClaimKey, HeldClaim};
use super::outcome::SendOutcome;
use super::plan::Effect;

/// A request as one read of the API server showed it.
#[derive(Clone, Debug, PartialEq)]
pub struct Snapshot {
    /// Namespace.
    pub namespace: String,
    /// Name.
    pub name: String,
    /// UID: a re-created object of the same name has another.
    pub uid: String,
    /// The version that every write of this object carries.
    pub resource_version: String,
    /// `metadata.generation`.
    pub generation: i64,
    /// `metadata.creationTimestamp`.
    pub created_at: Timestamp,
    /// `metadata.deletionTimestamp`.
    pub deleted_at: Option<Timestamp>,
    /// Whether [`FINALIZER`] is on it.
    pub finalizer: bool,
    /// The annotation managedredis.dev/reconcile-requested-at.
    pub requested_at: Option<String>,
    /// The spec, immutable.
    pub spec: RedisFlushRequestSpec,
    /// The status; a fresh object has the default.
    pub status: RedisFlushRequestStatus,
}

/// When nothing may be sent any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Deadline {
    /// The time from which on nothing is sent.
    pub at: Timestamp,
    /// The field that it comes from: `notAfter` or `startDeadline`.
    pub field: &'static str,
}

impl Snapshot {
    /// Reads an object that the API server returned; none if it lacks what every stored object has.
    #[must_use]
    pub fn of(object: &RedisFlushRequest) -> Option<Self> {
        let meta = &object.metadata;
        Some(Self {
            namespace: meta.namespace.clone()?,
            name: meta.name.clone()?,
            uid: meta.uid.clone()?,
            resource_version: meta.resource_version.clone()?,
            generation: meta.generation.unwrap_or_default(),
            created_at: meta.creation_timestamp.as_ref()?.0,
            deleted_at: meta.deletion_timestamp.as_ref().map(|time| time.0),
            finalizer: object.finalizers().iter().any(|finalizer| finalizer == FINALIZER),
            requested_at: reconcile_requested_at(object),
            spec: object.spec.clone(),
            status: object.status.clone().unwrap_or_default(),
        })
    }

    /// The phase; a status without one is that of a request nobody has looked at.
    #[must_use]
    pub fn phase(&self) -> FlushPhase {
        self.status.phase.unwrap_or(FlushPhase::Pending)
    }

    /// `spec.requestID`, by default `<namespace>/<name>`.
    #[must_use]
    pub fn request_id(&self) -> String {
        self.spec.request_id.clone().unwrap_or_else(|| format!("{}/{}", self.namespace, self.name))
    }

    /// The attempt in the status, "" if there is none.
    #[must_use]
    pub fn attempt_id(&self) -> &str {
        self.status.attempt.as_ref().map_or("", |attempt| attempt.id.as_str())
    }

    /// The attempt of which the status says that it was not executed, "" if it says that of none. It is a fact about a random
    /// ID, written with it, so it stays true however old the status is and whatever part of it is lost.
    #[must_use]
    pub fn attempt_not_executed(&self) -> &str {
        self.status.attempt.as_ref().filter(|attempt| attempt.not_executed).map_or("", |attempt| attempt.id.as_str())
    }

    /// Whether the status knows of a send that it does not know the end of. In phase Pending that is a contradiction: the
    /// phase was lost or set back.
    #[must_use]
    pub fn may_have_sent(&self) -> bool {
        let open_attempt = self.status.attempt.as_ref().is_some_and(|attempt| !attempt.not_executed);
        open_attempt || self.status.sent_time.is_some()
    }

    /// The earlier of `notAfter` and creation plus `startDeadline`.
    #[must_use]
    pub fn deadline(&self) -> Deadline {
        let patience = if self.spec.start_deadline.is_negative() {
            Duration::ZERO
        } else {
            Duration::from(self.spec.start_deadline)
        };
        let start = self.created_at.checked_add(patience).unwrap_or(Timestamp::MAX);
        match &self.spec.not_after {
            Some(not_after) if not_after.0 < start => Deadline { at: not_after.0, field: "notAfter" },
            _ => Deadline { at: start, field: "startDeadline" },
        }
    }
}

/// The instance that the reference leads to.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Target {
    /// Its site.
    pub site: NcpSite,
    /// Its `cloudDBInstanceNo`.
    pub instance_no: String,
    /// Its service name, as far as the reference knows it.
    pub service_name: Option<String>,
}

/// What `spec.clusterRef` leads to.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Reference {
    /// Not read yet.
    NotRead,
    /// There is no RedisClusterRef of that name.
    Missing,
    /// It does not lead to an instance (yet); the sentence says why.
    NotReady(String),
    /// Its `spec.suspend` is true.
    Suspended,
    /// It is not an NCP reference.
    NotNcp,
    /// The instance it leads to.
    Target(Target),
}

/// The claim on (target, request ID); without a target, any claim that this request holds.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum ClaimView {
    /// Not read yet.
    NotRead,
    /// It cannot be read or deleted; the sentence says why.
    Failed(String),
    /// There is none.
    Absent,
    /// Somebody holds it.
    Present(HeldClaim),
}

/// What is known of another request that holds the claim.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Holder {
    /// It cannot be read now; the sentence says why.
    Failed(String),
    /// It has no verdict yet, or one that proves its attempt was not executed: the claim may still be released.
    Open,
    /// Its flush was executed, or nobody can tell: the claim stays.
    Spent,
}

impl Holder {
    /// What a request says about the claim it holds; none if there is no such request, or none that can be read.
    #[must_use]
    pub fn of(claim: &HeldClaim, request: Option<&Snapshot>) -> Self {
        let Some(request) = request.filter(|request| claim.is_of(&request.uid)) else { return Self::Spent };
        match request.phase() {
            FlushPhase::Pending | FlushPhase::Sending => Self::Open,
            FlushPhase::Failed | FlushPhase::Rejected | FlushPhase::Expired if claim.is_unused(request) => Self::Open,
            FlushPhase::Accepted
            | FlushPhase::Succeeded
            | FlushPhase::Unknown
            | FlushPhase::Failed
            | FlushPhase::Rejected
            | FlushPhase::Expired => Self::Spent,
        }
    }
}

/// An entry of the cloud's own list.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Instance {
    /// `cloudDBInstanceNo`.
    pub instance_no: String,
    /// `cloudDBServiceName`.
    pub service_name: Option<String>,
    /// `cloudDBInstanceStatusName`, unchanged; "" if the cloud names none.
    pub state: String,
}

/// What the cloud's own list of REDIS instances says, read for the target's number.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum CloudView {
    /// Not read yet, or read before the flush.
    NotRead,
    /// It is not the request's turn to ask: it is woken when it is.
    Queued,
    /// It could not be read.
    Failed {
        /// Condition reason, such as `CloudUnavailable` or `CredentialsNotFound`.
        reason: &'static str,
        /// Why, as a sentence.
        message: String,
    },
    /// A complete list; empty if the instance is not in it.
    Instances(Vec<Instance>),
}

/// Whether another request is at this target: its phase is Sending or Accepted.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Others {
    /// Not read yet.
    NotRead,
    /// None is.
    Free,
    /// This one is, as `<namespace>/<name>`.
    Busy(String),
}

/// The attempt that this reconcile, and nobody else, may send: the permission lives in memory alone and is used up once.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct OwnAttempt {
    /// Its random ID.
    pub id: String,
    /// Set before anything is sent, and when it is decided not to send: from then on this attempt is never sent.
    pub outcome: Option<SendOutcome>,
}

/// The time, as the plan is told it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Clock {
    /// Wall-clock time.
    pub now: Timestamp,
    /// Monotonic time since this reconcile first began to write Sending; zero before.
    pub since_attempt_began: Duration,
}

/// Everything one reconcile knows about its request. It is never shared and never outlives the reconcile.
#[derive(Clone, Debug, PartialEq)]
pub struct Session {
    /// The request.
    pub object: Snapshot,
    /// Whether the request has to be read again, because a write failed or its answer was lost.
    pub object_is_stale: bool,
    /// Whether the request does not exist any more.
    pub gone: bool,
    /// What its reference leads to.
    pub reference: Reference,
    /// Its claim.
    pub claim: ClaimView,
    /// Who holds the claim, if that is another request: the UID of the Lease and what is known of the request. The claim is read
    /// again after this.
    pub holder: Option<(String, Holder)>,
    /// What the cloud's list says.
    pub cloud: CloudView,
    /// Other requests at the same target.
    pub others: Others,
    /// The attempt this reconcile makes, once it began to.
    pub own: Option<OwnAttempt>,
    /// Random ID for the one attempt that this reconcile may make.
    pub fresh_attempt_id: String,
    /// Identity of this operator process, for `status.attempt.operator`.
    pub operator: String,
}

/// What came of an effect.
#[derive(Clone, Debug, PartialEq)]
pub enum Report {
    /// The request, as a read or a write of it returned it.
    Object(Box<Snapshot>),
    /// The request does not exist.
    Gone,
    /// A write of the request was refused because it changed meanwhile, or nobody knows whether the write was done.
    ObjectUncertain,
    /// What the reference leads to.
    Reference(Reference),
    /// The claim, as a read showed it or its creation returned it.
    Claim(ClaimView),
    /// What is known of the request that holds this claim.
    Holder(HeldClaim, Holder),
    /// The claim could not be created because one exists, or nobody knows whether it was created.
    ClaimUncertain,
    /// The claim is gone.
    Released,
    /// What the cloud's list says.
    Cloud(CloudView),
    /// Other requests at the same target.
    Others(Others),
    /// What the send came to.
    Sent(SendOutcome),
    /// Nothing to learn from it.
    Nothing,
}

impl Session {
    /// Starts a reconcile with a fresh read of the request, and an ID that no other reconcile ever uses.
    #[must_use]
    pub fn new(object: Snapshot, fresh_attempt_id: String, operator: String) -> Self {
        Self {
            object,
            object_is_stale: false,
            gone: false,
            reference: Reference::NotRead,
            claim: ClaimView::NotRead,
            holder: None,
            cloud: CloudView::NotRead,
            others: Others::NotRead,
            own: None,
            fresh_attempt_id,
            operator,
        }
    }

    /// To be called *before* an effect is carried out, so that what it uses up is used up even if it never comes back.
    pub fn begin(&mut self, effect: &Effect) {
        match effect {
            Effect::WriteStatus(write) if write.status.phase == Some(FlushPhase::Sending) && self.own.is_none() => {
                self.own = Some(OwnAttempt { id: self.fresh_attempt_id.clone(), outcome: None });
            }
            Effect::Send { .. } => self.close_attempt(SendOutcome::without_answer()),
            Effect::GiveUp(why) => self.close_attempt(SendOutcome::NotSent(why.clone())),
            _ => {}
        }
    }

    /// To be called with what came of an effect.
    pub fn absorb(&mut self, report: Report) {
        match report {
            Report::Object(object) if object.uid == self.object.uid => {
                // Whether there is a claim to release is only known by a read that came after what the object says now.
                let reread = std::mem::take(&mut self.object_is_stale);
                let left_sending = self.object.phase() == FlushPhase::Sending && object.phase() != FlushPhase::Sending;
                if reread || (left_sending && self.claim == ClaimView::Absent) {
                    self.claim = ClaimView::NotRead;
                }
                self.object = *object;
            }
            Report::Object(_) | Report::Gone => self.gone = true,
            Report::ObjectUncertain => self.object_is_stale = true,
            Report::Reference(reference) => self.reference = reference,
            Report::Claim(claim) => self.claim = claim,
            Report::Holder(claim, holder) => {
                // A request that was not executed releases its claim before it goes: that it is gone, or what it says, counts
                // only if the claim is still there afterwards.
                if holder == Holder::Spent {
                    self.claim = ClaimView::NotRead;
                }
                self.holder = Some((claim.lease_uid, holder));
            }
            Report::ClaimUncertain => self.claim = ClaimView::NotRead,
            Report::Released => self.claim = ClaimView::Absent,
            Report::Cloud(cloud) => self.cloud = cloud,
            Report::Others(others) => self.others = others,
            Report::Sent(outcome) => {
                self.close_attempt(outcome);
                self.cloud = CloudView::NotRead;
            }
            Report::Nothing => {}
        }
    }

    /// The target, if the reference leads to the very instance that the request confirms.
    #[must_use]
    pub fn confirmed_target(&self) -> Option<&Target> {
        match &self.reference {
            Reference::Target(target) if target.instance_no == self.object.spec.confirm => Some(target),
            _ => None,
        }
    }

    /// What the claim of this request on a target is on.
    #[must_use]
    pub fn claim_key(&self, target: &Target) -> ClaimKey {
        ClaimKey { site: target.site, instance_no: target.instance_no.clone(), request_id: self.object.request_id() }
    }

    /// What is known of the request that holds this claim; none if it was not read yet.
    #[must_use]
    pub fn holder_of(&self, claim: &HeldClaim) -> Option<&Holder> {
        self.holder.as_ref().filter(|(lease_uid, _)| *lease_uid == claim.lease_uid).map(|(_, holder)| holder)
    }

    /// Whether this session knows what its attempt came to and the status does not: who ends now loses a verdict.
    #[must_use]
    pub fn holds_answer(&self) -> bool {
        self.object.phase() == FlushPhase::Sending
            && self.own.as_ref().is_some_and(|own| own.outcome.is_some() && own.id == self.object.attempt_id())
    }

    fn close_attempt(&mut self, outcome: SendOutcome) {
        if let Some(own) = &mut self.own {
            own.outcome = Some(outcome);
        }
    }
}
