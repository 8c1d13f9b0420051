//! The admin port in the hands of somebody who wants to fill it.

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::support::{BOUND, Env, TestOperator};

/// Opens a connection and sends the beginning of a request.
async fn half_open(operator: &TestOperator) -> TcpStream {
    let mut stream = TcpStream::connect(operator.admin().await).await.unwrap();
    // The operator may have closed it already.
    let _ = stream.write_all(b"GET /metrics HTTP/1.1\r\nHost:").await;
    stream
}

/// Whether the operator closes the connection, with or without an answer.
async fn is_closed(stream: &mut TcpStream) -> bool {
    let mut answer = Vec::new();
    tokio::time::timeout(BOUND, stream.read_to_end(&mut answer)).await.is_ok()
}

#[tokio::test]
async fn requests_that_never_end_are_closed_and_keep_no_probe_waiting() {
    let env = Env::start("half-open").await;
    let operator = env.operator();
    let mut open = Vec::new();
    for _ in 0..300 {
        open.push(half_open(operator).await);
    }
    assert_eq!(operator.page("/healthz").await, (200, "ok".to_owned()));
    assert_eq!(operator.page("/readyz").await.0, 200);
    #[cfg(target_os = "linux")]
    assert!(operator.sockets() < 150, "{} sockets", operator.sockets());
    for (number, stream) in open.iter_mut().enumerate() {
        assert!(is_closed(stream).await, "connection {number} was kept");
    }
    assert_eq!(operator.page("/metrics").await.0, 200);
}

#[tokio::test]
async fn a_client_that_does_not_take_its_answer_is_let_go() {
    let env = Env::start("slow-reader").await;
    let mut stream = half_open(env.operator()).await;
    stream.write_all(b" x\r\n\r\n").await.unwrap();
    let mut first = [0; 12];
    tokio::time::timeout(BOUND, stream.read_exact(&mut first)).await.expect("an answer").unwrap();
    assert_eq!(&first, b"HTTP/1.1 200");
    // Nothing more is asked on it, so it is closed.
    assert!(is_closed(&mut stream).await);
    assert_eq!(env.operator().page("/healthz").await.0, 200);
}
