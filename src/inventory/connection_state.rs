//! Everything known about one connection, and what is to be read next. Values only: the poller brings the outcomes of reads, the time
//! and random numbers as arguments.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use tokio::time::Instant;

use super::circuit_breaker::CircuitBreaker;
use super::instance::Instance;
use super::list::Listed;
use super::observation::{Identity, Observation, Query};
use super::packed::Catalog;
use super::read_queue::{NextRead, ReadQueue};
use super::schedule::PollSchedule;
use super::snapshot::{Snapshot, StartedRead};
use super::subscriber::{Notification, Subscriber, Subscription};
use super::subscriptions::Subscriptions;
use crate::cloud::state::state_label;
use crate::cloud::{CloudError, Provider, Row};

/// The longest wait until the next look at what is due.
pub(super) const LONGEST_WAIT: Duration = Duration::from_secs(24 * 3600);

/// The time on both clocks, with a random number of at least 0 and below 1 for jitter.
#[derive(Clone, Copy, Debug)]
pub(super) struct Moment {
    /// For waits.
    pub(super) instant: Instant,
    /// For what is shown.
    pub(super) timestamp: Timestamp,
    pub(super) random: f64,
}

impl Moment {
    /// Now.
    pub(super) fn now() -> Self {
        Self { instant: Instant::now(), timestamp: Timestamp::now(), random: rand::random() }
    }
}

/// A list to begin now.
#[derive(Clone, Copy, Debug)]
pub(super) struct StartedList {
    /// When it began.
    at: Timestamp,
    /// Whether somebody requested it.
    refresh_requested: bool,
    /// Whether a failed request is retried. A cloud that fails is probed by a single request.
    pub(super) with_retries: bool,
}

/// A single read to begin now.
#[derive(Clone, Debug)]
pub(super) struct NewRead {
    /// The cluster's ID.
    pub(super) id: Arc<str>,
    started: StartedRead,
    /// Whether a failed request is retried.
    pub(super) with_retries: bool,
}

/// The state of one connection.
#[derive(Debug)]
pub(super) struct ConnectionState {
    snapshot: Snapshot,
    subscriptions: Subscriptions,
    reads: ReadQueue,
    schedule: PollSchedule,
    breaker: CircuitBreaker,
    /// When the last list began.
    list_began: Option<Instant>,
    list_due: Instant,
    /// Somebody requested a list.
    refresh_requested: bool,
    /// The operator needs a list itself: no reason to disturb a cloud that fails.
    list_needed: bool,
    /// Entries of the last list that could not be read.
    unreadable: usize,
}

impl ConnectionState {
    /// A connection without subscribers, whose single reads are at least `gap` apart.
    pub(super) fn new(gap: Duration, list_due: Instant) -> Self {
        let schedule = PollSchedule { shortest: LONGEST_WAIT, in_transition: false, failures: 0, retry_after: None };
        Self {
            snapshot: Snapshot::default(),
            subscriptions: Subscriptions::default(),
            reads: ReadQueue::new(gap),
            schedule,
            breaker: CircuitBreaker::default(),
            list_began: None,
            list_due,
            refresh_requested: false,
            list_needed: false,
            unreadable: 0,
        }
    }

    /// Subscribes. Returns what is known now, and whether the poller has to look again at what is due.
    pub(super) fn subscribe(&mut self, subscription: &Subscription<'_>, now: Moment) -> (Observation, bool) {
        let Subscription { subscriber, query, interval, can_wait, .. } = *subscription;
        let next_round = self.snapshot.round().next();
        let lacks = || self.snapshot.lacks(query);
        let (mut needs_newer_list, snapshot) = (false, &self.snapshot);
        let trusted_from = || {
            needs_newer_list = lacks();
            needs_newer_list.then_some(next_round)
        };
        let (state, is_new) = self.subscriptions.enter(subscription, trusted_from, now.instant);
        let refresh_requested = state.update(subscription, next_round);
        let observation = state.observe(snapshot, query);
        if is_new {
            let due = state.reads_due(snapshot, query, now.timestamp);
            due.iter().for_each(|due| self.reads.add(due));
            self.subscriptions.await_reads(subscriber, query, &due);
        }
        let is_shortest = interval < self.schedule.shortest;
        if is_shortest {
            self.schedule.shortest = interval;
            if self.list_began.is_some() && self.schedule.failures == 0 {
                self.plan_next_list(now);
            }
        }
        let begins_now = self.list_began.is_none() && !can_wait;
        if begins_now {
            self.list_due = self.list_due.min(now.instant);
        }
        self.refresh_requested |= refresh_requested;
        self.list_needed |= needs_newer_list;
        (observation, is_new || is_shortest || refresh_requested || begins_now)
    }

    /// What is known about the target of a subscriber's query, and ID and name of the cluster it is about. None if the subscriber
    /// does not ask for this.
    pub(super) fn peek(&self, subscriber: &Subscriber, query: &Query) -> Option<(Observation, Option<Identity>)> {
        let (query, trusted_from) = self.subscriptions.find(subscriber, query)?;
        Some((self.snapshot.observe(query, None, trusted_from), self.snapshot.identity(query)))
    }

    /// How long ago a subscriber began to ask for this; none if it does not.
    pub(super) fn subscribed_for(&self, subscriber: &Subscriber, query: &Query, now: Instant) -> Option<Duration> {
        self.subscriptions.age(subscriber, query, now)
    }

    /// Drops the subscriptions of a subscriber except those for `queries`. Returns whether any subscriber is left.
    pub(super) fn retain(&mut self, subscriber: &Subscriber, queries: &HashSet<&Query>) -> bool {
        self.subscriptions.retain(subscriber, queries)
    }

    /// All subscribers.
    pub(super) fn subscribers(&self) -> impl Iterator<Item = &Subscriber> {
        self.subscriptions.subscribers()
    }

    /// When the first list is due, as long as none has begun.
    pub(super) fn first_list_due(&self) -> Instant {
        self.list_due
    }

    /// When the next list is due. A list that the operator needs itself waits for the next probe of a cloud that fails.
    pub(super) fn next_list(&self) -> Instant {
        let at_once = self.refresh_requested || (self.list_needed && !self.snapshot.is_failing());
        match self.list_began {
            Some(began) if at_once => began,
            _ => self.list_due,
        }
    }

    /// A list begins.
    pub(super) fn begin_list(&mut self, now: Moment) -> StartedList {
        self.snapshot.begin_list();
        self.list_began = Some(now.instant);
        let refresh_requested = std::mem::take(&mut self.refresh_requested);
        self.list_needed = false;
        StartedList { at: now.timestamp, refresh_requested, with_retries: !self.snapshot.is_failing() }
    }

    /// Compares one cluster of the list under way with the list before.
    pub(super) fn recognise(&mut self, row: Row<Instance>) -> Listed {
        self.snapshot.recognise(row)
    }

    /// Notes how many entries of a list cannot be read. Returns whether it is another number than before.
    pub(super) fn note_unreadable(&mut self, unreadable: usize) -> bool {
        std::mem::replace(&mut self.unreadable, unreadable) != unreadable
    }

    /// A list has ended: plans what is read until the next one. Returns which subscribers are to be notified.
    pub(super) fn end_list(
        &mut self,
        list: StartedList,
        outcome: Result<Vec<Listed>, CloudError>,
        now: Moment,
    ) -> Vec<Notification> {
        self.breaker.reset();
        match outcome {
            Ok(clusters) => {
                self.snapshot.listed(list.at, clusters);
                (self.schedule.failures, self.schedule.retry_after) = (0, None);
            }
            Err(error) => {
                self.schedule.failures = self.schedule.failures.saturating_add(1);
                self.schedule.retry_after = error.retry_after;
                self.snapshot.failed(error, list.refresh_requested);
            }
        }
        // Reads that come due before the next list are planned now.
        let until = SignedDuration::try_from(self.schedule.shortest).ok();
        let horizon = until.and_then(|until| now.timestamp.checked_add(until).ok()).unwrap_or(now.timestamp);
        let mut after = self.subscriptions.after_list(&self.snapshot, horizon);
        self.schedule.shortest = after.shortest.unwrap_or(LONGEST_WAIT).min(LONGEST_WAIT);
        self.schedule.in_transition = after.in_transition;
        // The cluster that waits longest goes first.
        after.due.sort_by_cached_key(|due| self.snapshot.read_at(&due.id));
        self.reads.replace(&after.due, self.schedule.shortest);
        let named = self.subscriptions.named_ids();
        self.snapshot.retain_reads(|id| named.contains(id));
        self.plan_next_list(now);
        after.notifications
    }

    /// The single read to begin now.
    ///
    /// # Errors
    /// When to ask again.
    pub(super) fn next_read(&mut self, now: Moment) -> Result<NewRead, Instant> {
        if self.snapshot.is_failing() || self.breaker.is_open() {
            return Err(now.instant + LONGEST_WAIT);
        }
        // Until the next list, failing reads are not made at full pace either.
        if let Some(at) = self.breaker.not_before().filter(|at| *at > now.instant) {
            return Err(at);
        }
        match self.reads.next(now.instant) {
            NextRead::Read(id) => {
                let started = self.snapshot.begin_read(&id, now.timestamp);
                let with_retries = !self.breaker.forbids_retries(now.instant, self.schedule.shortest);
                Ok(NewRead { id, started, with_retries })
            }
            NextRead::At(at) => Err(at),
            NextRead::Idle => Err(now.instant + LONGEST_WAIT),
        }
    }

    /// A single read has ended. Returns which subscribers are to be notified.
    pub(super) fn end_read(
        &mut self,
        read: NewRead,
        outcome: Result<Option<Instance>, CloudError>,
        now: Moment,
    ) -> Vec<Notification> {
        let NewRead { id, started, .. } = read;
        self.list_needed |= self.breaker.record(outcome.as_ref().map(drop), now.instant, self.schedule.shortest);
        self.reads.ended(&id);
        let before = self.snapshot.group_of(&id);
        self.snapshot.read(&id, started, outcome);
        let after = self.snapshot.group_of(&id);
        let groups = [before, after];
        let changed = (groups[0] != groups[1]).then_some(&groups);
        let (notifications, due) = self.subscriptions.after_read(&self.snapshot, &id, changed, now.timestamp);
        due.iter().for_each(|due| self.reads.add(due));
        notifications
    }

    /// Takes in the catalog.
    pub(super) fn offered(&mut self, catalog: Catalog) {
        // What it adds to the instances comes with a list.
        self.list_needed |= self.snapshot.offered(catalog);
    }

    /// Whether the last list was good.
    pub(super) fn is_healthy(&self) -> bool {
        self.snapshot.listed_at().is_some() && !self.snapshot.is_failing()
    }

    /// Seconds since the last good list began, and how many listed clusters are in each state, by the metric's label.
    pub(super) fn report(&self, provider: Provider, now: Timestamp) -> (Option<f64>, HashMap<&'static str, i64>) {
        let mut states: HashMap<&'static str, i64> = HashMap::new();
        for state in self.snapshot.states() {
            *states.entry(state_label(provider, state)).or_insert(0) += 1;
        }
        (self.snapshot.listed_at().map(|at| now.duration_since(at).as_secs_f64().max(0.0)), states)
    }

    /// Plans the next list by how the last one ended.
    fn plan_next_list(&mut self, now: Moment) {
        let began = self.list_began.unwrap_or(now.instant);
        self.list_due = began + self.schedule.gap(now.random).min(LONGEST_WAIT);
    }
}

#[cfg(test)]
#[path = "connection_state_tests.rs"]
mod tests;
