//! The operator processes of one run: started, killed, stopped and woken.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Arc;

use rustix::process::{Pid, Signal, kill_process};
use serde_json::json;
use tokio::process::{Child, Command};

use super::desk::Desk;
use super::proxy::{Proxy, Upstream};

/// Where the operators of a run start from.
#[derive(Clone)]
pub struct Home {
    /// The operator.
    pub program: PathBuf,
    /// Folder for kubeconfigs and logs.
    pub folder: PathBuf,
    /// The namespace that is watched, and that claims go to.
    pub namespace: String,
    /// Where the proxies lead.
    pub upstream: Upstream,
}

/// One operator process and the proxy that it talks through. Dropping it kills it.
pub struct Process {
    /// Its proxy.
    pub proxy: Proxy,
    child: Child,
    state: State,
}

/// What a process is at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// It runs.
    Running,
    /// It was stopped and may be woken.
    Stopped,
    /// It was killed.
    Killed,
}

impl Process {
    /// Starts an operator of its own, with a proxy of its own.
    ///
    /// # Errors
    /// When there is no port, or a file or a process cannot be made.
    pub async fn start(home: &Home, number: usize, desk: Arc<Desk>) -> io::Result<Self> {
        let proxy = Proxy::start(number, desk, home.upstream.clone()).await?;
        let kubeconfig = home.folder.join(format!("kubeconfig-{number}"));
        std::fs::write(&kubeconfig, self::kubeconfig(&proxy.url(), &home.namespace))?;
        let log = home.folder.join(format!("operator-{number}.log"));
        let child = command(home, &kubeconfig, &proxy.url(), File::create(&log)?)?.spawn()?;
        Ok(Self { proxy, child, state: State::Running })
    }

    /// What it is at.
    pub fn state(&self) -> State {
        self.state
    }

    /// Whether it has ended although nobody killed it.
    ///
    /// # Errors
    /// When the operating system does not say.
    pub fn ended_by_itself(&mut self) -> io::Result<bool> {
        Ok(self.state != State::Killed && self.child.try_wait()?.is_some())
    }

    /// SIGKILL; it is gone when this returns.
    ///
    /// # Errors
    /// When the operating system refuses.
    pub async fn kill(&mut self) -> io::Result<()> {
        if self.state == State::Killed {
            return Ok(());
        }
        self.state = State::Killed;
        self.child.kill().await
    }

    /// SIGSTOP.
    ///
    /// # Errors
    /// When the operating system refuses.
    pub fn stop(&mut self) -> io::Result<()> {
        self.state = State::Stopped;
        self.signal(Signal::STOP)
    }

    /// SIGCONT.
    ///
    /// # Errors
    /// When the operating system refuses.
    pub fn wake(&mut self) -> io::Result<()> {
        self.state = State::Running;
        self.signal(Signal::CONT)
    }

    fn signal(&self, signal: Signal) -> io::Result<()> {
        let pid = self.child.id().and_then(|id| i32::try_from(id).ok()).and_then(Pid::from_raw);
        // None: it has ended and was waited for.
        pid.map_or(Ok(()), |pid| Ok(kill_process(pid, signal)?))
    }
}

fn command(home: &Home, kubeconfig: &Path, url: &str, log: File) -> io::Result<Command> {
    let mut command = Command::new(&home.program);
    command.args(["run", "--leader-election=false", "--admin-addr", "127.0.0.1:0"]);
    command.args(["--watch-namespace", &home.namespace, "--operator-namespace", &home.namespace]);
    command.args(["--kakao-endpoint", url, "--kakao-iam-endpoint", url, "--ncp-endpoint", url]);
    // Nothing of the caller's surroundings decides about a run.
    command.env_clear().env("KUBECONFIG", kubeconfig).env("RUST_BACKTRACE", "1");
    command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
    command.process_group(0).kill_on_drop(true);
    Ok(command)
}

/// A kubeconfig (JSON is YAML) without any credential: the proxy has one.
fn kubeconfig(url: &str, namespace: &str) -> String {
    let name = "proxy";
    json!({
        "apiVersion": "v1", "kind": "Config", "current-context": name,
        "clusters": [{ "name": name, "cluster": { "server": url } }],
        "users": [{ "name": name, "user": {} }],
        "contexts": [{ "name": name, "context": { "cluster": name, "user": name, "namespace": namespace } }],
    })
    .to_string()
}
