//! The client of the API server: connections, their keep-alive, deadlines and the right to write.
//!
//! kube's own client waits for an answer as long as the kernel does: on a path that went silent, a quarter of an hour. Three things
//! prevent that here. The kernel probes idle connections and gives up those whose data nobody acknowledges. Every request has a
//! deadline (`deadline`). And a connection that was idle for some seconds is not used again, so that a request after a failure goes
//! over a new one.

use std::time::{Duration, Instant};

use http::Request;
use hyper_util::client::legacy::Client as HttpClient;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use kube::client::retry::RetryPolicy;
use kube::client::{Body, ConfigExt as _};
use kube::{Client, Config};
use tower::ServiceBuilder;
use tower::filter::FilterLayer;
use tower::retry::RetryLayer;

use super::OperatorError;
use super::deadline::DeadlineLayer;
use super::leadership::{Leadership, NotLeading};

/// For a TCP connection to be made. If a name has several addresses, they share it.
const CONNECT: Duration = Duration::from_secs(5);
/// A connection that was silent for this long is probed.
const PROBE_AFTER: Duration = Duration::from_secs(10);
/// Time between two probes.
const PROBE_EVERY: Duration = Duration::from_secs(5);
/// Probes without an answer that end the connection.
const PROBES: u32 = 2;
/// Data or a probe that nobody acknowledges for this long ends the connection (`TCP_USER_TIMEOUT`).
#[cfg(target_os = "linux")]
const UNACKNOWLEDGED: Duration = Duration::from_secs(15);
/// How long an idle connection is kept. It is less than any deadline: when a request is given up because its connection is dead, the
/// other idle ones, which may be dead as well, are gone too.
const IDLE: Duration = Duration::from_secs(5);

/// The cluster that the kubeconfig or the pod's service account names.
pub(super) struct KubeCluster {
    config: Config,
}

impl KubeCluster {
    /// Finds it.
    ///
    /// # Errors
    /// When there is neither a kubeconfig nor a service account, or a proxy is configured.
    pub(super) async fn infer() -> Result<Self, OperatorError> {
        let config = Config::infer().await.map_err(|error| no_cluster(&error))?;
        if let Some(proxy) = config.proxy_url.as_ref().and_then(|proxy| proxy.host()) {
            return Err(OperatorError::NoCluster(format!(
                "the kubeconfig (proxy-url) or HTTPS_PROXY names the proxy {proxy}, but the API server can only be reached \
                 directly; remove it"
            )));
        }
        Ok(Self { config })
    }

    /// The default namespace.
    pub(super) fn namespace(&self) -> &str {
        &self.config.default_namespace
    }

    /// A client with connections of its own. It writes only while `leadership` lasts.
    ///
    /// # Errors
    /// When the certificates or the credential of the kubeconfig cannot be used.
    pub(super) fn client(&self, leadership: Leadership) -> Result<Client, OperatorError> {
        let failed = |error: kube::Error| no_cluster(&error);
        let https = self.config.rustls_https_connector_with_connector(connector()).map_err(failed)?;
        let connections = HttpClient::builder(TokioExecutor::new())
            .pool_idle_timeout(IDLE)
            .pool_timer(TokioTimer::new())
            .build(https);
        let may_be_sent = move |request: Request<Body>| -> Result<Request<Body>, NotLeading> {
            leadership.check(request.method(), Instant::now()).map(|()| request)
        };
        let service = ServiceBuilder::new()
            .layer(DeadlineLayer::default())
            .layer(self.config.base_uri_layer())
            .option_layer(self.config.default_retry.then(|| RetryLayer::new(RetryPolicy::server_retry())))
            .option_layer(self.config.auth_layer().map_err(failed)?)
            .layer(self.config.extra_headers_layer().map_err(failed)?)
            .layer(FilterLayer::new(may_be_sent))
            .service(connections);
        Ok(Client::new(service, self.namespace()))
    }
}

/// Makes TCP connections that end when the other side cannot be reached any more.
fn connector() -> HttpConnector {
    let mut connector = HttpConnector::new();
    // TLS is put on top of it.
    connector.enforce_http(false);
    connector.set_connect_timeout(Some(CONNECT));
    connector.set_nodelay(true);
    connector.set_keepalive(Some(PROBE_AFTER));
    connector.set_keepalive_interval(Some(PROBE_EVERY));
    connector.set_keepalive_retries(Some(PROBES));
    #[cfg(target_os = "linux")]
    connector.set_tcp_user_timeout(Some(UNACKNOWLEDGED));
    connector
}

fn no_cluster(error: &dyn std::error::Error) -> OperatorError {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    OperatorError::NoCluster(text)
}

#[cfg(test)]
mod tests {
    use socket2::SockRef;
    use tower::ServiceExt as _;

    use super::*;

    /// The test checks what the kernel is told, not what it does.
    #[tokio::test]
    async fn connections_are_probed_and_given_up() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        let stream = connector().oneshot(address.parse().unwrap()).await.unwrap().into_inner();
        let socket = SockRef::from(&stream);
        assert!(socket.keepalive().unwrap() && socket.tcp_nodelay().unwrap());
        assert_eq!(socket.tcp_keepalive_time().unwrap(), PROBE_AFTER);
        assert_eq!(socket.tcp_keepalive_interval().unwrap(), PROBE_EVERY);
        assert_eq!(socket.tcp_keepalive_retries().unwrap(), PROBES);
        #[cfg(target_os = "linux")]
        assert_eq!(socket.tcp_user_timeout().unwrap(), Some(UNACKNOWLEDGED));
    }
}
