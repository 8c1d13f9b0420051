//! What all scenarios share: an API server, the clouds, the operator as a process, and a watch of what users see.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, anyhow};
use fake_cloud::{Fault, FaultKind, Generate, Operation, Seed, StateHandle};
use harness::terminal::{say, step};
use harness::{Environment, Operator, OperatorCommand};
use kube::Client;
use kube::api::Api;
use managed_redis_operator::api::{RedisClusterRef, crds};
use testbed::ApiServer;

use super::measure::{Memory, cpu_time, memory};
use super::plan::BenchPlan;
use super::references::References;

/// Clusters beyond `--n`, for references that a scenario creates.
pub(crate) const SPARE: u32 = 500;
/// Lines of the operator's log that an error shows.
const LOG_LINES: usize = 20;

/// One run of the bench.
pub(crate) struct BenchRun {
    server: ApiServer,
    /// The namespace and the clouds of the scenarios that need none of their own.
    environment: Environment,
    delay: FaultKind,
    program: PathBuf,
    flags: Vec<String>,
    operator: Option<Operator>,
    /// What users see of the references in the namespace.
    pub references: References,
    /// Status writes a second of a bare loop, once measured.
    pub bare_writes: Option<f64>,
    /// The slowest of a hundred new references with one other present, in seconds, once measured.
    pub newcomer_alone: Option<f64>,
}

impl BenchRun {
    /// Builds and starts what it takes, saying so.
    pub(crate) async fn start(plan: &BenchPlan, program: Option<PathBuf>, flags: Vec<String>) -> Result<Self> {
        let program = match program {
            Some(program) => program,
            None => {
                step("Building the operator for release");
                harness::program::build_release().await?
            }
        };
        step("Starting etcd, kube-apiserver and the fake cloud");
        let server = harness::api_server(&crds()).await?;
        let generate = Generate { kakao_clusters: plan.n + SPARE, ..Generate::default() };
        let environment = Environment::create(&server, "bench", Seed { generate, ..Seed::default() }).await?;
        let references = References::watch(server.client()?, environment.namespace.name());
        let run = Self {
            server,
            environment,
            delay: plan.delay(),
            program,
            flags,
            operator: None,
            references,
            bare_writes: None,
            newcomer_alone: None,
        };
        run.calm()?;
        Ok(run)
    }

    /// The administrator's client.
    pub(crate) fn client(&self) -> Client {
        self.environment.client()
    }

    /// The references that the operator watches.
    pub(crate) fn api(&self) -> Api<RedisClusterRef> {
        self.environment.api()
    }

    /// A namespace and clouds for a scenario of its own.
    pub(crate) async fn environment(&self, prefix: &str, seed: Seed) -> Result<Environment> {
        Environment::create(&self.server, prefix, seed).await
    }

    /// The clouds' state.
    pub(crate) fn clouds(&self) -> StateHandle {
        self.environment.clouds()
    }

    /// Removes every fault but the latency.
    pub(crate) fn calm(&self) -> Result<()> {
        self.clouds().clear_faults();
        self.inject(self.delay.clone())
    }

    /// Adds a fault of every operation, beside the latency.
    pub(crate) fn inject(&self, kind: FaultKind) -> Result<()> {
        self.clouds().inject(Fault::new(Operation::Any, kind)).context("the fake cloud refuses a fault")?;
        Ok(())
    }

    /// Starts the operator of the run, with the defaults that users have.
    pub(crate) fn start_operator(&mut self) -> Result<Instant> {
        let started = Instant::now();
        self.operator = Some(self.launch(&self.environment, &[])?);
        Ok(started)
    }

    /// Starts an operator in another environment, which belongs to the caller.
    pub(crate) fn launch(&self, environment: &Environment, flags: &[&str]) -> Result<Operator> {
        let flags: Vec<&str> = self.flags.iter().map(String::as_str).chain(flags.iter().copied()).collect();
        self.launch_command(environment.operator(&self.program, &flags))
    }

    /// Starts an operator for a namespace, with a cloud of the scenario's own instead of the fake ones.
    pub(crate) fn launch_against(&self, namespace: &str, clouds_url: &str) -> Result<Operator> {
        let command = OperatorCommand::new(&self.program, self.server.kubeconfig_path());
        let command = command.namespace(namespace).clouds(clouds_url).flags(["--leader-election=false"]);
        self.launch_command(command.flags(self.flags.iter().cloned()))
    }

    fn launch_command(&self, command: OperatorCommand) -> Result<Operator> {
        command.log_to(self.log()).in_own_group().start()
    }

    /// The operator of the run.
    ///
    /// # Errors
    /// When none runs: a scenario was asked for that needs the objects and the operator of another one.
    pub(crate) fn operator(&self) -> Result<&Operator> {
        self.operator.as_ref().context("the scenario needs `start` before it: add --only start")
    }

    /// Stops the operator as Kubernetes does.
    pub(crate) async fn stop_operator(&mut self) -> Result<()> {
        match self.operator.take() {
            Some(operator) => operator.stop().await,
            None => Ok(()),
        }
    }

    /// Kills kube-apiserver and starts it again.
    pub(crate) async fn restart_apiserver(&mut self) -> Result<()> {
        Ok(self.server.restart_apiserver().await?)
    }

    /// The operator's memory.
    pub(crate) fn memory(&self) -> Result<Memory> {
        Ok(memory(self.operator()?.id())?)
    }

    /// The CPU time the operator has used.
    pub(crate) fn cpu_time(&self) -> Result<Duration> {
        Ok(cpu_time(self.operator()?.id())?)
    }

    /// kube-apiserver's metrics, in the Prometheus text format.
    pub(crate) async fn apiserver_metrics(&self) -> Result<String> {
        let request = http::Request::get("/metrics").body(Vec::new())?;
        self.client().request_text(request).await.context("the API server's metrics")
    }

    /// Waits until something holds of what users see.
    pub(crate) async fn until(&self, what: &str, within: Duration, holds: impl Fn(&References) -> bool) -> Result<()> {
        if self.references.until(within, holds).await {
            return Ok(());
        }
        Err(self.late(what, within))
    }

    /// The error of something that did not come in time.
    pub(crate) fn late(&self, what: &str, within: Duration) -> anyhow::Error {
        let log = harness::tail(&self.log(), LOG_LINES);
        anyhow!("{what} did not come within {} s; the operator's log ends with\n{log}", within.as_secs())
    }

    fn log(&self) -> PathBuf {
        self.server.folder().join("operator.log")
    }

    /// Keeps the operator's log, which would go with the API server's folder.
    pub(crate) fn keep_log(&self) {
        let kept = std::env::temp_dir().join(format!("managed-redis-operator-bench-{}.log", std::process::id()));
        if std::fs::copy(self.log(), &kept).is_ok() {
            say(format_args!("The operator's log is kept in {}", kept.display()));
        }
    }

    /// Stops everything and removes its data.
    pub(crate) async fn stop(mut self) {
        if let Err(error) = self.stop_operator().await {
            say(format_args!("The operator did not end well: {error:#}"));
        }
        self.server.stop().await;
    }
}
