//! The real operator, for tests: as in the harness, but what does not succeed fails the test.

use std::net::SocketAddr;
use std::ops::Deref;
use std::path::Path;
use std::process::{Command, ExitStatus};
use std::time::Duration;

use harness::{OperatorCommand, clean_command};

/// The program under test.
const PROGRAM: &str = env!("CARGO_BIN_EXE_managed-redis-operator");

/// Its path.
pub(super) fn program() -> &'static Path {
    Path::new(PROGRAM)
}

/// The program, for another subcommand than `run`.
pub(crate) fn command() -> Command {
    clean_command(PROGRAM)
}

/// A running operator.
pub(crate) struct TestOperator(harness::Operator);

impl Deref for TestOperator {
    type Target = harness::Operator;

    fn deref(&self) -> &harness::Operator {
        &self.0
    }
}

impl TestOperator {
    /// Starts it.
    pub(crate) fn start(command: OperatorCommand) -> Self {
        Self(command.start().expect("the operator starts"))
    }

    /// The first line that has `text` in it, waited for.
    pub(crate) async fn logged(&self, text: &str) -> String {
        self.0.logged(text).await.unwrap_or_else(|error| panic!("{error:#}"))
    }

    /// How many sockets it has open.
    #[cfg(target_os = "linux")]
    pub(crate) fn sockets(&self) -> usize {
        let open = std::fs::read_dir(format!("/proc/{}/fd", self.id())).expect("its open files can be listed");
        let targets = open.flatten().filter_map(|file| std::fs::read_link(file.path()).ok());
        targets.filter(|target| target.to_string_lossy().starts_with("socket:")).count()
    }

    /// Where /metrics, /healthz and /readyz are.
    pub(crate) async fn admin(&self) -> SocketAddr {
        self.0.admin().await.unwrap_or_else(|error| panic!("{error:#}"))
    }

    /// Status and body of a page of the admin server.
    pub(crate) async fn page(&self, path: &str) -> (u16, String) {
        self.0.page(path).await.unwrap_or_else(|error| panic!("{error:#}"))
    }

    /// Waits until it knows all objects.
    pub(crate) async fn ready(&self) {
        self.0.ready().await.unwrap_or_else(|error| panic!("{error:#}"));
    }

    /// Sends SIGTERM.
    pub(crate) fn terminate(&mut self) {
        self.0.terminate().expect("a signal can be sent");
    }

    /// Stops it where it is.
    pub(crate) fn pause(&mut self) {
        self.0.pause().expect("a signal can be sent");
    }

    /// Lets it go on.
    pub(crate) fn resume(&mut self) {
        self.0.resume().expect("a signal can be sent");
    }

    /// The exit status, if the process ends within `bound`.
    pub(crate) async fn ended(&mut self, bound: Duration) -> ExitStatus {
        self.0.ended_within(bound).await.unwrap_or_else(|error| panic!("{error:#}"))
    }
}
