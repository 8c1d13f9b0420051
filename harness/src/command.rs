//! The operator's command line, and the one environment that its processes get.

use std::ffi::OsStr;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result};

use crate::log::Log;
use crate::operator::Operator;

/// What a process inherits from this one: where programs are, and where a build for coverage writes.
const INHERITED: [&str; 2] = ["PATH", "LLVM_PROFILE_FILE"];

/// A command whose outcome does not depend on the caller's environment variables (flags of the operator, credentials,
/// proxies, a kubeconfig), and that reads nothing from the terminal.
pub fn clean_command(program: impl AsRef<OsStr>) -> Command {
    let mut command = Command::new(program);
    let inherited = INHERITED.into_iter().filter_map(|name| Some((name, std::env::var_os(name)?)));
    command.env_clear().envs(inherited).env("RUST_BACKTRACE", "1").stdin(Stdio::null());
    command
}

/// An operator that is about to be started.
#[derive(Clone, Debug)]
#[must_use = "it starts nothing until start() is called"]
pub struct OperatorCommand {
    program: PathBuf,
    wrapper: Vec<String>,
    kubeconfig: PathBuf,
    flags: Vec<String>,
    log_file: Option<PathBuf>,
    own_group: bool,
}

impl OperatorCommand {
    /// `PROGRAM run` with this kubeconfig, and an admin port that the operating system chooses.
    pub fn new(program: &Path, kubeconfig: &Path) -> Self {
        Self {
            program: program.to_owned(),
            wrapper: Vec::new(),
            kubeconfig: kubeconfig.to_owned(),
            flags: vec!["--admin-addr=127.0.0.1:0".to_owned()],
            log_file: None,
            own_group: false,
        }
    }

    /// Further flags.
    pub fn flags<F: Into<String>>(mut self, flags: impl IntoIterator<Item = F>) -> Self {
        self.flags.extend(flags.into_iter().map(Into::into));
        self
    }

    /// Watches this namespace alone, and keeps the Lease and the claims there.
    pub fn namespace(self, name: &str) -> Self {
        self.flags([format!("--watch-namespace={name}"), format!("--operator-namespace={name}")])
    }

    /// Sends the requests to both clouds to this base URL.
    pub fn clouds(self, url: &str) -> Self {
        let flags = ["--kakao-endpoint", "--kakao-iam-endpoint", "--ncp-endpoint"];
        self.flags(flags.map(|flag| format!("{flag}={url}")))
    }

    /// Another kubeconfig: of another identity, or by way of a proxy.
    pub fn kubeconfig(mut self, path: &Path) -> Self {
        path.clone_into(&mut self.kubeconfig);
        self
    }

    /// Starts it through another program, which gets the operator's command line as its last arguments and has to exec it,
    /// for signals go to that process: `ip netns exec NAME`.
    pub fn through<W: Into<String>>(mut self, wrapper: impl IntoIterator<Item = W>) -> Self {
        self.wrapper = wrapper.into_iter().map(Into::into).collect();
        self
    }

    /// Appends its log to a file, too, so that a person can follow it.
    pub fn log_to(mut self, path: PathBuf) -> Self {
        self.log_file = Some(path);
        self
    }

    /// In a process group of its own: Ctrl-C on the terminal then reaches this process alone, which has to stop the operator.
    pub fn in_own_group(mut self) -> Self {
        self.own_group = true;
        self
    }

    /// Starts the process. It is not ready then: [`Operator::ready`].
    ///
    /// # Errors
    /// When the log cannot be opened or the program cannot be started.
    pub fn start(self) -> Result<Operator> {
        let words: Vec<&OsStr> = self.wrapper.iter().map(OsStr::new).chain([self.program.as_os_str()]).collect();
        let mut command = clean_command(words.first().copied().unwrap_or_default());
        command.args(words.iter().skip(1)).arg("run").args(&self.flags).env("KUBECONFIG", &self.kubeconfig);
        command.stdout(Stdio::null()).stderr(Stdio::piped());
        if self.own_group {
            command.process_group(0);
        }
        let log = Log::open(self.log_file.as_deref())?;
        let child = command.spawn().with_context(|| format!("cannot run {}", self.program.display()))?;
        Ok(Operator::new(child, log))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A program in the operator's place.
    fn start(folder: &Path, script: &str) -> Operator {
        let log = folder.join("log");
        let shell = ["sh", "-c", script];
        OperatorCommand::new(Path::new("operator"), Path::new("none")).through(shell).log_to(log).start().unwrap()
    }

    #[tokio::test]
    async fn an_operator_that_ends_badly_is_noticed() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(start(folder.path(), "exit 3").ended().await.unwrap().code(), Some(3));
        // Without a handler SIGTERM ends it by the signal, which is no clean end.
        let stopped = start(folder.path(), "exec sleep 600").stop().await.unwrap_err();
        assert!(stopped.to_string().contains("ended badly after SIGTERM"), "{stopped}");
    }

    #[tokio::test]
    async fn what_it_logs_is_found_and_kept_in_the_file() {
        let folder = tempfile::tempdir().unwrap();
        let script = "echo 'starting admin=127.0.0.1:4711' >&2; echo $KUBECONFIG $HOME >&2; exec sleep 600";
        let mut operator = start(folder.path(), script);
        assert_eq!(operator.admin().await.unwrap().port(), 4711);
        assert_eq!(operator.logged("none").await.unwrap(), "none", "the caller's HOME is not passed on");
        operator.pause().unwrap();
        assert_eq!(operator.exit_status().unwrap(), None);
        operator.resume().unwrap();
        operator.kill().unwrap();
        operator.terminate().expect("a signal to one that has ended is no error");
        let missing = operator.logged("never").await.unwrap_err();
        assert!(missing.to_string().contains("never logged \"never\"") && missing.to_string().contains("starting"));
        assert_eq!(crate::tail(operator.log_file().unwrap(), 1), "none");
    }
}
