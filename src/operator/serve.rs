//! An HTTP server with bounded resources: a bounded number of connections, each for one request and for a bounded time.

use std::collections::{BTreeMap, HashMap};
use std::io;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use axum::Router;
use hyper::server::conn::http1;
use hyper::service::{Service as _, service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tracing::{debug, warn};

/// Size of the buffer for the head of a request.
const BUFFER_BYTES: usize = 16 * 1024;
/// The wait after a connection could not be accepted, most often because no file descriptor is left.
const ACCEPT_AGAIN: Duration = Duration::from_millis(100);

/// The bounds of the server.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    /// Concurrent connections. A further one ends another.
    pub connections: usize,
    /// How long a client may take to send the head of its request.
    pub head: Duration,
    /// How long a connection may last in all.
    pub whole: Duration,
}

/// Serves until `shutdown`. Requests that are being answered then are finished.
pub(crate) async fn serve(listener: TcpListener, router: Router, limits: Limits, shutdown: CancellationToken) {
    let connections = Arc::new(Mutex::new(OpenConnections::new(limits.connections)));
    let service = TowerToHyperService::new(router);
    let mut running = JoinSet::new();
    let mut spare = Spare::default();
    let mut is_told = false;
    while !shutdown.is_cancelled() {
        let accepted = tokio::select! {
            () = shutdown.cancelled() => break,
            Some(_) = running.join_next(), if !running.is_empty() => continue,
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok((stream, peer)) => {
                spare.hold();
                let guard = ConnectionGuard::take(&connections, peer.ip());
                running.spawn(answer(stream, service.clone(), limits, guard));
            }
            Err(error) if is_of_the_connection(&error) => debug!(%error, "a connection ended before it was accepted"),
            Err(error) => {
                if !std::mem::replace(&mut is_told, true) {
                    warn!(%error, "the admin server cannot accept a connection; it goes on trying");
                }
                // With the spare file descriptor the connection can be accepted after all.
                if !spare.give_up() {
                    lock(&connections).end_one();
                    tokio::time::sleep(ACCEPT_AGAIN).await;
                }
            }
        }
    }
    drop(listener);
    while running.join_next().await.is_some() {}
}

/// Serves one request on a connection.
async fn answer(stream: TcpStream, service: TowerToHyperService<Router>, limits: Limits, guard: ConnectionGuard) {
    let ended = guard.ended.clone();
    let service = service_fn(|request| {
        lock(&guard.connections).head_is_read(guard.number);
        service.call(request)
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(limits.head)
        .keep_alive(false)
        .max_buf_size(BUFFER_BYTES)
        .serve_connection(TokioIo::new(stream), service);
    tokio::select! {
        () = ended.cancelled() => {}
        served = tokio::time::timeout(limits.whole, connection) => match served {
            Ok(Ok(())) => {}
            Ok(Err(error)) => debug!(%error, "a request to the admin server was not served"),
            Err(_) => debug!("a request to the admin server took too long"),
        }
    }
}

/// Whether an error of `accept` is about the new connection, not about the process.
fn is_of_the_connection(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset};
    matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset)
}

/// A file descriptor that is given up when none is left, so that a probe can still be accepted.
#[derive(Default)]
struct Spare(Option<std::fs::File>);

impl Spare {
    fn hold(&mut self) {
        if self.0.is_none() {
            self.0 = std::fs::File::open("/dev/null").ok();
        }
    }

    /// Returns whether there was one.
    fn give_up(&mut self) -> bool {
        self.0.take().is_some()
    }
}

/// Keeps a connection among the open ones until it is dropped.
struct ConnectionGuard {
    connections: Arc<Mutex<OpenConnections<CancellationToken>>>,
    number: u64,
    ended: CancellationToken,
}

impl ConnectionGuard {
    fn take(connections: &Arc<Mutex<OpenConnections<CancellationToken>>>, peer: IpAddr) -> Self {
        let ended = CancellationToken::new();
        let number = lock(connections).add(peer, ended.clone());
        Self { connections: Arc::clone(connections), number, ended }
    }
}

impl Drop for ConnectionGuard {
    fn drop(&mut self) {
        lock(&self.connections).open.remove(&self.number);
    }
}

fn lock<T>(connections: &Mutex<OpenConnections<T>>) -> MutexGuard<'_, OpenConnections<T>> {
    // They are consistent after every single operation.
    connections.lock().unwrap_or_else(PoisonError::into_inner)
}

/// How a connection is ended.
trait End {
    fn end(&self);
}

impl End for CancellationToken {
    fn end(&self) {
        self.cancel();
    }
}

/// The open connections, in the order in which they came.
struct OpenConnections<T> {
    bound: usize,
    last: u64,
    open: BTreeMap<u64, OpenConnection<T>>,
}

struct OpenConnection<T> {
    peer: IpAddr,
    is_head_read: bool,
    end: T,
}

impl<T> OpenConnections<T> {
    fn new(bound: usize) -> Self {
        Self { bound, last: 0, open: BTreeMap::new() }
    }

    /// The head of the request has arrived.
    fn head_is_read(&mut self, number: u64) {
        if let Some(connection) = self.open.get_mut(&number) {
            connection.is_head_read = true;
        }
    }

    /// Which connection to end in favour of a new one: the oldest that has not sent its head yet, of the address with most of them.
    /// So a client with many connections does not keep out others, and one that sends nothing does not keep out a probe, which sends
    /// its head at once.
    fn least_deserving(&self) -> Option<u64> {
        let is_waiting = |connection: &OpenConnection<T>| !connection.is_head_read;
        let only_waiting = self.open.values().any(is_waiting);
        let candidates = || self.open.iter().filter(|(_, connection)| !only_waiting || is_waiting(connection));
        let mut of_peer: HashMap<IpAddr, usize> = HashMap::new();
        for (_, connection) in candidates() {
            *of_peer.entry(connection.peer).or_default() += 1;
        }
        let count = |connection: &OpenConnection<T>| of_peer.get(&connection.peer).copied().unwrap_or_default();
        let most = candidates().map(|(_, connection)| count(connection)).max()?;
        candidates().find(|(_, connection)| count(connection) == most).map(|(number, _)| *number)
    }
}

impl<T: End> OpenConnections<T> {
    /// Adds a connection, and ends another one if there are too many.
    fn add(&mut self, peer: IpAddr, end: T) -> u64 {
        if self.open.len() >= self.bound {
            self.end_one();
        }
        self.last += 1;
        self.open.insert(self.last, OpenConnection { peer, is_head_read: false, end });
        self.last
    }

    fn end_one(&mut self) {
        if let Some(connection) = self.least_deserving().and_then(|number| self.open.remove(&number)) {
            connection.end.end();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::rc::Rc;

    use axum::routing::get;
    use proptest::prelude::*;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    use super::*;

    type EndFlag = Rc<Cell<bool>>;

    impl End for EndFlag {
        fn end(&self) {
            self.set(true);
        }
    }

    fn peer(last: u8) -> IpAddr {
        IpAddr::from([10, 0, 0, last])
    }

    fn numbers(connections: &OpenConnections<EndFlag>) -> Vec<u64> {
        connections.open.keys().copied().collect()
    }

    #[test]
    fn one_more_ends_the_oldest_without_a_head_of_the_address_with_most() {
        let mut connections = OpenConnections::new(4);
        let probe = connections.add(peer(1), EndFlag::default());
        for _ in 0..3 {
            connections.add(peer(9), EndFlag::default());
        }
        connections.head_is_read(2);
        connections.add(peer(9), EndFlag::default());
        assert_eq!(numbers(&connections), [probe, 2, 4, 5], "3 has sent nothing, and its address has most");
        for number in [probe, 4, 5] {
            connections.head_is_read(number);
        }
        connections.add(peer(9), EndFlag::default());
        assert_eq!(
            numbers(&connections),
            [probe, 4, 5, 6],
            "all are being answered, so the oldest of the address with most"
        );
    }

    proptest! {
        /// There are never more than the bound, and an address with a single connection keeps it while another address has two.
        #[test]
        fn a_crowd_of_one_address_ends_no_connection_of_another(steps in proptest::collection::vec(any::<bool>(), 1..200)) {
            let mut connections = OpenConnections::new(8);
            let alone = EndFlag::default();
            connections.add(peer(1), Rc::clone(&alone));
            for is_head_read in steps {
                let number = connections.add(peer(2), EndFlag::default());
                if is_head_read {
                    connections.head_is_read(number);
                    // As a request that is answered at once.
                    connections.open.remove(&number);
                }
                prop_assert!(connections.open.len() <= 8);
            }
            prop_assert!(!alone.get());
        }
    }

    const LIMITS: Limits =
        Limits { connections: 4, head: Duration::from_millis(200), whole: Duration::from_millis(600) };

    async fn server(limits: Limits) -> std::net::SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let addr = listener.local_addr().unwrap();
        // More than the buffers of both ends of a socket take.
        let router =
            Router::new().route("/", get(|| async { "ok" })).route("/big", get(|| async { vec![0; 64 << 20] }));
        tokio::spawn(serve(listener, router, limits, CancellationToken::new()));
        addr
    }

    async fn send(addr: std::net::SocketAddr, text: &str) -> TcpStream {
        let mut stream = TcpStream::connect(addr).await.unwrap();
        stream.write_all(text.as_bytes()).await.unwrap();
        stream
    }

    async fn rest(mut stream: TcpStream) -> String {
        let mut bytes = Vec::new();
        // A reset is an end as well.
        let _ = stream.read_to_end(&mut bytes).await;
        String::from_utf8_lossy(&bytes).into_owned()
    }

    #[tokio::test]
    async fn a_head_that_never_ends_is_not_waited_for() {
        let stream = send(server(LIMITS).await, "GET / HTTP/1.1\r\nHost:").await;
        assert!(!rest(stream).await.contains("200 OK"), "and it ends");
    }

    #[tokio::test]
    async fn an_answer_that_is_not_taken_is_cut_off() {
        let mut stream = send(server(LIMITS).await, "GET /big HTTP/1.1\r\nHost: a\r\n\r\n").await;
        let mut first = [0; 12];
        stream.read_exact(&mut first).await.unwrap();
        // Reads no more until the server has let go, which shows in what can be written.
        while stream.write_all(b"x").await.is_ok() {
            tokio::task::yield_now().await;
        }
        assert!(rest(stream).await.len() < 64 << 20);
    }

    #[tokio::test]
    async fn a_request_is_answered_however_many_others_never_end() {
        let limits = Limits { head: Duration::from_secs(600), whole: Duration::from_secs(600), ..LIMITS };
        let addr = server(limits).await;
        let mut idle = Vec::new();
        for _ in 0..50 {
            idle.push(send(addr, "GET / HT").await);
        }
        let answer = rest(send(addr, "GET / HTTP/1.1\r\nHost: a\r\n\r\n").await).await;
        assert!(answer.starts_with("HTTP/1.1 200 OK") && answer.ends_with("ok"), "{answer}");
        for stream in idle.drain(..46) {
            assert_eq!(rest(stream).await, "", "it was ended for another one");
        }
    }
}
