//! `cargo xtask release`: what a tag becomes, as files. The release workflow packages with it and pushes with `.ci/publish`, in
//! a job that builds nothing; `rehearse` runs the same steps against a registry on this machine and looks at what came of them.

mod chart;
mod manifest;
mod package;
mod rehearsal;
mod version;

use std::io;
use std::path::PathBuf;

use clap::{Args, Subcommand};
use testbed::TestbedError;
use testbed::packages::PackagesError;

use crate::chart::ChartError;
use crate::image::ImageError;
use crate::output::say;

/// Publishes a release, or rehearses that.
#[derive(Debug, Args)]
pub struct Arguments {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Print the version, if the package, the chart and the tag agree on it
    Version {
        /// The tag of the release, such as v0.1.0
        #[arg(long)]
        tag: Option<String>,
    },
    /// Write the image of several architectures, the chart that names it, and install.yaml
    Package(package::Arguments),
    /// Publish to a registry on this machine, pull it all again, and look whether it fits together
    Rehearse(rehearsal::Arguments),
}

/// Why there is no release.
#[derive(Debug, thiserror::Error)]
pub enum ReleaseError {
    /// The runtime.
    #[error("cannot prepare the release: {0}")]
    Prepare(#[source] io::Error),
    /// The versions differ.
    #[error("the versions differ: {0}")]
    Versions(String),
    /// A file cannot be read or written.
    #[error("cannot {what} {}: {source}", path.display())]
    Io {
        /// What was tried, as a verb.
        what: &'static str,
        /// The file.
        path: PathBuf,
        /// The operating system's answer.
        source: io::Error,
    },
    /// A file is not as it has to be to be published.
    #[error("{}: {reason}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// The image.
    #[error(transparent)]
    Image(#[from] ImageError),
    /// A program that the release is published with.
    #[error(transparent)]
    Packages(#[from] PackagesError),
    /// Helm, or the chart.
    #[error(transparent)]
    Chart(#[from] ChartError),
    /// The registry of the rehearsal.
    #[error(transparent)]
    Testbed(#[from] TestbedError),
    /// The registry does not answer.
    #[error("the registry: {0}")]
    Registry(#[from] reqwest::Error),
    /// What was published is not what it should be.
    #[error("{0}")]
    Wrong(String),
}

impl ReleaseError {
    fn io(what: &'static str, path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> Self {
        let path = path.into();
        move |source| Self::Io { what, path, source }
    }
}

/// Does what the arguments say.
///
/// # Errors
/// When something cannot be published, or is not what it should be.
pub fn main(arguments: &Arguments) -> Result<(), ReleaseError> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().map_err(ReleaseError::Prepare)?;
    runtime.block_on(async {
        match &arguments.action {
            Action::Version { tag } => version::agreed(tag.as_deref()).map(say),
            Action::Package(arguments) => package::main(arguments).await,
            Action::Rehearse(arguments) => rehearsal::main(arguments).await,
        }
    })
}
