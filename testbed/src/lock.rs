//! A file that one process at a time holds, for what two must not do at once.

use std::fs::{File, TryLockError};
use std::io::{self, Write as _};
use std::path::Path;
use std::time::{Duration, Instant};

/// How often a long wait says that it is still waiting.
const HEARTBEAT: Duration = Duration::from_secs(15);
/// How often a lock that another process holds is tried again.
const POLL: Duration = Duration::from_millis(200);

/// Waits for the file, saying on stderr for which process, as in "another process that builds etcd". It is given back when it
/// is closed, however this process ends.
///
/// # Errors
/// When the file cannot be created or locked.
pub(crate) async fn hold(path: &Path, other: &str) -> io::Result<File> {
    let file = File::create(path)?;
    let started = Instant::now();
    let mut said = None;
    loop {
        match file.try_lock() {
            Ok(()) => return Ok(file),
            Err(TryLockError::Error(error)) => return Err(error),
            Err(TryLockError::WouldBlock) => {}
        }
        if said.is_none_or(|at: Instant| at.elapsed() >= HEARTBEAT) {
            let seconds = started.elapsed().as_secs();
            let _ = writeln!(io::stderr(), "testbed: waiting for {other} ({seconds} s so far)");
            said = Some(Instant::now());
        }
        tokio::time::sleep(POLL).await;
    }
}
