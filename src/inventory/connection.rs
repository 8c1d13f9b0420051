//! One connection: its snapshot, who is interested in it, and the task that keeps it fresh.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures::StreamExt as _;
use futures::future::{Fuse, FusedFuture as _, FutureExt as _};
use futures::stream::FuturesUnordered;
use jiff::{SignedDuration, Timestamp};
use tokio::sync::Notify;
use tokio::time::Instant;
use tracing::{debug, info, warn};

use super::agenda::{Agenda, Next};
use super::doubt::Doubt;
use super::list::{Listed, unreadable_among};
use super::pace::Pace;
use super::packed::Catalog;
use super::sight::{Observation, Want};
use super::snapshot::{Begun, Due, Snapshot};
use super::source::Source;
use super::subscription::Subscription;
use super::{Question, Subscriber, Urgency, Wake};
use crate::api::cluster_ref::ParameterGroupStatus;
use crate::cloud::CloudError;
use crate::cloud::words::state_label;

/// How long versions and flavors are believed.
const CATALOG_FRESH: Duration = Duration::from_secs(3600);
/// How soon a catalog that failed is asked for again.
const CATALOG_RETRY: Duration = Duration::from_secs(300);
/// How long the first list waits for the catalog, so that a status need not be written twice.
const CATALOG_PATIENCE: Duration = Duration::from_secs(2);
/// The poller never waits longer than this for its next look at what is due.
const LONGEST_WAIT: Duration = Duration::from_secs(24 * 3600);

/// A parameter group as a cluster has it.
type Group = Option<Arc<ParameterGroupStatus>>;

/// ID and name of a cluster.
pub type Identity = (Arc<str>, Option<Arc<str>>);

#[derive(Debug)]
struct State {
    snapshot: Snapshot,
    /// What each subscriber wants, in order; nearly always one thing.
    subscriptions: HashMap<Arc<Subscriber>, Vec<(Want, Subscription)>>,
    /// Who is told when a cluster that is due has been read: a scan of all subscribers for every read would cost more than the
    /// read. Who is missing here, because it was not due for him, is told with the next list.
    interested: HashMap<Arc<str>, Vec<Arc<Subscriber>>>,
    /// Who wants the members of a group, for whom every read can be news.
    groups: HashSet<Arc<Subscriber>>,
    agenda: Agenda,
    pace: Pace,
    list_started: Option<Instant>,
    list_due: Instant,
    /// A list was asked for by a person.
    asked: bool,
    /// A list was asked for by the operator itself: not worth disturbing a cloud that fails.
    refresh: bool,
    doubt: Doubt,
    /// Entries of the last list that could not be read.
    unreadable: usize,
}

impl State {
    fn new(gap: Duration, list_due: Instant) -> Self {
        let pace = Pace { shortest: LONGEST_WAIT, in_transition: false, failures: 0, retry_after: None };
        Self {
            snapshot: Snapshot::default(),
            subscriptions: HashMap::new(),
            interested: HashMap::new(),
            groups: HashSet::new(),
            agenda: Agenda::new(gap),
            pace,
            list_started: None,
            list_due,
            asked: false,
            refresh: false,
            doubt: Doubt::default(),
            unreadable: 0,
        }
    }

    /// Makes an object a subscriber. What it asked before, with less knowledge of its target, goes on.
    fn enter(&mut self, question: &Question<'_>) -> (&mut Subscription, bool) {
        let Question { who, want, interval, .. } = *question;
        let since = if self.snapshot.refuses(want) { self.snapshot.round() + 1 } else { 0 };
        let who =
            self.subscriptions.get_key_value(who).map_or_else(|| Arc::new(who.clone()), |(who, _)| Arc::clone(who));
        let wants = self.subscriptions.entry(who).or_insert_with(|| Vec::with_capacity(1));
        let (index, is_new) = match wants.binary_search_by(|(have, _)| have.cmp(want)) {
            Ok(index) => (index, false),
            Err(index) => {
                let same = wants.iter().find(|(have, _)| have.is_for_the_same_as(want));
                let known = same.map(|(_, subscription)| subscription.clone());
                let is_new = known.is_none();
                let subscription = known.unwrap_or_else(|| Subscription::new(interval, since, Instant::now()));
                wants.insert(index, (want.clone(), subscription));
                (index, is_new)
            }
        };
        (&mut wants[index].1, is_new)
    }

    /// Remembers who waits for single reads.
    fn note_interest(&mut self, who: &Subscriber, want: &Want, due: &[Due]) {
        let Some((who, _)) = self.subscriptions.get_key_value(who) else { return };
        if matches!(want, Want::Group { .. }) {
            self.groups.insert(Arc::clone(who));
            return;
        }
        for due in due {
            let waiting = self.interested.entry(Arc::clone(&due.id)).or_default();
            if !waiting.contains(who) {
                waiting.push(Arc::clone(who));
            }
        }
    }

    /// Whom news of one cluster can concern.
    fn concerned(&self, id: &str) -> Vec<Arc<Subscriber>> {
        self.interested.get(id).into_iter().flatten().chain(&self.groups).cloned().collect()
    }

    fn is_list_due(&self, now: Instant) -> bool {
        self.next_list() <= now
    }

    /// When the next list is due. What the operator itself wants sooner waits for the probe of a cloud that fails.
    fn next_list(&self) -> Instant {
        let at_once = self.asked || (self.refresh && !self.snapshot.is_failing());
        match self.list_started {
            Some(started) if at_once => started,
            _ => self.list_due,
        }
    }

    /// When the next list is due, from how the last one ended.
    fn plan_next_list(&mut self) {
        let started = self.list_started.unwrap_or_else(Instant::now);
        self.list_due = started + self.pace.gap(rand::random()).min(LONGEST_WAIT);
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
    /// A connection whose first list is due after `delay`, or when somebody comes who cannot wait.
    pub(super) fn new(source: Source, label: String, wake: Wake, delay: Duration) -> Self {
        let state = Mutex::new(State::new(source.pace(), Instant::now() + delay));
        Self { source, label, wake, state, changed: Notify::new() }
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
        let Question { want, interval, force, .. } = *question;
        let mut state = self.lock();
        let next_round = state.snapshot.round() + 1;
        let (subscription, is_new) = state.enter(question);
        subscription.interval = interval;
        let forced = force.is_some() && subscription.token.as_deref() != force;
        if forced {
            subscription.token = force.map(Into::into);
            subscription.ticket = next_round;
        }
        let (ticket, since) = (subscription.ticket, subscription.since);
        let observation = state.snapshot.observe(want, ticket, since);
        let (subscription, _) = state.enter(question);
        subscription.note(observation.clone());
        let sooner = interval < state.pace.shortest;
        if sooner {
            state.pace.shortest = interval;
            if state.list_started.is_some() && state.pace.failures == 0 {
                state.plan_next_list();
            }
        }
        let starts = state.list_started.is_none() && !question.can_wait;
        if starts {
            state.list_due = state.list_due.min(Instant::now());
        }
        state.asked |= forced;
        state.refresh |= is_new && since == next_round;
        if is_new {
            let due = state.snapshot.reads_due(want, interval, ticket, Timestamp::now());
            due.iter().for_each(|due| state.agenda.add(due));
            state.note_interest(question.who, want, &due);
        }
        drop(state);
        if is_new || sooner || forced || starts {
            self.changed.notify_one();
        }
        observation
    }

    /// What is known of what a subscriber asks for, and ID and name of the cluster it means, for others that follow it: it costs no
    /// subscription. None if it does not ask for this.
    pub fn look(&self, who: &Subscriber, want: &Want) -> Option<(Observation, Option<Identity>)> {
        let state = self.lock();
        let wants = state.subscriptions.get(who)?;
        let (want, subscription) = wants.iter().find(|(have, _)| have.is_for_the_same_as(want))?;
        Some((state.snapshot.observe(want, 0, subscription.since), state.snapshot.identity(want)))
    }

    /// How long ago an object began to ask for this; none if it does not.
    pub fn asked_for(&self, who: &Subscriber, want: &Want) -> Option<Duration> {
        let state = self.lock();
        let (_, subscription) = state.subscriptions.get(who)?.iter().find(|(have, _)| have == want)?;
        Some(subscription.begun.elapsed())
    }

    /// Drops the subscriptions of an object except those in `wants`; says whether the connection still has subscribers.
    pub(super) fn keep(&self, who: &Subscriber, wants: &HashSet<&Want>) -> bool {
        let mut state = self.lock();
        if wants.is_empty() {
            state.subscriptions.remove(who);
        } else if let Some(have) = state.subscriptions.get_mut(who) {
            have.retain(|(want, _)| wants.contains(want));
        }
        !state.subscriptions.is_empty()
    }

    /// Who is subscribed.
    pub(super) fn subscribers(&self) -> Vec<Arc<Subscriber>> {
        self.lock().subscriptions.keys().cloned().collect()
    }

    /// Seconds since the last good list, and the states of the listed clusters, as labels, with their counts.
    pub(super) fn report(&self, now: Timestamp) -> (Option<f64>, HashMap<&'static str, i64>) {
        let state = self.lock();
        let provider = self.source.provider();
        let mut states: HashMap<&'static str, i64> = HashMap::new();
        for word in state.snapshot.states() {
            *states.entry(state_label(provider, word)).or_insert(0) += 1;
        }
        (state.snapshot.listed_at().map(|at| now.duration_since(at).as_secs_f64().max(0.0)), states)
    }

    /// Keeps the connection fresh until the task is dropped. Neither a list, nor a single read, nor the catalog waits for
    /// another of them.
    pub(super) async fn poll(self: Arc<Self>) {
        self.wait_for_start().await;
        let mut catalog_due = Instant::now() + self.first_catalog().await;
        let mut reads = FuturesUnordered::new();
        let (list, catalog) = (Fuse::terminated(), Fuse::terminated());
        tokio::pin!(list, catalog);
        loop {
            let now = Instant::now();
            let mut until = now + LONGEST_WAIT;
            if list.is_terminated() {
                if self.lock().is_list_due(now) {
                    list.set(self.list().fuse());
                } else {
                    until = until.min(self.lock().next_list());
                }
            }
            match self.next_read(now) {
                Ok((id, begun)) => {
                    reads.push(self.read_one(id, begun));
                    continue;
                }
                Err(at) => until = until.min(at),
            }
            if catalog.is_terminated() && self.is_healthy() {
                if catalog_due <= now {
                    catalog.set(self.ask_for_catalog(&self.source).fuse());
                } else {
                    until = until.min(catalog_due);
                }
            }
            tokio::select! {
                () = &mut list, if !list.is_terminated() => {}
                Some(()) = reads.next(), if !reads.is_empty() => {}
                wait = &mut catalog, if !catalog.is_terminated() => catalog_due = Instant::now() + wait,
                () = self.changed.notified() => {}
                () = tokio::time::sleep_until(until) => {}
            }
        }
    }

    /// Until the first list is due.
    async fn wait_for_start(&self) {
        loop {
            let due = self.lock().list_due;
            if due <= Instant::now() {
                return;
            }
            tokio::select! {
                () = self.changed.notified() => {}
                () = tokio::time::sleep_until(due) => {}
            }
        }
    }

    async fn list(&self) {
        let at = Timestamp::now();
        let (was_asked, source) = {
            let mut state = self.lock();
            state.snapshot.begin_list();
            state.list_started = Some(Instant::now());
            let was_asked = state.asked;
            (state.asked, state.refresh) = (false, false);
            // A cloud that fails is probed by one request, not by one and its repetitions.
            let is_failing = state.snapshot.is_failing();
            (was_asked, if is_failing { self.source.without_retries() } else { self.source.clone() })
        };
        // Each cluster is compared while the list is read, so that what did not change is never held twice.
        let outcome = source.list(&|row| self.lock().snapshot.recognise(row)).await;
        let mut state = self.lock();
        state.doubt.settle();
        match outcome {
            Ok(clusters) => self.list_succeeded(&mut state, at, clusters),
            Err(error) => self.list_failed(&mut state, error, was_asked),
        }
        self.tell_all(state);
    }

    fn list_succeeded(&self, state: &mut State, at: Timestamp, clusters: Vec<Listed>) {
        let (unreadable, first) = unreadable_among(&clusters);
        // Once, and not with every list, for it may stay so.
        match first {
            _ if unreadable == state.unreadable => {}
            Some(error) => warn!(connection = %self.label, unreadable, %error, "entries of the list cannot be read"),
            None => info!(connection = %self.label, "all entries of the list can be read again"),
        }
        state.unreadable = unreadable;
        debug!(connection = %self.label, clusters = clusters.len(), unreadable, "listed");
        state.snapshot.listed(at, clusters);
        (state.pace.failures, state.pace.retry_after) = (0, None);
    }

    fn list_failed(&self, state: &mut State, error: CloudError, was_asked: bool) {
        warn!(connection = %self.label, %error, "the list failed");
        state.pace.failures = state.pace.failures.saturating_add(1);
        state.pace.retry_after = error.retry_after;
        state.snapshot.failed(error, was_asked);
    }

    /// The single read to begin now, or when to ask again.
    fn next_read(&self, now: Instant) -> Result<(Arc<str>, Begun), Instant> {
        let mut state = self.lock();
        if state.snapshot.is_failing() || state.doubt.is_open() {
            return Err(now + LONGEST_WAIT);
        }
        // While the list is not asked about it again, what fails is not asked for at full pace either.
        if let Some(at) = state.doubt.not_before().filter(|at| *at > now) {
            return Err(at);
        }
        match state.agenda.next(now) {
            Next::Read(id) => {
                let begun = state.snapshot.begin_read(&id, Timestamp::now());
                Ok((id, begun))
            }
            Next::At(at) => Err(at),
            Next::Idle => Err(now + LONGEST_WAIT),
        }
    }

    async fn read_one(&self, id: Arc<str>, begun: Begun) {
        let outcome = self.source.read(&id).await;
        let mut state = self.lock();
        let interval = state.pace.shortest;
        state.refresh |= state.doubt.arises(outcome.as_ref().map(drop), Instant::now(), interval);
        state.agenda.ended(&id);
        let before = state.snapshot.group_of(&id);
        state.snapshot.read(&id, begun, outcome);
        let after = state.snapshot.group_of(&id);
        self.tell_of(state, &id, (before != after).then_some(&[before, after]));
    }

    /// Asks for the catalog before the first list, for a moment; how long to wait until the next time.
    async fn first_catalog(&self) -> Duration {
        let source = self.source.without_retries();
        let asked = tokio::time::timeout(CATALOG_PATIENCE, self.ask_for_catalog(&source)).await;
        asked.unwrap_or(CATALOG_PATIENCE)
    }

    /// Asks for versions and flavors; how long to wait until the next time.
    async fn ask_for_catalog(&self, source: &Source) -> Duration {
        let (catalog, whole): (Catalog, bool) = source.catalog().await;
        let mut state = self.lock();
        // What it adds to the pictures comes with a list.
        if state.snapshot.offered(catalog) {
            state.refresh = true;
        }
        if whole { CATALOG_FRESH } else { CATALOG_RETRY }
    }

    /// After a list: wakes the subscribers for whom something changed, and plans what is to be read until the next.
    fn tell_all(&self, mut state: MutexGuard<'_, State>) {
        let now = Timestamp::now();
        let (mut woken, mut shortest, mut in_transition) = (Vec::new(), LONGEST_WAIT, false);
        let (mut due, mut waiting) = (Vec::new(), Vec::new());
        // Whoever wants a group waits for the same reads.
        let mut of_groups = HashSet::new();
        // Reads that come due before the next list are planned now.
        let soon = SignedDuration::try_from(state.pace.shortest).ok().and_then(|by| now.checked_add(by).ok());
        let horizon = soon.unwrap_or(now);
        let State { snapshot, subscriptions, .. } = &mut *state;
        for (who, wants) in subscriptions {
            for (want, subscription) in wants {
                woken.extend(subscription.tell(snapshot, want).map(|urgency| (Arc::clone(who), urgency)));
                shortest = shortest.min(subscription.interval);
                in_transition |= subscription.sees_transition();
                if matches!(want, Want::Group { .. }) {
                    waiting.push((Arc::clone(who), want.clone(), Vec::new()));
                    if !of_groups.insert((subscription.interval, subscription.ticket)) {
                        continue;
                    }
                }
                let reads = snapshot.reads_due(want, subscription.interval, subscription.ticket, horizon);
                if !reads.is_empty() && !matches!(want, Want::Group { .. }) {
                    waiting.push((Arc::clone(who), want.clone(), reads.clone()));
                }
                due.extend(reads);
            }
        }
        (state.pace.shortest, state.pace.in_transition) = (shortest, in_transition);
        oldest_first(&state.snapshot, &mut due);
        state.agenda.replace(&due, shortest);
        state.interested.clear();
        state.groups.clear();
        waiting.iter().for_each(|(who, want, reads)| state.note_interest(who, want, reads));
        let State { snapshot, subscriptions, .. } = &mut *state;
        forget_unwanted(snapshot, subscriptions.values());
        state.plan_next_list();
        drop(state);
        self.wake_all(woken);
    }

    /// After a single read: wakes those who waited for it. `groups` are the parameter groups of the cluster before and after it, if
    /// they differ.
    fn tell_of(&self, mut state: MutexGuard<'_, State>, id: &Arc<str>, groups: Option<&[Group; 2]>) {
        let (now, mut woken, mut due) = (Timestamp::now(), Vec::new(), Vec::new());
        let concerned = state.concerned(id);
        let State { snapshot, subscriptions, agenda, .. } = &mut *state;
        for who in concerned {
            for (want, subscription) in subscriptions.get_mut(&who).into_iter().flatten() {
                let is_concerned = match want {
                    Want::Group { .. } => {
                        subscription.is_asked() || groups.into_iter().flatten().any(|group| want.is_group(group))
                    }
                    _ => snapshot.concerns(want, id),
                };
                if is_concerned {
                    woken.extend(subscription.tell(snapshot, want).map(|urgency| (Arc::clone(&who), urgency)));
                    due.extend(snapshot.reads_due(want, subscription.interval, subscription.ticket, now));
                }
            }
        }
        due.iter().for_each(|due| agenda.add(due));
        drop(state);
        self.wake_all(woken);
    }

    fn wake_all(&self, woken: Vec<(Arc<Subscriber>, Urgency)>) {
        for (who, urgency) in woken {
            (self.wake)(&who, urgency);
        }
    }

    /// Whether the last list was good.
    fn is_healthy(&self) -> bool {
        let state = self.lock();
        state.snapshot.listed_at().is_some() && !state.snapshot.is_failing()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // A panic while the lock was held leaves whole values behind: every write is one assignment or insert.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The longest waiting first.
fn oldest_first(snapshot: &Snapshot, due: &mut [Due]) {
    due.sort_by_cached_key(|due| snapshot.read_at(&due.id));
}

/// Drops single reads of clusters that are neither listed nor wanted.
fn forget_unwanted<'a>(snapshot: &mut Snapshot, wants: impl Iterator<Item = &'a Vec<(Want, Subscription)>>) {
    let id = |want: &'a Want| match want {
        Want::Id(id) | Want::Name { last_id: Some(id), .. } => Some(id.as_str()),
        Want::Name { last_id: None, .. } | Want::Group { .. } => None,
    };
    let wanted: HashSet<&str> = wants.flatten().filter_map(|(want, _)| id(want)).collect();
    snapshot.retain_reads(|id| wanted.contains(id));
}
