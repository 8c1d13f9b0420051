//! What all runs share: one API server, the operator's program, and clients.

use std::io;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};

use kube::Client;
use testbed::{ApiServer, Options, TestbedError};
use tokio::sync::{RwLock, RwLockReadGuard, RwLockWriteGuard};

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

/// One API server for all runs.
pub struct Lab {
    /// Runs share it; one that restarts it has it alone.
    server: RwLock<ApiServer>,
    client: Client,
    /// For the proxies: it passes every answer on as it is, so it must not try again by itself.
    plain: Client,
    http: reqwest::Client,
    program: PathBuf,
    folder: PathBuf,
    runs: AtomicU64,
}

/// A share in the API server for one run, or the whole of it.
pub enum Share<'a> {
    /// With others.
    Shared {
        /// Held so that nobody restarts it.
        _guard: RwLockReadGuard<'a, ApiServer>,
    },
    /// Alone.
    Alone(RwLockWriteGuard<'a, ApiServer>),
}

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
        let server = ApiServer::start(Options::default()).await?;
        let client = server.client()?;
        let mut config = server.config();
        config.default_retry = false;
        let plain = Client::try_from(config)?;
        let http = reqwest::Client::builder()
            .no_proxy()
            .redirect(reqwest::redirect::Policy::none())
            .retry(reqwest::retry::never())
            .pool_max_idle_per_host(0)
            .build()?;
        testbed::crds::install(&client, &generate::installed()?).await?;
        let folder = server.folder().join("runs");
        std::fs::create_dir(&folder)?;
        Ok(Self { server: RwLock::new(server), client, plain, http, program, folder, runs: AtomicU64::new(0) })
    }

    /// A share in the API server.
    pub async fn share(&self, alone: bool) -> Share<'_> {
        match alone {
            true => Share::Alone(self.server.write().await),
            false => Share::Shared { _guard: self.server.read().await },
        }
    }

    /// The administrator's client.
    pub fn client(&self) -> Client {
        self.client.clone()
    }

    /// Where the proxies of a run lead to.
    pub fn upstream(&self, clouds: String) -> Upstream {
        Upstream { kube: self.plain.clone(), http: self.http.clone(), clouds }
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

    /// Stops the API server and removes its data.
    pub async fn close(self) {
        self.server.into_inner().stop().await;
    }
}

impl Share<'_> {
    /// Kills the API server and starts it again; nothing happens without the whole of it.
    ///
    /// # Errors
    /// When it does not come up again.
    pub async fn restart(&mut self) -> Result<(), TestbedError> {
        match self {
            Self::Alone(server) => server.restart_apiserver().await,
            Self::Shared { .. } => Ok(()),
        }
    }
}
