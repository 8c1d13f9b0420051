//! The operator processes of one run: started, killed, paused and resumed, each with a proxy of its own.

use std::path::PathBuf;
use std::sync::Arc;

use anyhow::Context as _;
use harness::{Operator, OperatorCommand};
use serde_json::json;

use super::proxy::{OperatorProxy, Upstream};
use super::write_log::WriteLog;

/// What all operators of a run are started with.
#[derive(Clone)]
pub(super) struct OperatorSetup {
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
pub(super) struct ProxiedOperator {
    /// Its proxy.
    pub proxy: OperatorProxy,
    operator: Operator,
    state: OperatorState,
}

/// What an operator process is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum OperatorState {
    /// It runs.
    Running,
    /// It was paused and may be resumed.
    Paused,
    /// It was killed.
    Killed,
}

impl ProxiedOperator {
    /// Starts an operator of its own, with a proxy of its own.
    ///
    /// # Errors
    /// When there is no port, or a file or a process cannot be made.
    pub(super) async fn start(setup: &OperatorSetup, number: usize, write_log: Arc<WriteLog>) -> anyhow::Result<Self> {
        let proxy = OperatorProxy::start(number, write_log, setup.upstream.clone()).await;
        let proxy = proxy.context("cannot start the operator's proxy")?;
        let kubeconfig = setup.folder.join(format!("kubeconfig-{number}"));
        let text = self::kubeconfig(&proxy.url(), &setup.namespace);
        std::fs::write(&kubeconfig, text).with_context(|| format!("cannot write {}", kubeconfig.display()))?;
        let command =
            OperatorCommand::new(&setup.program, &kubeconfig).namespace(&setup.namespace).clouds(&proxy.url());
        let command = command.flags(["--leader-election=false"]).in_own_group();
        let operator = command.log_to(setup.folder.join(format!("operator-{number}.log"))).start()?;
        Ok(Self { proxy, operator, state: OperatorState::Running })
    }

    /// What it is doing.
    pub(super) fn state(&self) -> OperatorState {
        self.state
    }

    /// Whether it has ended without being killed.
    ///
    /// # Errors
    /// When the operating system does not say.
    pub(super) fn ended_by_itself(&mut self) -> anyhow::Result<bool> {
        Ok(self.state != OperatorState::Killed && self.operator.exit_status()?.is_some())
    }

    /// SIGKILL; it is gone when this returns.
    ///
    /// # Errors
    /// When the operating system refuses.
    pub(super) fn kill(&mut self) -> anyhow::Result<()> {
        if self.state != OperatorState::Killed {
            self.state = OperatorState::Killed;
            self.operator.kill().context("cannot kill the operator")?;
        }
        Ok(())
    }

    /// SIGSTOP.
    ///
    /// # Errors
    /// When the operating system refuses.
    pub(super) fn pause(&mut self) -> anyhow::Result<()> {
        self.state = OperatorState::Paused;
        self.operator.pause()
    }

    /// SIGCONT.
    ///
    /// # Errors
    /// When the operating system refuses.
    pub(super) fn resume(&mut self) -> anyhow::Result<()> {
        self.state = OperatorState::Running;
        self.operator.resume()
    }
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
