//! Where the tests take place: a cluster, the images in it, and the tools.

use std::path::{Path, PathBuf};
use std::time::Duration;

use k8s_openapi::api::core::v1::{Namespace, ServiceAccount};
use kube::api::{Api, Patch, PatchParams};
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Client, Config};
use serde_json::json;
use testbed::{Cluster, ClusterOptions, Program, assets};
use tokio::process::Command;

use super::Arguments;
use super::cloud::Cloud;
use super::error::{E2eError, until};
use crate::chart::helm::Helm;
use crate::image::{self, Content, FAKE_CLOUD, OPERATOR, Profile};

/// The admission plugin with which some owner references need rights of their own, as on OpenShift. Those of the operator's
/// ConfigMaps, which do not hold up the deletion of their owner, need none.
const OWNER_REFERENCES: &str = "--enable-admission-plugins=OwnerReferencesPermissionEnforcement";
const ACCOUNT_WITHIN: Duration = Duration::from_secs(60);
const FIELD_MANAGER: &str = "xtask-e2e";

/// Names of the images, as pods name them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Images {
    /// The operator that is tested.
    pub operator: String,
    /// The operator from which it is upgraded.
    pub previous: String,
    /// The fake cloud.
    pub fake_cloud: String,
}

/// The cluster and what reaches it.
pub struct Scene {
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
    /// The cluster, if it is the tests' own.
    pub cluster: Option<Cluster>,
    kubectl: PathBuf,
}

impl Scene {
    /// Starts a cluster of two nodes with the images in them, or takes the given one.
    ///
    /// # Errors
    /// When there is no cluster.
    pub async fn set(arguments: &Arguments, images: Images) -> Result<Self, E2eError> {
        let (cluster, kubeconfig) = match &arguments.kubeconfig {
            Some(path) => (None, path.clone()),
            None => {
                let options = ClusterOptions {
                    nodes: 2,
                    apiserver_args: vec![OWNER_REFERENCES.to_owned()],
                    ..Default::default()
                };
                let cluster = Cluster::start(options).await?;
                let kubeconfig = cluster.api().kubeconfig_path().to_owned();
                (Some(cluster), kubeconfig)
            }
        };
        let helm = Helm::find().await?.with_kubeconfig(&kubeconfig);
        let kubectl = assets::ensure(Program::Kubectl).await?;
        let (client, impatient) = (client(&kubeconfig, true).await?, client(&kubeconfig, false).await?);
        Ok(Self { client, impatient, kubeconfig, helm, images, cluster, kubectl })
    }

    /// Starts the fake cloud.
    ///
    /// # Errors
    /// As [`Cloud::start`].
    pub async fn cloud(&self) -> Result<Cloud, E2eError> {
        Cloud::start(&self.client, &self.images.fake_cloud).await
    }

    /// Runs kubectl; what it printed.
    ///
    /// # Errors
    /// [`E2eError::Kubectl`] with what it printed.
    pub async fn kubectl(&self, arguments: &[&str]) -> Result<String, E2eError> {
        let mut command = Command::new(&self.kubectl);
        command.arg("--kubeconfig").arg(&self.kubeconfig);
        command.arg("--cache-dir").arg(self.helm.scratch().join("kubectl-cache"));
        let output = command.args(arguments).kill_on_drop(true).output().await?;
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        if output.status.success() {
            return Ok(text(&output.stdout));
        }
        let output = format!("{}{}", text(&output.stdout), text(&output.stderr)).trim().to_owned();
        Err(E2eError::Kubectl { arguments: arguments.join(" "), output })
    }

    /// Stops the cluster, if it is the tests' own.
    pub async fn end(self) {
        if let Some(cluster) = self.cluster {
            cluster.stop().await;
        }
    }
}

async fn client(kubeconfig: &Path, retry: bool) -> Result<Client, E2eError> {
    let failed = |error: &dyn std::fmt::Display| E2eError::Kubeconfig(error.to_string());
    let read = Kubeconfig::read_from(kubeconfig).map_err(|error| failed(&error))?;
    let config = Config::from_custom_kubeconfig(read, &KubeConfigOptions::default()).await;
    let mut config = config.map_err(|error| failed(&error))?;
    config.default_retry = retry;
    Client::try_from(config).map_err(|error| failed(&error))
}

/// Builds the images that were not given, and gives them to the cluster.
///
/// # Errors
/// When one cannot be built.
pub async fn build_images(arguments: &Arguments) -> Result<(Images, Vec<PathBuf>), E2eError> {
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

async fn build(content: Content, profile: Profile, tag: &str) -> Result<image::Image, E2eError> {
    let program = image::compile(content, profile, None).await?;
    let folder = tempfile::tempdir()?;
    let folder = image::prepare(content, &program, &folder.path().join("context"))?;
    Ok(image::build(content, &folder, &content.name(tag)).await?)
}

/// A namespace that enforces the restricted Pod Security Standard
/// (<https://kubernetes.io/docs/concepts/security/pod-security-standards/#restricted>).
///
/// # Errors
/// When it is refused.
pub async fn restricted(client: &Client, name: &str) -> Result<(), E2eError> {
    let namespace = json!({
        "apiVersion": "v1",
        "kind": "Namespace",
        "metadata": {"name": name, "labels": {
            "pod-security.kubernetes.io/enforce": "restricted",
            "pod-security.kubernetes.io/enforce-version": "latest",
        }},
    });
    let api: Api<Namespace> = Api::all(client.clone());
    let params = PatchParams::apply(FIELD_MANAGER);
    let applied = api.patch(name, &params, &Patch::Apply(&namespace)).await;
    applied.map_err(E2eError::kube(format!("create the namespace {name}")))?;
    // A controller makes it a moment later; no pod is accepted before.
    let accounts: Api<ServiceAccount> = Api::namespaced(client.clone(), name);
    until(&format!("the namespace {name} has its default service account"), ACCOUNT_WITHIN, || async {
        let found = accounts.get_opt("default").await.map_err(E2eError::kube("read a service account"))?;
        Ok(found.map(drop).ok_or_else(|| "there is none".to_owned()))
    })
    .await
}
