//! Sends objects back into the queue of their controller.

use std::marker::PhantomData;

use futures::channel::mpsc::{UnboundedReceiver, UnboundedSender, unbounded};

use super::queue::QueueLane;
use crate::object_key::ObjectKey;

/// Sends an object of a kind back into its queue.
#[derive(Debug)]
pub struct Trigger<K>(UnboundedSender<(ObjectKey, QueueLane)>, PhantomData<fn(K)>);

impl<K> Clone for Trigger<K> {
    fn clone(&self) -> Self {
        Self(self.0.clone(), PhantomData)
    }
}

/// The other end of a [`Trigger`].
pub(crate) type TriggerStream = UnboundedReceiver<(ObjectKey, QueueLane)>;

impl<K> Trigger<K> {
    /// A trigger and its stream.
    pub fn channel() -> (Self, TriggerStream) {
        let (sender, receiver) = unbounded();
        (Self(sender, PhantomData), receiver)
    }

    /// Reconciles the object soon, behind what a person waits for.
    pub fn trigger(&self, key: ObjectKey) {
        self.send(key, QueueLane::Periodic);
    }

    /// Reconciles the object before all that is only periodic, because a person waits for it.
    pub fn trigger_requested(&self, key: ObjectKey) {
        self.send(key, QueueLane::Interactive);
    }

    /// The queue holds each object once, so it cannot grow beyond the objects there are.
    fn send(&self, key: ObjectKey, lane: QueueLane) {
        // It only fails when the controller has ended.
        let _ = self.0.unbounded_send((key, lane));
    }
}
