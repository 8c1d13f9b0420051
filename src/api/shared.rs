//! Spec types and schema pieces that more than one kind uses.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, LabelSelector, Time};
use kube::KubeSchema;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};

pub use kube::core::Duration;

/// The region a KakaoCloud spec means when it names none.
pub const DEFAULT_KAKAO_REGION: &str = "kr-central-2";

/// Names that the API server takes for Secrets, ConfigMaps and objects of these kinds: DNS subdomains (RFC 1123).
pub const OBJECT_NAME: &str = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$";

/// Names that people give, in any script: no characters that control a terminal, hide or reorder text.
pub const PRINTABLE: &str = r"^[^\p{C}\p{Zl}\p{Zp}]*$";

/// A Secret in the namespace of the object that names it.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct SecretRef {
    /// Name of the Secret, in the namespace of this object.
    #[schemars(length(min = 1, max = 253), regex(pattern = OBJECT_NAME))]
    pub name: String,
}

/// An object of a known kind in the namespace of the object that names it.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct LocalRef {
    /// Name of the object, in the namespace of this object.
    #[schemars(length(min = 1, max = 253), regex(pattern = OBJECT_NAME))]
    pub name: String,
}

/// A KakaoCloud parameter group, by exactly one of its ID and its name.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = kube::core::Rule::new("has(self.id) != has(self.name)").message("set exactly one of id and name"))]
pub struct KakaoParameterGroup {
    /// KakaoCloud region, such as kr-central-2.
    #[serde(default = "default_kakao_region")]
    #[schemars(length(min = 1, max = 32), regex(pattern = r"^[a-z]{2}-[a-z]+-[0-9]+$"))]
    pub region: String,
    /// ID of the parameter group (parameterGroupId in the KakaoCloud API).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 128), regex(pattern = r"^[A-Za-z0-9][A-Za-z0-9._-]*$"))]
    pub id: Option<String>,
    /// Name of the parameter group (parameterGroupName in the KakaoCloud API).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 255), regex(pattern = PRINTABLE))]
    pub name: Option<String>,
    /// Secret that holds the KakaoCloud credential.
    pub credentials_secret_ref: SecretRef,
}

/// serde default of every KakaoCloud `region` field.
pub fn default_kakao_region() -> String {
    DEFAULT_KAKAO_REGION.to_owned()
}

/// Schema of a Go-style duration such as `90s` or `1h30m`; ranges are CEL rules on the fields.
pub fn duration_schema(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "string",
        "maxLength": 32,
        "pattern": r"^([0-9]+(\.[0-9]+)?(ms|s|m|h))+$",
    })
}

/// Schema of an RFC 3339 time.
pub fn time_schema(_: &mut SchemaGenerator) -> Schema {
    json_schema!({ "type": "string", "format": "date-time" })
}

/// Schema of an RFC 3339 time in a spec that has a transition rule; the field needs a CEL rule of its own that reads it.
///
/// It has no `format: date-time`. That format takes texts that CEL cannot read as a time (a lower-case `t`, an offset of 99
/// hours), and a rule such as `self == oldSelf`, which has CEL read the whole spec, then refuses every later write. As plain
/// text any value can be compared, also one that an older CRD let in.
pub fn time_text_schema(_: &mut SchemaGenerator) -> Schema {
    json_schema!({ "type": "string", "maxLength": 64 })
}

/// Schema of `status.conditions`: the fields of metav1.Condition, a map by type, each condition written as a whole.
pub fn conditions_schema(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "array",
        "x-kubernetes-list-type": "map",
        "x-kubernetes-list-map-keys": ["type"],
        "maxItems": 16,
        "items": {
            "type": "object",
            "x-kubernetes-map-type": "atomic",
            "description": "One aspect of the object's state.",
            "required": ["type", "status", "reason", "message", "lastTransitionTime"],
            "properties": {
                "type": {
                    "type": "string", "maxLength": 316, "minLength": 1,
                    "description": "Type of the condition, in CamelCase."
                },
                "status": {
                    "type": "string", "enum": ["True", "False", "Unknown"],
                    "description": "True, False or Unknown."
                },
                "observedGeneration": {
                    "type": "integer", "format": "int64", "minimum": 0,
                    "description": "The metadata.generation this condition was set for."
                },
                "lastTransitionTime": {
                    "type": "string", "format": "date-time",
                    "description": "When the status of the condition last changed."
                },
                "reason": {
                    "type": "string", "maxLength": 1024, "minLength": 1,
                    "pattern": "^[A-Za-z]([A-Za-z0-9_,:]*[A-Za-z0-9_])?$",
                    "description": "Why the condition has its status, one word in CamelCase, for programs."
                },
                "message": {
                    "type": "string", "maxLength": 32768,
                    "description": "The same as a sentence, for people."
                }
            }
        }
    })
}

/// Schema of a metav1.LabelSelector.
pub fn label_selector_schema(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "object",
        "x-kubernetes-map-type": "atomic",
        "properties": {
            "matchLabels": {
                "type": "object", "maxProperties": 16,
                "description": "Labels that must all be present with exactly these values.",
                "additionalProperties": { "type": "string", "maxLength": 63 }
            },
            "matchExpressions": {
                "type": "array", "maxItems": 16, "x-kubernetes-list-type": "atomic",
                "description": "Requirements on labels, which must all hold.",
                "items": {
                    "type": "object",
                    "description": "A requirement on one label.",
                    "required": ["key", "operator"],
                    "properties": {
                        "key": { "type": "string", "maxLength": 317, "description": "The label's key." },
                        "operator": {
                            "type": "string", "enum": ["In", "NotIn", "Exists", "DoesNotExist"],
                            "description": "How the label relates to the values."
                        },
                        "values": {
                            "type": "array", "maxItems": 16, "x-kubernetes-list-type": "atomic",
                            "items": { "type": "string", "maxLength": 63 },
                            "description": "The values: one or more with In and NotIn, none otherwise."
                        }
                    }
                }
            }
        }
    })
}

/// The part of a status that all three kinds have.
pub trait CommonStatus {
    /// The conditions as last reported.
    fn conditions(&self) -> &[Condition];
}

/// `metadata.generation`, 0 for an object that was never stored.
pub fn generation<K: kube::Resource>(object: &K) -> i64 {
    object.meta().generation.unwrap_or_default()
}

/// A time cut to whole seconds, the precision at which Kubernetes stores it, so that a stored value equals a fresh one.
pub fn whole_seconds(time: jiff::Timestamp) -> Time {
    Time(jiff::Timestamp::from_second(time.as_second()).unwrap_or(time))
}

/// A label selector ready to match; `Err` is a sentence (an operator without values, say).
pub fn selector(selector: &LabelSelector) -> Result<kube::core::Selector, String> {
    selector.clone().try_into().map_err(|error| format!("clusterSelector cannot be used: {error}"))
}
