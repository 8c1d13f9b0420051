//! What all runs share: an API server (and one more for those that restart it), the operator's program, and clients.

use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};

use anyhow::Context as _;
use harness::program;
use harness::terminal::step;
use kube::Client;
use testbed::ApiServer;
use tokio::sync::{MappedMutexGuard, Mutex, MutexGuard};

use super::proxy::Upstream;

/// What all runs share.
pub(super) struct Servers {
    shared: RunServer,
    /// For the runs that restart the API server, one after the other; started when the first of them comes.
    spare: Mutex<Option<RunServer>>,
    http: reqwest::Client,
    program: PathBuf,
    folder: PathBuf,
    runs: AtomicU64,
}

/// An API server with the CRDs, and clients of it.
struct RunServer {
    api: ApiServer,
    client: Client,
    /// For the proxies: it passes every answer on as it is, so it must not try again by itself.
    plain: Client,
}

impl RunServer {
    async fn open() -> anyhow::Result<Self> {
        let server = harness::api_server(&delivery::crds::shipped()?).await?;
        let client = server.client()?;
        let mut config = server.config();
        config.default_retry = false;
        let plain = Client::try_from(config)?;
        Ok(Self { api: server, client, plain })
    }
}

/// The API server of one run.
pub(super) enum ServerShare<'a> {
    /// Shared with other runs.
    Shared(SharedServer<'a>),
    /// For this run alone.
    Alone(OwnServer<'a>),
}

/// The API server of most runs.
pub(super) struct SharedServer<'a>(&'a RunServer);

/// The API server of a run that restarts it.
pub(super) struct OwnServer<'a>(MappedMutexGuard<'a, RunServer>);

impl Servers {
    /// Builds the operator and starts the API server.
    ///
    /// # Errors
    /// When one of them does not come up.
    pub(super) async fn open(program: Option<PathBuf>) -> anyhow::Result<Self> {
        let program = match program {
            Some(program) => program,
            None => {
                step("Building the operator");
                program::build().await?
            }
        };
        step("Starting etcd and kube-apiserver");
        let shared = RunServer::open().await?;
        let http = reqwest::Client::builder()
            .no_proxy()
            .redirect(reqwest::redirect::Policy::none())
            .retry(reqwest::retry::never())
            .pool_max_idle_per_host(0)
            .build()
            .context("cannot make a client of the fake clouds")?;
        let folder = shared.api.folder().join("runs");
        std::fs::create_dir(&folder).with_context(|| format!("cannot create {}", folder.display()))?;
        Ok(Self { shared, spare: Mutex::default(), http, program, folder, runs: AtomicU64::new(0) })
    }

    /// The API server for a run; one that is `alone` may restart it.
    ///
    /// # Errors
    /// When a second server is needed and does not come up.
    pub(super) async fn share(&self, alone: bool) -> anyhow::Result<ServerShare<'_>> {
        if !alone {
            return Ok(ServerShare::Shared(SharedServer(&self.shared)));
        }
        let mut spare = self.spare.lock().await;
        let fresh = match spare.take() {
            Some(server) => server,
            None => RunServer::open().await?,
        };
        Ok(ServerShare::Alone(OwnServer(MutexGuard::map(spare, |spare| spare.insert(fresh)))))
    }

    /// Where the proxies of a run lead to.
    pub(super) fn upstream(&self, share: &ServerShare<'_>, clouds: String) -> Upstream {
        Upstream { kube: share.server().plain.clone(), http: self.http.clone(), clouds }
    }

    /// The operator.
    pub(super) fn program(&self) -> PathBuf {
        self.program.clone()
    }

    /// A namespace that no other run has.
    pub(super) fn next_name(&self) -> String {
        format!("run-{}", self.runs.fetch_add(1, Ordering::Relaxed))
    }

    /// A folder for one run.
    ///
    /// # Errors
    /// When it cannot be made.
    pub(super) fn folder(&self, name: &str) -> anyhow::Result<PathBuf> {
        let folder = self.folder.join(name);
        std::fs::create_dir_all(&folder).with_context(|| format!("cannot create {}", folder.display()))?;
        Ok(folder)
    }

    /// Stops the API servers and removes their data.
    pub(super) async fn close(self) {
        if let Some(spare) = self.spare.into_inner() {
            spare.api.stop().await;
        }
        self.shared.api.stop().await;
    }
}

impl ServerShare<'_> {
    fn server(&self) -> &RunServer {
        match self {
            Self::Shared(SharedServer(server)) => server,
            Self::Alone(OwnServer(server)) => server,
        }
    }

    /// The administrator's client.
    pub(super) fn client(&self) -> Client {
        self.server().client.clone()
    }

    /// Kills the API server and starts it again, unless other runs use it too.
    ///
    /// # Errors
    /// When it does not come up again.
    pub(super) async fn restart(&mut self) -> anyhow::Result<()> {
        match self {
            Self::Alone(OwnServer(server)) => Ok(server.api.restart_apiserver().await?),
            Self::Shared(_) => Ok(()),
        }
    }
}
