//! An operator that cannot hear says so, and hears again.

use fake_cloud::KakaoCluster;
use k8s_openapi::api::rbac::v1::{PolicyRule, Role, RoleBinding, RoleRef, Subject};
use kube::api::{ListParams, ObjectMeta, PostParams};
use managed_redis_operator::api::{RedisClusterRef, RedisParameterSync, crds};
use serde_json::json;
use testbed::{Access, ApiServer, Options, TestNamespace};

use crate::support::{BOUND, Env, TestOperator, condition, kakao, parameter_sync, server};

const READY: (&str, &str, &str) = ("Ready", "True", "Running");

fn rule(groups: &[&str], resources: &[impl AsRef<str>], verbs: &[&str]) -> PolicyRule {
    let owned = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>();
    PolicyRule {
        api_groups: Some(owned(groups)),
        resources: Some(resources.iter().map(|resource| resource.as_ref().to_owned()).collect()),
        verbs: owned(verbs),
        ..PolicyRule::default()
    }
}

/// Lets a service account do in a namespace what the operator does, but for what `verbs` leaves out of its own kinds.
async fn grant(namespace: &TestNamespace, account: &TestNamespace, verbs: &[&str]) {
    let metadata = ObjectMeta { name: Some("operator".to_owned()), ..ObjectMeta::default() };
    let kinds: Vec<String> = crds().into_iter().map(|crd| crd.spec.names.plural).collect();
    let statuses: Vec<String> = kinds.iter().map(|kind| format!("{kind}/status")).collect();
    let rules = vec![
        rule(&["managedredis.dev"], &kinds, verbs),
        rule(&["managedredis.dev"], &statuses, &["patch"]),
        rule(&[""], &["secrets"], &["get"]),
        rule(&["events.k8s.io"], &["events"], &["create", "patch"]),
        rule(&["coordination.k8s.io"], &["leases"], &["get", "list", "create", "patch", "delete"]),
    ];
    let role = Role { metadata: metadata.clone(), rules: Some(rules) };
    namespace.api::<Role>().create(&PostParams::default(), &role).await.unwrap();
    let binding = RoleBinding {
        metadata,
        role_ref: RoleRef {
            api_group: Some("rbac.authorization.k8s.io".to_owned()),
            kind: "Role".to_owned(),
            name: "operator".to_owned(),
        },
        subjects: Some(vec![Subject {
            kind: "ServiceAccount".to_owned(),
            name: "operator".to_owned(),
            namespace: Some(account.name().to_owned()),
            ..Subject::default()
        }]),
    };
    namespace.api::<RoleBinding>().create(&PostParams::default(), &binding).await.unwrap();
}

async fn account(env: &Env) -> Access {
    server().await.service_account(env.namespace.name(), "operator").await.unwrap()
}

/// Waits until a page of the admin server is as wanted; each look is a request of its own.
async fn until_page(operator: &TestOperator, path: &str, wanted: impl Fn(&(u16, String)) -> bool) -> (u16, String) {
    let looking = async {
        loop {
            let page = operator.page(path).await;
            if wanted(&page) {
                return page;
            }
        }
    };
    let Ok(page) = tokio::time::timeout(BOUND, looking).await else {
        panic!("{path} is {:?}; the log ends with\n{}", operator.page(path).await, operator.tail());
    };
    page
}

/// One line for the kind, without what only Rust can read.
fn told_well(operator: &TestOperator, kind: &str, verb: &str) {
    let log = operator.log();
    let lines: Vec<&str> = log.lines().filter(|line| line.contains("WARN") && line.contains(kind)).collect();
    assert_eq!(lines.len(), 1, "{log}");
    assert!(lines[0].contains(&format!("cannot {verb}")), "{}", lines[0]);
    assert!(!log.contains("Status {") && !log.contains("ApiError"), "{log}");
}

#[tokio::test]
async fn a_missing_right_to_list_is_told_in_the_log_in_readyz_and_as_a_metric() {
    let env = Env::without_operator("no-list").await;
    let access = account(&env).await;
    grant(&env.namespace, &env.namespace, &["get", "watch"]).await;
    let operator = env.spawn_as(&access, &[]);
    let (_, cause) = until_page(&operator, "/readyz", |(_, text)| text.contains("cannot list")).await;
    assert!(cause.contains(&format!("in namespace {}", env.namespace.name())), "{cause}");
    assert!(cause.contains("is forbidden") && cause.contains("Role"), "{cause}");
    let failing = "managed_redis_watches_failing{kind=\"RedisClusterRef\"} 1\n";
    until_page(&operator, "/metrics", |(_, text)| text.contains(failing)).await;
    operator.logged("cannot list redisclusterrefs").await;
    operator.logged("cannot list redisparametersyncs").await;
    operator.logged("cannot list redisflushrequests").await;
    assert_eq!(operator.page("/readyz").await.0, 503);
    assert_eq!(operator.page("/healthz").await.0, 200, "a restart would not help");
    told_well(&operator, "redisclusterrefs", "list");
}

#[tokio::test]
async fn a_missing_right_to_watch_is_told_and_objects_are_seen_all_the_same() {
    let env = Env::without_operator("no-watch").await;
    env.clouds().add_kakao_cluster(KakaoCluster::instance_set("set-1", "carts")).unwrap();
    let access = account(&env).await;
    grant(&env.namespace, &env.namespace, &["get", "list", "patch"]).await;
    let operator = env.spawn_as(&access, &[]);
    let (code, cause) = until_page(&operator, "/readyz", |(_, text)| text.contains("cannot watch")).await;
    assert_eq!(code, 503, "{cause}");
    let failing = "managed_redis_watches_failing{kind=\"RedisClusterRef\"} 1\n";
    until_page(&operator, "/metrics", |(_, text)| text.contains(failing)).await;
    operator.logged("cannot watch redisclusterrefs").await;
    told_well(&operator, "redisclusterrefs", "watch");
    env.create::<RedisClusterRef>(kakao("carts", "set-1")).await;
    env.until_condition::<RedisClusterRef>("carts", READY).await;
}

/// A namespace that a team deleted, or never made, is that team's affair.
#[tokio::test]
async fn a_namespace_that_cannot_be_listed_holds_up_no_other() {
    let env = Env::without_operator("one-of-two").await;
    env.clouds().add_kakao_cluster(KakaoCluster::instance_set("set-1", "carts")).unwrap();
    let access = account(&env).await;
    grant(&env.namespace, &env.namespace, &["get", "list", "watch", "patch"]).await;
    let operator = env.spawn_as(&access, &["--watch-namespace", "nobody-made-it"]);
    env.create::<RedisClusterRef>(kakao("carts", "set-1")).await;
    env.create::<RedisParameterSync>(parameter_sync("carts", json!({ "clusterRef": { "name": "carts" } }))).await;
    let in_sync = |sync: &RedisParameterSync| condition(sync, "Ready").is_some_and(|ready| ready.status == "True");
    env.until("carts", "In-Sync", in_sync).await;
    // The operator does without the namespace only once it has been refused for a while.
    let (_, cause) = until_page(&operator, "/readyz", |(code, _)| *code == 200).await;
    assert!(cause.contains("in namespace nobody-made-it"), "{cause}");
    let line = operator.logged("cannot list redisclusterrefs in namespace nobody-made-it").await;
    assert!(line.contains("exists"), "{line}");
}

#[tokio::test]
async fn a_namespace_that_does_not_exist_is_told_once_and_watched_as_soon_as_it_does() {
    let env = Env::without_operator("no-namespace").await;
    let operator = env.spawn(&["--watch-namespace", "not-yet-made"]);
    operator.ready().await;
    let line = operator.logged("namespace not-yet-made does not exist").await;
    assert!(line.contains("WARN"), "{line}");
    assert_eq!(operator.page("/readyz").await.0, 200, "what is there is watched");
}

/// After a restore, revisions are lower than what the watches have seen.
#[tokio::test]
async fn objects_made_after_a_restore_of_etcd_are_seen() {
    let mut server = ApiServer::start(Options::default()).await.unwrap();
    testbed::crds::install(&server.client().unwrap(), &crds()).await.unwrap();
    let env = Env::on(&server, "restored").await;
    env.clouds().add_kakao_cluster(KakaoCluster::instance_set("set-1", "carts")).unwrap();
    env.create::<RedisClusterRef>(kakao("before", "set-1")).await;
    server.save_etcd().await.unwrap();
    let env = env.with_operator(&[]).await;
    // What the restore takes back: revisions that the watches have seen.
    for number in 0..50 {
        let name = format!("lost-{number}");
        env.create::<RedisClusterRef>(kakao(&name, "set-1")).await;
    }
    env.until_condition::<RedisClusterRef>("lost-49", READY).await;
    let versions = |server: &ApiServer| {
        let api = kube::Api::<RedisClusterRef>::all(server.client().unwrap());
        async move { api.list(&ListParams::default()).await.unwrap().metadata.resource_version.unwrap() }
    };
    let seen: u64 = versions(&server).await.parse().unwrap();
    server.restore_etcd().await.unwrap();
    let restored: u64 = versions(&server).await.parse().unwrap();
    assert!(restored < seen, "{restored} < {seen}");
    env.create::<RedisClusterRef>(kakao("after", "set-1")).await;
    env.until_condition::<RedisClusterRef>("before", READY).await;
    env.until_condition::<RedisClusterRef>("after", READY).await;
    let now: u64 = versions(&server).await.parse().unwrap();
    assert!(now < seen, "the test shows nothing: {now} is no longer below {seen}");
    drop(env);
    server.stop().await;
}

fn many_namespaces() -> String {
    (0..100).map(|number| format!("team-{number}")).collect::<Vec<_>>().join(",")
}

#[tokio::test]
async fn the_limit_of_open_files_is_raised_to_what_is_allowed() {
    let env = Env::without_operator("soft-files").await;
    env.clouds().add_kakao_cluster(KakaoCluster::instance_set("set-1", "carts")).unwrap();
    let operator = env.spawn_with_files(64, 4096, &["--watch-namespace", &many_namespaces()]);
    operator.ready().await;
    env.create::<RedisClusterRef>(kakao("carts", "set-1")).await;
    env.until_condition::<RedisClusterRef>("carts", READY).await;
    assert_eq!(operator.page("/healthz").await.0, 200);
    assert!(!operator.log().contains("open files"), "{}", operator.log());
}

#[tokio::test]
async fn too_few_open_files_are_told_once_and_the_probes_are_answered() {
    let env = Env::without_operator("hard-files").await;
    let operator = env.spawn_with_files(64, 64, &["--watch-namespace", &many_namespaces()]);
    let line = operator.logged("open files").await;
    let watches = format!("{} watches of 101 namespaces", 101 * crds().len());
    assert!(line.contains("WARN") && line.contains(&watches), "{line}");
    let (code, cause) = until_page(&operator, "/readyz", |(_, text)| text.contains("open files")).await;
    assert_eq!(code, 503, "{cause}");
    for _ in 0..20 {
        assert_eq!(operator.page("/healthz").await, (200, "ok".to_owned()));
    }
    assert_eq!(operator.log().matches("open files").count(), 1, "{}", operator.log());
}
