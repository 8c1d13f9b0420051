//! What reconciles of flush requests may touch.

use std::ops::Deref;
use std::sync::Arc;

use super::sends::SendPermits;
use super::slots::FlushSlots;
use super::targets::BusyTargets;
use crate::api::RedisFlushRequest;
use crate::api::flush_request::FlushPhase;
use crate::controllers::context::Context;
use crate::runtime::events::EventQueue;
use crate::runtime::runner::Objects;
use crate::runtime::store::Store;
use crate::runtime::trigger::Trigger;

/// What reconciles of flush requests may touch: what all kinds share, and this kind's own.
pub struct FlushContext {
    shared: Arc<Context>,
    /// The flush requests, as last watched.
    pub requests: Arc<Store<RedisFlushRequest>>,
    /// Sends a flush request back into the queue.
    pub trigger: Trigger<RedisFlushRequest>,
    /// Publishes events about flush requests.
    pub events: EventQueue,
    /// The targets that requests of this process are at.
    pub targets: BusyTargets,
    /// Bounds the requests that read from clouds at once.
    pub slots: FlushSlots,
    /// Bounds the flushes that are sent at once.
    pub permits: SendPermits,
}

impl FlushContext {
    /// A context in which nothing is under way.
    pub fn new(shared: Arc<Context>, objects: &Objects<RedisFlushRequest>) -> Self {
        shared.metrics.begin_flush_phases(FlushPhase::ALL.iter().map(|phase| phase.as_str()));
        Self {
            shared,
            requests: Arc::clone(&objects.store),
            trigger: objects.trigger.clone(),
            events: objects.events.clone(),
            targets: BusyTargets::default(),
            slots: FlushSlots::new(objects.trigger.clone()),
            permits: SendPermits::default(),
        }
    }
}

impl Deref for FlushContext {
    type Target = Context;

    fn deref(&self) -> &Context {
        &self.shared
    }
}
