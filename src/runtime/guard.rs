//! Reads objects of the API server so that one that cannot be read does not spoil the list or the watch it is in.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, Time};
use kube::Resource;
use serde::de::value::MapDeserializer;
use serde::de::{DeserializeOwned, Error as _, IgnoredAny, MapAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;

use crate::api::{RECONCILE_REQUESTED_AT, echoed};

/// An object, or the metadata of one that this version of the operator cannot read.
///
/// Only the metadata that the operator uses is read (see [`LeanMetadata`]), so that annotations cannot fill its memory.
///
/// kube's `DeserializeGuard` does the same, but makes a tree of every object and copies it before it reads it, which was a tenth of
/// the operator's time at ten thousand references. This one reads the text once, and a second time only if the object cannot be
/// read.
#[derive(Clone, Debug)]
pub(crate) struct Guarded<K>(pub Result<K, ObjectMeta>);

impl<'de, K: Resource + DeserializeOwned> Deserialize<'de> for Guarded<K> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = Box::<RawValue>::deserialize(deserializer)?;
        let fields: BTreeMap<Cow<'_, str>, &RawValue> = serde_json::from_str(text.get()).map_err(D::Error::custom)?;
        let lean = fields.get("metadata").map(|metadata| serde_json::from_str::<LeanMetadata>(metadata.get()));
        let metadata = ObjectMeta::from(lean.transpose().map_err(D::Error::custom)?.unwrap_or_default());
        let nothing: Box<RawValue> = serde_json::from_str("{}").map_err(D::Error::custom)?;
        let rest = fields.iter().filter(|(key, _)| *key != "metadata").map(|(key, value)| (key.as_ref(), *value));
        let fields = MapDeserializer::new(rest.chain([("metadata", &*nothing)]));
        Ok(Self(match K::deserialize(fields) {
            Err(_) => Err(metadata),
            Ok(mut object) => {
                *object.meta_mut() = metadata;
                Ok(object)
            }
        }))
    }
}

/// The metadata that the operator uses. The rest, such as managedFields and annotations of others, can be a megabyte per object.
#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct LeanMetadata {
    name: Option<String>,
    namespace: Option<String>,
    uid: Option<String>,
    resource_version: Option<String>,
    generation: Option<i64>,
    creation_timestamp: Option<Time>,
    deletion_timestamp: Option<Time>,
    finalizers: Option<Vec<String>>,
    labels: Option<BTreeMap<String, String>>,
    annotations: Option<RequestedAt>,
}

impl From<LeanMetadata> for ObjectMeta {
    fn from(lean: LeanMetadata) -> Self {
        let requested = lean.annotations.and_then(|annotations| annotations.0);
        Self {
            name: lean.name,
            namespace: lean.namespace,
            uid: lean.uid,
            resource_version: lean.resource_version,
            generation: lean.generation,
            creation_timestamp: lean.creation_timestamp,
            deletion_timestamp: lean.deletion_timestamp,
            finalizers: lean.finalizers,
            labels: lean.labels,
            annotations: requested.map(|value| [(RECONCILE_REQUESTED_AT.to_owned(), value)].into()),
            ..Self::default()
        }
    }
}

/// The value of the reconcile-requested-at annotation, cut to the length that is echoed.
struct RequestedAt(Option<String>);

impl<'de> Deserialize<'de> for RequestedAt {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Annotations;
        impl<'de> Visitor<'de> for Annotations {
            type Value = RequestedAt;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a map of annotations")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<RequestedAt, A::Error> {
                let mut requested = None;
                while let Some(key) = map.next_key::<Cow<'de, str>>()? {
                    if key == RECONCILE_REQUESTED_AT {
                        let value: Cow<'de, str> = map.next_value()?;
                        requested = Some(echoed(&value).to_owned());
                    } else {
                        map.next_value::<IgnoredAny>()?;
                    }
                }
                Ok(RequestedAt(requested))
            }
        }
        deserializer.deserialize_map(Annotations)
    }
}

impl<K: Resource> Resource for Guarded<K> {
    type DynamicType = K::DynamicType;
    type Scope = K::Scope;

    fn kind(dynamic: &Self::DynamicType) -> Cow<'_, str> {
        K::kind(dynamic)
    }

    fn group(dynamic: &Self::DynamicType) -> Cow<'_, str> {
        K::group(dynamic)
    }

    fn version(dynamic: &Self::DynamicType) -> Cow<'_, str> {
        K::version(dynamic)
    }

    fn plural(dynamic: &Self::DynamicType) -> Cow<'_, str> {
        K::plural(dynamic)
    }

    fn meta(&self) -> &ObjectMeta {
        self.0.as_ref().map_or_else(|metadata| metadata, K::meta)
    }

    fn meta_mut(&mut self) -> &mut ObjectMeta {
        self.0.as_mut().map_or_else(|metadata| metadata, K::meta_mut)
    }
}

#[cfg(test)]
mod tests {
    use kube::ResourceExt as _;
    use kube::core::{ObjectList, WatchEvent};
    use serde_json::json;

    use super::*;
    use crate::api::RedisParameterSync;

    const READABLE: &str = r#"{"apiVersion":"managedredis.dev/v1alpha1","kind":"RedisParameterSync",
        "metadata":{"name":"good","resourceVersion":"7"},"spec":{"clusterRef":{"name":"a"}}}"#;
    const UNREADABLE: &str = r#"{"apiVersion":"managedredis.dev/v1alpha1","kind":"RedisParameterSync",
        "metadata":{"name":"bad","resourceVersion":"8"},"spec":"?"}"#;

    /// As kube reads a line of a watch, which the API server writes with the type first.
    fn event(object: &str) -> serde_json::Result<WatchEvent<Guarded<RedisParameterSync>>> {
        serde_json::from_str(&format!(r#"{{"type":"MODIFIED","object":{object}}}"#))
    }

    #[test]
    fn a_watch_brings_what_can_be_read_and_what_cannot() {
        let Ok(WatchEvent::Modified(Guarded(Ok(good)))) = event(READABLE) else { panic!("not read") };
        assert_eq!((good.name_any(), good.spec.cluster_ref.unwrap().name), ("good".to_owned(), "a".to_owned()));
        let Ok(WatchEvent::Modified(bad)) = event(UNREADABLE) else { panic!("not read") };
        assert!(bad.0.is_err());
        assert_eq!((bad.name_any(), bad.resource_version()), ("bad".to_owned(), Some("8".to_owned())));
    }

    #[test]
    fn of_the_metadata_only_what_the_operator_looks_at_is_kept() {
        let object = json!({
            "apiVersion": "managedredis.dev/v1alpha1", "kind": "RedisParameterSync",
            "metadata": {
                "name": "a", "namespace": "shop", "uid": "1-2", "resourceVersion": "7", "generation": 3,
                "creationTimestamp": "2026-11-22T10:00:00Z", "deletionTimestamp": "2026-11-22T11:00:00Z",
                "labels": { "tier": "a" }, "finalizers": ["example.com/f"], "generateName": "a-",
                "annotations": {
                    "kubectl.kubernetes.io/last-applied-configuration": "x".repeat(200_000),
                    "managedredis.dev/reconcile-requested-at": "y".repeat(200_000),
                },
                "managedFields": [{ "manager": "someone" }],
                "ownerReferences": [{ "apiVersion": "v1", "kind": "ConfigMap", "name": "o", "uid": "3" }],
            },
            "spec": { "clusterRef": { "name": "a" } },
        });
        let unreadable = json!({ "metadata": object["metadata"], "spec": "?" });
        for (object, is_readable) in [(object, true), (unreadable, false)] {
            let read: Guarded<RedisParameterSync> = serde_json::from_str(&object.to_string()).unwrap();
            assert_eq!(read.0.is_ok(), is_readable);
            let metadata = serde_json::to_value(read.meta()).unwrap();
            let wanted = json!({
                "name": "a", "namespace": "shop", "uid": "1-2", "resourceVersion": "7", "generation": 3,
                "creationTimestamp": "2026-11-22T10:00:00Z", "deletionTimestamp": "2026-11-22T11:00:00Z",
                "labels": { "tier": "a" }, "finalizers": ["example.com/f"],
                "annotations": { "managedredis.dev/reconcile-requested-at": "y".repeat(256) },
            });
            assert_eq!(metadata, wanted);
        }
    }

    #[test]
    fn a_list_brings_both() {
        let list = format!(r#"{{"kind":"List","apiVersion":"v1","metadata":{{}},"items":[{UNREADABLE},{READABLE}]}}"#);
        let list: ObjectList<Guarded<RedisParameterSync>> = serde_json::from_str(&list).unwrap();
        assert_eq!(list.items.iter().map(|item| item.0.is_ok()).collect::<Vec<_>>(), [false, true]);
        assert_eq!(list.items.iter().map(kube::ResourceExt::name_any).collect::<Vec<_>>(), ["bad", "good"]);
    }

    #[test]
    fn what_is_no_object_is_an_error() {
        assert!(event("7").is_err());
        assert!(serde_json::from_value::<Guarded<RedisParameterSync>>(json!([])).is_err());
    }
}
