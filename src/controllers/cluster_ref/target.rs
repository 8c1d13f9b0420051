//! From a RedisClusterRef to its connection and its part of the inventory; other kinds that name a reference come here too.

use std::sync::Arc;
use std::time::Duration;

use crate::api::RedisClusterRef;
use crate::api::shared::generation;
use crate::cloud::kakao::KakaoCredentials;
use crate::cloud::ncp::NcpCredentials;
use crate::cloud::{ErrorKind, SetupError};
use crate::controllers::context::Context;
use crate::controllers::credentials::{Cloud, Credentials, Freshness, SecretKey};
use crate::controllers::problem::Problem;
use crate::inventory::{Connection, Observation, Place, Question, Source, Subscriber, SubscriberKind, Want};

/// A reference's part of the inventory.
#[derive(Debug)]
pub struct Seen {
    /// Its connection.
    pub connection: Arc<Connection>,
    /// What it wants of the connection.
    pub want: Want,
    /// What is known of that.
    pub observation: Observation,
}

/// Where a credential is used, and where it is kept.
#[derive(Clone, Copy, Debug)]
pub struct Address<'a> {
    /// The cloud.
    pub cloud: Cloud,
    /// Its region or site.
    pub endpoint: &'a str,
    /// Namespace of the Secret.
    pub namespace: &'a str,
    /// Name of the Secret.
    pub secret: &'a str,
}

/// Subscribes `who` to the reference's target and says what is known of it.
///
/// # Errors
/// A problem for the conditions, when the cloud cannot even be asked.
pub async fn observe(
    ctx: &Context,
    reference: &RedisClusterRef,
    who: &Subscriber,
    interval: Duration,
    force: Option<&str>,
) -> Result<Seen, Problem> {
    let want = want(reference);
    let can_wait = who.kind == SubscriberKind::ClusterRef && force.is_none() && stands(reference);
    let question = Question { who, want: &want, interval, force, can_wait };
    let (connection, observation) = ask(ctx, &address(reference)?, &question).await?;
    Ok(Seen { connection, want, observation })
}

/// Subscribes to a connection and says what is known.
///
/// A rejected credential is read again at once: if the Secret has changed meanwhile, the new one is used.
///
/// # Errors
/// A problem for the conditions: no Secret, a bad key, an unknown region.
pub async fn ask(
    ctx: &Context,
    address: &Address<'_>,
    question: &Question<'_>,
) -> Result<(Arc<Connection>, Observation), Problem> {
    // Who asks for a fresh read may have changed the Secret just now.
    let freshness = if question.force.is_some() { Freshness::Anew } else { Freshness::Kept(question.interval) };
    let found = dial(ctx, address, freshness).await?.subscribe(ctx, question)?;
    if !is_rejected(&found.1) {
        return Ok(found);
    }
    dial(ctx, address, Freshness::Anew).await?.subscribe(ctx, question)
}

/// A client of a reference's cloud, for reads and mutations beside the shared list. `anew` reads the Secret even if it was read a
/// moment ago. With it comes the connection's label.
///
/// # Errors
/// As [`ask`].
pub async fn client(ctx: &Context, reference: &RedisClusterRef, anew: bool) -> Result<(Source, String), Problem> {
    let freshness = if anew { Freshness::Anew } else { Freshness::Recent };
    let line = dial(ctx, &address(reference)?, freshness).await?;
    let source = ctx.inventory.source(&line.place, || line.build(ctx)).map_err(|error| Problem::from(&error))?;
    Ok((source, line.place.label()))
}

/// Whether the status shows a picture of what the spec names now: after a restart that goes on standing until there is news.
pub fn stands(reference: &RedisClusterRef) -> bool {
    let status = reference.status.as_ref();
    status.is_some_and(|status| status.cluster.is_some() && status.observed_generation == Some(generation(reference)))
}

fn is_rejected(observation: &Observation) -> bool {
    observation.problem.as_ref().is_some_and(|problem| problem.kind == ErrorKind::CredentialsRejected)
}

fn address(reference: &RedisClusterRef) -> Result<Address<'_>, Problem> {
    let namespace = reference.metadata.namespace.as_deref().unwrap_or_default();
    let (cloud, endpoint, secret) = match (&reference.spec.kakao_cloud, &reference.spec.ncp) {
        (Some(kakao), _) => (Cloud::Kakao, kakao.region.as_str(), &kakao.credentials_secret_ref),
        (None, Some(ncp)) => (Cloud::Ncp, ncp.site.as_str(), &ncp.credentials_secret_ref),
        (None, None) => {
            return Err(Problem::stalled("InvalidObject", "spec names neither kakaoCloud nor ncp: set exactly one"));
        }
    };
    Ok(Address { cloud, endpoint, namespace, secret: &secret.name })
}

/// A place to connect to, with the credential at hand.
struct Line<'a> {
    endpoint: &'a str,
    credentials: Credentials,
    place: Place,
}

async fn dial<'a>(ctx: &Context, address: &Address<'a>, freshness: Freshness) -> Result<Line<'a>, Problem> {
    let credentials = ctx.secrets.get(address.cloud, address.namespace, address.secret, freshness).await?;
    let place = Place::new(address.cloud.provider(), address.endpoint, &credentials.fingerprint());
    Ok(Line { endpoint: address.endpoint, credentials, place })
}

impl Line<'_> {
    fn build(&self, ctx: &Context) -> Result<Source, SetupError> {
        match &self.credentials {
            Credentials::Kakao(found) => Source::kakao(&ctx.cloud, self.endpoint, KakaoCredentials::clone(found)),
            Credentials::Ncp(found) => Source::ncp(&ctx.cloud, self.endpoint, NcpCredentials::clone(found)),
        }
    }

    fn subscribe(&self, ctx: &Context, question: &Question<'_>) -> Result<(Arc<Connection>, Observation), Problem> {
        let subscribed = ctx.inventory.subscribe(&self.place, || self.build(ctx), question);
        subscribed.map_err(|error| Problem::from(&error))
    }
}

/// Whether a reference takes its credential from this Secret.
pub fn uses(reference: &RedisClusterRef, secret: &SecretKey) -> bool {
    address(reference).is_ok_and(|address| {
        (address.cloud, address.namespace, address.secret)
            == (secret.cloud, secret.namespace.as_str(), secret.name.as_str())
    })
}

/// What a reference wants of its connection.
pub fn want(reference: &RedisClusterRef) -> Want {
    let last_id = |name: &str| {
        let cluster = reference.status.as_ref()?.cluster.as_ref()?;
        (cluster.name.as_deref() == Some(name)).then(|| cluster.id.clone()).flatten()
    };
    let (id, name) = match (&reference.spec.kakao_cloud, &reference.spec.ncp) {
        (Some(kakao), _) => (kakao.cluster_id.clone(), kakao.cluster_name.clone()),
        (None, Some(ncp)) => (ncp.cloud_db_instance_no.clone(), ncp.cloud_db_service_name.clone()),
        (None, None) => (None, None),
    };
    match (id, name) {
        (Some(id), _) => Want::Id(id),
        (None, name) => {
            let name = name.unwrap_or_default();
            Want::Name { last_id: last_id(&name), name }
        }
    }
}
