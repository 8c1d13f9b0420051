//! What one connection last saw, and what a want makes of it. Values only: the poller fills it, controllers read it.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;

pub use super::list::Listed;
use super::list::{Entry, List};
use super::packed::{Catalog, Packed, Shared, digest};
use super::picture::Picture;
use super::sight::{Found, Observation, Sight, Want};
use crate::api::cluster_ref::ParameterGroupStatus;
use crate::cloud::{CloudError, Row, Unreadable};

/// A single read under way: what it was based on.
#[derive(Clone, Copy, Debug)]
pub struct Begun {
    at: Timestamp,
    round: u64,
    listed: Option<u64>,
}

/// One cluster read by itself.
#[derive(Clone, Debug)]
struct Read {
    /// When the read that had this outcome began.
    at: Timestamp,
    /// The round in which the last read began.
    round: u64,
    outcome: Outcome,
    /// What the list said of the cluster when the read began: another word there makes the read due again.
    listed: Option<u64>,
}

/// What came of a single read.
#[derive(Clone, Debug)]
enum Outcome {
    /// Of a listed cluster only the parameter group is of interest.
    Group(Option<Arc<ParameterGroupStatus>>),
    /// Of one that is not listed, everything is.
    Whole(Arc<Packed>),
    /// The cloud does not have the cluster.
    Gone,
    Failed(Arc<CloudError>),
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
    reads: HashMap<Arc<str>, Read>,
    /// Why the last list failed, as it is told.
    problem: Option<Arc<CloudError>>,
    /// The last failure, while its sentence differs from the one that is told.
    unsaid: Option<CloudError>,
    catalog: Catalog,
    shared: Shared,
    /// Counts the changes of the catalog.
    catalog_version: u64,
    /// The version that was known when the list under way was begun, and the one the last good list was packed with.
    begun_with: u64,
    packed_with: u64,
}

/// A cluster to which nobody can refer, for the cloud names no ID that can be one.
fn unidentified(picture: Picture) -> Listed {
    let error = picture.refused("its ID is not there");
    Listed::Unreadable(Box::new(Unreadable { id: None, name: picture.cluster.name, error: Arc::new(error) }))
}

impl Snapshot {
    /// Number of lists begun so far.
    pub fn round(&self) -> u64 {
        self.round
    }

    /// A list begins.
    pub fn begin_list(&mut self) {
        self.round += 1;
        self.begun_with = self.catalog_version;
    }

    /// Compares one cluster of a list that is being read with the list before. What did not change is dropped at once, so that
    /// a list takes no memory beside the one before.
    pub fn recognise(&mut self, row: Row<Picture>) -> Listed {
        let mut picture = match row {
            Row::Read(picture) => picture,
            Row::Unreadable(unreadable) => return Listed::Unreadable(Box::new(unreadable)),
        };
        let Some(id) = picture.cluster.id.as_deref() else { return unidentified(picture) };
        let digest = digest(&picture);
        let known = self.list.as_ref().and_then(|list| list.by_id.get_key_value(id));
        if let Some((id, known)) = known
            && known.digest == digest
            && self.packed_with == self.begun_with
        {
            return Listed::Same(Arc::clone(id));
        }
        let id: Arc<str> = known.map_or_else(|| id.into(), |(id, _)| Arc::clone(id));
        let name = picture.cluster.name.as_deref().map(Arc::from);
        if !self.shared.room.is_left() {
            return Listed::Unkept(id, name);
        }
        let complete = picture.complete;
        picture.cluster.nodes.shrink_to_fit();
        match Packed::new(picture, &self.catalog, &mut self.shared) {
            Ok(picture) => Listed::New(id, Box::new(Entry { digest, complete, name, picture: Arc::new(picture) })),
            Err(error) => Listed::Unreadable(Box::new(Unreadable {
                id: Some(id.to_string()),
                name: name.map(|name| name.to_string()),
                error: Arc::new(error),
            })),
        }
    }

    /// Takes in a whole list that was begun at `at`, each cluster as [`Snapshot::recognise`] left it. Pictures that did not
    /// change stay the very same.
    pub fn listed(&mut self, at: Timestamp, clusters: Vec<Listed>) {
        let old = self.list.take().unwrap_or_default();
        self.list = Some(List::replacing(old, at, clusters));
        self.list_round = self.round;
        self.ended_round = self.round;
        (self.problem, self.unsaid) = (None, None);
        self.shared.tidy();
        self.packed_with = self.begun_with;
    }

    /// The list failed; what was seen before stays.
    ///
    /// What says the same as the failure before is no news. Another sentence for a failure of the same kind is, once it was said
    /// twice in a row or somebody asked: faults that alternate would otherwise have every status of the connection rewritten
    /// with each list.
    pub fn failed(&mut self, problem: CloudError, was_asked: bool) {
        self.ended_round = self.round;
        let told = self.problem.as_ref().filter(|told| told.is_like(&problem));
        let is_news = match told {
            None => true,
            Some(told) if told.says_the_same_as(&problem) => false,
            Some(_) => was_asked || self.unsaid.as_ref().is_some_and(|unsaid| unsaid.says_the_same_as(&problem)),
        };
        if is_news {
            (self.problem, self.unsaid) = (Some(Arc::new(problem)), None);
        } else {
            let says_more = told.is_some_and(|told| !told.says_the_same_as(&problem));
            self.unsaid = says_more.then_some(problem);
        }
    }

    /// Whether the last list failed.
    pub fn is_failing(&self) -> bool {
        self.problem.is_some()
    }

    /// A single read begins at `at`.
    pub fn begin_read(&self, id: &str, at: Timestamp) -> Begun {
        let listed = self.list.as_ref().and_then(|list| list.by_id.get(id)).map(|entry| entry.digest);
        Begun { at, round: self.round, listed }
    }

    /// Takes in what came of reading one cluster by itself.
    pub fn read(&mut self, id: &str, begun: Begun, outcome: Result<Option<Picture>, CloudError>) {
        let Begun { at, round, listed } = begun;
        let is_listed = self.list.as_ref().is_some_and(|list| list.by_id.contains_key(id));
        let before = self.reads.remove(id);
        let outcome = match (outcome, &before) {
            // A read that failed leaves the parameter group that was read before in place.
            (Err(_), Some(Read { outcome: known @ Outcome::Group(_), at, .. })) if is_listed => {
                let read = Read { at: *at, round, outcome: known.clone(), listed };
                self.reads.insert(id.into(), read);
                return;
            }
            (Err(error), Some(Read { outcome: Outcome::Failed(told), .. })) if told.says_the_same_as(&error) => {
                Outcome::Failed(Arc::clone(told))
            }
            (Err(error), _) => Outcome::Failed(Arc::new(error)),
            (Ok(None), _) => Outcome::Gone,
            (Ok(Some(picture)), _) if is_listed => {
                Outcome::Group(picture.cluster.parameter_group.map(|group| self.shared.group(group)))
            }
            (Ok(Some(picture)), _) => match Packed::new(picture, &self.catalog, &mut self.shared) {
                Ok(picture) => Outcome::Whole(Arc::new(picture)),
                Err(error) => Outcome::Failed(Arc::new(error)),
            },
        };
        self.reads.insert(id.into(), Read { at, round, outcome, listed });
    }

    /// Takes in the catalog; parts that failed keep what was known. Whether it changed: then the next list shows it.
    pub fn offered(&mut self, catalog: Catalog) -> bool {
        let before = self.catalog.clone();
        self.catalog.versions = catalog.versions.or(self.catalog.versions.take());
        self.catalog.flavors = catalog.flavors.or(self.catalog.flavors.take());
        let changed = self.catalog != before;
        if changed {
            self.shared.forget_engines();
            self.catalog_version += 1;
        }
        changed
    }

    /// Drops single reads that nobody wants any more.
    pub fn retain_reads(&mut self, wanted: impl Fn(&str) -> bool) {
        let list = self.list.as_ref();
        let is_listed = |list: &List, id: &str| list.by_id.contains_key(id) || list.unkept.contains(id);
        self.reads.retain(|id, _| wanted(id) || list.is_some_and(|list| is_listed(list, id)));
    }

    /// When the last good list began.
    pub fn listed_at(&self) -> Option<Timestamp> {
        self.list.as_ref().map(|list| list.at)
    }

    /// When a cluster was last read by itself.
    pub fn read_at(&self, id: &str) -> Option<Timestamp> {
        self.reads.get(id).map(|read| read.at)
    }

    /// The states of all listed clusters.
    pub fn states(&self) -> impl Iterator<Item = Option<&str>> {
        self.list.iter().flat_map(|list| list.by_id.values()).map(|entry| entry.picture.state())
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
            Sight::Found(found) => found.picture.engine().cloned(),
            _ => None,
        };
        let read_problem = match (&sight, self.lone_id(want).and_then(|id| self.reads.get(id))) {
            (Sight::NotYet, Some(Read { outcome: Outcome::Failed(problem), .. })) => Some(Arc::clone(problem)),
            _ => None,
        };
        let forced_read_done = ticket == 0
            || (self.ended_round >= ticket && self.reads_due(want, Duration::MAX, ticket, Timestamp::MAX).is_empty());
        let problem = self.problem.clone().or(read_problem).or_else(|| self.unreadable(want, &sight).cloned());
        Observation { sight, problem, engine, forced_read_done }
    }

    /// Why the last list says nothing that can be read of what somebody wants.
    fn unreadable(&self, want: &Want, sight: &Sight) -> Option<&Arc<CloudError>> {
        let list = self.list.as_ref()?;
        let id = self.lone_id(want).filter(|id| *sight == Sight::NotYet || list.by_id.contains_key(*id));
        let by_id = id.and_then(|id| list.unreadable.error_of(id));
        by_id.or_else(|| match (want, sight) {
            (Want::Name { name, .. }, Sight::NotYet) => list.unreadable.error_of_name(name),
            (Want::Group { .. }, Sight::NotYet) => list.unreadable.any_error(),
            _ => None,
        })
    }

    /// The clusters that have to be read by themselves for this want, because the list lacks them or lacks a part.
    ///
    /// Due are those never read, read longer than `interval` ago, changed in the list since, or forced by `ticket`.
    pub fn reads_due(&self, want: &Want, interval: Duration, ticket: u64, now: Timestamp) -> Vec<Due> {
        let Some(list) = &self.list else { return Vec::new() };
        if self.problem.is_some() && self.list_round < self.round {
            return Vec::new();
        }
        let due = |id: &str| self.due(list, id, interval, ticket, now);
        match want {
            Want::Group { .. } => {
                let in_part = list.by_id.iter().filter(|(_, entry)| !entry.complete).map(|(id, _)| id);
                in_part.chain(&list.unkept).filter_map(|id| due(id)).collect()
            }
            Want::Id(_) | Want::Name { .. } => self.lone_id(want).and_then(due).into_iter().collect(),
        }
    }

    fn due(&self, list: &List, id: &str, interval: Duration, ticket: u64, now: Timestamp) -> Option<Due> {
        let listed = list.by_id.get(id);
        if listed.is_some_and(|entry| entry.complete) {
            return None;
        }
        let due = |haste| Some(Due { id: id.into(), haste });
        let read = match self.reads.get(id) {
            Some(read) if read.round >= ticket => read,
            // A ticket is 0, unless somebody asked; so this one was read before he did.
            Some(_) => return due(Haste::Asked),
            None if ticket > 0 => return due(Haste::Asked),
            None => return due(Haste::Changed),
        };
        // An absence or a failure is looked at again with every list.
        let settled = listed.is_some() && !matches!(read.outcome, Outcome::Gone | Outcome::Failed(_));
        let changed = listed.map(|entry| entry.digest) != read.listed;
        if changed {
            return due(Haste::Changed);
        }
        let age = now.duration_since(read.at).unsigned_abs();
        let again = (!settled && read.round < self.list_round) || (settled && age >= interval);
        if again { due(Haste::Routine) } else { None }
    }

    /// Whether news of one cluster can change what is known of a want.
    pub fn concerns(&self, want: &Want, id: &str) -> bool {
        matches!(want, Want::Group { .. }) || self.lone_id(want) == Some(id)
    }

    /// The parameter group of a listed cluster, as far as it is known.
    pub fn group_of(&self, id: &str) -> Option<Arc<ParameterGroupStatus>> {
        let list = self.list.as_ref()?;
        let entry = list.by_id.get(id)?;
        self.merged(list, id, entry).group
    }

    /// ID and name of the cluster a want is about, as far as they are known.
    pub fn identity(&self, want: &Want) -> Option<(Arc<str>, Option<Arc<str>>)> {
        let id = self.lone_id(want)?;
        let listed = self.list.as_ref().and_then(|list| list.by_id.get_key_value(id));
        Some(listed.map_or_else(|| (id.into(), None), |(id, entry)| (Arc::clone(id), entry.name.clone())))
    }

    /// The one ID a want is about, as far as it is known.
    fn lone_id<'a>(&'a self, want: &'a Want) -> Option<&'a str> {
        match want {
            Want::Id(id) => Some(id),
            Want::Name { name, last_id } => match self.list.as_ref()?.by_name.get(name.as_str()).map(Vec::as_slice) {
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
            Want::Name { name, last_id } => match list.by_name.get(name.as_str()).map(Vec::as_slice) {
                Some([only]) => self.sight_of(list, only, None),
                Some(several) if several.len() > 1 => {
                    let mut ids: Vec<String> = several.iter().map(|id| str::to_owned(id)).collect();
                    ids.sort();
                    Sight::Ambiguous(ids)
                }
                _ => match last_id.as_ref().map_or(Sight::Absent, |id| self.sight_of(list, id, Some(name))) {
                    // One of those that could not be read may be it.
                    Sight::Absent if list.unreadable.error_of_name(name).is_some() => Sight::NotYet,
                    sight => sight,
                },
            },
            Want::Group { id, name } => match self.members(list, id.as_deref(), name.as_deref()) {
                Sight::Members(members) if members.is_empty() && list.unreadable.any_error().is_some() => Sight::NotYet,
                sight => sight,
            },
        }
    }

    /// The listed clusters of a parameter group, in the order of their IDs.
    fn members(&self, list: &List, id: Option<&str>, name: Option<&str>) -> Sight {
        let is_member = |found: &Found| {
            found.group.as_ref().is_some_and(|group| match (id, name) {
                (Some(id), _) => group.id.as_deref() == Some(id),
                (None, name) => name.is_some() && group.name.as_deref() == name,
            })
        };
        let listed = list.by_id.iter().map(|(id, entry)| (id, self.merged(list, id, entry)));
        let read = list.unkept.iter().filter_map(|id| match self.sight_of(list, id, None) {
            Sight::Found(found) => Some((id, found)),
            _ => None,
        });
        let mut members: Vec<(&Arc<str>, Found)> = listed.chain(read).filter(|(_, found)| is_member(found)).collect();
        members.sort_by_key(|(id, _)| *id);
        Sight::Members(members.into_iter().map(|(_, found)| found).collect())
    }

    /// One cluster by ID; `named` is the name it must still have.
    fn sight_of(&self, list: &List, id: &str, named: Option<&str>) -> Sight {
        if let Some(entry) = list.by_id.get(id) {
            if named.is_some() && entry.name.as_deref() != named {
                return Sight::Absent;
            }
            return Sight::Found(self.merged(list, id, entry));
        }
        match self.reads.get(id) {
            Some(Read { outcome: Outcome::Whole(picture), at, .. }) => {
                if named.is_some() && picture.cluster().name.as_deref() != named {
                    return Sight::Absent;
                }
                let (picture, group) = (Arc::clone(picture), picture.group().cloned());
                Sight::Found(Found { picture, group, read_at: *at, parameters_read_at: Some(*at) })
            }
            Some(Read { outcome: Outcome::Gone, .. }) => Sight::Absent,
            // What was once read of a listed cluster says nothing now that it is not listed any more.
            Some(Read { outcome: Outcome::Failed(_) | Outcome::Group(_), .. }) | None => Sight::NotYet,
        }
    }

    /// The listed picture with what a single read adds to it.
    fn merged(&self, list: &List, id: &str, entry: &Entry) -> Found {
        let found = |group: Option<Arc<ParameterGroupStatus>>, parameters_read_at| Found {
            picture: Arc::clone(&entry.picture),
            group,
            read_at: list.read_at(id),
            parameters_read_at,
        };
        if entry.complete {
            return found(entry.picture.group().cloned(), Some(list.read_at(id)));
        }
        match self.reads.get(id) {
            Some(Read { outcome: Outcome::Group(group), at, .. }) => found(group.clone(), Some(*at)),
            Some(Read { outcome: Outcome::Whole(picture), at, .. }) => found(picture.group().cloned(), Some(*at)),
            _ => found(entry.picture.group().cloned(), None),
        }
    }
}

/// A cluster to read by itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Due {
    /// Its ID.
    pub id: Arc<str>,
    /// How soon.
    pub haste: Haste,
}

/// Why a single read is due, the least pressing first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Haste {
    /// It is time again.
    Routine,
    /// The cluster is new, or the list says something else of it.
    Changed,
    /// A person asks for it.
    Asked,
}

#[cfg(test)]
#[path = "snapshot_tests.rs"]
mod tests;
