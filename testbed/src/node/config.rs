//! The configuration of a node's programs.

use std::path::Path;

use serde_json::{Value, json};

use super::requirements::Requirements;

/// The image that holds a pod's namespaces.
pub(super) const PAUSE_IMAGE: &str = "testbed.managedredis.dev/pause:1";
/// The name of the process in it.
pub(super) const PAUSE_PROCESS: &str = "pause";
/// The addresses of pods.
const POD_NETWORK: &str = "10.88.0.0/16";

/// How pods are connected: a bridge in the sandbox, which is every node's.
pub(super) fn cni(folder: &Path) -> Value {
    json!({
        "cniVersion": "1.0.0",
        "name": "testbed",
        "plugins": [{
            "type": "bridge",
            "bridge": "pods",
            "isDefaultGateway": true,
            "hairpinMode": true,
            "ipam": {
                "type": "host-local",
                "ranges": [[{"subnet": POD_NETWORK}]],
                "dataDir": folder.join("pod-addresses"),
            },
        }],
    })
}

/// containerd's configuration, in TOML. `shim` is the path of containerd-shim-runc-v2.
pub(super) fn containerd(node: &Path, cni: &Path, shim: &Path, requirements: &Requirements) -> String {
    // A JSON string of a path is a TOML string as well.
    let text = |path: &Path| json!(path).to_string();
    format!(
        r#"version = 3
root = {root}
state = {state}

[grpc]
address = {socket}

[plugins.'io.containerd.cri.v1.images']
# Copies instead of mounting: the images here are one file, and overlayfs does not work on top of itself.
snapshotter = "native"

[plugins.'io.containerd.cri.v1.images'.pinned_images]
sandbox = "{PAUSE_IMAGE}"

[plugins.'io.containerd.cri.v1.runtime']
# Without CAP_SYS_RESOURCE, nobody may protect a process better than oneself is.
restrict_oom_score_adj = true
# Loading a profile would change the machine.
disable_apparmor = true

[plugins.'io.containerd.nri.v1.nri']
# Nothing here uses it, and its socket has one path for all nodes: of two that start at once one would not get it.
disable = true

[plugins.'io.containerd.cri.v1.runtime'.cni]
bin_dirs = [{bin}]
conf_dir = {conf}
use_internal_loopback = true

[plugins.'io.containerd.cri.v1.runtime'.containerd.runtimes.runc]
runtime_type = "io.containerd.runc.v2"
runtime_path = {shim}

[plugins.'io.containerd.cri.v1.runtime'.containerd.runtimes.runc.options]
BinaryName = {runtime}
SystemdCgroup = false
"#,
        root = text(&node.join("containerd")),
        state = text(&node.join("containerd-state")),
        socket = text(&socket(node)),
        bin = text(&requirements.cni),
        conf = text(cni),
        shim = text(shim),
        runtime = text(&requirements.runtime),
    )
}

/// containerd's socket.
pub(super) fn socket(node: &Path) -> std::path::PathBuf {
    node.join("containerd.sock")
}

/// The kubelet's configuration
/// (<https://kubernetes.io/docs/reference/config-api/kubelet-config.v1beta1/>).
pub(super) fn kubelet(node: &Path, port: u16, cgroup: &str) -> Value {
    json!({
        "apiVersion": "kubelet.config.k8s.io/v1beta1",
        "kind": "KubeletConfiguration",
        "containerRuntimeEndpoint": format!("unix://{}", socket(node).display()),
        "port": port,
        "readOnlyPort": 0,
        "healthzPort": 0,
        // It is reached from this machine only, whose root this is.
        "authentication": {"anonymous": {"enabled": true}, "webhook": {"enabled": false}},
        "authorization": {"mode": "AlwaysAllow"},
        "cgroupDriver": "cgroupfs",
        "cgroupRoot": cgroup,
        "enforceNodeAllocatable": [],
        "failCgroupV1": false,
        "failSwapOn": false,
        "oomScoreAdj": 0,
        // The disk of this machine is not the node's to judge.
        "evictionHard": {},
        "localStorageCapacityIsolation": false,
        "imageGCHighThresholdPercent": 100,
        // Never to change the machine's settings: the sandbox shows those that are wanted.
        "protectKernelDefaults": true,
        "makeIPTablesUtilChains": false,
        "resolvConf": node.join("resolv.conf"),
        "podLogsDir": node.join("logs"),
        "volumePluginDir": node.join("volume-plugins"),
        "registerWithTaints": [],
    })
}

/// kube-proxy's configuration (<https://kubernetes.io/docs/reference/config-api/kube-proxy-config.v1alpha1/>).
pub(super) fn proxy(node_name: &str, kubeconfig: &Path) -> Value {
    json!({
        "apiVersion": "kubeproxy.config.k8s.io/v1alpha1",
        "kind": "KubeProxyConfiguration",
        "clientConnection": {"kubeconfig": kubeconfig},
        "hostnameOverride": node_name,
        "mode": "iptables",
        "clusterCIDR": POD_NETWORK,
        // Two pods on one bridge would else answer each other past the address translation.
        "iptables": {"masqueradeAll": true, "syncPeriod": "30s", "minSyncPeriod": "100ms"},
        // Those limits are the machine's.
        "conntrack": {"maxPerCore": 0, "min": 0, "tcpEstablishedTimeout": "0s", "tcpCloseWaitTimeout": "0s"},
        "oomScoreAdj": 0,
    })
}
