//! The helm command, with a home of its own.

use std::path::{Path, PathBuf};

use anyhow::Context as _;
use tempfile::TempDir;
use testbed::{ApiServer, Program, assets};
use tokio::process::Command;

use crate::chart::{self, RELEASE};

/// A program that failed: callers look into what it printed.
#[derive(Debug, thiserror::Error)]
#[error("{program} {arguments} failed:\n{output}")]
pub struct CommandFailed {
    program: &'static str,
    arguments: String,
    /// What it printed.
    pub output: String,
}

/// A helm that reads and writes nothing in the user's home.
pub struct Helm {
    executable: PathBuf,
    home: TempDir,
    kubeconfig: Option<PathBuf>,
}

impl Helm {
    /// Finds or builds helm.
    ///
    /// # Errors
    /// When it is neither there nor can be built.
    pub async fn find() -> anyhow::Result<Self> {
        let executable = assets::ensure(Program::Helm).await?;
        let home = tempfile::tempdir()
            .with_context(|| format!("cannot create a folder in {}", std::env::temp_dir().display()))?;
        Ok(Self { executable, home, kubeconfig: None })
    }

    /// The same, for an API server.
    pub fn on(self, server: &ApiServer) -> Self {
        self.with_kubeconfig(server.kubeconfig_path())
    }

    /// The same, for the cluster of a kubeconfig.
    pub fn with_kubeconfig(self, path: &Path) -> Self {
        Self { kubeconfig: Some(path.to_owned()), ..self }
    }

    /// A folder for this helm's time.
    pub fn scratch(&self) -> &Path {
        self.home.path()
    }

    /// The program.
    pub fn executable(&self) -> &Path {
        &self.executable
    }

    /// Runs it; what it printed on stdout.
    ///
    /// # Errors
    /// [`CommandFailed`] with what it printed.
    pub async fn run(&self, arguments: &[&str]) -> anyhow::Result<String> {
        let home = self.home.path();
        let mut command = Command::new(&self.executable);
        command.args(arguments).kill_on_drop(true);
        for (variable, folder) in
            [("HELM_CACHE_HOME", "cache"), ("HELM_CONFIG_HOME", "config"), ("HELM_DATA_HOME", "data")]
        {
            command.env(variable, home.join(folder));
        }
        // Without a server there is no cluster at all, whatever the environment says.
        command.env("KUBECONFIG", self.kubeconfig.clone().unwrap_or_else(|| home.join("no-cluster")));
        output("helm", arguments, command).await
    }

    /// Checks the chart with a file of values.
    ///
    /// # Errors
    /// When the linter has anything but praise, or a hint (there is no icon).
    pub async fn lint(&self, values: &Path) -> anyhow::Result<()> {
        let (chart, values) = (chart::folder(), values.to_string_lossy());
        self.run(&["lint", "--strict", "--values", &values, &chart.to_string_lossy()]).await.map(drop)
    }

    /// Renders the chart with a file of values.
    ///
    /// # Errors
    /// When it refuses the values.
    pub async fn template(&self, values: &Path) -> anyhow::Result<String> {
        let (chart, values) = (chart::folder(), values.to_string_lossy());
        self.run(&["template", RELEASE, &chart.to_string_lossy(), "--namespace", RELEASE, "--values", &values]).await
    }
}

/// Runs a command; what it printed on stdout.
///
/// # Errors
/// When it cannot be started; [`CommandFailed`] with what it printed.
pub async fn output(program: &'static str, arguments: &[&str], mut command: Command) -> anyhow::Result<String> {
    let output = command.output().await.with_context(|| format!("cannot run {program}"))?;
    let stdout = String::from_utf8_lossy(&output.stdout).into_owned();
    if output.status.success() {
        return Ok(stdout);
    }
    let output = format!("{stdout}{}", String::from_utf8_lossy(&output.stderr)).trim_end().to_owned();
    Err(CommandFailed { program, arguments: arguments.join(" "), output }.into())
}
