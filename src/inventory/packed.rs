//! An instance as it is kept: in few bytes, for there can be ten thousand of them.

use std::collections::HashMap;
use std::sync::Arc;

use super::instance::Instance;
use super::memory::{MemoryLimit, MemoryShare};
use crate::api::cluster_ref::{ClusterStatus, EngineStatus, FlavorStatus, ParameterGroupStatus};
use crate::cloud::CloudError;
use crate::cloud::normalise::newest_version;
use crate::cloud::state::is_transitional;
use crate::{digest, packing};

/// What a cloud offers; it changes seldom.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Catalog {
    /// Engine versions offered.
    pub versions: Option<Vec<String>>,
    /// Flavors by ID.
    pub flavors: Option<HashMap<String, FlavorStatus>>,
}

/// One Redis as a cloud described it, with the names and sizes of the catalog. Packed it takes a fifth of the parsed fields.
#[derive(Debug)]
pub struct PackedInstance {
    state: Option<Box<str>>,
    is_transitional: bool,
    /// Without the parameter group: many instances share one, and the members of a group are found by it.
    cluster: Box<[u8]>,
    group: Option<Arc<ParameterGroupStatus>>,
    engine: Option<Arc<EngineStatus>>,
    _memory: MemoryShare,
}

impl PartialEq for PackedInstance {
    /// The same fields give the same bytes: they are written in one order.
    fn eq(&self, other: &Self) -> bool {
        self.state == other.state
            && self.cluster == other.cluster
            && self.group == other.group
            && self.engine == other.engine
    }
}

impl PackedInstance {
    /// Packs an instance. Parts that several instances share are taken from `interner`.
    ///
    /// # Errors
    /// An instance that would be another one when it is unpacked.
    pub fn new(mut instance: Instance, catalog: &Catalog, interner: &mut Interner) -> Result<Self, CloudError> {
        let engine = interner.engine(&instance.cluster, catalog);
        let group = instance.cluster.parameter_group.take().map(|group| interner.group(group));
        add_flavor(&mut instance.cluster, catalog);
        let packed = packing::pack(&instance.cluster).ok();
        let cluster = packed.filter(|packed| packing::unpack(packed).as_ref() == Some(&instance.cluster));
        let Some(cluster) = cluster else { return Err(instance.refused("a value in it cannot be kept")) };
        let state = instance.state.map(String::into_boxed_str);
        let is_transitional = state.as_deref().is_some_and(is_transitional);
        let _memory = interner.memory.take(cluster.len());
        Ok(Self { state, is_transitional, cluster, group, engine, _memory })
    }

    /// State in the provider's own word.
    pub fn state(&self) -> Option<&str> {
        self.state.as_deref()
    }

    /// Whether it is on its way to another state by itself.
    pub fn is_transitional(&self) -> bool {
        self.is_transitional
    }

    /// Everything but the state.
    pub fn cluster(&self) -> ClusterStatus {
        // Unpacking was tried when it was packed.
        let mut cluster: ClusterStatus = packing::unpack(&self.cluster).unwrap_or_else(|| {
            tracing::error!("a packed instance cannot be unpacked: this is a defect of the operator; please report it");
            ClusterStatus::default()
        });
        cluster.parameter_group = self.group.as_deref().cloned();
        cluster
    }

    /// Its parameter group.
    pub fn group(&self) -> Option<&Arc<ParameterGroupStatus>> {
        self.group.as_ref()
    }

    /// What the cloud offers for its engine.
    pub fn engine(&self) -> Option<&Arc<EngineStatus>> {
        self.engine.as_ref()
    }
}

/// A number that is the same only if a cloud described both instances in the same way (or by a chance of one in 10^19).
pub fn digest(instance: &Instance) -> u64 {
    // Text and numbers cannot fail to be written, so there always is JSON.
    let json = serde_json::to_vec(&instance.cluster).unwrap_or_default();
    digest::number((json, &instance.state, instance.complete))
}

fn add_flavor(cluster: &mut ClusterStatus, catalog: &Catalog) {
    let Some(flavor) = &mut cluster.flavor else { return };
    let known = flavor.id.as_ref().and_then(|id| catalog.flavors.as_ref()?.get(id));
    let Some(known) = known else { return };
    flavor.name.clone_from(&known.name);
    flavor.vcpus = known.vcpus.or(flavor.vcpus);
    flavor.memory_mib = known.memory_mib.or(flavor.memory_mib);
}

/// Parts that many instances share, kept once.
#[derive(Debug, Default)]
pub struct Interner {
    /// What the cloud offers for each engine version.
    engines: HashMap<Option<String>, Arc<EngineStatus>>,
    /// Parameter groups, by all their fields.
    groups: HashMap<[Option<String>; 3], Arc<ParameterGroupStatus>>,
    /// The memory for instances.
    pub(super) memory: MemoryLimit,
}

impl Interner {
    fn engine(&mut self, cluster: &ClusterStatus, catalog: &Catalog) -> Option<Arc<EngineStatus>> {
        let versions = catalog.versions.as_ref()?;
        if let Some(known) = self.engines.get(&cluster.engine_version) {
            return Some(Arc::clone(known));
        }
        let offered = cluster.engine_version.as_ref().is_some_and(|version| versions.contains(version));
        let engine = Arc::new(EngineStatus { offered, newest: newest_version(versions).map(str::to_owned) });
        self.engines.insert(cluster.engine_version.clone(), Arc::clone(&engine));
        Some(engine)
    }

    /// The group as it is kept.
    pub fn group(&mut self, group: ParameterGroupStatus) -> Arc<ParameterGroupStatus> {
        let key = [group.id.clone(), group.name.clone(), group.sync_status.clone()];
        Arc::clone(self.groups.entry(key).or_insert_with(|| Arc::new(group)))
    }

    /// Drops parts that no instance has any more.
    pub fn tidy(&mut self) {
        self.groups.retain(|_, group| Arc::strong_count(group) > 1);
        self.engines.retain(|_, engine| Arc::strong_count(engine) > 1);
    }

    /// The catalog changed.
    pub fn forget_engines(&mut self) {
        self.engines.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::Provider;
    use crate::api::shared::whole_seconds;
    use crate::cloud::ErrorKind;

    fn instance(name: &str, state: Option<&str>) -> Instance {
        let cluster = ClusterStatus { name: Some(name.to_owned()), port: Some(6379), ..ClusterStatus::default() };
        Instance { provider: Provider::KakaoCloud, state: state.map(str::to_owned), cluster, complete: true }
    }

    #[test]
    fn what_is_packed_comes_out_again() {
        let packed =
            PackedInstance::new(instance("a", Some("Modifying")), &Catalog::default(), &mut Interner::default())
                .unwrap();
        assert_eq!((packed.state(), packed.is_transitional()), (Some("Modifying"), true));
        assert_eq!(packed.cluster(), instance("a", None).cluster);
        assert_eq!(packed.engine(), None);
    }

    /// No API server can store such a time, and no cloud's answer gets one past the parser; but nothing is ever defaulted in silence.
    #[test]
    fn what_would_not_come_out_again_is_refused() {
        let mut before_christ = instance("a", Some("Running"));
        before_christ.cluster.created_at = Some(whole_seconds("-000044-03-15T12:00:00Z".parse().unwrap()));
        let error = PackedInstance::new(before_christ, &Catalog::default(), &mut Interner::default()).unwrap_err();
        assert_eq!(error.kind, ErrorKind::UnexpectedResponse);
        assert!(error.message.contains("cannot be kept"), "{error}");
    }

    #[test]
    fn a_group_is_kept_once_and_as_long_as_somebody_has_it() {
        let mut interner = Interner::default();
        let group = |status: &str| ParameterGroupStatus { sync_status: Some(status.to_owned()), ..Default::default() };
        let (one, other) = (interner.group(group("In-Sync")), interner.group(group("Error-Sync")));
        assert!(Arc::ptr_eq(&one, &interner.group(group("In-Sync"))) && one != other);
        drop(other);
        interner.tidy();
        assert_eq!(interner.groups.len(), 1);
    }

    #[test]
    fn what_nobody_has_any_more_is_dropped() {
        let (mut interner, catalog) = (Interner::default(), Catalog { versions: Some(Vec::new()), flavors: None });
        for number in 0..100 {
            let mut instance = instance("a", None);
            instance.cluster.engine_version = Some(format!("7.{number}"));
            drop(PackedInstance::new(instance, &catalog, &mut interner).unwrap());
            interner.tidy();
        }
        assert!(interner.engines.is_empty());
    }

    #[test]
    fn every_difference_is_a_difference_of_the_digest() {
        let instances = [
            instance("a", Some("Running")),
            instance("b", Some("Running")),
            instance("a", Some("Stopped")),
            instance("a", None),
            instance("a", Some("")),
            Instance { complete: false, ..instance("a", Some("Running")) },
        ];
        let digests: std::collections::HashSet<u64> = instances.iter().map(digest).collect();
        assert_eq!(digests.len(), instances.len());
        assert_eq!(digest(&instances[0]), digest(&instance("a", Some("Running"))));
    }
}
