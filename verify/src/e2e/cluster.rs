//! The cluster of the tests, the images in it, and the tools that reach it.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};
use delivery::helm::Helm;
use delivery::image::{self, BuiltImage, FAKE_CLOUD, ImageContent, OPERATOR, Profile};
use kube::api::{Api, ObjectMeta, PostParams};
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Client, Config};
use managed_redis_operator::api::RedisClusterRef;
use serde_json::json;
use testbed::{ClusterOptions, NodeCluster, Program, assets};
use tokio::process::Command;

use super::arguments::Arguments;
use super::cloud::ClusterCloud;

/// The admission plugin with which some owner references need rights of their own, as on OpenShift. Those of the operator's
/// ConfigMaps, which do not hold up the deletion of their owner, need none.
const OWNER_REFERENCES: &str = "--enable-admission-plugins=OwnerReferencesPermissionEnforcement";

/// Names of the images, as pods name them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Images {
    /// The operator that is tested.
    pub operator: String,
    /// The operator from which it is upgraded.
    pub previous: String,
    /// The fake cloud.
    pub fake_cloud: String,
}

/// The cluster and what reaches it.
pub(super) struct TestCluster {
    /// The administrator's client.
    pub client: Client,
    /// The same without retries, which would wait for minutes when a request is refused for now (429).
    pub impatient: Client,
    /// The administrator's kubeconfig.
    pub kubeconfig: PathBuf,
    /// Helm, for this cluster.
    pub helm: Helm,
    /// The images.
    pub images: Images,
    /// The testbed's cluster, if it is the tests' own.
    pub own: Option<NodeCluster>,
    kubectl: PathBuf,
}

impl TestCluster {
    /// Starts a cluster of two nodes with the images in them, or takes the given one.
    ///
    /// # Errors
    /// When there is no cluster.
    pub(super) async fn start(arguments: &Arguments, images: Images) -> anyhow::Result<Self> {
        let (own, kubeconfig) = match &arguments.kubeconfig {
            Some(path) => (None, path.clone()),
            None => {
                let options = ClusterOptions {
                    nodes: 2,
                    apiserver_args: vec![OWNER_REFERENCES.to_owned()],
                    ..Default::default()
                };
                let cluster = NodeCluster::start(options).await?;
                let kubeconfig = cluster.api().kubeconfig_path().to_owned();
                (Some(cluster), kubeconfig)
            }
        };
        let helm = Helm::find().await?.with_kubeconfig(&kubeconfig);
        let kubectl = assets::ensure(Program::Kubectl).await?;
        let (client, impatient) = (client(&kubeconfig, true).await?, client(&kubeconfig, false).await?);
        Ok(Self { client, impatient, kubeconfig, helm, images, own, kubectl })
    }

    /// Starts the fake cloud.
    ///
    /// # Errors
    /// As [`ClusterCloud::start`].
    pub(super) async fn cloud(&self) -> anyhow::Result<ClusterCloud> {
        ClusterCloud::start(&self.client, &self.images.fake_cloud).await
    }

    /// Runs kubectl; what it printed.
    ///
    /// # Errors
    /// With what it printed.
    pub(super) async fn kubectl(&self, arguments: &[&str]) -> anyhow::Result<String> {
        let mut command = Command::new(&self.kubectl);
        command.arg("--kubeconfig").arg(&self.kubeconfig);
        command.arg("--cache-dir").arg(self.helm.scratch().join("kubectl-cache"));
        let output = command.args(arguments).kill_on_drop(true).output().await?;
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        if output.status.success() {
            return Ok(text(&output.stdout));
        }
        let output = format!("{}{}", text(&output.stdout), text(&output.stderr)).trim().to_owned();
        bail!("kubectl {}: {output}", arguments.join(" "))
    }

    /// Creates a reference to an NCP instance.
    ///
    /// # Errors
    /// When it is refused.
    pub(super) async fn create_reference(&self, namespace: &str, name: &str, instance: &str) -> anyhow::Result<()> {
        let api: Api<RedisClusterRef> = Api::namespaced(self.client.clone(), namespace);
        let spec = json!({"ncp": {"cloudDBInstanceNo": instance, "credentialsSecretRef": {"name": "ncp"}}});
        let reference = RedisClusterRef {
            metadata: ObjectMeta { name: Some(name.to_owned()), ..ObjectMeta::default() },
            spec: serde_json::from_value(spec)?,
            status: None,
        };
        let created = api.create(&PostParams::default(), &reference).await;
        created.map(drop).with_context(|| format!("cannot create the reference {namespace}/{name}"))
    }

    /// Stops the cluster, if it is the tests' own.
    pub(super) async fn stop(self) {
        if let Some(cluster) = self.own {
            cluster.stop().await;
        }
    }
}

async fn client(kubeconfig: &Path, retry: bool) -> anyhow::Result<Client> {
    let read = Kubeconfig::read_from(kubeconfig).context("the kubeconfig cannot be used")?;
    let config = Config::from_custom_kubeconfig(read, &KubeConfigOptions::default()).await;
    let mut config = config.context("the kubeconfig cannot be used")?;
    config.default_retry = retry;
    Client::try_from(config).context("the kubeconfig cannot be used")
}

/// Builds the images that were not given, and gives them to the cluster.
///
/// # Errors
/// When one cannot be built.
pub(super) async fn build_images(arguments: &Arguments) -> anyhow::Result<(Images, Vec<PathBuf>)> {
    let profile = if arguments.release { Profile::Release } else { Profile::Dev };
    let mut archives = Vec::new();
    let mut names = Vec::new();
    // An upgrade to the same image still replaces every pod, since the chart's values change with it.
    let previous = arguments.previous_image.as_ref().or(arguments.image.as_ref());
    for (content, given, tag) in [
        (OPERATOR, arguments.image.as_ref(), "e2e"),
        (OPERATOR, previous, "e2e-previous"),
        (FAKE_CLOUD, arguments.fake_cloud_image.as_ref(), "e2e"),
    ] {
        let name = match given {
            Some(name) => name.clone(),
            None => {
                let image = build(content, profile, tag).await?;
                archives.push(image.archive);
                image.name
            }
        };
        names.push(name);
    }
    let [operator, previous, fake_cloud] = <[String; 3]>::try_from(names).unwrap_or_default();
    Ok((Images { operator, previous, fake_cloud }, archives))
}

async fn build(content: ImageContent, profile: Profile, tag: &str) -> anyhow::Result<BuiltImage> {
    let program = image::compile(content, profile, None).await?;
    let folder = tempfile::tempdir()?;
    let folder = image::prepare(content, &program, &folder.path().join("context"))?;
    image::build(content, &folder, &content.name(tag)).await
}
