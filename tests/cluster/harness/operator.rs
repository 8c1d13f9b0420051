//! The real operator as a process of its own, with its log at hand.

use std::io::{BufRead as _, BufReader};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use tokio::sync::watch;

use super::{BOUND, Link};

/// Lines of the log that a failure shows.
const TAIL: usize = 40;

/// The program under test.
pub const PROGRAM: &str = env!("CARGO_BIN_EXE_managed-redis-operator");

/// What the operator wrote to stderr so far.
#[derive(Debug, Default)]
struct Log {
    lines: Vec<String>,
    ended: bool,
}

/// A running operator. Dropping it kills it, waits for its end, and shows its log if the test failed.
pub struct Operator {
    child: Child,
    log: Arc<watch::Sender<Log>>,
    reader: Option<JoinHandle<()>>,
}

/// The program without anything of this process's environment that could change what it does.
pub fn command() -> Command {
    without_environment(Command::new(PROGRAM))
}

/// The same in a network of its own.
fn command_in(link: &Link) -> Command {
    let mut command = Command::new("ip");
    command.args(["netns", "exec", link.namespace(), PROGRAM]);
    without_environment(command)
}

fn without_environment(mut command: Command) -> Command {
    for (name, _) in std::env::vars_os() {
        let text = name.to_string_lossy();
        let foreign = ["MRO_", "KAKAOCLOUD_", "NCLOUD_", "KUBE", "RUST_LOG"];
        if foreign.iter().any(|prefix| text.starts_with(prefix)) {
            command.env_remove(&name);
        }
    }
    command.stdin(Stdio::null());
    command
}

impl Operator {
    /// Starts `managed-redis-operator run` with these flags beside those that every test needs.
    pub fn spawn(kubeconfig: &Path, flags: &[String], link: Option<&Link>) -> Self {
        Self::spawn_by(link.map_or_else(command, command_in), kubeconfig, flags)
    }

    /// As [`Operator::spawn`], with so many open files, at first and at most (`ulimit -Sn` and `-Hn`).
    pub fn spawn_with_files(soft: u32, hard: u32, kubeconfig: &Path, flags: &[String]) -> Self {
        let mut shell = Command::new("sh");
        let script = format!("ulimit -Sn {soft} && ulimit -Hn {hard} && exec \"$0\" \"$@\"");
        shell.args(["-c", &script, PROGRAM]);
        Self::spawn_by(without_environment(shell), kubeconfig, flags)
    }

    fn spawn_by(mut command: Command, kubeconfig: &Path, flags: &[String]) -> Self {
        command.env("KUBECONFIG", kubeconfig).arg("run").args(["--admin-addr", "127.0.0.1:0"]).args(flags);
        let mut child = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().expect("the operator starts");
        let stderr = child.stderr.take().expect("stderr is piped");
        let log = Arc::new(watch::Sender::new(Log::default()));
        let writer = Arc::clone(&log);
        let reader = std::thread::spawn(move || {
            for line in BufReader::new(stderr).lines().map_while(Result::ok) {
                writer.send_modify(|log| log.lines.push(line));
            }
            writer.send_modify(|log| log.ended = true);
        });
        Self { child, log, reader: Some(reader) }
    }

    /// The first line that has `text` in it, waited for.
    pub async fn logged(&self, text: &str) -> String {
        let find = |log: &Log| log.lines.iter().find(|line| line.contains(text)).cloned();
        let mut seen = self.log.subscribe();
        let waited = tokio::time::timeout(BOUND, seen.wait_for(|log| log.ended || find(log).is_some())).await;
        let found = waited.ok().and_then(Result::ok).and_then(|log| find(&log));
        found.unwrap_or_else(|| panic!("the operator never logged {text:?}; its log ends with\n{}", self.tail()))
    }

    /// How many sockets it has open.
    #[cfg(target_os = "linux")]
    pub fn sockets(&self) -> usize {
        let open = std::fs::read_dir(format!("/proc/{}/fd", self.child.id())).expect("its open files can be listed");
        let targets = open.flatten().filter_map(|file| std::fs::read_link(file.path()).ok());
        targets.filter(|target| target.to_string_lossy().starts_with("socket:")).count()
    }

    /// The whole log so far.
    pub fn log(&self) -> String {
        self.log.borrow().lines.join("\n")
    }

    /// The end of the log, for failures.
    pub fn tail(&self) -> String {
        let log = self.log.borrow();
        log.lines[log.lines.len().saturating_sub(TAIL)..].join("\n")
    }

    /// Where /metrics, /healthz and /readyz are.
    pub async fn admin(&self) -> SocketAddr {
        let line = self.logged("starting").await;
        let word = line.split_whitespace().find_map(|word| word.strip_prefix("admin="));
        word.and_then(|word| word.parse().ok()).unwrap_or_else(|| panic!("no admin address in {line}"))
    }

    /// Status and body of a page of the admin server.
    pub async fn page(&self, path: &str) -> (u16, String) {
        let url = format!("http://{}{path}", self.admin().await);
        let client = reqwest::Client::builder().no_proxy().build().expect("a client");
        let answer = client.get(url).send().await.expect("the admin server answers");
        (answer.status().as_u16(), answer.text().await.expect("a body"))
    }

    /// Waits until all objects are known.
    pub async fn ready(&self) {
        self.logged("watching; all objects are known").await;
    }

    /// Sends SIGTERM.
    pub fn terminate(&self) {
        self.signal("TERM");
    }

    /// Sends a signal, such as STOP.
    pub fn signal(&self, name: &str) {
        let kill = format!("kill -{name} {}", self.child.id());
        let sent = Command::new("sh").args(["-c", &kill]).status().expect("sh runs");
        assert!(sent.success(), "{kill}");
    }

    /// The exit status, if the process ends within `bound`.
    pub async fn ended(&mut self, bound: Duration) -> ExitStatus {
        let mut seen = self.log.subscribe();
        let ended = tokio::time::timeout(bound, seen.wait_for(|log| log.ended)).await.is_ok();
        assert!(ended, "the operator still ran after {bound:?}; its log ends with\n{}", self.tail());
        // Its stderr is closed, so it is gone, or about to be.
        self.child.wait().expect("the operator can be waited for")
    }
}

impl Drop for Operator {
    fn drop(&mut self) {
        // Killing fails only if it has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
        if let Some(reader) = self.reader.take() {
            let _ = reader.join();
        }
        if std::thread::panicking() {
            eprintln!("--- the operator's log ends with ---\n{}\n---", self.tail());
        }
    }
}
