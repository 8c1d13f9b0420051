//! buildah, with a store of its own, which leaves nothing in the user's.

use std::ffi::OsStr;
use std::process::Stdio;

use tempfile::TempDir;
use testbed::packages::{self, Tool};
use tokio::process::Command;

use crate::image::ImageError;

/// A store of images that ends with this value.
pub struct Store(TempDir);

impl Store {
    /// An empty store.
    ///
    /// # Errors
    /// When buildah is missing, or there is no room.
    pub async fn create() -> Result<Self, ImageError> {
        packages::ensure(&[Tool::new("buildah", "buildah")]).await?;
        tempfile::tempdir().map(Self).map_err(ImageError::io("create", std::env::temp_dir()))
    }

    /// Runs buildah; what it printed on stdout.
    ///
    /// # Errors
    /// When it fails; it has said why.
    pub async fn run<A: AsRef<OsStr>>(&self, arguments: &[A]) -> Result<String, ImageError> {
        let mut command = Command::new("buildah");
        command.arg("--root").arg(self.0.path().join("root")).arg("--runroot").arg(self.0.path().join("run"));
        command.args(["--storage-driver", "vfs"]).args(arguments);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).kill_on_drop(true);
        let child = command.spawn().map_err(|source| ImageError::Run { program: "buildah".to_owned(), source })?;
        let output = child.wait_with_output().await;
        let output = output.map_err(|source| ImageError::Run { program: "buildah".to_owned(), source })?;
        if output.status.success() {
            return Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned());
        }
        let verb = arguments.first().map(|verb| verb.as_ref().to_string_lossy().into_owned()).unwrap_or_default();
        Err(ImageError::Failed { command: format!("buildah {verb}"), status: output.status })
    }
}
