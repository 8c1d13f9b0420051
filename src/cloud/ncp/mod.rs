//! NAVER Cloud Platform, Cloud DB (Classic): Redis. `/clouddb/v2` on a site's API gateway, signed with version 2.

pub mod classify;
mod flush;
mod model;
mod ops;
mod response;
mod sign;
mod xml;

use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;

use secrecy::SecretString;

use super::credential::{self, CredentialError, SecretSource};
use super::error::{CloudError, ErrorKind, Executed, Failure, SetupError};
use super::list::Row;
use super::normalise;
use super::transport::{Attempts, HttpCore, Operation as _, Transport};
use crate::api::Provider;
pub use model::{
    AccessControlGroup, CloudDbInstance, CommonCode, ConfigGroup, Engine, FlushReply, ServerInstance, Zone,
};
use ops::{Filter, FlushCloudDbInstance, GetCloudDbInstanceList, Page};
use sign::Signer;

/// Key of a Secret: the access key ID.
pub const ACCESS_KEY: &str = "NCLOUD_ACCESS_KEY";
/// Key of a Secret: the secret key.
pub const SECRET_KEY: &str = "NCLOUD_SECRET_KEY";

/// An API authentication key of NCP.
#[derive(Clone)]
pub struct NcpCredentials {
    /// `NCLOUD_ACCESS_KEY`.
    pub access_key: SecretString,
    /// `NCLOUD_SECRET_KEY`.
    pub secret_key: SecretString,
}

impl NcpCredentials {
    /// The credential in a Secret.
    ///
    /// # Errors
    /// Names the key that is missing or cannot be used.
    pub fn from_secret(secret: &dyn SecretSource) -> Result<Self, CredentialError> {
        match (credential::read(secret, ACCESS_KEY)?, credential::read(secret, SECRET_KEY)?) {
            (Some(access_key), Some(secret_key)) => Ok(Self { access_key, secret_key }),
            (Some(_), None) => Err(CredentialError::Missing { expected: "NCLOUD_SECRET_KEY beside NCLOUD_ACCESS_KEY" }),
            (None, Some(_)) => Err(CredentialError::Missing { expected: "NCLOUD_ACCESS_KEY beside NCLOUD_SECRET_KEY" }),
            (None, None) => Err(CredentialError::Missing { expected: "NCLOUD_ACCESS_KEY and NCLOUD_SECRET_KEY" }),
        }
    }

    /// Checks that both parts can be sent as they are.
    ///
    /// # Errors
    /// Names the key whose value cannot be used, never the value.
    pub fn validate(&self) -> Result<(), CredentialError> {
        credential::check_secret(ACCESS_KEY, &self.access_key)?;
        credential::check_secret(SECRET_KEY, &self.secret_key)
    }

    /// A hash that is equal for equal credentials, as a key for connections in memory; not for display.
    #[must_use]
    pub fn fingerprint(&self) -> String {
        credential::fingerprint(&[&self.access_key, &self.secret_key])
    }
}

/// Shows neither key.
impl fmt::Debug for NcpCredentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("NcpCredentials")
    }
}

/// One connection to NCP: a site and a credential. Cheap to clone; clones share limits.
#[derive(Clone)]
pub struct NcpClient {
    gateway: Arc<Transport>,
    signer: Arc<Signer>,
    attempts: Attempts,
}

impl NcpClient {
    /// A connection to the site's gateway (`Public`, `Gov` or `Fin`). Nothing is sent yet.
    ///
    /// # Errors
    /// An unknown site, or a credential that cannot be used.
    pub fn new(core: &HttpCore, site: &str, credentials: NcpCredentials) -> Result<Self, SetupError> {
        credentials.validate()?;
        let gateway = core.connection(Provider::Ncp, core.settings.ncp.lookup(site)?);
        let signer = Arc::new(Signer::new(credentials, core.clock.clone()));
        Ok(Self { gateway: Arc::new(gateway), signer, attempts: Attempts::Retried })
    }

    /// All Redis instances (`getCloudDBInstanceList` with `dbKindCode=REDIS`) that can be read, all pages of them, each number
    /// once.
    ///
    /// # Errors
    /// [`CloudError`], also when the pages do not add up to the number of rows that the cloud states: a partial list is
    /// never returned.
    pub async fn instances(&self) -> Result<Vec<CloudDbInstance>, CloudError> {
        Ok(self.instances_as(&Row::ok).await?.into_iter().flatten().collect())
    }

    /// As [`NcpClient::instances`], each handed to `take_in` with its page, so that they are never all in memory; also those
    /// that cannot be read.
    ///
    /// # Errors
    /// As [`NcpClient::instances`].
    pub async fn instances_as<T: Send>(
        &self,
        take_in: &(dyn Fn(Row<CloudDbInstance>) -> T + Sync),
    ) -> Result<Vec<T>, CloudError> {
        let most = self.gateway.settings().max_clusters;
        let mut instances = Vec::new();
        let mut numbers = BTreeSet::new();
        for page_no in 1.. {
            let page = self.list(Filter::Page(page_no)).await?;
            let rows = page.instances.len();
            let before = instances.len();
            // A page that moved while it was read repeats instances of the one before.
            let fresh =
                page.instances.into_iter().filter(|row| number(row).is_none_or(|no| numbers.insert(no.to_owned())));
            instances.extend(fresh.map(take_in));
            let total = page.total_rows.map(|total| usize::try_from(total).unwrap_or(0));
            if instances.len().max(total.unwrap_or_default()) > most {
                return Err(too_many(most));
            }
            let pages = total.unwrap_or(most) / ops::PAGE_SIZE + 1;
            match total {
                Some(total) if instances.len() >= total => break,
                None if rows < ops::PAGE_SIZE => break,
                _ if instances.len() > before && usize::try_from(page_no).is_ok_and(|page_no| page_no < pages) => {}
                _ => return Err(partial_list(instances.len(), total)),
            }
        }
        Ok(instances)
    }

    /// The time between two requests in the long run.
    #[must_use]
    pub fn pace(&self) -> std::time::Duration {
        self.gateway.pace()
    }

    /// The same connection, whose reads are tried once only: for a cloud that is known to fail.
    #[must_use]
    pub fn without_retries(&self) -> Self {
        Self { attempts: Attempts::Single, ..self.clone() }
    }

    /// One Redis instance by its number (`cloudDBInstanceNoList.1`). None proves that it does not exist: the cloud said so
    /// (5001017), or gave an empty list.
    ///
    /// # Errors
    /// [`CloudError`]; never [`ErrorKind::NotFound`].
    pub async fn instance(&self, no: &str) -> Result<Option<CloudDbInstance>, CloudError> {
        check_number(GetCloudDbInstanceList::NAME, no)?;
        let page = match self.list(Filter::Number(no.to_owned())).await {
            Err(error) if error.kind == ErrorKind::NotFound => return Ok(None),
            outcome => outcome?,
        };
        let mut others = false;
        let mut found = None;
        for row in page.instances {
            if number(&row) != Some(no) {
                others = true;
            } else if found.replace(row).is_some() {
                return Err(unexpected(format!("the list has the instance {no} twice")));
            }
        }
        match found {
            None if others => Err(unexpected(format!("the list has other instances where only {no} was asked for"))),
            None => Ok(None),
            Some(Row::Read(instance)) => Ok(Some(instance)),
            Some(Row::Unreadable(unreadable)) => Err((*unreadable.error).clone()),
        }
    }

    /// Wipes an instance (`flushCloudDBInstance`): every key is gone. Sent at most once: a POST over a connection of its
    /// own, with no retry and no redirect. A caller that drops this future must take it for [`Executed::Unknown`].
    ///
    /// # Errors
    /// [`CloudError::executed`] tells whether the flush may have been executed; see [`classify::flush_executed`].
    pub async fn flush(&self, no: &str) -> Result<FlushReply, CloudError> {
        check_number(FlushCloudDbInstance::NAME, no)?;
        self.gateway.run(&FlushCloudDbInstance { no }, &*self.signer, self.attempts).await
    }

    async fn list(&self, filter: Filter) -> Result<Page, CloudError> {
        self.gateway.run(&GetCloudDbInstanceList { filter }, &*self.signer, self.attempts).await
    }
}

/// The decoders, for [`crate::cloud::testing`].
pub(in crate::cloud) mod testing {
    use super::super::error::Failure;
    use super::super::list::Row;
    use super::super::response::Response;
    use super::super::transport::{Refuse, decode_bytes};
    use super::{CloudDbInstance, Filter, FlushCloudDbInstance, FlushReply, GetCloudDbInstanceList};

    pub(in crate::cloud) fn list(response: Response, refuse: Refuse<'_>) -> Result<Vec<Row<CloudDbInstance>>, Failure> {
        let operation = GetCloudDbInstanceList { filter: Filter::Page(1) };
        decode_bytes(&operation, response, refuse).map(|page| page.instances)
    }

    pub(in crate::cloud) fn flush(response: Response, refuse: Refuse<'_>) -> Result<FlushReply, Failure> {
        decode_bytes(&FlushCloudDbInstance { no: "771203" }, response, refuse)
    }
}

/// The number of an instance, if it could be found.
fn number(row: &Row<CloudDbInstance>) -> Option<&str> {
    match row {
        Row::Read(instance) => instance.no.as_deref(),
        Row::Unreadable(unreadable) => unreadable.id.as_deref(),
    }
}

fn check_number(operation: &'static str, no: &str) -> Result<(), CloudError> {
    if normalise::is_identifier(no) {
        return Ok(());
    }
    let message = format!("{no:?} is no instance number, so nothing was sent");
    Err(Failure::not_sent(ErrorKind::BadRequest, message).into_error(Provider::Ncp, operation, &[]))
}

fn unexpected(message: String) -> CloudError {
    Failure::unexpected(message).executed(Executed::No).into_error(Provider::Ncp, GetCloudDbInstanceList::NAME, &[])
}

fn too_many(most: usize) -> CloudError {
    let advice = "if there are that many, raise --max-clusters";
    unexpected(format!("it lists more than {most} instances for this credential; {advice}"))
}

fn partial_list(read: usize, total: Option<usize>) -> CloudError {
    let total = total.map_or_else(|| "more".to_owned(), |total| total.to_string());
    unexpected(format!("the list broke off after {read} of {total} instances"))
}
