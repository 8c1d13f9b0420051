//! What the demonstration takes: programs, API server, fake cloud, operator; and its end.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use delivery::crds;
use delivery::examples::NAMESPACE;
use fake_cloud::{FakeCloud, Seed};
use harness::terminal::{Style, say, step};
use harness::{Operator, OperatorCommand, root};
use kube::Client;
use testbed::{ApiServer, Options, Program, assets};

const OPERATOR_NAMESPACE: &str = "managed-redis-system";
const SEED: &str = "fake-cloud/seeds/demo.yaml";

/// Everything that has to be stopped, in the order of its end.
#[derive(Default)]
pub(super) struct Setup {
    operator: Option<Operator>,
    server: Option<ApiServer>,
    cloud: Option<FakeCloud>,
}

/// The parts of a demonstration that has been set up.
pub(super) struct Running<'a> {
    /// The administrator's client.
    pub client: Client,
    /// The administrator's kubeconfig.
    pub kubeconfig: PathBuf,
    /// The operator.
    pub operator: &'a mut Operator,
    /// The fake cloud.
    pub cloud: &'a FakeCloud,
}

impl Setup {
    /// Starts everything, saying what is being done.
    ///
    /// # Errors
    /// When anything of it fails; what runs by then is stopped by [`Setup::stop`].
    pub(super) async fn start(&mut self, once: bool) -> Result<Running<'_>> {
        programs(once).await?;
        step("Building the operator");
        let program = harness::program::build().await?;
        step("Starting etcd and kube-apiserver");
        let server = self.server.insert(ApiServer::start(Options::default()).await?);
        let (kubeconfig, log) = (server.kubeconfig_path().to_owned(), server.folder().join("operator.log"));
        let client = server.client()?;
        say(format_args!("    {}", server.url()));
        step("Starting the fake cloud");
        let seed = Seed::load(&root().join(SEED)).context(SEED)?;
        let cloud = self.cloud.insert(FakeCloud::start(seed).await.context("the fake cloud does not start")?);
        say(format_args!("    {} (KakaoCloud and NCP), {} (admin)", cloud.url(), cloud.admin_url()));
        step(format_args!("Installing the CRDs of crds/ and the namespace {NAMESPACE}"));
        testbed::crds::install(&client, &crds::shipped()?).await?;
        for name in [NAMESPACE, OPERATOR_NAMESPACE] {
            harness::objects::namespace(&client, name).await?;
        }
        step("Starting the operator");
        say(format_args!("    log: {}", log.display()));
        let command = OperatorCommand::new(&program, &kubeconfig).clouds(&cloud.url());
        let command = command.flags([format!("--operator-namespace={OPERATOR_NAMESPACE}")]);
        let operator = self.operator.insert(command.log_to(log).in_own_group().start()?);
        Ok(Running { client, kubeconfig, operator, cloud })
    }

    /// Shows the end of the operator's log, and keeps the whole of it, which would go with the API server's folder.
    pub(super) fn keep_log(&self, lines: usize) {
        let Some(log) = self.operator.as_ref().and_then(Operator::log_file) else { return };
        say(format_args!("The last lines of the operator's log:\n{}", harness::tail(log, lines)));
        let kept = std::env::temp_dir().join(format!("managed-redis-operator-demo-{}.log", std::process::id()));
        match std::fs::copy(log, &kept) {
            Ok(_) => say(format_args!("The whole of it is kept in {}", kept.display())),
            Err(error) => say(format_args!("The whole of it cannot be kept in {}: {error}", kept.display())),
        }
    }

    /// Stops the operator, the API server and the fake cloud, and removes their data.
    ///
    /// # Errors
    /// When the operator did not end well; everything is gone all the same.
    pub(super) async fn stop(self) -> Result<()> {
        if self.server.is_some() {
            step("Stopping");
        }
        let ended = match self.operator {
            Some(operator) => operator.stop().await,
            None => Ok(()),
        };
        if let Some(server) = self.server {
            server.stop().await;
        }
        drop(self.cloud);
        ended
    }
}

/// Finds the Kubernetes programs, or says what it takes to build them and does so.
async fn programs(once: bool) -> Result<()> {
    let folders = assets::Folders::from_env()?;
    let mut wanted = vec![Program::Etcd, Program::KubeApiserver];
    if !once && on_path("kubectl").is_none() {
        wanted.push(Program::Kubectl);
    }
    step("Looking for the Kubernetes programs");
    for program in wanted {
        match folders.find(program) {
            Some(path) => say(format_args!("    {program}: {}", path.display())),
            None => {
                let version = folders.version(program);
                say(format_args!(
                    "    {program} {version} is built from source, once, which takes Go, the network and some minutes"
                ));
                folders.ensure(program).await?;
            }
        }
    }
    Ok(())
}

fn on_path(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path).map(|folder| folder.join(program)).find(|file| file.is_file())
}

/// What a person can do now.
pub(super) async fn hints(kubeconfig: &Path, operator: &Operator, cloud: &FakeCloud) -> Result<Vec<String>> {
    let style = Style::of_stdout();
    let kubectl = match on_path("kubectl") {
        Some(_) => "kubectl".to_owned(),
        None => match assets::ensure(Program::Kubectl).await {
            Ok(path) => path.display().to_string(),
            Err(_) => "kubectl".to_owned(),
        },
    };
    let kubectl = format!("{kubectl} --kubeconfig {} -n {NAMESPACE}", kubeconfig.display());
    let admin = cloud.admin_url();
    let metrics = operator.admin().await?;
    let log = operator.log_file().map(|path| format!("  tail -f {}", path.display()));
    Ok(vec![
        String::new(),
        style.bold("Look for yourself"),
        format!("  {kubectl} get managedredis"),
        format!("  {kubectl} describe rcr orders"),
        format!("  curl -s http://{metrics}/metrics"),
        log.unwrap_or_default(),
        style.bold("Change a cluster, or let the cloud fail; references look every 60 s, or at once when told to"),
        format!("  curl -s -X PATCH {admin}/ncp/instances/882701 -d '{{\"cloudDBInstanceStatusName\": \"stopped\"}}'"),
        format!(
            "  curl -s -X POST {admin}/faults -d '{{\"operation\": \"kakao.clusters.list\", \"kind\": {{\"status\": {{\"code\": 503}}}}}}'"
        ),
        format!("  {kubectl} annotate rcr --all --overwrite managedredis.dev/reconcile-requested-at=$(date +%s)"),
        format!("  curl -s -X POST {admin}/reset   # the cloud as it was at the start"),
        String::new(),
        "Changes are shown here. Ctrl-C stops everything and removes it.".to_owned(),
    ])
}
