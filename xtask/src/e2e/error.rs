//! What can go wrong, and waiting for what should come true.

use std::time::{Duration, Instant};

use testbed::{AssetsError, TestbedError};

use crate::chart::ChartError;
use crate::demo::manifests::ManifestError;
use crate::image::ImageError;

/// Pause between two looks.
const POLL: Duration = Duration::from_millis(200);

/// Why a step failed.
#[derive(Debug, thiserror::Error)]
pub enum E2eError {
    /// The runtime or the signal handlers.
    #[error("cannot prepare the tests: {0}")]
    Prepare(#[from] std::io::Error),
    /// The cluster.
    #[error(transparent)]
    Testbed(#[from] TestbedError),
    /// A program is neither there nor can be built.
    #[error(transparent)]
    Assets(#[from] AssetsError),
    /// An image.
    #[error(transparent)]
    Image(#[from] ImageError),
    /// Helm, or the chart.
    #[error(transparent)]
    Chart(#[from] ChartError),
    /// A manifest.
    #[error(transparent)]
    Manifest(#[from] ManifestError),
    /// The kubeconfig cannot be used.
    #[error("the kubeconfig: {0}")]
    Kubeconfig(String),
    /// The API server refused a request, or did not answer.
    #[error("{what}: {}", crate::demo::manifests::sentence(source))]
    Kube {
        /// What was asked for.
        what: String,
        /// Its answer.
        source: Box<kube::Error>,
    },
    /// The fake cloud's admin API did not do as asked.
    #[error("the fake cloud's admin API: {0}")]
    Cloud(String),
    /// kubectl refused.
    #[error("kubectl {arguments}: {output}")]
    Kubectl {
        /// What it was called with.
        arguments: String,
        /// What it printed.
        output: String,
    },
    /// Something is not as promised.
    #[error("{0}")]
    Wrong(String),
    /// Something did not come true.
    #[error("{what}: not within {} s; {last}", within.as_secs())]
    NotInTime {
        /// What was waited for.
        what: String,
        /// How long.
        within: Duration,
        /// How it stood at the end.
        last: String,
    },
    /// Ctrl-C.
    #[error("interrupted")]
    Interrupted,
}

impl E2eError {
    /// Says what was asked of the API server when it refused.
    pub fn kube(what: impl Into<String>) -> impl FnOnce(kube::Error) -> Self {
        let what = what.into();
        move |source| Self::Kube { what, source: Box::new(source) }
    }
}

/// `Ok` if it holds, else the sentence.
pub fn ensure(holds: bool, otherwise: impl FnOnce() -> String) -> Result<(), E2eError> {
    if holds { Ok(()) } else { Err(E2eError::Wrong(otherwise())) }
}

/// What one look found: the value that was waited for, or how it stands instead.
pub type Look<T> = Result<Result<T, String>, E2eError>;

/// Looks until it is so.
///
/// # Errors
/// [`E2eError::NotInTime`] with how it stood last; the error of a look at once.
pub async fn until<T, F>(what: &str, within: Duration, mut look: impl FnMut() -> F) -> Result<T, E2eError>
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
            return Err(E2eError::NotInTime { what: what.to_owned(), within, last });
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
            std::future::ready(Ok::<Result<(), String>, E2eError>(Err("it is Pending".to_owned())))
        })
        .await
        .unwrap_err();
        assert_eq!(error.to_string(), "the pod is ready: not within 0 s; it is Pending");
    }
}
