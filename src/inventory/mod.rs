//! One poller for each connection: list once, hand every reference its part, wake who changed.
//!
//! A *connection* is (provider, endpoint, credential). Objects with the same connection share one poller, one token and one
//! rate limiter, whatever their namespaces. A poller lives as long as somebody is subscribed.

mod agenda;
mod connection;
mod doubt;
pub mod list;
mod pace;
pub mod packed;
pub mod picture;
pub mod room;
pub mod sight;
pub mod snapshot;
pub mod source;
mod stagger;
mod subscription;
#[doc(hidden)]
pub mod testing;
pub mod unreadable;

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use jiff::Timestamp;
use tokio::task::AbortHandle;
use tokio::time::Instant;

pub use connection::{Connection, Identity};
pub use sight::{Found, Observation, Sight, Want};
pub use source::{Place, Source};

use self::stagger::Stagger;
use crate::cloud::{Provider, SetupError};
use crate::metrics::Metrics;

/// The kinds of objects that can subscribe.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum SubscriberKind {
    /// A RedisClusterRef.
    ClusterRef,
    /// A RedisParameterSync.
    ParameterSync,
}

/// An object that is told of changes.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Subscriber {
    /// Its kind.
    pub kind: SubscriberKind,
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
}

/// Who asks for what.
#[derive(Clone, Copy, Debug)]
pub struct Question<'a> {
    /// Who is told.
    pub who: &'a Subscriber,
    /// What about.
    pub want: &'a Want,
    /// The longest time between two reads.
    pub interval: Duration,
    /// A token: a new value makes one fresh read, whose end shows in [`Observation::forced_read_done`].
    pub force: Option<&'a str>,
    /// Whether what is known from before a restart is good enough for a while.
    pub can_wait: bool,
}

/// Why a subscriber is woken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Urgency {
    /// What a person asked for has come.
    Asked,
    /// Something changed.
    Routine,
}

/// Wakes a subscriber: its controller reconciles it soon.
pub type Wake = Arc<dyn Fn(&Subscriber, Urgency) + Send + Sync>;

struct Slot {
    connection: Arc<Connection>,
    poller: AbortHandle,
}

impl Drop for Slot {
    fn drop(&mut self) {
        self.poller.abort();
    }
}

/// All connections in use.
pub struct Inventory {
    slots: Mutex<HashMap<Place, Slot>>,
    stagger: Mutex<Stagger>,
    wake: Wake,
}

impl Inventory {
    /// An inventory without connections.
    pub fn new(wake: Wake) -> Self {
        Self { slots: Mutex::default(), stagger: Mutex::default(), wake }
    }

    /// Subscribes to the connection of a place, begun if it is new, and tells what is known now.
    ///
    /// # Errors
    /// When the client cannot be built: an unknown region, say.
    pub fn subscribe(
        &self,
        place: &Place,
        build: impl FnOnce() -> Result<Source, SetupError>,
        question: &Question<'_>,
    ) -> Result<(Arc<Connection>, Observation), SetupError> {
        // Under the lock, so that nobody ends a connection between its finding and its first subscription.
        let mut slots = self.lock();
        let connection = match slots.get(place) {
            Some(slot) => Arc::clone(&slot.connection),
            None => {
                let delay = if question.can_wait { self.delay(question.interval) } else { Duration::ZERO };
                let connection = Connection::new(build()?, place.label(), Arc::clone(&self.wake), delay);
                let connection = Arc::new(connection);
                let poller = tokio::spawn(Arc::clone(&connection).poll()).abort_handle();
                slots.insert(place.clone(), Slot { connection: Arc::clone(&connection), poller });
                connection
            }
        };
        let observation = connection.subscribe(question);
        Ok((connection, observation))
    }

    /// The client of a place, for reads and mutations beside the shared list. It shares limits and token with the place's
    /// connection, if that is in use.
    ///
    /// # Errors
    /// When the client cannot be built.
    pub fn source(
        &self,
        place: &Place,
        build: impl FnOnce() -> Result<Source, SetupError>,
    ) -> Result<Source, SetupError> {
        let shared = self.lock().get(place).map(|slot| slot.connection.source().clone());
        shared.map_or_else(build, Ok)
    }

    /// Ends every subscription of an object except those given, and every connection that nobody uses any more.
    pub fn keep(&self, who: &Subscriber, kept: &[(&Arc<Connection>, Want)]) {
        self.lock().retain(|_, slot| {
            let here = kept.iter().filter(|(connection, _)| Arc::ptr_eq(connection, &slot.connection));
            let wants: HashSet<&Want> = here.map(|(_, want)| want).collect();
            slot.connection.keep(who, &wants)
        });
    }

    /// Ends every subscription of an object.
    pub fn forget(&self, who: &Subscriber) {
        self.keep(who, &[]);
    }

    /// Ends the subscriptions of objects that `exists` denies, for those whose deletion nobody saw.
    pub fn prune(&self, exists: impl Fn(&Subscriber) -> bool) {
        let gone: Vec<Arc<Subscriber>> = {
            let slots = self.lock();
            slots.values().flat_map(|slot| slot.connection.subscribers()).filter(|who| !exists(who)).collect()
        };
        for who in gone {
            self.forget(&who);
        }
    }

    /// Sets the gauges that are only true at the moment of asking: the age of each connection and the states listed.
    pub fn report(&self, metrics: &Metrics) {
        let now = Timestamp::now();
        let mut totals: HashMap<(Provider, &'static str), i64> = HashMap::new();
        metrics.reset_inventory();
        for slot in self.lock().values() {
            let provider = slot.connection.source().provider();
            let (age, states) = slot.connection.report(now);
            if let Some(age) = age {
                metrics.poll_age(provider.as_str(), slot.connection.label(), age);
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

    fn lock(&self) -> MutexGuard<'_, HashMap<Place, Slot>> {
        // The map is whole after every single operation, so a poisoned lock still guards a sound value.
        self.slots.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
