//! What goes over the wire, byte for byte, and over how many connections.

use std::io::Write as _;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicI64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use jiff::Timestamp;
use managed_redis_operator::cloud::kakao::{KakaoClient, KakaoCredentials};
use managed_redis_operator::cloud::ncp::{NcpClient, NcpCredentials};
use managed_redis_operator::cloud::{CredentialError, ErrorKind, Executed, HttpCore, SetupError, UnknownEndpoint};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

use crate::support::{AttemptLog, REGION, settings};

const LIST: &str = r#"{"getCloudDBInstanceListResponse":{"returnCode":"0","totalRows":0,"cloudDBInstanceList":[]}}"#;
const FLUSHED: &str = r#"{"flushCloudDBInstanceResponse":{"returnCode":"0","totalRows":1,"cloudDBInstanceList":[]}}"#;

/// A server that keeps connections open and counts them.
struct Wire {
    address: SocketAddr,
    connections: Arc<AtomicUsize>,
    requests: Arc<Mutex<Vec<String>>>,
}

impl Wire {
    /// Answers the n-th request (from 0) with `answer(n, request)`, whole HTTP answers.
    async fn start(answer: impl Fn(usize, &str) -> Vec<u8> + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let connections = Arc::new(AtomicUsize::new(0));
        let requests = Arc::new(Mutex::new(Vec::new()));
        let (counter, log, answer) = (connections.clone(), requests.clone(), Arc::new(answer));
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                counter.fetch_add(1, Ordering::SeqCst);
                let (log, answer) = (log.clone(), answer.clone());
                tokio::spawn(async move { serve(stream, &log, &*answer).await });
            }
        });
        Self { address, connections, requests }
    }

    fn core(&self) -> HttpCore {
        HttpCore::new(settings(&format!("http://{}", self.address)), Arc::new(())).unwrap()
    }

    fn requests(&self) -> Vec<String> {
        self.requests.lock().unwrap().clone()
    }
}

async fn serve(mut stream: TcpStream, log: &Mutex<Vec<String>>, answer: &(impl Fn(usize, &str) -> Vec<u8> + ?Sized)) {
    while let Some(request) = read_request(&mut stream).await {
        let number = {
            let mut log = log.lock().unwrap();
            log.push(request.clone());
            log.len() - 1
        };
        if stream.write_all(&answer(number, &request)).await.is_err() {
            return;
        }
    }
}

/// One request with its body; none when the client has left.
async fn read_request(stream: &mut TcpStream) -> Option<String> {
    let mut bytes = Vec::new();
    loop {
        let mut chunk = [0; 4096];
        let read = stream.read(&mut chunk).await.ok().filter(|read| *read > 0)?;
        bytes.extend_from_slice(&chunk[..read]);
        let text = String::from_utf8(bytes.clone()).unwrap();
        let Some((head, body)) = text.split_once("\r\n\r\n") else { continue };
        let length = header(head, "content-length").map_or(0, |length| length.parse().unwrap());
        if body.len() >= length {
            return Some(text);
        }
    }
}

fn header<'a>(request: &'a str, name: &str) -> Option<&'a str> {
    request.lines().find_map(|line| {
        let (found, value) = line.split_once(':')?;
        found.eq_ignore_ascii_case(name).then(|| value.trim())
    })
}

fn ok(body: &str) -> Vec<u8> {
    let length = body.len();
    format!("HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {length}\r\n\r\n{body}").into_bytes()
}

fn either(_: usize, request: &str) -> Vec<u8> {
    ok(if request.contains("flushCloudDBInstance") { FLUSHED } else { LIST })
}

fn ncp(core: &HttpCore) -> NcpClient {
    let credentials =
        NcpCredentials { access_key: "TESTACCESSKEY000000".into(), secret_key: "TESTSECRETKEY00000000".into() };
    NcpClient::new(core, "Public", credentials).unwrap()
}

#[tokio::test]
async fn a_flush_has_a_connection_of_its_own() {
    let wire = Wire::start(either).await;
    let client = ncp(&wire.core());
    for _ in 0..3 {
        client.instances().await.unwrap();
    }
    assert_eq!(wire.connections.load(Ordering::SeqCst), 1, "reads share a connection");
    for flushes in 1..=2 {
        client.flush("771203").await.unwrap();
        assert_eq!(wire.connections.load(Ordering::SeqCst), 1 + flushes);
    }
    client.instances().await.unwrap();
    assert_eq!(wire.connections.load(Ordering::SeqCst), 3, "a read does not take over a flush's connection");
}

#[tokio::test]
async fn a_flush_is_a_post_with_a_form_and_nothing_more() {
    let wire = Wire::start(either).await;
    ncp(&wire.core()).flush("771203").await.unwrap();
    let [request] = <[String; 1]>::try_from(wire.requests()).unwrap();
    assert!(request.starts_with("POST /clouddb/v2/flushCloudDBInstance HTTP/1.1\r\n"), "{request}");
    assert!(request.ends_with("\r\n\r\ncloudDBInstanceNo=771203&responseFormatType=json"), "{request}");
    assert_eq!(header(&request, "content-type"), Some("application/x-www-form-urlencoded"));
    assert_eq!(header(&request, "x-ncp-iam-access-key"), Some("TESTACCESSKEY000000"));
    assert_eq!(header(&request, "accept-encoding"), Some("gzip"));
    assert!(header(&request, "x-ncp-apigw-api-key").is_none() && !request.contains("TESTSECRETKEY"), "{request}");
}

#[tokio::test]
async fn a_prefix_of_the_endpoint_is_kept_and_signed() {
    let wire = Wire::start(either).await;
    let core = HttpCore::new(settings(&format!("http://{}/edge/", wire.address)), Arc::new(())).unwrap();
    ncp(&core).instances().await.unwrap();
    assert!(wire.requests()[0].starts_with("POST /edge/clouddb/v2/getCloudDBInstanceList HTTP/1.1\r\n"));
}

#[tokio::test]
async fn every_attempt_is_signed_afresh() {
    let unavailable = b"HTTP/1.1 503 Service Unavailable\r\ncontent-length: 0\r\n\r\n";
    let wire = Wire::start(move |number, _| if number == 0 { unavailable.to_vec() } else { ok(LIST) }).await;
    let ticks = AtomicI64::new(1_800_000_000_000);
    let clock = move || Timestamp::from_millisecond(ticks.fetch_add(1, Ordering::SeqCst)).unwrap();
    ncp(&wire.core().with_clock(Arc::new(clock))).instances().await.unwrap();
    let requests = wire.requests();
    let of = |name: &str| (header(&requests[0], name).unwrap(), header(&requests[1], name).unwrap());
    let (first, second) = of("x-ncp-apigw-timestamp");
    assert!(first < second, "{first} {second}");
    let (first, second) = of("x-ncp-apigw-signature-v2");
    assert_ne!(first, second);
}

fn zip(body: &str) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    encoder.write_all(body.as_bytes()).unwrap();
    encoder.finish().unwrap()
}

fn ok_zipped(packed: &[u8]) -> Vec<u8> {
    let head = format!("HTTP/1.1 200 OK\r\ncontent-encoding: gzip\r\ncontent-length: {}\r\n\r\n", packed.len());
    [head.as_bytes(), packed].concat()
}

#[tokio::test]
async fn gzip_is_understood_and_limited_after_decompression() {
    let wire = Wire::start(|number, _| match number {
        0 => ok_zipped(&zip(r#"["7.2.11"]"#)),
        // Small on the wire, one byte more than allowed when unpacked.
        1 => ok_zipped(&zip(&format!("{}[]", " ".repeat((4 << 20) - 1)))),
        2 => ok_zipped(b"this is no gzip at all"),
        3 => {
            let packed = zip(r#"["7.2.11"]"#);
            ok_zipped(&packed[..packed.len() - 4])
        }
        _ => ok("[]"),
    })
    .await;
    let client = KakaoClient::new(&wire.core(), REGION, KakaoCredentials::Token("token-0000".into())).unwrap();
    assert_eq!(client.versions().await.unwrap(), ["7.2.11"]);
    let error = client.versions().await.unwrap_err();
    assert!(error.message.contains("larger than 4194304 bytes after decompression"), "{error}");
    let error = client.versions().await.unwrap_err();
    assert_eq!(error.kind, ErrorKind::UnexpectedResponse);
    assert!(error.message.contains("cannot be decompressed"), "{error}");
    // One that breaks off is asked for again.
    assert_eq!(client.versions().await.unwrap(), Vec::<String>::new());
    assert_eq!(wire.requests().len(), 5);
}

#[tokio::test]
async fn trace_headers_are_passed_on() {
    let wire = Wire::start(|_, _| {
        let body = r#"{"error":{"errorCode":"230","message":"Forbidden"}}"#;
        let length = body.len();
        format!("HTTP/1.1 403 Forbidden\r\nx-ncp-trace-id: trace-17\r\ncontent-length: {length}\r\n\r\n{body}")
            .into_bytes()
    })
    .await;
    let error = ncp(&wire.core()).flush("771203").await.unwrap_err();
    assert_eq!(error.trace_id.as_deref(), Some("trace-17"));
    assert!(error.to_string().contains("trace trace-17"), "{error}");
}

#[tokio::test]
async fn what_is_no_http_is_unknown_to_a_flush() {
    let wire = Wire::start(|_, _| b"-ERR unknown command\r\n".to_vec()).await;
    let error = ncp(&wire.core()).flush("771203").await.unwrap_err();
    assert_eq!((error.kind, error.executed), (ErrorKind::Unavailable, Executed::Unknown));
    assert_eq!(wire.requests().len(), 1);
}

#[tokio::test]
async fn without_a_connection_nothing_was_executed() {
    // A port that was free a moment ago and that nobody listens on.
    let address = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let attempts = Arc::new(AttemptLog::default());
    let core = HttpCore::new(settings(&format!("http://{address}")), attempts.clone()).unwrap();
    let error = ncp(&core).flush("771203").await.unwrap_err();
    assert_eq!((error.kind, error.executed), (ErrorKind::Unavailable, Executed::No));
    assert!(error.message.contains("no connection"), "{error}");
    assert_eq!(attempts.codes("flushCloudDBInstance"), ["connect"]);
    ncp(&core).instances().await.unwrap_err();
    assert_eq!(attempts.codes("getCloudDBInstanceList"), ["connect", "connect", "connect"]);
}

#[tokio::test]
async fn a_connection_that_cannot_be_set_up_says_why() {
    let core = HttpCore::new(settings("http://127.0.0.1:9"), Arc::new(())).unwrap();
    let key = |secret: &str| NcpCredentials { access_key: "KEY".into(), secret_key: secret.into() };
    let error = NcpClient::new(&core, "Mars", key("s")).err().unwrap();
    assert!(matches!(&error, SetupError::Endpoint(UnknownEndpoint { key, .. }) if key == "Mars"), "{error}");
    let error = NcpClient::new(&core, "Public", key("hunter22\n")).err().unwrap();
    assert_eq!(error, SetupError::Credential(CredentialError::LineBreak { key: "NCLOUD_SECRET_KEY" }));
    assert!(!format!("{error} {error:?}").contains("hunter22"));
    let error = KakaoClient::new(&core, "kr-west-9", KakaoCredentials::Token("t".into())).err().unwrap();
    assert!(error.to_string().contains("kr-west-9"), "{error}");
}
