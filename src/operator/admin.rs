//! The admin server: /metrics, /healthz, /readyz.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tracing::warn;

use super::OperatorError;
use super::readiness::Readiness;
use super::serve::{self, Limits};
use crate::controllers::context::Context;
use crate::runtime::watch_health::WatchNumbers;
use crate::runtime::watches::Watches;

/// How long open requests may take after `shutdown`.
const CLOSE_WITHIN: Duration = Duration::from_millis(500);
/// How long a client may take to send the head of its request.
const HEAD_WITHIN: Duration = Duration::from_secs(5);
/// How long a connection may last. A scraper gives up earlier.
const LASTS: Duration = Duration::from_secs(20);
/// How long the text of the metrics is shared with further clients while it is being sent.
const FRESH: Duration = Duration::from_secs(1);

/// What the pages show.
#[derive(Clone)]
pub(crate) struct AdminPages {
    ctx: Arc<Context>,
    watches: Arc<Watches>,
    readiness: Arc<Readiness>,
    sending: Arc<Mutex<Sending>>,
}

impl AdminPages {
    /// Pages about this operator.
    pub(crate) fn new(ctx: Arc<Context>, watches: Arc<Watches>, readiness: Arc<Readiness>) -> Self {
        Self { ctx, watches, readiness, sending: Arc::default() }
    }
}

/// The running admin server.
pub(crate) struct AdminServer {
    /// Where it listens. If port 0 was asked for, this has the port that was free.
    pub addr: SocketAddr,
    task: JoinHandle<()>,
}

impl AdminServer {
    /// Waits for the end after `shutdown`. Open requests are answered, but a client that never finishes is not waited for.
    pub(crate) async fn stopped(mut self) {
        match tokio::time::timeout(CLOSE_WITHIN, &mut self.task).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => warn!(%error, "the admin server failed"),
            Err(_) => self.task.abort(),
        }
    }
}

/// Serves until `shutdown`, on at most `connections` at once.
///
/// # Errors
/// When the address cannot be listened on.
pub(crate) async fn serve(
    addr: SocketAddr,
    pages: AdminPages,
    connections: usize,
    shutdown: CancellationToken,
) -> Result<AdminServer, OperatorError> {
    let failed = |source| OperatorError::AdminAddress { addr, source };
    let listener = tokio::net::TcpListener::bind(addr).await.map_err(failed)?;
    let addr = listener.local_addr().map_err(failed)?;
    let router = Router::new()
        .route("/healthz", get(|| async { "ok" }))
        .route("/readyz", get(readyz))
        .route("/metrics", get(metrics))
        .with_state(pages);
    let limits = Limits { connections, head: HEAD_WITHIN, whole: LASTS };
    Ok(AdminServer { addr, task: tokio::spawn(serve::serve(listener, router, limits, shutdown)) })
}

async fn readyz(State(pages): State<AdminPages>) -> Response {
    let (ready, sentence) = pages.readiness.tell(pages.watches.summary());
    let status = if ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (status, sentence).into_response()
}

async fn metrics(State(pages): State<AdminPages>) -> Response {
    match text_of_metrics(&pages) {
        Ok(text) => {
            let text = Bytes::from_owner(SharedText(text));
            let content_type = "application/openmetrics-text; version=1.0.0; charset=utf-8";
            ([(header::CONTENT_TYPE, content_type)], text).into_response()
        }
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, error.to_string()).into_response(),
    }
}

/// The text of the metrics that is being sent, and when it was made. Many clients at once take the memory of one.
#[derive(Debug, Default)]
struct Sending {
    text: Weak<String>,
    made: Option<Instant>,
}

impl Sending {
    /// The text that is being sent, unless it is too old to be shared.
    fn get(&self, now: Instant) -> Option<Arc<String>> {
        let is_fresh = self.made.is_some_and(|made| now.saturating_duration_since(made) < FRESH);
        self.text.upgrade().filter(|_| is_fresh)
    }
}

struct SharedText(Arc<String>);

impl AsRef<[u8]> for SharedText {
    fn as_ref(&self) -> &[u8] {
        self.0.as_bytes()
    }
}

fn text_of_metrics(pages: &AdminPages) -> Result<Arc<String>, std::fmt::Error> {
    let mut sending = pages.sending.lock().unwrap_or_else(PoisonError::into_inner);
    let now = Instant::now();
    if let Some(text) = sending.get(now) {
        return Ok(text);
    }
    let (ctx, metrics) = (&pages.ctx, &pages.ctx.metrics);
    ctx.inventory.report(metrics);
    for WatchNumbers { kind, failing, silent } in pages.watches.numbers() {
        metrics.watches(kind, failing, silent.as_secs_f64());
    }
    let text = Arc::new(metrics.encode()?);
    *sending = Sending { text: Arc::downgrade(&text), made: Some(now) };
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_shared_while_it_is_being_sent_and_not_for_longer_than_a_second() {
        let (text, made) = (Arc::new("a 1".to_owned()), Instant::now());
        let sending = Sending { text: Arc::downgrade(&text), made: Some(made) };
        assert_eq!(sending.get(made).as_ref(), Some(&text));
        assert_eq!(sending.get(made + FRESH), None, "too old");
        drop(text);
        assert_eq!(sending.get(made), None, "no client is served any more");
    }
}
