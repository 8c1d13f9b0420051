//! A list as it is kept, and what becomes of the clusters of the one before. Values only.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use jiff::Timestamp;
use tracing::warn;

use super::packed::Packed;
use super::unreadable::UnreadableEntries;
use crate::cloud::{CloudError, Unreadable};

/// One cluster of a list, as `Snapshot::recognise` left it.
#[derive(Debug)]
pub enum Listed {
    /// The list says of it what the one before said.
    Same(Arc<str>),
    /// It is new, or something about it is.
    New(Arc<str>, Box<Entry>),
    /// It is new, or something about it is, and there is no room for another picture: ID and name.
    Unkept(Arc<str>, Option<Arc<str>>),
    /// It is not as documented.
    Unreadable(Box<Unreadable>),
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
pub struct Entry {
    /// What the list said of it, to tell whether the next one says the same.
    pub(super) digest: u64,
    /// Whether the list says all the cloud knows of it.
    pub(super) complete: bool,
    pub(super) name: Option<Arc<str>>,
    pub(super) picture: Arc<Packed>,
}

/// The last good list.
#[derive(Debug, Default)]
pub(super) struct List {
    /// When it began.
    pub(super) at: Timestamp,
    pub(super) by_id: HashMap<Arc<str>, Entry>,
    pub(super) by_name: HashMap<Arc<str>, Vec<Arc<str>>>,
    /// Clusters whose pictures are not kept, for want of room. Those that somebody wants are read one by one.
    pub(super) unkept: HashSet<Arc<str>>,
    pub(super) unreadable: UnreadableEntries,
}

impl List {
    /// A list that was begun at `at` in place of the one before. Pictures that did not change stay the very same.
    pub(super) fn replacing(mut old: Self, at: Timestamp, clusters: Vec<Listed>) -> Self {
        let mut list = List { at, by_id: HashMap::with_capacity(clusters.len()), ..List::default() };
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
        // Once, and not with every list.
        if old.unkept.is_empty() && !unkept.is_empty() {
            warn!(
                unkept = unkept.len(),
                "the pictures of all connections are too many; those beyond are read one by one"
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

    /// Takes in the entries that could not be read, after all others: what was read of them before stays.
    fn take_unreadable(&mut self, entries: Vec<Unreadable>, old: &mut Self) {
        for Unreadable { id, name, error } in entries {
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
