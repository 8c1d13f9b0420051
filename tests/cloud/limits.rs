//! Rate limits: the cloud's, which the whole connection obeys, and our own.

use std::time::{Duration, Instant};

use fake_cloud::{Fault, FaultKind, NcpInstance, Operation, Seed};
use managed_redis_operator::cloud::{ErrorKind, Executed};

use crate::support::Fixture;

const NO: &str = "771203";

fn too_many(retry_after_seconds: Option<u32>) -> FaultKind {
    FaultKind::TooManyRequests { retry_after_seconds, error_code: None }
}

#[tokio::test]
async fn a_short_retry_after_is_waited_for() {
    let fixture = Fixture::start().await;
    fixture.fake.state().inject(Fault::new(Operation::NcpInstancesList, too_many(Some(1))).times(1)).unwrap();
    let started = Instant::now();
    fixture.ncp().instances().await.unwrap();
    assert!(started.elapsed() >= Duration::from_secs(1));
    assert_eq!(fixture.attempts.codes("getCloudDBInstanceList"), ["429", "200"]);
}

#[tokio::test]
async fn a_long_retry_after_holds_back_the_whole_connection() {
    let fixture = Fixture::start().await;
    fixture.fake.state().add_ncp_instance(NcpInstance::single(NO, "cart-cache")).unwrap();
    fixture.fake.state().inject(Fault::new(Operation::NcpInstancesList, too_many(Some(120))).times(1)).unwrap();
    let client = fixture.ncp();
    let error = client.instances().await.unwrap_err();
    assert_eq!((error.kind, error.http_status), (ErrorKind::RateLimited, Some(429)));
    assert_eq!(error.retry_after, Some(Duration::from_secs(120)));
    // Neither reads nor flushes are sent, on clones of the client neither.
    let read = client.clone().instance(NO).await.unwrap_err();
    let flush = client.flush(NO).await.unwrap_err();
    for error in [read, flush] {
        assert_eq!((error.kind, error.http_status, error.executed), (ErrorKind::RateLimited, None, Executed::No));
        let left = error.retry_after.unwrap();
        assert!(left > Duration::from_secs(60) && left <= Duration::from_secs(120), "{left:?}");
    }
    assert_eq!(fixture.fake.state().requests(Operation::Any), 1);
    // Another connection is not concerned.
    fixture.ncp().flush(NO).await.unwrap();
}

#[tokio::test]
async fn a_retry_after_of_days_is_capped() {
    let fixture = Fixture::start().await;
    fixture.fake.state().inject(Fault::new(Operation::NcpInstancesList, too_many(Some(864_000)))).unwrap();
    let error = fixture.ncp().instances().await.unwrap_err();
    assert_eq!(error.retry_after, Some(Duration::from_secs(600)));
}

#[tokio::test]
async fn a_503_can_ask_for_a_pause_too() {
    let fixture = Fixture::start().await;
    let fault = |retry_after: &str| {
        let retry_after = Some(retry_after.to_owned());
        Fault::new(
            Operation::KakaoVersions,
            FaultKind::Status { code: 503, body: None, content_type: None, retry_after },
        )
    };
    fixture.fake.state().inject(fault("120").times(1)).unwrap();
    let client = fixture.kakao();
    let error = client.versions().await.unwrap_err();
    assert_eq!((error.kind, error.retry_after), (ErrorKind::Unavailable, Some(Duration::from_secs(120))));
    assert_eq!(client.flavors().await.unwrap_err().kind, ErrorKind::RateLimited);
    assert_eq!(fixture.fake.state().requests(Operation::KakaoFlavors), 0);
    // Nonsense is no pause.
    fixture.fake.state().inject(fault("soon").times(1)).unwrap();
    fixture.kakao().versions().await.unwrap();
}

#[tokio::test]
async fn a_429_without_retry_after_is_tried_again() {
    let fixture = Fixture::start().await;
    fixture.fake.state().inject(Fault::new(Operation::KakaoVersions, too_many(None)).times(2)).unwrap();
    fixture.kakao().versions().await.unwrap();
    assert_eq!(fixture.attempts.codes("listEngineVersions"), ["429", "429", "200"]);
}

#[tokio::test]
async fn a_429_to_a_mutation_is_not_tried_again() {
    let fixture = Fixture::start().await;
    fixture.fake.state().inject(Fault::new(Operation::Any, too_many(None)).times(1)).unwrap();
    let error = fixture.ncp().flush(NO).await.unwrap_err();
    assert_eq!((error.kind, error.executed), (ErrorKind::RateLimited, Executed::No));
    assert_eq!(fixture.fake.state().requests(Operation::NcpFlush), 1);
}

#[tokio::test]
async fn requests_keep_to_the_rate() {
    let fixture = Fixture::with(Seed::default(), |settings| (settings.qps, settings.burst) = (20.0, 2)).await;
    let client = fixture.ncp();
    let started = Instant::now();
    let outcomes = futures::future::join_all((0..6).map(|_| client.instances())).await;
    assert!(outcomes.iter().all(Result::is_ok));
    // Two at once, four more at 20 a second.
    assert!(started.elapsed() >= Duration::from_millis(195), "{:?}", started.elapsed());
}

#[tokio::test]
async fn reads_at_the_same_time_are_bounded_and_mutations_pass_them() {
    let fixture = Fixture::start().await;
    fixture.fake.state().add_ncp_instance(NcpInstance::single(NO, "cart-cache")).unwrap();
    fixture.fake.state().inject(Fault::new(Operation::NcpInstancesList, FaultKind::Hang)).unwrap();
    let client = fixture.ncp();
    let reads: Vec<_> = (0..12)
        .map(|_| {
            let client = client.clone();
            tokio::spawn(async move { client.instances().await.map(drop) })
        })
        .collect();
    let state = fixture.fake.state();
    assert!(state.wait_for_requests(Operation::NcpInstancesList, 4, Duration::from_secs(20)).await);
    // All reads hang and eight wait: the flush goes all the same.
    client.flush(NO).await.unwrap();
    assert_eq!(state.request_counts()[&Operation::NcpInstancesList].max_in_flight, 4);
    reads.iter().for_each(tokio::task::JoinHandle::abort);
}
