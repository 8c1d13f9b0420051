//! What was last read over one connection, and what that says about a query. Values only: the poller fills it, controllers read it.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;

use super::instance::Instance;
pub use super::list::Listed;
use super::list::{InstanceList, ListEntry};
use super::observation::{Identity, Observation, Observed, ObservedInstance, Query};
use super::packed::{Catalog, Interner, PackedInstance, digest};
use super::read_queue::{DueRead, Priority};
use super::round::{CatalogVersion, Round};
use crate::api::cluster_ref::ParameterGroupStatus;
use crate::cloud::{CloudError, Row, UnreadableRow};

/// A single read under way, with what was known when it began.
#[derive(Clone, Copy, Debug)]
pub struct StartedRead {
    at: Timestamp,
    round: Round,
    listed: Option<u64>,
}

/// One cluster that was read by itself.
#[derive(Clone, Debug)]
struct SingleRead {
    /// When the read that had this outcome began.
    at: Timestamp,
    /// The round in which the last read began.
    round: Round,
    outcome: ReadOutcome,
    /// Digest of the cluster's entry in the list when the read began: when it changes, the read is due again.
    listed: Option<u64>,
}

/// What came of a single read.
#[derive(Clone, Debug)]
enum ReadOutcome {
    /// Of a listed cluster only the parameter group is of interest.
    Group(Option<Arc<ParameterGroupStatus>>),
    /// Of one that is not listed, everything is.
    Whole(Arc<PackedInstance>),
    /// The cloud does not have the cluster.
    Gone,
    Failed(Arc<CloudError>),
}

/// What was last read over one connection.
#[derive(Debug, Default)]
pub struct Snapshot {
    /// The last list that has begun.
    round: Round,
    /// The last list that has ended, with success or not.
    ended_round: Round,
    list: Option<InstanceList>,
    /// The last list that ended with success.
    list_round: Round,
    reads: HashMap<Arc<str>, SingleRead>,
    /// Why the last list failed, as subscribers are told.
    problem: Option<Arc<CloudError>>,
    /// The last failure, while its message differs from the one subscribers are told.
    untold: Option<CloudError>,
    catalog: Catalog,
    pub(super) interner: Interner,
    /// The catalog now, when the list under way began, and when the last good list began.
    catalog_version: CatalogVersion,
    list_began_with: CatalogVersion,
    list_packed_with: CatalogVersion,
}

/// An entry without a usable ID: no reference can name it.
fn unidentified(instance: Instance) -> Listed {
    let error = instance.refused("its ID is not there");
    Listed::Unreadable(Box::new(UnreadableRow { id: None, name: instance.cluster.name, error: Arc::new(error) }))
}

impl Snapshot {
    /// The last list that has begun.
    pub fn round(&self) -> Round {
        self.round
    }

    /// A list begins.
    pub fn begin_list(&mut self) {
        self.round = self.round.next();
        self.list_began_with = self.catalog_version;
    }

    /// Compares one cluster of a list that is being read with the list before. One that did not change is dropped at once, so that
    /// the new list takes no memory beside the old one.
    pub fn recognise(&mut self, row: Row<Instance>) -> Listed {
        let mut instance = match row {
            Row::Read(instance) => instance,
            Row::Unreadable(unreadable) => return Listed::Unreadable(Box::new(unreadable)),
        };
        let Some(id) = instance.cluster.id.as_deref() else { return unidentified(instance) };
        let digest = digest(&instance);
        let known = self.list.as_ref().and_then(|list| list.by_id.get_key_value(id));
        if let Some((id, known)) = known
            && known.digest == digest
            && self.list_packed_with == self.list_began_with
        {
            return Listed::Same(Arc::clone(id));
        }
        let id: Arc<str> = known.map_or_else(|| id.into(), |(id, _)| Arc::clone(id));
        let name = instance.cluster.name.as_deref().map(Arc::from);
        if !self.interner.memory.is_left() {
            return Listed::Unkept(id, name);
        }
        let complete = instance.complete;
        instance.cluster.nodes.shrink_to_fit();
        match PackedInstance::new(instance, &self.catalog, &mut self.interner) {
            Ok(instance) => {
                Listed::New(id, Box::new(ListEntry { digest, complete, name, instance: Arc::new(instance) }))
            }
            Err(error) => Listed::Unreadable(Box::new(UnreadableRow {
                id: Some(id.to_string()),
                name: name.map(|name| name.to_string()),
                error: Arc::new(error),
            })),
        }
    }

    /// Takes in a whole list that began at `at`, each cluster as [`Snapshot::recognise`] left it. Instances that did not change
    /// stay the same allocation.
    pub fn listed(&mut self, at: Timestamp, clusters: Vec<Listed>) {
        let old = self.list.take().unwrap_or_default();
        self.list = Some(InstanceList::replacing(old, at, clusters));
        self.list_round = self.round;
        self.ended_round = self.round;
        (self.problem, self.untold) = (None, None);
        self.interner.tidy();
        self.list_packed_with = self.list_began_with;
    }

    /// The list failed; what was read before stays.
    ///
    /// A failure whose message is the same as before is no news. A different message of the same kind of failure is told only when
    /// it came twice in a row, or when somebody requested the list: otherwise two alternating faults would rewrite every status of
    /// the connection after each list.
    pub fn failed(&mut self, problem: CloudError, refresh_requested: bool) {
        self.ended_round = self.round;
        let told = self.problem.as_ref().filter(|told| told.is_like(&problem));
        let is_news = match told {
            None => true,
            Some(told) if told.says_the_same_as(&problem) => false,
            Some(_) => {
                refresh_requested || self.untold.as_ref().is_some_and(|untold| untold.says_the_same_as(&problem))
            }
        };
        if is_news {
            (self.problem, self.untold) = (Some(Arc::new(problem)), None);
        } else {
            let says_more = told.is_some_and(|told| !told.says_the_same_as(&problem));
            self.untold = says_more.then_some(problem);
        }
    }

    /// Whether the last list failed.
    pub fn is_failing(&self) -> bool {
        self.problem.is_some()
    }

    /// A single read begins at `at`.
    pub fn begin_read(&self, id: &str, at: Timestamp) -> StartedRead {
        let listed = self.list.as_ref().and_then(|list| list.by_id.get(id)).map(|entry| entry.digest);
        StartedRead { at, round: self.round, listed }
    }

    /// Takes in the outcome of reading one cluster by itself.
    pub fn read(&mut self, id: &str, started: StartedRead, outcome: Result<Option<Instance>, CloudError>) {
        let StartedRead { at, round, listed } = started;
        let is_listed = self.list.as_ref().is_some_and(|list| list.by_id.contains_key(id));
        let before = self.reads.remove(id);
        let outcome = match (outcome, &before) {
            // A read that failed leaves the parameter group that was read before in place.
            (Err(_), Some(SingleRead { outcome: known @ ReadOutcome::Group(_), at, .. })) if is_listed => {
                let read = SingleRead { at: *at, round, outcome: known.clone(), listed };
                self.reads.insert(id.into(), read);
                return;
            }
            (Err(error), Some(SingleRead { outcome: ReadOutcome::Failed(told), .. }))
                if told.says_the_same_as(&error) =>
            {
                ReadOutcome::Failed(Arc::clone(told))
            }
            (Err(error), _) => ReadOutcome::Failed(Arc::new(error)),
            (Ok(None), _) => ReadOutcome::Gone,
            (Ok(Some(instance)), _) if is_listed => {
                ReadOutcome::Group(instance.cluster.parameter_group.map(|group| self.interner.group(group)))
            }
            (Ok(Some(instance)), _) => match PackedInstance::new(instance, &self.catalog, &mut self.interner) {
                Ok(instance) => ReadOutcome::Whole(Arc::new(instance)),
                Err(error) => ReadOutcome::Failed(Arc::new(error)),
            },
        };
        self.reads.insert(id.into(), SingleRead { at, round, outcome, listed });
    }

    /// Takes in the catalog; a part that could not be read keeps its old value. Returns whether anything changed: the next list
    /// shows it.
    pub fn offered(&mut self, catalog: Catalog) -> bool {
        let before = self.catalog.clone();
        self.catalog.versions = catalog.versions.or(self.catalog.versions.take());
        self.catalog.flavors = catalog.flavors.or(self.catalog.flavors.take());
        let changed = self.catalog != before;
        if changed {
            self.interner.forget_engines();
            self.catalog_version = self.catalog_version.next();
        }
        changed
    }

    /// Drops single reads that no query needs any more.
    pub fn retain_reads(&mut self, wanted: impl Fn(&str) -> bool) {
        let list = self.list.as_ref();
        let is_listed = |list: &InstanceList, id: &str| list.by_id.contains_key(id) || list.unkept.contains(id);
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
        self.list.iter().flat_map(|list| list.by_id.values()).map(|entry| entry.instance.state())
    }

    /// Whether the last list has no answer to a query: a new subscriber then waits for a newer list.
    pub fn lacks(&self, query: &Query) -> bool {
        self.observed(query).is_absence()
    }

    /// What is known about a query. `refresh` is the round that a requested refresh waits for; a list older than
    /// `trusted_from` cannot say that something is absent.
    pub fn observe(&self, query: &Query, refresh: Option<Round>, trusted_from: Option<Round>) -> Observation {
        let mut observed = self.observed(query);
        if trusted_from.is_some_and(|round| self.list_round < round) && observed.is_absence() {
            observed = Observed::NotYet;
        }
        let engine = match &observed {
            Observed::Found(found) => found.instance.engine().cloned(),
            _ => None,
        };
        let read_problem = match (&observed, self.lone_id(query).and_then(|id| self.reads.get(id))) {
            (Observed::NotYet, Some(SingleRead { outcome: ReadOutcome::Failed(problem), .. })) => {
                Some(Arc::clone(problem))
            }
            _ => None,
        };
        let is_refreshed = |round| {
            self.ended_round >= round && self.reads_due(query, Duration::MAX, refresh, Timestamp::MAX).is_empty()
        };
        let refresh_done = refresh.is_none_or(is_refreshed);
        let problem = self.problem.clone().or(read_problem).or_else(|| self.unreadable(query, &observed).cloned());
        Observation { observed, problem, engine, refresh_done }
    }

    /// Why the last list has no readable entry for a query.
    fn unreadable(&self, query: &Query, observed: &Observed) -> Option<&Arc<CloudError>> {
        let list = self.list.as_ref()?;
        let id = self.lone_id(query).filter(|id| *observed == Observed::NotYet || list.by_id.contains_key(*id));
        let by_id = id.and_then(|id| list.unreadable.error_of(id));
        by_id.or_else(|| match (query, observed) {
            (Query::Name { name, .. }, Observed::NotYet) => list.unreadable.error_of_name(name),
            (Query::Group { .. }, Observed::NotYet) => list.unreadable.any_error(),
            _ => None,
        })
    }

    /// The clusters that have to be read by themselves for this query, because the list lacks them or lacks a part of them.
    ///
    /// Due are those that were never read, were read longer than `interval` ago, changed in the list since, or were last read
    /// before round `refresh`.
    pub fn reads_due(&self, query: &Query, interval: Duration, refresh: Option<Round>, now: Timestamp) -> Vec<DueRead> {
        let Some(list) = &self.list else { return Vec::new() };
        if self.problem.is_some() && self.list_round < self.round {
            return Vec::new();
        }
        let due = |id: &str| self.due(list, id, interval, refresh, now);
        match query {
            Query::Group { .. } => {
                let in_part = list.by_id.iter().filter(|(_, entry)| !entry.complete).map(|(id, _)| id);
                in_part.chain(&list.unkept).filter_map(|id| due(id)).collect()
            }
            Query::Id(_) | Query::Name { .. } => self.lone_id(query).and_then(due).into_iter().collect(),
        }
    }

    fn due(
        &self,
        list: &InstanceList,
        id: &str,
        interval: Duration,
        refresh: Option<Round>,
        now: Timestamp,
    ) -> Option<DueRead> {
        let listed = list.by_id.get(id);
        if listed.is_some_and(|entry| entry.complete) {
            return None;
        }
        let due = |priority| Some(DueRead { id: id.into(), priority });
        let read = match self.reads.get(id) {
            Some(read) if refresh.is_none_or(|refresh| read.round >= refresh) => read,
            Some(_) => return due(Priority::Requested),
            None if refresh.is_some() => return due(Priority::Requested),
            None => return due(Priority::Changed),
        };
        // An absence or a failure is checked again after every list.
        let settled = listed.is_some() && !matches!(read.outcome, ReadOutcome::Gone | ReadOutcome::Failed(_));
        let changed = listed.map(|entry| entry.digest) != read.listed;
        if changed {
            return due(Priority::Changed);
        }
        let age = now.duration_since(read.at).unsigned_abs();
        let again = (!settled && read.round < self.list_round) || (settled && age >= interval);
        if again { due(Priority::Routine) } else { None }
    }

    /// Whether a change of one cluster can change what is known about a query.
    pub fn concerns(&self, query: &Query, id: &str) -> bool {
        matches!(query, Query::Group { .. }) || self.lone_id(query) == Some(id)
    }

    /// The parameter group of a listed cluster, as far as it is known.
    pub fn group_of(&self, id: &str) -> Option<Arc<ParameterGroupStatus>> {
        let list = self.list.as_ref()?;
        let entry = list.by_id.get(id)?;
        self.merged(list, id, entry).group
    }

    /// ID and name of the cluster a query is about, as far as they are known.
    pub fn identity(&self, query: &Query) -> Option<Identity> {
        let id = self.lone_id(query)?;
        let listed = self.list.as_ref().and_then(|list| list.by_id.get_key_value(id));
        Some(listed.map_or_else(|| (id.into(), None), |(id, entry)| (Arc::clone(id), entry.name.clone())))
    }

    /// The one ID a query is about, as far as it is known.
    fn lone_id<'a>(&'a self, query: &'a Query) -> Option<&'a str> {
        match query {
            Query::Id(id) => Some(id),
            Query::Name { name, last_id } => match self.list.as_ref()?.by_name.get(name.as_str()).map(Vec::as_slice) {
                None | Some([]) => last_id.as_deref(),
                Some([only]) => Some(only),
                Some(_) => None,
            },
            Query::Group { .. } => None,
        }
    }

    /// What the last list and single reads say about a query, however old they are.
    fn observed(&self, query: &Query) -> Observed {
        let Some(list) = &self.list else { return Observed::NotYet };
        match query {
            Query::Id(id) => self.observe_one(list, id, None),
            Query::Name { name, last_id } => match list.by_name.get(name.as_str()).map(Vec::as_slice) {
                Some([only]) => self.observe_one(list, only, None),
                Some(several) if several.len() > 1 => {
                    let mut ids: Vec<String> = several.iter().map(|id| str::to_owned(id)).collect();
                    ids.sort();
                    Observed::Ambiguous(ids)
                }
                _ => match last_id.as_ref().map_or(Observed::Absent, |id| self.observe_one(list, id, Some(name))) {
                    // One of the entries that could not be read may have the name.
                    Observed::Absent if list.unreadable.error_of_name(name).is_some() => Observed::NotYet,
                    observed => observed,
                },
            },
            Query::Group { id, name } => match self.members(list, id.as_deref(), name.as_deref()) {
                Observed::Members(members) if members.is_empty() && list.unreadable.any_error().is_some() => {
                    Observed::NotYet
                }
                observed => observed,
            },
        }
    }

    /// The listed clusters of a parameter group, in the order of their IDs.
    fn members(&self, list: &InstanceList, id: Option<&str>, name: Option<&str>) -> Observed {
        let is_member = |found: &ObservedInstance| {
            found.group.as_ref().is_some_and(|group| match (id, name) {
                (Some(id), _) => group.id.as_deref() == Some(id),
                (None, name) => name.is_some() && group.name.as_deref() == name,
            })
        };
        let listed = list.by_id.iter().map(|(id, entry)| (id, self.merged(list, id, entry)));
        let read = list.unkept.iter().filter_map(|id| match self.observe_one(list, id, None) {
            Observed::Found(found) => Some((id, found)),
            _ => None,
        });
        let mut members: Vec<(&Arc<str>, ObservedInstance)> =
            listed.chain(read).filter(|(_, found)| is_member(found)).collect();
        members.sort_by_key(|(id, _)| *id);
        Observed::Members(members.into_iter().map(|(_, found)| found).collect())
    }

    /// One cluster by ID; `named` is the name it must still have.
    fn observe_one(&self, list: &InstanceList, id: &str, named: Option<&str>) -> Observed {
        if let Some(entry) = list.by_id.get(id) {
            if named.is_some() && entry.name.as_deref() != named {
                return Observed::Absent;
            }
            return Observed::Found(self.merged(list, id, entry));
        }
        match self.reads.get(id) {
            Some(SingleRead { outcome: ReadOutcome::Whole(instance), at, .. }) => {
                if named.is_some() && instance.cluster().name.as_deref() != named {
                    return Observed::Absent;
                }
                let (instance, group) = (Arc::clone(instance), instance.group().cloned());
                Observed::Found(ObservedInstance { instance, group, read_at: *at, parameters_read_at: Some(*at) })
            }
            Some(SingleRead { outcome: ReadOutcome::Gone, .. }) => Observed::Absent,
            // The parameter group of a cluster says nothing once the cluster is not listed any more.
            Some(SingleRead { outcome: ReadOutcome::Failed(_) | ReadOutcome::Group(_), .. }) | None => Observed::NotYet,
        }
    }

    /// The listed instance with the parameter group that a single read adds to it.
    fn merged(&self, list: &InstanceList, id: &str, entry: &ListEntry) -> ObservedInstance {
        let found = |group: Option<Arc<ParameterGroupStatus>>, parameters_read_at| ObservedInstance {
            instance: Arc::clone(&entry.instance),
            group,
            read_at: list.read_at(id),
            parameters_read_at,
        };
        if entry.complete {
            return found(entry.instance.group().cloned(), Some(list.read_at(id)));
        }
        match self.reads.get(id) {
            Some(SingleRead { outcome: ReadOutcome::Group(group), at, .. }) => found(group.clone(), Some(*at)),
            Some(SingleRead { outcome: ReadOutcome::Whole(instance), at, .. }) => {
                found(instance.group().cloned(), Some(*at))
            }
            _ => found(entry.instance.group().cloned(), None),
        }
    }
}

#[cfg(test)]
#[path = "snapshot_tests.rs"]
mod tests;
