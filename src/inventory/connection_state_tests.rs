use super::*;
use crate::api::cluster_ref::{ClusterStatus, ParameterGroupStatus};
use crate::cloud::ErrorKind;
use crate::inventory::observation::Observed;
use crate::inventory::subscriber::{SubscriberKind, Urgency};
use crate::object_key::ObjectKey;

const MINUTE: Duration = Duration::from_secs(60);
const GAP: Duration = Duration::from_millis(200);

/// A connection, and the time on its clocks.
struct World {
    state: ConnectionState,
    begun: Instant,
    now: Moment,
}

/// Instances of whose parameter groups the list says nothing, so that each is read by itself.
fn in_part(ids: &[&str]) -> Vec<Instance> {
    let instance = |id: &&str| Instance {
        provider: Provider::KakaoCloud,
        state: Some("Running".to_owned()),
        cluster: ClusterStatus { id: Some((*id).to_owned()), name: Some((*id).to_owned()), ..ClusterStatus::default() },
        complete: false,
    };
    ids.iter().map(instance).collect()
}

fn whole(id: &str) -> Instance {
    let mut instance = in_part(&[id]).remove(0);
    let group = ParameterGroupStatus { name: Some("g".to_owned()), ..Default::default() };
    (instance.cluster.parameter_group, instance.complete) = (Some(group), true);
    instance
}

fn error(kind: ErrorKind) -> CloudError {
    CloudError::sample(Provider::KakaoCloud, "listClusters", kind)
}

fn by_name(name: &str) -> Query {
    Query::Name { name: name.to_owned(), last_id: None }
}

impl World {
    fn new() -> Self {
        let instant = Instant::now();
        let now = Moment { instant, timestamp: Timestamp::UNIX_EPOCH, random: 0.5 };
        Self { state: ConnectionState::new(GAP, instant), begun: instant, now }
    }

    fn pass(&mut self, by: Duration) {
        self.now.instant += by;
        self.now.timestamp = self.now.timestamp.checked_add(SignedDuration::try_from(by).unwrap()).unwrap();
    }

    fn subscribe(&mut self, name: &str, query: &Query, refresh: Option<&str>) -> (Observation, bool) {
        let subscriber = self.subscriber(name);
        let subscription = Subscription {
            subscriber: &subscriber,
            query,
            interval: MINUTE,
            refresh_requested: refresh,
            can_wait: true,
        };
        self.state.subscribe(&subscription, self.now)
    }

    fn subscriber(&self, name: &str) -> Subscriber {
        Subscriber { kind: SubscriberKind::ClusterRef, key: ObjectKey::new("shop", name) }
    }

    /// A list that ends at once.
    fn list(&mut self, outcome: Result<Vec<Instance>, ErrorKind>) -> Vec<Notification> {
        let started = self.state.begin_list(self.now);
        let recognise = |instance| self.state.recognise(Row::Read(instance));
        let outcome = outcome.map(|instances| instances.into_iter().map(recognise).collect()).map_err(error);
        self.state.end_list(started, outcome, self.now)
    }

    /// Makes all single reads that are due now, each of them ending at once. Returns their IDs.
    fn read_all(&mut self, outcome: impl Fn(&str) -> Result<Option<Instance>, ErrorKind>) -> Vec<String> {
        let mut ids = Vec::new();
        while let Ok(read) = self.state.next_read(self.now) {
            ids.push(read.id.to_string());
            let outcome = outcome(&read.id).map_err(error);
            self.state.end_read(read, outcome, self.now);
        }
        ids
    }

    /// When the next list is due, since the beginning.
    fn next_list(&self) -> Duration {
        self.state.next_list() - self.begun
    }
}

#[test]
fn a_subscription_that_needs_nothing_new_has_no_work_for_the_poller() {
    let mut world = World::new();
    assert!(world.subscribe("a", &by_name("a"), None).1, "the first");
    world.list(Ok(vec![whole("a")]));
    assert!(!world.subscribe("a", &by_name("a"), None).1, "the same again");
    assert!(world.subscribe("a", &by_name("a"), Some("1")).1, "a refresh");
    assert!(!world.subscribe("a", &by_name("a"), Some("1")).1, "the same refresh again");
}

#[test]
fn a_requested_refresh_has_the_list_read_at_once() {
    let mut world = World::new();
    world.subscribe("a", &by_name("a"), None);
    world.list(Ok(vec![whole("a")]));
    world.pass(Duration::from_secs(10));
    assert_eq!(world.next_list(), MINUTE);
    assert!(!world.subscribe("a", &by_name("a"), Some("1")).0.refresh_done);
    assert_eq!(world.next_list(), Duration::ZERO, "it is due since the last list");
    let notifications = world.list(Ok(vec![whole("a")]));
    assert_eq!(notifications.iter().map(|(_, urgency)| *urgency).collect::<Vec<_>>(), [Urgency::RefreshRequested]);
    assert!(world.subscribe("a", &by_name("a"), Some("1")).0.refresh_done);
    assert_eq!(world.next_list(), Duration::from_secs(70));
}

#[test]
fn an_absence_for_a_new_subscriber_needs_a_newer_list() {
    let mut world = World::new();
    world.subscribe("a", &by_name("a"), None);
    world.list(Ok(vec![whole("a")]));
    world.pass(Duration::from_secs(10));
    assert_eq!(world.subscribe("b", &by_name("b"), None).0.observed, Observed::NotYet);
    assert_eq!(world.next_list(), Duration::ZERO, "at once");
    world.list(Ok(vec![whole("a")]));
    let (observation, has_work) = world.subscribe("b", &by_name("b"), None);
    assert_eq!((observation.observed, has_work), (Observed::Absent, false));
    // While the cloud fails, its own wish does not make the operator ask more often.
    world.list(Err(ErrorKind::Unavailable));
    world.subscribe("c", &by_name("c"), None);
    assert!(world.next_list() >= Duration::from_secs(40));
    assert!(world.subscribe("c", &by_name("c"), Some("1")).1);
    assert_eq!(world.next_list(), Duration::from_secs(10), "a person's does");
}

#[test]
fn a_shorter_interval_brings_the_next_list_forward() {
    let mut world = World::new();
    world.subscribe("a", &by_name("a"), None);
    world.list(Ok(vec![whole("a")]));
    let (query, subscriber) = (by_name("a"), world.subscriber("b"));
    let subscription = Subscription {
        subscriber: &subscriber,
        query: &query,
        interval: Duration::from_secs(10),
        refresh_requested: None,
        can_wait: true,
    };
    assert!(world.state.subscribe(&subscription, world.now).1);
    assert_eq!(world.next_list(), Duration::from_secs(10));
    world.state.retain(&subscriber, &HashSet::new());
    world.list(Ok(vec![whole("a")]));
    assert_eq!(world.next_list(), MINUTE, "it is gone");
}

#[test]
fn single_reads_rest_while_lists_fail() {
    let mut world = World::new();
    world.subscribe("a", &by_name("a"), None);
    world.list(Ok(in_part(&["a"])));
    assert_eq!(world.read_all(|id| Ok(Some(whole(id)))), ["a"]);
    world.list(Err(ErrorKind::Unavailable));
    world.pass(2 * MINUTE);
    assert!(world.read_all(|id| Ok(Some(whole(id)))).is_empty());
    assert!(!world.state.begin_list(world.now).with_retries, "one probe");
}

#[test]
fn two_failing_reads_ask_for_a_list_and_stop_the_others() {
    let mut world = World::new();
    for id in ["a", "b", "c"] {
        world.subscribe(id, &by_name(id), None);
    }
    world.list(Ok(in_part(&["a", "b", "c"])));
    let mut read = Vec::new();
    for _ in 0..10 {
        world.pass(GAP);
        read.extend(world.read_all(|_| Err(ErrorKind::Unavailable)));
    }
    assert_eq!(read.len(), 2);
    assert_eq!(world.next_list(), Duration::ZERO, "at once");
}

/// Plays an outage in which every request fails. Returns how many requests were made, with `attempts` for a read that is retried.
fn requests_of_an_outage(world: &mut World, lasts: Duration, attempts: usize) -> usize {
    let (mut requests, end) = (0, world.now.instant + lasts);
    let tries = |with_retries: bool| if with_retries { attempts } else { 1 };
    while world.now.instant < end {
        if world.state.next_list() <= world.now.instant {
            let started = world.state.begin_list(world.now);
            requests += tries(started.with_retries);
            world.state.end_list(started, Err(error(ErrorKind::Unavailable)), world.now);
        }
        while let Ok(read) = world.state.next_read(world.now) {
            requests += tries(read.with_retries);
            world.state.end_read(read, Err(error(ErrorKind::Unavailable)), world.now);
        }
        world.pass(Duration::from_secs(1));
    }
    requests
}

/// Sixty references with an interval of a minute, all of which were read by themselves.
fn busy() -> World {
    let mut world = World::new();
    let ids: Vec<String> = (0..60).map(|number| format!("c-{number}")).collect();
    let ids: Vec<&str> = ids.iter().map(String::as_str).collect();
    for id in &ids {
        world.subscribe(id, &by_name(id), None);
    }
    world.list(Ok(in_part(&ids)));
    for _ in 0..60 {
        world.pass(GAP);
        world.read_all(|id| Ok(Some(whole(id))));
    }
    world.pass(MINUTE - 60 * GAP);
    world.list(Ok(in_part(&ids)));
    world
}

/// A read and a list that are retried, a read that is not, and a probe each for the intervals that follow.
#[test]
fn an_outage_costs_few_requests() {
    assert_eq!(requests_of_an_outage(&mut busy(), Duration::from_secs(190), 3), 3 + 1 + 3 + 3);
}

/// The 429 has the list read, and so opens the breaker. The outage that follows within the interval cannot open it again.
#[test]
fn an_outage_right_after_a_429_costs_few_requests() {
    let mut world = busy();
    let mut limited = 0;
    while limited < 2 {
        world.pass(Duration::from_secs(1));
        limited += world.read_all(|_| Err(ErrorKind::RateLimited)).len();
    }
    let ids: Vec<String> = (0..60).map(|number| format!("c-{number}")).collect();
    world.list(Ok(in_part(&ids.iter().map(String::as_str).collect::<Vec<_>>())));
    // Ever slower reads that are tried once, until the next list.
    assert_eq!(requests_of_an_outage(&mut world, Duration::from_secs(50), 3), 7);
}
