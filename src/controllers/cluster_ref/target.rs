//! From a RedisClusterRef to its connection and its part of the inventory; other kinds that name a reference come here too.

use std::sync::Arc;
use std::time::Duration;

use crate::api::shared::generation;
use crate::api::{Provider, RedisClusterRef, Target, TargetQuery};
use crate::cloud::kakao::KakaoCredentials;
use crate::cloud::ncp::NcpCredentials;
use crate::cloud::{ErrorKind, SetupError};
use crate::controllers::context::Context;
use crate::controllers::credentials::{Credentials, Freshness, SecretKey};
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
    /// The provider.
    pub provider: Provider,
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
    let target = reference.spec.target()?;
    let want = want(reference, target);
    let can_wait = who.kind == SubscriberKind::ClusterRef && force.is_none() && stands(reference);
    let question = Question { who, want: &want, interval, force, can_wait };
    let (connection, observation) = ask(ctx, &address(reference, target), &question).await?;
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
    let line = dial(ctx, &address(reference, reference.spec.target()?), freshness).await?;
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

fn address<'a>(reference: &'a RedisClusterRef, target: Target<'a>) -> Address<'a> {
    let namespace = reference.metadata.namespace.as_deref().unwrap_or_default();
    Address { provider: target.provider(), endpoint: target.endpoint(), namespace, secret: target.secret() }
}

/// A place to connect to, with the credential at hand.
struct Line<'a> {
    endpoint: &'a str,
    credentials: Credentials,
    place: Place,
}

async fn dial<'a>(ctx: &Context, address: &Address<'a>, freshness: Freshness) -> Result<Line<'a>, Problem> {
    let credentials = ctx.secrets.get(address.provider, address.namespace, address.secret, freshness).await?;
    let place = Place::new(address.provider, address.endpoint, &credentials.fingerprint());
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
    reference.spec.target().is_ok_and(|target| {
        let address = address(reference, target);
        (address.provider, address.namespace, address.secret)
            == (secret.provider, secret.namespace.as_str(), secret.name.as_str())
    })
}

/// What a reference wants of its connection, where it looks for `target`.
pub fn want(reference: &RedisClusterRef, target: Target<'_>) -> Want {
    match target.query() {
        TargetQuery::Id(id) => Want::Id(id.to_owned()),
        TargetQuery::Name(name) => {
            let cluster = reference.status.as_ref().and_then(|status| status.cluster.as_ref());
            let last_id =
                cluster.filter(|cluster| target.query().selects(cluster)).and_then(|cluster| cluster.id.clone());
            Want::Name { last_id, name: name.to_owned() }
        }
    }
}
