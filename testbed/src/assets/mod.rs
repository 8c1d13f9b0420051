//! Where the Kubernetes programs come from.
//!
//! A program is looked for in three places, in this order:
//!
//! 1. the folder that `KUBEBUILDER_ASSETS` names, as laid out by `setup-envtest` (`kube-apiserver`, `etcd`, `kubectl`);
//! 2. the user's cache, `$XDG_CACHE_HOME` or `~/.cache`, in `managed-redis-operator/FAMILY-VERSION-HASH/PROGRAM`;
//! 3. its source: the Go modules pinned in `testbed/go/FAMILY/{go.mod,go.sum}`, built into the cache.
//!
//! `HASH` covers the pins, the build flags and the platform, so a changed pin never meets an old binary, and a fresh
//! clone of the same revision on the same machine builds nothing. `go.sum` checks every module that is downloaded.
//! One `go.mod` serves one family, because the dependencies of two families need not agree. `families.rs` is the table.

mod build;
mod families;
mod go;

use std::ffi::OsString;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use families::Family;
pub use families::{Kubernetes, Program, UnknownKubernetes, UnknownProgram};
pub use go::GoVersion;

/// Why a program is not available.
#[derive(Debug, thiserror::Error)]
pub enum AssetsError {
    /// `KUBEBUILDER_ASSETS` is set to something that is not a folder.
    #[error("KUBEBUILDER_ASSETS is set to {}, which is not a folder", .0.display())]
    NotAFolder(PathBuf),
    /// `TESTBED_KUBERNETES` names a version there are no pins for.
    #[error("TESTBED_KUBERNETES: {0}")]
    UnknownKubernetes(#[from] UnknownKubernetes),
    /// Neither `XDG_CACHE_HOME` nor `HOME` is an absolute path.
    #[error("no cache folder: set HOME or XDG_CACHE_HOME to an absolute path")]
    NoCacheFolder,
    /// The cache folder cannot be written or read.
    #[error("cannot {what} {}: {source}", path.display())]
    Io {
        /// What was tried, as a verb.
        what: &'static str,
        /// The file or folder in question.
        path: PathBuf,
        /// The operating system's answer.
        source: std::io::Error,
    },
    /// There is no `go` command.
    #[error(
        "{program} has to be built from source with Go {needed} or newer, but there is no `go` on the PATH: \
         install Go, or set KUBEBUILDER_ASSETS to a folder that has {program}"
    )]
    GoMissing {
        /// The program that was asked for.
        program: Program,
        /// The oldest Go that can build it.
        needed: GoVersion,
    },
    /// The `go` command is too old and may not fetch a newer one by itself (`GOTOOLCHAIN`).
    #[error(
        "{program} has to be built from source with Go {needed} or newer, but the `go` on the PATH is {found}: \
         upgrade Go, or set KUBEBUILDER_ASSETS to a folder that has {program}"
    )]
    GoTooOld {
        /// The program that was asked for.
        program: Program,
        /// The oldest Go that can build it.
        needed: GoVersion,
        /// What `go env GOVERSION` says.
        found: String,
    },
    /// The source could not be downloaded.
    #[error(
        "the source of {program} could not be downloaded: building it needs the network once \
         (`go env GOPROXY` names the server); the last lines of go's output:\n{output}"
    )]
    Network {
        /// The program that was asked for.
        program: Program,
        /// The last lines of what `go build` printed.
        output: String,
    },
    /// `go build` failed for another reason.
    #[error("building {program} failed ({status}); the last lines of go's output:\n{output}")]
    BuildFailed {
        /// The program that was asked for.
        program: Program,
        /// How `go build` ended.
        status: std::process::ExitStatus,
        /// The last lines of what `go build` printed.
        output: String,
    },
}

impl AssetsError {
    fn io(what: &'static str, path: impl Into<PathBuf>) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.into();
        move |source| Self::Io { what, path, source }
    }
}

/// The folders that programs are looked for in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Folders {
    /// `KUBEBUILDER_ASSETS`: looked at first; what it lacks is looked for in the cache.
    pub assets: Option<PathBuf>,
    /// The cache folder of this project.
    pub cache: PathBuf,
    /// `TESTBED_KUBERNETES`: which Kubernetes is looked for in the cache, or built.
    pub kubernetes: Kubernetes,
}

impl Folders {
    /// The folders this process's environment names.
    ///
    /// # Errors
    /// [`AssetsError::NotAFolder`], [`AssetsError::UnknownKubernetes`] and [`AssetsError::NoCacheFolder`].
    pub fn from_env() -> Result<Self, AssetsError> {
        Self::from_vars(|name| std::env::var_os(name))
    }

    /// The folders an environment names: an empty variable counts as unset, and, as the XDG base directory
    /// specification asks, a relative `XDG_CACHE_HOME` is ignored.
    ///
    /// # Errors
    /// [`AssetsError::NotAFolder`] if `KUBEBUILDER_ASSETS` is set but no folder, so that a typing error does not end in
    /// a build of many minutes; [`AssetsError::UnknownKubernetes`] for the same reason; [`AssetsError::NoCacheFolder`] if
    /// nothing says where the cache is.
    pub fn from_vars(var: impl Fn(&str) -> Option<OsString>) -> Result<Self, AssetsError> {
        let path = |name| var(name).filter(|value| !value.is_empty()).map(PathBuf::from);
        let assets = path("KUBEBUILDER_ASSETS");
        if let Some(folder) = assets.as_ref().filter(|folder| !folder.is_dir()) {
            return Err(AssetsError::NotAFolder(folder.clone()));
        }
        let kubernetes = match var("TESTBED_KUBERNETES").filter(|minor| !minor.is_empty()) {
            Some(minor) => minor.to_string_lossy().parse()?,
            None => Kubernetes::default(),
        };
        // The programs are not started in the current folder.
        let assets = assets.map(|folder| std::path::absolute(&folder).unwrap_or(folder));
        let cache = path("XDG_CACHE_HOME")
            .filter(|folder| folder.is_absolute())
            .or_else(|| path("HOME").filter(|home| home.is_absolute()).map(|home| home.join(".cache")))
            .ok_or(AssetsError::NoCacheFolder)?
            .join("managed-redis-operator");
        Ok(Self { assets, cache, kubernetes })
    }

    /// The program, if it is there without a build.
    #[must_use]
    pub fn find(&self, program: Program) -> Option<PathBuf> {
        let in_assets = self.assets.iter().map(|folder| folder.join(program.name()));
        in_assets.chain([self.cached(program)]).find(|path| is_executable(path))
    }

    /// Where the program is in the cache once it has been built.
    #[must_use]
    pub fn cached(&self, program: Program) -> PathBuf {
        self.cache.join(self.family(program).folder()).join(program.name())
    }

    /// Version that is built when neither `KUBEBUILDER_ASSETS` nor the cache has the program.
    #[must_use]
    pub fn version(&self, program: Program) -> &'static str {
        self.family(program).version
    }

    fn family(&self, program: Program) -> &'static Family {
        program.family(self.kubernetes)
    }

    /// The program, built from its source if it is nowhere else. Says on stderr what it builds and for how long.
    ///
    /// Safe to call from several processes at once: one builds, the others wait for it.
    ///
    /// # Errors
    /// [`AssetsError`] if it has to be built and cannot be.
    pub async fn ensure(&self, program: Program) -> Result<PathBuf, AssetsError> {
        if let Some(path) = self.find(program) {
            return Ok(path);
        }
        let destination = self.cached(program);
        build::build(program, self.family(program), &destination).await?;
        Ok(destination)
    }
}

/// The program, from the folders that this process's environment names: [`Folders::ensure`].
///
/// # Errors
/// [`AssetsError`] if the environment names no folders, or the program has to be built and cannot be.
pub async fn ensure(program: Program) -> Result<PathBuf, AssetsError> {
    Folders::from_env()?.ensure(program).await
}

pub(crate) fn is_executable(path: &Path) -> bool {
    path.metadata().is_ok_and(|file| file.is_file() && file.permissions().mode() & 0o111 != 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn vars<'a>(set: &'a [(&'a str, &'a Path)]) -> impl Fn(&str) -> Option<OsString> + 'a {
        |name| set.iter().find(|(key, _)| *key == name).map(|(_, value)| value.as_os_str().to_owned())
    }

    fn install(path: &Path, mode: u32) {
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, "#!/bin/sh\n").unwrap();
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
    }

    #[test]
    fn assets_come_before_the_cache_and_the_cache_fills_their_gaps() {
        let root = tempfile::tempdir().unwrap();
        let assets = root.path().join("assets");
        install(&assets.join("etcd"), 0o755);
        let folders =
            Folders::from_vars(vars(&[("KUBEBUILDER_ASSETS", &assets), ("XDG_CACHE_HOME", root.path())])).unwrap();
        assert_eq!(folders.find(Program::KubeApiserver), None);

        install(&folders.cached(Program::Etcd), 0o755);
        install(&folders.cached(Program::KubeApiserver), 0o755);
        assert_eq!(folders.find(Program::Etcd), Some(assets.join("etcd")));
        assert_eq!(folders.find(Program::KubeApiserver), Some(folders.cached(Program::KubeApiserver)));
    }

    #[test]
    fn a_file_that_cannot_be_executed_is_not_a_program() {
        let root = tempfile::tempdir().unwrap();
        let folders = Folders::from_vars(vars(&[("XDG_CACHE_HOME", root.path())])).unwrap();
        install(&folders.cached(Program::Kubectl), 0o644);
        assert_eq!(folders.find(Program::Kubectl), None);
        std::fs::create_dir_all(folders.cached(Program::Kubelet)).unwrap();
        assert_eq!(folders.find(Program::Kubelet), None);
    }

    #[test]
    fn cache_folder_follows_the_xdg_specification() {
        let (home, xdg, relative, empty) = ("/home/a", "/var/cache/a", "cache", "");
        let cache = |set: &[(&str, &str)]| {
            let set: Vec<_> = set.iter().map(|(key, value)| (*key, Path::new(*value))).collect();
            Folders::from_vars(vars(&set)).map(|folders| folders.cache)
        };
        let in_home = PathBuf::from("/home/a/.cache/managed-redis-operator");
        assert_eq!(cache(&[("HOME", home)]).unwrap(), in_home);
        assert_eq!(cache(&[("HOME", home), ("XDG_CACHE_HOME", relative)]).unwrap(), in_home);
        assert_eq!(cache(&[("HOME", home), ("XDG_CACHE_HOME", empty)]).unwrap(), in_home);
        let in_xdg = PathBuf::from("/var/cache/a/managed-redis-operator");
        assert_eq!(cache(&[("HOME", home), ("XDG_CACHE_HOME", xdg)]).unwrap(), in_xdg);
        assert!(matches!(cache(&[("HOME", empty)]), Err(AssetsError::NoCacheFolder)));
    }

    #[test]
    fn another_kubernetes_is_another_folder_of_the_cache() {
        let of = |minor: &str| {
            let set = [("HOME", Path::new("/home/a")), ("TESTBED_KUBERNETES", Path::new(minor))];
            Folders::from_vars(vars(&set))
        };
        let (oldest, usual) = (of("1.33").unwrap(), of("").unwrap());
        assert_eq!(usual, of(Kubernetes::default().minor()).unwrap());
        assert_ne!(oldest.cached(Program::KubeApiserver), usual.cached(Program::KubeApiserver));
        assert_eq!(oldest.cached(Program::Etcd), usual.cached(Program::Etcd));
        assert!(matches!(of("1.3"), Err(AssetsError::UnknownKubernetes(_))));
    }

    #[test]
    fn assets_folder_that_is_not_there_is_an_error() {
        let root = tempfile::tempdir().unwrap();
        let missing = root.path().join("missing");
        let error = Folders::from_vars(vars(&[("KUBEBUILDER_ASSETS", &missing), ("HOME", root.path())])).unwrap_err();
        assert!(matches!(error, AssetsError::NotAFolder(folder) if folder == missing));
    }

    #[test]
    fn relative_assets_folder_is_made_absolute() {
        let set = [("KUBEBUILDER_ASSETS", Path::new("src")), ("HOME", Path::new("/home/a"))];
        let assets = Folders::from_vars(vars(&set)).unwrap().assets.unwrap();
        assert_eq!(assets, std::env::current_dir().unwrap().join("src"));
    }
}
