//! What becomes of the ConfigMap that applications mount.

use std::collections::BTreeMap;

use super::*;
use crate::controllers::cluster_ref::config_map::content::{NoHost, connection};

fn data<const N: usize>(pairs: [(&str, &str); N]) -> BTreeMap<String, String> {
    pairs.into_iter().map(|(key, value)| (key.to_owned(), value.to_owned())).collect()
}

/// The ConfigMap of the picture of [`cluster`].
pub(super) fn connection_data() -> BTreeMap<String, String> {
    data([
        ("host", "primary.example"),
        ("port", "6380"),
        ("readHost", "read.example"),
        ("url", "redis://app%20user@primary.example:6380"),
        ("mode", "Standalone"),
        ("username", "app user"),
    ])
}

#[test]
fn what_becomes_of_the_config_map() {
    let owned = |data: BTreeMap<String, String>, stale| ConfigMapState::Owned { data, stale, intact: true };
    let returned = |data: BTreeMap<String, String>, stale| ConfigMapState::Owned { data, stale, intact: false };
    let as_it_was = |stale_since| Some(ConfigMapWrite { data: data([("host", "old.example")]), stale_since });
    let (good, old) = (connection_data(), data([("host", "old.example")]));
    let fresh = || Some(ConfigMapWrite { data: connection_data(), stale_since: None });
    let stale = || Some(ConfigMapWrite { data: connection_data(), stale_since: Some(at(0)) });
    let down = || failing(found(Some("Running"), 0), ErrorKind::Unavailable);
    let blocked = || CloudObservation::Blocked(Problem::new(Reason::CredentialsNotFound, "no Secret"));
    let cases: Vec<(&str, CloudObservation, ConfigMapState, Option<ConfigMapWrite>)> = vec![
        ("made", running(0), ConfigMapState::Absent, fresh()),
        ("as it should be", running(0), owned(good.clone(), false), None),
        ("changed", running(0), owned(old.clone(), false), fresh()),
        ("fresh again", running(0), owned(good.clone(), true), fresh()),
        ("stale in an outage", down(), owned(good.clone(), false), stale()),
        ("stale already", down(), owned(good.clone(), true), None),
        ("made in an outage", down(), ConfigMapState::Absent, stale()),
        ("stale without a credential", blocked(), owned(good.clone(), false), stale()),
        ("no news after a restart", seen(Observed::NotYet), owned(old.clone(), false), None),
        (
            "kept when the cluster is gone",
            seen(Observed::Absent),
            owned(old.clone(), false),
            Some(ConfigMapWrite { data: old.clone(), stale_since: Some(at(60)) }),
        ),
        ("kept on", seen(Observed::Absent), owned(old.clone(), true), None),
        ("came back", running(0), returned(good, false), fresh()),
        ("came back with old data", running(0), returned(old.clone(), true), fresh()),
        ("came back in an outage", down(), returned(old.clone(), false), stale()),
        ("came back before the first read", seen(Observed::NotYet), returned(old.clone(), false), as_it_was(None)),
        (
            "came back stale before the first read",
            seen(Observed::NotYet),
            returned(old.clone(), true),
            as_it_was(Some(at(0))),
        ),
        ("came back when the cluster is gone", seen(Observed::Absent), returned(old, true), as_it_was(Some(at(60)))),
        ("not made without an endpoint", seen(Observed::Absent), ConfigMapState::Absent, None),
        ("somebody else's", running(0), ConfigMapState::NotOwned, None),
    ];
    for (case, cloud, config_map, wanted) in cases {
        let plan = plan_with(&with_map(), &stands(), cloud, config_map, 60);
        assert_eq!(plan.config_map, wanted, "{case}");
        assert_eq!(plan.status.connection_config_map.as_deref(), Some("cart-redis"), "{case}");
    }
    assert_eq!(plan_with(&spec(), &stands(), running(0), ConfigMapState::NotWanted, 60).config_map, None);
}

#[test]
fn a_foreign_config_map_shows_in_the_conditions() {
    let with = |cloud| plan_with(&with_map(), &stands(), cloud, ConfigMapState::NotOwned, 60).status;
    assert_eq!(
        words(&with(running(0))),
        ["Ready=False ConfigMapNotOwned", "Stalled=True ConfigMapNotOwned", SYNCED_TRUE]
    );
    // What is worse comes first.
    assert_eq!(words(&with(seen(Observed::Absent)))[1], "Stalled=True ClusterNotFound");
}

#[test]
fn config_maps_that_are_disabled_are_neither_made_nor_forgotten() {
    let with = |spec: &RedisClusterRefSpec, previous: &RedisClusterRefStatus| {
        plan_with(spec, previous, running(0), ConfigMapState::Disabled, 60)
    };
    let plan = with(&with_map(), &stands());
    assert_eq!(plan.config_map, None);
    assert_eq!(words(&plan.status), ["Ready=False ConfigMapsDisabled", "Stalled=True ConfigMapsDisabled", SYNCED_TRUE]);
    assert_eq!(plan.status.connection_config_map, None, "none was made");
    // One that was made before is removed when they are enabled again; nobody misses it meanwhile.
    let before = RedisClusterRefStatus { connection_config_map: Some("cart-redis".to_owned()), ..stands() };
    let plan = with(&spec(), &before);
    assert_eq!(plan.status.connection_config_map.as_deref(), Some("cart-redis"));
    assert_eq!(words(&plan.status)[0], "Ready=True Running");
}

#[test]
fn an_address_without_port_user_or_endpoint() {
    let mut bare = cluster();
    (bare.port, bare.user_name, bare.mode) = (None, None, None);
    bare.endpoints.as_mut().unwrap().read = None;
    let wanted = data([("host", "primary.example"), ("port", "6379"), ("url", "redis://primary.example:6379")]);
    assert_eq!(connection(&bare), Ok(Some(wanted)));
    bare.endpoints = None;
    assert_eq!(connection(&bare), Ok(None));
}

/// What a cloud names as a host, and how it stands in the URL.
#[test]
fn a_host_is_a_host() {
    let url = |host: &str| {
        let endpoints = EndpointsStatus { primary: Some(host.to_owned()), read: Some(host.to_owned()) };
        connection(&ClusterStatus { endpoints: Some(endpoints), ..ClusterStatus::default() })
            .map(|data| data.map(|data| data["url"].clone()))
    };
    for (host, wanted) in [
        ("a.example", "redis://a.example:6379"),
        ("A_b-1.example.", "redis://A_b-1.example.:6379"),
        ("10.0.0.7", "redis://10.0.0.7:6379"),
        ("fd00::7", "redis://[fd00::7]:6379"),
    ] {
        assert_eq!(url(host), Ok(Some(wanted.to_owned())), "{host}");
    }
    let long = format!("{}.example", "a".repeat(250));
    for host in
        ["a b", "a\nb", "evil.example/x", "user@evil.example", "a:b@c", "a..b", ".", "", "a?b", "a#b", "호스트", &long]
    {
        assert_eq!(url(host), Err(NoHost), "{host:?}");
    }
    let mut partly = cluster();
    partly.endpoints.as_mut().unwrap().read = Some("no host".to_owned());
    assert!(!connection(&partly).unwrap().unwrap().contains_key("readHost"));
}

#[test]
fn an_endpoint_that_is_no_host_is_told_and_never_written() {
    let mut strange = cluster();
    strange.endpoints.as_mut().unwrap().primary = Some("user@evil.example".to_owned());
    let picture =
        Seen { state: Some("Running".to_owned()), cluster: strange, complete: true, provider: Provider::KakaoCloud };
    let cloud = seen(Observed::Found(ObservedInstance::whole(picture, at(0))));
    let plan = plan_with(&with_map(), &stands(), cloud, ConfigMapState::Absent, 60);
    assert_eq!(plan.config_map, None);
    assert_eq!(words(&plan.status), ["Ready=False ConfigMapFailed", "Reconciling=True ConfigMapFailed", SYNCED_TRUE]);
    assert!(message(&plan.status, READY).contains("neither a host name nor an IP address"));
}

#[test]
fn a_config_map_that_fails_shows_in_the_conditions_beside_the_picture() {
    let failed = |needs_a_person| {
        let message = "cannot be written: exceeded quota. It is tried again.".to_owned();
        ConfigMapState::Failed(ConfigMapProblem { message, needs_a_person, again: Duration::from_secs(4) })
    };
    let with = |cloud, state| plan_with(&with_map(), &stands(), cloud, state, 60);
    let plan = with(running(0), failed(true));
    assert_eq!(words(&plan.status), ["Ready=False ConfigMapFailed", "Stalled=True ConfigMapFailed", SYNCED_TRUE]);
    assert_eq!(plan.status.cluster, Some(cluster()));
    assert_eq!(
        message(&plan.status, READY),
        "ConfigMap cart-redis cannot be written: exceeded quota. It is tried again."
    );
    assert_eq!((plan.config_map, plan.requeue_after), (None, Duration::from_secs(4)));
    let plan = with(running(0), failed(false));
    assert_eq!(words(&plan.status)[1], "Reconciling=True ConfigMapFailed", "what heals by itself is not Stalled");
    assert_eq!(words(&with(seen(Observed::Absent), failed(true)).status)[1], "Stalled=True ClusterNotFound");
    let blocked = CloudObservation::Blocked(Problem::new(Reason::CredentialsNotFound, "no Secret"));
    assert_eq!(with(blocked, failed(true)).requeue_after, Duration::from_secs(4));
}

#[test]
fn a_config_map_that_could_not_be_deleted_is_remembered() {
    let previous = RedisClusterRefStatus { connection_config_map: Some("old".to_owned()), ..stands() };
    let plan = |obsolete_remains| {
        plan(&Input {
            spec: &with_map(),
            generation: 3,
            requested_at: None,
            previous: &previous,
            cloud: running(0),
            config_map: ConfigMapState::Owned { data: connection_data(), stale: false, intact: true },
            obsolete_remains,
            heartbeat: HEARTBEAT,
            phase: PHASE,
            now: at(60),
        })
    };
    assert_eq!(plan(true).status.connection_config_map.as_deref(), Some("old"));
    assert!(plan(true).requeue_after <= Duration::from_secs(60));
    assert_eq!(plan(false).status.connection_config_map.as_deref(), Some("cart-redis"));
}
