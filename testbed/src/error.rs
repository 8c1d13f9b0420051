//! What can go wrong with a test server.

use std::path::PathBuf;
use std::process::ExitStatus;
use std::time::Duration;

use crate::assets::AssetsError;

/// Why a test server is not there or does not answer.
#[derive(Debug, thiserror::Error)]
pub enum TestbedError {
    /// A program could not be found or built.
    #[error(transparent)]
    Assets(#[from] AssetsError),
    /// A program of the operating system is missing.
    #[error("a node cannot run here: {0}")]
    Packages(#[from] crate::packages::PackagesError),
    /// The certificate authority of the server could not be made.
    #[error("cannot make the test server's certificates: {0}")]
    Certificates(#[from] rcgen::Error),
    /// A file of the test server could not be written.
    #[error("cannot write {}: {source}", path.display())]
    Write {
        /// The file or folder.
        path: PathBuf,
        /// The operating system's answer.
        source: std::io::Error,
    },
    /// The kubeconfig could not be written as YAML.
    #[error("cannot write the kubeconfig: {0}")]
    Kubeconfig(#[from] serde_saphyr::SerializeError),
    /// The API server's URL is malformed.
    #[error("cannot make the API server's URL: {0}")]
    Url(#[from] http::uri::InvalidUri),
    /// No loopback port could be reserved.
    #[error("cannot reserve a loopback port: {0}")]
    Port(std::io::Error),
    /// A process could not be started or waited for.
    #[error("cannot run {program}: {source}")]
    Process {
        /// The program, or `sh` for the shell that removes the data folder.
        program: String,
        /// The operating system's answer.
        source: std::io::Error,
    },
    /// A server ended before it was ready.
    #[error("{program} ended before it was ready ({status}); the last lines of its log:\n{log}")]
    Ended {
        /// Which server.
        program: String,
        /// How it ended.
        status: ExitStatus,
        /// The last lines of its log.
        log: String,
    },
    /// A server was not ready in time.
    #[error("{program} was not ready after {} s (last answer: {answer}); the last lines of its log:\n{log}", bound.as_secs())]
    NotReady {
        /// Which server.
        program: String,
        /// How long it was given.
        bound: Duration,
        /// What it said when it was asked last.
        answer: String,
        /// The last lines of its log.
        log: String,
    },
    /// This machine cannot run nodes.
    #[error("a node cannot run here: {0}")]
    Unfit(String),
    /// A command that was to finish failed.
    #[error("{command} failed ({status}): {output}")]
    Command {
        /// The command, without what might be long.
        command: String,
        /// How it ended.
        status: ExitStatus,
        /// What it printed.
        output: String,
    },
    /// An image archive could not be written.
    #[error("cannot write the image {name}: {source}")]
    Image {
        /// Name of the image.
        name: String,
        /// The operating system's answer.
        source: std::io::Error,
    },
    /// A node was not ready in time.
    #[error("node {node} was not ready after {} s: {answer}; the last lines of its kubelet's log:\n{log}", bound.as_secs())]
    NodeNotReady {
        /// Name of the node.
        node: String,
        /// How long it was given.
        bound: Duration,
        /// What the kubelet reports.
        answer: String,
        /// The last lines of the kubelet's log.
        log: String,
    },
    /// A CustomResourceDefinition was not served in time.
    #[error("the CustomResourceDefinition {name} was not served after {} s: {answer}", bound.as_secs())]
    CrdNotServed {
        /// Name of the definition.
        name: String,
        /// How long it was given.
        bound: Duration,
        /// What the API server said when it was asked last.
        answer: String,
    },
    /// There is no such user among [`Options::users`](crate::Options::users).
    #[error("the test server has no user {0:?}: name it in Options::users")]
    UnknownUser(String),
    /// The API server answered a TokenRequest without a token.
    #[error("the test server issued no token for {0}")]
    NoToken(String),
    /// The API server refused a request, or it could not be sent.
    #[error("a request to the test server failed: {}", reason(.0))]
    Kube(#[source] Box<kube::Error>),
}

impl From<kube::Error> for TestbedError {
    fn from(error: kube::Error) -> Self {
        Self::Kube(Box::new(error))
    }
}

impl TestbedError {
    pub(crate) fn write(path: impl Into<PathBuf>) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.into();
        move |source| Self::Write { path, source }
    }
}

/// What the API server said, where it said something: the error's own text repeats that as a dump of the whole Status.
fn reason(error: &kube::Error) -> String {
    match error {
        kube::Error::Api(status) => status.message.clone(),
        other => other.to_string(),
    }
}
