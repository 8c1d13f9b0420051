//! Builds a program from its pinned source into the cache.

use std::fs::File;
use std::io::Write as _;
use std::path::Path;
use std::process::{ExitStatus, Stdio};
use std::time::{Duration, Instant};

use tokio::process::Command;

use super::families::Family;
use super::{AssetsError, Program, go, is_executable};
use crate::{lock, tail};

/// How often a long wait says that it is still waiting.
const HEARTBEAT: Duration = Duration::from_secs(15);
/// How many lines of go's output an error carries.
const OUTPUT_LINES: usize = 15;
/// Prefix of the folders builds happen in.
const WORK_PREFIX: &str = ".build-";

/// Builds `program` to `destination`, unless another process did while this one waited for its turn.
///
/// The file appears under its name only when it is complete. One build at a time for each family.
pub(super) async fn build(program: Program, family: &Family, destination: &Path) -> Result<(), AssetsError> {
    let folder = destination.parent().unwrap_or(Path::new("/"));
    std::fs::create_dir_all(folder).map_err(AssetsError::io("create", folder))?;
    let lock = folder.join(".lock");
    let other = format!("another process that builds {program} or its like");
    let _lock = lock::hold(&lock, &other).await.map_err(AssetsError::io("lock", &lock))?;
    if is_executable(destination) {
        return Ok(());
    }
    go::check(program, family.go).await?;
    remove_leftovers(folder)?;
    let work = tempfile::Builder::new().prefix(WORK_PREFIX).tempdir_in(folder);
    let work = work.map_err(AssetsError::io("create a folder in", folder))?;
    let started = Instant::now();
    say(format_args!("building {program} {} from source (which takes some minutes)", family.version));
    let status = run_go(program, family, work.path(), started).await?;
    if !status.success() {
        return Err(failure(program, status, tail(&work.path().join("go.log"), OUTPUT_LINES)));
    }
    std::fs::rename(work.path().join("program"), destination).map_err(AssetsError::io("write", destination))?;
    say(format_args!("built {program} in {} s: {}", started.elapsed().as_secs(), destination.display()));
    Ok(())
}

/// Removes what builds left behind that were killed. Only called by who holds the lock.
fn remove_leftovers(folder: &Path) -> Result<(), AssetsError> {
    for entry in std::fs::read_dir(folder).map_err(AssetsError::io("read", folder))? {
        let entry = entry.map_err(AssetsError::io("read", folder))?;
        if entry.file_name().as_encoded_bytes().starts_with(WORK_PREFIX.as_bytes()) {
            std::fs::remove_dir_all(entry.path()).map_err(AssetsError::io("remove", entry.path()))?;
        }
    }
    Ok(())
}

/// Runs `go build` in `work`, with a heartbeat on stderr. Leaves the file `program`, and go's output in `go.log`.
async fn run_go(program: Program, family: &Family, work: &Path, started: Instant) -> Result<ExitStatus, AssetsError> {
    let write = |name: &str, text: &str| {
        let path = work.join(name);
        std::fs::write(&path, text).map_err(AssetsError::io("write", path))
    };
    write("go.mod", family.go_mod)?;
    write("go.sum", family.go_sum)?;
    for (name, text) in family.sources {
        write(name, text)?;
    }
    let log = work.join("go.log");
    let out = File::create(&log).map_err(AssetsError::io("create", &log))?;
    let err = out.try_clone().map_err(AssetsError::io("open", &log))?;
    let mut child = Command::new("go")
        .args(["build", "-mod=readonly", "-trimpath", "-tags", family.tags, "-ldflags", family.ldflags])
        .args(["-o", "program", program.package()])
        .current_dir(work)
        .env("CGO_ENABLED", "0")
        .env("GOWORK", "off")
        // The programs run here, whatever this shell cross-compiles for.
        .env_remove("GOOS")
        .env_remove("GOARCH")
        .stdin(Stdio::null())
        .stdout(out)
        .stderr(err)
        .kill_on_drop(true)
        .spawn()
        .map_err(AssetsError::io("run", "go"))?;
    loop {
        match tokio::time::timeout(HEARTBEAT, child.wait()).await {
            Ok(status) => return status.map_err(AssetsError::io("wait for", "go")),
            Err(_) => say(format_args!("still building {program} ({} s so far)", started.elapsed().as_secs())),
        }
    }
}

/// Tells a failed download from a failed build by what `go` printed.
fn failure(program: Program, status: ExitStatus, output: String) -> AssetsError {
    const NETWORK: [&str; 7] = [
        "dial tcp",
        "no such host",
        "connection refused",
        "i/o timeout",
        "TLS handshake",
        "network is unreachable",
        "module lookup disabled by GOPROXY=off",
    ];
    if NETWORK.iter().any(|sign| output.contains(sign)) {
        AssetsError::Network { program, output }
    } else {
        AssetsError::BuildFailed { program, status, output }
    }
}

/// Writes a line of progress to stderr, past the capture of the test harness: a first build takes minutes, and whoever
/// waits for it should know. A closed stderr is no reason to fail.
fn say(message: std::fmt::Arguments<'_>) {
    let _ = writeln!(std::io::stderr(), "testbed: {message}");
}

#[cfg(test)]
mod tests {
    use std::os::unix::process::ExitStatusExt as _;

    use super::super::Kubernetes;
    use super::*;

    #[test]
    fn failures_are_told_apart() {
        let failed = ExitStatus::from_raw(1 << 8);
        let output =
            "go: k8s.io/api@v0.36.3: Get \"https://proxy.example/\": dial tcp: lookup proxy.example".to_owned();
        assert!(matches!(failure(Program::Etcd, failed, output), AssetsError::Network { .. }));
        let output = "main.go:3:1: syntax error: unexpected name".to_owned();
        let error = failure(Program::Etcd, failed, output);
        assert!(matches!(&error, AssetsError::BuildFailed { .. }));
        assert!(error.to_string().contains("syntax error"), "{error}");
    }

    #[test]
    fn leftovers_go_and_programs_stay() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join(".build-x1")).unwrap();
        std::fs::write(folder.path().join(".build-x1/go.mod"), "").unwrap();
        std::fs::write(folder.path().join("kubectl"), "").unwrap();
        remove_leftovers(folder.path()).unwrap();
        let left: Vec<_> = std::fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        assert_eq!(left, ["kubectl"]);
    }

    #[tokio::test]
    async fn who_waits_for_the_lock_does_not_build_again() {
        let folder = tempfile::tempdir().unwrap();
        let destination = folder.path().join("kubectl");
        let lock = lock::hold(&folder.path().join(".lock"), "nobody").await.unwrap();
        let mut waiting =
            Box::pin(build(Program::Kubectl, Program::Kubectl.family(Kubernetes::default()), &destination));
        // Polled at least once: it has found the lock taken.
        assert!(futures::poll!(&mut waiting).is_pending());
        std::fs::copy("/bin/sh", &destination).unwrap();
        drop(lock);
        waiting.await.unwrap();
        assert_eq!(std::fs::read(&destination).unwrap(), std::fs::read("/bin/sh").unwrap());
    }
}
