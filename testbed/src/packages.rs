//! Programs of the operating system: found, or on a build machine installed.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use tokio::process::Command;

use crate::assets::is_executable;
use crate::lock;

/// Where a distribution keeps what only root needs, which is not on everybody's `PATH`.
const FURTHER_FOLDERS: [&str; 2] = ["/usr/sbin", "/sbin"];

/// In the folder for temporary files: who installs something holds it.
const LOCK: &str = "managed-redis-operator-packages.lock";

/// A program of the operating system.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tool {
    /// Its file name.
    pub program: &'static str,
    /// The Debian package that has it.
    pub package: &'static str,
    /// Folders it is in that are never on a `PATH`.
    pub folders: &'static [&'static str],
}

impl Tool {
    /// A program that is on the `PATH` once its package is installed.
    #[must_use]
    pub const fn new(program: &'static str, package: &'static str) -> Self {
        Self { program, package, folders: &[] }
    }

    /// Where the program is, if it is there.
    #[must_use]
    pub fn find(&self) -> Option<PathBuf> {
        let own = self.folders.iter().map(PathBuf::from);
        let on_path = std::env::split_paths(&path()).collect::<Vec<_>>();
        own.chain(on_path).map(|folder| folder.join(self.program)).find(|path| is_executable(path))
    }
}

/// Why a program of the operating system is not there.
#[derive(Debug, thiserror::Error)]
pub enum PackagesError {
    /// It has to be installed.
    #[error(
        "{} {} missing; on Debian and Ubuntu: apt-get install {}",
        list(.0, |tool| tool.program, ", "),
        if .0.len() == 1 { "is" } else { "are" },
        list(.0, |tool| tool.package, " ")
    )]
    Missing(Vec<Tool>),
    /// It could not be installed.
    #[error("{command} failed: {output}")]
    Install {
        /// The command line.
        command: String,
        /// What it printed, or why it could not be started.
        output: String,
    },
}

fn list(tools: &[Tool], part: impl Fn(&Tool) -> &'static str, separator: &str) -> String {
    let mut parts: Vec<_> = tools.iter().map(part).collect();
    parts.dedup();
    parts.join(separator)
}

/// This process's `PATH`, and the folders of programs for root.
#[must_use]
pub fn path() -> OsString {
    let given = std::env::var_os("PATH").unwrap_or_default();
    let further = FURTHER_FOLDERS.iter().map(PathBuf::from);
    // Only a folder's name with a colon in it cannot be joined, and none of these came with one.
    std::env::join_paths(std::env::split_paths(&given).chain(further)).unwrap_or(given)
}

/// Makes sure that programs are there. What is missing is installed with apt-get if this is a build machine (`CI=true`)
/// and this process may; a person's machine is never changed.
///
/// # Errors
/// [`PackagesError`] if one is missing and not to be, or cannot be, installed.
pub async fn ensure(tools: &[Tool]) -> Result<(), PackagesError> {
    let absent = || tools.iter().filter(|tool| tool.find().is_none()).copied().collect::<Vec<_>>();
    let missing = absent();
    if missing.is_empty() {
        return Ok(());
    }
    let may = std::env::var_os("CI").is_some_and(|value| value == "true") && rustix::process::geteuid().is_root();
    if !may || Tool::new("apt-get", "apt").find().is_none() {
        return Err(PackagesError::Missing(missing));
    }
    install(Path::new("apt-get"), &std::env::temp_dir().join(LOCK), absent).await
}

/// Installs what is missing, one process at a time: apt-get does not wait for another one, it fails.
async fn install(apt_get: &Path, lock: &Path, absent: impl Fn() -> Vec<Tool>) -> Result<(), PackagesError> {
    let failed = |error: std::io::Error| PackagesError::Install {
        command: format!("lock {}", lock.display()),
        output: error.to_string(),
    };
    let _lock = lock::hold(lock, "another process that installs packages").await.map_err(failed)?;
    let missing = absent();
    if missing.is_empty() {
        return Ok(());
    }
    let packages: Vec<_> = missing.iter().map(|tool| tool.package).collect();
    run(apt_get, &["update", "--quiet"]).await?;
    run(apt_get, &[&["install", "--quiet", "--yes", "--no-install-recommends"], packages.as_slice()].concat()).await?;
    let missing = absent();
    if missing.is_empty() { Ok(()) } else { Err(PackagesError::Missing(missing)) }
}

async fn run(apt_get: &Path, arguments: &[&str]) -> Result<(), PackagesError> {
    let failed =
        |output: String| PackagesError::Install { command: format!("apt-get {}", arguments.join(" ")), output };
    let mut command = Command::new(apt_get);
    command.args(arguments).env("DEBIAN_FRONTEND", "noninteractive").current_dir(Path::new("/")).kill_on_drop(true);
    let output = command.output().await.map_err(|error| failed(error.to_string()))?;
    if output.status.success() {
        Ok(())
    } else {
        Err(failed(String::from_utf8_lossy(&output.stderr).trim().to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_is_found_on_the_path_or_in_its_own_folder() {
        assert!(Tool::new("sh", "dash").find().is_some());
        assert_eq!(Tool::new("no-such-program", "none").find(), None);
        let folder = Tool { program: "sh", package: "dash", folders: &["/bin"] };
        assert_eq!(folder.find(), Some(PathBuf::from("/bin/sh")));
    }

    /// On a new machine two tests of a node begin at once, each in a process of its own.
    #[tokio::test]
    async fn who_finds_somebody_installing_waits_and_installs_nothing_twice() {
        let folder = tempfile::tempdir().unwrap();
        let (apt_get, installed) = (folder.path().join("apt-get"), folder.path().join("tool"));
        // As apt-get does, this one fails if another one runs.
        let script = format!(
            "#!/bin/sh\ncd {} && mkdir held || exit 100\necho \"$1\" >>log\nsleep 0.1\n[ \"$1\" = update ] || touch tool\nrmdir held\n",
            folder.path().display()
        );
        std::fs::write(&apt_get, script).unwrap();
        std::fs::set_permissions(&apt_get, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
        let absent = || if installed.exists() { Vec::new() } else { vec![Tool::new("tool", "tools")] };
        let lock = folder.path().join("lock");
        let both = tokio::join!(install(&apt_get, &lock, absent), install(&apt_get, &lock, absent));
        both.0.unwrap();
        both.1.unwrap();
        assert_eq!(std::fs::read_to_string(folder.path().join("log")).unwrap(), "update\ninstall\n");
    }

    #[test]
    fn what_is_missing_is_named_with_what_to_install() {
        let tool = |program| Tool::new(program, "iproute2");
        let error = PackagesError::Missing(vec![tool("ip"), tool("tc"), Tool::new("buildah", "buildah")]);
        assert_eq!(
            error.to_string(),
            "ip, tc, buildah are missing; on Debian and Ubuntu: apt-get install iproute2 buildah"
        );
    }
}
