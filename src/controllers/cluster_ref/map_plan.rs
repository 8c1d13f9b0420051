//! What the ConfigMap of a reference should hold, and what the conditions say when it cannot be had. Pure.

use std::collections::BTreeMap;
use std::net::IpAddr;

use jiff::Timestamp;

use super::input::{ConfigMapState, Input, Picture, View};
use crate::api::cluster_ref::ClusterStatus;
use crate::api::conditions::{ConditionStatus, DesiredCondition, READY, RECONCILING, STALLED, SYNCED};
use crate::inventory::{Observation, Sight};

/// Longest name of a host, in bytes (RFC 1035).
const MAX_HOST_BYTES: usize = 253;

/// What to write into the ConfigMap.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigMapWrite {
    /// The keys applications mount.
    pub data: BTreeMap<String, String>,
    /// Since when the picture is stale, if it is.
    pub stale_since: Option<Timestamp>,
}

/// What the ConfigMap should hold, if it has to be written; one that cannot be had turns into conditions.
pub(super) fn plan(
    input: &Input<'_>,
    picture: &Picture,
    desired: &mut Vec<DesiredCondition>,
) -> Option<ConfigMapWrite> {
    let name = &input.spec.connection_config_map.as_ref()?.name;
    if let Some(refusal) = refusal(&input.config_map, name) {
        report(&refusal, desired);
        return None;
    }
    let data = match picture.cluster.as_ref().map(connection) {
        Some(Err(NoHost)) => {
            report(&no_host(name), desired);
            None
        }
        Some(Ok(data)) => data,
        None => None,
    };
    to_write(input, picture, data)
}

fn to_write(input: &Input<'_>, picture: &Picture, data: Option<BTreeMap<String, String>>) -> Option<ConfigMapWrite> {
    let fresh = matches!(&input.view, View::Seen(o) if o.problem.is_none() && matches!(o.sight, Sight::Found(_)));
    // Until the first read after a start there is no news: what stands is neither refreshed nor called stale.
    let waiting = matches!(&input.view, View::Seen(Observation { sight: Sight::NotYet, problem: None, .. }));
    let stale_since = (!fresh).then_some(picture.read_at).flatten();
    match (&input.config_map, data) {
        (ConfigMapState::Absent, Some(data)) => Some(ConfigMapWrite { data, stale_since }),
        (ConfigMapState::Owned { data: have, stale, intact }, Some(data)) => {
            let differs = *have != data || *stale != stale_since.is_some();
            if differs && !waiting {
                return Some(ConfigMapWrite { data, stale_since });
            }
            (!intact).then(|| as_it_stands(have, *stale, stale_since.or(Some(input.now))))
        }
        (ConfigMapState::Owned { data, stale: false, .. }, None) if !fresh => {
            Some(ConfigMapWrite { data: data.clone(), stale_since: Some(input.now) })
        }
        (ConfigMapState::Owned { data, stale, intact: false }, None) => {
            Some(as_it_stands(data, *stale, stale_since.or(Some(input.now))))
        }
        _ => None,
    }
}

/// The map as it is, for its metadata alone.
fn as_it_stands(data: &BTreeMap<String, String>, stale: bool, since: Option<Timestamp>) -> ConfigMapWrite {
    ConfigMapWrite { data: data.clone(), stale_since: since.filter(|_| stale) }
}

/// Why a ConfigMap that is wanted cannot be had.
struct Refusal {
    reason: &'static str,
    message: String,
    needs_a_person: bool,
}

fn refusal(state: &ConfigMapState, name: &str) -> Option<Refusal> {
    let (reason, message, needs_a_person) = match state {
        ConfigMapState::NotOwned => (
            "ConfigMapNotOwned",
            format!(
                "ConfigMap {name} exists and does not belong to this object, so it is left alone: delete it or name another"
            ),
            true,
        ),
        ConfigMapState::Disabled => (
            "ConfigMapsDisabled",
            format!(
                "ConfigMap {name} is not kept: this operator runs with --connection-config-maps=false; \
                 remove spec.connectionConfigMap, or have it enabled"
            ),
            true,
        ),
        ConfigMapState::Failed(problem) => {
            ("ConfigMapFailed", format!("ConfigMap {name} {}", problem.message), problem.needs_a_person)
        }
        ConfigMapState::NotWanted | ConfigMapState::Absent | ConfigMapState::Owned { .. } => return None,
    };
    Some(Refusal { reason, message, needs_a_person })
}

fn no_host(name: &str) -> Refusal {
    let message = format!(
        "ConfigMap {name} is not written: the cloud names an endpoint that is neither a host name nor an IP address, \
         see status.cluster.endpoints. It is written when the cloud names a host."
    );
    Refusal { reason: "ConfigMapFailed", message, needs_a_person: false }
}

/// Ready=False for want of the ConfigMap, unless something worse is the matter.
fn report(refusal: &Refusal, desired: &mut Vec<DesiredCondition>) {
    if desired.iter().any(|condition| condition.type_ == STALLED) {
        return;
    }
    let Refusal { reason, message, needs_a_person } = refusal;
    desired.retain(|condition| condition.type_ == SYNCED);
    desired.push(DesiredCondition::new(READY, ConditionStatus::False, reason, message.clone()));
    let type_ = if *needs_a_person { STALLED } else { RECONCILING };
    desired.push(DesiredCondition::new(type_, ConditionStatus::True, reason, message.clone()));
}

/// The cloud names an endpoint that no application can connect to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct NoHost;

/// The keys applications mount; none while no endpoint is known.
pub(super) fn connection(cluster: &ClusterStatus) -> Result<Option<BTreeMap<String, String>>, NoHost> {
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

/// A host as it stands in a URL, which for IPv6 is in brackets. None for what is no host: with a blank, a `/` or an `@` in it the
/// URL would lead somewhere else.
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
