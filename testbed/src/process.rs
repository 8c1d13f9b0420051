//! Servers that do not outlive this process, and a folder that does not outlive them.
//!
//! [`ServerProcess::start`] takes any program; `sandbox.rs` puts one into namespaces of its own.
//!
//! All waiting here is for a killed process to be gone or for a small folder to be removed: milliseconds.

use std::ffi::OsString;
use std::fs::File;
use std::io::{self, PipeWriter};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};

use crate::error::TestbedError;
use crate::packages::path;
use crate::tail;

/// How many lines of a server's log an error carries.
const LOG_LINES: usize = 20;

/// Removes the folder `$1` when its standard input closes.
const JANITOR: &str = r#"
while read -r _; do :; done
rm -rf -- "$1"
"#;

/// Runs a server until it ends or standard input closes, whichever comes first, and ends as it did. Standard error is
/// the log. Standard output is not for writing: it is the writing end of the janitor's pipe, held as long as this shell
/// runs, and not passed on to the server.
const SUPERVISOR: &str = r#"
exec 3<&0 </dev/null
"$@" 3<&- >&2 &
server=$!
(while read -r _; do :; done; kill -9 "$server") <&3 &
watcher=$!
wait "$server"
status=$?
kill -9 "$watcher"
exit "$status"
"#;

/// A `sh` for a script, in a process group of its own, so that signals from the terminal do not reach it.
pub(crate) fn shell(script: &str, name: &str) -> Command {
    let mut command = Command::new("sh");
    command.args(["-c", script, name]).process_group(0).current_dir("/");
    command
}

/// A temporary folder that is removed when this value and every [`ServerProcess`] in it are gone, or this process is.
pub(crate) struct DataFolder {
    path: PathBuf,
    /// Closing it is what the janitor waits for.
    lifeline: Option<PipeWriter>,
    janitor: Child,
}

impl DataFolder {
    pub(crate) fn create() -> Result<Self, TestbedError> {
        let folder = tempfile::Builder::new().prefix("mro-testbed-").tempdir();
        let folder = folder.map_err(TestbedError::write(std::env::temp_dir()))?;
        let failed = |source| TestbedError::Process { program: "sh".to_owned(), source };
        let (reader, lifeline) = io::pipe().map_err(failed)?;
        let janitor = shell(JANITOR, "testbed-janitor")
            .arg(folder.path())
            .stdin(reader)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .map_err(failed)?;
        Ok(Self { path: folder.keep(), lifeline: Some(lifeline), janitor })
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Another hold on the folder, for a supervisor to inherit.
    pub(crate) fn hold(&self) -> io::Result<Stdio> {
        match &self.lifeline {
            Some(lifeline) => Ok(lifeline.try_clone()?.into()),
            None => Ok(Stdio::null()),
        }
    }
}

impl Drop for DataFolder {
    fn drop(&mut self) {
        self.lifeline = None;
        // An error would mean that the janitor was already waited for.
        let _ = self.janitor.wait();
    }
}

/// A running program, supervised.
pub(crate) struct ServerProcess {
    name: String,
    supervisor: Child,
    log: PathBuf,
}

impl ServerProcess {
    /// Starts a command line with its log in `folder`, as `NAME.log`; an older log of the same name is continued.
    pub(crate) fn start(name: &str, command: &[OsString], folder: &DataFolder) -> Result<Self, TestbedError> {
        let mut supervisor = shell(SUPERVISOR, "testbed-supervisor");
        supervisor.args(command);
        Self::supervise(name, supervisor, folder)
    }

    /// Starts a supervisor: a shell that ends what it started, and then itself, when its standard input closes.
    pub(crate) fn supervise(name: &str, mut supervisor: Command, folder: &DataFolder) -> Result<Self, TestbedError> {
        let log = folder.path().join(format!("{name}.log"));
        let failed = |source| TestbedError::Process { program: name.to_owned(), source };
        let supervisor = supervisor
            .env("PATH", path())
            .stdin(Stdio::piped())
            .stdout(folder.hold().map_err(failed)?)
            .stderr(File::options().create(true).append(true).open(&log).map_err(TestbedError::write(&log))?)
            .spawn()
            .map_err(failed)?;
        Ok(Self { name: name.to_owned(), supervisor, log })
    }

    /// What it was started as.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// How the server ended, if it has.
    pub(crate) fn ended(&mut self) -> Result<Option<ExitStatus>, TestbedError> {
        let name = &self.name;
        self.supervisor.try_wait().map_err(|source| TestbedError::Process { program: name.clone(), source })
    }

    /// Where the log is.
    pub(crate) fn log_path(&self) -> PathBuf {
        self.log.clone()
    }

    /// The last lines of the log.
    pub(crate) fn log(&self) -> String {
        tail(&self.log, LOG_LINES)
    }

    /// Kills the server and waits until it is gone. Does nothing the second time.
    pub(crate) fn kill(&mut self) {
        self.supervisor.stdin = None;
        // An error would mean that the supervisor was already waited for.
        let _ = self.supervisor.wait();
    }
}

impl Drop for ServerProcess {
    fn drop(&mut self) {
        self.kill();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sh(folder: &DataFolder, script: &str) -> ServerProcess {
        ServerProcess::start("sh", &["/bin/sh".into(), "-c".into(), script.into()], folder).unwrap()
    }

    /// Not `Child::wait`: it closes standard input first, and so kills the server.
    fn end(server: &mut ServerProcess) -> ExitStatus {
        loop {
            if let Some(status) = server.ended().unwrap() {
                return status;
            }
            std::thread::yield_now();
        }
    }

    #[test]
    fn the_end_of_a_server_is_noticed_with_its_status_and_log() {
        let folder = DataFolder::create().unwrap();
        let mut server = sh(&folder, "echo out; echo err >&2; exit 7");
        assert_eq!(end(&mut server).code(), Some(7));
        assert_eq!(server.log(), "out\nerr");
    }

    #[test]
    fn a_program_that_is_not_there_says_so() {
        let folder = DataFolder::create().unwrap();
        let mut server = ServerProcess::start("absent", &[folder.path().join("absent").into()], &folder).unwrap();
        assert_eq!(end(&mut server).code(), Some(127));
        assert!(server.log().contains("absent"), "{}", server.log());
    }

    #[test]
    fn dropping_kills_the_server_and_then_removes_the_folder() {
        let folder = DataFolder::create().unwrap();
        let path = folder.path().to_owned();
        // Writes for as long as it lives: were it alive while the folder is removed, files would be left.
        let script = format!("i=0; while :; do i=$((i+1)); : > {}/$i; done", path.display());
        let server = sh(&folder, &script);
        while !path.join("10").exists() {
            std::thread::yield_now();
        }
        drop(server);
        assert!(path.exists());
        drop(folder);
        assert!(!path.exists());
    }

    #[test]
    fn the_folder_waits_for_a_supervisor_that_is_still_there() {
        let folder = DataFolder::create().unwrap();
        let path = folder.path().to_owned();
        let server = sh(&folder, "exec sleep 600");
        let waiting = std::thread::spawn(move || drop(folder));
        assert!(path.exists());
        drop(server);
        waiting.join().unwrap();
        assert!(!path.exists());
    }
}
