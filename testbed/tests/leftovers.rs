//! Nothing is left behind, however a server's owner ends.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, reason = "a test fails by panicking, in its helpers too")]

use std::io::{BufRead as _, BufReader};
use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use testbed::{ApiServer, Options};

/// How long what has lost its owner may take to disappear. It is a fraction of a second on an idle machine.
const GONE_WITHIN: Duration = Duration::from_secs(60);

/// Command lines of the processes that have to do with a server's data folder: the servers and the shells around them.
/// A process that has ended and waits for its parent to notice has no command line.
fn processes(folder: &Path) -> Vec<String> {
    let folder = folder.to_str().unwrap();
    let entries = std::fs::read_dir("/proc").unwrap().filter_map(Result::ok);
    let lines = entries.filter_map(|entry| std::fs::read(entry.path().join("cmdline")).ok());
    let lines = lines.map(|line| String::from_utf8_lossy(&line).replace('\0', " "));
    lines.filter(|line| line.contains(folder)).collect()
}

fn assert_running(folder: &Path) {
    let processes = processes(folder);
    for name in ["etcd ", "kube-apiserver ", "testbed-janitor ", "testbed-supervisor "] {
        assert!(processes.iter().any(|line| line.contains(name)), "no {name}among {processes:#?}");
    }
}

fn assert_gone(folder: &Path) {
    let processes = processes(folder);
    assert!(processes.is_empty(), "{processes:#?}");
    assert!(!folder.exists());
}

/// A process that owns a server, and the server's data folder.
struct Owner {
    process: Child,
    folder: PathBuf,
}

impl Owner {
    /// Returns when the server is ready.
    fn start() -> Self {
        let mut process = Command::new(env!("CARGO_BIN_EXE_testbed")).arg("up").stdout(Stdio::piped()).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(process.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let kubeconfig = line.trim().strip_prefix("export KUBECONFIG=").unwrap();
        let folder = Path::new(kubeconfig).parent().unwrap().to_owned();
        assert_running(&folder);
        Self { process, folder }
    }

    fn signal(&mut self, signal: Signal) -> std::process::ExitStatus {
        kill_process(Pid::from_child(&self.process), signal).unwrap();
        self.process.wait().unwrap()
    }
}

#[test]
fn sigkill_of_the_owner_ends_the_server() {
    let mut owner = Owner::start();
    let status = owner.signal(Signal::KILL);
    assert_eq!(status.signal(), Some(Signal::KILL.as_raw()));
    let started = Instant::now();
    while owner.folder.exists() || !processes(&owner.folder).is_empty() {
        assert!(started.elapsed() < GONE_WITHIN, "{:#?}", processes(&owner.folder));
        std::thread::sleep(Duration::from_millis(10));
    }
}

#[test]
fn ctrl_c_stops_the_server_before_its_owner_ends() {
    let mut owner = Owner::start();
    let status = owner.signal(Signal::INT);
    assert!(status.success(), "{status}");
    assert_gone(&owner.folder);
}

#[tokio::test]
async fn a_panic_with_a_server_in_hand_ends_the_server() {
    let server = ApiServer::start(Options::default()).await.unwrap();
    let folder = server.folder().to_owned();
    assert_running(&folder);
    let panicked = tokio::spawn(async move {
        let _server = server;
        panic!("as a failed assertion does");
    });
    assert!(panicked.await.unwrap_err().is_panic());
    assert_gone(&folder);
}
