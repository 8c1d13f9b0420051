//! What the ConfigMap should hold, and why it cannot be had. Pure.

use std::collections::BTreeMap;
use std::net::IpAddr;

use jiff::Timestamp;

use super::super::input::Input;
use super::super::last_known::LastKnown;
use super::super::messages;
use super::state::{ConfigMapState, ConfigMapWrite};
use crate::api::Reason;
use crate::api::cluster_ref::ClusterStatus;
use crate::controllers::problem::Problem;
use crate::inventory::Sight;

/// Longest name of a host, in bytes (RFC 1035).
const MAX_HOST_BYTES: usize = 253;

/// What becomes of the ConfigMap.
#[derive(Default)]
pub(in super::super) struct ContentPlan {
    /// What to write, if it has to change.
    pub(in super::super) write: Option<ConfigMapWrite>,
    /// Why it is not as the spec wants it, if it is not.
    pub(in super::super) problem: Option<Problem>,
}

/// Decides what to write into the ConfigMap.
pub(in super::super) fn plan(input: &Input<'_>, known: &LastKnown) -> ContentPlan {
    let Some(wanted) = &input.spec.connection_config_map else { return ContentPlan::default() };
    if let Some(problem) = problem(&input.config_map, &wanted.name) {
        return ContentPlan { write: None, problem: Some(problem) };
    }
    let (data, problem) = match known.cluster.as_ref().map(connection) {
        Some(Err(NoHost)) => {
            let message = messages::config_map(&wanted.name, messages::CONFIG_MAP_WITHOUT_HOST);
            (None, Some(Problem::new(Reason::ConfigMapFailed, message)))
        }
        Some(Ok(data)) => (data, None),
        None => (None, None),
    };
    ContentPlan { write: to_write(input, known, data), problem }
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
    let is_fresh = read.is_some_and(|observation| matches!(observation.sight, Sight::Found(_)));
    // Until the first read after a start there is no news: the data is neither refreshed nor called stale.
    let is_awaited = read.is_some_and(|observation| matches!(observation.sight, Sight::NotYet));
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

/// The cloud names an endpoint that no application can connect to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in super::super) struct NoHost;

/// The keys applications mount; none while no endpoint is known.
pub(in super::super) fn connection(cluster: &ClusterStatus) -> Result<Option<BTreeMap<String, String>>, NoHost> {
    let Some(host) = cluster.endpoints.as_ref().and_then(|endpoints| endpoints.primary.clone()) else {
        return Ok(None);
    };
    let in_url = host_in_url(&host).ok_or(NoHost)?;
    let port = cluster.port.unwrap_or(6379);
    let user = cluster.user_name.clone();
    let at = user.as_ref().map(|user| format!("{}@", percent_encode(user))).unwrap_or_default();
    let mut data = BTreeMap::from([
        ("url".to_owned(), format!("redis://{at}{in_url}:{port}")),
        ("host".to_owned(), host),
        ("port".to_owned(), port.to_string()),
    ]);
    let read = cluster.endpoints.as_ref().and_then(|endpoints| endpoints.read.clone());
    let read = read.filter(|host| host_in_url(host).is_some());
    let optional = [("readHost", read), ("mode", cluster.mode.clone()), ("username", user)];
    data.extend(optional.into_iter().filter_map(|(key, value)| Some((key.to_owned(), value?))));
    Ok(Some(data))
}

/// A host as a URL has it: an IPv6 address in brackets. None for what is no host: with a blank, a `/` or an `@` in it the URL
/// would lead somewhere else.
fn host_in_url(host: &str) -> Option<String> {
    match host.parse::<IpAddr>() {
        Ok(IpAddr::V6(_)) => return Some(format!("[{host}]")),
        Ok(IpAddr::V4(_)) => return Some(host.to_owned()),
        Err(_) => {}
    }
    let is_label = |label: &str| {
        !label.is_empty() && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_')
    };
    let name = host.strip_suffix('.').unwrap_or(host);
    (host.len() <= MAX_HOST_BYTES && name.split('.').all(is_label)).then(|| host.to_owned())
}

/// A user name as the user part of a URL (RFC 3986: unreserved characters stay).
fn percent_encode(user: &str) -> String {
    user.bytes()
        .map(|byte| match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => char::from(byte).to_string(),
            _ => format!("%{byte:02X}"),
        })
        .collect()
}
