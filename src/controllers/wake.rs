//! Wakes objects: sends them back into the queue of their controller.

use futures::channel::mpsc::{UnboundedReceiver, UnboundedSender, unbounded};
use kube::Resource;
use kube::core::DeserializeGuard;
use kube::runtime::reflector::ObjectRef;

use crate::api::{RedisClusterRef, RedisFlushRequest, RedisParameterSync};

/// Sends an object of a kind back into its queue.
#[derive(Clone, Debug)]
pub struct Waker<K: Resource<DynamicType = ()> + 'static>(UnboundedSender<ObjectRef<DeserializeGuard<K>>>);

/// The other end of a [`Waker`].
pub type Wakes<K> = UnboundedReceiver<ObjectRef<DeserializeGuard<K>>>;

impl<K: Resource<DynamicType = ()> + 'static> Waker<K> {
    /// A waker and its stream.
    pub fn channel() -> (Self, Wakes<K>) {
        let (sender, receiver) = unbounded();
        (Self(sender), receiver)
    }

    /// Reconciles the object soon. The queue holds each object once, so it cannot grow beyond the objects there are.
    pub fn wake(&self, namespace: &str, name: &str) {
        // It only fails when the controller has ended.
        let _ = self.0.unbounded_send(ObjectRef::new(name).within(namespace));
    }
}

/// A waker for each kind.
#[derive(Clone, Debug)]
pub struct Wakers {
    /// For references.
    pub cluster_refs: Waker<RedisClusterRef>,
    /// For parameter syncs.
    pub parameter_syncs: Waker<RedisParameterSync>,
    /// For flush requests.
    pub flush_requests: Waker<RedisFlushRequest>,
}
