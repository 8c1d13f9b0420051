//! Sends objects back into the queue of their controller.

use std::marker::PhantomData;

use futures::channel::mpsc::{UnboundedReceiver, UnboundedSender, unbounded};

use super::queue::{Lane, ObjectKey};

/// Sends an object of a kind back into its queue.
#[derive(Debug)]
pub struct Trigger<K>(UnboundedSender<(ObjectKey, Lane)>, PhantomData<fn(K)>);

impl<K> Clone for Trigger<K> {
    fn clone(&self) -> Self {
        Self(self.0.clone(), PhantomData)
    }
}

/// The other end of a [`Trigger`].
pub type TriggerStream = UnboundedReceiver<(ObjectKey, Lane)>;

impl<K> Trigger<K> {
    /// A trigger and its stream.
    pub fn channel() -> (Self, TriggerStream) {
        let (sender, receiver) = unbounded();
        (Self(sender, PhantomData), receiver)
    }

    /// Reconciles the object soon, before what is only periodic.
    pub fn wake(&self, namespace: &str, name: &str) {
        self.wake_in(Lane::Interactive, namespace, name);
    }

    /// Reconciles the object soon. The queue holds each object once, so it cannot grow beyond the objects there are.
    pub fn wake_in(&self, lane: Lane, namespace: &str, name: &str) {
        // It only fails when the controller has ended.
        let _ = self.0.unbounded_send((ObjectKey::new(namespace, name), lane));
    }
}
