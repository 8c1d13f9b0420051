//! What the demonstration takes: programs, API server, fake cloud, operator; and its end.

use std::path::{Path, PathBuf};

use fake_cloud::{FakeCloud, Seed};
use k8s_openapi::api::core::v1::{ConfigMap, Namespace};
use kube::Client;
use kube::api::{Api, ObjectMeta, PostParams};
use testbed::{ApiServer, AssetsError, Options, Program, TestbedError, assets};

use super::manifests::{self, ManifestError, sentence};
use super::operator::{self, Operator, OperatorError, Surroundings};
use crate::generate::{self, GenerateError};
use delivery::examples::expected::ExampleOutcomes;
use harness::root;
use harness::terminal::{Style, say, step};

/// Where the examples are applied.
pub const NAMESPACE: &str = "shop";
const OPERATOR_NAMESPACE: &str = "managed-redis-system";
const SEED: &str = "fake-cloud/seeds/demo.yaml";

/// Why the stage could not be set.
#[derive(Debug, thiserror::Error)]
pub enum StageError {
    /// The API server's programs are not there and cannot be built.
    #[error(transparent)]
    Assets(#[from] AssetsError),
    /// The API server.
    #[error(transparent)]
    ApiServer(#[from] TestbedError),
    /// The seed cannot be read.
    #[error("{SEED}: {0}")]
    Seed(#[from] fake_cloud::SeedError),
    /// The fake cloud does not start.
    #[error("the fake cloud does not start: {0}")]
    Cloud(#[from] fake_cloud::StartError),
    /// The definitions cannot be read.
    #[error(transparent)]
    Definitions(anyhow::Error),
    /// The examples cannot be applied.
    #[error(transparent)]
    Manifests(#[from] ManifestError),
    /// The operator does not start.
    #[error(transparent)]
    Operator(#[from] OperatorError),
    /// A namespace cannot be made.
    #[error("cannot create the namespace {name}: {reason}")]
    Namespace {
        /// Its name.
        name: &'static str,
        /// What the API server said.
        reason: String,
    },
}

/// Everything that has to be torn down, in the order of its end.
#[derive(Default)]
pub struct Stage {
    operator: Option<Operator>,
    server: Option<ApiServer>,
    cloud: Option<FakeCloud>,
}

/// The parts of a stage that is set.
pub struct Running<'a> {
    /// The administrator's client.
    pub client: Client,
    /// The administrator's kubeconfig.
    pub kubeconfig: PathBuf,
    /// The operator.
    pub operator: &'a mut Operator,
    /// The fake cloud.
    pub cloud: &'a FakeCloud,
}

impl Stage {
    /// Sets everything up, saying what is being done.
    ///
    /// # Errors
    /// When anything of it fails; what stands by then is torn down by [`Stage::tear_down`].
    pub async fn set(&mut self, once: bool) -> Result<Running<'_>, StageError> {
        programs(once).await?;
        step("Building the operator");
        let program = operator::build().await?;
        step("Starting etcd and kube-apiserver");
        let server = self.server.insert(ApiServer::start(Options::default()).await?);
        let (kubeconfig, folder) = (server.kubeconfig_path().to_owned(), server.folder().to_owned());
        let client = server.client()?;
        say(format_args!("    {}", server.url()));
        step("Starting the fake cloud");
        let cloud = self.cloud.insert(FakeCloud::start(Seed::load(&root().join(SEED))?).await?);
        say(format_args!("    {} (KakaoCloud and NCP), {} (admin)", cloud.url(), cloud.admin_url()));
        step(format_args!("Installing the CRDs of crds/ and the namespace {NAMESPACE}"));
        testbed::crds::install(&client, &delivery::crds::shipped().map_err(StageError::Definitions)?).await?;
        for name in [NAMESPACE, OPERATOR_NAMESPACE] {
            create_namespace(&client, name).await?;
        }
        step("Starting the operator");
        let clouds = cloud.url();
        let log = folder.join("operator.log");
        let with =
            Surroundings { kubeconfig: &kubeconfig, namespace: OPERATOR_NAMESPACE, clouds: &clouds, log, flags: &[] };
        let operator = self.operator.insert(Operator::start(&program, with)?);
        say(format_args!("    log: {}", operator.log().display()));
        Ok(Running { client, kubeconfig, operator, cloud })
    }

    /// Shows the end of the operator's log, and keeps the whole of it, which would go with the API server's folder.
    pub fn keep_log(&self, lines: usize) {
        let Some(operator) = &self.operator else { return };
        say(format_args!("The last lines of the operator's log:\n{}", operator::tail(operator.log(), lines)));
        let kept = std::env::temp_dir().join(format!("managed-redis-operator-demo-{}.log", std::process::id()));
        match std::fs::copy(operator.log(), &kept) {
            Ok(_) => say(format_args!("The whole of it is kept in {}", kept.display())),
            Err(error) => say(format_args!("The whole of it cannot be kept in {}: {error}", kept.display())),
        }
    }

    /// Stops the operator, the API server and the fake cloud, and removes their data.
    ///
    /// # Errors
    /// When the operator did not end well; everything is gone all the same.
    pub async fn tear_down(self) -> Result<(), OperatorError> {
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
async fn programs(once: bool) -> Result<(), StageError> {
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

async fn create_namespace(client: &Client, name: &'static str) -> Result<(), StageError> {
    let metadata = ObjectMeta { name: Some(name.to_owned()), ..ObjectMeta::default() };
    let namespace = Namespace { metadata, ..Namespace::default() };
    match Api::all(client.clone()).create(&PostParams::default(), &namespace).await {
        Ok(_) => Ok(()),
        Err(error) => Err(StageError::Namespace { name, reason: sentence(&error) }),
    }
}

/// Applies everything in `examples/` and `examples/bad/`.
///
/// # Errors
/// As [`manifests::read`] and [`manifests::apply`].
pub async fn apply_examples(client: &Client, board: &mut ExampleOutcomes) -> Result<(), StageError> {
    for folder in ["examples", "examples/bad"] {
        for object in manifests::read(&root().join(folder))? {
            manifests::apply(client, NAMESPACE, &object, board).await?;
        }
    }
    Ok(())
}

/// The ConfigMap that applications mount, as a sentence; `Err` if it is not as the example asks for.
pub async fn connection(client: &Client) -> Result<String, String> {
    const NAME: &str = "orders-redis";
    const HOST: &str = "orders.kr-central-2.memstore.shop.example";
    let found = Api::<ConfigMap>::namespaced(client.clone(), NAMESPACE).get(NAME).await;
    let data = found.map(|found| found.data.unwrap_or_default());
    let data = data
        .map_err(|error| format!("configmap/{NAME}\n    expected  host={HOST}\n    found     {}", sentence(&error)))?;
    let told: Vec<String> = data.iter().map(|(key, value)| format!("{key}={value}")).collect();
    if data.get("host").map(String::as_str) == Some(HOST) {
        Ok(format!("The ConfigMap {NAME} tells applications {}.", told.join(", ")))
    } else {
        Err(format!("configmap/{NAME}\n    expected  host={HOST}\n    found     {}", told.join(", ")))
    }
}

/// What a person can do now.
pub async fn hints(kubeconfig: &Path, operator: &Operator, cloud: &FakeCloud) -> Vec<String> {
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
    vec![
        String::new(),
        style.bold("Look for yourself"),
        format!("  {kubectl} get managedredis"),
        format!("  {kubectl} describe rcr orders"),
        format!("  curl -s {}/metrics", operator.admin_url()),
        format!("  tail -f {}", operator.log().display()),
        style.bold("RowChange a cluster, or let the cloud fail; references look every 60 s, or at once when told to"),
        format!("  curl -s -X PATCH {admin}/ncp/instances/882701 -d '{{\"cloudDBInstanceStatusName\": \"stopped\"}}'"),
        format!(
            "  curl -s -X POST {admin}/faults -d '{{\"operation\": \"kakao.clusters.list\", \"kind\": {{\"status\": {{\"code\": 503}}}}}}'"
        ),
        format!("  {kubectl} annotate rcr --all --overwrite managedredis.dev/reconcile-requested-at=$(date +%s)"),
        format!("  curl -s -X POST {admin}/reset   # the cloud as it was at the start"),
        String::new(),
        "Changes are shown here. Ctrl-C stops everything and removes it.".to_owned(),
    ]
}
