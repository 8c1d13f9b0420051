//! A real etcd and kube-apiserver, or a whole cluster with nodes, for tests and the demo.
//!
//! ```no_run
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! let server = testbed::ApiServer::shared().await?;
//! let namespace = server.namespace("flush").await?;
//! let secrets = namespace.api::<k8s_openapi::api::core::v1::Secret>();
//! # Ok(())
//! # }
//! ```
//!
//! # What runs
//!
//! [`ApiServer::start`] finds or builds the programs ([`assets`]), makes a folder with a certificate authority, keys and
//! tokens, and starts etcd and kube-apiserver with their data in it. Validation, defaulting, CEL, server-side apply,
//! watches, RBAC and admission are the real thing. What is not there is a controller-manager: nothing deletes the
//! content of a namespace, collects garbage or starts pods. The ServiceAccount admission plugin is off, because the
//! default service accounts it asks for would be made by the controller-manager.
//!
//! etcd listens on Unix sockets in the folder. The API server listens on a free loopback port that this process keeps
//! reserved, with a socket that is bound but never listens: both set `SO_REUSEPORT` (`--permit-port-sharing`), so no
//! other program is given the port between the choice and the start, or during [`ApiServer::restart_apiserver`].
//!
//! [`NodeCluster::start`] adds what pods need: controller-manager, scheduler, kube-proxy, and for each node a kubelet and a
//! containerd. All of them, and the containers, are in network, process and mount namespaces of their own, together with
//! the API server; a veth link is how this machine reaches it. Several clusters can run at once, and the machine's
//! addresses, iptables and settings stay as they are.
//!
//! # What ends it
//!
//! Nothing outlives the process that started it, however that one ends: a return, a panic, Ctrl-C, SIGKILL, or an exit
//! with the server in a `static`. Each server is the child of a small shell in a process group of its own (so Ctrl-C on
//! the terminal does not reach it) that holds the reading end of a pipe. The kernel closes the writing end together
//! with this process; then the shell kills its server. A third shell, the janitor, waits on one more pipe, whose
//! writing end is held by this process *and* by the other two shells; it removes the folder once they are all gone.
//! The first process of a cluster's namespaces waits on such a pipe too; the kernel ends every container with it, and
//! the shell in front of it removes their control groups.
//! [`ApiServer::stop`] and dropping the [`ApiServer`] close the same pipes and wait for the shells.

mod access;
mod arguments;
pub mod assets;
mod certificates;
pub mod crds;
mod error;
mod lock;
mod namespace;
mod node;
pub mod packages;
mod process;
mod registry;
mod sandbox;
mod server;

pub use access::Access;
pub use assets::{AssetsError, Program};
pub use error::TestbedError;
pub use namespace::TestNamespace;
pub use node::{ClusterOptions, NodeCluster};
pub use registry::ImageRegistry;
pub use server::{ApiServer, Options, User};

/// The last `lines` lines of a text file; what cannot be read is told in their place, as this is for error messages.
#[must_use]
pub fn tail(path: &std::path::Path, lines: usize) -> String {
    match std::fs::read(path) {
        Ok(bytes) => {
            let text = String::from_utf8_lossy(&bytes);
            let all: Vec<_> = text.trim_end().lines().collect();
            all.get(all.len().saturating_sub(lines)..).unwrap_or_default().join("\n")
        }
        Err(error) => format!("({} cannot be read: {error})", path.display()),
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn tail_is_the_end_of_the_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log");
        assert!(super::tail(&path, 3).contains("cannot be read"));
        std::fs::write(&path, "").unwrap();
        assert_eq!(super::tail(&path, 3), "");
        std::fs::write(&path, "a\nb\nc\nd\n").unwrap();
        assert_eq!(super::tail(&path, 3), "b\nc\nd");
        assert_eq!(super::tail(&path, 9), "a\nb\nc\nd");
    }
}
