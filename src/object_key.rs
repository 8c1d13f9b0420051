//! Namespace and name of an object, the one way this program names it. A leaf.

use std::fmt;
use std::sync::Arc;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

/// Namespace and name of an object. Cheap to clone; store, queue and reconcile share one.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ObjectKey(Arc<(Box<str>, Box<str>)>);

impl ObjectKey {
    /// The key of an object.
    pub fn new(namespace: &str, name: &str) -> Self {
        Self(Arc::new((namespace.into(), name.into())))
    }

    /// The key in an object's metadata.
    pub fn of(metadata: &ObjectMeta) -> Self {
        Self::new(metadata.namespace.as_deref().unwrap_or_default(), metadata.name.as_deref().unwrap_or_default())
    }

    /// Its namespace.
    pub fn namespace(&self) -> &str {
        &self.0.0
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.0.1
    }
}

impl fmt::Display for ObjectKey {
    /// `<namespace>/<name>`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.namespace(), self.name())
    }
}

impl fmt::Debug for ObjectKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_ordered_by_namespace_and_shown_as_kubectl_shows_them() {
        let mut keys = [ObjectKey::new("shop", "a"), ObjectKey::new("bank", "b"), ObjectKey::new("bank", "a")];
        keys.sort();
        assert_eq!(keys.map(|key| key.to_string()), ["bank/a", "bank/b", "shop/a"]);
        let metadata =
            ObjectMeta { namespace: Some("shop".to_owned()), name: Some("a".to_owned()), ..ObjectMeta::default() };
        assert_eq!(ObjectKey::of(&metadata), ObjectKey::new("shop", "a"));
    }
}
