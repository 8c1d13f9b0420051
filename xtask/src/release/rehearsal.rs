//! The release on this machine: published to a registry that keeps nothing, then pulled as users pull it.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, ensure};
use clap::Args;
use delivery::buildah::Buildah;
use delivery::helm::{Helm, output};
use delivery::image::{self, OPERATOR, Profile};
use harness::root;
use harness::terminal::{say, step};
use serde_json::Value;
use testbed::packages::{self, Tool};
use tokio::process::Command;

use super::image::PublishedImage;
use super::package::package;
use super::version;

/// Every architecture that a release has, as images call it.
const ARCHITECTURES: [&str; 2] = ["amd64", "arm64"];
const INDEX: &str =
    "application/vnd.oci.image.index.v1+json, application/vnd.docker.distribution.manifest.list.v2+json";
const MANIFEST: &str =
    "application/vnd.oci.image.manifest.v1+json, application/vnd.docker.distribution.manifest.v2+json";
/// The image's user, which the restricted Pod Security Standard wants to be a number and not 0.
const USER: &str = "65532:65532";
/// What the release workflow pushes with.
const PUBLISH: &str = ".ci/publish";

/// The image and the chart, as `.ci/publish` told of them.
struct Published {
    image: PublishedImage,
    /// Of each architecture's own image.
    digests: BTreeMap<String, String>,
    /// The chart's name without tag.
    chart: String,
    chart_digest: String,
}

/// Publishes to a registry on this machine, pulls it all again, and looks whether it fits together. The image of the other
/// architecture has this machine's program in it: it is there for the index.
#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// Build the program as it is delivered, instead of as tests are
    #[arg(long)]
    release: bool,
}

/// Rehearses a release.
///
/// # Errors
/// When something cannot be published, or is not what it should be.
pub(super) async fn main(arguments: &Arguments) -> anyhow::Result<()> {
    let version = version::agreed(None)?;
    let folder = tempfile::tempdir().with_context(|| format!("cannot create {}", std::env::temp_dir().display()))?;
    step("Building the images");
    let profile = if arguments.release { Profile::Release } else { Profile::Dev };
    let archives = build(profile, folder.path()).await?;
    step("Starting a registry");
    let server = testbed::ImageRegistry::start().await?;
    let (registry, dist) = (format!("{}/rehearsal", server.address()), folder.path().join("dist"));
    let image = package(&registry, &version, &archives, &dist).await?;
    step("Publishing");
    let published = publish(&registry, image, &dist).await?;
    step("Looking at what was published");
    look_at_image(&published, server.address()).await?;
    look_at_chart(&published, &version).await?;
    look_at_manifests(&published, &dist)?;
    say("The image, the chart and the manifests fit together.");
    Ok(())
}

/// Runs [`PUBLISH`], which gets nothing of this user's.
async fn publish(registry: &str, image: PublishedImage, dist: &Path) -> anyhow::Result<Published> {
    packages::ensure(&[Tool::new("skopeo", "skopeo"), Tool::new("jq", "jq")]).await?;
    let helm = Helm::find().await?;
    let mut command = Command::new(root().join(PUBLISH));
    command.arg(dist).args([registry, &image.version]).kill_on_drop(true);
    command.env("HELM", helm.executable()).env("PLAIN_HTTP", "true");
    for variable in ["HOME", "DOCKER_CONFIG", "HELM_CACHE_HOME", "HELM_CONFIG_HOME", "HELM_DATA_HOME"] {
        command.env(variable, helm.scratch());
    }
    let printed = output(PUBLISH, &[], command).await?;
    say(printed.trim_end());
    let outputs: BTreeMap<&str, &str> = printed.lines().filter_map(|line| line.split_once('=')).collect();
    let expected = [("image", image.repository.as_str()), ("image-digest", image.digest.as_str())];
    for (name, value) in expected {
        ensure!(outputs.get(name) == Some(&value), "{PUBLISH} does not say {name}={value}");
    }
    let told = |name: &str| outputs.get(name).map(|value| (*value).to_owned()).unwrap_or_default();
    let digests = ARCHITECTURES.map(|name| (name.to_owned(), told(&format!("image-digest-{name}")))).into();
    Ok(Published { digests, chart: told("chart"), chart_digest: told("chart-digest"), image })
}

async fn build(profile: Profile, folder: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let program = image::compile(OPERATOR, profile, None).await?;
    let context = image::prepare(OPERATOR, &program, &folder.join("context"))?;
    let mut archives = Vec::new();
    for architecture in ARCHITECTURES {
        let name = OPERATOR.name(&format!("rehearsal-{architecture}"));
        let image = image::build_for(Some(architecture), OPERATOR, &context, &name).await?;
        let archive = folder.join(format!("{architecture}.tar"));
        std::fs::copy(&image.archive, &archive).with_context(|| format!("cannot copy {}", image.archive.display()))?;
        std::fs::remove_file(&image.archive).with_context(|| format!("cannot remove {}", image.archive.display()))?;
        archives.push(archive);
    }
    Ok(archives)
}

/// The tag leads to the index of that digest, the index to an image for each architecture, and one can be pulled by the digest.
async fn look_at_image(published: &Published, address: &str) -> anyhow::Result<()> {
    let image = &published.image;
    let path = image.repository.strip_prefix(address).unwrap_or(&image.repository);
    let base = format!("http://{address}/v2{path}");
    let by_tag = get(&format!("{base}/manifests/{}", image.version), INDEX).await?;
    let index = get(&format!("{base}/manifests/{}", image.digest), INDEX).await?;
    ensure!(by_tag == index, "the tag leads to {by_tag}, the digest to {index}");
    let mut digests = BTreeMap::new();
    for entry in index["manifests"].as_array().into_iter().flatten() {
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let manifest = get(&format!("{base}/manifests/{}", text(&entry["digest"])), MANIFEST).await?;
        let config = get(&format!("{base}/blobs/{}", text(&manifest["config"]["digest"])), "*/*").await?;
        let architecture = text(&entry["platform"]["architecture"]);
        ensure!(config["architecture"] == *architecture, "the {architecture} image says {config}");
        ensure!(config["config"]["User"] == USER, "the {architecture} image's user is not {USER}: {config}");
        let labelled = &config["config"]["Labels"]["org.opencontainers.image.version"];
        ensure!(*labelled == *image.version, "the {architecture} image is labelled {labelled}");
        digests.insert(architecture, text(&entry["digest"]));
    }
    let told = &published.digests;
    ensure!(digests == *told, "the image has {digests:?}, but {PUBLISH} told of {told:?}");
    let by_digest = format!("docker://{}@{}", image.repository, image.digest);
    Buildah::create().await?.run(&["pull", "--quiet", "--tls-verify=false", &by_digest]).await?;
    Ok(())
}

/// The chart that is pulled renders a Deployment of the published image.
async fn look_at_chart(published: &Published, version: &str) -> anyhow::Result<()> {
    let helm = Helm::find().await?;
    let chart = format!("oci://{}", published.chart);
    let rendered = helm.run(&["template", "redis", &chart, "--version", version, "--plain-http"]).await?;
    let by_digest = format!("{chart}@{}", published.chart_digest);
    helm.run(&["show", "chart", &by_digest, "--plain-http"]).await?;
    let line = format!("image: \"{}\"", published.image.name());
    ensure!(rendered.lines().any(|have| have.trim() == line), "the chart does not render {line}");
    Ok(())
}

fn look_at_manifests(published: &Published, dist: &Path) -> anyhow::Result<()> {
    let path = dist.join("install.yaml");
    let text = std::fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
    let line = format!("image: {}", published.image.name());
    ensure!(text.lines().any(|have| have.trim() == line), "install.yaml does not say {line}");
    Ok(())
}

async fn get(url: &str, accept: &str) -> anyhow::Result<Value> {
    let request = reqwest::Client::new().get(url).header(reqwest::header::ACCEPT, accept);
    let answer = request.send().await?.error_for_status()?;
    Ok(answer.json().await?)
}
