//! The listeners: one for both clouds, one for the admin API.

use std::convert::Infallible;
use std::net::{Ipv4Addr, SocketAddr};

use axum::body::{Body, Bytes};
use axum::http::header::{DATE, USER_AGENT};
use axum::http::{HeaderValue, Request, Response, StatusCode};
use futures::future;
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::{Service, service_fn};
use hyper_util::rt::TokioIo;
use hyper_util::service::TowerToHyperService;
use jiff::Timestamp;
use jiff::fmt::rfc2822::DateTimePrinter;
use tokio::net::TcpListener;
use tokio::task::{JoinHandle, JoinSet};

use crate::delivery::{Delivery, faulty_delivery, whole};
use crate::error::StartError;
use crate::exchange::{Call, CloudReply};
use crate::faults::FaultPlan;
use crate::handle::StateHandle;
use crate::seed::Seed;
use crate::simulation::SharedSimulation;
use crate::traffic::RequestRecord;
use crate::{admin, kakao, ncp};

const MOST_REQUEST_BYTES: usize = 1024 * 1024;

/// Where a stand-in listens.
#[derive(Clone, Copy, Debug)]
pub struct Addresses {
    /// Both clouds; port 0 takes any free one.
    pub clouds: SocketAddr,
    /// The admin API; port 0 takes any free one.
    pub admin: SocketAddr,
    /// Whether other computers may reach it. It has no protection, so by default it listens on loopback alone.
    pub allow_remote: bool,
}

impl Default for Addresses {
    /// Any two free ports on loopback.
    fn default() -> Self {
        let any = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        Self { clouds: any, admin: any, allow_remote: false }
    }
}

/// Both clouds, running. They stop when it is dropped.
pub struct FakeCloud {
    shared: SharedSimulation,
    clouds: SocketAddr,
    admin: SocketAddr,
    tasks: [JoinHandle<()>; 2],
}

impl std::fmt::Debug for FakeCloud {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("FakeCloud").field("clouds", &self.clouds).field("admin", &self.admin).finish_non_exhaustive()
    }
}

impl FakeCloud {
    /// Starts both clouds on free loopback ports.
    ///
    /// # Errors
    /// When the seed cannot be used or there is no free port.
    pub async fn start(seed: Seed) -> Result<Self, StartError> {
        Self::start_at(seed, Addresses::default()).await
    }

    /// Starts both clouds at given addresses.
    ///
    /// # Errors
    /// When the seed cannot be used, an address is not free, or it is not on loopback and that was not allowed.
    pub async fn start_at(seed: Seed, addresses: Addresses) -> Result<Self, StartError> {
        let shared = SharedSimulation::new(seed)?;
        let (listener, clouds) = listen(addresses.clouds, addresses.allow_remote).await?;
        let (admin_listener, admin) = listen(addresses.admin, addresses.allow_remote).await?;
        let simulation = shared.clone();
        let service = service_fn(move |request| serve(simulation.clone(), request));
        let admin_service = TowerToHyperService::new(admin::router(StateHandle::new(shared.clone())));
        let tasks = [tokio::spawn(accept(listener, service)), tokio::spawn(accept(admin_listener, admin_service))];
        Ok(Self { shared, clouds, admin, tasks })
    }

    /// The base URL of both clouds, without a slash at the end.
    pub fn url(&self) -> String {
        format!("http://{}", self.clouds)
    }

    /// The base URL of the admin API, without a slash at the end.
    pub fn admin_url(&self) -> String {
        format!("http://{}", self.admin)
    }

    /// What the clouds hold, to look at and to change.
    pub fn state(&self) -> StateHandle {
        StateHandle::new(self.shared.clone())
    }
}

impl Drop for FakeCloud {
    fn drop(&mut self) {
        // Each task owns its connections, which end with it.
        self.tasks.iter().for_each(JoinHandle::abort);
    }
}

async fn listen(address: SocketAddr, allow_remote: bool) -> Result<(TcpListener, SocketAddr), StartError> {
    if !address.ip().is_loopback() && !allow_remote {
        return Err(StartError::Remote(address));
    }
    let failed = |source| StartError::Listen { address, source };
    let listener = TcpListener::bind(address).await.map_err(failed)?;
    let bound = listener.local_addr().map_err(failed)?;
    Ok((listener, bound))
}

/// Serves every connection until the task is aborted.
async fn accept<S>(listener: TcpListener, service: S)
where
    S: Service<Request<Incoming>, Response = Response<Body>> + Clone + Send + 'static,
    S::Future: Send,
    S::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let mut connections = JoinSet::new();
    loop {
        let stream = tokio::select! {
            Some(_) = connections.join_next() => continue,
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => stream,
                Err(error) => {
                    // Out of file descriptors, for one: better not spin.
                    tracing::warn!(%error, "cannot accept a connection");
                    tokio::time::sleep(std::time::Duration::from_millis(50)).await;
                    continue;
                }
            },
        };
        let _ = stream.set_nodelay(true);
        let service = service.clone();
        connections.spawn(async move {
            if let Err(error) = http1::Builder::new().serve_connection(TokioIo::new(stream), service).await {
                tracing::debug!(%error, "connection ended");
            }
        });
    }
}

/// The connection is to be closed without an answer.
#[derive(Debug, thiserror::Error)]
#[error("closed without an answer")]
struct ClosedByFault;

/// A body of bearable size; none if it is larger. It is read to its end even so, lest the refusal be lost to a reset.
async fn read(mut body: Incoming) -> Result<Option<Bytes>, hyper::Error> {
    let (mut bytes, mut too_large) = (Vec::new(), false);
    while let Some(frame) = body.frame().await {
        let Ok(data) = frame?.into_data() else { continue };
        too_large |= bytes.len() + data.len() > MOST_REQUEST_BYTES;
        if !too_large {
            bytes.extend_from_slice(&data);
        }
    }
    Ok((!too_large).then(|| bytes.into()))
}

/// One request to the clouds.
async fn serve(shared: SharedSimulation, request: Request<Incoming>) -> Result<Response<Body>, ClosedByFault> {
    let (parts, body) = request.into_parts();
    let body = read(body).await.map_err(|_| ClosedByFault)?;
    let too_large = body.is_none();
    let call = Call::new(parts, body.unwrap_or_default());
    let (plan, now) = {
        let mut simulation = shared.lock();
        (simulation.faults.take(&call), simulation.clock.now())
    };
    let open = shared.begin(record(&call, &plan, now.state));
    let answer = match too_large {
        true => Delivery::Send(whole(too_large_reply(&call))),
        false => deliver_reply(&shared, &call, plan).await,
    };
    match answer {
        Delivery::Send(mut response) => {
            if let Some(date) = http_date(shared.lock().clock.now().wall) {
                response.headers_mut().insert(DATE, date);
            }
            tracing::info!(operation = ?call.operation, targets = ?call.targets, status = response.status().as_u16());
            open.answered(response.status().as_u16());
            Ok(response)
        }
        Delivery::Close => {
            tracing::info!(operation = ?call.operation, targets = ?call.targets, "closed by a fault");
            Err(ClosedByFault)
        }
        Delivery::Hang => match future::pending::<Infallible>().await {},
    }
}

/// The clouds' answer, and what the faults make of it.
async fn deliver_reply(shared: &SharedSimulation, call: &Call, plan: FaultPlan) -> Delivery {
    if !plan.delay.is_zero() {
        tokio::time::sleep(plan.delay).await;
    }
    match plan.ending {
        None => Delivery::Send(whole(shared.answer(call, plan.quirks))),
        Some((kind, execute)) => {
            let reply = execute.then(|| shared.answer(call, plan.quirks));
            faulty_delivery(&kind, reply, call)
        }
    }
}

fn too_large_reply(call: &Call) -> CloudReply {
    let status = StatusCode::PAYLOAD_TOO_LARGE;
    if call.operation.is_ncp() {
        ncp::gateway((status, "430"), "Request Entity Too Large")
    } else {
        kakao::error(status, "the request is too large")
    }
}

fn record(call: &Call, plan: &FaultPlan, time: Timestamp) -> RequestRecord {
    RequestRecord {
        id: 0,
        time,
        operation: call.operation,
        method: call.method.to_string(),
        path: call.uri.path().to_owned(),
        target: (!call.targets.is_empty()).then(|| call.targets.join(",")),
        status: None,
        faults: plan.names.clone(),
        user_agent: call.header(USER_AGENT.as_str()).to_owned(),
    }
}

/// The Date header of an answer.
fn http_date(time: Timestamp) -> Option<HeaderValue> {
    let text = DateTimePrinter::new().timestamp_to_rfc9110_string(&time).ok()?;
    HeaderValue::from_str(&text).ok()
}

impl std::fmt::Display for FakeCloud {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "clouds on {}, admin on {}", self.url(), self.admin_url())
    }
}
