//! The logs of the operator's pods, followed from their start so that none is lost with its pod; and what to look at when a
//! step failed.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::Duration;

use delivery::examples;
use futures::{AsyncBufReadExt as _, StreamExt as _, TryStreamExt as _};
use harness::terminal::say;
use harness::{describe, root, tail};
use k8s_openapi::api::core::v1::Pod;
use kube::api::{Api, ListParams, LogParams};
use kube::{Client, ResourceExt as _};
use tokio::io::AsyncWriteExt as _;
use tokio::task::JoinHandle;

use super::cluster::TestCluster;
use super::release;

/// Where the logs are kept, in the repository.
const FOLDER: &str = "target/e2e";
/// How often new containers are looked for.
const POLL: Duration = Duration::from_millis(250);
/// How many lines of a log are shown.
const LINES: usize = 25;

/// Follows the logs of all operator pods of a namespace, from now on. Ends when dropped.
pub(super) struct Logs {
    folder: PathBuf,
    follower: JoinHandle<()>,
}

impl Logs {
    /// Begins, with an empty folder.
    ///
    /// # Errors
    /// When the folder cannot be made.
    pub(super) fn follow(client: &Client) -> anyhow::Result<Self> {
        let folder = folder();
        if folder.exists() {
            std::fs::remove_dir_all(&folder)?;
        }
        std::fs::create_dir_all(&folder)?;
        let follower = tokio::spawn(follow_all(client.clone(), folder.clone()));
        Ok(Self { folder, follower })
    }

    /// The folder of the logs.
    pub(super) fn folder(&self) -> &Path {
        &self.folder
    }

    /// Every line of every log so far in which a request was refused for want of a right.
    ///
    /// # Errors
    /// When a log cannot be read.
    pub(super) fn forbidden(&self) -> anyhow::Result<Vec<String>> {
        let mut lines = Vec::new();
        for path in self.files()? {
            let text = String::from_utf8_lossy(&std::fs::read(&path)?).into_owned();
            let name = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
            lines.extend(text.lines().filter(|line| is_forbidden(line)).map(|line| format!("{name}: {line}")));
        }
        Ok(lines)
    }

    /// How many lines there are in how many logs.
    ///
    /// # Errors
    /// When a log cannot be read.
    pub(super) fn count(&self) -> anyhow::Result<(usize, usize)> {
        let files = self.files()?;
        let mut lines = 0;
        for path in &files {
            lines += String::from_utf8_lossy(&std::fs::read(path)?).lines().count();
        }
        Ok((lines, files.len()))
    }

    fn files(&self) -> anyhow::Result<Vec<PathBuf>> {
        let mut files = Vec::new();
        for entry in std::fs::read_dir(&self.folder)? {
            files.push(entry?.path());
        }
        files.retain(|path| path.extension().is_some_and(|extension| extension == "log"));
        files.sort();
        Ok(files)
    }
}

impl Drop for Logs {
    fn drop(&mut self) {
        self.follower.abort();
    }
}

/// Where the logs are kept.
pub(super) fn folder() -> PathBuf {
    root().join(FOLDER)
}

/// Whether a log line tells of a request that RBAC refused.
pub(super) fn is_forbidden(line: &str) -> bool {
    let line = line.to_lowercase();
    // That answer has the same code, but is about a namespace that goes, not about rights.
    line.contains("forbidden") && !line.contains("because it is being terminated")
}

async fn follow_all(client: Client, folder: PathBuf) {
    let pods: Api<Pod> = Api::namespaced(client, release::NAMESPACE);
    let mut followed = BTreeSet::new();
    let mut tasks = tokio::task::JoinSet::new();
    loop {
        // An API server that does not answer is noticed by the steps.
        let list = pods.list(&ListParams::default().labels(release::SELECTOR)).await.map(|list| list.items);
        for (pod, restarts) in list.unwrap_or_default().iter().filter_map(running) {
            if followed.insert((pod.clone(), restarts)) {
                let file = folder.join(format!("{pod}-{restarts}.log"));
                tasks.spawn(follow_one(pods.clone(), pod, file));
            }
        }
        tokio::time::sleep(POLL).await;
    }
}

/// Name and restarts of a pod whose container has started.
fn running(pod: &Pod) -> Option<(String, i32)> {
    let status = pod.status.as_ref()?.container_statuses.as_ref()?.first()?;
    status.state.as_ref()?.running.as_ref()?;
    Some((pod.name_any(), status.restart_count))
}

async fn follow_one(pods: Api<Pod>, pod: String, path: PathBuf) {
    let params = LogParams { follow: true, ..LogParams::default() };
    let Ok(mut file) = tokio::fs::File::create(&path).await else { return };
    // The end of the stream is the end of the container.
    let Ok(stream) = pods.log_stream(&pod, &params).await else { return };
    let mut lines = stream.lines().into_stream();
    while let Some(Ok(line)) = lines.next().await {
        if file.write_all(format!("{line}\n").as_bytes()).await.is_err() || file.flush().await.is_err() {
            return;
        }
    }
}

/// Shows what a person would look at: pods, events, objects, the ends of the logs. What cannot be had is left out.
pub(super) async fn diagnose(cluster: &TestCluster, logs: Option<&Logs>) {
    let looks: [&[&str]; 5] = [
        &["get", "pods", "--all-namespaces", "--output=wide"],
        &["get", "managedredis", "--all-namespaces"],
        &["describe", "redisflushrequests", "--namespace", examples::NAMESPACE],
        &["describe", "pods", "--namespace", release::NAMESPACE],
        &["get", "events", "--all-namespaces", "--sort-by=.lastTimestamp"],
    ];
    for arguments in looks {
        let text = match cluster.kubectl(arguments).await {
            Ok(text) => text,
            Err(error) => describe(&error),
        };
        let all: Vec<&str> = text.lines().collect();
        let shown = all.get(all.len().saturating_sub(3 * LINES)..).unwrap_or_default();
        say(format_args!("--- kubectl {}\n{}", arguments.join(" "), shown.join("\n")));
    }
    let Some(logs) = logs else { return };
    for path in logs.files().unwrap_or_default() {
        say(format_args!("--- the last lines of {}\n{}", path.display(), tail(&path, LINES)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refused_request_is_recognised() {
        let line =
            r#"{"level":"ERROR","message":"secrets \"a\" is forbidden: User \"x\" cannot get resource \"secrets\""}"#;
        assert!(is_forbidden(line));
        assert!(!is_forbidden(r#"{"level":"INFO","message":"leading"}"#));
    }
}
