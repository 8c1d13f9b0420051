//! Tokens: issued once, renewed early and after a 401, never after a 403.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use fake_cloud::{Fault, FaultKind, KakaoCluster, Operation};
use futures::future::join_all;
use jiff::{SignedDuration, Timestamp};
use managed_redis_operator::cloud::ErrorKind;

use crate::support::Fixture;

fn status(code: u16) -> FaultKind {
    FaultKind::Status { code, body: None, content_type: None, retry_after: None }
}

#[tokio::test]
async fn many_reads_share_one_token() {
    let fixture = Fixture::start().await;
    let client = fixture.kakao();
    let outcomes = join_all((0..40).map(|_| client.versions())).await;
    assert!(outcomes.iter().all(Result::is_ok));
    // A clone is the same connection.
    client.clone().flavors().await.unwrap();
    assert_eq!(fixture.fake.state().requests(Operation::KakaoIamToken), 1);
}

#[tokio::test]
async fn a_rejected_token_is_renewed_once_for_all() {
    let fixture = Fixture::start().await;
    let client = fixture.kakao();
    client.versions().await.unwrap();
    fixture.fake.state().revoke_kakao_tokens();
    let outcomes = join_all((0..20).map(|_| client.versions())).await;
    assert!(outcomes.iter().all(Result::is_ok));
    assert_eq!(fixture.fake.state().requests(Operation::KakaoIamToken), 2);
}

#[tokio::test]
async fn an_apply_is_sent_again_after_a_renewal() {
    let fixture = Fixture::start().await;
    fixture.fake.state().add_kakao_cluster(KakaoCluster::instance_set("c-1", "carts")).unwrap();
    let client = fixture.kakao();
    client.versions().await.unwrap();
    fixture.fake.state().revoke_kakao_tokens();
    client.apply_parameter_group("c-1").await.unwrap();
    assert_eq!(fixture.fake.state().applies("c-1"), 1);
    assert_eq!(fixture.attempts.codes("applyParameterGroup"), ["401", "200"]);
}

#[tokio::test]
async fn a_401_that_stays_is_tried_once_more_and_no_more() {
    let fixture = Fixture::start().await;
    fixture.fake.state().inject(Fault::new(Operation::KakaoClustersList, status(401))).unwrap();
    let error = fixture.kakao().clusters().await.unwrap_err();
    assert_eq!((error.kind, error.operation), (ErrorKind::CredentialsRejected, "listClusters"));
    assert_eq!(fixture.attempts.codes("listClusters"), ["401", "401"]);
    assert_eq!(fixture.fake.state().requests(Operation::KakaoIamToken), 2);
}

#[tokio::test]
async fn a_403_renews_nothing() {
    let fixture = Fixture::start().await;
    fixture.fake.state().inject(Fault::new(Operation::KakaoClustersList, status(403))).unwrap();
    let error = fixture.kakao().clusters().await.unwrap_err();
    assert_eq!(error.kind, ErrorKind::PermissionDenied);
    assert_eq!(fixture.attempts.codes("listClusters"), ["403"]);
    assert_eq!(fixture.fake.state().requests(Operation::KakaoIamToken), 1);
}

#[tokio::test]
async fn a_fixed_token_is_used_as_it_is_and_never_renewed() {
    let fixture = Fixture::start().await;
    let client = fixture.kakao_token(fake_cloud::KAKAO_TOKEN);
    client.versions().await.unwrap();
    fixture.fake.state().revoke_kakao_tokens();
    let error = client.versions().await.unwrap_err();
    assert_eq!(error.kind, ErrorKind::CredentialsRejected);
    assert_eq!(fixture.attempts.codes("listEngineVersions"), ["200", "401"]);
    assert_eq!(fixture.fake.state().requests(Operation::KakaoIamToken), 0);
}

#[tokio::test]
async fn wrong_credentials_are_asked_about_once_for_all_who_wait() {
    let fixture = Fixture::start().await;
    let client = fixture.kakao_with("wrong-secret-0000");
    for error in join_all((0..20).map(|_| client.versions())).await.into_iter().map(Result::unwrap_err) {
        assert_eq!((error.kind, error.operation), (ErrorKind::CredentialsRejected, "issueToken"));
        assert!(error.message.contains("check its ID, secret and expiry"), "{error}");
        assert!(!format!("{error:?}").contains("wrong-secret"), "{error:?}");
    }
    assert_eq!(fixture.fake.state().requests(Operation::KakaoIamToken), 1);
    // Who asks later asks again.
    client.versions().await.unwrap_err();
    assert_eq!(fixture.fake.state().requests(Operation::KakaoIamToken), 2);
    assert_eq!(fixture.fake.state().requests(Operation::KakaoVersions), 0);
}

/// A fixture whose clients live `offset` seconds in the future.
async fn in_the_future() -> (Fixture, Arc<AtomicI64>) {
    let mut fixture = Fixture::start().await;
    let offset = Arc::new(AtomicI64::new(0));
    let seconds = offset.clone();
    let clock = move || Timestamp::now() + SignedDuration::from_secs(seconds.load(Ordering::SeqCst));
    fixture.core = fixture.core.with_clock(Arc::new(clock));
    (fixture, offset)
}

#[tokio::test]
async fn a_token_is_renewed_before_it_ends() {
    let (fixture, offset) = in_the_future().await;
    let client = fixture.kakao();
    for (minutes, issued) in [(0, 1), (11 * 60 + 53, 1), (11 * 60 + 56, 2)] {
        offset.store(minutes * 60, Ordering::SeqCst);
        client.versions().await.unwrap();
        assert_eq!(fixture.fake.state().requests(Operation::KakaoIamToken), issued, "after {minutes} minutes");
    }
}

#[tokio::test]
async fn a_good_token_outlives_a_failed_renewal() {
    let (fixture, offset) = in_the_future().await;
    let client = fixture.kakao();
    client.versions().await.unwrap();
    fixture.fake.state().inject(Fault::new(Operation::KakaoIamToken, status(503))).unwrap();
    offset.store((11 * 60 + 56) * 60, Ordering::SeqCst);
    client.versions().await.unwrap();
    let tried = fixture.fake.state().requests(Operation::KakaoIamToken);
    assert_eq!(tried, 4, "one token, then three attempts to renew it");
    // Not again with the very next request.
    client.versions().await.unwrap();
    assert_eq!(fixture.fake.state().requests(Operation::KakaoIamToken), tried);
    // Past its end there is nothing to go on with.
    offset.store((12 * 60 + 1) * 60, Ordering::SeqCst);
    let error = client.versions().await.unwrap_err();
    assert_eq!((error.kind, error.operation), (ErrorKind::Unavailable, "issueToken"));
}

#[tokio::test]
async fn a_token_that_cannot_be_read_is_unexpected() {
    let fixture = Fixture::start().await;
    let no_header = r#"{"token":{"expires_at":"2099-01-01T00:00:00.000000Z"}}"#;
    for (kind, fragment) in [
        (json(201, no_header), "X-Subject-Token"),
        (FaultKind::WrongTypes, "field token.expires_at: "),
        (FaultKind::Html, "X-Subject-Token"),
        (FaultKind::HalfJson, "not valid JSON"),
    ] {
        fixture.fake.state().clear_faults();
        fixture.fake.state().inject(Fault::new(Operation::KakaoIamToken, kind)).unwrap();
        let error = fixture.kakao().versions().await.unwrap_err();
        assert_eq!((error.kind, error.operation), (ErrorKind::UnexpectedResponse, "issueToken"));
        assert!(error.message.contains(fragment), "{error}");
    }
}

#[tokio::test]
async fn a_token_that_has_ended_already_points_at_the_clock() {
    let fixture = Fixture::start().await;
    fixture.fake.state().set_skew(-13 * 60 * 60);
    let error = fixture.kakao().versions().await.unwrap_err();
    assert!(error.message.contains("check the clock"), "{error}");
}

#[tokio::test]
async fn an_id_that_iam_does_not_know_is_a_wrong_credential() {
    let fixture = Fixture::start().await;
    let unknown = r#"{"error":{"code":404,"title":"Not Found","message":"Could not find Application Credential"}}"#;
    let id = fixture.fake.state().inject(Fault::new(Operation::KakaoIamToken, json(404, unknown))).unwrap();
    assert_eq!(fixture.kakao().versions().await.unwrap_err().kind, ErrorKind::CredentialsRejected);
    fixture.fake.state().remove_fault(id);
    fixture.fake.state().inject(Fault::new(Operation::KakaoIamToken, status(404))).unwrap();
    assert_eq!(fixture.kakao().versions().await.unwrap_err().kind, ErrorKind::UnexpectedResponse);
}

#[tokio::test]
async fn a_caller_that_gives_up_does_not_block_the_next() {
    let fixture = Fixture::start().await;
    fixture.fake.state().inject(Fault::new(Operation::KakaoIamToken, FaultKind::Hang).times(1)).unwrap();
    let client = fixture.kakao();
    let first = tokio::spawn({
        let client = client.clone();
        async move { client.versions().await }
    });
    let asked = fixture.fake.state().wait_for_requests(Operation::KakaoIamToken, 1, Duration::from_secs(20)).await;
    assert!(asked);
    first.abort();
    assert!(first.await.unwrap_err().is_cancelled());
    client.versions().await.unwrap();
}

fn json(code: u16, body: &str) -> FaultKind {
    let content_type = Some("application/json".to_owned());
    FaultKind::Status { code, body: Some(body.to_owned()), content_type, retry_after: None }
}
