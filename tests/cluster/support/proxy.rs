//! A proxy between one operator and the API server that can go silent: it discards what it receives and closes no connection,
//! like a load balancer that has forgotten the connection.
//!
//! It does not read the bytes that it passes on: TLS is between the operator and the API server.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};

use kube::config::Kubeconfig;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet};

/// Bytes passed on at once.
const CHUNK: usize = 64 * 1024;

/// A running proxy. It ends when it is dropped.
pub(crate) struct Proxy {
    kubeconfig: PathBuf,
    /// Connections with a lower number are silent.
    silent_below: watch::Sender<u64>,
    /// How many connections there were.
    accepted: watch::Receiver<u64>,
    task: JoinHandle<()>,
}

impl Proxy {
    /// A proxy at an address of this machine before the API server that `kubeconfig` names.
    pub(crate) async fn before(kubeconfig: &Path, at: Ipv4Addr) -> Self {
        let mut config = Kubeconfig::read_from(kubeconfig).expect("a kubeconfig");
        let cluster = config.clusters[0].cluster.as_mut().expect("a cluster");
        let server: http::Uri = cluster.server.as_deref().expect("an address").parse().expect("a URL");
        let upstream = server.authority().expect("an authority").as_str().parse().expect("a socket address");
        let listener = TcpListener::bind((at, 0)).await.expect("a free port");
        let address = listener.local_addr().expect("an address");
        cluster.tls_server_name = server.host().map(str::to_owned);
        cluster.server = Some(format!("https://{address}"));
        let path = kubeconfig.with_file_name(format!("kubeconfig-proxy-{}", address.port()));
        std::fs::write(&path, serde_saphyr::to_string(&config).expect("YAML")).expect("the kubeconfig is written");
        let (silent_below, silent) = watch::channel(0);
        let (count, accepted) = watch::channel(0);
        let task = tokio::spawn(accept(listener, upstream, silent, count));
        Self { kubeconfig: path, silent_below, accepted, task }
    }

    /// A kubeconfig for the API server by way of the proxy.
    pub(crate) fn kubeconfig(&self) -> &Path {
        &self.kubeconfig
    }

    /// Discards everything on the connections that are open now, both ways; new ones work.
    pub(crate) fn silence_what_is_open(&self) {
        self.silent_below.send_replace(*self.accepted.borrow());
    }

    /// Discards everything, on new connections too, which are still accepted.
    pub(crate) fn silence_all(&self) {
        self.silent_below.send_replace(u64::MAX);
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn accept(
    listener: TcpListener,
    upstream: SocketAddr,
    silent_below: watch::Receiver<u64>,
    count: watch::Sender<u64>,
) {
    let mut connections = JoinSet::new();
    loop {
        let stream = tokio::select! {
            Some(_) = connections.join_next() => continue,
            Ok((stream, _)) = listener.accept() => stream,
        };
        let line = ProxiedConnection { number: *count.borrow(), silent_below: silent_below.clone() };
        count.send_modify(|count| *count += 1);
        connections.spawn(line.carry(stream, upstream));
    }
}

/// One connection.
struct ProxiedConnection {
    number: u64,
    silent_below: watch::Receiver<u64>,
}

impl ProxiedConnection {
    async fn carry(self, client: TcpStream, upstream: SocketAddr) {
        let Ok(server) = TcpStream::connect(upstream).await else { return };
        // Bytes that wait for an acknowledgement would slow every request down.
        let _ = (client.set_nodelay(true), server.set_nodelay(true));
        let (mut from_client, mut to_client) = client.into_split();
        let (mut from_server, mut to_server) = server.into_split();
        let answers = async {
            self.pump(&mut from_server, &mut to_client).await;
            if self.is_silent() {
                // The client does not learn that the server has closed.
                std::future::pending::<()>().await;
            }
        };
        tokio::select! {
            () = self.pump(&mut from_client, &mut to_server) => {}
            () = answers => {}
        }
    }

    fn is_silent(&self) -> bool {
        self.number < *self.silent_below.borrow()
    }

    /// Passes bytes on until one side ends, or discards them while the connection is silent.
    async fn pump(&self, from: &mut (impl AsyncRead + Unpin), to: &mut (impl AsyncWrite + Unpin)) {
        let mut chunk = vec![0; CHUNK];
        while let Ok(count @ 1..) = from.read(&mut chunk).await {
            if !self.is_silent() && to.write_all(&chunk[..count]).await.is_err() {
                return;
            }
        }
    }
}
