//! A running operator: waited for, asked, paused, stopped and killed.

use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, ExitStatus};
use std::time::Duration;

use anyhow::{Context as _, Result, anyhow, bail};
use rustix::process::{Pid, Signal, kill_process};

use crate::WITHIN;
use crate::log::Log;

/// How long it may take to end after SIGTERM: somewhat less than the default grace period of a pod.
const STOP_WITHIN: Duration = Duration::from_secs(15);
/// Lines of the log that an error shows.
const TAIL: usize = 40;
/// What the operator logs once all objects are known, when /readyz turns to 200.
const READY: &str = "watching; all objects are known";

/// An operator process. Dropping it kills it and waits for its end; if that is because a test panics, its log is shown.
pub struct Operator {
    child: Child,
    log: Log,
}

impl Operator {
    pub(crate) fn new(mut child: Child, mut log: Log) -> Self {
        if let Some(stderr) = child.stderr.take() {
            log.follow(stderr);
        }
        Self { child, log }
    }

    /// The process ID.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Waits until it knows all objects and reconciles.
    ///
    /// # Errors
    /// When it does not within a minute, or ends.
    pub async fn ready(&self) -> Result<()> {
        self.logged(READY).await.map(drop)
    }

    /// The first line of its log that has `text` in it, waited for.
    ///
    /// # Errors
    /// When it does not come within a minute, or the process ends without it.
    pub async fn logged(&self, text: &str) -> Result<String> {
        let found = self.log.find(text, WITHIN).await;
        found.with_context(|| format!("the operator never logged {text:?}; its log ends with\n{}", self.tail()))
    }

    /// The whole log so far.
    pub fn log(&self) -> String {
        self.log.text()
    }

    /// The last lines of the log, for failures.
    pub fn tail(&self) -> String {
        self.log.tail(TAIL)
    }

    /// The file that the log is appended to, if one was asked for.
    pub fn log_file(&self) -> Option<&Path> {
        self.log.path()
    }

    /// Where /metrics, /healthz and /readyz are.
    ///
    /// # Errors
    /// When it never says so.
    pub async fn admin(&self) -> Result<SocketAddr> {
        let line = self.logged("starting").await?;
        let word = line.split_whitespace().find_map(|word| word.strip_prefix("admin="));
        word.and_then(|word| word.parse().ok()).with_context(|| format!("no admin address in {line}"))
    }

    /// Status and body of a page of the admin server.
    ///
    /// # Errors
    /// When it does not answer.
    pub async fn page(&self, path: &str) -> Result<(u16, String)> {
        let url = format!("http://{}{path}", self.admin().await?);
        let client = reqwest::Client::builder().no_proxy().build()?;
        let answer = client.get(&url).send().await.with_context(|| format!("no answer from {url}"))?;
        Ok((answer.status().as_u16(), answer.text().await?))
    }

    /// Sends SIGTERM, as Kubernetes does when a pod is to end.
    ///
    /// # Errors
    /// When the operating system refuses.
    pub fn terminate(&mut self) -> Result<()> {
        self.signal(Signal::TERM)
    }

    /// Stops it where it is (SIGSTOP), until [`Operator::resume`].
    ///
    /// # Errors
    /// When the operating system refuses.
    pub fn pause(&mut self) -> Result<()> {
        self.signal(Signal::STOP)
    }

    /// Lets it go on after [`Operator::pause`] (SIGCONT).
    ///
    /// # Errors
    /// When the operating system refuses.
    pub fn resume(&mut self) -> Result<()> {
        self.signal(Signal::CONT)
    }

    /// Ends it without warning (SIGKILL); it is gone when this returns.
    ///
    /// # Errors
    /// When the operating system refuses.
    pub fn kill(&mut self) -> io::Result<ExitStatus> {
        self.child.kill()?;
        let status = self.child.wait()?;
        self.log.close();
        Ok(status)
    }

    /// How it ended; none while it runs.
    ///
    /// # Errors
    /// When the operating system does not say.
    pub fn exit_status(&mut self) -> io::Result<Option<ExitStatus>> {
        self.child.try_wait()
    }

    /// Waits until it ends.
    ///
    /// # Errors
    /// When the operating system does not say how.
    pub async fn ended(&mut self) -> io::Result<ExitStatus> {
        self.log.ended().await;
        // Its stderr is closed, so it is gone, or about to be.
        self.child.wait()
    }

    /// Waits until it ends, for so long.
    ///
    /// # Errors
    /// When it still runs then.
    pub async fn ended_within(&mut self, bound: Duration) -> Result<ExitStatus> {
        match tokio::time::timeout(bound, self.ended()).await {
            Ok(status) => Ok(status?),
            Err(_) => Err(anyhow!("the operator still ran after {bound:?}; its log ends with\n{}", self.tail())),
        }
    }

    /// Stops it as Kubernetes does: SIGTERM, and SIGKILL when it does not end.
    ///
    /// # Errors
    /// When it had to be killed, or ended with another exit code than 0.
    pub async fn stop(mut self) -> Result<()> {
        self.terminate()?;
        match tokio::time::timeout(STOP_WITHIN, self.ended()).await {
            Ok(status) => match status? {
                status if status.success() => Ok(()),
                status => bail!("the operator ended badly after SIGTERM ({status})"),
            },
            Err(_) => {
                self.kill()?;
                bail!("the operator did not end within {} s after SIGTERM and was killed", STOP_WITHIN.as_secs())
            }
        }
    }

    fn signal(&mut self, signal: Signal) -> Result<()> {
        // One that has ended and was waited for has no process ID any more; another process may have it.
        if self.child.try_wait()?.is_some() {
            return Ok(());
        }
        let pid = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw).context("no process ID")?;
        kill_process(pid, signal).with_context(|| format!("cannot send {signal:?} to the operator"))
    }
}

impl Drop for Operator {
    fn drop(&mut self) {
        // Fails only if it has ended already.
        let _ = self.kill();
        self.log.close();
        if std::thread::panicking() {
            #[expect(clippy::print_stderr, reason = "a failed test shows what the operator did")]
            {
                eprintln!("--- the operator's log ends with ---\n{}\n---", self.tail());
            }
        }
    }
}
