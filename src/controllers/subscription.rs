//! What an object subscribes to: from its spec and a Secret to a connection of the inventory. Every kind that observes a cloud comes
//! here.

use std::sync::Arc;
use std::time::Duration;

use super::context::Context;
use super::problem::Problem;
use super::secrets::{Freshness, SecretKey};
use crate::api::RedisClusterRef;
use crate::api::shared::generation;
use crate::api::{Target, TargetError};
use crate::cloud::ErrorKind;
use crate::inventory::{
    Access, CloudClient, Connection, Location, Observation, Query, Subscriber, SubscriberKind, Subscription,
};

/// What is known about the target of a reference.
#[derive(Debug)]
pub(crate) struct Subscribed {
    /// The reference's connection.
    pub connection: Arc<Connection>,
    /// What it asks of the connection.
    pub query: Query,
    /// What is known about that.
    pub observation: Observation,
}

/// A location of a cloud, and the Secret with the credential for it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Account<'a> {
    /// The location.
    pub location: Location<'a>,
    /// Namespace of the Secret.
    pub namespace: &'a str,
    /// Name of the Secret.
    pub secret: &'a str,
}

/// Subscribes to the target of a reference, and says what is known about it.
///
/// # Errors
/// A problem for the conditions, when the cloud cannot even be asked.
pub(crate) async fn observe(
    ctx: &Context,
    reference: &RedisClusterRef,
    subscriber: &Subscriber,
    interval: Duration,
    refresh_requested: Option<&str>,
) -> Result<Subscribed, Problem> {
    let (target, account) = resolve(reference)?;
    let query = query(reference, target);
    let is_reference = subscriber.kind == SubscriberKind::ClusterRef;
    let can_wait = is_reference && refresh_requested.is_none() && status_is_current(reference);
    let subscription = Subscription { subscriber, query: &query, interval, refresh_requested, can_wait };
    let (connection, observation) = observe_account(ctx, &account, &subscription).await?;
    Ok(Subscribed { connection, query, observation })
}

/// Subscribes to the connection of an account, and says what is known.
///
/// If the cloud rejects the credential, the Secret is read again at once: it may have changed meanwhile.
///
/// # Errors
/// A problem for the conditions: no Secret, a bad key, an unknown region.
pub(crate) async fn observe_account(
    ctx: &Context,
    account: &Account<'_>,
    subscription: &Subscription<'_>,
) -> Result<(Arc<Connection>, Observation), Problem> {
    let observe = async |freshness| {
        let access = connect(ctx, account, freshness).await?;
        ctx.inventory.observe(&access, subscription).map_err(|error| Problem::from(&error))
    };
    // The person who requests a refresh may have changed the Secret just now.
    let is_requested = subscription.refresh_requested.is_some();
    let freshness = if is_requested { Freshness::ReadNow } else { Freshness::Kept(subscription.interval) };
    let (connection, observation) = observe(freshness).await?;
    if is_rejected(&observation) { observe(Freshness::ReadNow).await } else { Ok((connection, observation)) }
}

/// A client of a reference's cloud for reads and mutations beside the shared list, and the connection's label. `read_now` reads the
/// Secret even if it was read a moment ago.
///
/// # Errors
/// As [`observe_account`].
pub(crate) async fn client(
    ctx: &Context,
    reference: &RedisClusterRef,
    read_now: bool,
) -> Result<(CloudClient, String), Problem> {
    let (_, account) = resolve(reference)?;
    let access = connect(ctx, &account, if read_now { Freshness::ReadNow } else { Freshness::Recent }).await?;
    let client = ctx.inventory.client(&access).map_err(|error| Problem::from(&error))?;
    Ok((client, access.id().label()))
}

/// Whether the status shows the Redis that the spec names now. After a restart such a status stays until there is news.
pub(crate) fn status_is_current(reference: &RedisClusterRef) -> bool {
    let status = reference.status.as_ref();
    status.is_some_and(|status| status.cluster.is_some() && status.observed_generation == Some(generation(reference)))
}

/// Whether a reference takes its credential from this Secret.
pub(crate) fn uses(reference: &RedisClusterRef, secret: &SecretKey) -> bool {
    resolve(reference).is_ok_and(|(_, account)| {
        (account.location.provider(), account.namespace, account.secret)
            == (secret.provider, secret.namespace.as_str(), secret.name.as_str())
    })
}

/// What a reference asks of its connection.
fn query(reference: &RedisClusterRef, target: Target<'_>) -> Query {
    Query::new(target, reference.status.as_ref().and_then(|status| status.cluster.as_ref()))
}

/// The target of a reference, and the account that it is reached with.
fn resolve(reference: &RedisClusterRef) -> Result<(Target<'_>, Account<'_>), TargetError> {
    let target = reference.spec.target()?;
    let namespace = reference.metadata.namespace.as_deref().unwrap_or_default();
    Ok((target, Account { location: target.into(), namespace, secret: target.secret() }))
}

/// The account's location with the credential of its Secret.
async fn connect<'a>(ctx: &Context, account: &Account<'a>, freshness: Freshness) -> Result<Access<'a>, Problem> {
    let provider = account.location.provider();
    let credentials = ctx.secrets.get(provider, account.namespace, account.secret, freshness).await?;
    Ok(Access::new(account.location, credentials))
}

fn is_rejected(observation: &Observation) -> bool {
    observation.problem.as_ref().is_some_and(|problem| problem.kind == ErrorKind::CredentialsRejected)
}
