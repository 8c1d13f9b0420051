//! What becomes of the ConfigMap that applications mount.

use super::*;

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
    let owned = |data: BTreeMap<String, String>, stale| ConfigMapState::Owned { data, stale };
    let (good, old) = (connection_data(), data([("host", "old.example")]));
    let fresh = || Some(ConfigMapWrite { data: connection_data(), stale_since: None });
    let stale = || Some(ConfigMapWrite { data: connection_data(), stale_since: Some(at(0)) });
    let down = || failing(found(Some("Running"), 0), ErrorKind::Unavailable);
    let blocked = || View::Blocked(Problem::stalled("CredentialsNotFound", "no Secret"));
    let cases: Vec<(&str, View, ConfigMapState, Option<ConfigMapWrite>)> = vec![
        ("made", running(0), ConfigMapState::Absent, fresh()),
        ("as it should be", running(0), owned(good.clone(), false), None),
        ("changed", running(0), owned(old.clone(), false), fresh()),
        ("fresh again", running(0), owned(good.clone(), true), fresh()),
        ("stale in an outage", down(), owned(good.clone(), false), stale()),
        ("stale already", down(), owned(good.clone(), true), None),
        ("made in an outage", down(), ConfigMapState::Absent, stale()),
        ("stale without a credential", blocked(), owned(good, false), stale()),
        ("no news after a restart", seen(Sight::NotYet), owned(old.clone(), false), None),
        (
            "kept when the cluster is gone",
            seen(Sight::Absent),
            owned(old.clone(), false),
            Some(ConfigMapWrite { data: old.clone(), stale_since: Some(at(60)) }),
        ),
        ("kept on", seen(Sight::Absent), owned(old, true), None),
        ("not made without an endpoint", seen(Sight::Absent), ConfigMapState::Absent, None),
        ("somebody else's", running(0), ConfigMapState::NotOwned, None),
    ];
    for (case, view, config_map, wanted) in cases {
        let plan = plan_with(&with_map(), &stands(), view, config_map, 60);
        assert_eq!(plan.config_map, wanted, "{case}");
        assert_eq!(plan.status.connection_config_map.as_deref(), Some("cart-redis"), "{case}");
    }
    assert_eq!(plan_with(&spec(), &stands(), running(0), ConfigMapState::NotWanted, 60).config_map, None);
}

#[test]
fn a_foreign_config_map_shows_in_the_conditions() {
    let with = |view| plan_with(&with_map(), &stands(), view, ConfigMapState::NotOwned, 60).status;
    assert_eq!(
        words(&with(running(0))),
        ["Ready=False ConfigMapNotOwned", "Stalled=True ConfigMapNotOwned", SYNCED_TRUE]
    );
    // What is worse comes first.
    assert_eq!(words(&with(seen(Sight::Absent)))[1], "Stalled=True ClusterNotFound");
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
    assert_eq!(connection(&bare), Some(wanted));
    bare.endpoints = None;
    assert_eq!(connection(&bare), None);
}
