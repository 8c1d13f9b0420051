//! Flush requests of the tests, and what became of them.

use std::time::Duration;

use kube::api::{Api, ObjectMeta, PostParams};
use managed_redis_operator::api::flush_request::FlushPhase;
use managed_redis_operator::api::{RedisClusterRef, RedisFlushRequest};
use serde_json::json;

use super::error::{E2eError, Look, until};
use super::scene::Scene;
use crate::demo::examples::NAMESPACE;

/// An instance of the fake cloud's seed that no example uses.
pub const INSTANCE: &str = "882715";
/// The reference to it.
const REFERENCE: &str = "price-feed";
const WITHIN: Duration = Duration::from_secs(90);

/// Makes the reference to the instance.
///
/// # Errors
/// When it is refused.
pub async fn create_reference(scene: &Scene) -> Result<(), E2eError> {
    let api: Api<RedisClusterRef> = Api::namespaced(scene.client.clone(), NAMESPACE);
    let spec = json!({"ncp": {"cloudDBInstanceNo": INSTANCE, "credentialsSecretRef": {"name": "ncp"}}});
    let reference = RedisClusterRef {
        metadata: ObjectMeta { name: Some(REFERENCE.to_owned()), ..ObjectMeta::default() },
        spec: serde_json::from_value(spec).map_err(|error| E2eError::Wrong(error.to_string()))?,
        status: None,
    };
    let created = api.create(&PostParams::default(), &reference).await;
    created.map(drop).map_err(E2eError::kube(format!("create the reference {REFERENCE}")))
}

/// A flush request that was created.
pub struct Flush {
    api: Api<RedisFlushRequest>,
    name: String,
}

impl Flush {
    /// Asks for a flush.
    ///
    /// # Errors
    /// When it is refused.
    pub async fn create(scene: &Scene, name: &str) -> Result<Self, E2eError> {
        let api: Api<RedisFlushRequest> = Api::namespaced(scene.client.clone(), NAMESPACE);
        let spec = json!({"clusterRef": {"name": REFERENCE}, "confirm": INSTANCE});
        let request = RedisFlushRequest {
            metadata: ObjectMeta { name: Some(name.to_owned()), ..ObjectMeta::default() },
            spec: serde_json::from_value(spec).map_err(|error| E2eError::Wrong(error.to_string()))?,
            status: None,
        };
        let created = api.create(&PostParams::default(), &request).await;
        created.map_err(E2eError::kube(format!("create the flush request {name}")))?;
        Ok(Self { api, name: name.to_owned() })
    }

    /// Waits until it is in one of the phases.
    ///
    /// # Errors
    /// When it is not in time.
    pub async fn reaches(&self, wanted: &[FlushPhase]) -> Result<FlushPhase, E2eError> {
        let names: Vec<&str> = wanted.iter().map(|phase| phase.as_str()).collect();
        let what = format!("the flush request {} is {}", self.name, names.join(" or "));
        until(&what, WITHIN, || self.look(wanted)).await
    }

    async fn look(&self, wanted: &[FlushPhase]) -> Look<FlushPhase> {
        let found = self.api.get(&self.name).await.map_err(E2eError::kube(format!("read {}", self.name)))?;
        let status = found.status.unwrap_or_default();
        let message = status.message.unwrap_or_default();
        Ok(match status.phase {
            Some(phase) if wanted.contains(&phase) => Ok(phase),
            Some(phase) => Err(format!("it is {}: {message}", phase.as_str())),
            None => Err("it has no status".to_owned()),
        })
    }
}
