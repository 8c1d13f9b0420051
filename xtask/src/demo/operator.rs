//! The real operator: built, started as a process of its own, and stopped as Kubernetes would.

use std::fs::File;
use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use tokio::process::{Child, Command};

use crate::image::executable;
use harness::root;

const PACKAGE: &str = "managed-redis-operator";
/// How long the operator may take to end after SIGTERM.
const STOP_WITHIN: Duration = Duration::from_secs(10);
/// Variables that would send requests for loopback addresses elsewhere.
const PROXIES: [&str; 6] = ["HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"];

/// Why the operator does not run, or did not end well.
#[derive(Debug, thiserror::Error)]
pub enum OperatorError {
    /// A program cannot be started or waited for.
    #[error("cannot run {program}: {source}")]
    Run {
        /// The program.
        program: String,
        /// The operating system's answer.
        source: io::Error,
    },
    /// The build failed; cargo has said why.
    #[error("`cargo build --bin {PACKAGE}` failed ({0})")]
    Build(ExitStatus),
    /// cargo named no program.
    #[error("`cargo build --bin {PACKAGE}` did not say where the program is")]
    NoProgram,
    /// The log cannot be written.
    #[error("cannot write {}: {source}", path.display())]
    Log {
        /// The file.
        path: PathBuf,
        /// The operating system's answer.
        source: io::Error,
    },
    /// There is no free loopback port.
    #[error("no free loopback port for the operator's metrics: {0}")]
    Port(io::Error),
    /// It ended by itself.
    #[error("the operator ended by itself ({0})")]
    Ended(ExitStatus),
    /// It ended badly after SIGTERM.
    #[error("the operator ended badly after SIGTERM ({0})")]
    EndedBadly(ExitStatus),
    /// It had to be killed.
    #[error("the operator did not end within {} s after SIGTERM and was killed", STOP_WITHIN.as_secs())]
    Killed,
}

/// Builds the operator, visibly, and says where it is.
///
/// # Errors
/// When cargo cannot be started or the build fails.
pub async fn build() -> Result<PathBuf, OperatorError> {
    // Of the workspace: with the features of the tests' build, whose parts are thus used again.
    build_with(&["--workspace"]).await
}

/// As [`build`], for release.
///
/// # Errors
/// As [`build`].
pub async fn build_release() -> Result<PathBuf, OperatorError> {
    build_with(&["--package", PACKAGE, "--release"]).await
}

async fn build_with(flags: &[&str]) -> Result<PathBuf, OperatorError> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(&cargo);
    command.args(["build", "--bin", PACKAGE, "--message-format", "json-render-diagnostics"]);
    command.args(flags);
    command.current_dir(root()).stdin(Stdio::null()).stderr(Stdio::inherit()).kill_on_drop(true);
    let failed = |source| OperatorError::Run { program: cargo.to_string_lossy().into_owned(), source };
    let output = command.stdout(Stdio::piped()).spawn().map_err(failed)?.wait_with_output().await.map_err(failed)?;
    if !output.status.success() {
        return Err(OperatorError::Build(output.status));
    }
    executable(&String::from_utf8_lossy(&output.stdout), PACKAGE).ok_or(OperatorError::NoProgram)
}

/// The operator as it runs.
pub struct Operator {
    child: Child,
    admin: SocketAddr,
    log: PathBuf,
}

/// What the operator works with.
pub struct Surroundings<'a> {
    /// The Kubernetes API.
    pub kubeconfig: &'a Path,
    /// Where its own Lease and claims go.
    pub namespace: &'a str,
    /// Base URL of both clouds.
    pub clouds: &'a str,
    /// The file that its output goes to.
    pub log: PathBuf,
    /// Further flags.
    pub flags: &'a [String],
}

impl Operator {
    /// Starts it, in a process group of its own: Ctrl-C on the terminal is for the demonstration, which then stops it.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn start(program: &Path, with: Surroundings<'_>) -> Result<Self, OperatorError> {
        let admin = free_address().map_err(OperatorError::Port)?;
        let log = with.log;
        let failed = |source| OperatorError::Log { path: log.clone(), source };
        let file = File::create(&log).map_err(failed)?;
        let errors = file.try_clone().map_err(failed)?;
        let mut command = Command::new(program);
        command.args(["run", "--kakao-endpoint", with.clouds, "--kakao-iam-endpoint", with.clouds]);
        command.args(["--ncp-endpoint", with.clouds, "--operator-namespace", with.namespace]);
        command.args(["--admin-addr", &admin.to_string()]).args(with.flags);
        let own = std::env::vars_os().map(|(name, _)| name).filter(|name| name.to_string_lossy().starts_with("MRO_"));
        for name in own.chain(PROXIES.map(Into::into)) {
            command.env_remove(name);
        }
        command.env("KUBECONFIG", with.kubeconfig).stdin(Stdio::null()).stdout(file).stderr(errors);
        let child = command.process_group(0).kill_on_drop(true).spawn();
        let child = child.map_err(|source| OperatorError::Run { program: program.display().to_string(), source })?;
        Ok(Self { child, admin, log })
    }

    /// Where its metrics are.
    pub fn admin_url(&self) -> String {
        format!("http://{}", self.admin)
    }

    /// The file that its output goes to.
    pub fn log(&self) -> &Path {
        &self.log
    }

    /// Waits until it ends by itself, which it should not.
    pub async fn ended(&mut self) -> OperatorError {
        match self.child.wait().await {
            Ok(status) => OperatorError::Ended(status),
            Err(source) => OperatorError::Run { program: PACKAGE.to_owned(), source },
        }
    }

    /// Stops it as Kubernetes does: SIGTERM, and SIGKILL when it does not end.
    ///
    /// # Errors
    /// When it had to be killed, or ended with another exit code than 0.
    pub async fn stop(mut self) -> Result<(), OperatorError> {
        let failed = |source| OperatorError::Run { program: PACKAGE.to_owned(), source };
        // No ID: it has ended and was waited for; the wait below tells how.
        if let Some(pid) = self.child.id().and_then(|id| i32::try_from(id).ok()).and_then(Pid::from_raw) {
            kill_process(pid, Signal::TERM).map_err(|error| failed(error.into()))?;
        }
        match tokio::time::timeout(STOP_WITHIN, self.child.wait()).await {
            Ok(status) => {
                let status = status.map_err(failed)?;
                if status.success() { Ok(()) } else { Err(OperatorError::EndedBadly(status)) }
            }
            Err(_) => {
                self.child.kill().await.map_err(failed)?;
                Err(OperatorError::Killed)
            }
        }
    }
}

/// A port that was free a moment ago: should it be gone by then, the operator says so and the demonstration ends.
pub fn free_address() -> io::Result<SocketAddr> {
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()
}

/// The last lines of a file; what cannot be read is told in their place.
pub fn tail(path: &Path, lines: usize) -> String {
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
    use super::*;

    fn start(script: &str) -> Operator {
        let child = Command::new("sh").args(["-c", script]).kill_on_drop(true).spawn().unwrap();
        Operator { child, admin: free_address().unwrap(), log: PathBuf::new() }
    }

    #[tokio::test]
    async fn an_operator_that_ends_badly_is_noticed() {
        assert!(matches!(start("exit 3").ended().await, OperatorError::Ended(status) if status.code() == Some(3)));
        // Without a handler SIGTERM ends it by the signal, which is no clean end.
        let stopped = start("exec sleep 600").stop().await;
        assert!(matches!(stopped, Err(OperatorError::EndedBadly(_))), "{stopped:?}");
    }
}
