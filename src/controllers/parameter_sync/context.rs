//! What reconciles of parameter syncs may touch.

use std::ops::Deref;
use std::sync::Arc;

use super::apply_slots::ApplySlots;
use super::membership::Membership;
use super::ownership::Ownership;
use super::reminders::Reminders;
use crate::api::{RedisClusterRef, RedisParameterSync};
use crate::controllers::context::Context;
use crate::runtime::events::EventQueue;
use crate::runtime::runner::Objects;
use crate::runtime::store::Store;
use crate::runtime::trigger::Trigger;

/// What reconciles of parameter syncs may touch: what all kinds share, and this kind's own.
pub struct SyncContext {
    shared: Arc<Context>,
    /// The references, as last watched.
    pub(super) cluster_refs: Arc<Store<RedisClusterRef>>,
    /// The parameter syncs, as last watched.
    pub(super) parameter_syncs: Arc<Store<RedisParameterSync>>,
    /// Sends a parameter sync back into the queue.
    pub(super) trigger: Trigger<RedisParameterSync>,
    /// Publishes events about parameter syncs.
    pub(super) events: EventQueue,
    /// Which parameter sync owns which cluster.
    pub(super) ownership: Ownership,
    /// Which references each parameter sync selects.
    pub(super) membership: Membership,
    /// Triggers parameter syncs when something they depend on has changed.
    pub(super) reminders: Reminders,
    /// Which parameter syncs request applications from a connection now.
    pub(super) apply_slots: ApplySlots,
}

impl SyncContext {
    /// A context in which nothing is known yet.
    pub(crate) fn new(
        shared: Arc<Context>,
        objects: &Objects<RedisParameterSync>,
        cluster_refs: Arc<Store<RedisClusterRef>>,
        reminders: Reminders,
    ) -> Self {
        Self {
            shared,
            cluster_refs,
            parameter_syncs: Arc::clone(&objects.store),
            trigger: objects.trigger.clone(),
            events: objects.events.clone(),
            ownership: Ownership::default(),
            membership: Membership::default(),
            reminders,
            apply_slots: ApplySlots::new(objects.trigger.clone()),
        }
    }
}

impl Deref for SyncContext {
    type Target = Context;

    fn deref(&self) -> &Context {
        &self.shared
    }
}
