//! What all runs share: an API server (and one more for those that restart it), the operator's program, and clients.

use std::io;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};

use kube::Client;
use testbed::{ApiServer, Options, TestbedError};
use tokio::sync::{MappedMutexGuard, Mutex, MutexGuard};

use super::proxy::Upstream;
use crate::demo::operator::{self, OperatorError};
use crate::generate::{self, GenerateError};
use crate::output::step;

/// Why there is nothing to run in.
#[derive(Debug, thiserror::Error)]
pub enum LabError {
    /// The API server.
    #[error(transparent)]
    ApiServer(#[from] TestbedError),
    /// The definitions cannot be read.
    #[error(transparent)]
    Definitions(#[from] GenerateError),
    /// The operator cannot be built.
    #[error(transparent)]
    Operator(#[from] OperatorError),
    /// A client cannot be made.
    #[error("the API server cannot be talked to: {0}")]
    Client(#[from] kube::Error),
    /// The client of the fake clouds cannot be made.
    #[error("the fake cloud cannot be talked to: {0}")]
    Http(#[from] reqwest::Error),
    /// A folder cannot be made.
    #[error("cannot prepare the runs: {0}")]
    Io(#[from] io::Error),
}

/// What all runs share.
pub struct Lab {
    shared: Bench,
    /// For the runs that restart the API server, one after the other; started when the first of them comes.
    spare: Mutex<Option<Bench>>,
    http: reqwest::Client,
    program: PathBuf,
    folder: PathBuf,
    runs: AtomicU64,
}

/// An API server with the definitions, and clients of it.
struct Bench {
    server: ApiServer,
    client: Client,
    /// For the proxies: it passes every answer on as it is, so it must not try again by itself.
    plain: Client,
}

impl Bench {
    async fn open() -> Result<Self, LabError> {
        let server = ApiServer::start(Options::default()).await?;
        let client = server.client()?;
        let mut config = server.config();
        config.default_retry = false;
        let plain = Client::try_from(config)?;
        testbed::crds::install(&client, &generate::installed()?).await?;
        Ok(Self { server, client, plain })
    }
}

/// The API server of one run.
pub enum Share<'a> {
    /// With others.
    Shared(SharedBench<'a>),
    /// Alone.
    Alone(SpareBench<'a>),
}

/// The API server of most runs.
pub struct SharedBench<'a>(&'a Bench);

/// The API server of a run that restarts it.
pub struct SpareBench<'a>(MappedMutexGuard<'a, Bench>);

impl Lab {
    /// Builds the operator and starts the API server.
    ///
    /// # Errors
    /// When one of them does not come up.
    pub async fn open(program: Option<PathBuf>) -> Result<Self, LabError> {
        let program = match program {
            Some(program) => program,
            None => {
                step("Building the operator");
                operator::build().await?
            }
        };
        step("Starting etcd and kube-apiserver");
        let shared = Bench::open().await?;
        let http = reqwest::Client::builder()
            .no_proxy()
            .redirect(reqwest::redirect::Policy::none())
            .retry(reqwest::retry::never())
            .pool_max_idle_per_host(0)
            .build()?;
        let folder = shared.server.folder().join("runs");
        std::fs::create_dir(&folder)?;
        Ok(Self { shared, spare: Mutex::default(), http, program, folder, runs: AtomicU64::new(0) })
    }

    /// The API server for a run; one that is `alone` may restart it.
    ///
    /// # Errors
    /// When a second server is needed and does not come up.
    pub async fn share(&self, alone: bool) -> Result<Share<'_>, LabError> {
        if !alone {
            return Ok(Share::Shared(SharedBench(&self.shared)));
        }
        let mut spare = self.spare.lock().await;
        let fresh = match spare.take() {
            Some(bench) => bench,
            None => Bench::open().await?,
        };
        Ok(Share::Alone(SpareBench(MutexGuard::map(spare, |spare| spare.insert(fresh)))))
    }

    /// Where the proxies of a run lead to.
    pub fn upstream(&self, share: &Share<'_>, clouds: String) -> Upstream {
        Upstream { kube: share.bench().plain.clone(), http: self.http.clone(), clouds }
    }

    /// The operator.
    pub fn program(&self) -> PathBuf {
        self.program.clone()
    }

    /// A namespace that no other run has.
    pub fn next_name(&self) -> String {
        format!("run-{}", self.runs.fetch_add(1, Ordering::Relaxed))
    }

    /// A folder for one run.
    ///
    /// # Errors
    /// When it cannot be made.
    pub fn folder(&self, name: &str) -> io::Result<PathBuf> {
        let folder = self.folder.join(name);
        std::fs::create_dir_all(&folder)?;
        Ok(folder)
    }

    /// Stops the API servers and removes their data.
    pub async fn close(self) {
        if let Some(spare) = self.spare.into_inner() {
            spare.server.stop().await;
        }
        self.shared.server.stop().await;
    }
}

impl Share<'_> {
    fn bench(&self) -> &Bench {
        match self {
            Self::Shared(SharedBench(bench)) => bench,
            Self::Alone(SpareBench(bench)) => bench,
        }
    }

    /// The administrator's client.
    pub fn client(&self) -> Client {
        self.bench().client.clone()
    }

    /// Kills the API server and starts it again; one that others use stays as it is.
    ///
    /// # Errors
    /// When it does not come up again.
    pub async fn restart(&mut self) -> Result<(), TestbedError> {
        match self {
            Self::Alone(SpareBench(bench)) => bench.server.restart_apiserver().await,
            Self::Shared(_) => Ok(()),
        }
    }
}
