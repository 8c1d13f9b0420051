//! Subscribers, their subscriptions, and how they are notified.

use std::sync::Arc;
use std::time::Duration;

use super::observation::Query;
use crate::object_key::ObjectKey;

/// The kinds of objects that can subscribe.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum SubscriberKind {
    /// A RedisClusterRef.
    ClusterRef,
    /// A RedisParameterSync.
    ParameterSync,
}

/// An object that is notified of changes. Cheap to clone.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Subscriber {
    /// Its kind.
    pub kind: SubscriberKind,
    /// Its namespace and name.
    pub key: ObjectKey,
}

/// What a subscriber asks of a connection.
#[derive(Clone, Copy, Debug)]
pub struct Subscription<'a> {
    /// The object that is notified.
    pub subscriber: &'a Subscriber,
    /// What it wants to know.
    pub query: &'a Query,
    /// The longest time between two reads.
    pub interval: Duration,
    /// The value of the annotation that requests a refresh: a new value makes one fresh read, whose end shows in
    /// [`Observation::refresh_done`](super::Observation::refresh_done).
    pub refresh_requested: Option<&'a str>,
    /// Whether the first read may wait for a while, because the object's status is still current.
    pub can_wait: bool,
}

/// How soon a subscriber is to be reconciled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Urgency {
    /// It waits for a refresh that somebody requested.
    RefreshRequested,
    /// Something changed.
    Routine,
}

/// Has a subscriber reconciled soon.
pub type NotifySubscriber = Arc<dyn Fn(&Subscriber, Urgency) + Send + Sync>;

/// A subscriber that is to be notified.
pub(super) type Notification = (Subscriber, Urgency);
