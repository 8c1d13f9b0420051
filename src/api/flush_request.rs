//! `RedisFlushRequest`: one deliberate wipe of a cache, sent at most once.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::shared::{
    CommonStatus, Duration, LocalRef, conditions_schema, duration_schema, time_schema, time_text_schema,
};

/// Asks for one flush of an NCP Redis, at most once.
#[derive(CustomResource, KubeSchema, Clone, Debug, PartialEq, Serialize, Deserialize)]
#[kube(
    group = "managedredis.dev",
    version = "v1alpha1",
    kind = "RedisFlushRequest",
    plural = "redisflushrequests",
    shortname = "rfr",
    category = "managedredis",
    namespaced,
    status = "RedisFlushRequestStatus",
    derive = "PartialEq",
    doc = "One deliberate wipe of an NCP Redis, sent at most once, with a record of what came of it.",
    printcolumn(name = "Phase", type_ = "string", json_path = ".status.phase"),
    printcolumn(name = "Target", type_ = "string", json_path = ".status.target.cloudDBInstanceNo"),
    printcolumn(name = "Sent", type_ = "date", json_path = ".status.sentTime"),
    printcolumn(name = "Finished", type_ = "date", json_path = ".status.finishedTime"),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp")
)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("self == oldSelf")
    .message("spec is immutable: to flush again, create another RedisFlushRequest with a new requestID"))]
pub struct RedisFlushRequestSpec {
    /// An NCP RedisClusterRef of this namespace.
    pub cluster_ref: LocalRef,
    /// The number of the instance to wipe; it must equal the target's cloudDBInstanceNo, as a guard against the wrong target.
    #[schemars(length(min = 1, max = 20), regex(pattern = r"^[0-9]+$"))]
    pub confirm: String,
    /// Name of this deliberate act, "<namespace>/<name>" if absent: one ID never flushes the same target twice.
    #[serde(rename = "requestID", default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253), regex(pattern = r"^[A-Za-z0-9][A-Za-z0-9._:/-]*$"))]
    pub request_id: Option<String>,
    /// Past this time nothing is sent: RFC 3339, such as 2026-11-27T00:00:00Z or 2026-11-27T09:00:00+09:00.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "time_text_schema")]
    #[x_kube(validation = Rule::new(
        // It has to be false, not an error, for whatever an older CRD let in: only a rule that is false is passed over by the API
        // server for a field that an update leaves as it is.
        "self.matches('^[1-9][0-9]{3}-[0-9]{2}-[0-9]{2}T([01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9]([.][0-9]{1,9})?\
         (Z|[+-]([01][0-9]|2[0-3]):[0-5][0-9])$') && timestamp(self) < timestamp('9999-01-01T00:00:00Z')"
    ).message("notAfter must be a time such as 2026-11-27T00:00:00Z or 2026-11-27T09:00:00+09:00 (RFC 3339, with a capital \
        T and Z), of the years 1000 to 9998"))]
    pub not_after: Option<Time>,
    /// Counted from the creation of this object: past it nothing is sent, 1s to 168h.
    #[serde(default = "default_start_deadline")]
    #[schemars(schema_with = "duration_schema")]
    #[x_kube(validation = Rule::new("duration(self) >= duration('1s') && duration(self) <= duration('168h')")
        .message("startDeadline must be between 1s and 168h"))]
    pub start_deadline: Duration,
    /// Deletes this object so long after it finished. Leave it out under GitOps, where a deleted object comes back.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "duration_schema")]
    #[x_kube(validation = Rule::new("duration(self) <= duration('8760h')")
        .message("ttlAfterFinished must not be longer than 8760h"))]
    pub ttl_after_finished: Option<Duration>,
}

fn default_start_deadline() -> Duration {
    std::time::Duration::from_secs(600).into()
}

/// What came of the request.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RedisFlushRequestStatus {
    /// The metadata.generation this status was written for; -1 before the first time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// The value of the annotation managedredis.dev/reconcile-requested-at that was last acted on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_handled_reconcile_at: Option<String>,
    /// Where the request stands; the last five phases are final.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub phase: Option<FlushPhase>,
    /// The attempt that is being made, or was made last. In phase Pending it is one that was proven not to be executed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub attempt: Option<Attempt>,
    /// When the flush was sent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "time_schema")]
    pub sent_time: Option<Time>,
    /// Before this time no other attempt is made; set when an attempt was not executed and may be made again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "time_schema")]
    pub next_attempt_time: Option<Time>,
    /// When the request reached a final phase.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "time_schema")]
    pub finished_time: Option<Time>,
    /// What the cloud answered to the flush.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub response: Option<FlushResponse>,
    /// The instance, as the cloud's list shows it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target: Option<FlushTarget>,
    /// What happened, what to check and what to do next.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    /// Ready, Succeeded; Reconciling and Stalled while they hold.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "conditions_schema")]
    pub conditions: Vec<Condition>,
}

impl CommonStatus for RedisFlushRequestStatus {
    fn conditions(&self) -> &[Condition] {
        &self.conditions
    }
}

/// Where a flush request stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub enum FlushPhase {
    /// Nothing was sent; checks are not yet all met.
    Pending,
    /// The flush is about to be sent or was just sent.
    Sending,
    /// The cloud accepted the flush and is at it.
    Accepted,
    /// The flush is done and the instance is running again.
    Succeeded,
    /// The flush was not executed, and will not be.
    Failed,
    /// The flush may or may not have been executed; it is never sent again.
    Unknown,
    /// The request was refused before anything was sent.
    Rejected,
    /// The deadline passed before anything was sent.
    Expired,
}

impl FlushPhase {
    /// All phases, in the order in which a request can come to them.
    pub const ALL: [Self; 8] = [
        Self::Pending,
        Self::Sending,
        Self::Accepted,
        Self::Succeeded,
        Self::Failed,
        Self::Unknown,
        Self::Rejected,
        Self::Expired,
    ];

    /// Whether the phase is final: it is never left.
    pub fn is_terminal(self) -> bool {
        match self {
            Self::Pending | Self::Sending | Self::Accepted => false,
            Self::Succeeded | Self::Failed | Self::Unknown | Self::Rejected | Self::Expired => true,
        }
    }

    /// The phase as it stands in the status.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "Pending",
            Self::Sending => "Sending",
            Self::Accepted => "Accepted",
            Self::Succeeded => "Succeeded",
            Self::Failed => "Failed",
            Self::Unknown => "Unknown",
            Self::Rejected => "Rejected",
            Self::Expired => "Expired",
        }
    }
}

/// One attempt to send.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-map-type" = "atomic"))]
pub struct Attempt {
    /// Random ID of the attempt; the claim carries it too.
    pub id: String,
    /// When the attempt began.
    #[schemars(schema_with = "time_schema")]
    pub started_at: Time,
    /// Identity of the operator process that made it.
    pub operator: String,
    /// Proven: the cloud did not execute this attempt. Absent as long as that is not proven.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub not_executed: bool,
}

/// What the cloud answered to the flush.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-map-type" = "atomic"))]
pub struct FlushResponse {
    /// HTTP status; absent when there was no answer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub http_status: Option<i32>,
    /// The cloud's ID of the request, for its support.
    #[serde(rename = "traceID", default, skip_serializing_if = "Option::is_none")]
    pub trace_id: Option<String>,
    /// The cloud's return code or error code; 0 is success.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub return_code: Option<String>,
    /// The cloud's own message.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub return_message: Option<String>,
    /// Number of instances in the answer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub total_rows: Option<i32>,
}

/// The instance to wipe, as the cloud's list shows it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-map-type" = "atomic"))]
pub struct FlushTarget {
    /// Number of the instance.
    #[serde(rename = "cloudDBInstanceNo", default, skip_serializing_if = "Option::is_none")]
    pub cloud_db_instance_no: Option<String>,
    /// Service name of the instance.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub service_name: Option<String>,
    /// State in the provider's own word.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub state: Option<String>,
    /// The states seen after the flush was accepted, in order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32))]
    pub states_seen: Vec<String>,
}
