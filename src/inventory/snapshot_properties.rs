use proptest::prelude::*;

use super::*;

/// Anything that can happen to a snapshot.
#[derive(Clone, Debug)]
enum Step {
    Listed(Vec<Row<Instance>>),
    Failed,
    Read(&'static str, Option<Option<Box<Instance>>>),
}

fn instances() -> impl Strategy<Value = Instance> {
    let ids = proptest::sample::select(vec!["a", "b", "c"]);
    let names = proptest::sample::select(vec!["x", "y"]);
    (ids, names, any::<bool>()).prop_map(|(id, name, all)| if all { whole(id, name) } else { part(id, name) })
}

fn rows() -> impl Strategy<Value = Row<Instance>> {
    let id = proptest::option::of(proptest::sample::select(vec!["a", "b", "c"]));
    let name = proptest::option::of(proptest::sample::select(vec!["x", "y"]));
    prop_oneof![3 => instances().prop_map(Row::Read), 1 => (id, name).prop_map(|(id, name)| unreadable(id, name))]
}

fn steps() -> impl Strategy<Value = Step> {
    let ids = proptest::sample::select(vec!["a", "b", "c"]);
    prop_oneof![
        proptest::collection::vec(rows(), 0..4).prop_map(Step::Listed),
        Just(Step::Failed),
        (ids, proptest::option::of(proptest::option::of(instances().prop_map(Box::new))))
            .prop_map(|(id, outcome)| Step::Read(id, outcome)),
    ]
}

fn replay(steps: Vec<Step>) -> Snapshot {
    let mut snapshot = Snapshot::default();
    for (second, step) in (0..).zip(steps) {
        match step {
            Step::Listed(rows) => list_rows(&mut snapshot, second, rows),
            Step::Failed => fail(&mut snapshot),
            Step::Read(id, outcome) => {
                let outcome = outcome.ok_or_else(|| error(ErrorKind::Unavailable));
                let of_that_id = |mut instance: Instance| {
                    instance.cluster.id = Some(id.to_owned());
                    instance
                };
                read(&mut snapshot, id, at(second), outcome.map(|found| found.map(|instance| of_that_id(*instance))));
            }
        }
    }
    snapshot
}

proptest! {
    #[test]
    fn absence_by_id_was_always_confirmed(history in proptest::collection::vec(steps(), 0..12)) {
        let confirmed = history.iter().any(|step| matches!(step, Step::Read("a", Some(None))));
        let snapshot = replay(history);
        if observed(&snapshot, &by_id("a")) == Observed::Absent {
            prop_assert!(confirmed);
        }
    }

    #[test]
    fn what_is_found_is_what_was_wanted(history in proptest::collection::vec(steps(), 0..12)) {
        let snapshot = replay(history);
        if let Observed::Found(found) = observed(&snapshot, &by_id("a")) {
            prop_assert_eq!(found.cluster().id, Some("a".to_owned()));
        }
        if let Observed::Found(found) = observed(&snapshot, &by_name("x", Some("b"))) {
            prop_assert_eq!(found.cluster().name, Some("x".to_owned()));
        }
    }

    /// Reading what is due, in any state, leaves nothing due: the poller cannot spin.
    #[test]
    fn what_is_due_is_due_once(history in proptest::collection::vec(steps(), 0..12), fails in any::<bool>()) {
        let mut snapshot = replay(history);
        for query in [by_id("a"), by_name("x", Some("b")), by_group(Some("g"), None)] {
            let refresh = Some(snapshot.round());
            for id in ids_due(&snapshot, &query, Duration::MAX, refresh, at(20)) {
                let outcome = if fails { Err(error(ErrorKind::Unavailable)) } else { Ok(Some(whole(&id, "x"))) };
                read(&mut snapshot, &id, at(20), outcome);
            }
            prop_assert!(ids_due(&snapshot, &query, Duration::MAX, refresh, at(20)).is_empty());
        }
    }
}
