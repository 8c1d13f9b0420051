//! `cargo xtask image`: the operator as a static binary, and the image around it.

use std::ffi::OsString;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};

use clap::Args;
use serde_json::Value;
use testbed::packages::PackagesError;
use tokio::process::Command;
use webpki_root_certs::TLS_SERVER_ROOT_CERTS;

use crate::buildah::Store;
use crate::output::{say, step};
use crate::root;

/// Where everything about images is put.
const FOLDER: &str = "target/image";
/// What the operator's image may hold at most, in bytes, unpacked.
const LIMIT: u64 = 20_000_000;

/// Builds the operator's static binary and, with buildah, its image, and writes the image as an archive that docker load,
/// podman load and ctr images import take.
#[derive(Debug, Args)]
pub struct Arguments {
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

/// Why there is no image.
#[derive(Debug, thiserror::Error)]
pub enum ImageError {
    /// A program cannot be started or waited for.
    #[error("cannot run {program}: {source}")]
    Run {
        /// The program.
        program: String,
        /// The operating system's answer.
        source: io::Error,
    },
    /// A program failed, and has said why.
    #[error("`{command}` failed ({status})")]
    Failed {
        /// The command, abridged.
        command: String,
        /// How it ended.
        status: ExitStatus,
    },
    /// cargo named no program.
    #[error("`cargo rustc` did not say where {0} is")]
    NoProgram(&'static str),
    /// A file cannot be read or written.
    #[error("cannot {what} {}: {source}", path.display())]
    Io {
        /// What was tried, as a verb.
        what: &'static str,
        /// The file or folder.
        path: PathBuf,
        /// The operating system's answer.
        source: io::Error,
    },
    /// buildah is missing.
    #[error("{0}; or use `cargo xtask image --prepare` and another builder")]
    Packages(#[from] PackagesError),
    /// The image grew.
    #[error("the image holds {size} bytes, more than the {LIMIT} it may hold")]
    TooLarge {
        /// What it holds.
        size: u64,
    },
}

impl ImageError {
    /// What to make of an error of the operating system.
    pub fn io(what: &'static str, path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> Self {
        let path = path.into();
        move |source| Self::Io { what, path, source }
    }
}

/// A program that goes into an image, and what else goes with it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Content {
    /// The package, its program and the image are called so.
    program: &'static str,
    dockerfile: &'static str,
    /// Files of the repository.
    files: &'static [&'static str],
    /// Whether the public CA roots are needed.
    roots: bool,
}

impl Content {
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
pub const OPERATOR: Content =
    Content { program: "managed-redis-operator", dockerfile: "deploy/Dockerfile", files: &["LICENSE"], roots: true };

/// The fake cloud's image.
pub const FAKE_CLOUD: Content = Content {
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
pub struct Image {
    /// Its name in the archive.
    pub name: String,
    /// The archive, in the layout of `docker save`.
    pub archive: PathBuf,
}

/// Builds what the arguments say.
///
/// # Errors
/// When a program or a file is missing, or a build fails.
pub fn main(arguments: &Arguments) -> Result<(), ImageError> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.map_err(ImageError::io("start", "the runtime"))?.block_on(run(arguments))
}

async fn run(arguments: &Arguments) -> Result<(), ImageError> {
    let content = if arguments.fake_cloud { FAKE_CLOUD } else { OPERATOR };
    step(format_args!("Building {} as a static binary", content.program));
    let program = compile(content, Profile::Release, arguments.target.as_deref()).await?;
    let folder = prepare(content, &program, &folder_of(content))?;
    let size = size_of(&folder)?;
    say(format_args!("    {} ({:.1} MB with everything that goes into the image)", folder.display(), megabytes(size)));
    if content == OPERATOR && size > LIMIT {
        return Err(ImageError::TooLarge { size });
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

/// Compiles the program and links it statically; what it depends on is shared with other builds of the profile.
///
/// # Errors
/// When the build fails.
pub async fn compile(content: Content, profile: Profile, target: Option<&str>) -> Result<PathBuf, ImageError> {
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
    let failed = |source| ImageError::Run { program: cargo.to_string_lossy().into_owned(), source };
    let output = command.stdout(Stdio::piped()).spawn().map_err(failed)?.wait_with_output().await.map_err(failed)?;
    if !output.status.success() {
        return Err(ImageError::Failed {
            command: format!("cargo rustc -p {}", content.program),
            status: output.status,
        });
    }
    let messages = String::from_utf8_lossy(&output.stdout);
    executable(&messages, content.program).ok_or(ImageError::NoProgram(content.program))
}

/// The program among cargo's messages (<https://doc.rust-lang.org/cargo/reference/external-tools.html>).
pub fn executable(messages: &str, name: &str) -> Option<PathBuf> {
    let artifacts = messages.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let mut programs = artifacts.filter(|message| message["target"]["name"] == name);
    programs.find_map(|message| message["executable"].as_str().map(PathBuf::from))
}

/// Where an image's Dockerfile is built from.
pub fn folder_of(content: Content) -> PathBuf {
    root().join(FOLDER).join(content.program)
}

/// Fills the folder that the Dockerfile is built from, anew.
///
/// # Errors
/// When a file cannot be read or written.
pub fn prepare(content: Content, program: &Path, folder: &Path) -> Result<PathBuf, ImageError> {
    if folder.exists() {
        std::fs::remove_dir_all(folder).map_err(ImageError::io("remove", folder))?;
    }
    std::fs::create_dir_all(folder).map_err(ImageError::io("create", folder))?;
    let copy = |from: &Path, name: &Path| {
        let to = folder.join(name.file_name().unwrap_or_default());
        std::fs::copy(from, &to).map_err(ImageError::io("write", to)).map(drop)
    };
    copy(program, Path::new(content.program))?;
    for file in content.files.iter().map(Path::new) {
        copy(&root().join(file), file)?;
    }
    if content.roots {
        let path = folder.join("ca-certificates.crt");
        std::fs::write(&path, ca_bundle()).map_err(ImageError::io("write", path))?;
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
pub async fn build(content: Content, folder: &Path, name: &str) -> Result<Image, ImageError> {
    build_for(None, content, folder, name).await
}

/// As [`build`], and says in the image that it is for this architecture, as Go calls it, instead of this machine's.
///
/// # Errors
/// As [`build`].
pub async fn build_for(
    architecture: Option<&str>,
    content: Content,
    folder: &Path,
    name: &str,
) -> Result<Image, ImageError> {
    let store = Store::create().await?;
    let file_name = name.rsplit('/').next().unwrap_or(name).replace(':', "-");
    let archives = root().join(FOLDER);
    std::fs::create_dir_all(&archives).map_err(ImageError::io("create", &archives))?;
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
        std::fs::remove_file(&archive).map_err(ImageError::io("remove", &archive))?;
    }
    let destination = format!("docker-archive:{}:{name}", archive.display());
    store.run(&["push", "--quiet", name, &destination]).await?;
    Ok(Image { name: name.to_owned(), archive })
}

/// Hash of the commit that is checked out, and its time in seconds since 1970. None outside of a repository.
async fn revision() -> Option<(String, String)> {
    let output = Command::new("git").args(["log", "-1", "--format=%H %ct"]).current_dir(root()).output().await.ok()?;
    let text = String::from_utf8(output.stdout).ok().filter(|_| output.status.success())?;
    text.trim().split_once(' ').map(|(hash, time)| (hash.to_owned(), time.to_owned()))
}

/// The files of a folder together, in bytes.
fn size_of(folder: &Path) -> Result<u64, ImageError> {
    let mut size = 0;
    for entry in std::fs::read_dir(folder).map_err(ImageError::io("read", folder))? {
        let metadata = entry.and_then(|entry| entry.metadata()).map_err(ImageError::io("read", folder))?;
        size += metadata.len();
    }
    Ok(size)
}

#[allow(clippy::cast_precision_loss, reason = "a figure to read")]
fn megabytes(bytes: u64) -> f64 {
    bytes as f64 / 1e6
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
    fn cargo_says_where_the_program_is() {
        let messages = [
            r#"{"reason":"compiler-artifact","target":{"name":"serde"},"executable":null}"#,
            r#"{"reason":"compiler-artifact","target":{"name":"managed_redis_operator"},"executable":null}"#,
            r#"{"reason":"compiler-artifact","target":{"name":"managed-redis-operator"},"executable":"/t/debug/mro"}"#,
            r#"{"reason":"build-finished","success":true}"#,
        ];
        assert_eq!(executable(&messages.join("\n"), "managed-redis-operator"), Some(PathBuf::from("/t/debug/mro")));
        assert_eq!(executable(messages[0], "managed-redis-operator"), None);
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
