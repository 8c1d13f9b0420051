//! What all scenarios share: an API server, a fake cloud, the operator as a process, and a watch of what users see.

use std::fs::File;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::Stdio;
use std::time::{Duration, Instant};

use fake_cloud::{FakeCloud, Fault, FaultKind, Generate, Operation, Seed, StateHandle};
use kube::Client;
use rustix::process::{Pid, Signal, kill_process};
use testbed::{ApiServer, Options};
use tokio::process::{Child, Command};

use super::measure::{Memory, cpu_time, memory};
use super::seen::Seen;
use super::{BenchError, Plan, objects};
use crate::demo::operator::{self, OperatorError};
use crate::generate;
use harness::terminal::{say, step};

/// Where the references are that the operator watches.
pub const NAMESPACE: &str = "bench";
/// Clusters beyond `--n` that no reference is about until a scenario makes one.
pub const SPARE: u32 = 500;
/// How long the operator may take to end after SIGTERM.
const STOP_WITHIN: Duration = Duration::from_secs(15);

/// The stage.
pub struct Stage {
    server: ApiServer,
    /// The administrator's client.
    pub client: Client,
    cloud: FakeCloud,
    delay: FaultKind,
    program: PathBuf,
    flags: Vec<String>,
    operator: Option<Running>,
    /// What users see of the references in [`NAMESPACE`].
    pub seen: Seen,
    /// Status writes a second of a bare loop, once measured.
    pub bare_writes: Option<f64>,
    /// The slowest of a hundred new references with one other present, in seconds, once measured.
    pub newcomer_alone: Option<f64>,
}

/// An operator as a process of its own.
pub struct Running {
    child: Child,
    pid: u32,
}

impl Running {
    /// Its memory.
    pub fn memory(&self) -> Result<Memory, BenchError> {
        Ok(memory(self.pid)?)
    }

    /// The CPU time it has used.
    pub fn cpu_time(&self) -> Result<Duration, BenchError> {
        Ok(cpu_time(self.pid)?)
    }

    /// Stops it as Kubernetes does.
    pub async fn stop(mut self) -> Result<(), BenchError> {
        if let Some(pid) = i32::try_from(self.pid).ok().and_then(Pid::from_raw) {
            kill_process(pid, Signal::TERM).map_err(std::io::Error::from)?;
        }
        if tokio::time::timeout(STOP_WITHIN, self.child.wait()).await.is_err() {
            self.child.kill().await?;
            return Err(OperatorError::Killed.into());
        }
        Ok(())
    }
}

impl Stage {
    /// Builds and starts what it takes, saying so.
    pub async fn set(plan: &Plan, program: Option<PathBuf>, flags: Vec<String>) -> Result<Self, BenchError> {
        let program = match program {
            Some(program) => program,
            None => {
                step("Building the operator for release");
                operator::build_release().await?
            }
        };
        step("Starting etcd, kube-apiserver and the fake cloud");
        let server = ApiServer::start(Options::default()).await?;
        let client = server.client()?;
        testbed::crds::install(&client, &generate::installed()?).await?;
        objects::namespace(&client, NAMESPACE).await?;
        let generate = Generate { kakao_clusters: plan.n + SPARE, ..Generate::default() };
        let cloud = FakeCloud::start(Seed { generate, ..Seed::default() }).await?;
        let delay = FaultKind::Delay { ms: u64::try_from(plan.latency.as_millis()).unwrap_or(u64::MAX) };
        let seen = Seen::begin(server.client()?, NAMESPACE);
        let stage = Self {
            server,
            client,
            cloud,
            delay,
            program,
            flags,
            operator: None,
            seen,
            bare_writes: None,
            newcomer_alone: None,
        };
        stage.calm()?;
        Ok(stage)
    }

    /// The fake cloud's state.
    pub fn cloud(&self) -> StateHandle {
        self.cloud.state()
    }

    /// A cloud without any fault but its latency.
    pub fn calm(&self) -> Result<(), BenchError> {
        self.cloud().clear_faults();
        self.inject(self.delay.clone())
    }

    /// A fault in every operation, beside the latency.
    pub fn inject(&self, kind: FaultKind) -> Result<(), BenchError> {
        let added = self.cloud().inject(Fault::new(Operation::Any, kind));
        added.map(drop).map_err(|error| BenchError::State(error.to_string()))
    }

    /// Starts the operator on [`NAMESPACE`], with the defaults that users have.
    pub fn start_operator(&mut self) -> Result<Instant, BenchError> {
        let started = Instant::now();
        self.operator = Some(self.launch(NAMESPACE, &self.cloud.url(), &[])?);
        Ok(started)
    }

    /// The fake cloud's base URL.
    pub fn cloud_url(&self) -> String {
        self.cloud.url()
    }

    /// Starts an operator on a namespace and a cloud, which belongs to the caller.
    pub fn launch(&self, namespace: &str, cloud: &str, flags: &[&str]) -> Result<Running, BenchError> {
        self.launch_with_admin(namespace, cloud, flags).map(|(running, _)| running)
    }

    /// As [`Stage::launch`], with the address of its admin port.
    pub fn launch_with_admin(
        &self,
        namespace: &str,
        cloud: &str,
        flags: &[&str],
    ) -> Result<(Running, SocketAddr), BenchError> {
        let admin = operator::free_address()?;
        let log = File::options().create(true).append(true).open(self.log())?;
        let mut command = Command::new(&self.program);
        command.args(["run", "--watch-namespace", namespace, "--operator-namespace", namespace]);
        command.args(["--kakao-endpoint", cloud, "--kakao-iam-endpoint", cloud, "--ncp-endpoint", cloud]);
        command.args(["--leader-election=false", "--admin-addr", &admin.to_string()]).args(&self.flags).args(flags);
        // Nothing of the caller's surroundings decides about a run.
        command.env_clear().env("KUBECONFIG", self.server.kubeconfig_path());
        command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log).process_group(0).kill_on_drop(true);
        let failed = |source| OperatorError::Run { program: self.program.display().to_string(), source };
        let child = command.spawn().map_err(failed)?;
        let pid = child.id().unwrap_or_default();
        Ok((Running { child, pid }, admin))
    }

    /// An operator's metrics, in the Prometheus text format.
    pub async fn metrics(&self, admin: SocketAddr) -> Result<String, BenchError> {
        let failed = |error: reqwest::Error| BenchError::State(format!("the operator's metrics: {error}"));
        let client = reqwest::Client::builder().no_proxy().build().map_err(failed)?;
        client.get(format!("http://{admin}/metrics")).send().await.map_err(failed)?.text().await.map_err(failed)
    }

    /// Whether an operator runs.
    pub fn has_operator(&self) -> bool {
        self.operator.is_some()
    }

    /// Stops the operator as Kubernetes does.
    pub async fn stop_operator(&mut self) -> Result<(), BenchError> {
        match self.operator.take() {
            Some(running) => running.stop().await,
            None => Ok(()),
        }
    }

    /// Kills kube-apiserver and starts it again.
    pub async fn restart_apiserver(&mut self) -> Result<(), BenchError> {
        Ok(self.server.restart_apiserver().await?)
    }

    /// The operator's memory.
    pub fn memory(&self) -> Result<Memory, BenchError> {
        self.operator.as_ref().ok_or(BenchError::NotStarted)?.memory()
    }

    /// The CPU time the operator has used.
    pub fn cpu_time(&self) -> Result<Duration, BenchError> {
        Ok(cpu_time(self.pid()?)?)
    }

    fn pid(&self) -> Result<u32, BenchError> {
        self.operator.as_ref().map(|running| running.pid).ok_or(BenchError::NotStarted)
    }

    /// kube-apiserver's metrics, in the Prometheus text format.
    pub async fn apiserver_metrics(&self) -> Result<String, BenchError> {
        let request = http::Request::get("/metrics").body(Vec::new());
        let request = request.map_err(|error| BenchError::State(error.to_string()))?;
        Ok(self.client.request_text(request).await?)
    }

    /// Waits until something holds of what users see.
    pub async fn until(&self, what: &str, within: Duration, holds: impl Fn(&Seen) -> bool) -> Result<(), BenchError> {
        if self.seen.until(within, holds).await {
            return Ok(());
        }
        Err(self.late(what, within))
    }

    /// Something did not come.
    pub fn late(&self, what: &str, within: Duration) -> BenchError {
        BenchError::Late { what: what.to_owned(), within, log: operator::tail(&self.log(), 20) }
    }

    fn log(&self) -> PathBuf {
        self.server.folder().join("operator.log")
    }

    /// Keeps the operator's log, which would go with the API server's folder.
    pub fn keep_log(&self) {
        let kept = std::env::temp_dir().join(format!("managed-redis-operator-bench-{}.log", std::process::id()));
        if std::fs::copy(self.log(), &kept).is_ok() {
            say(format_args!("The operator's log is kept in {}", kept.display()));
        }
    }

    /// Stops everything and removes its data.
    pub async fn tear_down(mut self) {
        if let Err(error) = self.stop_operator().await {
            say(format_args!("The operator did not end well: {error}"));
        }
        self.server.stop().await;
    }
}
