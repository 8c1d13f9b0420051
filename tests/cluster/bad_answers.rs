//! A cloud that answers nonsense, or nothing: the last picture stays, the conditions say why, and nothing is left of it
//! when it is over.

use fake_cloud::{FakeCloud, Fault, FaultKind, KAKAO_TOKEN, KakaoCluster, Operation, Seed};
use futures::future::join_all;
use managed_redis_operator::api::RedisClusterRef;
use serde_json::json;

use crate::support::{Env, condition, kakao, status};

const READY: (&str, &str, &str) = ("Ready", "True", "Running");

/// What goes wrong with the list, the reason it is reported with, and a part of the sentence.
fn cases() -> Vec<(FaultKind, &'static str, &'static str)> {
    let status = |code, body: Option<&str>| FaultKind::Status {
        code,
        body: body.map(str::to_owned),
        content_type: Some("application/json".to_owned()),
        retry_after: None,
    };
    let redirect = FaultKind::Redirect { location: "http://127.0.0.1:9/v1/clusters".to_owned(), code: None };
    vec![
        (FaultKind::Html, "UnexpectedResponse", "an HTML page (is there a proxy or login page in between?)"),
        (FaultKind::HalfJson, "UnexpectedResponse", "a body that is not valid JSON"),
        (FaultKind::DeepNesting { depth: 100_000 }, "UnexpectedResponse", "KakaoCloud returned an unexpected response"),
        (FaultKind::GzipBomb { bytes: 1 << 30 }, "UnexpectedResponse", "larger than"),
        (status(200, Some("")), "UnexpectedResponse", "an empty body"),
        (status(200, Some("{}")), "UnexpectedResponse", "clusters"),
        (redirect, "UnexpectedResponse", "a redirect, which is never followed"),
        (FaultKind::Truncate { bytes: 20 }, "CloudUnavailable", "the answer broke off"),
        (FaultKind::DropBefore, "CloudUnavailable", "the connection was closed before an answer came"),
        (status(500, None), "CloudUnavailable", "HTTP 500"),
        (FaultKind::TooManyRequests { retry_after_seconds: None, error_code: None }, "RateLimited", "HTTP 429"),
        (FaultKind::Hang, "CloudUnavailable", "no complete answer came in time"),
    ]
}

/// A region of its own for each case: one operator, one object and one cloud in trouble each.
struct Region {
    name: String,
    cloud: FakeCloud,
}

async fn regions(count: usize) -> Vec<Region> {
    let start = |number: usize| async move {
        let cloud = FakeCloud::start(Seed::default()).await.unwrap();
        cloud.state().add_kakao_cluster(KakaoCluster::instance_set("set-1", "carts")).unwrap();
        Region { name: format!("kr-trouble-{number}"), cloud }
    };
    join_all((0..count).map(start)).await
}

async fn goes_through(env: &Env, region: &Region, (fault, reason, sentence): (FaultKind, &str, &str)) {
    let (name, case) = (region.name.as_str(), fault.name());
    let mut object = kakao(name, "set-1");
    object["spec"]["kakaoCloud"]["region"] = json!(name);
    object["spec"]["kakaoCloud"]["credentialsSecretRef"]["name"] = json!("token");
    env.create::<RedisClusterRef>(object).await;
    let before = env.until_condition::<RedisClusterRef>(name, READY).await;
    region.cloud.state().inject(Fault::new(Operation::KakaoClustersList, fault)).unwrap();
    let during: RedisClusterRef = env.read_again(name).await;
    let synced = condition(&during, "Synced").unwrap();
    assert_eq!((synced.status.as_str(), synced.reason.as_str()), ("False", reason), "{case}: {}", synced.message);
    assert!(synced.message.contains(sentence), "{case}: {}; wanted: {sentence}", synced.message);
    assert!(synced.message.contains("listClusters"), "{case}: {} names the operation", synced.message);
    assert_eq!(condition(&during, "Ready").unwrap().status, "True", "{case}: the last picture stays");
    assert_eq!(status(&during).state, status(&before).state, "{case}");
    let cluster = |reference: &RedisClusterRef| {
        let mut cluster = status(reference).cluster.clone().unwrap();
        // The flavor's name comes a moment after the list, from the catalog.
        cluster.flavor = None;
        cluster
    };
    assert_eq!(cluster(&during), cluster(&before), "{case}: the last picture stays");
    assert!(condition(&during, "Stalled").is_none(), "{case}: it heals by itself");
    region.cloud.state().clear_faults();
    let after: RedisClusterRef = env.read_again(name).await;
    let types: Vec<&str> = status(&after).conditions.iter().map(|condition| condition.type_.as_str()).collect();
    assert_eq!(types, ["Ready", "Synced"], "{case}: no trace");
    assert_eq!(condition(&after, "Synced").unwrap().reason, "ObserveSucceeded", "{case}");
    assert_eq!(cluster(&after), cluster(&before), "{case}");
}

#[tokio::test]
async fn the_last_picture_stays_and_the_conditions_heal() {
    let cases = cases();
    let regions = regions(cases.len()).await;
    let flags: Vec<String> = regions
        .iter()
        .flat_map(|region| ["--kakao-endpoint".to_owned(), format!("{}={}", region.name, region.cloud.url())])
        .collect();
    let flags: Vec<&str> = flags.iter().map(String::as_str).collect();
    let env = Env::start_with("answers", &flags).await;
    env.secret("token", [("KAKAOCLOUD_TOKEN".to_owned(), KAKAO_TOKEN.to_owned())].into()).await;
    env.clouds().add_kakao_cluster(KakaoCluster::instance_set("set-0", "healthy")).unwrap();
    env.create::<RedisClusterRef>(kakao("neighbour", "set-0")).await;
    env.until_condition::<RedisClusterRef>("neighbour", READY).await;
    let neighbour = async {
        for word in ["Modifying", "Running", "Levitating", "Running"] {
            env.clouds().update_kakao_cluster("set-0", |cluster| cluster.status = word.into()).unwrap();
            let shown: RedisClusterRef = env.read_again("neighbour").await;
            assert_eq!(status(&shown).state.as_deref(), Some(word), "the neighbour is kept up to date");
        }
    };
    let all = join_all(regions.iter().zip(cases).map(|(region, case)| goes_through(&env, region, case)));
    futures::future::join(all, neighbour).await;
}
