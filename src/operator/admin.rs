//! The admin server: /metrics, /healthz, /readyz.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tracing::warn;

use super::OperatorError;
use super::readiness::Readiness;
use crate::controllers::context::Context;

/// How long clients may take to end their requests after `shutdown`.
const CLOSE_WITHIN: Duration = Duration::from_millis(500);

#[derive(Clone)]
struct Admin {
    ctx: Arc<Context>,
    readiness: Arc<Readiness>,
}

/// The running admin server.
pub struct Server {
    /// Where it really listens: of port 0, the port that was free.
    pub addr: SocketAddr,
    task: JoinHandle<std::io::Result<()>>,
}

impl Server {
    /// Waits for the end that `shutdown` brings: open requests are answered, but a client that never ends its own is not
    /// waited for.
    pub async fn stopped(mut self) {
        match tokio::time::timeout(CLOSE_WITHIN, &mut self.task).await {
            Ok(Ok(Ok(()))) => {}
            Ok(Ok(Err(error))) => warn!(%error, "the admin server ended badly"),
            Ok(Err(error)) => warn!(%error, "the admin server ended badly"),
            Err(_) => self.task.abort(),
        }
    }
}

/// Serves until `shutdown`.
///
/// # Errors
/// When the address cannot be listened on.
pub async fn serve(
    addr: SocketAddr,
    ctx: Arc<Context>,
    readiness: Arc<Readiness>,
    shutdown: CancellationToken,
) -> Result<Server, OperatorError> {
    let failed = |source| OperatorError::AdminAddress { addr, source };
    let listener = tokio::net::TcpListener::bind(addr).await.map_err(failed)?;
    let addr = listener.local_addr().map_err(failed)?;
    let router = Router::new()
        .route("/healthz", get(|| async { "ok" }))
        .route("/readyz", get(readyz))
        .route("/metrics", get(metrics))
        .with_state(Admin { ctx, readiness });
    let server = axum::serve(listener, router).with_graceful_shutdown(shutdown.cancelled_owned());
    Ok(Server { addr, task: tokio::spawn(server.into_future()) })
}

async fn readyz(State(admin): State<Admin>) -> Response {
    let (ready, sentence) = admin.readiness.tell();
    let status = if ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (status, sentence).into_response()
}

async fn metrics(State(admin): State<Admin>) -> Response {
    admin.ctx.inventory.report(&admin.ctx.metrics);
    match admin.ctx.metrics.encode() {
        Ok(text) => {
            let content_type = "application/openmetrics-text; version=1.0.0; charset=utf-8";
            ([(header::CONTENT_TYPE, content_type)], text).into_response()
        }
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, error.to_string()).into_response(),
    }
}
