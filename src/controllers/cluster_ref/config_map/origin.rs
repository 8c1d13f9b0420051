//! Which object a ConfigMap was made for, from its metadata alone.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference};

use crate::api::{FIELD_MANAGER, GROUP};

/// Label of every ConfigMap the operator makes; its value is [`FIELD_MANAGER`].
pub(super) const MANAGED_BY: &str = "app.kubernetes.io/managed-by";
/// Annotation that names the RedisClusterRef a ConfigMap was made for. Backups keep it where they drop owner references.
pub(super) const MADE_FOR: &str = "managedredis.dev/cluster-ref";

/// Where a ConfigMap comes from, seen from a reference.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Origin {
    /// The reference owns it, and its marks are as the operator writes them.
    Own,
    /// It was made for the reference, but its metadata has to be written: it comes from an earlier reference of the same name (a
    /// backup, a reference that was deleted and created again), or from a version of the operator without these marks.
    Returned,
    /// It belongs to another object, or the operator did not make it.
    Foreign,
}

impl Origin {
    /// Where the ConfigMap `found` comes from, seen from the reference `of` of the same namespace.
    ///
    /// An owner of the reference's kind and name with another UID is an earlier reference: a namespace has one object of a kind
    /// and name at a time. Without any controlling owner, label and annotation decide. Whoever can write both into a ConfigMap
    /// can write the ConfigMap, so a forgery gains nothing.
    pub(super) fn of(found: &ObjectMeta, of: &ObjectMeta) -> Self {
        let controller = found.owner_references.iter().flatten().find(|owner| owner.controller == Some(true));
        match controller {
            Some(owner) if Some(&owner.uid) == of.uid.as_ref() && is_marked(found, of) => Self::Own,
            Some(owner) if Some(&owner.uid) == of.uid.as_ref() => Self::Returned,
            Some(owner) if is_earlier(owner, of) => Self::Returned,
            None if is_marked(found, of) => Self::Returned,
            Some(_) | None => Self::Foreign,
        }
    }
}

/// The owners that a ConfigMap keeps beside the reference: those that neither control it nor are an earlier reference.
pub(super) fn other_owners(found: &ObjectMeta, of: &ObjectMeta) -> Vec<OwnerReference> {
    let owners = found.owner_references.iter().flatten();
    let is_other = |owner: &&OwnerReference| {
        owner.controller != Some(true) && Some(&owner.uid) != of.uid.as_ref() && !is_earlier(owner, of)
    };
    owners.filter(is_other).cloned().collect()
}

fn is_earlier(owner: &OwnerReference, of: &ObjectMeta) -> bool {
    let group = owner.api_version.split_once('/').map(|(group, _)| group);
    group == Some(GROUP) && owner.kind == "RedisClusterRef" && Some(&owner.name) == of.name.as_ref()
}

fn is_marked(found: &ObjectMeta, of: &ObjectMeta) -> bool {
    let label = found.labels.as_ref().and_then(|labels| labels.get(MANAGED_BY));
    let made_for = found.annotations.as_ref().and_then(|annotations| annotations.get(MADE_FOR));
    label.is_some_and(|label| label == FIELD_MANAGER) && made_for.is_some() && made_for == of.name.as_ref()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn owner(kind: &str, name: &str, uid: &str, controller: bool) -> OwnerReference {
        OwnerReference {
            api_version: if kind == "Deployment" { "apps/v1" } else { "managedredis.dev/v1alpha1" }.to_owned(),
            kind: kind.to_owned(),
            name: name.to_owned(),
            uid: uid.to_owned(),
            controller: controller.then_some(true),
            block_owner_deletion: None,
        }
    }

    fn map(owners: Vec<OwnerReference>, made_for: Option<&str>) -> ObjectMeta {
        let entry = |key: &str, value: &str| std::collections::BTreeMap::from([(key.to_owned(), value.to_owned())]);
        ObjectMeta {
            owner_references: Some(owners),
            labels: made_for.map(|_| entry(MANAGED_BY, FIELD_MANAGER)),
            annotations: made_for.map(|name| entry(MADE_FOR, name)),
            ..ObjectMeta::default()
        }
    }

    fn carts() -> ObjectMeta {
        ObjectMeta { name: Some("carts".to_owned()), uid: Some("now".to_owned()), ..ObjectMeta::default() }
    }

    #[test]
    fn every_kind_of_map() {
        let own = || owner("RedisClusterRef", "carts", "now", true);
        let earlier = || owner("RedisClusterRef", "carts", "before", true);
        let (foreign, returned) = (Origin::Foreign, Origin::Returned);
        for (case, found, origin) in [
            ("its own", map(vec![own()], Some("carts")), Origin::Own),
            ("its own, not marked", map(vec![own()], None), returned),
            ("its own, marked for another", map(vec![own()], Some("orders")), returned),
            ("of an earlier life", map(vec![earlier()], Some("carts")), returned),
            ("of an earlier life, not marked", map(vec![earlier()], None), returned),
            ("owners dropped", map(vec![], Some("carts")), returned),
            ("owners dropped, not marked", map(vec![], None), foreign),
            ("owners dropped, of another", map(vec![], Some("orders")), foreign),
            ("of another", map(vec![owner("RedisClusterRef", "orders", "x", true)], Some("orders")), foreign),
            (
                "of another, though marked",
                map(vec![owner("RedisClusterRef", "orders", "x", true)], Some("carts")),
                foreign,
            ),
            ("of another kind", map(vec![owner("Deployment", "carts", "x", true)], None), foreign),
            (
                "of another kind, though marked",
                map(vec![owner("Deployment", "carts", "x", true)], Some("carts")),
                foreign,
            ),
            ("owned, not controlled", map(vec![owner("RedisClusterRef", "carts", "now", false)], None), foreign),
            ("by hand", ObjectMeta::default(), foreign),
        ] {
            assert_eq!(Origin::of(&found, &carts()), origin, "{case}");
        }
        let nameless = ObjectMeta::default();
        assert_eq!(Origin::of(&map(vec![], None), &nameless), foreign);
    }

    #[test]
    fn owners_that_stay() {
        let guest = owner("Deployment", "shop", "d", false);
        let owners = vec![owner("RedisClusterRef", "carts", "before", true), guest.clone()];
        assert_eq!(other_owners(&map(owners, None), &carts()), [guest]);
        let owners = vec![owner("RedisClusterRef", "carts", "now", false)];
        assert_eq!(other_owners(&map(owners, None), &carts()), []);
    }
}
