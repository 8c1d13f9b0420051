//! What a stand-in starts with: credentials, timings, catalogues, clusters and instances.

use std::path::Path;

use anyhow::anyhow;
use secrecy::SecretString;
use serde::Deserialize;

use crate::faults::Fault;
use crate::model::{KakaoCluster, KakaoFlavor, NcpInstance, default_flavors, default_versions};

/// The KakaoCloud application credential's ID that is known when the seed names none.
pub const KAKAO_CREDENTIAL_ID: &str = "demo-application-credential";
/// The secret of [`KAKAO_CREDENTIAL_ID`].
pub const KAKAO_CREDENTIAL_SECRET: &str = "demo-application-credential-secret";
/// The KakaoCloud token that always holds when the seed names none.
pub const KAKAO_TOKEN: &str = "demo-kakao-token";
/// The NCP access key that is known when the seed names none.
pub const NCP_ACCESS_KEY: &str = "DEMOACCESSKEY0000000";
/// The secret of [`NCP_ACCESS_KEY`].
pub const NCP_SECRET_KEY: &str = "DEMOSECRETKEY000000000000000000000000000";

/// The two clouds as they are at the start and after a reset.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Seed {
    /// KakaoCloud.
    pub kakao_cloud: KakaoSeed,
    /// NAVER Cloud Platform.
    pub ncp: NcpSeed,
    /// Clusters and instances made up on top of those named.
    pub generate: Generate,
    /// Faults armed from the start.
    pub faults: Vec<Fault>,
}

/// KakaoCloud as it is at the start.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct KakaoSeed {
    /// Application credentials that get tokens.
    pub credentials: Vec<KakaoCredential>,
    /// Tokens that hold until they are revoked.
    pub tokens: Vec<SecretString>,
    /// How long an issued token holds, in seconds.
    pub token_lifetime_seconds: u32,
    /// How long things take.
    pub timings: KakaoTimings,
    /// Engine versions offered.
    pub versions: Vec<String>,
    /// Flavors offered.
    pub flavors: Vec<KakaoFlavor>,
    /// Clusters and instance sets.
    pub clusters: Vec<KakaoCluster>,
}

/// A KakaoCloud application credential.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct KakaoCredential {
    /// Its ID.
    pub id: String,
    /// Its secret.
    pub secret: SecretString,
}

/// How long things take at KakaoCloud, in seconds.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct KakaoTimings {
    /// From `Init` to `Creating`.
    pub init_seconds: u32,
    /// From `Creating` to `Running`.
    pub create_seconds: u32,
    /// From an accepted apply to its result.
    pub apply_seconds: u32,
}

/// NAVER Cloud Platform as it is at the start.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct NcpSeed {
    /// Access keys that are known.
    pub keys: Vec<NcpKey>,
    /// How long things take.
    pub timings: NcpTimings,
    /// HTTP status of the service's own refusals: 400, 401 or 500.
    pub service_error_status: u16,
    /// Instances.
    pub instances: Vec<NcpInstance>,
}

/// An NCP access key.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct NcpKey {
    /// The access key.
    pub access_key: String,
    /// The secret key that signs.
    pub secret_key: SecretString,
    /// The key is known but may not use the service: 401 with errorCode 210.
    #[serde(default)]
    pub permission_denied: bool,
}

/// How long things take at NCP, in seconds.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct NcpTimings {
    /// From `creating` to `running`.
    pub create_seconds: u32,
    /// From an accepted flush to `running`.
    pub flush_seconds: u32,
}

/// How many clusters and instances are made up, always the same ones.
#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Generate {
    /// KakaoCloud clusters and instance sets, in turn, at most 1,000,000.
    pub kakao_clusters: u32,
    /// NCP instances, at most 1,000,000.
    pub ncp_instances: u32,
}

impl Seed {
    /// Reads YAML or JSON.
    ///
    /// # Errors
    /// When a field is unknown or of the wrong type; it names the place.
    pub fn parse(text: &str) -> anyhow::Result<Self> {
        if text.trim().is_empty() {
            return Ok(Self::default());
        }
        serde_saphyr::from_str(text).map_err(|error| anyhow!("not a seed: {error}"))
    }

    /// Reads a file of YAML or JSON.
    ///
    /// # Errors
    /// When the file cannot be read or is not a seed.
    pub fn load(path: &Path) -> anyhow::Result<Self> {
        let text = std::fs::read_to_string(path);
        let text = text.map_err(|error| anyhow!("cannot read the seed {}: {error}", path.display()))?;
        Self::parse(&text)
    }
}

impl KakaoCredential {
    /// A credential.
    pub fn new(id: impl Into<String>, secret: impl Into<String>) -> Self {
        Self { id: id.into(), secret: SecretString::from(secret.into()) }
    }
}

impl NcpKey {
    /// An access key that may use the service.
    pub fn new(access_key: impl Into<String>, secret_key: impl Into<String>) -> Self {
        Self {
            access_key: access_key.into(),
            secret_key: SecretString::from(secret_key.into()),
            permission_denied: false,
        }
    }
}

impl Default for KakaoSeed {
    fn default() -> Self {
        Self {
            credentials: vec![KakaoCredential::new(KAKAO_CREDENTIAL_ID, KAKAO_CREDENTIAL_SECRET)],
            tokens: vec![SecretString::from(KAKAO_TOKEN)],
            token_lifetime_seconds: 12 * 60 * 60,
            timings: KakaoTimings::default(),
            versions: default_versions(),
            flavors: default_flavors(),
            clusters: Vec::new(),
        }
    }
}

impl Default for KakaoTimings {
    fn default() -> Self {
        Self { init_seconds: 5, create_seconds: 30, apply_seconds: 5 }
    }
}

impl Default for NcpSeed {
    fn default() -> Self {
        Self {
            keys: vec![NcpKey::new(NCP_ACCESS_KEY, NCP_SECRET_KEY)],
            timings: NcpTimings::default(),
            service_error_status: 400,
            instances: Vec::new(),
        }
    }
}

impl Default for NcpTimings {
    fn default() -> Self {
        Self { create_seconds: 30, flush_seconds: 10 }
    }
}

impl Generate {
    /// The clusters made up, numbered from 1.
    pub(crate) fn clusters(self) -> impl Iterator<Item = KakaoCluster> {
        (1..=self.kakao_clusters).map(|number| {
            let (id, name) = (format!("{number:08x}-0d1c-4b2a-9f3e-{number:012x}"), format!("bench-{number:05}"));
            let cluster = match number % 2 {
                0 => KakaoCluster::cluster_mode(id, name),
                _ => KakaoCluster::instance_set(id, name),
            };
            let group = number % 10;
            KakaoCluster {
                parameter_group_id: Some(format!("e81b6d0c-25f9-4a7e-8c34-d1f07a9b6{group:03}")),
                parameter_group_name: Some(format!("bench-{group}")),
                ..cluster
            }
        })
    }

    /// The instances made up, numbered from 900001.
    pub(crate) fn instances(self) -> impl Iterator<Item = NcpInstance> {
        (1..=self.ncp_instances).map(|number| {
            let (instance_no, name) = ((900_000 + number).to_string(), format!("bench-{number:05}"));
            match number % 2 {
                0 => NcpInstance::highly_available(instance_no, name),
                _ => NcpInstance::single(instance_no, name),
            }
        })
    }
}
