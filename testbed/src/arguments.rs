//! The flags that etcd and kube-apiserver are started with.

use std::ffi::OsString;
use std::net::SocketAddr;
use std::path::Path;

use crate::certificates::Certificates;

/// Socket of etcd in the data folder.
pub(crate) const ETCD_SOCKET: &str = "etcd.sock";
/// Folder of etcd in the data folder.
pub(crate) const ETCD_DATA: &str = "etcd";
/// The addresses of services. The first is the API server's own.
pub(crate) const SERVICE_NETWORK: &str = "10.0.0.0/24";
/// List of tokens and users in the data folder.
pub(crate) const TOKENS: &str = "tokens.csv";

/// `--name=value`.
pub(crate) fn flag(name: &str, value: impl AsRef<std::ffi::OsStr>) -> OsString {
    let mut flag = OsString::from(format!("--{name}="));
    flag.push(value);
    flag
}

fn socket_url(folder: &Path, name: &str) -> OsString {
    let mut url = OsString::from("unix://");
    url.push(folder.join(name));
    url
}

/// The flags of etcd.
pub(crate) fn etcd_args(folder: &Path) -> Vec<OsString> {
    let (client, peer) = (socket_url(folder, ETCD_SOCKET), socket_url(folder, "peer.sock"));
    let mut cluster = OsString::from("testbed=");
    cluster.push(&peer);
    vec![
        flag("name", "testbed"),
        flag("data-dir", folder.join(ETCD_DATA)),
        flag("listen-client-urls", &client),
        flag("advertise-client-urls", &client),
        flag("listen-peer-urls", &peer),
        flag("initial-advertise-peer-urls", &peer),
        flag("initial-cluster", &cluster),
        flag("log-level", "warn"),
        "--unsafe-no-fsync".into(),
    ]
}

/// The flags of every kube-apiserver.
pub(crate) fn apiserver_args(folder: &Path, address: SocketAddr, certificates: &Certificates) -> Vec<OsString> {
    vec![
        flag("etcd-servers", socket_url(folder, ETCD_SOCKET)),
        flag("bind-address", address.ip().to_string()),
        flag("secure-port", address.port().to_string()),
        // Without it, a machine that has no default route has no address to advertise, and the server ends.
        flag("advertise-address", address.ip().to_string()),
        flag("cert-dir", folder.join("certificates")),
        flag("tls-cert-file", &certificates.tls_cert),
        flag("tls-private-key-file", &certificates.tls_key),
        flag("token-auth-file", folder.join(TOKENS)),
        flag("service-account-issuer", "https://kubernetes.default.svc.cluster.local"),
        flag("service-account-key-file", &certificates.service_account_public),
        flag("service-account-signing-key-file", &certificates.service_account_private),
        flag("service-cluster-ip-range", SERVICE_NETWORK),
    ]
}

/// What an API server that stands alone is told in addition.
pub(crate) fn without_nodes() -> Vec<OsString> {
    vec![
        "--permit-port-sharing".into(),
        // A loopback address is refused as an endpoint of the service `kubernetes`, so nobody reconciles that.
        flag("endpoint-reconciler-type", "none"),
        flag("authorization-mode", "RBAC"),
        // It asks for default service accounts, which a controller-manager would make.
        flag("disable-admission-plugins", "ServiceAccount"),
    ]
}

/// What an API server with nodes is told in addition.
pub(crate) fn with_nodes() -> Vec<OsString> {
    vec![
        flag("authorization-mode", "Node,RBAC"),
        flag("enable-admission-plugins", "NodeRestriction"),
        // Nothing resolves the nodes' names.
        flag("kubelet-preferred-address-types", "InternalIP"),
    ]
}
