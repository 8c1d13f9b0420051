//! What is known of the ConfigMap, and what becomes of it. Values only.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::Timestamp;

/// The ConfigMap of `spec.connectionConfigMap`, as observed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ConfigMapState {
    /// The spec names none.
    NotWanted,
    /// There is none of that name.
    Absent,
    /// It belongs to this object.
    Owned {
        /// Its data.
        data: BTreeMap<String, String>,
        /// Whether it carries the stale annotation.
        stale: bool,
        /// Whether its owner and its marks are as the operator writes them. They are not after a restore from a backup, say.
        intact: bool,
    },
    /// It belongs to another object, or to none.
    NotOwned,
    /// The operator was told to leave ConfigMaps alone, so it was not read.
    Disabled,
    /// It cannot be read or written.
    Failed(ConfigMapProblem),
}

/// Why a ConfigMap cannot be read or written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigMapProblem {
    /// What happened and what it means, as the rest of a sentence that begins with the ConfigMap's name.
    pub message: String,
    /// Whether it waits for a person (a quota, a policy), or heals by itself.
    pub needs_a_person: bool,
    /// When to try again.
    pub again: Duration,
}

/// What to write into the ConfigMap.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigMapWrite {
    /// The keys applications mount.
    pub data: BTreeMap<String, String>,
    /// Since when the data may be out of date, if it may.
    pub stale_since: Option<Timestamp>,
}
