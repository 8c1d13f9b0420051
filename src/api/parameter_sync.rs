//! `RedisParameterSync`: parameter groups that stay applied.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, LabelSelector, Time};
use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::shared::{
    CommonStatus, Duration, KakaoParameterGroup, LocalRef, PRINTABLE, conditions_schema, duration_schema,
    label_selector_schema, time_schema,
};

/// Keeps the parameter groups of some clusters applied.
#[derive(CustomResource, KubeSchema, Clone, Debug, PartialEq, Serialize, Deserialize)]
#[kube(
    group = "managedredis.dev",
    version = "v1alpha1",
    kind = "RedisParameterSync",
    plural = "redisparametersyncs",
    shortname = "rps",
    category = "managedredis",
    namespaced,
    status = "RedisParameterSyncStatus",
    derive = "PartialEq",
    doc = "Re-applies the parameter group of KakaoCloud clusters whose sync status turned Error-Sync or Suspended, until it is In-Sync.",
    printcolumn(name = "Ready", type_ = "string", json_path = r#".status.conditions[?(@.type=="Ready")].status"#),
    printcolumn(name = "In sync", type_ = "integer", json_path = ".status.inSync"),
    printcolumn(name = "Total", type_ = "integer", json_path = ".status.total"),
    printcolumn(name = "Failing", type_ = "integer", json_path = ".status.failing"),
    printcolumn(name = "Status", type_ = "string", json_path = r#".status.conditions[?(@.type=="Ready")].message"#),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp")
)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new(
    "(has(self.clusterRef) ? 1 : 0) + (has(self.clusterSelector) ? 1 : 0) + (has(self.parameterGroup) ? 1 : 0) == 1"
).message("set exactly one of clusterRef, clusterSelector and parameterGroup"))]
pub struct RedisParameterSyncSpec {
    /// One RedisClusterRef of this namespace.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cluster_ref: Option<LocalRef>,
    /// The RedisClusterRefs of this namespace with these labels; an empty selector means all of them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "label_selector_schema")]
    #[x_kube(validation = Rule::new("!has(self.matchLabels) || self.matchLabels.all(key, key.size() <= 317)")
        .message("the keys of matchLabels must not be longer than 317 characters"))]
    pub cluster_selector: Option<LabelSelector>,
    /// Every cluster the cloud lists with this parameter group, referenced or not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parameter_group: Option<ParameterGroupTarget>,
    /// The sync statuses at which the group is applied again, compared without case.
    #[serde(default = "default_retry_on")]
    #[schemars(length(min = 1, max = 16), inner(length(min = 1, max = 64), regex(pattern = PRINTABLE)))]
    #[schemars(extend("x-kubernetes-list-type" = "set"))]
    pub retry_on: Vec<String>,
    /// How often and how fast the application is tried again.
    #[serde(default)]
    pub retry: Retry,
    /// A status that is neither In-Sync nor in retryOn for this long is retried too.
    #[serde(default = "default_stuck_after")]
    #[schemars(schema_with = "duration_schema")]
    #[x_kube(validation = Rule::new("duration(self) >= duration('1s') && duration(self) <= duration('168h')")
        .message("stuckAfter must be between 1s and 168h"))]
    pub stuck_after: Duration,
    /// Stops applying; the status stays as it is.
    #[serde(default)]
    pub suspend: bool,
}

/// A parameter group of one cloud.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ParameterGroupTarget {
    /// A parameter group of KakaoCloud.
    pub kakao_cloud: KakaoParameterGroup,
}

/// Bounds of the retries for one cluster and one failure episode.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("duration(self.maxBackoff) >= duration(self.initialBackoff)")
    .message("maxBackoff must not be shorter than initialBackoff"))]
pub struct Retry {
    /// How many times the application is asked for before giving up, 1 to 100.
    #[serde(default = "default_max_attempts")]
    #[schemars(range(min = 1, max = 100))]
    pub max_attempts: i32,
    /// Wait before the second attempt; it doubles with each further one.
    #[serde(default = "default_initial_backoff")]
    #[schemars(schema_with = "duration_schema")]
    #[x_kube(validation = Rule::new("duration(self) >= duration('1s') && duration(self) <= duration('24h')")
        .message("initialBackoff must be between 1s and 24h"))]
    pub initial_backoff: Duration,
    /// The longest wait between two attempts.
    #[serde(default = "default_max_backoff")]
    #[schemars(schema_with = "duration_schema")]
    #[x_kube(validation = Rule::new("duration(self) >= duration('1s') && duration(self) <= duration('24h')")
        .message("maxBackoff must be between 1s and 24h"))]
    pub max_backoff: Duration,
}

impl Default for Retry {
    fn default() -> Self {
        Self {
            max_attempts: default_max_attempts(),
            initial_backoff: default_initial_backoff(),
            max_backoff: default_max_backoff(),
        }
    }
}

fn default_retry_on() -> Vec<String> {
    ["Error-Sync", "Suspended", "Partial-Sync"].map(str::to_owned).to_vec()
}

fn default_max_attempts() -> i32 {
    5
}

fn default_initial_backoff() -> Duration {
    std::time::Duration::from_secs(30).into()
}

fn default_max_backoff() -> Duration {
    std::time::Duration::from_secs(600).into()
}

fn default_stuck_after() -> Duration {
    std::time::Duration::from_secs(1800).into()
}

/// How far the parameter groups are applied.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RedisParameterSyncStatus {
    /// The metadata.generation this status was written for; -1 before the first time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// The value of the annotation managedredis.dev/reconcile-requested-at that was last acted on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_handled_reconcile_at: Option<String>,
    /// Ready, Synced; Reconciling and Stalled while they hold.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "conditions_schema")]
    pub conditions: Vec<Condition>,
    /// The clusters, those that are not In-Sync first. Of more than 20 clusters, those that are In-Sync and never had to be asked
    /// for are not shown, only counted.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 1000))]
    #[schemars(extend("x-kubernetes-list-type" = "atomic"))]
    pub clusters: Vec<ClusterSync>,
    /// Number of clusters this object is about, also those beyond the number that one object covers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub total: Option<i32>,
    /// Number of clusters that are In-Sync.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub in_sync: Option<i32>,
    /// Number of clusters whose application fails or was given up.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failing: Option<i32>,
}

impl CommonStatus for RedisParameterSyncStatus {
    fn conditions(&self) -> &[Condition] {
        &self.conditions
    }
}

/// Where one cluster stands.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ClusterSync {
    /// ID of the cluster or instance set; of a reference that has none yet, the reference's name.
    pub id: String,
    /// Name of the cluster or instance set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// ID of its parameter group; another group begins a new failure episode.
    #[serde(rename = "parameterGroupID", default, skip_serializing_if = "Option::is_none")]
    pub parameter_group_id: Option<String>,
    /// Sync status in the provider's own word.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sync_status: Option<String>,
    /// Since when the sync status has been that word.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "time_schema")]
    pub sync_status_since: Option<Time>,
    /// What the operator makes of it.
    pub phase: SyncPhase,
    /// How many times the application was asked for in this failure episode, counted before asking.
    #[serde(default)]
    pub attempts: i32,
    /// How many attempts are left before giving up; absent while none was made.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub attempts_left: Option<i32>,
    /// The older RedisParameterSync, as `<namespace>/<name>`, that applies the parameter group of this cluster; this one only
    /// watches it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub applied_by: Option<String>,
    /// When the application was last asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "time_schema")]
    pub last_attempt_time: Option<Time>,
    /// When it will be asked for next, at the earliest.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "time_schema")]
    pub next_attempt_time: Option<Time>,
    /// Why the last attempt failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_error: Option<SyncError>,
}

/// Where one cluster stands, in a word.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub enum SyncPhase {
    /// The parameter group is applied.
    InSync,
    /// The cloud is busy with it, or the cluster is not Running.
    #[default]
    Waiting,
    /// The operator asked for the application and waits for its result.
    Applying,
    /// The application failed; the next attempt comes at nextAttemptTime.
    BackingOff,
    /// All attempts failed.
    GaveUp,
    /// The cloud does not have the cluster.
    NotFound,
}

/// Why an attempt failed.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct SyncError {
    /// The cloud's error code, or the HTTP status.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub code: Option<String>,
    /// What happened, as a sentence.
    pub message: String,
}
