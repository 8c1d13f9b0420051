//! A cluster with a node: pods run, and nothing is left behind. Needs Linux, root and what `testbed node up` asks for:
//!
//!     cargo test -p testbed --test node -- --ignored
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, reason = "a test fails by panicking, in its helpers too")]

use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use k8s_openapi::api::core::v1::{Namespace, Pod, ServiceAccount};
use kube::ResourceExt as _;
use kube::api::{Api, ObjectMeta, PostParams};
use kube::runtime::conditions::is_pod_running;
use kube::runtime::wait::await_condition;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::json;
use testbed::{ClusterOptions, NodeCluster};

/// How long a pod may take to run, and what has lost its owner to disappear.
const WITHIN: Duration = Duration::from_secs(120);

/// A pod that the restricted Pod Security Standard lets in, of an image that every node has.
fn pod() -> Pod {
    serde_json::from_value(json!({
        "metadata": {"name": "idle"},
        "spec": {
            "terminationGracePeriodSeconds": 1,
            "securityContext": {"runAsNonRoot": true, "runAsUser": 65532, "seccompProfile": {"type": "RuntimeDefault"}},
            "containers": [{
                "name": "idle",
                "image": "testbed.managedredis.dev/pause:1",
                "imagePullPolicy": "Never",
                "resources": {"limits": {"memory": "32Mi"}},
                "securityContext": {
                    "allowPrivilegeEscalation": false, "readOnlyRootFilesystem": true, "capabilities": {"drop": ["ALL"]},
                },
            }],
        },
    }))
    .unwrap()
}

/// Starts the pod in a namespace that enforces the standard.
async fn run_pod(client: &kube::Client) -> Api<Pod> {
    let labels = [("pod-security.kubernetes.io/enforce".to_owned(), "restricted".to_owned())].into();
    let metadata = ObjectMeta { name: Some("idle".to_owned()), labels: Some(labels), ..ObjectMeta::default() };
    let namespace = Namespace { metadata, ..Namespace::default() };
    Api::all(client.clone()).create(&PostParams::default(), &namespace).await.unwrap();
    // Made by the controller-manager a moment later; no pod is accepted before.
    let accounts: Api<ServiceAccount> = Api::namespaced(client.clone(), "idle");
    let is_there = |account: Option<&ServiceAccount>| account.is_some();
    tokio::time::timeout(WITHIN, await_condition(accounts, "default", is_there)).await.unwrap().unwrap();
    let pods: Api<Pod> = Api::namespaced(client.clone(), "idle");
    pods.create(&PostParams::default(), &pod()).await.unwrap();
    let running = await_condition(pods.clone(), "idle", is_pod_running());
    tokio::time::timeout(WITHIN, running).await.unwrap().unwrap();
    pods
}

/// Control groups, links and processes of clusters whose data is in `folder`, and the folder itself.
fn traces(folder: &Path, id: &str) -> Vec<String> {
    let mut traces: Vec<String> = folder.exists().then(|| folder.display().to_string()).into_iter().collect();
    let groups = Command::new("find").args(["/sys/fs/cgroup", "-maxdepth", "2", "-name", id]).output().unwrap();
    traces.extend(String::from_utf8_lossy(&groups.stdout).lines().map(str::to_owned));
    let link = id.replace("-testbed-", "");
    if Path::new("/sys/class/net").join(&link).exists() {
        traces.push(link);
    }
    let name = folder.to_str().unwrap();
    for entry in std::fs::read_dir("/proc").unwrap().filter_map(Result::ok) {
        let line = std::fs::read(entry.path().join("cmdline")).unwrap_or_default();
        let line = String::from_utf8_lossy(&line).replace('\0', " ");
        let group = std::fs::read_to_string(entry.path().join("cgroup")).unwrap_or_default();
        if line.contains(name) || group.contains(id) {
            traces.push(line);
        }
    }
    traces
}

/// The sandbox's name, which its control groups and its link have, from a process in it.
fn id_of(folder: &Path) -> String {
    let groups = Command::new("find").args(["/sys/fs/cgroup", "-maxdepth", "2", "-name", "mro-testbed-*"]).output();
    let groups = String::from_utf8(groups.unwrap().stdout).unwrap();
    let kubelet = std::fs::read_to_string(folder.join("node-1/kubelet.json")).unwrap();
    let root: serde_json::Value = serde_json::from_str(&kubelet).unwrap();
    let id = root["cgroupRoot"].as_str().unwrap().split('/').nth(1).unwrap().to_owned();
    assert!(groups.contains(&id), "{groups}");
    id
}

#[tokio::test]
#[ignore = "needs Linux, root and the programs of a node"]
async fn a_restricted_pod_runs_and_leaves_no_trace() {
    let cluster = NodeCluster::start(ClusterOptions { nodes: 2, ..ClusterOptions::default() }).await.unwrap();
    assert_eq!(cluster.nodes().collect::<Vec<_>>(), ["node-1", "node-2"]);
    let pods = run_pod(&cluster.api().client().unwrap()).await;
    let uid = pods.get("idle").await.unwrap().uid().unwrap();
    // Both containers of this pod are called so, and are spared.
    // Its only process is called as the one that holds the pod together, which is spared.
    assert_eq!(cluster.kill_containers(&uid).unwrap(), 0);
    let (folder, id) = (cluster.api().folder().to_owned(), id_of(cluster.api().folder()));
    assert!(traces(&folder, &id).len() > 5);
    cluster.stop().await;
    assert_eq!(traces(&folder, &id), Vec::<String>::new());
}

/// A process that owns a cluster, and the cluster's kubeconfig.
fn owner() -> (Child, PathBuf) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_testbed"));
    let mut process = command.args(["node", "up"]).stdout(Stdio::piped()).spawn().unwrap();
    let mut line = String::new();
    BufReader::new(process.stdout.take().unwrap()).read_line(&mut line).unwrap();
    (process, PathBuf::from(line.trim().strip_prefix("export KUBECONFIG=").unwrap()))
}

#[tokio::test]
#[ignore = "needs Linux, root and the programs of a node"]
async fn sigkill_of_the_owner_takes_pods_links_and_control_groups_along() {
    let (mut process, kubeconfig) = owner();
    let config = kube::config::Kubeconfig::read_from(&kubeconfig).unwrap();
    let config = kube::Config::from_custom_kubeconfig(config, &Default::default()).await.unwrap();
    run_pod(&kube::Client::try_from(config).unwrap()).await;
    let folder = kubeconfig.parent().unwrap();
    let id = id_of(folder);
    kill_process(Pid::from_child(&process), Signal::KILL).unwrap();
    process.wait().unwrap();
    let started = Instant::now();
    while !traces(folder, &id).is_empty() {
        assert!(started.elapsed() < WITHIN, "{:#?}", traces(folder, &id));
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}
