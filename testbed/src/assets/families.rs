//! The table of programs: which there are, and what each is built from.

use std::fmt;
use std::str::FromStr;

use sha2::{Digest as _, Sha256};

use super::GoVersion;

/// A program the testbed can find or build.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Program {
    /// The store behind the API server.
    Etcd,
    /// The Kubernetes API server.
    KubeApiserver,
    /// The command line client.
    Kubectl,
    /// The built-in controllers: namespace deletion, garbage collection, deployments and so on.
    KubeControllerManager,
    /// Assigns pods to nodes.
    KubeScheduler,
    /// Runs pods on a node.
    Kubelet,
    /// Makes service addresses reachable on a node.
    KubeProxy,
    /// Keeps images and runs containers for the kubelet.
    Containerd,
    /// Stands between containerd and the containers of a pod, so that these survive a restart of containerd.
    ContainerdShim,
    /// containerd's command line client: imports images.
    Ctr,
    /// Holds the namespaces of a pod.
    Pause,
    /// Installs charts.
    Helm,
    /// Checks GitHub workflow files.
    Actionlint,
    /// Tells what kstatus and Argo CD make of an object; its source is in `testbed/go/health`.
    GitopsHealth,
    /// Keeps images and charts, for rehearsals of a release; its source is in `testbed/go/registry`.
    Registry,
}

/// A minor version of Kubernetes that the testbed has pins for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Kubernetes {
    /// The oldest that the operator supports.
    V1_33,
    /// What is tested against unless another is asked for.
    #[default]
    V1_36,
}

impl Kubernetes {
    /// Every one, the oldest first.
    pub const ALL: [Self; 2] = [Self::V1_33, Self::V1_36];

    /// Major and minor version.
    #[must_use]
    pub fn minor(self) -> &'static str {
        match self {
            Self::V1_33 => "1.33",
            Self::V1_36 => "1.36",
        }
    }

    fn family(self) -> &'static Family {
        match self {
            Self::V1_33 => &KUBERNETES_1_33,
            Self::V1_36 => &KUBERNETES,
        }
    }
}

impl FromStr for Kubernetes {
    type Err = UnknownKubernetes;

    fn from_str(minor: &str) -> Result<Self, Self::Err> {
        Self::ALL.into_iter().find(|known| known.minor() == minor).ok_or_else(|| UnknownKubernetes(minor.to_owned()))
    }
}

/// A minor version that the testbed has no pins for.
#[derive(Debug, thiserror::Error)]
#[error("no Kubernetes {0:?}: the testbed has {all}", all = Kubernetes::ALL.map(Kubernetes::minor).join(", "))]
pub struct UnknownKubernetes(String);

/// Programs that are built from one `go.mod`.
pub(super) struct Family {
    pub(super) name: &'static str,
    /// Version of the main module, as `go.mod` requires it; of the module that matters most if the source is of this
    /// repository.
    pub(super) version: &'static str,
    /// The `go` directive of `go.mod`: the oldest Go that can build the family.
    pub(super) go: GoVersion,
    pub(super) go_mod: &'static str,
    pub(super) go_sum: &'static str,
    /// Name and text of the Go files that are not in a module but in this repository.
    pub(super) sources: &'static [(&'static str, &'static str)],
    /// Build tags, separated by commas.
    pub(super) tags: &'static str,
    pub(super) ldflags: &'static str,
}

static ETCD: Family = Family {
    name: "etcd",
    version: "v3.7.3",
    go: GoVersion { major: 1, minor: 26, patch: 0 },
    go_mod: include_str!("../../go/etcd/go.mod"),
    go_sum: include_str!("../../go/etcd/go.sum"),
    sources: &[],
    tags: "",
    ldflags: "-s -w",
};

static KUBERNETES: Family = Family {
    name: "kubernetes",
    version: "v1.36.3",
    go: GoVersion { major: 1, minor: 26, patch: 0 },
    go_mod: include_str!("../../go/kubernetes/go.mod"),
    go_sum: include_str!("../../go/kubernetes/go.sum"),
    sources: &[],
    tags: "",
    ldflags: "-s -w -X k8s.io/component-base/version.gitVersion=v1.36.3",
};

/// The oldest that the operator supports.
static KUBERNETES_1_33: Family = Family {
    version: "v1.33.13",
    go_mod: include_str!("../../go/kubernetes-1.33/go.mod"),
    go_sum: include_str!("../../go/kubernetes-1.33/go.sum"),
    ldflags: "-s -w -X k8s.io/component-base/version.gitVersion=v1.33.13",
    ..KUBERNETES
};

static CONTAINERD: Family = Family {
    name: "containerd",
    version: "v2.4.2",
    go: GoVersion { major: 1, minor: 26, patch: 6 },
    go_mod: include_str!("../../go/containerd/go.mod"),
    go_sum: include_str!("../../go/containerd/go.sum"),
    sources: &[],
    // Without the snapshotters that need C libraries or kernel modules of their own.
    tags: "no_btrfs,no_devmapper,no_zfs,no_aufs",
    ldflags: "-s -w -X github.com/containerd/containerd/v2/version.Version=v2.4.2",
};

static HELM: Family = Family {
    name: "helm",
    version: "v4.3.1",
    go: GoVersion { major: 1, minor: 26, patch: 0 },
    go_mod: include_str!("../../go/helm/go.mod"),
    go_sum: include_str!("../../go/helm/go.sum"),
    sources: &[],
    tags: "",
    ldflags: "-s -w -X helm.sh/helm/v4/internal/version.version=v4.3.1",
};

static ACTIONLINT: Family = Family {
    name: "actionlint",
    version: "v1.7.12",
    go: GoVersion { major: 1, minor: 26, patch: 0 },
    go_mod: include_str!("../../go/actionlint/go.mod"),
    go_sum: include_str!("../../go/actionlint/go.sum"),
    sources: &[],
    tags: "",
    ldflags: "-s -w -X github.com/rhysd/actionlint.version=v1.7.12",
};

static HEALTH: Family = Family {
    name: "health",
    // Of github.com/fluxcd/cli-utils, which has kstatus.
    version: "v1.2.2",
    go: GoVersion { major: 1, minor: 26, patch: 0 },
    go_mod: include_str!("../../go/health/go.mod"),
    go_sum: include_str!("../../go/health/go.sum"),
    sources: &[
        ("main.go", include_str!("../../go/health/main.go")),
        ("argocd.go", include_str!("../../go/health/argocd.go")),
    ],
    tags: "",
    ldflags: "-s -w",
};

static PAUSE: Family = Family {
    name: "pause",
    version: "v1",
    go: GoVersion { major: 1, minor: 26, patch: 0 },
    go_mod: include_str!("../../go/pause/go.mod"),
    go_sum: include_str!("../../go/pause/go.sum"),
    sources: &[("main.go", include_str!("../../go/pause/main.go"))],
    tags: "",
    ldflags: "-s -w",
};

static REGISTRY: Family = Family {
    name: "registry",
    // Of github.com/google/go-containerregistry, which has it all.
    version: "v0.22.1",
    go: GoVersion { major: 1, minor: 26, patch: 0 },
    go_mod: include_str!("../../go/registry/go.mod"),
    go_sum: include_str!("../../go/registry/go.sum"),
    sources: &[("main.go", include_str!("../../go/registry/main.go"))],
    tags: "",
    ldflags: "-s -w",
};

/// What there is to know of a program.
struct ProgramEntry {
    /// File name.
    name: &'static str,
    family: &'static Family,
    /// Import path of the Go package: one of the `tool`s of the family's `go.mod`, or its module.
    package: &'static str,
}

impl Program {
    /// Every program, in the order a cluster starts them; then those that use it.
    pub const ALL: [Self; 15] = [
        Self::Etcd,
        Self::KubeApiserver,
        Self::Kubectl,
        Self::KubeControllerManager,
        Self::KubeScheduler,
        Self::Kubelet,
        Self::KubeProxy,
        Self::Containerd,
        Self::ContainerdShim,
        Self::Ctr,
        Self::Pause,
        Self::Helm,
        Self::Actionlint,
        Self::GitopsHealth,
        Self::Registry,
    ];

    /// The table, with one of the Kubernetes there are.
    fn entry(self, kubernetes: Kubernetes) -> ProgramEntry {
        let kubernetes = kubernetes.family();
        let (name, family, package) = match self {
            Self::Etcd => ("etcd", &ETCD, "go.etcd.io/etcd/server/v3"),
            Self::KubeApiserver => ("kube-apiserver", kubernetes, "k8s.io/kubernetes/cmd/kube-apiserver"),
            Self::Kubectl => ("kubectl", kubernetes, "k8s.io/kubernetes/cmd/kubectl"),
            Self::KubeControllerManager => {
                ("kube-controller-manager", kubernetes, "k8s.io/kubernetes/cmd/kube-controller-manager")
            }
            Self::KubeScheduler => ("kube-scheduler", kubernetes, "k8s.io/kubernetes/cmd/kube-scheduler"),
            Self::Kubelet => ("kubelet", kubernetes, "k8s.io/kubernetes/cmd/kubelet"),
            Self::KubeProxy => ("kube-proxy", kubernetes, "k8s.io/kubernetes/cmd/kube-proxy"),
            Self::Containerd => ("containerd", &CONTAINERD, "github.com/containerd/containerd/v2/cmd/containerd"),
            Self::ContainerdShim => (
                "containerd-shim-runc-v2",
                &CONTAINERD,
                "github.com/containerd/containerd/v2/cmd/containerd-shim-runc-v2",
            ),
            Self::Ctr => ("ctr", &CONTAINERD, "github.com/containerd/containerd/v2/cmd/ctr"),
            Self::Pause => ("pause", &PAUSE, "managedredis.dev/testbed/pause"),
            Self::Helm => ("helm", &HELM, "helm.sh/helm/v4/cmd/helm"),
            Self::Actionlint => ("actionlint", &ACTIONLINT, "github.com/rhysd/actionlint/cmd/actionlint"),
            Self::GitopsHealth => ("gitops-health", &HEALTH, "managedredis.dev/testbed/health"),
            Self::Registry => ("registry", &REGISTRY, "managedredis.dev/testbed/registry"),
        };
        ProgramEntry { name, family, package }
    }

    /// File name of the program.
    #[must_use]
    pub fn name(self) -> &'static str {
        self.entry(Kubernetes::default()).name
    }

    pub(super) fn family(self, kubernetes: Kubernetes) -> &'static Family {
        self.entry(kubernetes).family
    }

    pub(super) fn package(self) -> &'static str {
        self.entry(Kubernetes::default()).package
    }
}

impl Family {
    /// Name of the family's folder in the cache.
    pub(super) fn folder(&self) -> String {
        let mut hash = Sha256::new();
        let flags = [self.ldflags, self.tags].into_iter().filter(|flags| !flags.is_empty());
        let sources = self.sources.iter().flat_map(|(name, text)| [*name, *text]);
        let platform = [std::env::consts::OS, std::env::consts::ARCH];
        for part in [self.go_mod, self.go_sum].into_iter().chain(flags).chain(sources).chain(platform) {
            hash.update(part.len().to_le_bytes());
            hash.update(part);
        }
        let hash: String = hash.finalize().iter().take(6).map(|byte| format!("{byte:02x}")).collect();
        format!("{}-{}-{hash}", self.name, self.version)
    }
}

impl fmt::Display for Program {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl FromStr for Program {
    type Err = UnknownProgram;

    fn from_str(name: &str) -> Result<Self, Self::Err> {
        Self::ALL.into_iter().find(|program| program.name() == name).ok_or_else(|| UnknownProgram(name.to_owned()))
    }
}

/// A program name that the testbed has no pins for.
#[derive(Debug, thiserror::Error)]
#[error("unknown program {0:?}: the testbed has {all}", all = Program::ALL.map(Program::name).join(", "))]
pub struct UnknownProgram(String);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn families_agree_with_their_go_mod() {
        for (program, kubernetes) in
            Program::ALL.into_iter().flat_map(|program| Kubernetes::ALL.map(|of| (program, of)))
        {
            let (family, package) = (program.family(kubernetes), program.package());
            let lines: Vec<_> = family.go_mod.lines().map(str::trim).collect();
            let go = format!("go {}", family.go);
            assert!(lines.contains(&go.as_str()), "{program}: {go}");
            if !family.sources.is_empty() {
                assert!(lines.contains(&format!("module {package}").as_str()), "{program}: {package}");
                continue;
            }
            assert!(
                lines.iter().any(|line| line.strip_prefix("tool ").unwrap_or(line) == package),
                "{program}: {package} is no tool of its go.mod"
            );
            assert!(
                lines.iter().any(|line| {
                    let line = line.strip_prefix("require ").unwrap_or(line);
                    line.split_once(' ').is_some_and(|(module, rest)| {
                        package.starts_with(module) && rest.split(' ').next() == Some(family.version)
                    })
                }),
                "{program}: go.mod does not require {}",
                family.version
            );
            if family.ldflags.contains("-X ") {
                assert!(family.ldflags.ends_with(family.version), "{program} would report another version");
            }
        }
    }

    #[test]
    fn what_is_built_from_this_repository_is_named_after_what_it_is_made_of() {
        for (family, module) in
            [(&HEALTH, "github.com/fluxcd/cli-utils"), (&REGISTRY, "github.com/google/go-containerregistry")]
        {
            assert!(family.go_mod.contains(&format!("{module} {}", family.version)), "{}", family.name);
        }
    }

    #[test]
    fn names_read_back() {
        for program in Program::ALL {
            assert_eq!(program.name().parse::<Program>().unwrap(), program);
        }
        let error = "kubeadm".parse::<Program>().unwrap_err().to_string();
        assert!(error.contains("kubeadm") && error.contains("kube-apiserver"), "{error}");
        for kubernetes in Kubernetes::ALL {
            assert_eq!(kubernetes.minor().parse::<Kubernetes>().unwrap(), kubernetes);
            let family = Program::KubeApiserver.family(kubernetes);
            assert!(family.version.starts_with(&format!("v{}.", kubernetes.minor())), "{}", family.version);
        }
        assert_eq!(
            "1.9".parse::<Kubernetes>().unwrap_err().to_string(),
            "no Kubernetes \"1.9\": the testbed has 1.33, 1.36"
        );
    }

    #[test]
    fn folder_changes_with_the_pins_and_the_flags() {
        for other in [Family { go_sum: "", ..CONTAINERD }, Family { tags: "", ..CONTAINERD }] {
            assert_ne!(other.folder(), CONTAINERD.folder());
        }
        assert_ne!(Family { sources: &[("main.go", "package main")], ..HEALTH }.folder(), HEALTH.folder());
        assert!(KUBERNETES.folder().starts_with("kubernetes-v1.36.3-"));
    }
}
