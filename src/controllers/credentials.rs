//! Credentials of the tenants: read by `get` only, from the namespace of the object that names them.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use k8s_openapi::api::core::v1::Secret;
use kube::{Api, Client};

use super::problem::Problem;
use crate::cloud::kakao::KakaoCredentials;
use crate::cloud::ncp::NcpCredentials;
use crate::cloud::{Provider, SetupError};

/// How long a Secret that was read serves other objects that name it. Well below the shortest poll interval (10 s), so that
/// a changed Secret is noticed within one.
const SHARED_FOR: Duration = Duration::from_secs(5);
/// Read Secrets kept at most; beyond it, all are read anew.
const MAX_KEPT: usize = 4096;

/// A credential of one of the clouds.
#[derive(Clone, Debug)]
pub enum Credentials {
    /// For KakaoCloud.
    Kakao(Arc<KakaoCredentials>),
    /// For NCP.
    Ncp(Arc<NcpCredentials>),
}

impl Credentials {
    /// Equal for equal credentials; not for display.
    pub fn fingerprint(&self) -> String {
        match self {
            Self::Kakao(credentials) => credentials.fingerprint(),
            Self::Ncp(credentials) => credentials.fingerprint(),
        }
    }
}

/// Which cloud a Secret is read for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Cloud {
    /// KakaoCloud.
    Kakao,
    /// NCP.
    Ncp,
}

impl Cloud {
    /// The provider of that cloud.
    pub fn provider(self) -> Provider {
        match self {
            Self::Kakao => Provider::KakaoCloud,
            Self::Ncp => Provider::Ncp,
        }
    }
}

type Key = (Cloud, String, String);

/// Reads Secrets, and shares what it read for a moment.
pub struct Secrets {
    client: Client,
    kept: Mutex<HashMap<Key, (Instant, Credentials)>>,
}

impl Secrets {
    /// Reads through this client.
    pub fn new(client: Client) -> Self {
        Self { client, kept: Mutex::default() }
    }

    /// The credential in a Secret. `anew` reads it even if it was read a moment ago: after a rejection.
    ///
    /// # Errors
    /// A problem for the conditions: no such Secret, no such key, a value that cannot be a key.
    pub async fn get(&self, cloud: Cloud, namespace: &str, name: &str, anew: bool) -> Result<Credentials, Problem> {
        let key = (cloud, namespace.to_owned(), name.to_owned());
        if !anew && let Some(credentials) = self.kept(&key) {
            return Ok(credentials);
        }
        let credentials = self.read(cloud, namespace, name).await?;
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        if kept.len() >= MAX_KEPT {
            kept.clear();
        }
        kept.insert(key, (Instant::now(), credentials.clone()));
        Ok(credentials)
    }

    fn kept(&self, key: &Key) -> Option<Credentials> {
        let kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        kept.get(key).filter(|(at, _)| at.elapsed() < SHARED_FOR).map(|(_, credentials)| credentials.clone())
    }

    async fn read(&self, cloud: Cloud, namespace: &str, name: &str) -> Result<Credentials, Problem> {
        let api: Api<Secret> = Api::namespaced(self.client.clone(), namespace);
        let secret = match api.get_opt(name).await {
            Ok(Some(secret)) => secret,
            Ok(None) => {
                let message = format!("Secret {name} is not in namespace {namespace}: create it, or correct its name");
                return Err(Problem::stalled("CredentialsNotFound", message));
            }
            Err(kube::Error::Api(status)) if status.is_forbidden() => {
                let message =
                    format!("the operator may not get Secret {name} in namespace {namespace}: allow it by a Role");
                return Err(Problem::stalled("CredentialsNotFound", message));
            }
            Err(error) => {
                let message = format!("Secret {name} could not be read from the Kubernetes API: {error}");
                return Err(Problem::passing("CloudUnavailable", message));
            }
        };
        let data: BTreeMap<String, Vec<u8>> =
            secret.data.unwrap_or_default().into_iter().map(|(key, value)| (key, value.0)).collect();
        let parsed = match cloud {
            Cloud::Kakao => KakaoCredentials::from_secret(&data).map(|found| Credentials::Kakao(Arc::new(found))),
            Cloud::Ncp => NcpCredentials::from_secret(&data).map(|found| Credentials::Ncp(Arc::new(found))),
        };
        parsed.map_err(|error| {
            let problem = Problem::from(&SetupError::from(error));
            Problem { message: format!("Secret {name}: {}", problem.message), ..problem }
        })
    }
}
