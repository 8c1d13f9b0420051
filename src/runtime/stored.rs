//! One object of a kind, as the store keeps it.

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::Resource;
use kube::core::NamespaceResourceScope;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tracing::debug;

use super::guard::Guarded;
use crate::packing;

/// A kind that is watched.
pub trait Watched:
    Resource<DynamicType = (), Scope = NamespaceResourceScope>
    + Clone
    + Serialize
    + DeserializeOwned
    + Send
    + Sync
    + 'static
{
    /// Whether its objects are kept packed, which takes a fifth of the memory and some microseconds per read. For kinds with
    /// thousands of objects of which few are read at a time.
    const PACKED: bool = false;

    /// Whether the operator writes finalizers of the kind, for which it has to know those of other controllers.
    const FINALIZERS: bool = false;

    /// Whether a person waits for this version of the object to be reconciled. Otherwise it may be an echo of what the operator wrote.
    fn is_awaited(&self) -> bool {
        true
    }
}

/// The object exists, but this version of the operator cannot read it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UnreadableObject;

/// Objects with more bytes of labels lose them here, and no selector selects them. The API server bounds the length of labels, not
/// their number.
const MOST_LABEL_BYTES: usize = 16 * 1024;

/// One object as it is kept, with the metadata that [`Guarded`] leaves.
#[derive(Debug)]
pub(super) enum StoredObject<K> {
    Plain(Arc<K>, Selectable),
    Packed { bytes: Box<[u8]>, selectable: Selectable },
    Unreadable { version: Option<String> },
}

/// What decides which objects a selector selects, and which of them are the oldest.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Selectable {
    pub(super) created: Timestamp,
    /// None if there are too many.
    labels: Option<BTreeMap<String, String>>,
}

impl Selectable {
    /// Takes the labels out of the metadata if there are too many.
    fn of(metadata: &mut ObjectMeta) -> Self {
        let created = metadata.creation_timestamp.as_ref().map_or(Timestamp::MAX, |time| time.0);
        let labels = metadata.labels.take_if(|labels| bytes_of(labels) > MOST_LABEL_BYTES);
        if let Some(labels) = labels {
            let bytes = bytes_of(&labels);
            debug!(
                namespace = metadata.namespace,
                name = metadata.name,
                bytes,
                "too many labels; no selector selects it"
            );
            return Self { created, labels: None };
        }
        Self { created, labels: Some(metadata.labels.clone().unwrap_or_default()) }
    }

    pub(super) fn is_selected(&self, matches: impl Fn(&BTreeMap<String, String>) -> bool) -> bool {
        self.labels.as_ref().is_some_and(matches)
    }
}

fn bytes_of(labels: &BTreeMap<String, String>) -> usize {
    labels.iter().map(|(key, value)| key.len() + value.len()).sum()
}

impl<K: Watched> StoredObject<K> {
    pub(super) fn new(object: Guarded<K>) -> Self {
        let mut object = match object.0 {
            Err(metadata) => return Self::Unreadable { version: metadata.resource_version },
            Ok(object) => object,
        };
        if !K::FINALIZERS {
            object.meta_mut().finalizers = None;
        }
        let selectable = Selectable::of(object.meta_mut());
        // An object that was just read from JSON can be written as JSON. If ever not, it is kept unpacked.
        match K::PACKED.then(|| packing::pack(&object).ok()).flatten() {
            None => Self::Plain(Arc::new(object), selectable),
            Some(bytes) => Self::Packed { bytes, selectable },
        }
    }

    pub(super) fn get(&self) -> Result<Arc<K>, UnreadableObject> {
        match self {
            Self::Plain(object, _) => Ok(Arc::clone(object)),
            Self::Packed { bytes, .. } => packing::unpack(bytes).map(Arc::new).ok_or(UnreadableObject),
            Self::Unreadable { .. } => Err(UnreadableObject),
        }
    }

    /// None of an object that cannot be read: no selector selects it.
    pub(super) fn selectable(&self) -> Option<&Selectable> {
        match self {
            Self::Plain(_, selectable) | Self::Packed { selectable, .. } => Some(selectable),
            Self::Unreadable { .. } => None,
        }
    }

    /// Whether both are the same version of the object.
    pub(super) fn is_same(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Plain(one, _), Self::Plain(other, _)) => is_same_object(one.as_ref(), other.as_ref()),
            // The version is a part of it.
            (Self::Packed { bytes: one, .. }, Self::Packed { bytes: other, .. }) => one == other,
            (Self::Unreadable { version: one }, Self::Unreadable { version: other }) => one == other,
            _ => false,
        }
    }
}

/// Equal versions are not enough: after a restore of etcd a version can be given a second time.
fn is_same_object<K: Watched>(one: &K, other: &K) -> bool {
    let bytes = |object: &K| serde_json::to_vec(object).ok();
    one.meta().resource_version == other.meta().resource_version
        && one.meta().uid == other.meta().uid
        && bytes(one) == bytes(other)
}
