//! What one connection last saw, and what a want makes of it. Values only: the poller fills it, controllers read it.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;

use super::picture::Picture;
use crate::api::cluster_ref::{EngineStatus, FlavorStatus};
use crate::cloud::CloudError;
use crate::cloud::normalise::newest_version;

/// What an object wants to see of a connection.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Want {
    /// The cluster or instance of this ID.
    Id(String),
    /// The only cluster or instance of this name; `last_id` is the ID it had when it was last seen.
    Name {
        /// The name.
        name: String,
        /// Where absence is confirmed: the one cluster to read when the list lacks the name.
        last_id: Option<String>,
    },
    /// All clusters of a parameter group.
    Group {
        /// The group's ID, if that is what is known.
        id: Option<String>,
        /// The group's name otherwise.
        name: Option<String>,
    },
}

/// One cluster as it was last seen.
#[derive(Clone, Debug)]
pub struct Found {
    /// What was seen.
    pub picture: Arc<Picture>,
    /// When the list, or the single read, that showed it began.
    pub read_at: Timestamp,
    /// When what is said of the parameter group was read; none while it is not known yet.
    pub parameters_read_at: Option<Timestamp>,
}

impl PartialEq for Found {
    /// Equal when the same was seen, whenever that was.
    fn eq(&self, other: &Self) -> bool {
        self.parameters_read_at.is_some() == other.parameters_read_at.is_some()
            && (Arc::ptr_eq(&self.picture, &other.picture) || self.picture == other.picture)
    }
}

impl Want {
    /// Whether both ask for the same, whatever is known of it already.
    pub fn is_for_the_same_as(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Name { name, .. }, Self::Name { name: other, .. }) => name == other,
            _ => self == other,
        }
    }
}

/// What is known of a want.
#[derive(Clone, Debug, PartialEq)]
pub enum Sight {
    /// Nothing yet, or nothing that can be relied on (an absence that was not confirmed).
    NotYet,
    /// It is there.
    Found(Found),
    /// The clusters of a group; empty if the cloud lists none.
    Members(Vec<Found>),
    /// Several have the name: their IDs.
    Ambiguous(Vec<String>),
    /// It is not there: a whole list lacks it, and reading that one cluster confirmed it.
    Absent,
}

impl Sight {
    /// Whether it says that there is nothing (or not one thing) to be had, which a newer list may contradict.
    fn is_refusal(&self) -> bool {
        match self {
            Self::Absent | Self::Ambiguous(_) => true,
            Self::Members(members) => members.is_empty(),
            Self::NotYet | Self::Found(_) => false,
        }
    }
}

/// What a subscriber is told.
#[derive(Clone, Debug, PartialEq)]
pub struct Observation {
    /// What is known of the want.
    pub sight: Sight,
    /// Why the last talk about it failed, if it did.
    pub problem: Option<CloudError>,
    /// What the cloud offers for the engine version seen.
    pub engine: Option<EngineStatus>,
    /// Whether the forced read that was asked for has been made.
    pub forced_read_done: bool,
}

#[derive(Debug, Default)]
struct List {
    at: Timestamp,
    by_id: HashMap<String, Arc<Picture>>,
    by_name: HashMap<String, Vec<String>>,
}

/// One cluster read by itself.
#[derive(Clone, Debug)]
pub struct Read {
    /// When the read began.
    pub at: Timestamp,
    /// The number of the poll it belongs to.
    pub round: u64,
    /// What came of it; none when the cloud does not have the cluster.
    pub outcome: Result<Option<Arc<Picture>>, CloudError>,
    /// What the list said of the cluster at that time: another word there makes the read due again.
    listed: Option<Arc<Picture>>,
}

/// The slow-moving offers of a cloud.
#[derive(Clone, Debug, Default)]
pub struct Catalog {
    /// Engine versions offered.
    pub versions: Option<Vec<String>>,
    /// Flavors by ID.
    pub flavors: Option<HashMap<String, FlavorStatus>>,
}

/// What one connection last saw.
#[derive(Debug, Default)]
pub struct Snapshot {
    /// Number of lists begun so far; the first is 1.
    round: u64,
    /// The round of the last list that came to an end, good or bad.
    ended_round: u64,
    list: Option<List>,
    /// The round of the last good list.
    list_round: u64,
    reads: HashMap<String, Read>,
    problem: Option<CloudError>,
    catalog: Catalog,
}

impl Snapshot {
    /// Number of lists begun so far.
    pub fn round(&self) -> u64 {
        self.round
    }

    /// A list begins.
    pub fn begin_list(&mut self) {
        self.round += 1;
    }

    /// Takes in a whole list that was begun at `at`. Pictures that did not change stay the very same.
    pub fn listed(&mut self, at: Timestamp, pictures: Vec<Picture>) {
        let old = self.list.take().unwrap_or_default();
        let mut list = List { at, ..List::default() };
        for picture in pictures {
            let Some(id) = picture.cluster.id.clone() else { continue };
            let picture = match old.by_id.get(&id) {
                Some(same) if **same == picture => Arc::clone(same),
                _ => Arc::new(picture),
            };
            list.by_id.insert(id, picture);
        }
        // From the map, not from the list: a list that comes in pages can show one cluster twice.
        for (id, picture) in &list.by_id {
            if let Some(name) = &picture.cluster.name {
                list.by_name.entry(name.clone()).or_default().push(id.clone());
            }
        }
        self.list = Some(list);
        self.list_round = self.round;
        self.ended_round = self.round;
        self.problem = None;
    }

    /// The list failed; what was seen before stays.
    pub fn failed(&mut self, problem: CloudError) {
        self.ended_round = self.round;
        self.problem = Some(problem);
    }

    /// Takes in what came of reading one cluster by itself.
    pub fn read(&mut self, id: &str, at: Timestamp, outcome: Result<Option<Picture>, CloudError>) {
        let listed = self.list.as_ref().and_then(|list| list.by_id.get(id)).cloned();
        let outcome = match (outcome, self.reads.remove(id)) {
            // A read that failed leaves the parameter group that was read before in place.
            (Err(_), Some(Read { outcome: Ok(Some(known)), at, .. })) if listed.is_some() => {
                self.reads.insert(id.to_owned(), Read { at, round: self.round, outcome: Ok(Some(known)), listed });
                return;
            }
            (outcome, _) => outcome.map(|found| found.map(Arc::new)),
        };
        self.reads.insert(id.to_owned(), Read { at, round: self.round, outcome, listed });
    }

    /// Takes in the catalog; parts that failed keep what was known.
    pub fn offered(&mut self, catalog: Catalog) {
        self.catalog.versions = catalog.versions.or(self.catalog.versions.take());
        self.catalog.flavors = catalog.flavors.or(self.catalog.flavors.take());
    }

    /// Drops single reads that nobody wants any more.
    pub fn retain_reads(&mut self, wanted: impl Fn(&str) -> bool) {
        self.reads.retain(|id, _| wanted(id));
    }

    /// When the last good list began.
    pub fn listed_at(&self) -> Option<Timestamp> {
        self.list.as_ref().map(|list| list.at)
    }

    /// The IDs of all listed clusters.
    pub fn listed_ids(&self) -> HashSet<String> {
        self.list.iter().flat_map(|list| list.by_id.keys().cloned()).collect()
    }

    /// When a cluster was last read by itself.
    pub fn read_at(&self, id: &str) -> Option<Timestamp> {
        self.reads.get(id).map(|read| read.at)
    }

    /// The states of all listed clusters.
    pub fn states(&self) -> impl Iterator<Item = &str> {
        self.list
            .iter()
            .flat_map(|list| list.by_id.values())
            .map(|picture| picture.state.as_deref().unwrap_or("unknown"))
    }

    /// Whether what was last seen refuses a want, so that somebody who asks for the first time deserves a newer list.
    pub fn refuses(&self, want: &Want) -> bool {
        self.sight(want).is_refusal()
    }

    /// What is known of a want. `ticket` is the round that a forced read has to reach, 0 if none was asked for; a list older
    /// than round `since` cannot refuse.
    pub fn observe(&self, want: &Want, ticket: u64, since: u64) -> Observation {
        let mut sight = self.sight(want);
        if self.list_round < since && sight.is_refusal() {
            sight = Sight::NotYet;
        }
        let engine = match &sight {
            Sight::Found(found) => self.engine(&found.picture),
            _ => None,
        };
        let read_problem = match (&sight, self.lone_id(want).and_then(|id| self.reads.get(id))) {
            (Sight::NotYet, Some(Read { outcome: Err(problem), .. })) => Some(problem.clone()),
            _ => None,
        };
        let forced_read_done = ticket == 0
            || (self.ended_round >= ticket && self.reads_due(want, Duration::MAX, ticket, Timestamp::MAX).is_empty());
        Observation { sight, problem: self.problem.clone().or(read_problem), engine, forced_read_done }
    }

    /// The clusters that have to be read by themselves for this want, because the list lacks them or lacks a part.
    ///
    /// Due are those never read, read longer than `interval` ago, changed in the list since, or forced by `ticket`.
    pub fn reads_due(&self, want: &Want, interval: Duration, ticket: u64, now: Timestamp) -> Vec<String> {
        let Some(list) = &self.list else { return Vec::new() };
        if self.problem.is_some() && self.list_round < self.round {
            return Vec::new();
        }
        let candidates: Vec<&str> = match want {
            Want::Group { .. } => list.by_id.iter().filter(|(_, p)| !p.complete).map(|(id, _)| id.as_str()).collect(),
            Want::Id(_) | Want::Name { .. } => self.lone_id(want).into_iter().collect(),
        };
        let due = |id: &&str| {
            let listed = list.by_id.get(*id);
            if listed.is_some_and(|picture| picture.complete) {
                return false;
            }
            let Some(read) = self.reads.get(*id) else { return true };
            // An absence or a failure is looked at again with every list.
            let settled = listed.is_some() && read.outcome.is_ok();
            let changed = match (listed, &read.listed) {
                (Some(now), Some(then)) => !Arc::ptr_eq(now, then),
                (now, then) => now.is_some() != then.is_some(),
            };
            let age = now.duration_since(read.at).unsigned_abs();
            read.round < ticket || changed || (!settled && read.round < self.list_round) || (settled && age >= interval)
        };
        candidates.into_iter().filter(due).map(str::to_owned).collect()
    }

    /// Whether news of one cluster can change what is known of a want.
    pub fn concerns(&self, want: &Want, id: &str) -> bool {
        matches!(want, Want::Group { .. }) || self.lone_id(want) == Some(id)
    }

    /// The one ID a want is about, as far as it is known.
    fn lone_id<'a>(&'a self, want: &'a Want) -> Option<&'a str> {
        match want {
            Want::Id(id) => Some(id),
            Want::Name { name, last_id } => match self.list.as_ref()?.by_name.get(name).map(Vec::as_slice) {
                None | Some([]) => last_id.as_deref(),
                Some([only]) => Some(only),
                Some(_) => None,
            },
            Want::Group { .. } => None,
        }
    }

    fn sight(&self, want: &Want) -> Sight {
        let Some(list) = &self.list else { return Sight::NotYet };
        match want {
            Want::Id(id) => self.sight_of(list, id, None),
            Want::Name { name, last_id } => match list.by_name.get(name).map(Vec::as_slice) {
                Some([only]) => self.sight_of(list, only, None),
                Some(several) if several.len() > 1 => {
                    let mut ids = several.to_vec();
                    ids.sort();
                    Sight::Ambiguous(ids)
                }
                _ => last_id.as_ref().map_or(Sight::Absent, |id| self.sight_of(list, id, Some(name))),
            },
            Want::Group { id, name } => {
                let is_member = |found: &Found| {
                    let group = found.picture.cluster.parameter_group.as_ref();
                    group.is_some_and(|group| match (id, name) {
                        (Some(id), _) => group.id.as_ref() == Some(id),
                        (None, name) => name.is_some() && group.name == *name,
                    })
                };
                let mut members: Vec<Found> =
                    list.by_id.iter().map(|(id, picture)| self.merged(list, id, picture)).filter(is_member).collect();
                members.sort_by(|a, b| a.picture.cluster.id.cmp(&b.picture.cluster.id));
                Sight::Members(members)
            }
        }
    }

    /// One cluster by ID; `named` is the name it must still have.
    fn sight_of(&self, list: &List, id: &str, named: Option<&str>) -> Sight {
        if let Some(picture) = list.by_id.get(id) {
            if named.is_some() && picture.cluster.name.as_deref() != named {
                return Sight::Absent;
            }
            return Sight::Found(self.merged(list, id, picture));
        }
        match self.reads.get(id) {
            Some(Read { outcome: Ok(Some(picture)), at, .. }) => {
                if named.is_some() && picture.cluster.name.as_deref() != named {
                    return Sight::Absent;
                }
                let picture = self.with_flavor(picture);
                Sight::Found(Found { picture, read_at: *at, parameters_read_at: Some(*at) })
            }
            Some(Read { outcome: Ok(None), .. }) => Sight::Absent,
            Some(Read { outcome: Err(_), .. }) | None => Sight::NotYet,
        }
    }

    /// The listed picture with what a single read adds to it.
    fn merged(&self, list: &List, id: &str, listed: &Arc<Picture>) -> Found {
        let found = |picture: &Arc<Picture>, parameters_read_at| Found {
            picture: self.with_flavor(picture),
            read_at: list.at,
            parameters_read_at,
        };
        if listed.complete {
            return found(listed, Some(list.at));
        }
        match self.reads.get(id) {
            Some(Read { outcome: Ok(Some(detail)), at, .. }) => {
                if detail.cluster.parameter_group.is_none() {
                    return found(listed, Some(*at));
                }
                let mut picture = Picture::clone(listed);
                picture.cluster.parameter_group.clone_from(&detail.cluster.parameter_group);
                found(&Arc::new(picture), Some(*at))
            }
            _ => found(listed, None),
        }
    }

    fn with_flavor(&self, picture: &Arc<Picture>) -> Arc<Picture> {
        let known = picture.cluster.flavor.as_ref().and_then(|flavor| {
            let known = self.catalog.flavors.as_ref()?.get(flavor.id.as_ref()?)?;
            Some((flavor, known))
        });
        let Some((flavor, known)) = known else { return Arc::clone(picture) };
        let flavor = FlavorStatus {
            id: flavor.id.clone(),
            name: known.name.clone(),
            vcpus: known.vcpus.or(flavor.vcpus),
            memory_mib: known.memory_mib.or(flavor.memory_mib),
        };
        let mut picture = Picture::clone(picture);
        picture.cluster.flavor = Some(flavor);
        Arc::new(picture)
    }

    fn engine(&self, picture: &Picture) -> Option<EngineStatus> {
        let versions = self.catalog.versions.as_ref()?;
        let offered = picture.cluster.engine_version.as_ref().is_some_and(|version| versions.contains(version));
        Some(EngineStatus { offered, newest: newest_version(versions).map(str::to_owned) })
    }
}

#[cfg(test)]
#[path = "snapshot_tests.rs"]
mod tests;
