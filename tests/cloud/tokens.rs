//! Tokens: issued once, renewed early and after a 401, never after a 403.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use fake_cloud::{Fault, FaultKind, KakaoCluster, Operation};
use futures::future::join_all;
use jiff::{SignedDuration, Timestamp};
use managed_redis_operator::cloud::ErrorKind;

use crate::support::Bench;

fn status(code: u16) -> FaultKind {
    FaultKind::Status { code, body: None, content_type: None, retry_after: None }
}

#[tokio::test]
async fn many_reads_share_one_token() {
    let bench = Bench::start().await;
    let client = bench.kakao();
    let outcomes = join_all((0..40).map(|_| client.versions())).await;
    assert!(outcomes.iter().all(Result::is_ok));
    // A clone is the same connection.
    client.clone().flavors().await.unwrap();
    assert_eq!(bench.fake.state().requests(Operation::KakaoIamToken), 1);
}

#[tokio::test]
async fn a_rejected_token_is_renewed_once_for_all() {
    let bench = Bench::start().await;
    let client = bench.kakao();
    client.versions().await.unwrap();
    bench.fake.state().revoke_kakao_tokens();
    let outcomes = join_all((0..20).map(|_| client.versions())).await;
    assert!(outcomes.iter().all(Result::is_ok));
    assert_eq!(bench.fake.state().requests(Operation::KakaoIamToken), 2);
}

#[tokio::test]
async fn an_apply_is_sent_again_after_a_renewal() {
    let bench = Bench::start().await;
    bench.fake.state().add_kakao_cluster(KakaoCluster::instance_set("c-1", "carts")).unwrap();
    let client = bench.kakao();
    client.versions().await.unwrap();
    bench.fake.state().revoke_kakao_tokens();
    client.apply_parameter_group("c-1").await.unwrap();
    assert_eq!(bench.fake.state().applies("c-1"), 1);
    assert_eq!(bench.attempts.codes("applyParameterGroup"), ["401", "200"]);
}

#[tokio::test]
async fn a_401_that_stays_is_tried_once_more_and_no_more() {
    let bench = Bench::start().await;
    bench.fake.state().inject(Fault::new(Operation::KakaoClustersList, status(401))).unwrap();
    let error = bench.kakao().clusters().await.unwrap_err();
    assert_eq!((error.kind, error.operation), (ErrorKind::CredentialsRejected, "listClusters"));
    assert_eq!(bench.attempts.codes("listClusters"), ["401", "401"]);
    assert_eq!(bench.fake.state().requests(Operation::KakaoIamToken), 2);
}

#[tokio::test]
async fn a_403_renews_nothing() {
    let bench = Bench::start().await;
    bench.fake.state().inject(Fault::new(Operation::KakaoClustersList, status(403))).unwrap();
    let error = bench.kakao().clusters().await.unwrap_err();
    assert_eq!(error.kind, ErrorKind::PermissionDenied);
    assert_eq!(bench.attempts.codes("listClusters"), ["403"]);
    assert_eq!(bench.fake.state().requests(Operation::KakaoIamToken), 1);
}

#[tokio::test]
async fn a_fixed_token_is_used_as_it_is_and_never_renewed() {
    let bench = Bench::start().await;
    let client = bench.kakao_token(fake_cloud::KAKAO_TOKEN);
    client.versions().await.unwrap();
    bench.fake.state().revoke_kakao_tokens();
    let error = client.versions().await.unwrap_err();
    assert_eq!(error.kind, ErrorKind::CredentialsRejected);
    assert_eq!(bench.attempts.codes("listEngineVersions"), ["200", "401"]);
    assert_eq!(bench.fake.state().requests(Operation::KakaoIamToken), 0);
}

#[tokio::test]
async fn wrong_credentials_are_asked_about_once_for_all_who_wait() {
    let bench = Bench::start().await;
    let client = bench.kakao_with("wrong-secret-0000");
    for error in join_all((0..20).map(|_| client.versions())).await.into_iter().map(Result::unwrap_err) {
        assert_eq!((error.kind, error.operation), (ErrorKind::CredentialsRejected, "issueToken"));
        assert!(error.message.contains("check its ID, secret and expiry"), "{error}");
        assert!(!format!("{error:?}").contains("wrong-secret"), "{error:?}");
    }
    assert_eq!(bench.fake.state().requests(Operation::KakaoIamToken), 1);
    // Who asks later asks again.
    client.versions().await.unwrap_err();
    assert_eq!(bench.fake.state().requests(Operation::KakaoIamToken), 2);
    assert_eq!(bench.fake.state().requests(Operation::KakaoVersions), 0);
}

/// A bench whose clients live `offset` seconds in the future.
async fn in_the_future() -> (Bench, Arc<AtomicI64>) {
    let mut bench = Bench::start().await;
    let offset = Arc::new(AtomicI64::new(0));
    let seconds = offset.clone();
    let clock = move || Timestamp::now() + SignedDuration::from_secs(seconds.load(Ordering::SeqCst));
    bench.core = bench.core.with_clock(Arc::new(clock));
    (bench, offset)
}

#[tokio::test]
async fn a_token_is_renewed_before_it_ends() {
    let (bench, offset) = in_the_future().await;
    let client = bench.kakao();
    for (minutes, issued) in [(0, 1), (11 * 60 + 53, 1), (11 * 60 + 56, 2)] {
        offset.store(minutes * 60, Ordering::SeqCst);
        client.versions().await.unwrap();
        assert_eq!(bench.fake.state().requests(Operation::KakaoIamToken), issued, "after {minutes} minutes");
    }
}

#[tokio::test]
async fn a_good_token_outlives_a_failed_renewal() {
    let (bench, offset) = in_the_future().await;
    let client = bench.kakao();
    client.versions().await.unwrap();
    bench.fake.state().inject(Fault::new(Operation::KakaoIamToken, status(503))).unwrap();
    offset.store((11 * 60 + 56) * 60, Ordering::SeqCst);
    client.versions().await.unwrap();
    let tried = bench.fake.state().requests(Operation::KakaoIamToken);
    assert_eq!(tried, 4, "one token, then three attempts to renew it");
    // Not again with the very next request.
    client.versions().await.unwrap();
    assert_eq!(bench.fake.state().requests(Operation::KakaoIamToken), tried);
    // Past its end there is nothing to go on with.
    offset.store((12 * 60 + 1) * 60, Ordering::SeqCst);
    let error = client.versions().await.unwrap_err();
    assert_eq!((error.kind, error.operation), (ErrorKind::Unavailable, "issueToken"));
}

#[tokio::test]
async fn a_token_that_cannot_be_read_is_unexpected() {
    let bench = Bench::start().await;
    let no_header = r#"{"token":{"expires_at":"2099-01-01T00:00:00.000000Z"}}"#;
    for (kind, fragment) in [
        (json(201, no_header), "X-Subject-Token"),
        (FaultKind::WrongTypes, "field token.expires_at: "),
        (FaultKind::Html, "X-Subject-Token"),
        (FaultKind::HalfJson, "not valid JSON"),
    ] {
        bench.fake.state().clear_faults();
        bench.fake.state().inject(Fault::new(Operation::KakaoIamToken, kind)).unwrap();
        let error = bench.kakao().versions().await.unwrap_err();
        assert_eq!((error.kind, error.operation), (ErrorKind::UnexpectedResponse, "issueToken"));
        assert!(error.message.contains(fragment), "{error}");
    }
}

#[tokio::test]
async fn a_token_that_has_ended_already_points_at_the_clock() {
    let bench = Bench::start().await;
    bench.fake.state().set_skew(-13 * 60 * 60);
    let error = bench.kakao().versions().await.unwrap_err();
    assert!(error.message.contains("check the clock"), "{error}");
}

#[tokio::test]
async fn an_id_that_iam_does_not_know_is_a_wrong_credential() {
    let bench = Bench::start().await;
    let unknown = r#"{"error":{"code":404,"title":"Not Found","message":"Could not find Application Credential"}}"#;
    let id = bench.fake.state().inject(Fault::new(Operation::KakaoIamToken, json(404, unknown))).unwrap();
    assert_eq!(bench.kakao().versions().await.unwrap_err().kind, ErrorKind::CredentialsRejected);
    bench.fake.state().remove_fault(id);
    bench.fake.state().inject(Fault::new(Operation::KakaoIamToken, status(404))).unwrap();
    assert_eq!(bench.kakao().versions().await.unwrap_err().kind, ErrorKind::UnexpectedResponse);
}

#[tokio::test]
async fn a_caller_that_gives_up_does_not_block_the_next() {
    let bench = Bench::start().await;
    bench.fake.state().inject(Fault::new(Operation::KakaoIamToken, FaultKind::Hang).times(1)).unwrap();
    let client = bench.kakao();
    let first = tokio::spawn({
        let client = client.clone();
        async move { client.versions().await }
    });
    let asked = bench.fake.state().wait_for_requests(Operation::KakaoIamToken, 1, Duration::from_secs(20)).await;
    assert!(asked);
    first.abort();
    assert!(first.await.unwrap_err().is_cancelled());
    client.versions().await.unwrap();
}

fn json(code: u16, body: &str) -> FaultKind {
    let content_type = Some("application/json".to_owned());
    FaultKind::Status { code, body: Some(body.to_owned()), content_type, retry_after: None }
}
