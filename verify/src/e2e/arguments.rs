//! The flags of `cargo xtask e2e`.

use std::path::PathBuf;

use clap::Args;

/// Installs the chart on a cluster of real nodes, and kills, upgrades, drains and uninstalls it there. Without --kubeconfig
/// it starts a cluster of its own (Linux, as root) and builds the images; with it, the images have to be where the cluster
/// pulls them.
#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// A cluster to use instead, as its administrator; nothing in it may be called managed-redis-system or shop
    #[arg(long, env = "E2E_KUBECONFIG", requires_all = ["image", "fake_cloud_image"])]
    pub kubeconfig: Option<PathBuf>,
    /// The operator's image, as `repository:tag`, instead of one built now
    #[arg(long, env = "E2E_IMAGE", requires = "kubeconfig")]
    pub image: Option<String>,
    /// The image to upgrade from [default: another tag of the operator's]
    #[arg(long, env = "E2E_PREVIOUS_IMAGE", requires = "kubeconfig")]
    pub previous_image: Option<String>,
    /// The fake cloud's image, instead of one built now
    #[arg(long, env = "E2E_FAKE_CLOUD_IMAGE", requires = "kubeconfig")]
    pub fake_cloud_image: Option<String>,
    /// Build the images as they are delivered, instead of as tests are
    #[arg(long)]
    pub release: bool,
    /// After the installation, only the steps whose name contains this
    #[arg(long, value_name = "WORDS")]
    pub only: Option<String>,
}
