//! The chart as it is published: it names the published image, by what cannot be changed afterwards.

use std::path::{Path, PathBuf};

use anyhow::Context as _;
use delivery::helm::Helm;

use super::image::PublishedImage;
use super::manifest::with_line;

const VALUES: &str = "values.yaml";
/// The values of the repository's chart that the published one has otherwise.
const REPOSITORY: &str = "repository: managed-redis-operator";
const DIGEST: &str = "digest: \"\"";

/// Packages the chart of an image into a folder.
///
/// # Errors
/// When a file or Helm is not as it has to be.
pub(super) async fn package(
    helm: &Helm,
    image: &PublishedImage,
    version: &str,
    dist: &Path,
) -> anyhow::Result<PathBuf> {
    let folder = helm.scratch().join("managed-redis-operator");
    delivery::chart::copy_to(&folder)?;
    let path = folder.join(VALUES);
    let text = std::fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
    let text = with_line(VALUES, &text, REPOSITORY, &format!("repository: {}", image.repository))?;
    let text = with_line(VALUES, &text, DIGEST, &format!("digest: {}", image.digest))?;
    std::fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))?;
    let (folder, destination) = (folder.to_string_lossy(), dist.to_string_lossy());
    helm.run(&["package", &folder, "--destination", &destination]).await?;
    Ok(dist.join(format!("managed-redis-operator-{version}.tgz")))
}
