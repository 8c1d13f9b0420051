//! A cloud that writes raw HTTP/1.1, so that it can send what no library would: answers without end, or byte by byte.

use std::io::{self, Write as _};
use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::Duration;

use flate2::Compression;
use flate2::write::GzEncoder;
use jiff::{Timestamp, ToSpan as _};
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// The answer to a request for a list.
pub(super) enum HostileAnswer {
    /// A whole body, with its length and perhaps its encoding.
    Whole {
        /// The bytes that are sent.
        body: Vec<u8>,
        /// Whether they are gzipped.
        gzipped: bool,
    },
    /// These bytes again and again, from the first of the answer on.
    Endless(Vec<u8>),
    /// A chunked body in chunks of one byte, without end.
    Trickle,
}

impl HostileAnswer {
    /// A body as it is.
    pub(super) fn whole(body: String) -> Self {
        Self::Whole { body: body.into_bytes(), gzipped: false }
    }

    /// A body, compressed.
    pub(super) fn gzipped(body: &str) -> Self {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
        // Writing to memory cannot fail.
        let body = encoder.write_all(body.as_bytes()).and_then(|()| encoder.finish()).unwrap_or_default();
        Self::Whole { body, gzipped: true }
    }
}

/// A running cloud. It ends when it is dropped.
pub(super) struct HostileCloud {
    port: u16,
    answered: watch::Receiver<u64>,
    task: JoinHandle<()>,
}

impl Drop for HostileCloud {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl HostileCloud {
    /// Starts a cloud that gives the answer to every request whose path begins with `path`, and otherwise tokens and empty lists.
    pub(super) async fn start(path: &'static str, answer: Arc<HostileAnswer>) -> io::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let port = listener.local_addr()?.port();
        let (count, answered) = watch::channel(0);
        let count = Arc::new(count);
        let task = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (answer, count) = (Arc::clone(&answer), Arc::clone(&count));
                // An error means that the client has gone, which ends its connection and nothing else.
                tokio::spawn(async move { serve(stream, path, &answer, &count).await.ok() });
            }
        });
        Ok(Self { port, answered, task })
    }

    /// Its base URL.
    pub(super) fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// Waits until so many answers were sent, or begun if they have no end; false if the time was up first.
    pub(super) async fn answered(&self, count: u64, within: Duration) -> bool {
        let mut answered = self.answered.clone();
        tokio::time::timeout(within, answered.wait_for(|have| *have >= count)).await.is_ok_and(|have| have.is_ok())
    }
}

/// Answers the requests of one connection.
async fn serve(stream: TcpStream, path: &str, answer: &HostileAnswer, count: &watch::Sender<u64>) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let mut stream = BufReader::new(stream);
    while let Some(asked) = request(&mut stream).await? {
        if asked.starts_with(path) {
            give(&mut stream, answer, count).await?;
        } else if asked.starts_with("/identity/") {
            let until = Timestamp::now().saturating_add(12.hours()).unwrap_or(Timestamp::MAX);
            let body = format!(r#"{{"token":{{"expires_at":"{until:.6}"}}}}"#);
            let head =
                format!("HTTP/1.1 201 Created\r\nx-subject-token: token\r\ncontent-length: {}\r\n\r\n", body.len());
            stream.write_all((head + &body).as_bytes()).await?;
        } else {
            let body = if asked.ends_with("/versions") { "[]" } else { r#"{"flavors":[]}"# };
            let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n", body.len());
            stream.write_all((head + body).as_bytes()).await?;
        }
    }
    Ok(())
}

/// Reads a request; its path, or none at the end of the connection.
async fn request(stream: &mut BufReader<TcpStream>) -> io::Result<Option<String>> {
    let (mut path, mut length) = (None, 0);
    loop {
        let mut line = String::new();
        if stream.read_line(&mut line).await? == 0 {
            return Ok(None);
        }
        let line = line.trim_end();
        if path.is_none() {
            path = line.split(' ').nth(1).map(str::to_owned);
        } else if line.is_empty() {
            break;
        } else if let Some((name, value)) = line.split_once(':')
            && name.eq_ignore_ascii_case("content-length")
        {
            length = value.trim().parse().unwrap_or(0);
        }
    }
    let mut body = vec![0; length];
    stream.read_exact(&mut body).await?;
    Ok(path)
}

async fn give(stream: &mut BufReader<TcpStream>, answer: &HostileAnswer, count: &watch::Sender<u64>) -> io::Result<()> {
    let one_more = || count.send_modify(|have| *have += 1);
    match answer {
        HostileAnswer::Whole { body, gzipped } => {
            let encoding = if *gzipped { "content-encoding: gzip\r\n" } else { "" };
            let head = format!(
                "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n{encoding}content-length: {}\r\n\r\n",
                body.len()
            );
            stream.write_all(head.as_bytes()).await?;
            let sent = stream.write_all(body).await;
            // An answer that the client does not read to its end counts, too.
            one_more();
            sent
        }
        HostileAnswer::Endless(bytes) => {
            one_more();
            loop {
                stream.write_all(bytes).await?;
            }
        }
        HostileAnswer::Trickle => {
            one_more();
            stream.write_all(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n").await?;
            // Many chunks in one segment, for it is the chunks that cost the reader, not the packets.
            let chunks = b"1\r\n \r\n".repeat(1000);
            loop {
                stream.write_all(&chunks).await?;
            }
        }
    }
}
