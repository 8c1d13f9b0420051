//! What the ConfigMap tells applications: the keys they mount.

use std::collections::BTreeMap;
use std::net::IpAddr;

use crate::api::cluster_ref::ClusterStatus;

/// Longest name of a host, in bytes (RFC 1035).
const MAX_HOST_BYTES: usize = 253;

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
