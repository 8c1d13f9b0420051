//! Either cloud as a source of pictures.

use std::time::Duration;

use sha2::{Digest as _, Sha256};

use super::packed::Catalog;
use super::picture::{self, Picture};
use crate::api::cluster_ref::FlavorStatus;
use crate::cloud::kakao::{KakaoClient, KakaoCredentials};
use crate::cloud::ncp::{NcpClient, NcpCredentials};
use crate::cloud::{CloudError, ErrorKind, Flush, HttpCore, Provider, Row, SetupError, normalise};

/// What makes a connection: provider, region or site, and credential.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Place {
    provider: Provider,
    endpoint: String,
    digest: String,
}

impl Place {
    /// The place of a credential, known by its fingerprint, at an endpoint.
    pub fn new(provider: Provider, endpoint: &str, credential_fingerprint: &str) -> Self {
        let mut hash = Sha256::new();
        for part in [provider.as_str(), endpoint, credential_fingerprint] {
            hash.update(part.as_bytes());
            hash.update([0]);
        }
        let digest = hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect();
        Self { provider, endpoint: endpoint.to_owned(), digest }
    }

    /// Eight hex digits for logs and metrics: enough to tell connections apart, too little to find a key by.
    pub fn label(&self) -> String {
        self.digest.chars().take(8).collect()
    }
}

/// A client of one of the clouds.
#[derive(Clone)]
pub enum Source {
    /// KakaoCloud.
    Kakao(KakaoClient),
    /// NAVER Cloud Platform.
    Ncp(NcpClient),
}

impl Source {
    /// A source at a KakaoCloud region.
    ///
    /// # Errors
    /// An unknown region, or a client that cannot be built.
    pub fn kakao(core: &HttpCore, region: &str, credentials: KakaoCredentials) -> Result<Self, SetupError> {
        KakaoClient::new(core, region, credentials).map(Self::Kakao)
    }

    /// A source at an NCP site.
    ///
    /// # Errors
    /// An unknown site, or a client that cannot be built.
    pub fn ncp(core: &HttpCore, site: &str, credentials: NcpCredentials) -> Result<Self, SetupError> {
        NcpClient::new(core, site, credentials).map(Self::Ncp)
    }

    /// Which cloud it is.
    pub fn provider(&self) -> Provider {
        match self {
            Self::Kakao(_) => Provider::KakaoCloud,
            Self::Ncp(_) => Provider::Ncp,
        }
    }

    /// Its flush, if it has one.
    pub fn flush(self) -> Option<Box<dyn Flush>> {
        match self {
            Self::Kakao(_) => None,
            Self::Ncp(client) => Some(Box::new(client)),
        }
    }

    /// The time between two requests in the long run (`--cloud-qps`).
    pub fn pace(&self) -> Duration {
        match self {
            Self::Kakao(client) => client.pace(),
            Self::Ncp(client) => client.pace(),
        }
    }

    /// Whether reads are tried once only, because the cloud is known to fail.
    pub fn probe(&self, on: bool) {
        match self {
            Self::Kakao(client) => client.probe(on),
            Self::Ncp(client) => client.probe(on),
        }
    }

    /// Everything the credential can see, each Redis handed to `take_in` as soon as it has come, also one that cannot be read. An
    /// answer that has to be read again hands it over again.
    ///
    /// # Errors
    /// A list that did not come whole.
    pub async fn list<T: Send>(&self, take_in: &(dyn Fn(Row<Picture>) -> T + Sync)) -> Result<Vec<T>, CloudError> {
        match self {
            Self::Kakao(client) => client.clusters_as(&|row| take_in(row.map(picture::of_kakao))).await,
            Self::Ncp(client) => client.instances_as(&|row| take_in(row.map(picture::of_ncp))).await,
        }
    }

    /// One cluster or instance; none if the cloud does not have it.
    ///
    /// # Errors
    /// Anything but a plain "no such cluster".
    pub async fn read(&self, id: &str) -> Result<Option<Picture>, CloudError> {
        match self {
            Self::Kakao(client) => match client.cluster(id).await {
                Ok(cluster) => Ok(Some(picture::of_kakao(cluster))),
                Err(error) if error.kind == ErrorKind::NotFound => Ok(None),
                Err(error) => Err(error),
            },
            Self::Ncp(client) => Ok(client.instance(id).await?.map(picture::of_ncp)),
        }
    }

    /// Versions and flavors on offer, and whether that is all there is: what failed is left out.
    pub async fn catalog(&self) -> (Catalog, bool) {
        let Self::Kakao(client) = self else { return (Catalog::default(), true) };
        let (versions, flavors) = tokio::join!(client.versions(), client.flavors());
        let versions = versions.ok().map(|versions| versions.into_iter().filter_map(normalise::text).collect());
        let flavors = flavors.ok().map(|flavors| {
            let entry = |flavor: crate::cloud::kakao::Flavor| {
                let status = FlavorStatus {
                    id: Some(flavor.id.clone()),
                    name: flavor.name,
                    vcpus: flavor.vcpus,
                    memory_mib: flavor.memory_mib,
                };
                (flavor.id, status)
            };
            flavors.into_iter().map(entry).collect()
        });
        let whole = versions.is_some() && flavors.is_some();
        (Catalog { versions, flavors }, whole)
    }
}
