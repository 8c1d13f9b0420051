//! Peers that mean harm: answers that are much for what they are, and answers that come in a way that costs.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use managed_redis_operator::cloud::kakao::{KakaoClient, KakaoCredentials};
use managed_redis_operator::cloud::ncp::{NcpClient, NcpCredentials};
use managed_redis_operator::cloud::{CloudError, ErrorKind, Executed, HttpCore, MAX_LIST_BYTES, Row};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

use crate::support::{REGION, settings};

const NO: &str = "771203";

/// How a peer answers a request: it writes what it likes until nobody reads it any more.
type Answer = Arc<dyn Fn(usize) -> Box<dyn Iterator<Item = Vec<u8>> + Send> + Send + Sync>;

/// A peer that answers the n-th request (from 0) with `pieces(n)`, each piece in a write of its own, and then closes.
struct Peer {
    url: String,
    requests: Arc<AtomicUsize>,
    written: Arc<AtomicUsize>,
}

impl Peer {
    async fn start(pieces: Answer) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let (requests, written) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
        let (counter, bytes) = (Arc::clone(&requests), Arc::clone(&written));
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let pieces = pieces(counter.fetch_add(1, Ordering::SeqCst));
                tokio::spawn(answer(stream, pieces, Arc::clone(&bytes)));
            }
        });
        Self { url, requests, written }
    }

    fn core(&self) -> HttpCore {
        let mut settings = settings(&self.url);
        settings.max_list_bytes = MAX_LIST_BYTES;
        settings.request_timeout = Duration::from_secs(120);
        HttpCore::new(settings, Arc::new(())).unwrap()
    }

    fn kakao(&self) -> KakaoClient {
        KakaoClient::new(&self.core(), REGION, KakaoCredentials::Token("token-0000".into())).unwrap()
    }

    fn ncp(&self) -> NcpClient {
        let credentials = NcpCredentials { access_key: "KEY0".into(), secret_key: "SECRET00".into() };
        NcpClient::new(&self.core(), "Public", credentials).unwrap()
    }

    fn requests(&self) -> usize {
        self.requests.load(Ordering::SeqCst)
    }

    fn written(&self) -> usize {
        self.written.load(Ordering::SeqCst)
    }
}

async fn answer(mut stream: TcpStream, pieces: Box<dyn Iterator<Item = Vec<u8>> + Send>, written: Arc<AtomicUsize>) {
    stream.set_nodelay(true).unwrap();
    let (mut request, mut buffer) = (Vec::new(), [0; 4096]);
    while !request.windows(4).any(|end| end == b"\r\n\r\n") {
        match stream.read(&mut buffer).await {
            Ok(0) | Err(_) => return,
            Ok(read) => request.extend_from_slice(&buffer[..read]),
        }
    }
    for piece in pieces {
        if stream.write_all(&piece).await.is_err() {
            return;
        }
        written.fetch_add(piece.len(), Ordering::SeqCst);
    }
}

fn head(length: usize) -> Vec<u8> {
    format!(
        "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\nconnection: close\r\ncontent-length: {length}\r\n\r\n"
    )
    .into_bytes()
}

/// `start`, then `part` so many times, then `end`, as one answer in large writes.
fn repeated(start: &str, part: &str, times: usize, end: &str) -> Answer {
    let (start, end) = (start.as_bytes().to_vec(), end.as_bytes().to_vec());
    let block = part.repeat(1000).into_bytes();
    let rest = part.repeat(times % 1000).into_bytes();
    let length = start.len() + block.len() * (times / 1000) + rest.len() + end.len();
    Arc::new(move |_| {
        let lead = [head(length), start.clone()].concat();
        let tail = [rest.clone(), end.clone()].concat();
        let blocks = std::iter::repeat_n(block.clone(), times / 1000);
        Box::new([lead].into_iter().chain(blocks).chain([tail]))
    })
}

fn unexpected(error: &CloudError, part: &str) {
    assert_eq!((error.kind, error.executed), (ErrorKind::UnexpectedResponse, Executed::No), "{error}");
    assert!(error.message.contains(part), "{error}");
}

#[tokio::test]
async fn a_page_of_empty_instances_is_refused_at_its_hundred_and_first() {
    let start = r#"{"getCloudDBInstanceListResponse":{"returnCode":"0","totalRows":1000000,"cloudDBInstanceList":[{}"#;
    let peer = Peer::start(repeated(start, ",{}", 700_000, "]}}")).await;
    unexpected(&peer.ncp().instances().await.unwrap_err(), "more than the 100 instances");
    assert_eq!(peer.requests(), 1, "and no page after it is asked for");
}

#[tokio::test]
async fn pages_without_end_are_bounded_by_the_rows_that_were_promised() {
    let pages: Answer = Arc::new(|number| {
        let rows: Vec<String> =
            (0..100).map(|row| format!(r#"{{"cloudDBInstanceNo":"{}"}}"#, number * 100 + row)).collect();
        let body = format!(r#"{{"returnCode":0,"totalRows":250,"cloudDBInstanceList":[{}]}}"#, rows.join(","));
        Box::new([[head(body.len()), body.into_bytes()].concat()].into_iter())
    });
    let peer = Peer::start(pages).await;
    assert_eq!(peer.ncp().instances().await.unwrap().len(), 300, "three pages are what 250 rows take");
    assert_eq!(peer.requests(), 3);
    let promised: Answer = Arc::new(|_| {
        let body = br#"{"returnCode":0,"totalRows":4000000000,"cloudDBInstanceList":[{"cloudDBInstanceNo":"1"}]}"#;
        Box::new([[head(body.len()), body.to_vec()].concat()].into_iter())
    });
    let peer = Peer::start(promised).await;
    unexpected(&peer.ncp().instances().await.unwrap_err(), "--max-clusters");
    assert_eq!(peer.requests(), 1);
}

#[tokio::test]
async fn a_list_of_millions_of_clusters_is_refused_at_the_number_of_the_flag() {
    let peer = Peer::start(repeated(r#"{"clusters":[{}"#, ",{}", 2_400_000, "]}")).await;
    unexpected(&peer.kakao().clusters().await.unwrap_err(), "more than 20000 clusters");
    assert!(peer.written() < 4 << 20, "{} bytes were read", peer.written());
}

#[tokio::test]
async fn a_cluster_with_millions_of_subnets_costs_itself() {
    let start = r#"{"clusters":[{"objectId":"c-1"},{"objectId":"c-2","name":"x","subnets":[{}"#;
    let peer = Peer::start(repeated(start, ",{}", 3_000_000, r#"]},{"objectId":"c-3"}]}"#)).await;
    let rows = peer.kakao().clusters_as(&|row| row).await.unwrap();
    let [Row::Read(first), Row::Unreadable(large), Row::Read(last)] = rows.as_slice() else { panic!("{}", rows.len()) };
    assert_eq!((first.id.as_str(), large.id.as_deref(), last.id.as_str()), ("c-1", Some("c-2"), "c-3"));
    assert!(large.error.message.contains("more than 262144 bytes"), "{}", large.error);
}

#[tokio::test]
async fn what_stands_beside_a_list_is_bounded() {
    let peer = Peer::start(repeated(r#"{"x":[0"#, ",0", 3_000_000, r#"],"clusters":[]}"#)).await;
    unexpected(&peer.kakao().clusters().await.unwrap_err(), "more than 65536 bytes beside the list");
    // In a cluster it is skipped.
    let peer = Peer::start(repeated(r#"{"clusters":[{"objectId":"c-1","x":[0"#, ",0", 100_000, "]}]}")).await;
    assert_eq!(peer.kakao().clusters().await.unwrap().len(), 1);
}

#[tokio::test]
async fn of_an_error_only_the_beginning_is_read() {
    let endless: Answer = Arc::new(|_| {
        let head = b"HTTP/1.1 503 Service Unavailable\r\nconnection: close\r\n\r\n".to_vec();
        Box::new([head].into_iter().chain(std::iter::repeat(vec![b'x'; 1 << 16])))
    });
    let peer = Peer::start(endless).await;
    for error in [peer.kakao().versions().await.unwrap_err(), peer.ncp().instances().await.unwrap_err()] {
        assert_eq!((error.kind, error.http_status), (ErrorKind::Unavailable, Some(503)), "{error}");
    }
    let flush = peer.ncp().flush(NO).await.unwrap_err();
    assert_eq!((flush.kind, flush.executed), (ErrorKind::Unavailable, Executed::Unknown));
}

#[tokio::test]
async fn chunks_of_one_byte_are_refused_after_some_thousands() {
    let byte_by_byte: Answer = Arc::new(|_| {
        let head = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n1\r\n[\r\n".to_vec();
        // Several in one write, so that the test takes no longer than it must.
        Box::new([head].into_iter().chain(std::iter::repeat(b"1\r\n \r\n".repeat(50))))
    });
    let peer = Peer::start(byte_by_byte).await;
    unexpected(&peer.kakao().versions().await.unwrap_err(), "pieces of a few bytes");
    assert_eq!(peer.requests(), 1, "it is not asked again at once");
    assert!(peer.written() < 8 << 20, "{}", peer.written());
}

/// What a slow peer has open costs no other connection its answer.
#[tokio::test]
async fn a_large_list_that_hangs_keeps_nobody_waiting() {
    let slow = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = slow.local_addr().unwrap();
    let body =
        format!(r#"{{"clusters":[{}{{"objectId":"c-1"}}]}}"#, r#"{"objectId":"c-1"},"#.repeat(10_000)).into_bytes();
    let half = body[..body.len() / 2].to_vec();
    let length = body.len();
    let (began, mut begun) = tokio::sync::mpsc::unbounded_channel();
    tokio::spawn(async move {
        let mut open = Vec::new();
        while let Ok((mut stream, _)) = slow.accept().await {
            // A response before the request would be an error of its own.
            let read = stream.read(&mut [0; 4096]).await.unwrap();
            assert!(read > 0, "no request came");
            stream.write_all(&[head(length), half.clone()].concat()).await.unwrap();
            began.send(()).unwrap();
            open.push(stream);
        }
    });
    let good = repeated(r#"{"clusters":[{"objectId":"c-0"}"#, r#",{"objectId":"c-1"}"#, 15_000, "]}");
    let good = Peer::start(good).await;
    // One process, so one core: both endpoints are regions of it.
    let mut settings = settings(&good.url);
    let endpoints = [format!("slow-1=http://{address}"), format!("{REGION}={}", good.url)];
    let set = managed_redis_operator::cloud::EndpointSet::Kakao;
    settings.kakao = managed_redis_operator::cloud::EndpointMap::parse(set, &endpoints, false).unwrap();
    settings.max_list_bytes = MAX_LIST_BYTES;
    let core = HttpCore::new(settings, Arc::new(())).unwrap();
    let client =
        |region: &str, token: &str| KakaoClient::new(&core, region, KakaoCredentials::Token(token.into())).unwrap();
    let hanging: Vec<_> = (0..20)
        .map(|number| {
            let client = client("slow-1", &format!("token-{number:04}"));
            tokio::spawn(async move { client.clusters().await.map(drop) })
        })
        .collect();
    for _ in &hanging {
        begun.recv().await.unwrap();
    }
    assert_eq!(client(REGION, "token-good").clusters().await.unwrap().len(), 15_001);
    assert!(hanging.iter().all(|task| !task.is_finished()));
    hanging.iter().for_each(tokio::task::JoinHandle::abort);
}
