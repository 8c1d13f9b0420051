//! The entries of the last list that could not be read. Such an entry affects no other: the instance of an earlier list stays, and its
//! subscribers are told why.

use std::collections::HashMap;
use std::sync::Arc;

use jiff::Timestamp;

use crate::cloud::CloudError;

/// The entries of one list that could not be read.
#[derive(Debug, Default)]
pub struct UnreadableEntries {
    by_id: HashMap<Arc<str>, UnreadableEntry>,
    /// The names of those that were never read: a cluster of such a name is not absent.
    by_name: HashMap<String, Arc<CloudError>>,
    /// One without a readable name: it could be any cluster.
    anonymous: Option<Arc<CloudError>>,
}

#[derive(Debug)]
struct UnreadableEntry {
    error: Arc<CloudError>,
    /// When the last list in which it could be read began.
    read_at: Option<Timestamp>,
}

impl UnreadableEntries {
    /// Adds one whose instance of a list that began at `read_at` stays.
    pub fn add_known(&mut self, id: Arc<str>, error: Arc<CloudError>, read_at: Timestamp) {
        self.by_id.insert(id, UnreadableEntry { error, read_at: Some(read_at) });
    }

    /// Adds one that was never read, with ID and name as far as they could be found.
    pub fn add_new(&mut self, id: Option<String>, name: Option<String>, error: Arc<CloudError>) {
        match name {
            Some(name) => drop(self.by_name.insert(name, Arc::clone(&error))),
            None => self.anonymous = Some(Arc::clone(&error)),
        }
        if let Some(id) = id {
            self.by_id.insert(id.into(), UnreadableEntry { error, read_at: None });
        }
    }

    /// Why a cluster could not be read.
    pub fn error_of(&self, id: &str) -> Option<&Arc<CloudError>> {
        self.by_id.get(id).map(|known| &known.error)
    }

    /// When the last list in which a cluster could be read began; none if that is the last list of all.
    pub fn read_at(&self, id: &str) -> Option<Timestamp> {
        self.by_id.get(id)?.read_at
    }

    /// Why the list does not prove that no cluster has a name.
    pub fn error_of_name(&self, name: &str) -> Option<&Arc<CloudError>> {
        self.by_name.get(name).or(self.anonymous.as_ref())
    }

    /// Why the list does not prove that no cluster is in a group.
    pub fn any_error(&self) -> Option<&Arc<CloudError>> {
        self.anonymous.as_ref().or_else(|| self.by_id.values().map(|known| &known.error).next())
    }
}
