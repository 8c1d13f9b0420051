//! Who leads, and what is noticed, when the path to the API server goes silent, a process is paused, or clocks disagree.

use std::time::{Duration, Instant};

use fake_cloud::KakaoCluster;
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use k8s_openapi::api::rbac::v1::{Role, RoleBinding};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;
use kube::api::{Api, ObjectMeta, PostParams};
use managed_redis_operator::api::RedisClusterRef;
use serde_json::json;

use crate::support::{BOUND, Env, RoutedNetwork, TestOperator, kakao, server};

const READY: (&str, &str, &str) = ("Ready", "True", "Running");
const LEASE: &str = "managed-redis-operator";
/// A silent path is noticed within this.
const NOTICED: Duration = Duration::from_secs(30);
/// So long two replicas may both lead, at most.
const OVERLAP: SignedDuration = SignedDuration::from_secs(2);

/// When a line was logged.
fn time_of(line: &str) -> Timestamp {
    let word = line.split_whitespace().next().expect("a line begins with its time");
    word.parse().unwrap_or_else(|error| panic!("{line}: {error}"))
}

/// Asserts that one replica ended, and knew that it does not lead, before or just after the other began to.
async fn ended_before(mut deposed: TestOperator, successor: &TestOperator) {
    let began = time_of(&successor.logged("leading").await);
    let status = deposed.ended(BOUND).await;
    assert_eq!(status.code(), Some(1), "{}", deposed.tail());
    assert!(deposed.log().contains("leadership was lost"), "{}", deposed.tail());
    let ended = time_of(&deposed.logged("leadership ends").await);
    eprintln!("leadership ended {:.1} s before the other began", began.duration_since(ended).as_secs_f64());
    assert!(ended.duration_since(began) < OVERLAP, "{}\n--\n{}", deposed.tail(), successor.tail());
}

/// A NAT or load balancer that forgot the connections: nothing is told, but new connections work.
#[tokio::test]
async fn a_change_is_seen_although_the_open_connections_went_silent() {
    let env = Env::without_operator("silent").await;
    env.clouds().add_kakao_cluster(KakaoCluster::instance_set("set-1", "carts")).unwrap();
    let proxy = env.proxy().await;
    let operator = env.spawn_behind(&proxy, None, &[]);
    operator.ready().await;
    proxy.silence_what_is_open();
    let began = Instant::now();
    env.create::<RedisClusterRef>(kakao("carts", "set-1")).await;
    env.until_condition::<RedisClusterRef>("carts", READY).await;
    eprintln!("the change was seen after {:.1} s", began.elapsed().as_secs_f64());
}

#[tokio::test]
async fn a_leader_that_hears_nothing_ends_before_another_begins() {
    let env = Env::without_operator("deaf").await;
    let proxy = env.proxy().await;
    let leader = env.spawn_behind(&proxy, None, &["--leader-election"]);
    leader.ready().await;
    let standby = env.spawn(&["--leader-election"]);
    standby.logged("waiting to lead").await;
    proxy.silence_all();
    ended_before(leader, &standby).await;
}

/// Only the connections there were are dead: the lease is renewed by a new one, and nobody takes over.
#[tokio::test]
async fn a_leader_whose_connections_went_silent_renews_by_another() {
    let env = Env::without_operator("renews").await;
    let proxy = env.proxy().await;
    let leader = env.spawn_behind(&proxy, None, &["--leader-election"]);
    leader.ready().await;
    proxy.silence_what_is_open();
    let silent_since = Timestamp::now();
    let is_renewed = move |lease: &Lease| {
        let renewed = lease.spec.as_ref().and_then(|spec| spec.renew_time.as_ref());
        // More than the time after which an unrenewed lease ends its holder.
        renewed.is_some_and(|time| time.0.duration_since(silent_since) > SignedDuration::from_secs(10))
    };
    crate::support::until(env.api::<Lease>(), LEASE, "renewed", Some(&leader), is_renewed).await;
    assert!(!leader.log().contains("leadership ends"), "{}", leader.tail());
}

#[tokio::test]
async fn a_leader_that_was_paused_ends_when_it_goes_on() {
    let env = Env::without_operator("paused").await;
    let mut leader = env.spawn(&["--leader-election"]);
    leader.ready().await;
    let standby = env.spawn(&["--leader-election"]);
    standby.logged("waiting to lead").await;
    leader.pause();
    standby.logged("leading").await;
    let holder = env.api::<Lease>().get(LEASE).await.unwrap().spec.unwrap().holder_identity;
    leader.resume();
    let status = leader.ended(BOUND).await;
    assert_eq!(status.code(), Some(1), "{}", leader.tail());
    assert!(leader.log().contains("leadership was lost"), "{}", leader.tail());
    let now = env.api::<Lease>().get(LEASE).await.unwrap().spec.unwrap().holder_identity;
    assert_eq!(now, holder, "the successor still leads");
}

/// A holder whose clock is an hour behind renews and renews. Only a clock of one's own says whether it is alive.
#[tokio::test]
async fn a_lease_that_is_renewed_is_not_taken_whatever_its_times_say() {
    let env = Env::without_operator("skewed").await;
    let leases = env.api::<Lease>();
    let metadata = ObjectMeta { name: Some(LEASE.to_owned()), ..ObjectMeta::default() };
    let mut held = Lease { metadata, spec: None };
    let mut renewals = 0_u32;
    let mut renew = |lease: &mut Lease, holder: &str| {
        renewals += 1;
        let time = Timestamp::now() - SignedDuration::from_hours(1);
        lease.spec = Some(LeaseSpec {
            holder_identity: Some(holder.to_owned()),
            lease_duration_seconds: Some(15),
            acquire_time: Some(MicroTime(time)),
            renew_time: Some(MicroTime(time)),
            lease_transitions: i32::try_from(renewals).ok(),
            ..LeaseSpec::default()
        });
    };
    renew(&mut held, "holder-0");
    let mut held = leases.create(&PostParams::default(), &held).await.unwrap();
    let standby = env.spawn(&["--leader-election"]);
    standby.logged("waiting to lead").await;
    for holder in ["holder-1", "holder-2", "holder-3"] {
        // Until the standby has looked: it names the holder it found.
        while !standby.log().contains(&format!("holder={holder:?}")) {
            renew(&mut held, holder);
            held = leases.replace(LEASE, &PostParams::default(), &held).await.expect("nobody else writes the lease");
        }
    }
    assert!(!standby.log().contains("leading"), "{}", standby.tail());
}

/// A standby that can never lead must not look healthy.
#[tokio::test]
async fn without_the_right_to_the_lease_it_ends_and_says_so() {
    let env = Env::without_operator("no-right").await;
    let name = env.namespace.name();
    for (account, verbs, missing) in
        [("none", &[][..], "get"), ("reader", &["get"], "create"), ("creator", &["get", "create"], "patch")]
    {
        let role = json!({
            "metadata": { "name": account },
            "rules": [{ "apiGroups": ["coordination.k8s.io"], "resources": ["leases"], "verbs": verbs }],
        });
        if !verbs.is_empty() {
            env.create::<Role>(role).await;
            env.create::<RoleBinding>(json!({
                "metadata": { "name": account },
                "roleRef": { "apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": account },
                "subjects": [{ "kind": "ServiceAccount", "name": account, "namespace": name }],
            }))
            .await;
        }
        if missing == "patch" {
            env.create::<Lease>(json!({ "metadata": { "name": LEASE } })).await;
        }
        let access = server().await.service_account(name, account).await.unwrap();
        let leases: Api<Lease> = Api::namespaced(access.client().unwrap(), name);
        // The API server learns of a new role a moment later.
        let learned = async { while !verbs.is_empty() && leases.get_opt(LEASE).await.is_err() {} };
        tokio::time::timeout(BOUND, learned).await.expect("the role holds");
        let mut operator = env.spawn_as(&access, &["--leader-election"]);
        assert_eq!(operator.ended(BOUND).await.code(), Some(1), "{}", operator.tail());
        let log = operator.log();
        assert!(log.contains("leader election: Lease managed-redis-operator in namespace"), "{log}");
        assert!(log.contains(&format!("cannot {missing} resource")), "{log}");
    }
}

/// Packets that vanish on the way, as the kernel sees it: nothing is acknowledged any more.
#[tokio::test]
#[ignore = "needs root, ip and iptables"]
async fn a_change_is_seen_although_packets_vanish() {
    let env = Env::without_operator("vanish").await;
    let link = RoutedNetwork::create();
    let proxy = env.proxy_at(link.host()).await;
    let operator = env.spawn_behind(&proxy, Some(&link), &["--leader-election"]);
    operator.ready().await;
    link.swallow_what_is_open();
    let began = Instant::now();
    env.create::<RedisClusterRef>(kakao("carts", "set-1")).await;
    // There is no way to the clouds from there, but a first status says so.
    env.until("carts", "a status", |carts: &RedisClusterRef| {
        carts.status.as_ref().is_some_and(|status| status.observed_generation == Some(1))
    })
    .await;
    let took = began.elapsed();
    eprintln!("the change was seen after {:.1} s", took.as_secs_f64());
    assert!(took < NOTICED, "{took:?}\n{}", operator.tail());
    assert!(!operator.log().contains("leadership ends"), "{}", operator.tail());
}
