//! A whole small cluster: an API server with its controllers, and nodes that run pods.

mod config;
mod image;
mod requirements;

use std::ffi::OsString;
use std::fmt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use k8s_openapi::api::core::v1::Node as NodeObject;
use kube::api::Api;

use self::requirements::Requirements;
use crate::arguments::flag;
use crate::assets::{Folders, Program};
use crate::error::TestbedError;
use crate::process::{DataFolder, ServerProcess};
use crate::sandbox::Sandbox;
use crate::server::{ApiServer, Options, User, probe_socket, wait_for};

/// Pause between two looks at what is starting.
const POLL: Duration = Duration::from_millis(100);
/// The first kubelet's port; the next ones follow. All nodes have one address.
const FIRST_KUBELET_PORT: u16 = 10250;

const CONTROLLER_MANAGER: &str = "system:kube-controller-manager";
const SCHEDULER: &str = "system:kube-scheduler";
const PROXY: &str = "system:kube-proxy";

/// How a cluster is to be.
#[derive(Debug, Clone)]
pub struct ClusterOptions {
    /// How many nodes run pods, at least one. Each has a kubelet and a containerd of its own; network and kernel are
    /// shared. They are called `node-1` and so on.
    pub nodes: u16,
    /// Further flags for kube-apiserver.
    pub apiserver_args: Vec<String>,
    /// How long each program, and at the end the nodes, may take to become ready.
    pub ready_within: Duration,
}

impl Default for ClusterOptions {
    fn default() -> Self {
        // Ten seconds are the rule.
        Self { nodes: 1, apiserver_args: Vec::new(), ready_within: Duration::from_secs(180) }
    }
}

/// A running API server with controller-manager, scheduler, kube-proxy and nodes. Dropping it stops everything,
/// containers included, and removes all data.
///
/// There is no DNS inside, no way out of the machine, and nothing enforces a NetworkPolicy.
pub struct NodeCluster {
    // In the order of their end: the sandbox takes all programs with it.
    sandbox: Sandbox,
    nodes: Vec<Node>,
    _controllers: Vec<ServerProcess>,
    api: ApiServer,
}

/// One node's programs and folder.
struct Node {
    name: String,
    folder: PathBuf,
    containerd: ServerProcess,
    kubelet: Option<ServerProcess>,
}

/// The built programs a cluster takes.
struct Programs {
    controller_manager: PathBuf,
    scheduler: PathBuf,
    proxy: PathBuf,
    kubelet: PathBuf,
    containerd: PathBuf,
    shim: PathBuf,
    ctr: PathBuf,
    pause: PathBuf,
}

impl Programs {
    async fn ensure() -> Result<Self, TestbedError> {
        let folders = Folders::from_env()?;
        Ok(Self {
            controller_manager: folders.ensure(Program::KubeControllerManager).await?,
            scheduler: folders.ensure(Program::KubeScheduler).await?,
            proxy: folders.ensure(Program::KubeProxy).await?,
            kubelet: folders.ensure(Program::Kubelet).await?,
            containerd: folders.ensure(Program::Containerd).await?,
            shim: folders.ensure(Program::ContainerdShim).await?,
            ctr: folders.ensure(Program::Ctr).await?,
            pause: folders.ensure(Program::Pause).await?,
        })
    }
}

impl NodeCluster {
    /// Starts a cluster and waits until its nodes are ready. Needs Linux, root, and some programs of the operating
    /// system, which the error names if they are missing. The first time on a machine this builds the Kubernetes
    /// programs and containerd, which takes some minutes and says so on stderr.
    ///
    /// # Errors
    /// [`TestbedError::Unfit`] and [`TestbedError::Packages`] if this machine cannot run a node; otherwise as
    /// [`ApiServer::start`], and [`TestbedError::NodeNotReady`].
    pub async fn start(options: ClusterOptions) -> Result<Self, TestbedError> {
        let requirements = Requirements::ensure().await?;
        let programs = Programs::ensure().await?;
        let names: Vec<String> = (1..=options.nodes.max(1)).map(|number| format!("node-{number}")).collect();

        let folder = DataFolder::create()?;
        let sandbox = Sandbox::start(&folder, &names).await?;
        let ready_within = options.ready_within;
        let api = Options { users: users(&names), apiserver_args: options.apiserver_args, ready_within };
        let api = ApiServer::start_in(folder, Some(&sandbox), api).await?;
        let controllers = controllers(&api, &sandbox, &programs, &names)?;
        let mut cluster = Self { sandbox, nodes: Vec::new(), _controllers: controllers, api };
        let cni =
            write_json(&cluster.api.folder().join("cni"), "10-testbed.conflist", &config::cni(cluster.api.folder()))?;
        let pause = image::write(config::PAUSE_IMAGE, &programs.pause, cluster.api.folder().join("pause.tar"))?;
        for name in names {
            let node = cluster.start_containerd(name, &cni, &programs, &requirements)?;
            cluster.nodes.push(node);
        }
        for node in &mut cluster.nodes {
            let socket = config::socket(&node.folder);
            wait_for(&mut node.containerd, ready_within, || probe_socket(&socket)).await?;
        }
        cluster.import(&programs.ctr, &pause).await?;
        cluster.start_kubelets(&programs.kubelet)?;
        cluster.wait_until_ready(ready_within).await?;
        Ok(cluster)
    }

    /// The API server: clients, kubeconfigs, namespaces, kubectl.
    #[must_use]
    pub fn api(&self) -> &ApiServer {
        &self.api
    }

    /// Names of the nodes.
    pub fn nodes(&self) -> impl Iterator<Item = &str> {
        self.nodes.iter().map(|node| node.name.as_str())
    }

    /// Gives every node the images of an archive (of `docker save`, `buildah push … docker-archive:` or an OCI layout), so
    /// that pods can use them by the names they have in it. Nothing can be pulled here.
    ///
    /// # Errors
    /// [`TestbedError::Command`] with containerd's answer.
    pub async fn import_image(&self, archive: &Path) -> Result<(), TestbedError> {
        let ctr = Folders::from_env()?.ensure(Program::Ctr).await?;
        self.import(&ctr, archive).await
    }

    async fn import(&self, ctr: &Path, archive: &Path) -> Result<(), TestbedError> {
        let imports = self.nodes.iter().map(|node| {
            let mut command = vec![ctr.into(), OsString::from("--address"), config::socket(&node.folder).into()];
            command.extend(
                ["--namespace", "k8s.io", "images", "import", "--local", "--snapshotter", "native"].map(OsString::from),
            );
            command.push(archive.into());
            self.sandbox.run(command)
        });
        for import in imports {
            import.await?;
        }
        Ok(())
    }

    /// Kills every process of a pod's containers with SIGKILL, as the kernel does when memory runs out, and says how many
    /// there were. The pod stays: its kubelet starts the containers again.
    ///
    /// # Errors
    /// [`TestbedError::Process`] if a process cannot be killed.
    pub fn kill_containers(&self, pod_uid: &str) -> Result<usize, TestbedError> {
        self.sandbox.kill(|group| group.contains(&format!("pod{pod_uid}")), config::PAUSE_PROCESS)
    }

    fn start_containerd(
        &self,
        name: String,
        cni: &Path,
        programs: &Programs,
        requirements: &Requirements,
    ) -> Result<Node, TestbedError> {
        let folder = self.api.folder().join(&name);
        std::fs::create_dir_all(&folder).map_err(TestbedError::write(&folder))?;
        let path = folder.join("containerd.toml");
        let text = config::containerd(&folder, cni, &programs.shim, requirements);
        std::fs::write(&path, text).map_err(TestbedError::write(&path))?;
        let command = self.sandbox.enter([programs.containerd.as_os_str(), "--config".as_ref(), path.as_os_str()]);
        let containerd = ServerProcess::start(&format!("{name}-containerd"), &command, self.api.data())?;
        Ok(Node { name, folder, containerd, kubelet: None })
    }

    fn start_kubelets(&mut self, kubelet: &Path) -> Result<(), TestbedError> {
        for (node, port) in self.nodes.iter_mut().zip(FIRST_KUBELET_PORT..) {
            let resolver = node.folder.join("resolv.conf");
            std::fs::write(&resolver, "# No DNS here.\n").map_err(TestbedError::write(&resolver))?;
            write_json(
                &node.folder,
                "kubelet.json",
                &config::kubelet(&node.folder, port, &self.sandbox.cgroup(&node.name)),
            )?;
            let kubeconfig = self.api.user(&node_user(&node.name))?.kubeconfig_path();
            let command = [
                kubelet.as_os_str().to_owned(),
                flag("config", node.folder.join("kubelet.json")),
                flag("kubeconfig", kubeconfig),
                flag("hostname-override", &node.name),
                flag("node-ip", self.sandbox.address().to_string()),
                flag("root-dir", node.folder.join("kubelet")),
                flag("cert-dir", node.folder.join("kubelet-certificates")),
            ];
            let command = self.sandbox.enter(command);
            node.kubelet = Some(ServerProcess::start(&format!("{}-kubelet", node.name), &command, self.api.data())?);
        }
        Ok(())
    }

    async fn wait_until_ready(&mut self, bound: Duration) -> Result<(), TestbedError> {
        let objects: Api<NodeObject> = Api::all(self.api.client()?);
        let started = Instant::now();
        for node in &mut self.nodes {
            loop {
                let answer = match objects.get_opt(&node.name).await? {
                    Some(object) if is_ready(&object) => break,
                    Some(object) => why_not_ready(&object),
                    None => "it has not registered itself".to_owned(),
                };
                let Some(kubelet) = node.kubelet.as_mut() else { break };
                if let Some(status) = kubelet.ended()? {
                    let program = kubelet.name().to_owned();
                    return Err(TestbedError::Ended { program, status, log: kubelet.log() });
                }
                if started.elapsed() >= bound {
                    return Err(TestbedError::NodeNotReady {
                        node: node.name.clone(),
                        bound,
                        answer,
                        log: kubelet.log(),
                    });
                }
                tokio::time::sleep(POLL).await;
            }
        }
        Ok(())
    }

    /// Stops everything and removes all data; all is gone when this returns. Dropping the value does the same.
    pub async fn stop(self) {
        // A cancelled or failed wait leaves it to the shells to finish the work: the pipes are closed either way.
        let _ = tokio::task::spawn_blocking(move || drop(self)).await;
    }
}

impl fmt::Debug for NodeCluster {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let nodes: Vec<_> = self.nodes().collect();
        f.debug_struct("NodeCluster").field("api", &self.api).field("nodes", &nodes).finish_non_exhaustive()
    }
}

/// The identities of the programs, as RBAC's default bindings and the Node authorizer know them.
fn users(nodes: &[String]) -> Vec<User> {
    let user = |name: &str, groups: &[&str]| User {
        name: name.to_owned(),
        groups: groups.iter().map(|group| (*group).to_owned()).collect(),
    };
    let programs = [CONTROLLER_MANAGER, SCHEDULER, PROXY].map(|name| user(name, &[]));
    programs.into_iter().chain(nodes.iter().map(|name| user(&node_user(name), &["system:nodes"]))).collect()
}

fn node_user(name: &str) -> String {
    format!("system:node:{name}")
}

/// Starts what a cluster has once: the controllers, the scheduler, and kube-proxy, as all nodes share a network.
fn controllers(
    api: &ApiServer,
    sandbox: &Sandbox,
    programs: &Programs,
    nodes: &[String],
) -> Result<Vec<ServerProcess>, TestbedError> {
    let kubeconfig = |user| api.user(user).map(|access| access.kubeconfig_path());
    let certificates = api.certificates();
    let first = nodes.first().map_or("", String::as_str);
    write_json(api.folder(), "kube-proxy.json", &config::proxy(first, kubeconfig(PROXY)?))?;
    let start = |program: Program, executable: &Path, arguments: Vec<OsString>| {
        let command = sandbox.enter(std::iter::once(executable.as_os_str().to_owned()).chain(arguments));
        ServerProcess::start(program.name(), &command, api.data())
    };
    Ok(vec![
        start(
            Program::KubeControllerManager,
            &programs.controller_manager,
            vec![
                flag("kubeconfig", kubeconfig(CONTROLLER_MANAGER)?),
                flag("use-service-account-credentials", "true"),
                flag("service-account-private-key-file", &certificates.service_account_private),
                flag("root-ca-file", &certificates.ca),
                flag("leader-elect", "false"),
                flag("secure-port", "0"),
            ],
        )?,
        start(
            Program::KubeScheduler,
            &programs.scheduler,
            vec![flag("kubeconfig", kubeconfig(SCHEDULER)?), flag("leader-elect", "false"), flag("secure-port", "0")],
        )?,
        start(Program::KubeProxy, &programs.proxy, vec![flag("config", api.folder().join("kube-proxy.json"))])?,
    ])
}

/// Writes a configuration and returns its folder.
fn write_json(folder: &Path, name: &str, value: &serde_json::Value) -> Result<PathBuf, TestbedError> {
    std::fs::create_dir_all(folder).map_err(TestbedError::write(folder))?;
    let path = folder.join(name);
    std::fs::write(&path, format!("{value:#}\n")).map_err(TestbedError::write(&path))?;
    Ok(folder.to_owned())
}

fn ready_condition(node: &NodeObject) -> Option<&k8s_openapi::api::core::v1::NodeCondition> {
    let status = node.status.as_ref()?;
    status.conditions.as_ref()?.iter().find(|condition| condition.type_ == "Ready")
}

fn is_ready(node: &NodeObject) -> bool {
    ready_condition(node).is_some_and(|condition| condition.status == "True")
}

fn why_not_ready(node: &NodeObject) -> String {
    let message = ready_condition(node).and_then(|condition| condition.message.clone());
    message.unwrap_or_else(|| "it has not reported yet".to_owned())
}
