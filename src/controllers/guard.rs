//! Objects as they come from the API server, where one that cannot be read must not spoil the list or the watch it comes in.

use std::borrow::Cow;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::Resource;
use kube::core::PartialObjectMeta;
use serde::de::{DeserializeOwned, Error as _};
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;

/// An object, or the metadata of one that this version of the operator cannot read.
///
/// It does what kube's `DeserializeGuard` does, which makes a tree of every object and copies that before it reads it: at ten
/// thousand references that was a tenth of the operator's time. This one reads the text, and only what cannot be read a second
/// time.
#[derive(Clone, Debug)]
pub struct Guarded<K>(pub Result<K, ObjectMeta>);

impl<'de, K: Resource + DeserializeOwned> Deserialize<'de> for Guarded<K> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = Box::<RawValue>::deserialize(deserializer)?;
        if let Ok(object) = serde_json::from_str(text.get()) {
            return Ok(Self(Ok(object)));
        }
        let object: PartialObjectMeta<K> = serde_json::from_str(text.get()).map_err(D::Error::custom)?;
        Ok(Self(Err(object.metadata)))
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
