//! `cargo xtask release`: what a tag becomes, as files. The release workflow packages with it and pushes with `.ci/publish`, in
//! a job that builds nothing; `rehearse` runs the same steps against a registry on this machine and looks at what came of them.

mod chart;
mod image;
mod manifest;
mod package;
mod rehearsal;
mod version;

use anyhow::Context as _;
use clap::{Args, Subcommand};

use harness::terminal::say;

/// Publishes a release, or rehearses that.
#[derive(Debug, Args)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    action: ReleaseAction,
}

#[derive(Debug, Subcommand)]
enum ReleaseAction {
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

/// Does what the arguments say.
///
/// # Errors
/// When something cannot be published, or is not what it should be.
pub(crate) fn main(arguments: &Arguments) -> anyhow::Result<()> {
    let runtime =
        tokio::runtime::Builder::new_multi_thread().enable_all().build().context("cannot prepare the release")?;
    runtime.block_on(async {
        match &arguments.action {
            ReleaseAction::Version { tag } => version::agreed(tag.as_deref()).map(say),
            ReleaseAction::Package(arguments) => package::main(arguments).await,
            ReleaseAction::Rehearse(arguments) => rehearsal::main(arguments).await,
        }
    })
}
