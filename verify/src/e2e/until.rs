//! Waiting for what should come true.

use std::time::{Duration, Instant};

/// Pause between two looks.
const POLL: Duration = Duration::from_millis(200);

/// Something did not come true.
#[derive(Debug, thiserror::Error)]
#[error("{what}: not within {} s; {last}", within.as_secs())]
pub(super) struct NotInTime {
    /// What was waited for.
    pub what: String,
    within: Duration,
    /// How it stood at the end.
    pub last: String,
}

/// What one look found: the value that was waited for, or how it stands instead.
pub(super) type Look<T> = anyhow::Result<Result<T, String>>;

/// Looks until it is so.
///
/// # Errors
/// [`NotInTime`] with how it stood last; the error of a look at once.
pub(super) async fn until<T, F>(what: &str, within: Duration, mut look: impl FnMut() -> F) -> anyhow::Result<T>
where
    F: Future<Output = Look<T>>,
{
    let started = Instant::now();
    loop {
        let last = match look().await? {
            Ok(found) => return Ok(found),
            Err(last) => last,
        };
        if started.elapsed() >= within {
            return Err(NotInTime { what: what.to_owned(), within, last }.into());
        }
        tokio::time::sleep(POLL).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_never_comes_true_says_how_it_stands() {
        let error = until("the pod is ready", Duration::ZERO, || {
            std::future::ready(anyhow::Ok(Err::<(), _>("it is Pending".to_owned())))
        })
        .await
        .unwrap_err();
        assert_eq!(error.to_string(), "the pod is ready: not within 0 s; it is Pending");
    }
}
