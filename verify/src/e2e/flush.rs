//! Flush requests of the tests, and what became of them.

use std::time::Duration;

use anyhow::Context as _;
use delivery::examples::NAMESPACE;
use kube::api::{Api, ObjectMeta, PostParams};
use managed_redis_operator::api::RedisFlushRequest;
use managed_redis_operator::api::flush_request::FlushPhase;
use serde_json::json;

use super::cluster::TestCluster;
use super::until::{Look, until};

/// An instance of the fake cloud's seed that no example uses.
pub(super) const INSTANCE: &str = "882715";
/// The reference to it.
const REFERENCE: &str = "price-feed";
const WITHIN: Duration = Duration::from_secs(90);

/// Makes the reference to the instance.
///
/// # Errors
/// When it is refused.
pub(super) async fn create_reference(cluster: &TestCluster) -> anyhow::Result<()> {
    cluster.create_reference(NAMESPACE, REFERENCE, INSTANCE).await
}

/// A flush request that was created.
pub(super) struct CreatedFlush {
    api: Api<RedisFlushRequest>,
    name: String,
}

impl CreatedFlush {
    /// Asks for a flush.
    ///
    /// # Errors
    /// When it is refused.
    pub(super) async fn create(cluster: &TestCluster, name: &str) -> anyhow::Result<Self> {
        let api: Api<RedisFlushRequest> = Api::namespaced(cluster.client.clone(), NAMESPACE);
        let spec = json!({"clusterRef": {"name": REFERENCE}, "confirm": INSTANCE});
        let request = RedisFlushRequest {
            metadata: ObjectMeta { name: Some(name.to_owned()), ..ObjectMeta::default() },
            spec: serde_json::from_value(spec)?,
            status: None,
        };
        let created = api.create(&PostParams::default(), &request).await;
        created.with_context(|| format!("cannot create the flush request {name}"))?;
        Ok(Self { api, name: name.to_owned() })
    }

    /// Waits until it is in one of the phases.
    ///
    /// # Errors
    /// When it is not in time.
    pub(super) async fn reaches(&self, wanted: &[FlushPhase]) -> anyhow::Result<FlushPhase> {
        let names: Vec<&str> = wanted.iter().map(|phase| phase.as_str()).collect();
        let what = format!("the flush request {} is {}", self.name, names.join(" or "));
        until(&what, WITHIN, || self.look(wanted)).await
    }

    async fn look(&self, wanted: &[FlushPhase]) -> Look<FlushPhase> {
        let found = self.api.get(&self.name).await.with_context(|| format!("cannot read {}", self.name))?;
        let status = found.status.unwrap_or_default();
        let message = status.message.unwrap_or_default();
        Ok(match status.phase {
            Some(phase) if wanted.contains(&phase) => Ok(phase),
            Some(phase) => Err(format!("it is {}: {message}", phase.as_str())),
            None => Err("it has no status".to_owned()),
        })
    }
}
