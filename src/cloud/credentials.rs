//! A credential of either cloud.

use std::sync::Arc;

use super::credential::{CredentialError, SecretSource};
use super::kakao::KakaoCredentials;
use super::ncp::NcpCredentials;
use crate::api::Provider;

/// A credential of one of the clouds. Its `Debug` shows no part of a key.
#[derive(Clone, Debug)]
pub enum Credentials {
    /// For KakaoCloud.
    Kakao(Arc<KakaoCredentials>),
    /// For NCP.
    Ncp(Arc<NcpCredentials>),
}

impl Credentials {
    /// The credential for a provider in a Secret.
    ///
    /// # Errors
    /// Names the key that is missing or cannot be used.
    pub fn from_secret(provider: Provider, secret: &dyn SecretSource) -> Result<Self, CredentialError> {
        Ok(match provider {
            Provider::KakaoCloud => Self::Kakao(Arc::new(KakaoCredentials::from_secret(secret)?)),
            Provider::Ncp => Self::Ncp(Arc::new(NcpCredentials::from_secret(secret)?)),
        })
    }

    /// A hash that is equal for equal credentials; not for display.
    #[must_use]
    pub fn fingerprint(&self) -> String {
        match self {
            Self::Kakao(credentials) => credentials.fingerprint(),
            Self::Ncp(credentials) => credentials.fingerprint(),
        }
    }
}
