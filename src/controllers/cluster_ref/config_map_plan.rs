//! What becomes of the ConfigMap, and why it cannot be had. Pure.

use std::collections::BTreeMap;

use jiff::Timestamp;

use super::config_map::content::{NoHost, connection};
use super::config_map::state::{ConfigMapState, ConfigMapWrite};
use super::input::Input;
use super::last_known::LastKnown;
use super::messages;
use crate::api::Reason;
use crate::controllers::problem::Problem;
use crate::inventory::Observed;

/// What becomes of the ConfigMap.
#[derive(Default)]
pub(super) struct ConfigMapPlan {
    /// What to write, if it has to change.
    pub(super) write: Option<ConfigMapWrite>,
    /// Why it is not as the spec wants it, if it is not.
    pub(super) problem: Option<Problem>,
}

/// Decides what to write into the ConfigMap.
pub(super) fn plan(input: &Input<'_>, known: &LastKnown) -> ConfigMapPlan {
    let Some(wanted) = &input.spec.connection_config_map else { return ConfigMapPlan::default() };
    if let Some(problem) = problem(&input.config_map, &wanted.name) {
        return ConfigMapPlan { write: None, problem: Some(problem) };
    }
    let (data, problem) = match known.cluster.as_ref().map(connection) {
        Some(Err(NoHost)) => {
            let message = messages::config_map(&wanted.name, messages::CONFIG_MAP_WITHOUT_HOST);
            (None, Some(Problem::new(Reason::ConfigMapFailed, message)))
        }
        Some(Ok(data)) => (data, None),
        None => (None, None),
    };
    ConfigMapPlan { write: to_write(input, known, data), problem }
}

/// Why a ConfigMap that is wanted cannot be had.
fn problem(state: &ConfigMapState, name: &str) -> Option<Problem> {
    let problem = |reason, what| Problem::new(reason, messages::config_map(name, what));
    match state {
        ConfigMapState::NotOwned => Some(problem(Reason::ConfigMapNotOwned, messages::CONFIG_MAP_NOT_OWNED)),
        ConfigMapState::Disabled => Some(problem(Reason::ConfigMapsDisabled, messages::CONFIG_MAPS_DISABLED)),
        ConfigMapState::Failed(failed) => {
            Some(Problem { needs_a_person: failed.needs_a_person, ..problem(Reason::ConfigMapFailed, &failed.message) })
        }
        ConfigMapState::NotWanted | ConfigMapState::Absent | ConfigMapState::Owned { .. } => None,
    }
}

fn to_write(input: &Input<'_>, known: &LastKnown, data: Option<BTreeMap<String, String>>) -> Option<ConfigMapWrite> {
    let read = input.cloud.read().filter(|observation| observation.problem.is_none());
    let is_fresh = read.is_some_and(|observation| matches!(observation.observed, Observed::Found(_)));
    // Until the first read after a start there is no news: the data is neither refreshed nor called stale.
    let is_awaited = read.is_some_and(|observation| matches!(observation.observed, Observed::NotYet));
    let stale_since = (!is_fresh).then_some(known.read_at).flatten();
    match (&input.config_map, data) {
        (ConfigMapState::Absent, Some(data)) => Some(ConfigMapWrite { data, stale_since }),
        (ConfigMapState::Owned { data: have, stale, intact }, Some(data)) => {
            let differs = *have != data || *stale != stale_since.is_some();
            if differs && !is_awaited {
                return Some(ConfigMapWrite { data, stale_since });
            }
            (!intact).then(|| unchanged(have, *stale, stale_since.or(Some(input.now))))
        }
        (ConfigMapState::Owned { data, stale: false, .. }, None) if !is_fresh => {
            Some(ConfigMapWrite { data: data.clone(), stale_since: Some(input.now) })
        }
        (ConfigMapState::Owned { data, stale, intact: false }, None) => {
            Some(unchanged(data, *stale, stale_since.or(Some(input.now))))
        }
        _ => None,
    }
}

/// The ConfigMap as it is: only its metadata has to be written.
fn unchanged(data: &BTreeMap<String, String>, stale: bool, since: Option<Timestamp>) -> ConfigMapWrite {
    ConfigMapWrite { data: data.clone(), stale_since: since.filter(|_| stale) }
}
