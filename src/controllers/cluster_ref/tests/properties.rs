//! What holds through any history.

use proptest::prelude::*;

use super::config_map::connection_data;
use super::*;

fn sights() -> impl Strategy<Value = Observed> {
    let states = proptest::sample::select(vec![None, Some("Running"), Some("Modifying"), Some("stopped"), Some("New")]);
    prop_oneof![
        Just(Observed::NotYet),
        Just(Observed::Absent),
        Just(Observed::Ambiguous(vec!["a".to_owned(), "b".to_owned()])),
        (states, 0_i64..1000).prop_map(|(state, second)| found(state, second)),
    ]
}

fn observations() -> impl Strategy<Value = (u8, Observed, Option<ErrorKind>, bool)> {
    let kinds = proptest::sample::select(vec![
        ErrorKind::CredentialsRejected,
        ErrorKind::RateLimited,
        ErrorKind::Unavailable,
        ErrorKind::UnexpectedResponse,
    ]);
    (0_u8..8, sights(), proptest::option::of(kinds), any::<bool>())
}

fn cloud((which, observed, kind, done): (u8, Observed, Option<ErrorKind>, bool)) -> CloudObservation {
    match (which, kind) {
        (0, _) => CloudObservation::Suspended,
        (1, _) => CloudObservation::Blocked(Problem::new(Reason::CredentialsNotFound, "no Secret")),
        (2, _) => CloudObservation::Blocked(Problem::new(Reason::CloudUnavailable, "later")),
        (_, Some(kind)) => failing(observed, kind),
        (_, None) => CloudObservation::Read(Observation { observed, problem: None, engine: None, refresh_done: done }),
    }
}

fn config_maps() -> impl Strategy<Value = ConfigMapState> {
    let owned = any::<(bool, bool, bool)>().prop_map(|(good, stale, intact)| ConfigMapState::Owned {
        intact,
        data: if good { connection_data() } else { std::collections::BTreeMap::new() },
        stale,
    });
    prop_oneof![Just(ConfigMapState::Absent), Just(ConfigMapState::NotOwned), Just(ConfigMapState::Disabled), owned]
}

proptest! {
    #[test]
    fn conditions_keep_their_rules_through_any_history(
        history in proptest::collection::vec((observations(), config_maps(), 0_i64..400), 1..8),
    ) {
        let spec = with_map();
        let mut status = RedisClusterRefStatus::default();
        let mut second = 0;
        for (seen, config_map, pause) in history {
            second += pause;
            let before = status;
            status = plan_with(&spec, &before, cloud(seen.clone()), config_map.clone(), second).status;
            let types: Vec<&str> = status.conditions.iter().map(|condition| condition.type_.as_str()).collect();
            prop_assert!(types.contains(&READY) && types.contains(&SYNCED), "{:?}", types);
            prop_assert!(!(types.contains(&RECONCILING) && types.contains(&STALLED)), "{:?}", types);
            for condition in &status.conditions {
                prop_assert_eq!(condition.observed_generation, Some(3));
                prop_assert!(!condition.reason.is_empty() && !condition.message.is_empty());
                if condition.type_ == RECONCILING || condition.type_ == STALLED {
                    prop_assert_eq!(condition.status.as_str(), "True");
                }
                let same = find(&before.conditions, &condition.type_).filter(|was| was.status == condition.status);
                match same {
                    Some(was) => prop_assert_eq!(&condition.last_transition_time, &was.last_transition_time),
                    None => prop_assert_eq!(condition.last_transition_time.0, at(second)),
                }
            }
            prop_assert!(!(is_true(&status.conditions, READY) && types.contains(&STALLED)), "Ready though stalled");
            // Planning again on its own status changes nothing.
            let again = plan_with(&spec, &status, cloud(seen), config_map, second).status;
            prop_assert_eq!(&again, &status);
        }
    }

    #[test]
    fn a_config_map_is_written_once_and_never_over_somebody_else_s(
        seen in observations(), config_map in config_maps(), second in 0_i64..2000,
    ) {
        let spec = with_map();
        let before = stands();
        let foreign = matches!(config_map, ConfigMapState::NotOwned | ConfigMapState::Disabled);
        if let Some(write) = plan_with(&spec, &before, cloud(seen.clone()), config_map, second).config_map {
            prop_assert!(!foreign);
            let written = ConfigMapState::Owned { data: write.data, stale: write.stale_since.is_some(), intact: true };
            prop_assert_eq!(plan_with(&spec, &before, cloud(seen), written, second).config_map, None);
        }
    }
}
