//! From a RedisClusterRef to its connection and its part of the inventory; other kinds that name a reference come here too.

use std::sync::Arc;
use std::time::Duration;

use crate::api::RedisClusterRef;
use crate::cloud::ErrorKind;
use crate::cloud::kakao::KakaoCredentials;
use crate::cloud::ncp::NcpCredentials;
use crate::controllers::context::Context;
use crate::controllers::credentials::{Cloud, Credentials};
use crate::controllers::problem::Problem;
use crate::inventory::{Connection, Observation, Place, Source, Subscriber, Want};

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

/// Subscribes `who` to the reference's target and says what is known of it.
///
/// A rejected credential is read again at once: if the Secret has changed meanwhile, the new one is used.
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
    let connection = connect(ctx, reference, false).await?;
    let observation = connection.subscribe(who, &want, interval, force);
    if is_rejected(&observation) {
        let anew = connect(ctx, reference, true).await?;
        if !Arc::ptr_eq(&anew, &connection) {
            let observation = anew.subscribe(who, &want, interval, force);
            return Ok(Seen { connection: anew, want, observation });
        }
    }
    Ok(Seen { connection, want, observation })
}

/// Whether the cloud did not accept the credential: the Secret may have changed meanwhile.
pub fn is_rejected(observation: &Observation) -> bool {
    observation.problem.as_ref().is_some_and(|problem| problem.kind == ErrorKind::CredentialsRejected)
}

/// The connection of a reference. `anew` reads its Secret even if it was read a moment ago.
///
/// # Errors
/// A problem for the conditions: no Secret, a bad key, an unknown region.
pub async fn connect(ctx: &Context, reference: &RedisClusterRef, anew: bool) -> Result<Arc<Connection>, Problem> {
    let namespace = reference.metadata.namespace.as_deref().unwrap_or_default();
    match (&reference.spec.kakao_cloud, &reference.spec.ncp) {
        (Some(kakao), _) => {
            let secret = &kakao.credentials_secret_ref.name;
            connect_to(ctx, Cloud::Kakao, &kakao.region, namespace, secret, anew).await
        }
        (None, Some(ncp)) => {
            let secret = &ncp.credentials_secret_ref.name;
            connect_to(ctx, Cloud::Ncp, ncp.site.as_str(), namespace, secret, anew).await
        }
        (None, None) => {
            Err(Problem::stalled("InvalidObject", "spec names neither kakaoCloud nor ncp: set exactly one"))
        }
    }
}

/// The connection to a region or site with the credential of a Secret.
///
/// # Errors
/// As [`connect`].
pub async fn connect_to(
    ctx: &Context,
    cloud: Cloud,
    endpoint: &str,
    namespace: &str,
    secret: &str,
    anew: bool,
) -> Result<Arc<Connection>, Problem> {
    let credentials = ctx.secrets.get(cloud, namespace, secret, anew).await?;
    let place = Place::new(cloud.provider(), endpoint, &credentials.fingerprint());
    let build = || match &credentials {
        Credentials::Kakao(credentials) => Source::kakao(&ctx.cloud, endpoint, KakaoCredentials::clone(credentials)),
        Credentials::Ncp(credentials) => Source::ncp(&ctx.cloud, endpoint, NcpCredentials::clone(credentials)),
    };
    ctx.inventory.connection(&place, build).map_err(|error| Problem::from(&error))
}

/// A client of a reference's cloud, for reads and mutations beside the shared list. It shares the limits and the token of the
/// reference's connection while that is polled.
///
/// # Errors
/// As [`connect`].
pub async fn client(ctx: &Context, reference: &RedisClusterRef, anew: bool) -> Result<Source, Problem> {
    connect(ctx, reference, anew).await.map(|connection| connection.source().clone())
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
