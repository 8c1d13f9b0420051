//! What this machine has to offer before a node can run on it.

use std::path::PathBuf;

use crate::error::TestbedError;
use crate::packages::{self, Tool};

const TOOLS: [Tool; 10] = [
    Tool::new("unshare", "util-linux"),
    Tool::new("nsenter", "util-linux"),
    Tool::new("setpriv", "util-linux"),
    Tool::new("mount", "mount"),
    Tool::new("ip", "iproute2"),
    Tool::new("iptables", "iptables"),
    Tool::new("iptables-restore", "iptables"),
    CNI_BRIDGE,
    Tool { program: "host-local", ..CNI_BRIDGE },
    // crun would do as well, but Debian 12's is too old for this containerd.
    RUNC,
];

const CNI_BRIDGE: Tool = Tool {
    program: "bridge",
    package: "containernetworking-plugins",
    // Debian's folder, and everybody else's.
    folders: &["/usr/lib/cni", "/opt/cni/bin"],
};

const RUNC: Tool = Tool::new("runc", "runc");

/// Where the operating system's part of a node is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Requirements {
    /// The program that starts containers.
    pub(super) runtime: PathBuf,
    /// The folder of the CNI plugins.
    pub(super) cni: PathBuf,
}

impl Requirements {
    /// Finds everything, or says what is missing.
    pub(super) async fn ensure() -> Result<Self, TestbedError> {
        if !cfg!(target_os = "linux") {
            return Err(TestbedError::Unfit("it needs Linux".to_owned()));
        }
        if !rustix::process::geteuid().is_root() {
            return Err(TestbedError::Unfit("it needs root, for namespaces and control groups".to_owned()));
        }
        packages::ensure(&TOOLS).await?;
        let found = |tool: Tool| tool.find().ok_or(packages::PackagesError::Missing(vec![tool]));
        let bridge = found(CNI_BRIDGE)?;
        Ok(Self { runtime: found(RUNC)?, cni: bridge.parent().map(PathBuf::from).unwrap_or_default() })
    }
}
