use std::collections::HashMap;

use super::*;
use crate::api::Provider;
use crate::api::cluster_ref::{ClusterStatus, EngineStatus, FlavorStatus, ParameterGroupStatus};
use crate::cloud::ErrorKind;

#[path = "snapshot_properties.rs"]
mod properties;
#[path = "unreadable_tests.rs"]
mod unreadable_entries;

const MINUTE: Duration = Duration::from_secs(60);

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(1_800_000_000 + second).unwrap()
}

/// The round of a list by its number, from 1.
fn round(number: usize) -> Round {
    (0..number).fold(Round::default(), |round, _| round.next())
}

fn group(id: &str, sync_status: &str) -> ParameterGroupStatus {
    ParameterGroupStatus {
        id: Some(id.to_owned()),
        name: Some(format!("name of {id}")),
        sync_status: Some(sync_status.to_owned()),
    }
}

/// A cluster as a whole answer shows it.
fn whole(id: &str, name: &str) -> Instance {
    let cluster = ClusterStatus {
        id: Some(id.to_owned()),
        name: Some(name.to_owned()),
        parameter_group: Some(group("g", "In-Sync")),
        ..ClusterStatus::default()
    };
    Instance { provider: Provider::KakaoCloud, state: Some("Running".to_owned()), cluster, complete: true }
}

/// A cluster as a list shows it that leaves the parameter group out.
fn part(id: &str, name: &str) -> Instance {
    let mut instance = whole(id, name);
    instance.cluster.parameter_group = None;
    instance.complete = false;
    instance
}

fn error(kind: ErrorKind) -> CloudError {
    CloudError { http_status: Some(503), ..CloudError::sample(Provider::KakaoCloud, "listClusters", kind) }
}

fn by_id(id: &str) -> Query {
    Query::Id(id.to_owned())
}

fn by_name(name: &str, last_id: Option<&str>) -> Query {
    Query::Name { name: name.to_owned(), last_id: last_id.map(str::to_owned) }
}

fn by_group(id: Option<&str>, name: Option<&str>) -> Query {
    Query::Group { id: id.map(str::to_owned), name: name.map(str::to_owned) }
}

/// A snapshot after a good list.
fn listing(instances: Vec<Instance>) -> Snapshot {
    let mut snapshot = Snapshot::default();
    list(&mut snapshot, 0, instances);
    snapshot
}

fn take_in(snapshot: &mut Snapshot, second: i64, instances: Vec<Instance>) {
    let listed = instances.into_iter().map(|instance| snapshot.recognise(Row::Read(instance))).collect();
    snapshot.listed(at(second), listed);
}

fn read(snapshot: &mut Snapshot, id: &str, at: Timestamp, outcome: Result<Option<Instance>, CloudError>) {
    let begun = snapshot.begin_read(id, at);
    snapshot.read(id, begun, outcome);
}

fn ids_due(
    snapshot: &Snapshot,
    query: &Query,
    interval: Duration,
    refresh: Option<Round>,
    now: Timestamp,
) -> Vec<String> {
    snapshot.reads_due(query, interval, refresh, now).into_iter().map(|due| due.id.to_string()).collect()
}

fn list(snapshot: &mut Snapshot, second: i64, instances: Vec<Instance>) {
    snapshot.begin_list();
    take_in(snapshot, second, instances);
}

fn fail(snapshot: &mut Snapshot) {
    snapshot.begin_list();
    snapshot.failed(error(ErrorKind::Unavailable), false);
}

fn observed(snapshot: &Snapshot, query: &Query) -> Observed {
    snapshot.observe(query, None, None).observed
}

/// A observed in a word, to be compared in tables.
fn word(observed: &Observed) -> String {
    match observed {
        Observed::NotYet => "not yet".to_owned(),
        Observed::Found(found) => format!("found {}", found.cluster().id.as_deref().unwrap_or("?")),
        Observed::Members(members) => {
            let ids: Vec<String> = members.iter().filter_map(|found| found.cluster().id).collect();
            format!("members {}", ids.join(" "))
        }
        Observed::Ambiguous(ids) => format!("ambiguous {}", ids.join(" ")),
        Observed::Absent => "absent".to_owned(),
    }
}

/// An entry of a list that cannot be read.
fn unreadable(id: Option<&str>, name: Option<&str>) -> Row<Instance> {
    let error = Arc::new(CloudError { http_status: Some(200), ..error(ErrorKind::UnexpectedResponse) });
    Row::Unreadable(UnreadableRow { id: id.map(str::to_owned), name: name.map(str::to_owned), error })
}

fn list_rows(snapshot: &mut Snapshot, second: i64, rows: Vec<Row<Instance>>) {
    snapshot.begin_list();
    let listed = rows.into_iter().map(|row| snapshot.recognise(row)).collect();
    snapshot.listed(at(second), listed);
}

#[test]
fn before_the_first_list_nothing_is_known() {
    let mut snapshot = Snapshot::default();
    for query in [by_id("a"), by_name("x", None), by_group(Some("g"), None)] {
        assert_eq!(observed(&snapshot, &query), Observed::NotYet);
        assert!(ids_due(&snapshot, &query, MINUTE, None, at(0)).is_empty(), "the list comes first");
    }
    fail(&mut snapshot);
    let observation = snapshot.observe(&by_id("a"), None, None);
    assert_eq!(
        (observation.observed, observation.problem),
        (Observed::NotYet, Some(Arc::new(error(ErrorKind::Unavailable))))
    );
    assert!(ids_due(&snapshot, &by_id("a"), MINUTE, None, at(0)).is_empty(), "a failed list never means absence");
}

#[test]
fn what_a_list_says_of_each_want() {
    let snapshot = listing(vec![whole("a", "x"), whole("b", "twin"), whole("c", "twin")]);
    for (query, wanted, due) in [
        (by_id("a"), "found a", vec![]),
        (by_id("z"), "not yet", vec!["z"]),
        (by_name("x", None), "found a", vec![]),
        (by_name("x", Some("gone")), "found a", vec![]),
        (by_name("twin", None), "ambiguous b c", vec![]),
        (by_name("twin", Some("b")), "ambiguous b c", vec![]),
        (by_name("nobody", None), "absent", vec![]),
        (by_name("nobody", Some("z")), "not yet", vec!["z"]),
        // It has another name by now.
        (by_name("nobody", Some("a")), "absent", vec![]),
        (by_group(Some("g"), None), "members a b c", vec![]),
        (by_group(None, Some("name of g")), "members a b c", vec![]),
        (by_group(Some("g"), Some("another")), "members a b c", vec![]),
        (by_group(Some("h"), None), "members ", vec![]),
        (by_group(None, None), "members ", vec![]),
    ] {
        assert_eq!(word(&observed(&snapshot, &query)), wanted, "{query:?}");
        assert_eq!(ids_due(&snapshot, &query, MINUTE, None, at(0)), due, "{query:?}");
    }
}

#[test]
fn a_cluster_that_is_listed_twice_is_one() {
    // As when it moves from one page to the next between two requests.
    let snapshot = listing(vec![whole("a", "old name"), whole("b", "y"), whole("a", "x")]);
    for (name, wanted) in [("x", "found a"), ("y", "found b"), ("old name", "absent")] {
        assert_eq!(word(&observed(&snapshot, &by_name(name, None))), wanted, "{name}");
    }
    assert_eq!(word(&observed(&snapshot, &by_group(Some("g"), None))), "members a b");
    let twice = listing(vec![whole("a", "x"), whole("a", "x")]);
    assert_eq!(word(&observed(&twice, &by_name("x", None))), "found a", "not ambiguous");
}

#[test]
fn what_a_single_read_says_of_a_cluster_the_list_lacks() {
    let renamed = || Ok(Some(whole("z", "renamed")));
    for (query, outcome, wanted) in [
        (by_id("z"), Ok(Some(whole("z", "x"))), "found z"),
        (by_id("z"), Ok(None), "absent"),
        (by_id("z"), Err(error(ErrorKind::Unavailable)), "not yet"),
        (by_name("x", Some("z")), Ok(Some(whole("z", "x"))), "found z"),
        (by_name("x", Some("z")), renamed(), "absent"),
        (by_id("z"), renamed(), "found z"),
        (by_name("x", Some("z")), Ok(None), "absent"),
        (by_name("x", Some("z")), Err(error(ErrorKind::Unavailable)), "not yet"),
    ] {
        let mut snapshot = listing(vec![]);
        let problem = outcome.as_ref().err().cloned();
        read(&mut snapshot, "z", at(1), outcome);
        let observation = snapshot.observe(&query, None, None);
        assert_eq!(word(&observation.observed), wanted, "{query:?}");
        assert_eq!(observation.problem.as_deref(), problem.as_ref(), "{query:?}");
        assert!(ids_due(&snapshot, &query, MINUTE, None, at(2)).is_empty(), "{query:?}: once for each list");
        list(&mut snapshot, 10, vec![]);
        assert_eq!(ids_due(&snapshot, &query, MINUTE, None, at(11)), ["z"], "{query:?}: again with the next list");
    }
}

#[test]
fn a_failed_list_keeps_what_was_seen_and_names_the_problem() {
    let mut snapshot = listing(vec![whole("a", "x")]);
    fail(&mut snapshot);
    for (query, wanted) in [(by_id("a"), "found a"), (by_name("x", None), "found a"), (by_id("z"), "not yet")] {
        let observation = snapshot.observe(&query, None, None);
        assert_eq!(word(&observation.observed), wanted);
        assert_eq!(observation.problem.as_deref(), Some(&error(ErrorKind::Unavailable)));
        assert!(ids_due(&snapshot, &query, MINUTE, None, at(1)).is_empty(), "nothing is read while lists fail");
    }
    list(&mut snapshot, 2, vec![whole("a", "x")]);
    assert_eq!(snapshot.observe(&by_id("a"), None, None).problem, None, "no trace");
}

#[test]
fn a_part_is_completed_by_a_single_read() {
    let mut snapshot = listing(vec![part("a", "x")]);
    let query = by_id("a");
    let Observed::Found(found) = observed(&snapshot, &query) else { panic!("it is listed") };
    assert_eq!((&found.cluster().parameter_group, found.parameters_read_at), (&None, None));
    assert_eq!(ids_due(&snapshot, &query, MINUTE, None, at(0)), ["a"]);
    read(&mut snapshot, "a", at(1), Ok(Some(whole("a", "an older name"))));
    let Observed::Found(found) = observed(&snapshot, &query) else { panic!("it is listed") };
    assert_eq!(found.cluster().parameter_group, Some(group("g", "In-Sync")));
    assert_eq!(found.cluster().name.as_deref(), Some("x"), "the list has the word on all else");
    assert_eq!((found.read_at, found.parameters_read_at), (at(0), Some(at(1))));
    assert!(ids_due(&snapshot, &query, MINUTE, None, at(60)).is_empty(), "for one interval");
    assert_eq!(ids_due(&snapshot, &query, MINUTE, None, at(61)), ["a"]);
}

#[test]
fn a_part_without_parameter_group_is_known_to_have_none() {
    let mut snapshot = listing(vec![part("a", "x")]);
    read(&mut snapshot, "a", at(1), Ok(Some(part("a", "x"))));
    let Observed::Found(found) = observed(&snapshot, &by_id("a")) else { panic!("it is listed") };
    assert_eq!((&found.cluster().parameter_group, found.parameters_read_at), (&None, Some(at(1))));
}

#[test]
fn a_part_that_changed_in_the_list_is_read_again_at_once() {
    let mut snapshot = listing(vec![part("a", "x")]);
    read(&mut snapshot, "a", at(1), Ok(Some(whole("a", "x"))));
    list(&mut snapshot, 2, vec![part("a", "x")]);
    assert!(ids_due(&snapshot, &by_id("a"), MINUTE, None, at(3)).is_empty(), "the same as before");
    let changed = Instance { state: Some("Modifying".to_owned()), ..part("a", "x") };
    list(&mut snapshot, 4, vec![changed]);
    assert_eq!(ids_due(&snapshot, &by_id("a"), MINUTE, None, at(5)), ["a"]);
}

#[test]
fn a_single_read_that_fails_keeps_the_parameter_group() {
    let mut snapshot = listing(vec![part("a", "x")]);
    read(&mut snapshot, "a", at(1), Ok(Some(whole("a", "x"))));
    read(&mut snapshot, "a", at(70), Err(error(ErrorKind::Unavailable)));
    let Observed::Found(found) = observed(&snapshot, &by_id("a")) else { panic!("it is listed") };
    assert_eq!(found.parameters_read_at, Some(at(1)), "as old as it is");
    assert!(found.cluster().parameter_group.is_some());
}

#[test]
fn members_of_a_group_are_found_by_reading_what_the_list_shows_in_part() {
    let query = by_group(Some("g"), None);
    let mut snapshot = listing(vec![part("b", "x"), whole("a", "y"), part("c", "z")]);
    assert_eq!(word(&observed(&snapshot, &query)), "members a");
    let mut due = ids_due(&snapshot, &query, MINUTE, None, at(0));
    due.sort();
    assert_eq!(due, ["b", "c"]);
    read(&mut snapshot, "b", at(1), Ok(Some(whole("b", "x"))));
    let mut other = whole("c", "z");
    other.cluster.parameter_group = Some(group("h", "In-Sync"));
    read(&mut snapshot, "c", at(1), Ok(Some(other)));
    assert_eq!(word(&observed(&snapshot, &query)), "members a b", "in the order of their IDs");
}

#[test]
fn a_forced_read_is_done_when_its_list_has_ended() {
    let mut snapshot = listing(vec![whole("a", "x"), part("b", "y")]);
    read(&mut snapshot, "b", at(1), Ok(Some(whole("b", "y"))));
    let done = |snapshot: &Snapshot, id: &str| snapshot.observe(&by_id(id), Some(round(2)), None).refresh_done;
    assert!(!done(&snapshot, "a"), "nothing was read since");
    snapshot.begin_list();
    assert!(!done(&snapshot, "a"), "the list is under way");
    take_in(&mut snapshot, 2, vec![whole("a", "x"), part("b", "y")]);
    assert!(done(&snapshot, "a"));
    assert!(!done(&snapshot, "b"), "the single read is still to come");
    assert_eq!(
        ids_due(&snapshot, &by_id("b"), MINUTE, Some(round(2)), at(3)),
        ["b"],
        "though it was read a moment ago"
    );
    read(&mut snapshot, "b", at(3), Err(error(ErrorKind::Unavailable)));
    assert!(done(&snapshot, "b"), "it was tried");
}

#[test]
fn a_forced_read_is_done_when_its_list_has_failed() {
    let mut snapshot = listing(vec![part("a", "x")]);
    fail(&mut snapshot);
    let observation = snapshot.observe(&by_id("a"), Some(round(2)), None);
    assert!(observation.refresh_done && observation.problem.is_some());
}

#[test]
fn the_sentence_follows_the_fault_and_does_not_alternate_with_it() {
    let mut snapshot = listing(vec![whole("a", "x")]);
    let told = |snapshot: &Snapshot| snapshot.observe(&by_id("a"), None, None).problem.unwrap().message.clone();
    let mut fails = |message: &str, was_asked| {
        snapshot.begin_list();
        let error = CloudError { message: message.to_owned(), ..error(ErrorKind::UnexpectedResponse) };
        snapshot.failed(error, was_asked);
        told(&snapshot)
    };
    assert_eq!(fails("larger than 64 MiB", false), "larger than 64 MiB");
    assert_eq!(fails("larger than 32 MiB", false), "larger than 64 MiB", "a number is no news");
    assert_eq!(fails("an HTML page", false), "larger than 64 MiB", "once is chance");
    assert_eq!(fails("larger than 64 MiB", false), "larger than 64 MiB");
    assert_eq!(fails("an HTML page", false), "larger than 64 MiB", "and so it is when faults alternate");
    assert_eq!(fails("an HTML page", false), "an HTML page", "twice in a row is news");
    assert_eq!(fails("an empty body", true), "an empty body", "somebody asked");
}

#[test]
fn an_older_list_cannot_refuse() {
    let snapshot = listing(vec![whole("a", "x"), whole("b", "twin"), whole("c", "twin")]);
    for (query, new, old) in [
        (by_name("nobody", None), "not yet", "absent"),
        (by_name("twin", None), "not yet", "ambiguous b c"),
        (by_group(Some("h"), None), "not yet", "members "),
        (by_name("x", None), "found a", "found a"),
        (by_group(Some("g"), None), "members a b c", "members a b c"),
    ] {
        assert_eq!(word(&snapshot.observe(&query, None, Some(round(2))).observed), new, "{query:?}");
        assert_eq!(word(&snapshot.observe(&query, None, Some(round(1))).observed), old, "{query:?}");
        assert_eq!(snapshot.lacks(&query), new == "not yet", "{query:?}");
    }
}

#[test]
fn what_the_catalog_adds() {
    let mut instance = whole("a", "x");
    instance.cluster.engine_version = Some("6.2.9".to_owned());
    let flavor = |name: Option<&str>, vcpus| FlavorStatus {
        id: Some("f".to_owned()),
        name: name.map(str::to_owned),
        vcpus,
        memory_mib: None,
    };
    instance.cluster.flavor = Some(flavor(None, Some(2)));
    let mut snapshot = listing(vec![instance.clone()]);
    let observe = |snapshot: &Snapshot| {
        let observation = snapshot.observe(&by_id("a"), None, None);
        let Observed::Found(found) = observation.observed else { panic!("it is listed") };
        (found.cluster().flavor.unwrap(), observation.engine)
    };
    assert_eq!(observe(&snapshot), (flavor(None, Some(2)), None), "nothing is offered yet");
    let versions = ["6.2.9", "6.2.10"].map(str::to_owned).to_vec();
    let flavors = HashMap::from([("f".to_owned(), flavor(Some("r2.small"), None))]);
    assert!(snapshot.offered(Catalog { versions: Some(versions.clone()), flavors: None }));
    assert!(snapshot.offered(Catalog { versions: None, flavors: Some(flavors) }));
    assert!(!snapshot.offered(Catalog { versions: Some(versions), flavors: None }), "the same again");
    assert_eq!(observe(&snapshot).1, None, "it comes with the next list");
    list(&mut snapshot, 60, vec![instance.clone()]);
    let engine = EngineStatus { offered: true, newest: Some("6.2.10".to_owned()) };
    assert_eq!(
        observe(&snapshot),
        (flavor(Some("r2.small"), Some(2)), Some(Arc::new(engine))),
        "a part that failed stays known"
    );
    // While a list is under way: its first half was packed without it.
    snapshot.begin_list();
    let listed = vec![snapshot.recognise(Row::Read(instance.clone()))];
    assert!(snapshot.offered(Catalog { versions: Some(vec![]), flavors: None }));
    snapshot.listed(at(120), listed);
    list(&mut snapshot, 180, vec![instance]);
    assert_eq!(observe(&snapshot).1.as_deref(), Some(&EngineStatus { offered: false, newest: None }));
}

#[test]
fn what_did_not_change_is_no_news() {
    let mut snapshot = listing(vec![whole("a", "x")]);
    let before = snapshot.observe(&by_id("a"), None, None);
    list(&mut snapshot, 60, vec![whole("a", "x")]);
    let after = snapshot.observe(&by_id("a"), None, None);
    assert_eq!(before, after, "the time of a read alone wakes nobody");
    let (Observed::Found(before), Observed::Found(after)) = (before.observed, after.observed) else {
        panic!("it is listed")
    };
    assert!(Arc::ptr_eq(&before.instance, &after.instance), "and takes no memory");
    assert_eq!(after.read_at, at(60));
}

#[test]
fn reads_of_clusters_nobody_wants_are_forgotten() {
    let mut snapshot = listing(vec![]);
    read(&mut snapshot, "z", at(1), Ok(None));
    snapshot.retain_reads(|id| id != "z");
    assert_eq!(snapshot.read_at("z"), None);
    assert_eq!(observed(&snapshot, &by_id("z")), Observed::NotYet);
}

#[test]
fn news_of_one_cluster_concern_who_wants_it() {
    let snapshot = listing(vec![whole("a", "x")]);
    for (query, id, wanted) in [
        (by_id("a"), "a", true),
        (by_id("a"), "b", false),
        (by_name("x", None), "a", true),
        (by_name("x", None), "b", false),
        (by_name("gone", Some("b")), "b", true),
        (by_group(Some("g"), None), "b", true),
    ] {
        assert_eq!(snapshot.concerns(&query, id), wanted, "{query:?} {id}");
    }
}
