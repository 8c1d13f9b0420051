//! A picture as it is kept: in the fewest bytes, for there can be ten thousand of them.

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hasher as _};
use std::sync::Arc;

use super::picture::Picture;
use super::room::{Room, Taken};
use crate::api::cluster_ref::{ClusterStatus, EngineStatus, FlavorStatus, ParameterGroupStatus};
use crate::cloud::CloudError;
use crate::cloud::normalise::newest_version;
use crate::cloud::words::is_transitional;
use crate::packing;

/// The slow-moving offers of a cloud.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Catalog {
    /// Engine versions offered.
    pub versions: Option<Vec<String>>,
    /// Flavors by ID.
    pub flavors: Option<HashMap<String, FlavorStatus>>,
}

/// One Redis as a cloud described it, with what the catalog adds, packed: a fifth of what the parsed fields take.
#[derive(Debug)]
pub struct Packed {
    state: Option<Box<str>>,
    is_transitional: bool,
    /// Without the parameter group, which many have in common and which members are found by.
    cluster: Box<[u8]>,
    group: Option<Arc<ParameterGroupStatus>>,
    engine: Option<Arc<EngineStatus>>,
    _room: Taken,
}

impl PartialEq for Packed {
    /// The same fields give the same bytes: they are written in one order.
    fn eq(&self, other: &Self) -> bool {
        self.state == other.state
            && self.cluster == other.cluster
            && self.group == other.group
            && self.engine == other.engine
    }
}

impl Packed {
    /// Packs a picture. What several have in common is taken from `shared`.
    ///
    /// # Errors
    /// A picture that would not come out again as it is: so unpacking never has to make one up.
    pub fn new(mut picture: Picture, catalog: &Catalog, shared: &mut Shared) -> Result<Self, CloudError> {
        let engine = shared.engine(&picture.cluster, catalog);
        let group = picture.cluster.parameter_group.take().map(|group| shared.group(group));
        add_flavor(&mut picture.cluster, catalog);
        let packed = packing::pack(&picture.cluster).ok();
        let cluster = packed.filter(|packed| packing::unpack(packed).as_ref() == Some(&picture.cluster));
        let Some(cluster) = cluster else { return Err(picture.refused("a value in it cannot be kept")) };
        let state = picture.state.map(String::into_boxed_str);
        let is_transitional = state.as_deref().is_some_and(is_transitional);
        let _room = shared.room.take(cluster.len());
        Ok(Self { state, is_transitional, cluster, group, engine, _room })
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
        // That it comes out again was tried when it was packed.
        let mut cluster: ClusterStatus = packing::unpack(&self.cluster).unwrap_or_else(|| {
            tracing::error!("a packed picture cannot be unpacked: this is a defect of the operator; please report it");
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

/// A number that two pictures share only if a cloud said the same of both (or by a chance of one in 10^19).
pub fn digest(picture: &Picture) -> u64 {
    let mut hasher = DefaultHasher::new();
    // Text and numbers cannot fail to be written, so there always is JSON.
    hasher.write(&serde_json::to_vec(&picture.cluster).unwrap_or_default());
    hasher.write(picture.state.as_deref().unwrap_or_default().as_bytes());
    hasher.write_u8(u8::from(picture.state.is_some()) + 2 * u8::from(picture.complete));
    hasher.finish()
}

fn add_flavor(cluster: &mut ClusterStatus, catalog: &Catalog) {
    let Some(flavor) = &mut cluster.flavor else { return };
    let known = flavor.id.as_ref().and_then(|id| catalog.flavors.as_ref()?.get(id));
    let Some(known) = known else { return };
    flavor.name.clone_from(&known.name);
    flavor.vcpus = known.vcpus.or(flavor.vcpus);
    flavor.memory_mib = known.memory_mib.or(flavor.memory_mib);
}

/// What many clusters have in common, kept once.
#[derive(Debug, Default)]
pub struct Shared {
    /// What is offered for each engine version.
    engines: HashMap<Option<String>, Arc<EngineStatus>>,
    /// Parameter groups, by all that is said of them.
    groups: HashMap<[Option<String>; 3], Arc<ParameterGroupStatus>>,
    /// Where pictures are kept.
    pub(super) room: Room,
}

impl Shared {
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

    /// Drops what nobody has any more.
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
    use crate::api::shared::whole_seconds;
    use crate::cloud::{ErrorKind, Provider};

    fn picture(name: &str, state: Option<&str>) -> Picture {
        let cluster = ClusterStatus { name: Some(name.to_owned()), port: Some(6379), ..ClusterStatus::default() };
        Picture { provider: Provider::KakaoCloud, state: state.map(str::to_owned), cluster, complete: true }
    }

    #[test]
    fn what_is_packed_comes_out_again() {
        let packed = Packed::new(picture("a", Some("Modifying")), &Catalog::default(), &mut Shared::default()).unwrap();
        assert_eq!((packed.state(), packed.is_transitional()), (Some("Modifying"), true));
        assert_eq!(packed.cluster(), picture("a", None).cluster);
        assert_eq!(packed.engine(), None);
    }

    /// No API server can store such a time, and no cloud's answer gets one past the parser; but nothing is ever defaulted in silence.
    #[test]
    fn what_would_not_come_out_again_is_refused() {
        let mut before_christ = picture("a", Some("Running"));
        before_christ.cluster.created_at = Some(whole_seconds("-000044-03-15T12:00:00Z".parse().unwrap()));
        let error = Packed::new(before_christ, &Catalog::default(), &mut Shared::default()).unwrap_err();
        assert_eq!(error.kind, ErrorKind::UnexpectedResponse);
        assert!(error.message.contains("cannot be kept"), "{error}");
    }

    #[test]
    fn a_group_is_kept_once_and_as_long_as_somebody_has_it() {
        let mut shared = Shared::default();
        let group = |status: &str| ParameterGroupStatus { sync_status: Some(status.to_owned()), ..Default::default() };
        let (one, other) = (shared.group(group("In-Sync")), shared.group(group("Error-Sync")));
        assert!(Arc::ptr_eq(&one, &shared.group(group("In-Sync"))) && one != other);
        drop(other);
        shared.tidy();
        assert_eq!(shared.groups.len(), 1);
    }

    #[test]
    fn what_nobody_has_any_more_is_dropped() {
        let (mut shared, catalog) = (Shared::default(), Catalog { versions: Some(Vec::new()), flavors: None });
        for number in 0..100 {
            let mut picture = picture("a", None);
            picture.cluster.engine_version = Some(format!("7.{number}"));
            drop(Packed::new(picture, &catalog, &mut shared).unwrap());
            shared.tidy();
        }
        assert!(shared.engines.is_empty());
    }

    #[test]
    fn every_difference_is_a_difference_of_the_digest() {
        let pictures = [
            picture("a", Some("Running")),
            picture("b", Some("Running")),
            picture("a", Some("Stopped")),
            picture("a", None),
            picture("a", Some("")),
            Picture { complete: false, ..picture("a", Some("Running")) },
        ];
        let digests: std::collections::HashSet<u64> = pictures.iter().map(digest).collect();
        assert_eq!(digests.len(), pictures.len());
        assert_eq!(digest(&pictures[0]), digest(&picture("a", Some("Running"))));
    }
}
