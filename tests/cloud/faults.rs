//! Answers that are no answers, for every operation of both clouds.

use std::time::Duration;

use fake_cloud::{Fault, FaultKind, KakaoCluster, NcpInstance, Operation, Seed};
use managed_redis_operator::cloud::{CloudError, ErrorKind, Executed};

use crate::support::Bench;

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

async fn bench() -> Bench {
    populated(Bench::start().await)
}

/// A bench whose requests time out after `timeout`.
async fn impatient(timeout: Duration) -> Bench {
    populated(Bench::with(Seed::default(), |settings| settings.request_timeout = timeout).await)
}

fn populated(bench: Bench) -> Bench {
    bench.fake.state().add_kakao_cluster(KakaoCluster::instance_set(ID, "carts")).unwrap();
    bench.fake.state().add_ncp_instance(NcpInstance::single(NO, "cart-cache")).unwrap();
    bench
}

/// Calls an operation with a fault injected into it; the result without its value.
async fn call(bench: &Bench, operation: Operation, fault: Fault) -> Result<(), CloudError> {
    bench.fake.state().inject(fault).unwrap();
    let outcome = match operation {
        Operation::KakaoVersions => bench.kakao().versions().await.map(drop),
        Operation::KakaoFlavors => bench.kakao().flavors().await.map(drop),
        Operation::KakaoClustersList => bench.kakao().clusters().await.map(drop),
        Operation::KakaoClusterGet => bench.kakao().cluster(ID).await.map(drop),
        Operation::KakaoParameterGroupApply => bench.kakao().apply_parameter_group(ID).await.map(drop),
        Operation::NcpInstancesList => bench.ncp().instances().await.map(drop),
        Operation::NcpFlush => bench.ncp().flush(NO).await.map(drop),
        other => panic!("{other:?} is not called here"),
    };
    bench.fake.state().clear_faults();
    outcome
}

fn effects(bench: &Bench) -> u64 {
    bench.fake.state().applies(ID) + bench.fake.state().flushes(NO)
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
        let bench = bench().await;
        // Of a list whose clusters cannot be read each costs itself; see `kakao.rs`.
        let by_entry =
            |kind: &FaultKind| operation == Operation::KakaoClustersList && matches!(kind, FaultKind::WrongTypes);
        for (number, kind) in (1..).zip(nonsense().into_iter().filter(|kind| !by_entry(kind))) {
            let row = format!("{operation:?} {kind:?}");
            let outcome = call(&bench, operation, Fault::new(operation, kind)).await;
            let error = outcome.expect_err(&row);
            assert_eq!((error.kind, error.executed), (ErrorKind::UnexpectedResponse, Executed::No), "{row}: {error}");
            assert!(!error.message.is_empty() && error.message.chars().count() <= 300, "{row}: {error}");
            assert_eq!(bench.fake.state().requests(operation), number, "{row}");
        }
        // The same connection works as soon as the cloud does.
        call(&bench, operation, Fault::new(Operation::Unknown, FaultKind::Html)).await.unwrap();
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
            let bench = bench().await;
            let row = format!("{operation:?} {kind:?}");
            // The cloud does it, whatever it says.
            let error = call(&bench, operation, Fault::new(operation, kind).execute(true)).await.unwrap_err();
            assert_eq!(
                (error.kind, error.executed),
                (ErrorKind::UnexpectedResponse, Executed::Unknown),
                "{row}: {error}"
            );
            assert_eq!((bench.fake.state().requests(operation), effects(&bench)), (1, 1), "{row}");
        }
    }
}

#[tokio::test]
async fn an_apply_is_accepted_whatever_the_body() {
    for kind in nonsense() {
        if matches!(kind, FaultKind::Html | FaultKind::Redirect { .. }) {
            continue;
        }
        let (bench, operation) = (bench().await, Operation::KakaoParameterGroupApply);
        let row = format!("{kind:?}");
        assert_eq!(call(&bench, operation, Fault::new(operation, kind).execute(true)).await, Ok(()), "{row}");
        assert_eq!((bench.fake.state().requests(operation), effects(&bench)), (1, 1), "{row}");
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
            let bench = bench().await;
            let row = format!("{operation:?} {kind:?}");
            let error = call(&bench, operation, Fault::new(operation, kind)).await.unwrap_err();
            assert_eq!((error.kind, error.executed), (ErrorKind::Unavailable, Executed::Unknown), "{row}: {error}");
            assert_eq!((bench.fake.state().requests(operation), effects(&bench)), (1, done), "{row}");
            assert_eq!(bench.attempts.codes(error.operation), [code], "{row}");
        }
    }
}

#[tokio::test]
async fn mutations_without_an_answer_are_unknown_and_sent_once() {
    for operation in MUTATIONS {
        let bench = impatient(Duration::from_secs(1)).await;
        let fault = Fault::new(operation, FaultKind::Hang).execute(true);
        let error = call(&bench, operation, fault).await.unwrap_err();
        assert_eq!((error.kind, error.executed), (ErrorKind::Unavailable, Executed::Unknown), "{error}");
        assert_eq!((bench.fake.state().requests(operation), effects(&bench)), (1, 1), "{operation:?}");
        assert_eq!(bench.attempts.codes(error.operation), ["timeout"]);
    }
}

#[tokio::test]
async fn reads_that_break_off_are_repeated() {
    for operation in READS {
        for kind in [FaultKind::DropBefore, FaultKind::DropAfter, FaultKind::Truncate { bytes: 10 }] {
            let bench = bench().await;
            let row = format!("{operation:?} {kind:?}");
            call(&bench, operation, Fault::new(operation, kind.clone()).times(2)).await.unwrap();
            assert_eq!(bench.fake.state().requests(operation), 3, "{row}");
            let error = call(&bench, operation, Fault::new(operation, kind)).await.unwrap_err();
            assert_eq!((error.kind, error.executed), (ErrorKind::Unavailable, Executed::No), "{row}");
            assert_eq!(bench.fake.state().requests(operation), 6, "{row}");
        }
    }
}

#[tokio::test]
async fn reads_without_an_answer_end_in_time() {
    let bench = impatient(Duration::from_millis(200)).await;
    let operation = Operation::NcpInstancesList;
    let error = call(&bench, operation, Fault::new(operation, FaultKind::Hang)).await.unwrap_err();
    assert_eq!((error.kind, error.executed), (ErrorKind::Unavailable, Executed::No));
    assert!(error.message.contains("in time"), "{error}");
    assert_eq!(bench.attempts.codes(error.operation), ["timeout", "timeout", "timeout"]);
}

#[tokio::test]
async fn no_read_starts_after_the_budget() {
    let bench = populated(
        Bench::with(Seed::default(), |settings| {
            settings.request_timeout = Duration::from_millis(200);
            settings.retry.budget = Duration::from_millis(100);
        })
        .await,
    );
    let operation = Operation::NcpInstancesList;
    let error = call(&bench, operation, Fault::new(operation, FaultKind::Hang)).await.unwrap_err();
    assert_eq!(bench.attempts.codes(error.operation), ["timeout"]);
}

#[tokio::test]
async fn a_redirect_is_never_followed() {
    let (bench, elsewhere) = (bench().await, bench().await);
    for status in [301, 302, 303, 307, 308] {
        for operation in READS.into_iter().chain(MUTATIONS) {
            let location = format!("{}/clouddb/v2/flushCloudDBInstance", elsewhere.fake.url());
            let kind = FaultKind::Redirect { location, code: Some(status) };
            let error = call(&bench, operation, Fault::new(operation, kind)).await.unwrap_err();
            assert_eq!((error.kind, error.http_status), (ErrorKind::UnexpectedResponse, Some(status)));
            assert!(error.message.contains("redirect"), "{error}");
        }
    }
    assert_eq!(elsewhere.fake.state().requests(Operation::Any), 0);
    assert_eq!(effects(&bench), 0);
}

#[tokio::test]
async fn secrets_that_a_cloud_echoes_stay_out_of_errors() {
    let bench = bench().await;
    let body = format!(
        "{{\"error\":{{\"code\":\"{}\",\"errorCode\":\"{}\",\"message\":\"got {} and {} and {}\"}}}}",
        fake_cloud::KAKAO_TOKEN,
        fake_cloud::NCP_SECRET_KEY,
        fake_cloud::KAKAO_TOKEN,
        fake_cloud::NCP_SECRET_KEY,
        fake_cloud::NCP_ACCESS_KEY,
    );
    let echo = FaultKind::Status { code: 400, body: Some(body), content_type: None, retry_after: None };
    bench.fake.state().inject(Fault::new(Operation::Any, echo)).unwrap();
    let kakao = bench.kakao_token(fake_cloud::KAKAO_TOKEN).clusters().await.unwrap_err();
    let shown = format!("{kakao} {kakao:?}");
    assert!(shown.contains("got ****") && !shown.contains(fake_cloud::KAKAO_TOKEN), "{shown}");
    let ncp = bench.ncp().flush(NO).await.unwrap_err();
    let shown = format!("{ncp} {ncp:?}");
    assert!(shown.contains("and ****"), "{shown}");
    assert!(!shown.contains(fake_cloud::NCP_SECRET_KEY) && !shown.contains(fake_cloud::NCP_ACCESS_KEY), "{shown}");
}
