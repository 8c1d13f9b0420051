//! A reverse proxy between one operator process and everything it talks to: the API server and the fake cloud.
//!
//! It is plain HTTP on loopback, and knows the administrator's token, so that the operator needs none.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use futures::{StreamExt as _, TryStreamExt};
use http::header::{AUTHORIZATION, CONNECTION, CONTENT_LENGTH, CONTENT_TYPE, HOST, TRANSFER_ENCODING};
use http::request::Parts;
use http::{HeaderMap, Request, Response, StatusCode};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt as _, BodyStream, Full, StreamBody};
use hyper::body::{Bytes, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use kube::Client;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet};

use super::write::{OperatorWrite, Side, request_name};
use super::write_log::{OpenWrite, WriteFate, WriteLog};

type Body = UnsyncBoxBody<Bytes, Box<dyn std::error::Error + Send + Sync>>;

/// The connection is closed without an answer.
#[derive(Debug, thiserror::Error)]
#[error("closed without an answer")]
struct NoAnswer;

/// Where the proxy's requests go.
#[derive(Clone)]
pub(super) struct Upstream {
    /// The administrator's client, without retries of its own.
    pub kube: Client,
    /// A client that never retries and never follows.
    pub http: reqwest::Client,
    /// Base URL of the fake cloud.
    pub clouds: String,
}

/// The proxy of one operator process. It ends when it is dropped.
pub(super) struct OperatorProxy {
    address: SocketAddr,
    /// A new value ends every watch.
    watches: watch::Sender<u64>,
    task: JoinHandle<()>,
}

struct ProxyContext {
    process: usize,
    write_log: Arc<WriteLog>,
    upstream: Upstream,
    cut: watch::Receiver<u64>,
}

impl OperatorProxy {
    /// Starts the proxy of a process on a free port.
    ///
    /// # Errors
    /// When there is none.
    pub(super) async fn start(process: usize, write_log: Arc<WriteLog>, upstream: Upstream) -> io::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let address = listener.local_addr()?;
        let (watches, cut) = watch::channel(0);
        let context = Arc::new(ProxyContext { process, write_log, upstream, cut });
        let task = tokio::spawn(accept(listener, context));
        Ok(Self { address, watches, task })
    }

    /// The base URL, for the API server as for the clouds.
    pub(super) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Ends every watch there is.
    pub(super) fn end_watches(&self) {
        self.watches.send_modify(|cuts| *cuts += 1);
    }
}

impl Drop for OperatorProxy {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn accept(listener: TcpListener, context: Arc<ProxyContext>) {
    let mut connections = JoinSet::new();
    loop {
        let stream = tokio::select! {
            Some(_) = connections.join_next() => continue,
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => stream,
                // Out of file descriptors, for one: the operator's connection attempt fails, which it has to bear.
                Err(_) => { tokio::task::yield_now().await; continue }
            },
        };
        let _ = stream.set_nodelay(true);
        let context = Arc::clone(&context);
        let service = service_fn(move |request| serve(Arc::clone(&context), request));
        connections.spawn(async move {
            // An error is a connection that ended, as they do here.
            let _ = http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
        });
    }
}

async fn serve(context: Arc<ProxyContext>, request: Request<Incoming>) -> Result<Response<Body>, NoAnswer> {
    if !is_for_cloud(request.uri().path()) && context.write_log.meets_outage(context.process) {
        return Err(NoAnswer);
    }
    let (parts, body) = request.into_parts();
    let body = body.collect().await.map_err(|_| NoAnswer)?.to_bytes();
    match OperatorWrite::of(&parts.method, parts.uri.path(), &body) {
        // A task of its own: what is under way arrives even if the operator is killed meanwhile.
        Some(write) => tokio::spawn(context.write(write, parts, body)).await.map_err(|_| NoAnswer)?,
        None => context.read(parts).await,
    }
}

impl ProxyContext {
    async fn write(
        self: Arc<Self>,
        write: OperatorWrite,
        parts: Parts,
        body: Bytes,
    ) -> Result<Response<Body>, NoAnswer> {
        let open = self.write_log.arrived(self.process, write);
        match open.pass(Side::Before).await {
            WriteFate::Go => {}
            WriteFate::Drop => return Err(NoAnswer),
            WriteFate::Answer(status) => return Ok(instead(&open, status)),
        }
        let answer = if is_for_cloud(parts.uri.path()) {
            self.ask_cloud(parts, body).await
        } else {
            self.ask_kube(parts, body).await
        };
        if let Ok(answer) = &answer {
            open.carried_out(answer.status().as_u16());
        }
        match open.pass(Side::After).await {
            WriteFate::Go => {}
            WriteFate::Drop => return Err(NoAnswer),
            WriteFate::Answer(status) => return Ok(instead(&open, status)),
        }
        let answer = answer?;
        open.told(answer.status().as_u16());
        Ok(answer)
    }

    async fn read(&self, parts: Parts) -> Result<Response<Body>, NoAnswer> {
        let path = parts.uri.path();
        if is_for_cloud(path) {
            return self.ask_cloud(parts, Bytes::new()).await;
        }
        let is_watch = parts.uri.query().is_some_and(|query| query.split('&').any(|pair| pair == "watch=true"));
        if let Some(name) = request_name(path) {
            self.write_log.read(self.process, name);
        }
        if !is_watch {
            return self.ask_kube(parts, Bytes::new()).await;
        }
        let of_requests = path.ends_with("/redisflushrequests");
        let mut cut = self.cut.clone();
        cut.mark_unchanged();
        let (head, body) = self.send_kube(parts, Bytes::new()).await?.into_parts();
        if of_requests && head.status.is_success() {
            self.write_log.watches(self.process);
        }
        let until = async move {
            // An error means that the proxy ends, and its watches with it.
            let _ = cut.changed().await;
        };
        let frames = TryStreamExt::map_err(BodyStream::new(body), Into::into).take_until(Box::pin(until));
        let body = StreamBody::new(frames.boxed());
        Ok(Response::from_parts(without_hop_by_hop(head), UnsyncBoxBody::new(body)))
    }

    async fn send_kube(&self, parts: Parts, body: Bytes) -> Result<Response<kube::client::Body>, NoAnswer> {
        let mut request = Request::new(kube::client::Body::from(body));
        *request.method_mut() = parts.method;
        let path = parts.uri.path_and_query().map_or("/", |path| path.as_str());
        *request.uri_mut() = path.parse().map_err(|_| NoAnswer)?;
        *request.headers_mut() = parts.headers;
        strip(request.headers_mut());
        self.upstream.kube.send(request).await.map_err(|_| NoAnswer)
    }

    /// Asks the API server and reads the whole answer.
    async fn ask_kube(&self, parts: Parts, body: Bytes) -> Result<Response<Body>, NoAnswer> {
        let (head, body) = self.send_kube(parts, body).await?.into_parts();
        let body = body.collect().await.map_err(|_| NoAnswer)?.to_bytes();
        Ok(Response::from_parts(without_hop_by_hop(head), whole(body)))
    }

    /// Asks the fake cloud and reads the whole answer; one that breaks off is passed on as far as it came.
    async fn ask_cloud(&self, parts: Parts, body: Bytes) -> Result<Response<Body>, NoAnswer> {
        let path = parts.uri.path_and_query().map_or("/", |path| path.as_str());
        let mut headers = parts.headers;
        strip(&mut headers);
        let request = self.upstream.http.request(parts.method, format!("{}{path}", self.upstream.clouds));
        let answer = request.headers(headers).body(body).send().await.map_err(|_| NoAnswer)?;
        let mut head = Response::builder().status(answer.status());
        if let Some(head) = head.headers_mut() {
            *head = answer.headers().clone();
        }
        let chunks: Vec<_> = answer.bytes_stream().collect().await;
        let frames = chunks.into_iter().map(|chunk| chunk.map(hyper::body::Frame::data).map_err(Into::into));
        let response = head.body(UnsyncBoxBody::new(StreamBody::new(futures::stream::iter(frames))));
        let mut response = response.map_err(|_| NoAnswer)?;
        strip(response.headers_mut());
        Ok(response)
    }
}

/// Whether a request is one to a cloud: both it and the API server are behind one address.
fn is_for_cloud(path: &str) -> bool {
    !["/api", "/version", "/openapi"].iter().any(|prefix| path.starts_with(prefix))
}

/// An answer that the server never gave: of a proxy in between, or of an overloaded server.
fn instead(open: &OpenWrite, status: StatusCode) -> Response<Body> {
    open.told(status.as_u16());
    let reason = if status == StatusCode::CONFLICT { "Conflict" } else { "InternalError" };
    let text = serde_json::json!({
        "kind": "Status", "apiVersion": "v1", "status": "Failure",
        "reason": reason, "message": "injected fault", "code": status.as_u16(),
    });
    let mut response = Response::new(whole(text.to_string().into()));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, http::HeaderValue::from_static("application/json"));
    response
}

fn whole(bytes: Bytes) -> Body {
    UnsyncBoxBody::new(Full::new(bytes).map_err(|never| match never {}))
}

/// What belongs to one connection, or to the other side's identity.
fn strip(headers: &mut HeaderMap) {
    for name in [HOST, AUTHORIZATION, CONNECTION, CONTENT_LENGTH, TRANSFER_ENCODING] {
        headers.remove(name);
    }
}

fn without_hop_by_hop(mut head: http::response::Parts) -> http::response::Parts {
    for name in [CONNECTION, CONTENT_LENGTH, TRANSFER_ENCODING] {
        head.headers.remove(name);
    }
    head
}
