//! The entries of the last list that could not be read. Each costs itself alone: its picture stays, and who wants it is told why.

use std::collections::HashMap;
use std::sync::Arc;

use jiff::Timestamp;

use crate::cloud::CloudError;

/// The entries of one list that could not be read.
#[derive(Debug, Default)]
pub struct UnreadableEntries {
    by_id: HashMap<Arc<str>, Known>,
    /// The names of those that were never read: a cluster of such a name is not absent.
    by_name: HashMap<String, Arc<CloudError>>,
    /// One whose name nobody knows: it could be any cluster.
    anonymous: Option<Arc<CloudError>>,
}

#[derive(Debug)]
struct Known {
    error: Arc<CloudError>,
    /// When the list in which it could be read last began.
    read_at: Option<Timestamp>,
}

impl UnreadableEntries {
    /// One whose picture of `read_at` stays.
    pub fn add_known(&mut self, id: Arc<str>, error: Arc<CloudError>, read_at: Timestamp) {
        self.by_id.insert(id, Known { error, read_at: Some(read_at) });
    }

    /// One that was never read, with what could be found of it.
    pub fn add_new(&mut self, id: Option<String>, name: Option<String>, error: Arc<CloudError>) {
        match name {
            Some(name) => drop(self.by_name.insert(name, Arc::clone(&error))),
            None => self.anonymous = Some(Arc::clone(&error)),
        }
        if let Some(id) = id {
            self.by_id.insert(id.into(), Known { error, read_at: None });
        }
    }

    /// Why a cluster could not be read.
    pub fn error_of(&self, id: &str) -> Option<&Arc<CloudError>> {
        self.by_id.get(id).map(|known| &known.error)
    }

    /// When the list in which a cluster could be read last began; none if that is the last list.
    pub fn read_at(&self, id: &str) -> Option<Timestamp> {
        self.by_id.get(id)?.read_at
    }

    /// Why it cannot be said that there is no cluster of a name.
    pub fn error_of_name(&self, name: &str) -> Option<&Arc<CloudError>> {
        self.by_name.get(name).or(self.anonymous.as_ref())
    }

    /// Why it cannot be said that no cluster is what somebody looks for.
    pub fn any_error(&self) -> Option<&Arc<CloudError>> {
        self.anonymous.as_ref().or_else(|| self.by_id.values().map(|known| &known.error).next())
    }
}
