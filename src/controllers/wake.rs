//! Wakes objects: sends them back into the queue of their controller.

use std::marker::PhantomData;

use futures::channel::mpsc::{UnboundedReceiver, UnboundedSender, unbounded};

use super::queue::{Key, Lane};

/// Sends an object of a kind back into its queue.
#[derive(Debug)]
pub struct Waker<K>(UnboundedSender<(Key, Lane)>, PhantomData<fn(K)>);

impl<K> Clone for Waker<K> {
    fn clone(&self) -> Self {
        Self(self.0.clone(), PhantomData)
    }
}

/// The other end of a [`Waker`].
pub type Wakes = UnboundedReceiver<(Key, Lane)>;

impl<K> Waker<K> {
    /// A waker and its stream.
    pub fn channel() -> (Self, Wakes) {
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
        let _ = self.0.unbounded_send((Key::new(namespace, name), lane));
    }
}
