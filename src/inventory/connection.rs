//! One connection as the controllers see it: its client, and what was last read over it.

use std::collections::{HashMap, HashSet};
use std::fmt;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use jiff::Timestamp;
use tokio::sync::Notify;
use tokio::time::Instant;

use super::client::CloudClient;
use super::connection_state::{ConnectionState, Moment};
use super::observation::{Identity, Observation, Query};
use super::subscriber::{Subscriber, Subscription};

/// One (provider, endpoint, credential), shared by every object that uses it.
pub struct Connection {
    client: CloudClient,
    label: String,
    state: Mutex<ConnectionState>,
    /// Tells the poller to look again at what is due.
    pub(super) changed: Notify,
}

impl fmt::Debug for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connection").field("provider", &self.client.provider()).field("label", &self.label).finish()
    }
}

impl Connection {
    /// A connection whose first list is due after `delay`, or when a subscriber comes that cannot wait.
    pub(super) fn new(client: CloudClient, label: String, delay: Duration) -> Self {
        let state = Mutex::new(ConnectionState::new(client.pace(), Instant::now() + delay));
        Self { client, label, state, changed: Notify::new() }
    }

    /// The client, for operations beside the shared list (apply, flush, a fresh single read).
    pub fn client(&self) -> &CloudClient {
        &self.client
    }

    /// A short word for logs and metrics that tells connections apart and gives no secret away.
    pub fn label(&self) -> &str {
        &self.label
    }

    /// Subscribes, and says what is known now.
    pub(super) fn subscribe(&self, subscription: &Subscription<'_>) -> Observation {
        let (observation, has_work) = self.lock().subscribe(subscription, Moment::now());
        if has_work {
            self.changed.notify_one();
        }
        observation
    }

    /// What is known about the target of another subscriber's query, and ID and name of the cluster it is about. It costs no
    /// subscription. None if the subscriber does not ask for this.
    pub fn peek(&self, subscriber: &Subscriber, query: &Query) -> Option<(Observation, Option<Identity>)> {
        self.lock().peek(subscriber, query)
    }

    /// How long ago an object began to ask for this; none if it does not.
    pub fn subscribed_for(&self, subscriber: &Subscriber, query: &Query) -> Option<Duration> {
        self.lock().subscribed_for(subscriber, query, Instant::now())
    }

    /// Drops the subscriptions of an object except those for `queries`. Returns whether the connection still has subscribers.
    pub(super) fn retain(&self, subscriber: &Subscriber, queries: &HashSet<&Query>) -> bool {
        self.lock().retain(subscriber, queries)
    }

    /// The objects that are subscribed.
    pub(super) fn subscribers(&self) -> Vec<Subscriber> {
        self.lock().subscribers().cloned().collect()
    }

    /// Seconds since the last good list began, and how many listed clusters are in each state, by the metric's label.
    pub(super) fn report(&self, now: Timestamp) -> (Option<f64>, HashMap<&'static str, i64>) {
        self.lock().report(self.client.provider(), now)
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, ConnectionState> {
        // A panic while the lock was held leaves whole values behind: every write is one assignment or insert.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
