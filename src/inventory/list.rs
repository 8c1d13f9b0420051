//! The last good list, and how the next one replaces it. Values only.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use jiff::Timestamp;
use tracing::warn;

use super::packed::PackedInstance;
use super::unreadable::UnreadableEntries;
use crate::cloud::{CloudError, UnreadableRow};

/// One entry of a list that is being read, after [`Snapshot::recognise`](super::snapshot::Snapshot::recognise).
#[derive(Debug)]
pub enum Listed {
    /// It did not change since the list before.
    Same(Arc<str>),
    /// It is new, or it changed.
    New(Arc<str>, Box<ListEntry>),
    /// It is new, or it changed, and there is no memory for another instance: ID and name.
    Unkept(Arc<str>, Option<Arc<str>>),
    /// It is not as documented, and cannot be read.
    Unreadable(Box<UnreadableRow>),
}

/// How many entries of a list could not be read, and why the first could not.
pub fn unreadable_among(clusters: &[Listed]) -> (usize, Option<&Arc<CloudError>>) {
    let mut errors = clusters.iter().filter_map(|cluster| match cluster {
        Listed::Unreadable(entry) => Some(&entry.error),
        Listed::Same(_) | Listed::New(..) | Listed::Unkept(..) => None,
    });
    let first = errors.next();
    (errors.count() + usize::from(first.is_some()), first)
}

/// One listed cluster.
#[derive(Clone, Debug)]
pub struct ListEntry {
    /// Digest of the entry, to see whether the next list has the same one.
    pub(super) digest: u64,
    /// Whether the entry has all that the cloud knows.
    pub(super) complete: bool,
    pub(super) name: Option<Arc<str>>,
    pub(super) instance: Arc<PackedInstance>,
}

/// The last good list.
#[derive(Debug, Default)]
pub(super) struct InstanceList {
    /// When it began.
    pub(super) at: Timestamp,
    pub(super) by_id: HashMap<Arc<str>, ListEntry>,
    pub(super) by_name: HashMap<Arc<str>, Vec<Arc<str>>>,
    /// Clusters that are not kept for want of memory. Those that a query needs are read one by one.
    pub(super) unkept: HashSet<Arc<str>>,
    pub(super) unreadable: UnreadableEntries,
}

impl InstanceList {
    /// A list that began at `at`, in place of the one before. Instances that did not change stay the same allocation.
    pub(super) fn replacing(mut old: Self, at: Timestamp, clusters: Vec<Listed>) -> Self {
        let mut list = InstanceList { at, by_id: HashMap::with_capacity(clusters.len()), ..InstanceList::default() };
        let (mut unkept, mut unreadable) = (Vec::new(), Vec::new());
        for cluster in clusters {
            match cluster {
                Listed::Same(id) => {
                    if let Some(entry) = old.by_id.remove(&id) {
                        list.by_id.insert(id, entry);
                    }
                }
                Listed::New(id, entry) => drop(list.by_id.insert(id, *entry)),
                Listed::Unkept(id, name) => unkept.push((id, name)),
                Listed::Unreadable(entry) => unreadable.push(*entry),
            }
        }
        // Logged once, not after every list.
        if old.unkept.is_empty() && !unkept.is_empty() {
            warn!(
                unkept = unkept.len(),
                "there is no memory for the instances of all connections; those beyond are read one by one"
            );
        }
        list.take_unreadable(unreadable, &mut old);
        // From the map, not from the list: a list that comes in pages can show one cluster twice.
        for (id, entry) in &list.by_id {
            if let Some(name) = &entry.name {
                list.by_name.entry(Arc::clone(name)).or_insert_with(|| Vec::with_capacity(1)).push(Arc::clone(id));
            }
        }
        list.take_unkept(unkept);
        list
    }

    fn take_unkept(&mut self, clusters: Vec<(Arc<str>, Option<Arc<str>>)>) {
        for (id, name) in clusters {
            if self.by_id.contains_key(&id) || !self.unkept.insert(Arc::clone(&id)) {
                continue;
            }
            if let Some(name) = name {
                self.by_name.entry(name).or_default().push(id);
            }
        }
    }

    /// Takes in the entries that could not be read, after all others. If an earlier list had one, its instance stays.
    fn take_unreadable(&mut self, entries: Vec<UnreadableRow>, old: &mut Self) {
        for UnreadableRow { id, name, error } in entries {
            let known = id.as_deref().and_then(|id| old.by_id.remove_entry(id));
            match (id, known) {
                // A list that comes in pages can show one cluster twice.
                (Some(id), _) if self.by_id.contains_key(id.as_str()) => {}
                (_, Some((id, entry))) => {
                    let read_at = old.unreadable.read_at(&id).unwrap_or(old.at);
                    self.unreadable.add_known(Arc::clone(&id), error, read_at);
                    self.by_id.insert(id, entry);
                }
                (id, None) => self.unreadable.add_new(id, name, error),
            }
        }
    }

    /// When the list in which a cluster was read began.
    pub(super) fn read_at(&self, id: &str) -> Timestamp {
        self.unreadable.read_at(id).unwrap_or(self.at)
    }
}
