//! Pushes an image and its chart to a registry, and writes what goes with them.

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

/// Pushes the image of several architectures and the chart that names it, and writes install.yaml. The credentials are those
/// of `docker login`.
#[derive(Debug, Args)]
pub struct Arguments {
    /// Where to push: the image as REGISTRY/managed-redis-operator, the chart below REGISTRY/charts
    #[arg(long)]
    registry: String,
    /// An archive that `cargo xtask image` wrote, for each architecture one
    #[arg(long = "image", value_name = "ARCHIVE", required = true)]
    images: Vec<PathBuf>,
    /// The tag of the release, which has to agree with the version
    #[arg(long)]
    tag: Option<String>,
    /// Where the chart and install.yaml are written
    #[arg(long, default_value = "dist")]
    dist: PathBuf,
    /// Append the names and digests to this file, as NAME=VALUE
    #[arg(long, value_name = "FILE", env = "GITHUB_OUTPUT")]
    outputs: Option<PathBuf>,
}

/// Where things are pushed.
#[derive(Debug, Clone)]
pub struct Registry {
    /// Host, and what follows it up to the names of the image and of the charts.
    pub prefix: String,
    /// Whether it has no TLS.
    pub plain_http: bool,
    /// The file of `docker login`, if there is one.
    pub credentials: Option<PathBuf>,
}

impl Registry {
    /// Where the charts are.
    pub fn charts(&self) -> String {
        format!("{}/charts", self.prefix)
    }
}

/// The published image.
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

/// All that was published.
#[derive(Debug, Clone)]
pub struct Published {
    /// The image.
    pub image: Image,
    /// The chart's name without tag.
    pub chart: String,
    /// Its digest.
    pub chart_digest: String,
    /// The manifests.
    pub manifests: PathBuf,
}

/// Publishes what the arguments say.
///
/// # Errors
/// When the versions differ, or something is refused.
pub async fn main(arguments: &Arguments) -> Result<(), ReleaseError> {
    let version = version::agreed(arguments.tag.as_deref())?;
    // Registries want lower case, owners on GitHub need not have it.
    let prefix = arguments.registry.to_lowercase();
    let registry = Registry { prefix, plain_http: false, credentials: docker_credentials() };
    let published = publish(&registry, &version, &arguments.images, &arguments.dist).await?;
    match &arguments.outputs {
        Some(path) => append(path, &outputs(&published)),
        None => Ok(()),
    }
}

/// Pushes image and chart, in this order: what names something comes after it.
///
/// # Errors
/// When something is refused.
pub async fn publish(
    registry: &Registry,
    version: &str,
    archives: &[PathBuf],
    dist: &Path,
) -> Result<Published, ReleaseError> {
    std::fs::create_dir_all(dist).map_err(ReleaseError::io("create", dist))?;
    step("Pushing the image");
    let image = push_image(registry, version, archives).await?;
    say(format_args!("    {}", image.name()));
    step("Pushing the chart");
    let helm = Helm::find().await?;
    let archive = chart::package(&helm, &image, version, dist).await?;
    let chart_digest = chart::push(&helm, &archive, registry).await?;
    let chart = format!("{}/{}", registry.charts(), OPERATOR.program());
    say(format_args!("    {chart}:{version}@{chart_digest}"));
    let manifests = write_manifests(&image, dist)?;
    Ok(Published { image, chart, chart_digest, manifests })
}

/// Pushes the archives as one image. The index and the images below it go in one push, so that a tag never leads to half of it.
async fn push_image(registry: &Registry, version: &str, archives: &[PathBuf]) -> Result<Image, ReleaseError> {
    const LIST: &str = "localhost/release";
    let store = Store::create().await?;
    store.run(&["manifest", "create", LIST]).await?;
    for archive in archives {
        let id = store.run(&["pull", "--quiet", &format!("docker-archive:{}", archive.display())]).await?;
        store.run(&["manifest", "add", LIST, &id]).await?;
    }
    let repository = format!("{}/{}", registry.prefix, OPERATOR.program());
    let digest = tempfile::NamedTempFile::new().map_err(ReleaseError::io("create", std::env::temp_dir()))?;
    let path = digest.path().to_string_lossy();
    let destination = format!("docker://{repository}:{version}");
    let mut push = vec!["manifest", "push", "--all", "--quiet", "--digestfile", &path];
    if registry.plain_http {
        push.push("--tls-verify=false");
    }
    push.extend([LIST, &destination]);
    store.run(&push).await?;
    let digest = std::fs::read_to_string(digest.path()).map_err(ImageError::io("read", digest.path()))?;
    Ok(Image { repository, version: version.to_owned(), digest: digest.trim().to_owned() })
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

/// What later steps of a workflow need.
fn outputs(published: &Published) -> String {
    let Published { image, chart, chart_digest, .. } = published;
    let Image { repository, version, digest } = image;
    format!(
        "version={version}\nimage={repository}\nimage-digest={digest}\nchart={chart}\nchart-digest={chart_digest}\n"
    )
}

fn append(path: &Path, text: &str) -> Result<(), ReleaseError> {
    use std::io::Write as _;
    let file = std::fs::File::options().create(true).append(true).open(path);
    file.and_then(|mut file| file.write_all(text.as_bytes())).map_err(ReleaseError::io("write", path))
}

/// Where `docker login` keeps credentials.
fn docker_credentials() -> Option<PathBuf> {
    let folder = std::env::var_os("DOCKER_CONFIG").map(PathBuf::from);
    let folder = folder.or_else(|| std::env::var_os("HOME").map(|home| PathBuf::from(home).join(".docker")))?;
    Some(folder.join("config.json")).filter(|path| path.is_file())
}
