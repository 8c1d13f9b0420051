//! `cargo xtask image`: the operator as a static binary, and the image around it.

use anyhow::{Context as _, bail};
use clap::Args;
use delivery::image::{FAKE_CLOUD, OPERATOR, Profile, build, compile, folder_of, prepare, size_of};
use harness::terminal::{say, step};

/// What the operator's image may hold at most, in bytes, unpacked.
const LIMIT: u64 = 20_000_000;

/// Builds the operator's static binary and, with buildah, its image, and writes the image as an archive that docker load,
/// podman load and ctr images import take.
#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// Name of the image [default: managed-redis-operator:VERSION]
    #[arg(long)]
    name: Option<String>,
    /// Build for this target, which has to be installed, with a linker for it [default: this machine's]
    #[arg(long, value_name = "TRIPLE")]
    target: Option<String>,
    /// The fake cloud's image instead, which is for tests only
    #[arg(long)]
    fake_cloud: bool,
    /// Only prepare the folder that the Dockerfile is built from, for another builder than buildah
    #[arg(long)]
    prepare: bool,
}

/// Builds what the arguments say.
///
/// # Errors
/// When a program or a file is missing, or a build fails.
pub(crate) fn main(arguments: &Arguments) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.context("cannot start the runtime")?.block_on(run(arguments))
}

async fn run(arguments: &Arguments) -> anyhow::Result<()> {
    let content = if arguments.fake_cloud { FAKE_CLOUD } else { OPERATOR };
    step(format_args!("Building {} as a static binary", content.program()));
    let program = compile(content, Profile::Release, arguments.target.as_deref()).await?;
    let folder = prepare(content, &program, &folder_of(content))?;
    let size = size_of(&folder)?;
    say(format_args!("    {} ({:.1} MB with everything that goes into the image)", folder.display(), megabytes(size)));
    if content == OPERATOR && size > LIMIT {
        bail!("the image holds {size} bytes, more than the {LIMIT} it may hold");
    }
    if arguments.prepare {
        return Ok(());
    }
    step("Building the image with buildah");
    let name = arguments.name.clone().unwrap_or_else(|| content.name(env!("CARGO_PKG_VERSION")));
    let image = build(content, &folder, &name).await?;
    say(format_args!("    {} in {}", image.name, image.archive.display()));
    Ok(())
}

#[allow(clippy::cast_precision_loss, reason = "a figure to read")]
fn megabytes(bytes: u64) -> f64 {
    bytes as f64 / 1e6
}
