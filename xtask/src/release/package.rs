//! Everything that a release publishes, as files: nothing is pushed. `.ci/publish` pushes it.

use std::path::{Path, PathBuf};

use clap::Args;

use super::manifest::with_line;
use super::{ReleaseError, chart, version};
use crate::buildah::Store;
use crate::chart::helm::Helm;
use crate::image::{ImageError, OPERATOR};
use crate::output::{say, step};
use crate::root;

/// The manifests that are published, with the image's name in them.
const INSTALL: &str = "deploy/install.yaml";
/// The image of all architectures, as an OCI archive.
const IMAGE: &str = "image.tar";

/// Writes the image of several architectures, the chart that names it, and install.yaml.
#[derive(Debug, Args)]
pub struct Arguments {
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

/// The image, by the name it will be published under.
#[derive(Debug, Clone)]
pub struct Image {
    /// Its name without tag.
    pub repository: String,
    /// Tag.
    pub version: String,
    /// Digest of the index of its architectures.
    pub digest: String,
}

impl Image {
    /// Its name, which no later push can give to something else.
    pub fn name(&self) -> String {
        format!("{}:{}@{}", self.repository, self.version, self.digest)
    }
}

/// Packages what the arguments say.
///
/// # Errors
/// When the versions differ, or something cannot be built.
pub async fn main(arguments: &Arguments) -> Result<(), ReleaseError> {
    let version = version::agreed(arguments.tag.as_deref())?;
    // Registries want lower case, owners on GitHub need not have it.
    let registry = arguments.registry.to_lowercase();
    package(&registry, &version, &arguments.images, &arguments.dist).await.map(drop)
}

/// Writes image, chart and manifests, in this order: what names something comes after it.
///
/// # Errors
/// When something cannot be built.
pub async fn package(registry: &str, version: &str, archives: &[PathBuf], dist: &Path) -> Result<Image, ReleaseError> {
    std::fs::create_dir_all(dist).map_err(ReleaseError::io("create", dist))?;
    step("Packaging the image");
    let digest = write_image(archives, &dist.join(IMAGE)).await?;
    let repository = format!("{registry}/{}", OPERATOR.program());
    let image = Image { repository, version: version.to_owned(), digest };
    say(format_args!("    {}", image.name()));
    step("Packaging the chart");
    let chart = chart::package(&Helm::find().await?, &image, version, dist).await?;
    let manifests = write_manifests(&image, dist)?;
    say(format_args!("    {}\n    {}", chart.display(), manifests.display()));
    Ok(image)
}

/// The archives as one image in an OCI archive; the digest of its index.
async fn write_image(archives: &[PathBuf], path: &Path) -> Result<String, ReleaseError> {
    const LIST: &str = "localhost/release";
    let store = Store::create().await?;
    store.run(&["manifest", "create", LIST]).await?;
    for archive in archives {
        let id = store.run(&["pull", "--quiet", &format!("docker-archive:{}", archive.display())]).await?;
        store.run(&["manifest", "add", LIST, &id]).await?;
    }
    // An archive is added to, not replaced.
    if path.exists() {
        std::fs::remove_file(path).map_err(ReleaseError::io("remove", path))?;
    }
    let digest = tempfile::NamedTempFile::new().map_err(ReleaseError::io("create", std::env::temp_dir()))?;
    let (file, destination) = (digest.path().to_string_lossy(), format!("oci-archive:{}", path.display()));
    let push = ["manifest", "push", "--all", "--quiet", "--format", "oci", "--digestfile", &file, LIST, &destination];
    store.run(&push).await?;
    let digest = std::fs::read_to_string(digest.path()).map_err(ImageError::io("read", digest.path()))?;
    Ok(digest.trim().to_owned())
}

/// install.yaml with the published image in place of the name that is built locally.
fn write_manifests(image: &Image, dist: &Path) -> Result<PathBuf, ReleaseError> {
    let path = root().join(INSTALL);
    let text = std::fs::read_to_string(&path).map_err(ReleaseError::io("read", &path))?;
    let before = format!("image: {}", OPERATOR.name(env!("CARGO_PKG_VERSION")));
    let text = with_line(INSTALL, &text, &before, &format!("image: {}", image.name()))?;
    let path = dist.join("install.yaml");
    std::fs::write(&path, text).map_err(ReleaseError::io("write", &path))?;
    Ok(path)
}
