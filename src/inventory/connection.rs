//! One connection: its snapshot, who is interested in it, and the task that keeps it fresh.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures::StreamExt as _;
use jiff::Timestamp;
use tokio::sync::Notify;
use tokio::time::Instant;
use tracing::{debug, warn};

use super::snapshot::{Observation, Snapshot, Want};
use super::source::Source;
use super::{Question, Subscriber, Wake};

/// How long versions and flavors are believed.
const CATALOG_FRESH: Duration = Duration::from_secs(3600);
/// How soon a catalog that failed is asked for again.
const CATALOG_RETRY: Duration = Duration::from_secs(300);
/// Single reads of one connection under way at once; the rate limiter paces them.
const CONCURRENT_READS: usize = 4;
/// The poller never waits longer than this for its next look at what is due.
const LONGEST_WAIT: Duration = Duration::from_secs(24 * 3600);

#[derive(Debug)]
struct Subscription {
    interval: Duration,
    /// The value of the forced-read annotation that was asked for last.
    token: Option<String>,
    /// The round that the forced read has to reach; 0 if none was asked for.
    ticket: u64,
    /// The round that a list must have for its "no" to count: what was listed before somebody asked may be too old.
    since: u64,
    /// What the subscriber was last told.
    told: Option<Observation>,
}

#[derive(Debug, Default)]
struct State {
    snapshot: Snapshot,
    subscriptions: HashMap<(Subscriber, Want), Subscription>,
    list_started: Option<Instant>,
    refresh: bool,
}

impl State {
    /// The round from which on a list can refuse what `who` newly asks for: the next one, if a list from before does so;
    /// else any. Who asked for the same before keeps the answer.
    fn since(&self, who: &Subscriber, want: &Want) -> u64 {
        if !self.snapshot.refuses(want) {
            return 0;
        }
        let same = |(subscriber, other): &&(Subscriber, Want)| subscriber == who && other.is_for_the_same_as(want);
        self.subscriptions
            .iter()
            .find(|(key, _)| same(key))
            .map_or(self.snapshot.round() + 1, |(_, subscription)| subscription.since)
    }
}

/// One (provider, endpoint, credential), shared by every object that uses it.
pub struct Connection {
    source: Source,
    label: String,
    wake: Wake,
    state: Mutex<State>,
    changed: Notify,
}

impl std::fmt::Debug for Connection {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Connection").field("provider", &self.source.provider()).field("label", &self.label).finish()
    }
}

impl Connection {
    pub(super) fn new(source: Source, label: String, wake: Wake) -> Self {
        Self { source, label, wake, state: Mutex::default(), changed: Notify::new() }
    }

    /// The typed client, for operations that must not go through the shared list (apply, flush, a fresh single read).
    pub fn source(&self) -> &Source {
        &self.source
    }

    /// A short word for logs and metrics that tells connections apart and gives nothing away.
    pub fn label(&self) -> &str {
        &self.label
    }

    /// Makes an object a subscriber, and tells what is known now.
    pub(super) fn subscribe(&self, question: &Question<'_>) -> Observation {
        let Question { who, want, interval, force } = *question;
        let mut state = self.lock();
        let next_round = state.snapshot.round() + 1;
        let key = (who.clone(), want.clone());
        let is_new = !state.subscriptions.contains_key(&key);
        let since = if is_new { state.since(who, want) } else { 0 };
        let outdated = since == next_round;
        let subscription = state.subscriptions.entry(key).or_insert(Subscription {
            interval,
            token: None,
            ticket: 0,
            since,
            told: None,
        });
        let sooner = interval < subscription.interval;
        subscription.interval = interval;
        let forced = force.is_some() && subscription.token.as_deref() != force;
        if forced {
            subscription.token = force.map(str::to_owned);
            subscription.ticket = next_round;
        }
        let (ticket, since) = (subscription.ticket, subscription.since);
        let observation = state.snapshot.observe(want, ticket, since);
        if let Some(subscription) = state.subscriptions.get_mut(&(who.clone(), want.clone())) {
            subscription.told = Some(observation.clone());
        }
        state.refresh |= forced || outdated;
        drop(state);
        if is_new || sooner || forced {
            self.changed.notify_one();
        }
        observation
    }

    /// Drops the subscriptions of an object except those in `wants`; says whether the connection still has subscribers.
    pub(super) fn keep(&self, who: &Subscriber, wants: &[Want]) -> bool {
        let mut state = self.lock();
        state.subscriptions.retain(|(subscriber, want), _| subscriber != who || wants.contains(want));
        !state.subscriptions.is_empty()
    }

    /// Who is subscribed.
    pub(super) fn subscribers(&self) -> Vec<Subscriber> {
        self.lock().subscriptions.keys().map(|(who, _)| who.clone()).collect()
    }

    /// Seconds since the last good list, and the states of the listed clusters with their counts.
    pub(super) fn report(&self, now: Timestamp) -> (Option<f64>, HashMap<String, i64>) {
        let state = self.lock();
        let mut states = HashMap::new();
        for word in state.snapshot.states() {
            *states.entry(word.to_owned()).or_insert(0) += 1;
        }
        (state.snapshot.listed_at().map(|at| now.duration_since(at).as_secs_f64().max(0.0)), states)
    }

    /// Keeps the connection fresh until the task is dropped.
    pub(super) async fn poll(self: Arc<Self>) {
        let mut catalog_due = Instant::now();
        loop {
            if self.list_is_due() {
                self.list().await;
            }
            self.read_what_is_due().await;
            if catalog_due <= Instant::now() && self.has_list() {
                catalog_due = Instant::now() + self.ask_for_catalog().await;
            }
            let wait = self.until_next_list().min(catalog_due.saturating_duration_since(Instant::now()).max(MIN_WAIT));
            tokio::select! {
                () = self.changed.notified() => {}
                () = tokio::time::sleep(wait) => {}
            }
        }
    }

    async fn list(&self) {
        let at = Timestamp::now();
        {
            let mut state = self.lock();
            state.snapshot.begin_list();
            state.list_started = Some(Instant::now());
            state.refresh = false;
        }
        let outcome = self.source.list().await;
        let mut state = self.lock();
        match outcome {
            Ok(pictures) => {
                debug!(connection = %self.label, clusters = pictures.len(), "listed");
                state.snapshot.listed(at, pictures);
            }
            Err(error) => {
                warn!(connection = %self.label, %error, "the list failed");
                state.snapshot.failed(error);
            }
        }
        self.tell(state, None);
    }

    /// Reads single clusters, the longest waiting first, until none is due or the next list is.
    async fn read_what_is_due(&self) {
        let due = self.reads_due();
        if due.is_empty() {
            return;
        }
        let mut reads = futures::stream::iter(due)
            .map(|id| async move {
                let at = Timestamp::now();
                let outcome = self.source.read(&id).await;
                (id, at, outcome)
            })
            .buffer_unordered(CONCURRENT_READS);
        while let Some((id, at, outcome)) = reads.next().await {
            let mut state = self.lock();
            state.snapshot.read(&id, at, outcome);
            self.tell(state, Some(&id));
            if self.list_is_due() {
                break;
            }
        }
    }

    fn reads_due(&self) -> Vec<String> {
        let now = Timestamp::now();
        let mut state = self.lock();
        let mut forced = Vec::new();
        let mut due = Vec::new();
        let mut wanted = std::collections::HashSet::new();
        for ((_, want), subscription) in &state.subscriptions {
            let ids = state.snapshot.reads_due(want, subscription.interval, subscription.ticket, now);
            let is_forced =
                subscription.ticket > 0 && subscription.told.as_ref().is_some_and(|told| !told.forced_read_done);
            if is_forced {
                forced.extend(ids);
            } else {
                due.extend(ids);
            }
            match want {
                Want::Id(id) | Want::Name { last_id: Some(id), .. } => drop(wanted.insert(id.clone())),
                Want::Name { last_id: None, .. } | Want::Group { .. } => {}
            }
        }
        let listed = state.snapshot.listed_ids();
        state.snapshot.retain_reads(|id| wanted.contains(id) || listed.contains(id));
        due.sort_by_key(|id| state.snapshot.read_at(id));
        forced.extend(due);
        let mut seen = std::collections::HashSet::new();
        forced.retain(|id| seen.insert(id.clone()));
        forced
    }

    /// Asks for versions and flavors; how long to wait until the next time.
    async fn ask_for_catalog(&self) -> Duration {
        let (catalog, whole) = self.source.catalog().await;
        let mut state = self.lock();
        state.snapshot.offered(catalog);
        self.tell(state, None);
        if whole { CATALOG_FRESH } else { CATALOG_RETRY }
    }

    /// Wakes the subscribers for whom something changed; `about` is the one cluster that news came of, if it was only one.
    fn tell(&self, mut state: MutexGuard<'_, State>, about: Option<&str>) {
        let State { snapshot, subscriptions, .. } = &mut *state;
        let mut woken = Vec::new();
        for ((who, want), subscription) in subscriptions {
            if about.is_some_and(|id| !snapshot.concerns(want, id)) {
                continue;
            }
            let now = snapshot.observe(want, subscription.ticket, subscription.since);
            if subscription.told.as_ref() != Some(&now) {
                subscription.told = Some(now);
                woken.push(who.clone());
            }
        }
        drop(state);
        for who in woken {
            (self.wake)(who);
        }
    }

    fn has_list(&self) -> bool {
        self.lock().snapshot.listed_at().is_some()
    }

    fn list_is_due(&self) -> bool {
        self.until_next_list().is_zero()
    }

    fn until_next_list(&self) -> Duration {
        let state = self.lock();
        if state.refresh {
            return Duration::ZERO;
        }
        let Some(shortest) = state.subscriptions.values().map(|subscription| subscription.interval).min() else {
            return LONGEST_WAIT;
        };
        state
            .list_started
            .map_or(Duration::ZERO, |started| (started + shortest).saturating_duration_since(Instant::now()))
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // A panic while the lock was held leaves whole values behind: every write is one assignment or insert.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Keeps the loop from spinning when two due times round to the same instant.
const MIN_WAIT: Duration = Duration::from_millis(10);
