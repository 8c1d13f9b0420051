//! What an object wants to know from a connection, and what is known.

use std::sync::Arc;

use jiff::Timestamp;

#[cfg(test)]
use super::instance::Instance;
use super::packed::PackedInstance;
#[cfg(test)]
use super::packed::{Catalog, Interner};
use crate::api::cluster_ref::{ClusterStatus, EngineStatus, ParameterGroupStatus};
use crate::api::{Target, TargetQuery};
use crate::cloud::CloudError;

/// ID and name of a cluster.
pub type Identity = (Arc<str>, Option<Arc<str>>);

/// What an object wants to know from a connection.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Query {
    /// The cluster or instance of this ID.
    Id(String),
    /// The only cluster or instance of this name.
    Name {
        /// The name.
        name: String,
        /// The ID it had when it was last read: absence is confirmed by reading that cluster when the list lacks the name.
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

impl Query {
    /// The query of a reference for its target; `last` is the cluster that its status shows.
    pub fn new(target: Target<'_>, last: Option<&ClusterStatus>) -> Self {
        match target.query() {
            TargetQuery::Id(id) => Self::Id(id.to_owned()),
            TargetQuery::Name(name) => {
                let last = last.filter(|cluster| target.query().selects(cluster));
                Self::Name { name: name.to_owned(), last_id: last.and_then(|cluster| cluster.id.clone()) }
            }
        }
    }

    /// Whether this is the parameter group that it asks for.
    pub(super) fn is_group(&self, group: &Option<Arc<ParameterGroupStatus>>) -> bool {
        let (Self::Group { id, name }, Some(group)) = (self, group) else { return false };
        match (id, name) {
            (Some(id), _) => group.id.as_ref() == Some(id),
            (None, name) => name.is_some() && group.name == *name,
        }
    }

    /// Whether both ask for the same thing, whatever is known about it already.
    pub fn is_for_the_same_as(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Name { name, .. }, Self::Name { name: other, .. }) => name == other,
            _ => self == other,
        }
    }
}

/// One Redis as it was last read.
#[derive(Clone, Debug)]
pub struct ObservedInstance {
    pub(super) instance: Arc<PackedInstance>,
    /// The parameter group by the list, or by a single read if the list leaves it out.
    pub(super) group: Option<Arc<ParameterGroupStatus>>,
    /// When the list, or the single read, that showed it began.
    pub read_at: Timestamp,
    /// When the parameter group was read; none while it is not known.
    pub parameters_read_at: Option<Timestamp>,
}

impl ObservedInstance {
    /// State in the provider's own word.
    pub fn state(&self) -> Option<&str> {
        self.instance.state()
    }

    /// Everything but the state, unpacked.
    pub fn cluster(&self) -> ClusterStatus {
        let mut cluster = self.instance.cluster();
        cluster.parameter_group = self.group.as_deref().cloned();
        cluster
    }

    /// Its parameter group, as far as it was read.
    pub fn parameter_group(&self) -> Option<&ParameterGroupStatus> {
        self.group.as_deref()
    }

    /// Whether it is on its way to another state by itself.
    pub fn is_transitional(&self) -> bool {
        self.instance.is_transitional()
    }
}

#[cfg(test)]
impl ObservedInstance {
    /// An instance from a list that leaves out the parameter group, which was not read by itself yet either.
    pub fn in_part(instance: Instance, read_at: Timestamp) -> Self {
        Self { parameters_read_at: None, ..Self::whole(instance, read_at) }
    }

    /// An instance that was read as a whole.
    pub fn whole(instance: Instance, read_at: Timestamp) -> Self {
        let instance = PackedInstance::new(instance, &Catalog::default(), &mut Interner::default()).unwrap();
        Self {
            group: instance.group().cloned(),
            instance: Arc::new(instance),
            read_at,
            parameters_read_at: Some(read_at),
        }
    }
}

impl PartialEq for ObservedInstance {
    /// Equal when the same was read, at whatever time.
    fn eq(&self, other: &Self) -> bool {
        self.parameters_read_at.is_some() == other.parameters_read_at.is_some()
            && (Arc::ptr_eq(&self.instance, &other.instance) || self.instance == other.instance)
            && self.group == other.group
    }
}

/// What is known about a query.
#[derive(Clone, Debug, PartialEq)]
pub enum Observed {
    /// Nothing yet, or nothing reliable (an absence that was not confirmed).
    NotYet,
    /// It exists.
    Found(ObservedInstance),
    /// The clusters of a group; empty if the cloud lists none.
    Members(Vec<ObservedInstance>),
    /// Several have the name: their IDs.
    Ambiguous(Vec<String>),
    /// It does not exist: a whole list lacks it, and reading that one cluster confirmed it.
    Absent,
}

impl Observed {
    /// Whether it says that there is none, or not exactly one: a newer list may say otherwise.
    pub(super) fn is_absence(&self) -> bool {
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
    /// What is known about its query.
    pub observed: Observed,
    /// Why the last read failed, if it did.
    pub problem: Option<Arc<CloudError>>,
    /// What the cloud offers for the engine version of the instance.
    pub engine: Option<Arc<EngineStatus>>,
    /// Whether the refresh that was requested, if any, has been made.
    pub refresh_done: bool,
}

impl Observation {
    /// Whether nothing has been read and nothing went wrong: the first read is still under way.
    pub fn is_blank(&self) -> bool {
        self.observed == Observed::NotYet && self.problem.is_none()
    }
}
