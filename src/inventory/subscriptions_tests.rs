use super::*;
use crate::api::cluster_ref::ClusterStatus;
use crate::cloud::{Provider, Row};
use crate::inventory::instance::Instance;
use crate::inventory::subscriber::SubscriberKind;
use crate::object_key::ObjectKey;

const MINUTE: Duration = Duration::from_secs(60);

fn instance(id: &str, group: Option<(&str, &str)>) -> Instance {
    let parameter_group = group.map(|(name, sync_status)| ParameterGroupStatus {
        name: Some(name.to_owned()),
        sync_status: Some(sync_status.to_owned()),
        ..Default::default()
    });
    let complete = parameter_group.is_some();
    let cluster = ClusterStatus { id: Some(id.to_owned()), parameter_group, ..ClusterStatus::default() };
    Instance { provider: Provider::KakaoCloud, state: Some("Running".to_owned()), cluster, complete }
}

fn member(id: &str, sync_status: &str) -> ObservedInstance {
    ObservedInstance::whole(instance(id, Some(("g", sync_status))), Timestamp::UNIX_EPOCH)
}

fn members(members: &[&ObservedInstance]) -> Observation {
    let observed = Observed::Members(members.iter().map(|found| (*found).clone()).collect());
    Observation { observed, problem: None, engine: None, refresh_done: true }
}

fn list(snapshot: &mut Snapshot, instances: Vec<Instance>) {
    snapshot.begin_list();
    let listed = instances.into_iter().map(|instance| snapshot.recognise(Row::Read(instance))).collect();
    snapshot.listed(Timestamp::UNIX_EPOCH, listed);
}

fn read(snapshot: &mut Snapshot, id: &str, instance: Instance) {
    let started = snapshot.begin_read(id, Timestamp::UNIX_EPOCH);
    snapshot.read(id, started, Ok(Some(instance)));
}

fn subscriber(name: &str) -> Subscriber {
    Subscriber { kind: SubscriberKind::ClusterRef, key: ObjectKey::new("shop", name) }
}

fn by_id(id: &str) -> Query {
    Query::Id(id.to_owned())
}

fn by_group(name: &str) -> Query {
    Query::Group { id: None, name: Some(name.to_owned()) }
}

/// Subscribes as a connection does.
fn subscribe(subscriptions: &mut Subscriptions, snapshot: &Snapshot, name: &str, query: &Query, refresh: Option<&str>) {
    let subscriber = subscriber(name);
    let subscription =
        Subscription { subscriber: &subscriber, query, interval: MINUTE, refresh_requested: refresh, can_wait: false };
    let (state, _) = subscriptions.enter(&subscription, || None, Instant::now());
    state.update(&subscription, snapshot.round().next());
    state.observe(snapshot, query);
}

/// The notified subscribers by name, in order.
fn names(notifications: &[Notification]) -> Vec<(&str, Urgency)> {
    let mut names: Vec<_> = notifications.iter().map(|(who, urgency)| (who.key.name(), *urgency)).collect();
    names.sort_by_key(|(name, _)| *name);
    names
}

#[test]
fn the_members_of_a_group_are_told_apart_and_not_kept() {
    let mut subscription = SubscriptionState::new(MINUTE, None, Instant::now());
    let (a, b, failing) = (member("a", "In-Sync"), member("b", "In-Sync"), member("b", "Error-Sync"));
    for (seen, is_news) in [
        (members(&[]), true),
        (members(&[]), false),
        (members(&[&a, &b]), true),
        (members(&[&a, &b]), false),
        (members(&[&a, &failing]), true),
        (members(&[&a]), true),
        (members(&[&b]), true),
    ] {
        assert_eq!(subscription.note(seen.clone()), is_news, "{seen:?}");
        assert_eq!(subscription.told.as_ref().map(|told| &told.observed), Some(&Observed::Members(Vec::new())));
    }
}

#[test]
fn a_list_notifies_the_subscribers_for_which_something_changed() {
    let (mut subscriptions, mut snapshot) = (Subscriptions::default(), Snapshot::default());
    for (name, query) in [("a", by_id("a")), ("b", by_id("b")), ("g", by_group("g"))] {
        subscribe(&mut subscriptions, &snapshot, name, &query, None);
    }
    let whole = |id: &str, status: &str| instance(id, Some(("g", status)));
    list(&mut snapshot, vec![whole("a", "In-Sync"), whole("b", "In-Sync")]);
    let first = subscriptions.after_list(&snapshot, Timestamp::UNIX_EPOCH);
    let routine = |names: &[&'static str]| names.iter().map(|name| (*name, Urgency::Routine)).collect::<Vec<_>>();
    assert_eq!(names(&first.notifications), routine(&["a", "b", "g"]));
    assert_eq!((first.shortest, first.in_transition, first.due.len()), (Some(MINUTE), false, 0));
    list(&mut snapshot, vec![whole("a", "In-Sync"), whole("b", "In-Sync")]);
    assert!(subscriptions.after_list(&snapshot, Timestamp::UNIX_EPOCH).notifications.is_empty(), "nothing changed");
    list(&mut snapshot, vec![whole("a", "In-Sync"), whole("b", "Error-Sync")]);
    let changed = subscriptions.after_list(&snapshot, Timestamp::UNIX_EPOCH);
    assert_eq!(names(&changed.notifications), routine(&["b", "g"]));
}

#[test]
fn a_requested_refresh_is_urgent_until_it_has_been_made() {
    let (mut subscriptions, mut snapshot) = (Subscriptions::default(), Snapshot::default());
    let listed = || vec![instance("a", Some(("g", "In-Sync")))];
    list(&mut snapshot, listed());
    subscribe(&mut subscriptions, &snapshot, "a", &by_id("a"), Some("1"));
    subscribe(&mut subscriptions, &snapshot, "b", &by_id("a"), None);
    list(&mut snapshot, listed());
    let after = subscriptions.after_list(&snapshot, Timestamp::UNIX_EPOCH);
    assert_eq!(names(&after.notifications), [("a", Urgency::RefreshRequested)], "for b there is no news");
    subscribe(&mut subscriptions, &snapshot, "a", &by_id("a"), Some("1"));
    list(&mut snapshot, listed());
    assert!(
        subscriptions.after_list(&snapshot, Timestamp::UNIX_EPOCH).notifications.is_empty(),
        "once for each request"
    );
}

#[test]
fn a_single_read_notifies_those_who_waited_for_it() {
    let (mut subscriptions, mut snapshot) = (Subscriptions::default(), Snapshot::default());
    for (name, query) in [("a", by_id("a")), ("b", by_id("b")), ("g", by_group("g")), ("h", by_group("h"))] {
        subscribe(&mut subscriptions, &snapshot, name, &query, None);
    }
    list(&mut snapshot, vec![instance("a", None), instance("b", None)]);
    let after = subscriptions.after_list(&snapshot, Timestamp::UNIX_EPOCH);
    let mut due: Vec<&str> = after.due.iter().map(|due| &*due.id).collect();
    due.sort_unstable();
    due.dedup();
    assert_eq!(due, ["a", "b"]);
    read(&mut snapshot, "a", instance("a", Some(("g", "In-Sync"))));
    let groups = [None, snapshot.group_of("a")];
    let (notifications, _) = subscriptions.after_read(&snapshot, "a", Some(&groups), Timestamp::UNIX_EPOCH);
    assert_eq!(names(&notifications), [("a", Urgency::Routine), ("g", Urgency::Routine)], "b and h are about others");
    let (again, due) = subscriptions.after_read(&snapshot, "a", None, Timestamp::UNIX_EPOCH);
    assert!(again.is_empty() && due.is_empty());
}

#[test]
fn what_is_learnt_of_a_target_keeps_the_subscription() {
    let (mut subscriptions, snapshot) = (Subscriptions::default(), Snapshot::default());
    let named = |last_id: Option<&str>| Query::Name { name: "carts".to_owned(), last_id: last_id.map(str::to_owned) };
    let who = subscriber("a");
    let begun = Instant::now();
    for (query, is_new, minutes) in [(named(None), true, 0), (named(Some("1")), false, 1), (by_id("1"), true, 2)] {
        let (now, subscriber, query) = (begun + minutes * MINUTE, &who, &query);
        let subscription =
            Subscription { subscriber, query, interval: MINUTE, refresh_requested: None, can_wait: false };
        assert_eq!(subscriptions.enter(&subscription, || None, now).1, is_new, "{query:?}");
    }
    let later = begun + 3 * MINUTE;
    assert_eq!(subscriptions.age(&who, &named(Some("1")), later), Some(3 * MINUTE), "as old as the one before it");
    assert_eq!(subscriptions.age(&who, &by_id("1"), later), Some(MINUTE));
    assert_eq!(subscriptions.age(&who, &by_id("2"), later), None);
    assert_eq!(subscriptions.named_ids(), HashSet::from(["1"]));
    let known = named(Some("1"));
    assert!(subscriptions.retain(&who, &HashSet::from([&known])));
    assert!(subscriptions.find(&who, &by_id("1")).is_none());
    assert!(!subscriptions.retain(&who, &HashSet::new()), "nobody is left");
    assert!(snapshot.listed_at().is_none());
}
