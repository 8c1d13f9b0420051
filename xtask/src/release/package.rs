//! Everything that a release publishes, as files: nothing is pushed. `.ci/publish` pushes it.

use std::path::{Path, PathBuf};

use anyhow::Context as _;
use clap::Args;
use delivery::buildah::Buildah;
use delivery::helm::Helm;
use delivery::image::OPERATOR;
use harness::root;
use harness::terminal::{say, step};

use super::image::PublishedImage;
use super::manifest::with_line;
use super::{chart, version};

/// The manifests that are published, with the image's name in them.
const INSTALL: &str = "deploy/install.yaml";
/// The image of all architectures, as an OCI archive.
const IMAGE: &str = "image.tar";

/// Writes the image of several architectures, the chart that names it, and install.yaml.
#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// Where it will be pushed: the image as REGISTRY/managed-redis-operator, the chart below REGISTRY/charts
    #[arg(long)]
    registry: String,
    /// An archive that `cargo xtask image` wrote, for each architecture one
    #[arg(long = "image", value_name = "ARCHIVE", required = true)]
    images: Vec<PathBuf>,
    /// The tag of the release, which has to agree with the version
    #[arg(long)]
    tag: Option<String>,
    /// Where to write
    #[arg(long, default_value = "dist")]
    dist: PathBuf,
}

/// Packages what the arguments say.
///
/// # Errors
/// When the versions differ, or something cannot be built.
pub(super) async fn main(arguments: &Arguments) -> anyhow::Result<()> {
    let version = version::agreed(arguments.tag.as_deref())?;
    // Registries want lower case, owners on GitHub need not have it.
    let registry = arguments.registry.to_lowercase();
    package(&registry, &version, &arguments.images, &arguments.dist).await.map(drop)
}

/// Writes image, chart and manifests, in this order: what names something comes after it.
///
/// # Errors
/// When something cannot be built.
pub(super) async fn package(
    registry: &str,
    version: &str,
    archives: &[PathBuf],
    dist: &Path,
) -> anyhow::Result<PublishedImage> {
    std::fs::create_dir_all(dist).with_context(|| format!("cannot create {}", dist.display()))?;
    step("Packaging the image");
    let digest = write_image(archives, &dist.join(IMAGE)).await?;
    let repository = format!("{registry}/{}", OPERATOR.program());
    let image = PublishedImage { repository, version: version.to_owned(), digest };
    say(format_args!("    {}", image.name()));
    step("Packaging the chart");
    let chart = chart::package(&Helm::find().await?, &image, version, dist).await?;
    let manifests = write_manifests(&image, dist)?;
    say(format_args!("    {}\n    {}", chart.display(), manifests.display()));
    Ok(image)
}

/// The archives as one image in an OCI archive; the digest of its index.
async fn write_image(archives: &[PathBuf], path: &Path) -> anyhow::Result<String> {
    const LIST: &str = "localhost/release";
    let store = Buildah::create().await?;
    store.run(&["manifest", "create", LIST]).await?;
    for archive in archives {
        let id = store.run(&["pull", "--quiet", &format!("docker-archive:{}", archive.display())]).await?;
        store.run(&["manifest", "add", LIST, &id]).await?;
    }
    // An archive is added to, not replaced.
    if path.exists() {
        std::fs::remove_file(path).with_context(|| format!("cannot remove {}", path.display()))?;
    }
    let digest =
        tempfile::NamedTempFile::new().with_context(|| format!("cannot create {}", std::env::temp_dir().display()))?;
    let (file, destination) = (digest.path().to_string_lossy(), format!("oci-archive:{}", path.display()));
    let push = ["manifest", "push", "--all", "--quiet", "--format", "oci", "--digestfile", &file, LIST, &destination];
    store.run(&push).await?;
    let digest =
        std::fs::read_to_string(digest.path()).with_context(|| format!("cannot read {}", digest.path().display()))?;
    Ok(digest.trim().to_owned())
}

/// install.yaml with the published image in place of the name that is built locally.
fn write_manifests(image: &PublishedImage, dist: &Path) -> anyhow::Result<PathBuf> {
    let path = root().join(INSTALL);
    let text = std::fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
    let before = format!("image: {}", OPERATOR.name(env!("CARGO_PKG_VERSION")));
    let text = with_line(INSTALL, &text, &before, &format!("image: {}", image.name()))?;
    let path = dist.join("install.yaml");
    std::fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))?;
    Ok(path)
}
