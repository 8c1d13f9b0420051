//! What an object wants to see of a connection, and what there is to be seen.

use std::sync::Arc;

use jiff::Timestamp;

use super::packed::Packed;
#[cfg(test)]
use super::packed::{Catalog, Shared};
#[cfg(test)]
use super::picture::Picture;
use crate::api::cluster_ref::{ClusterStatus, EngineStatus, ParameterGroupStatus};
use crate::cloud::CloudError;

/// What an object wants to see of a connection.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
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
    pub(super) picture: Arc<Packed>,
    /// The parameter group that the list says, or a single read where the list leaves it out.
    pub(super) group: Option<Arc<ParameterGroupStatus>>,
    /// When the list, or the single read, that showed it began.
    pub read_at: Timestamp,
    /// When what is said of the parameter group was read; none while it is not known yet.
    pub parameters_read_at: Option<Timestamp>,
}

impl Found {
    /// State in the provider's own word.
    pub fn state(&self) -> Option<&str> {
        self.picture.state()
    }

    /// Everything but the state, unpacked.
    pub fn cluster(&self) -> ClusterStatus {
        let mut cluster = self.picture.cluster();
        cluster.parameter_group = self.group.as_deref().cloned();
        cluster
    }

    /// Its parameter group, as far as it was read.
    pub fn parameter_group(&self) -> Option<&ParameterGroupStatus> {
        self.group.as_deref()
    }

    /// Whether it is on its way to another state by itself.
    pub fn is_transitional(&self) -> bool {
        self.picture.is_transitional()
    }
}

#[cfg(test)]
impl Found {
    /// What a list shows of a cluster at `read_at` when it leaves out the parameter group, which was not read yet either.
    pub fn in_part(picture: Picture, read_at: Timestamp) -> Self {
        Self { parameters_read_at: None, ..Self::whole(picture, read_at) }
    }

    /// A picture that was read as a whole at `read_at`.
    pub fn whole(picture: Picture, read_at: Timestamp) -> Self {
        let picture = Packed::new(picture, &Catalog::default(), &mut Shared::default()).unwrap();
        Self { group: picture.group().cloned(), picture: Arc::new(picture), read_at, parameters_read_at: Some(read_at) }
    }
}

impl PartialEq for Found {
    /// Equal when the same was seen, whenever that was.
    fn eq(&self, other: &Self) -> bool {
        self.parameters_read_at.is_some() == other.parameters_read_at.is_some()
            && (Arc::ptr_eq(&self.picture, &other.picture) || self.picture == other.picture)
            && self.group == other.group
    }
}

impl Want {
    /// Whether it is this parameter group that is wanted.
    pub(super) fn is_group(&self, group: &Option<Arc<ParameterGroupStatus>>) -> bool {
        let (Self::Group { id, name }, Some(group)) = (self, group) else { return false };
        match (id, name) {
            (Some(id), _) => group.id.as_ref() == Some(id),
            (None, name) => name.is_some() && group.name == *name,
        }
    }

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
    pub(super) fn is_refusal(&self) -> bool {
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
    pub problem: Option<Arc<CloudError>>,
    /// What the cloud offers for the engine version seen.
    pub engine: Option<Arc<EngineStatus>>,
    /// Whether the forced read that was asked for has been made.
    pub forced_read_done: bool,
}

impl Observation {
    /// Whether nothing at all has been seen, and nothing went wrong: the first read is still under way.
    pub fn is_blank(&self) -> bool {
        self.sight == Sight::NotYet && self.problem.is_none()
    }
}
