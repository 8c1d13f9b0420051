//! The client of one connection, whichever cloud and product it is for. A new product family adds its variant to [`Location`] and to
//! [`CloudClient`] here.

use std::time::Duration;

use super::instance::Instance;
use super::packed::Catalog;
use crate::api::cluster_ref::FlavorStatus;
use crate::api::{Provider, Target};
use crate::cloud::kakao::{Flavor, KakaoClient, KakaoCredentials};
use crate::cloud::ncp::{NcpClient, NcpCredentials};
use crate::cloud::{CloudError, Credentials, ErrorKind, Flush, HttpCore, Row, SetupError, normalise};
use crate::digest;

/// Where a product of a provider is reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Location<'a> {
    /// KakaoCloud Redis in a region.
    KakaoCloud {
        /// The region.
        region: &'a str,
    },
    /// NCP Cloud DB (Classic) at a site.
    NcpClassic {
        /// The site.
        site: &'a str,
    },
}

impl<'a> From<Target<'a>> for Location<'a> {
    fn from(target: Target<'a>) -> Self {
        match target {
            Target::KakaoCloud { region, .. } => Self::KakaoCloud { region },
            Target::NcpClassic { site, .. } => Self::NcpClassic { site: site.as_str() },
        }
    }
}

impl Location<'_> {
    /// The provider of the product.
    pub fn provider(self) -> Provider {
        match self {
            Self::KakaoCloud { .. } => Provider::KakaoCloud,
            Self::NcpClassic { .. } => Provider::Ncp,
        }
    }

    /// What tells the locations of a provider apart.
    fn parts(&self) -> [&str; 1] {
        match self {
            Self::KakaoCloud { region } => [region],
            Self::NcpClassic { site } => [site],
        }
    }
}

/// What it takes to talk to a cloud: where, and with which credential.
#[derive(Clone, Debug)]
pub struct Access<'a> {
    location: Location<'a>,
    credentials: Credentials,
    id: ConnectionId,
}

impl<'a> Access<'a> {
    /// Access to a location with a credential of its provider.
    pub fn new(location: Location<'a>, credentials: Credentials) -> Self {
        let fingerprint = credentials.fingerprint();
        let parts = [location.provider().as_str()].into_iter().chain(location.parts()).chain([fingerprint.as_str()]);
        let id = ConnectionId(digest::hex(parts));
        Self { location, credentials, id }
    }

    /// The connection that it is access to.
    pub fn id(&self) -> &ConnectionId {
        &self.id
    }
}

/// What identifies a connection: a digest of location and credential.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ConnectionId(String);

impl ConnectionId {
    /// Eight hex digits for logs and metrics: enough to tell connections apart, too little to guess a key by.
    pub fn label(&self) -> String {
        self.0.chars().take(8).collect()
    }
}

/// A client of one of the clouds. Cheap to clone; clones share limits and token.
#[derive(Clone)]
pub enum CloudClient {
    /// KakaoCloud.
    Kakao(KakaoClient),
    /// NAVER Cloud Platform.
    Ncp(NcpClient),
}

impl CloudClient {
    /// A client with limits of its own. Nothing is sent yet.
    ///
    /// # Errors
    /// An unknown region or site, or a credential that cannot be used.
    pub fn connect(core: &HttpCore, access: &Access<'_>) -> Result<Self, SetupError> {
        match (access.location, &access.credentials) {
            (Location::KakaoCloud { region }, Credentials::Kakao(credentials)) => {
                KakaoClient::new(core, region, KakaoCredentials::clone(credentials)).map(Self::Kakao)
            }
            (Location::NcpClassic { site }, Credentials::Ncp(credentials)) => {
                NcpClient::new(core, site, NcpCredentials::clone(credentials)).map(Self::Ncp)
            }
            (location, _) => {
                let provider = location.provider();
                Err(SetupError::Settings(format!("the credential is not one of {provider}; please report this defect")))
            }
        }
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

    /// The same connection, whose reads are tried once only: for a cloud that is known to fail.
    #[must_use]
    pub fn without_retries(&self) -> Self {
        match self {
            Self::Kakao(client) => Self::Kakao(client.without_retries()),
            Self::Ncp(client) => Self::Ncp(client.without_retries()),
        }
    }

    /// Everything the credential can see. Each Redis is handed to `take_in` as soon as it has come, also one that cannot be read; an
    /// answer that has to be read again hands it over again.
    ///
    /// # Errors
    /// A list that did not come whole.
    pub async fn list<T: Send>(&self, take_in: &(dyn Fn(Row<Instance>) -> T + Sync)) -> Result<Vec<T>, CloudError> {
        match self {
            Self::Kakao(client) => client.clusters_as(&|row| take_in(row.map(Instance::from))).await,
            Self::Ncp(client) => client.instances_as(&|row| take_in(row.map(Instance::from))).await,
        }
    }

    /// One cluster or instance; none if the cloud does not have it.
    ///
    /// # Errors
    /// Anything but a plain "no such cluster".
    pub async fn read(&self, id: &str) -> Result<Option<Instance>, CloudError> {
        match self {
            Self::Kakao(client) => match client.cluster(id).await {
                Ok(cluster) => Ok(Some(cluster.into())),
                Err(error) if error.kind == ErrorKind::NotFound => Ok(None),
                Err(error) => Err(error),
            },
            Self::Ncp(client) => Ok(client.instance(id).await?.map(Instance::from)),
        }
    }

    /// Versions and flavors on offer, and whether that is all there is: a part that failed is left out.
    pub async fn catalog(&self) -> (Catalog, bool) {
        let Self::Kakao(client) = self else { return (Catalog::default(), true) };
        let (versions, flavors) = tokio::join!(client.versions(), client.flavors());
        let versions = versions.ok().map(|versions| versions.into_iter().filter_map(normalise::text).collect());
        let flavors = flavors.ok().map(|flavors| flavors.into_iter().map(flavor_by_id).collect());
        let is_whole = versions.is_some() && flavors.is_some();
        (Catalog { versions, flavors }, is_whole)
    }
}

fn flavor_by_id(flavor: Flavor) -> (String, FlavorStatus) {
    let Flavor { id, name, vcpus, memory_mib } = flavor;
    (id.clone(), FlavorStatus { id: Some(id), name, vcpus, memory_mib })
}
