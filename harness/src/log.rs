//! What the operator has logged: kept in memory as it comes, so that a caller can wait for a line without polling.

use std::fs::File;
use std::io::{BufRead as _, BufReader, Read, Write as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::{Context as _, Result};
use tokio::sync::watch;

#[derive(Debug, Default)]
struct Lines {
    lines: Vec<String>,
    ended: bool,
}

/// The log of one process.
pub(crate) struct Log {
    lines: Arc<watch::Sender<Lines>>,
    path: Option<PathBuf>,
    file: Option<File>,
    reader: Option<JoinHandle<()>>,
}

impl Log {
    /// A log that is also appended to a file, if there is one.
    pub(crate) fn open(path: Option<&Path>) -> Result<Self> {
        let open = |path: &Path| {
            let file = File::options().create(true).append(true).open(path);
            file.with_context(|| format!("cannot write {}", path.display()))
        };
        let file = path.map(open).transpose()?;
        let lines = Arc::new(watch::Sender::new(Lines::default()));
        Ok(Self { lines, path: path.map(Path::to_owned), file, reader: None })
    }

    /// Begins to read what a process writes, until it ends.
    pub(crate) fn follow(&mut self, output: impl Read + Send + 'static) {
        let (lines, mut file) = (Arc::clone(&self.lines), self.file.take());
        self.reader = Some(std::thread::spawn(move || {
            for line in BufReader::new(output).lines().map_while(Result::ok) {
                if let Some(file) = &mut file {
                    // A full disk must not stop the operator.
                    let _ = writeln!(file, "{line}");
                }
                lines.send_modify(|log| log.lines.push(line));
            }
            lines.send_modify(|log| log.ended = true);
        }));
    }

    /// The first line with `text` in it; none if the process ended, or time was up, without one.
    pub(crate) async fn find(&self, text: &str, within: Duration) -> Option<String> {
        let find = |log: &Lines| log.lines.iter().find(|line| line.contains(text)).cloned();
        let mut seen = self.lines.subscribe();
        let waited = tokio::time::timeout(within, seen.wait_for(|log| log.ended || find(log).is_some())).await;
        waited.ok()?.ok().and_then(|log| find(&log))
    }

    /// Waits until the process has closed its log, which it does when it ends.
    pub(crate) async fn ended(&self) {
        // An error would mean that the sender is gone, which this holds.
        let _ = self.lines.subscribe().wait_for(|log| log.ended).await;
    }

    /// Everything so far.
    pub(crate) fn text(&self) -> String {
        self.lines.borrow().lines.join("\n")
    }

    /// The last lines.
    pub(crate) fn tail(&self, lines: usize) -> String {
        let log = self.lines.borrow();
        log.lines[log.lines.len().saturating_sub(lines)..].join("\n")
    }

    /// The file that it is appended to.
    pub(crate) fn path(&self) -> Option<&Path> {
        self.path.as_deref()
    }

    /// Waits until all that a process wrote before its end has been read.
    pub(crate) fn close(&mut self) {
        if let Some(reader) = self.reader.take() {
            let _ = reader.join();
        }
    }
}
