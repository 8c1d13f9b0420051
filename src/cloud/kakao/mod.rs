//! KakaoCloud Redis (MemStore): `https://redis.{region}.kakaocloud.com`, authorised by a token from KakaoCloud IAM.

mod auth;
mod model;
mod ops;
mod refusal;

use std::fmt;
use std::sync::Arc;

use secrecy::SecretString;

use super::credential::{self, CredentialError, SecretSource};
use super::error::{CloudError, ErrorKind, Failure, SetupError};
use super::list::Row;
use super::normalise;
use super::response::Response;
use super::transport::{Attempts, HttpCore, Operation, Transport, decode_bytes};
use crate::api::Provider;
use auth::TokenSource;
pub use model::{ApplyReply, BackupSchedule, Cluster, Endpoints, Flavor, ShardSubnets};

/// Key of a Secret: the application credential's ID.
pub const APPLICATION_CREDENTIAL_ID: &str = "KAKAOCLOUD_APPLICATION_CREDENTIAL_ID";
/// Key of a Secret: the application credential's secret.
pub const APPLICATION_CREDENTIAL_SECRET: &str = "KAKAOCLOUD_APPLICATION_CREDENTIAL_SECRET";
/// Key of a Secret: a token that is renewed outside of the operator.
pub const TOKEN: &str = "KAKAOCLOUD_TOKEN";

/// What authorises the operator towards KakaoCloud.
#[derive(Clone)]
pub enum KakaoCredentials {
    /// Tokens are issued and renewed with it.
    ApplicationCredential {
        /// `KAKAOCLOUD_APPLICATION_CREDENTIAL_ID`.
        id: SecretString,
        /// `KAKAOCLOUD_APPLICATION_CREDENTIAL_SECRET`.
        secret: SecretString,
    },
    /// `KAKAOCLOUD_TOKEN`: used as it is, never renewed.
    Token(SecretString),
}

impl KakaoCredentials {
    /// The credential in a Secret. The application credential goes before the token, because it can be renewed.
    ///
    /// # Errors
    /// Names the key that is missing or cannot be used.
    pub fn from_secret(secret: &dyn SecretSource) -> Result<Self, CredentialError> {
        let id = credential::read(secret, APPLICATION_CREDENTIAL_ID)?;
        let key = credential::read(secret, APPLICATION_CREDENTIAL_SECRET)?;
        let token = credential::read(secret, TOKEN)?;
        let expected = match (id, key, token) {
            (Some(id), Some(secret), _) => return Ok(Self::ApplicationCredential { id, secret }),
            (_, _, Some(token)) => return Ok(Self::Token(token)),
            (Some(_), None, None) => "KAKAOCLOUD_APPLICATION_CREDENTIAL_SECRET beside the ID",
            (None, Some(_), None) => "KAKAOCLOUD_APPLICATION_CREDENTIAL_ID beside the secret",
            (None, None, None) => {
                "KAKAOCLOUD_APPLICATION_CREDENTIAL_ID and KAKAOCLOUD_APPLICATION_CREDENTIAL_SECRET (or KAKAOCLOUD_TOKEN)"
            }
        };
        Err(CredentialError::Missing { expected })
    }

    /// Checks that every part can be sent as it is.
    ///
    /// # Errors
    /// Names the key whose value cannot be used, never the value.
    pub fn validate(&self) -> Result<(), CredentialError> {
        match self {
            Self::ApplicationCredential { id, secret } => {
                credential::check_secret(APPLICATION_CREDENTIAL_ID, id)?;
                credential::check_secret(APPLICATION_CREDENTIAL_SECRET, secret)
            }
            Self::Token(token) => credential::check_secret(TOKEN, token),
        }
    }

    /// A hash that is equal for equal credentials, as a key for connections in memory; not for display.
    #[must_use]
    pub fn fingerprint(&self) -> String {
        match self {
            Self::ApplicationCredential { id, secret } => credential::fingerprint(&[id, secret]),
            Self::Token(token) => credential::fingerprint(&[token]),
        }
    }
}

/// Says which kind of credential it is and nothing else.
impl fmt::Debug for KakaoCredentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::ApplicationCredential { .. } => "KakaoCredentials::ApplicationCredential",
            Self::Token(_) => "KakaoCredentials::Token",
        })
    }
}

/// One connection to KakaoCloud Redis: a region and a credential. Cheap to clone; clones share limits and token.
#[derive(Clone)]
pub struct KakaoClient {
    redis: Arc<Transport>,
    tokens: Arc<TokenSource>,
    attempts: Attempts,
}

impl KakaoClient {
    /// A connection to the region's endpoint. Nothing is sent yet.
    ///
    /// # Errors
    /// An unknown region, or a credential that cannot be used.
    pub fn new(core: &HttpCore, region: &str, credentials: KakaoCredentials) -> Result<Self, SetupError> {
        credentials.validate()?;
        let redis = core.connection(Provider::KakaoCloud, core.settings.kakao.lookup(region)?);
        let tokens = match credentials {
            KakaoCredentials::Token(token) => TokenSource::fixed(token),
            KakaoCredentials::ApplicationCredential { id, secret } => {
                let iam = core.connection(Provider::KakaoCloud, core.settings.kakao_iam.lookup(region)?);
                TokenSource::issued(iam, core.clock.clone(), id, secret)
            }
        };
        Ok(Self { redis: Arc::new(redis), tokens: Arc::new(tokens), attempts: Attempts::Retried })
    }

    /// The engine versions on offer (`GET /v1/redis/versions`), in the cloud's order.
    ///
    /// # Errors
    /// [`CloudError`]; never [`ErrorKind::NotFound`].
    pub async fn versions(&self) -> Result<Vec<String>, CloudError> {
        self.run(&ops::ListEngineVersions).await
    }

    /// The flavors on offer (`GET /v1/redis/flavors`).
    ///
    /// # Errors
    /// [`CloudError`]; never [`ErrorKind::NotFound`].
    pub async fn flavors(&self) -> Result<Vec<Flavor>, CloudError> {
        self.run(&ops::ListFlavors).await
    }

    /// All clusters and instance sets (`GET /v1/clusters`) that can be read. The list can leave out the parameter group of a cluster.
    /// Its body may be larger than others', see [`CloudSettings::max_list_bytes`](super::CloudSettings).
    ///
    /// # Errors
    /// [`CloudError`]; never [`ErrorKind::NotFound`].
    pub async fn clusters(&self) -> Result<Vec<Cluster>, CloudError> {
        Ok(self.clusters_as(&Row::ok).await?.into_iter().flatten().collect())
    }

    /// As [`KakaoClient::clusters`], each handed to `take_in` as soon as it has come, so that they are never all in memory; also
    /// those that cannot be read.
    ///
    /// # Errors
    /// As [`KakaoClient::clusters`].
    pub async fn clusters_as<T: Send>(
        &self,
        take_in: &(dyn Fn(Row<Cluster>) -> T + Sync),
    ) -> Result<Vec<T>, CloudError> {
        self.run(&ops::ListClusters { take_in, most: self.redis.settings().max_clusters }).await
    }

    /// The time between two requests in the long run.
    #[must_use]
    pub fn pace(&self) -> std::time::Duration {
        self.redis.pace()
    }

    /// The same connection, whose reads are tried once only: for a cloud that is known to fail.
    #[must_use]
    pub fn without_retries(&self) -> Self {
        Self { attempts: Attempts::Single, ..self.clone() }
    }

    /// One cluster or instance set (`GET /v1/clusters/{id}`).
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`] proves that it does not exist; every other [`CloudError`] proves nothing.
    pub async fn cluster(&self, id: &str) -> Result<Cluster, CloudError> {
        check_id(ops::GetCluster::NAME, id)?;
        self.run(&ops::GetCluster { id }).await
    }

    /// Asks for the parameter group to be applied again (`POST /v1/clusters/{id}/parameter-group/apply`). Success means
    /// accepted: the result shows in [`Cluster::parameter_group_sync_status`] alone.
    ///
    /// # Errors
    /// [`ErrorKind::Busy`] while another operation runs (HTTP 409); [`CloudError::executed`] tells whether the request may
    /// have been accepted.
    pub async fn apply_parameter_group(&self, id: &str) -> Result<ApplyReply, CloudError> {
        check_id(ops::ApplyParameterGroup::NAME, id)?;
        self.run(&ops::ApplyParameterGroup { id }).await
    }

    /// Runs an operation; a 401 renews the token once and asks once more. A 403 never does: a new token has no new rights.
    async fn run<O: Operation>(&self, operation: &O) -> Result<O::Output, CloudError> {
        let token = self.tokens.token(self.attempts).await?;
        match self.redis.run(operation, &*token, self.attempts).await {
            Err(error) if error.http_status == Some(401) && self.tokens.is_renewable() => {
                let token = self.tokens.renew(&token, self.attempts).await?;
                self.redis.run(operation, &*token, self.attempts).await
            }
            outcome => outcome,
        }
    }
}

/// Reads the body of a list as [`KakaoClient::clusters_as`] does, for benchmarks.
///
/// # Errors
/// What is wrong with it.
pub fn clusters_in<T: Send>(body: Vec<u8>, take_in: &(dyn Fn(Row<Cluster>) -> T + Sync)) -> Result<Vec<T>, CloudError> {
    let failed = |failure: Failure| failure.into_error(Provider::KakaoCloud, "listClusters", &[]);
    let operation = ops::ListClusters { take_in, most: super::MAX_CLUSTERS };
    decode_bytes(&operation, Response::received(200, body), &failed).map_err(failed)
}

/// The decoders, for [`crate::cloud::testing`].
pub(in crate::cloud) mod testing {
    use jiff::Timestamp;

    use super::super::error::Failure;
    use super::super::list::Row;
    use super::super::response::Response;
    use super::super::transport::{Refuse, decode_bytes};
    use super::{ApplyReply, Cluster, Flavor, auth, ops};

    pub(in crate::cloud) fn list(response: Response, refuse: Refuse<'_>) -> Result<Vec<Row<Cluster>>, Failure> {
        let operation = ops::ListClusters { take_in: &|cluster| cluster, most: crate::cloud::MAX_CLUSTERS };
        decode_bytes(&operation, response, refuse)
    }

    pub(in crate::cloud) fn detail(response: Response, refuse: Refuse<'_>) -> Result<Cluster, Failure> {
        decode_bytes(&ops::GetCluster { id: "c-1" }, response, refuse)
    }

    pub(in crate::cloud) fn versions(response: Response, refuse: Refuse<'_>) -> Result<Vec<String>, Failure> {
        decode_bytes(&ops::ListEngineVersions, response, refuse)
    }

    pub(in crate::cloud) fn flavors(response: Response, refuse: Refuse<'_>) -> Result<Vec<Flavor>, Failure> {
        decode_bytes(&ops::ListFlavors, response, refuse)
    }

    pub(in crate::cloud) fn apply(response: Response, refuse: Refuse<'_>) -> Result<ApplyReply, Failure> {
        decode_bytes(&ops::ApplyParameterGroup { id: "c-1" }, response, refuse)
    }

    pub(in crate::cloud) fn token(response: Response, refuse: Refuse<'_>) -> Result<Timestamp, Failure> {
        auth::decode_token(response, refuse)
    }
}

/// An ID goes into a path: one that could change the path is refused here.
fn check_id(operation: &'static str, id: &str) -> Result<(), CloudError> {
    if normalise::is_identifier(id) {
        return Ok(());
    }
    let message = format!("{id:?} is no cluster ID (letters, digits, dashes and underscores), so nothing was sent");
    Err(Failure::not_sent(ErrorKind::BadRequest, message).into_error(Provider::KakaoCloud, operation, &[]))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    fn secret(entries: &[(&str, &str)]) -> BTreeMap<String, Vec<u8>> {
        entries.iter().map(|(key, value)| ((*key).to_owned(), value.as_bytes().to_vec())).collect()
    }

    #[test]
    fn the_renewable_credential_goes_first() {
        let data = secret(&[(APPLICATION_CREDENTIAL_ID, "id"), (APPLICATION_CREDENTIAL_SECRET, "s"), (TOKEN, "t")]);
        let credentials = KakaoCredentials::from_secret(&data).unwrap();
        assert!(matches!(credentials, KakaoCredentials::ApplicationCredential { .. }));
        let credentials = KakaoCredentials::from_secret(&secret(&[(TOKEN, "t")])).unwrap();
        assert!(matches!(credentials, KakaoCredentials::Token(_)));
    }

    #[test]
    fn a_missing_half_is_named() {
        for (entries, named) in [
            (vec![], "KAKAOCLOUD_TOKEN"),
            (vec![(APPLICATION_CREDENTIAL_ID, "id")], APPLICATION_CREDENTIAL_SECRET),
            (vec![(APPLICATION_CREDENTIAL_SECRET, "s")], APPLICATION_CREDENTIAL_ID),
            (vec![(APPLICATION_CREDENTIAL_ID, "id\n"), (APPLICATION_CREDENTIAL_SECRET, "s")], "line break"),
        ] {
            let error = KakaoCredentials::from_secret(&secret(&entries)).unwrap_err().to_string();
            assert!(error.contains(named), "{entries:?}: {error}");
        }
    }

    #[test]
    fn debug_shows_no_part_of_a_credential() {
        let token = KakaoCredentials::Token(SecretString::from("hunter22"));
        let pair = KakaoCredentials::ApplicationCredential { id: "hunter22".into(), secret: "hunter22".into() };
        assert!(!format!("{token:?} {pair:?}").contains("hunter22"));
    }

    #[test]
    fn an_id_cannot_leave_its_path_segment() {
        for id in ["", ".", "..", "a/b", "a?b", "a#b", "a b", "a\nb", "%2e%2e", &"a".repeat(129)] {
            let error = check_id("getCluster", id).unwrap_err();
            assert_eq!((error.kind, error.executed), (ErrorKind::BadRequest, super::super::Executed::No), "{id:?}");
        }
        assert!(check_id("getCluster", "3f1c2d4e-7347-4d87-a49f-e705e91db2fb").is_ok());
    }
}
