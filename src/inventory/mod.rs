//! The clouds as last read: one poller for each connection lists once, gives every subscriber its part and notifies those for which
//! something changed.
//!
//! A *connection* is (provider, endpoint, credential). Objects with the same connection share one poller, one token and one
//! rate limiter, whatever their namespaces. A poller lives as long as the connection has a subscriber.
//!
//! What decides is pure: [`connection_state`] says what is due, with [`subscriptions`], [`snapshot`], `read_queue`, `schedule` and
//! `circuit_breaker` below it. What acts is `poller`.

mod circuit_breaker;
pub mod client;
mod connection;
mod connection_state;
pub mod instance;
pub mod list;
mod memory;
pub mod observation;
pub mod packed;
mod poller;
mod read_queue;
pub mod round;
mod schedule;
pub mod snapshot;
mod stagger;
mod subscriber;
mod subscriptions;
#[doc(hidden)]
pub mod testing;
pub mod unreadable;

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use jiff::Timestamp;
use tokio::task::AbortHandle;
use tokio::time::Instant;

pub use client::{Access, CloudClient, ConnectionId, Location};
pub use connection::Connection;
pub use observation::{Identity, Observation, Observed, ObservedInstance, Query};
pub use subscriber::{NotifySubscriber, Subscriber, SubscriberKind, Subscription, Urgency};

use self::poller::Poller;
use self::stagger::Stagger;
use crate::cloud::{HttpCore, Provider, SetupError};
use crate::metrics::Metrics;

/// A connection with its poller, which ends when this is dropped.
struct PolledConnection {
    connection: Arc<Connection>,
    poller: AbortHandle,
}

impl Drop for PolledConnection {
    fn drop(&mut self) {
        self.poller.abort();
    }
}

/// All connections in use.
pub struct Inventory {
    core: HttpCore,
    connections: Mutex<HashMap<ConnectionId, PolledConnection>>,
    stagger: Mutex<Stagger>,
    notify: NotifySubscriber,
}

impl Inventory {
    /// An inventory without connections, which talks to the clouds through `core`.
    pub fn new(core: HttpCore, notify: NotifySubscriber) -> Self {
        Self { core, connections: Mutex::default(), stagger: Mutex::default(), notify }
    }

    /// Subscribes, and says what is known now. The first subscription of a connection starts its poller.
    ///
    /// # Errors
    /// When no client can be built: an unknown region, for example.
    pub fn observe(
        &self,
        access: &Access<'_>,
        subscription: &Subscription<'_>,
    ) -> Result<(Arc<Connection>, Observation), SetupError> {
        // One lock for both steps: otherwise the connection could be ended between being found and its first subscription.
        let mut connections = self.lock();
        let connection = match connections.get(access.id()) {
            Some(polled) => Arc::clone(&polled.connection),
            None => {
                let delay = if subscription.can_wait { self.delay(subscription.interval) } else { Duration::ZERO };
                let client = CloudClient::connect(&self.core, access)?;
                let connection = Arc::new(Connection::new(client, access.id().label(), delay));
                let poller = Poller { connection: Arc::clone(&connection), notify: Arc::clone(&self.notify) };
                let poller = tokio::spawn(poller.run()).abort_handle();
                let polled = PolledConnection { connection: Arc::clone(&connection), poller };
                connections.insert(access.id().clone(), polled);
                connection
            }
        };
        let observation = connection.subscribe(subscription);
        Ok((connection, observation))
    }

    /// A client for reads and mutations beside the shared list. If the connection is in use, the client shares its limits and token.
    ///
    /// # Errors
    /// When the client cannot be built.
    pub fn client(&self, access: &Access<'_>) -> Result<CloudClient, SetupError> {
        let shared = self.lock().get(access.id()).map(|polled| polled.connection.client().clone());
        shared.map_or_else(|| CloudClient::connect(&self.core, access), Ok)
    }

    /// Ends every subscription of an object except those given, and every connection that nobody uses any more.
    pub fn retain(&self, subscriber: &Subscriber, kept: &[(&Arc<Connection>, Query)]) {
        self.lock().retain(|_, polled| {
            let here = kept.iter().filter(|(connection, _)| Arc::ptr_eq(connection, &polled.connection));
            let queries: HashSet<&Query> = here.map(|(_, query)| query).collect();
            polled.connection.retain(subscriber, &queries)
        });
    }

    /// Ends every subscription of an object.
    pub fn forget(&self, subscriber: &Subscriber) {
        self.retain(subscriber, &[]);
    }

    /// Ends the subscriptions of objects that do not exist: the deletion of some is never seen.
    pub fn prune(&self, exists: impl Fn(&Subscriber) -> bool) {
        let gone: Vec<Subscriber> = {
            let connections = self.lock();
            let all = connections.values().flat_map(|polled| polled.connection.subscribers());
            all.filter(|subscriber| !exists(subscriber)).collect()
        };
        for subscriber in gone {
            self.forget(&subscriber);
        }
    }

    /// Sets the gauges that are only true at the moment of the scrape: the age of each connection and the states of all clusters.
    pub fn report(&self, metrics: &Metrics) {
        let now = Timestamp::now();
        let mut totals: HashMap<(Provider, &'static str), i64> = HashMap::new();
        metrics.reset_inventory();
        for polled in self.lock().values() {
            let provider = polled.connection.client().provider();
            let (age, states) = polled.connection.report(now);
            if let Some(age) = age {
                metrics.poll_age(provider.as_str(), polled.connection.label(), age);
            }
            for (state, count) in states {
                *totals.entry((provider, state)).or_default() += count;
            }
        }
        for ((provider, state), count) in totals {
            metrics.clusters(provider.as_str(), state, count);
        }
    }

    fn delay(&self, interval: Duration) -> Duration {
        let mut stagger = self.stagger.lock().unwrap_or_else(PoisonError::into_inner);
        stagger.delay(Instant::now(), interval, rand::random())
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<ConnectionId, PolledConnection>> {
        // The map is whole after every single operation, so a poisoned lock still guards a sound value.
        self.connections.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
