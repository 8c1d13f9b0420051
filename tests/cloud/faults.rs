//! Answers that are no answers, for every operation of both clouds.

use std::time::Duration;

use fake_cloud::{Fault, FaultKind, KakaoCluster, NcpInstance, Operation, Seed};
use managed_redis_operator::cloud::{CloudError, ErrorKind, Executed};

use crate::support::Fixture;

const ID: &str = "c-1";
const NO: &str = "771203";
const READS: [Operation; 5] = [
    Operation::KakaoVersions,
    Operation::KakaoFlavors,
    Operation::KakaoClustersList,
    Operation::KakaoClusterGet,
    Operation::NcpInstancesList,
];
const MUTATIONS: [Operation; 2] = [Operation::KakaoParameterGroupApply, Operation::NcpFlush];

async fn fixture() -> Fixture {
    populated(Fixture::start().await)
}

/// A fixture whose requests time out after `timeout`.
async fn impatient(timeout: Duration) -> Fixture {
    populated(Fixture::with(Seed::default(), |settings| settings.request_timeout = timeout).await)
}

fn populated(fixture: Fixture) -> Fixture {
    fixture.fake.state().add_kakao_cluster(KakaoCluster::instance_set(ID, "carts")).unwrap();
    fixture.fake.state().add_ncp_instance(NcpInstance::single(NO, "cart-cache")).unwrap();
    fixture
}

/// Calls an operation with a fault injected into it; the result without its value.
async fn call(fixture: &Fixture, operation: Operation, fault: Fault) -> Result<(), CloudError> {
    fixture.fake.state().inject(fault).unwrap();
    let outcome = match operation {
        Operation::KakaoVersions => fixture.kakao().versions().await.map(drop),
        Operation::KakaoFlavors => fixture.kakao().flavors().await.map(drop),
        Operation::KakaoClustersList => fixture.kakao().clusters().await.map(drop),
        Operation::KakaoClusterGet => fixture.kakao().cluster(ID).await.map(drop),
        Operation::KakaoParameterGroupApply => fixture.kakao().apply_parameter_group(ID).await.map(drop),
        Operation::NcpInstancesList => fixture.ncp().instances().await.map(drop),
        Operation::NcpFlush => fixture.ncp().flush(NO).await.map(drop),
        other => panic!("{other:?} is not called here"),
    };
    fixture.fake.state().clear_faults();
    outcome
}

fn effects(fixture: &Fixture) -> u64 {
    fixture.fake.state().applies(ID) + fixture.fake.state().flushes(NO)
}

/// Answers that nobody can understand.
fn nonsense() -> [FaultKind; 6] {
    [
        FaultKind::Html,
        FaultKind::HalfJson,
        FaultKind::WrongTypes,
        FaultKind::DeepNesting { depth: 100_000 },
        FaultKind::GzipBomb { bytes: 1 << 30 },
        FaultKind::Redirect { location: "http://127.0.0.1:9/".into(), code: None },
    ]
}

#[tokio::test]
async fn reads_that_cannot_be_understood_are_unexpected_and_not_repeated() {
    for operation in READS {
        let fixture = fixture().await;
        // Of a list whose clusters cannot be read each costs itself; see `kakao.rs`.
        let by_entry =
            |kind: &FaultKind| operation == Operation::KakaoClustersList && matches!(kind, FaultKind::WrongTypes);
        for (number, kind) in (1..).zip(nonsense().into_iter().filter(|kind| !by_entry(kind))) {
            let row = format!("{operation:?} {kind:?}");
            let outcome = call(&fixture, operation, Fault::new(operation, kind)).await;
            let error = outcome.expect_err(&row);
            assert_eq!((error.kind, error.executed), (ErrorKind::UnexpectedResponse, Executed::No), "{row}: {error}");
            assert!(!error.message.is_empty() && error.message.chars().count() <= 300, "{row}: {error}");
            assert_eq!(fixture.fake.state().requests(operation), number, "{row}");
        }
        // The same connection works as soon as the cloud does.
        call(&fixture, operation, Fault::new(Operation::Unknown, FaultKind::Html)).await.unwrap();
    }
}

#[tokio::test]
async fn mutations_that_cannot_be_understood_are_unknown_and_sent_once() {
    for operation in MUTATIONS {
        // An apply is accepted with any 2xx that is no page for a person; see `an_apply_is_accepted_whatever_the_body`.
        let is_accepted = |kind: &FaultKind| {
            operation == Operation::KakaoParameterGroupApply
                && !matches!(kind, FaultKind::Html | FaultKind::Redirect { .. })
        };
        for kind in nonsense().into_iter().filter(|kind| !is_accepted(kind)) {
            let fixture = fixture().await;
            let row = format!("{operation:?} {kind:?}");
            // The cloud does it, whatever it says.
            let error = call(&fixture, operation, Fault::new(operation, kind).execute(true)).await.unwrap_err();
            assert_eq!(
                (error.kind, error.executed),
                (ErrorKind::UnexpectedResponse, Executed::Unknown),
                "{row}: {error}"
            );
            assert_eq!((fixture.fake.state().requests(operation), effects(&fixture)), (1, 1), "{row}");
        }
    }
}

#[tokio::test]
async fn an_apply_is_accepted_whatever_the_body() {
    for kind in nonsense() {
        if matches!(kind, FaultKind::Html | FaultKind::Redirect { .. }) {
            continue;
        }
        let (fixture, operation) = (fixture().await, Operation::KakaoParameterGroupApply);
        let row = format!("{kind:?}");
        assert_eq!(call(&fixture, operation, Fault::new(operation, kind).execute(true)).await, Ok(()), "{row}");
        assert_eq!((fixture.fake.state().requests(operation), effects(&fixture)), (1, 1), "{row}");
    }
}

#[tokio::test]
async fn mutations_that_break_off_are_unknown_and_sent_once() {
    for operation in MUTATIONS {
        for (kind, done, code) in [
            (FaultKind::DropBefore, 0, "reset"),
            (FaultKind::DropAfter, 1, "reset"),
            (FaultKind::Truncate { bytes: 10 }, 1, "body"),
        ] {
            let fixture = fixture().await;
            let row = format!("{operation:?} {kind:?}");
            let error = call(&fixture, operation, Fault::new(operation, kind)).await.unwrap_err();
            assert_eq!((error.kind, error.executed), (ErrorKind::Unavailable, Executed::Unknown), "{row}: {error}");
            assert_eq!((fixture.fake.state().requests(operation), effects(&fixture)), (1, done), "{row}");
            assert_eq!(fixture.attempts.codes(error.operation), [code], "{row}");
        }
    }
}

#[tokio::test]
async fn mutations_without_an_answer_are_unknown_and_sent_once() {
    for operation in MUTATIONS {
        let fixture = impatient(Duration::from_secs(1)).await;
        let fault = Fault::new(operation, FaultKind::Hang).execute(true);
        let error = call(&fixture, operation, fault).await.unwrap_err();
        assert_eq!((error.kind, error.executed), (ErrorKind::Unavailable, Executed::Unknown), "{error}");
        assert_eq!((fixture.fake.state().requests(operation), effects(&fixture)), (1, 1), "{operation:?}");
        assert_eq!(fixture.attempts.codes(error.operation), ["timeout"]);
    }
}

#[tokio::test]
async fn reads_that_break_off_are_repeated() {
    for operation in READS {
        for kind in [FaultKind::DropBefore, FaultKind::DropAfter, FaultKind::Truncate { bytes: 10 }] {
            let fixture = fixture().await;
            let row = format!("{operation:?} {kind:?}");
            call(&fixture, operation, Fault::new(operation, kind.clone()).times(2)).await.unwrap();
            assert_eq!(fixture.fake.state().requests(operation), 3, "{row}");
            let error = call(&fixture, operation, Fault::new(operation, kind)).await.unwrap_err();
            assert_eq!((error.kind, error.executed), (ErrorKind::Unavailable, Executed::No), "{row}");
            assert_eq!(fixture.fake.state().requests(operation), 6, "{row}");
        }
    }
}

#[tokio::test]
async fn reads_without_an_answer_end_in_time() {
    let fixture = impatient(Duration::from_millis(200)).await;
    let operation = Operation::NcpInstancesList;
    let error = call(&fixture, operation, Fault::new(operation, FaultKind::Hang)).await.unwrap_err();
    assert_eq!((error.kind, error.executed), (ErrorKind::Unavailable, Executed::No));
    assert!(error.message.contains("in time"), "{error}");
    assert_eq!(fixture.attempts.codes(error.operation), ["timeout", "timeout", "timeout"]);
}

#[tokio::test]
async fn no_read_starts_after_the_budget() {
    let fixture = populated(
        Fixture::with(Seed::default(), |settings| {
            settings.request_timeout = Duration::from_millis(200);
            settings.retry.budget = Duration::from_millis(100);
        })
        .await,
    );
    let operation = Operation::NcpInstancesList;
    let error = call(&fixture, operation, Fault::new(operation, FaultKind::Hang)).await.unwrap_err();
    assert_eq!(fixture.attempts.codes(error.operation), ["timeout"]);
}

#[tokio::test]
async fn a_redirect_is_never_followed() {
    let (fixture, elsewhere) = (fixture().await, fixture().await);
    for status in [301, 302, 303, 307, 308] {
        for operation in READS.into_iter().chain(MUTATIONS) {
            let location = format!("{}/clouddb/v2/flushCloudDBInstance", elsewhere.fake.url());
            let kind = FaultKind::Redirect { location, code: Some(status) };
            let error = call(&fixture, operation, Fault::new(operation, kind)).await.unwrap_err();
            assert_eq!((error.kind, error.http_status), (ErrorKind::UnexpectedResponse, Some(status)));
            assert!(error.message.contains("redirect"), "{error}");
        }
    }
    assert_eq!(elsewhere.fake.state().requests(Operation::Any), 0);
    assert_eq!(effects(&fixture), 0);
}

#[tokio::test]
async fn secrets_that_a_cloud_echoes_stay_out_of_errors() {
    let fixture = fixture().await;
    let body = format!(
        "{{\"error\":{{\"code\":\"{}\",\"errorCode\":\"{}\",\"message\":\"got {} and {} and {}\"}}}}",
        fake_cloud::KAKAO_TOKEN,
        fake_cloud::NCP_SECRET_KEY,
        fake_cloud::KAKAO_TOKEN,
        fake_cloud::NCP_SECRET_KEY,
        fake_cloud::NCP_ACCESS_KEY,
    );
    let echo = FaultKind::Status { code: 400, body: Some(body), content_type: None, retry_after: None };
    fixture.fake.state().inject(Fault::new(Operation::Any, echo)).unwrap();
    let kakao = fixture.kakao_token(fake_cloud::KAKAO_TOKEN).clusters().await.unwrap_err();
    let shown = format!("{kakao} {kakao:?}");
    assert!(shown.contains("got ****") && !shown.contains(fake_cloud::KAKAO_TOKEN), "{shown}");
    let ncp = fixture.ncp().flush(NO).await.unwrap_err();
    let shown = format!("{ncp} {ncp:?}");
    assert!(shown.contains("and ****"), "{shown}");
    assert!(!shown.contains(fake_cloud::NCP_SECRET_KEY) && !shown.contains(fake_cloud::NCP_ACCESS_KEY), "{shown}");
}
