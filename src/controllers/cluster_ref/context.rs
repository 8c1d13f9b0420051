//! What reconciles of references may touch.

use std::ops::Deref;
use std::sync::Arc;

use super::config_map::writes::ConfigMapWrites;
use super::follower::Follower;
use crate::api::RedisClusterRef;
use crate::controllers::context::Context;
use crate::runtime::events::EventQueue;
use crate::runtime::runner::Objects;
use crate::runtime::store::Store;
use crate::runtime::trigger::Trigger;
use crate::runtime::write_limit::WriteLimit;

/// What reconciles of references may touch: what all kinds share, and this kind's own.
pub struct ReferenceContext {
    shared: Arc<Context>,
    /// The references, as last watched.
    pub cluster_refs: Arc<Store<RedisClusterRef>>,
    /// Sends a reference back into the queue.
    pub trigger: Trigger<RedisClusterRef>,
    /// Publishes events about references.
    pub events: EventQueue,
    /// Bounds status writes that nobody asked for.
    pub write_limit: WriteLimit,
    /// Writes of ConfigMaps under way.
    pub config_map_writes: Arc<ConfigMapWrites>,
    /// The kinds that follow references.
    pub followers: Vec<Arc<dyn Follower>>,
}

impl ReferenceContext {
    /// A context in which nothing is under way.
    pub fn new(shared: Arc<Context>, objects: &Objects<RedisClusterRef>, followers: Vec<Arc<dyn Follower>>) -> Self {
        Self {
            shared,
            cluster_refs: Arc::clone(&objects.store),
            trigger: objects.trigger.clone(),
            events: objects.events.clone(),
            write_limit: WriteLimit::default(),
            config_map_writes: Arc::default(),
            followers,
        }
    }
}

impl Deref for ReferenceContext {
    type Target = Context;

    fn deref(&self) -> &Context {
        &self.shared
    }
}
