//! Images: a program of this workspace as a static binary, and the image around it.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use anyhow::{Context as _, ensure};
use harness::program::executable;
use harness::root;
use tokio::process::Command;
use webpki_root_certs::TLS_SERVER_ROOT_CERTS;

use crate::buildah::Buildah;

/// Where everything about images is put.
const FOLDER: &str = "target/image";

/// A program that goes into an image, and what else goes with it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ImageContent {
    /// The package, its program and the image are called so.
    program: &'static str,
    dockerfile: &'static str,
    /// Files of the repository.
    files: &'static [&'static str],
    /// Whether the public CA roots are needed.
    roots: bool,
}

impl ImageContent {
    /// The package, its program and the image are called so.
    pub fn program(self) -> &'static str {
        self.program
    }

    /// Name of the image with a tag.
    pub fn name(self, tag: &str) -> String {
        format!("{}:{tag}", self.program)
    }
}

/// The operator's image.
pub const OPERATOR: ImageContent = ImageContent {
    program: "managed-redis-operator",
    dockerfile: "deploy/Dockerfile",
    files: &["LICENSE"],
    roots: true,
};

/// The fake cloud's image.
pub const FAKE_CLOUD: ImageContent = ImageContent {
    program: "fake-cloud",
    dockerfile: "fake-cloud/Dockerfile",
    files: &["fake-cloud/seeds/demo.yaml"],
    roots: false,
};

/// How a program is compiled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Profile {
    /// As it is delivered.
    Release,
    /// As tests are: in a fraction of the time, several times as large.
    Dev,
}

/// An image that was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BuiltImage {
    /// Its name in the archive.
    pub name: String,
    /// The archive, in the layout of `docker save`.
    pub archive: PathBuf,
}

/// Compiles the program and links it statically; what it depends on is shared with other builds of the profile.
///
/// # Errors
/// When the build fails.
pub async fn compile(content: ImageContent, profile: Profile, target: Option<&str>) -> anyhow::Result<PathBuf> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(&cargo);
    command.args(["rustc", "--locked", "--package", content.program, "--bin", content.program]);
    command.args(["--message-format", "json-render-diagnostics"]);
    if profile == Profile::Release {
        command.arg("--release");
    }
    if let Some(target) = target {
        command.args(["--target", target]);
    }
    command.args(["--", "-Ctarget-feature=+crt-static", "-Cstrip=symbols"]);
    command.current_dir(root()).stdin(Stdio::null()).stderr(Stdio::inherit()).kill_on_drop(true);
    let output = async { command.stdout(Stdio::piped()).spawn()?.wait_with_output().await }.await;
    let output = output.with_context(|| format!("cannot run {}", cargo.to_string_lossy()))?;
    ensure!(output.status.success(), "`cargo rustc -p {}` failed ({})", content.program, output.status);
    let messages = String::from_utf8_lossy(&output.stdout);
    executable(&messages, content.program)
        .with_context(|| format!("`cargo rustc` did not say where {} is", content.program))
}

/// Where an image's Dockerfile is built from.
pub fn folder_of(content: ImageContent) -> PathBuf {
    root().join(FOLDER).join(content.program)
}

/// Fills the folder that the Dockerfile is built from, anew.
///
/// # Errors
/// When a file cannot be read or written.
pub fn prepare(content: ImageContent, program: &Path, folder: &Path) -> anyhow::Result<PathBuf> {
    if folder.exists() {
        std::fs::remove_dir_all(folder).with_context(|| format!("cannot remove {}", folder.display()))?;
    }
    std::fs::create_dir_all(folder).with_context(|| format!("cannot create {}", folder.display()))?;
    let copy = |from: &Path, name: &Path| {
        let to = folder.join(name.file_name().unwrap_or_default());
        std::fs::copy(from, &to).with_context(|| format!("cannot write {}", to.display())).map(drop)
    };
    copy(program, Path::new(content.program))?;
    for file in content.files.iter().map(Path::new) {
        copy(&root().join(file), file)?;
    }
    if content.roots {
        let path = folder.join("ca-certificates.crt");
        std::fs::write(&path, ca_bundle()).with_context(|| format!("cannot write {}", path.display()))?;
    }
    Ok(folder.to_owned())
}

/// The CA certificates that Mozilla trusts for servers, as pinned by Cargo.lock, so that an image depends on nothing of the
/// machine it is built on. rustls reads them from where Debian keeps its own.
fn ca_bundle() -> String {
    let certificates = TLS_SERVER_ROOT_CERTS.iter();
    certificates.map(|certificate| pem::encode(&pem::Pem::new("CERTIFICATE", certificate.as_ref()))).collect()
}

/// Builds the image of a prepared folder and writes it as an archive beside that.
///
/// # Errors
/// When buildah is missing or fails.
pub async fn build(content: ImageContent, folder: &Path, name: &str) -> anyhow::Result<BuiltImage> {
    build_for(None, content, folder, name).await
}

/// As [`build`], and says in the image that it is for this architecture, as Go calls it, instead of this machine's.
///
/// # Errors
/// As [`build`].
pub async fn build_for(
    architecture: Option<&str>,
    content: ImageContent,
    folder: &Path,
    name: &str,
) -> anyhow::Result<BuiltImage> {
    let store = Buildah::create().await?;
    let file_name = name.rsplit('/').next().unwrap_or(name).replace(':', "-");
    let archives = root().join(FOLDER);
    std::fs::create_dir_all(&archives).with_context(|| format!("cannot create {}", archives.display()))?;
    let archive = archives.join(format!("{file_name}.tar"));
    let (dockerfile, version) = (root().join(content.dockerfile), format!("VERSION={}", env!("CARGO_PKG_VERSION")));
    let mut bud: Vec<OsString> = ["bud", "--quiet", "--isolation", "chroot", "--tag", name].map(Into::into).into();
    bud.extend(["--build-arg".into(), version.into(), "--file".into(), dockerfile.into()]);
    // The time of the commit instead of that of the build: the same sources give the same image.
    if let Some((hash, time)) = revision().await {
        bud.extend(["--timestamp".into(), time.into(), "--build-arg".into(), format!("REVISION={hash}").into()]);
    }
    if let Some(architecture) = architecture {
        bud.extend(["--arch".into(), architecture.into()]);
    }
    bud.push(folder.into());
    store.run(&bud).await?;
    if archive.exists() {
        std::fs::remove_file(&archive).with_context(|| format!("cannot remove {}", archive.display()))?;
    }
    let destination = format!("docker-archive:{}:{name}", archive.display());
    store.run(&["push", "--quiet", name, &destination]).await?;
    Ok(BuiltImage { name: name.to_owned(), archive })
}

/// Hash of the commit that is checked out, and its time in seconds since 1970. None outside of a repository.
async fn revision() -> Option<(String, String)> {
    let output = Command::new("git").args(["log", "-1", "--format=%H %ct"]).current_dir(root()).output().await.ok()?;
    let text = String::from_utf8(output.stdout).ok().filter(|_| output.status.success())?;
    text.trim().split_once(' ').map(|(hash, time)| (hash.to_owned(), time.to_owned()))
}

/// The files of a folder together, in bytes.
///
/// # Errors
/// When the folder cannot be read.
pub fn size_of(folder: &Path) -> anyhow::Result<u64> {
    let mut size = 0;
    for entry in std::fs::read_dir(folder).with_context(|| format!("cannot read {}", folder.display()))? {
        let metadata =
            entry.and_then(|entry| entry.metadata()).with_context(|| format!("cannot read {}", folder.display()))?;
        size += metadata.len();
    }
    Ok(size)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bundle_has_every_root_and_reads_back() {
        let read = pem::parse_many(ca_bundle()).unwrap();
        assert_eq!(read.len(), TLS_SERVER_ROOT_CERTS.len());
        assert!(read.len() > 100, "Mozilla trusts some 140");
        assert_eq!(read[0].contents(), TLS_SERVER_ROOT_CERTS[0].as_ref());
    }

    #[test]
    fn dockerfiles_copy_what_is_prepared() {
        for content in [OPERATOR, FAKE_CLOUD] {
            let program = Path::new("/bin/sh");
            let temporary = tempfile::tempdir().unwrap();
            let folder = prepare(content, program, &temporary.path().join("image")).unwrap();
            let text = std::fs::read_to_string(root().join(content.dockerfile)).unwrap();
            let copied: Vec<&str> =
                text.lines().filter_map(|line| line.strip_prefix("COPY ")?.split(' ').next()).collect();
            let mut prepared: Vec<String> = std::fs::read_dir(folder)
                .unwrap()
                .map(|entry| entry.unwrap().file_name().into_string().unwrap())
                .collect();
            prepared.sort();
            let mut sorted = copied.clone();
            sorted.sort_unstable();
            assert_eq!(prepared, sorted, "{}", content.dockerfile);
        }
    }
}
