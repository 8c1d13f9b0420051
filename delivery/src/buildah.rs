//! buildah, with a store of its own, which leaves nothing in the user's.

use std::ffi::OsStr;
use std::process::Stdio;

use anyhow::{Context as _, anyhow, bail};
use tempfile::TempDir;
use testbed::packages::{self, Tool};
use tokio::process::Command;

/// A store of images that ends with this value.
pub struct Buildah(TempDir);

impl Buildah {
    /// An empty store.
    ///
    /// # Errors
    /// When buildah is missing, or there is no room.
    pub async fn create() -> anyhow::Result<Self> {
        let missing = packages::ensure(&[Tool::new("buildah", "buildah")]).await;
        missing.map_err(|error| anyhow!("{error}; or use `cargo xtask image --prepare` and another builder"))?;
        tempfile::tempdir().map(Self).with_context(|| format!("cannot create {}", std::env::temp_dir().display()))
    }

    /// Runs buildah; what it printed on stdout.
    ///
    /// # Errors
    /// When it fails; it has said why.
    pub async fn run<A: AsRef<OsStr>>(&self, arguments: &[A]) -> anyhow::Result<String> {
        let mut command = Command::new("buildah");
        command.arg("--root").arg(self.0.path().join("root")).arg("--runroot").arg(self.0.path().join("run"));
        command.args(["--storage-driver", "vfs"]).args(arguments);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).kill_on_drop(true);
        let child = command.spawn().context("cannot run buildah")?;
        let output = child.wait_with_output().await.context("cannot run buildah")?;
        if output.status.success() {
            return Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned());
        }
        let verb = arguments.first().map(|verb| verb.as_ref().to_string_lossy().into_owned()).unwrap_or_default();
        bail!("`buildah {verb}` failed ({})", output.status)
    }
}
