//! Lists the objects of a kind and then watches them, for as long as the stream is polled.
//!
//! kube's `watcher` does the same, with three differences. It shows no bookmarks, so a dead watch looks like one where nothing
//! happens. It resets its backoff with every list. And after an outage it goes on from the version it had: if etcd was restored from
//! a snapshot, that version lies in the future, and the API server sends nothing until it is reached.

use std::fmt::Debug;
use std::sync::Arc;
use std::time::Duration;

use futures::stream::{self, BoxStream};
use futures::{Stream, StreamExt as _};
use kube::ResourceExt as _;
use kube::api::{Api, ListParams, WatchEvent, WatchParams};
use kube::runtime::watcher::Event;
use rand::RngExt as _;
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::{Instant, sleep_until, timeout, timeout_at};
use tracing::debug;

use super::guard::Guarded;
use super::stored::Watched;
use super::watch_failure::{self, WatchError};
use super::watch_health::{WatchAttempt, WatchId};
use super::watches::Watches;
use crate::backoff::{Backoff, spread};

/// Objects per page of a list. With its managedFields an object takes 10 KB on the wire, and a hundred times that with annotations
/// and labels as large as the API server allows. A page is in memory two or three times while it is read.
const PAGE_SIZE: u32 = 50;

/// How long things may take. Tests are faster.
#[derive(Clone, Debug)]
struct Timing {
    /// The deadline of a page of a list, and of the acceptance of a watch.
    answer: Duration,
    /// After this long without an event or a bookmark the objects are listed anew, although watches begin and end as they should.
    /// The API server sends a bookmark before the end of a watch, but only if something happened that the watch does not show.
    silence: Duration,
    /// A watch that lasted this long, or brought something, is up.
    settled: Duration,
    /// A watch that lasted this long resets the backoff.
    proven: Duration,
    /// How many seconds a watch may last. The exact number is random, so that watches do not end together.
    lasts_seconds: std::ops::Range<u32>,
    /// How much earlier it may end, because the API server's clock may run faster.
    in_time: Duration,
    /// How much later it may end. A watch that lasts longer is dead.
    overdue: Duration,
    /// The first wait of the backoff.
    wait: Duration,
    /// Once a namespace has refused its first list for this long, the store does not wait for it any more. One refusal is not
    /// enough: an API server that has just started refuses everybody for a moment.
    given_up: Duration,
}

impl Default for Timing {
    fn default() -> Self {
        Self {
            answer: Duration::from_secs(60),
            silence: Duration::from_secs(150),
            settled: Duration::from_secs(2),
            proven: Duration::from_secs(15),
            lasts_seconds: 18..21,
            in_time: Duration::from_millis(500),
            overdue: Duration::from_secs(5),
            wait: Duration::from_secs(1),
            given_up: Duration::from_secs(10),
        }
    }
}

/// A watch that ends too early is reported as a failure after this many failed attempts in a row. The API server ends all watches of
/// a kind when its CRD changes, and all watches when it restarts.
const REPORTED_FROM: u32 = 2;

/// The API server has refused to list the objects for a while, so the store should not wait for them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ListRefused;

/// What a watch brings.
pub(crate) type WatchItem<K> = Result<Event<Guarded<K>>, ListRefused>;

/// A list under way.
struct Listing<K> {
    page: std::vec::IntoIter<Guarded<K>>,
    next: Option<String>,
    /// The version of the whole list, once its last page has come.
    version: Option<String>,
    _turn: Option<OwnedSemaphorePermit>,
}

/// A watch that the API server has accepted.
struct OpenWatch<K> {
    version: String,
    events: BoxStream<'static, kube::Result<WatchEvent<Guarded<K>>>>,
    since: Instant,
    /// When the API server is to end it.
    until: Instant,
    is_up: bool,
}

enum WatchState<K> {
    Start,
    Listing(Listing<K>),
    Listed { version: String },
    Watching(OpenWatch<K>),
}

type WatchStep<K> = (Option<WatchItem<K>>, WatchState<K>);

struct Watch<K> {
    api: Api<Guarded<K>>,
    labels: Option<String>,
    id: WatchId,
    watches: Arc<Watches>,
    timing: Timing,
    /// How many attempts failed in a row.
    failures: u32,
    not_before: Instant,
    /// When the last list, event or bookmark came.
    heard_at: Instant,
    /// The version of the last list or event.
    last_version: Option<u64>,
    is_listed: bool,
    is_given_up: bool,
    permit: Option<OwnedSemaphorePermit>,
}

/// The changes of the objects of a kind, beginning with a list of them. The stream never ends. Each watch may last `lasts_seconds`,
/// or up to a tenth less.
pub(crate) fn events<K: Watched + Debug>(
    api: Api<Guarded<K>>,
    labels: Option<String>,
    id: WatchId,
    watches: Arc<Watches>,
    lasts_seconds: u32,
) -> impl Stream<Item = WatchItem<K>> + Send {
    let mut watch = Watch::new(api, labels, id, watches);
    watch.timing.lasts_seconds = lasts_seconds.saturating_sub(lasts_seconds / 10)..lasts_seconds.saturating_add(1);
    stream::unfold((watch, WatchState::Start), |(mut watch, mut state)| async {
        loop {
            let (heard, next) = watch.step(state).await;
            state = next;
            if let Some(heard) = heard {
                return Some((heard, (watch, state)));
            }
        }
    })
}

impl<K: Watched + Debug> Watch<K> {
    fn new(api: Api<Guarded<K>>, labels: Option<String>, id: WatchId, watches: Arc<Watches>) -> Self {
        watches.begin(id.clone());
        Self {
            api,
            labels,
            id,
            watches,
            timing: Timing::default(),
            failures: 0,
            not_before: Instant::now(),
            heard_at: Instant::now(),
            last_version: None,
            is_listed: false,
            is_given_up: false,
            permit: None,
        }
    }

    async fn step(&mut self, state: WatchState<K>) -> WatchStep<K> {
        match state {
            WatchState::Start => self.begin_list().await,
            WatchState::Listing(listing) => self.list(listing).await,
            WatchState::Listed { version } => self.begin_watch(version).await,
            WatchState::Watching(open) => self.follow(open).await,
        }
    }

    async fn begin_list(&mut self) -> WatchStep<K> {
        sleep_until(self.not_before).await;
        if self.permit.is_none() {
            self.permit = self.watches.place(&self.id).await;
        }
        let turn = self.watches.turn_to_list().await;
        let listing = Listing { page: Vec::new().into_iter(), next: None, version: None, _turn: turn };
        (Some(Ok(Event::Init)), WatchState::Listing(listing))
    }

    async fn list(&mut self, mut listing: Listing<K>) -> WatchStep<K> {
        if let Some(object) = listing.page.next() {
            return (Some(Ok(Event::InitApply(object))), WatchState::Listing(listing));
        }
        if let Some(version) = listing.version {
            self.is_listed = true;
            self.note_version(&version, true);
            return (Some(Ok(Event::InitDone)), WatchState::Listed { version });
        }
        let params = ListParams {
            label_selector: self.labels.clone(),
            limit: Some(PAGE_SIZE),
            continue_token: listing.next.take(),
            ..ListParams::default()
        };
        match answer(self.timing.answer, self.api.list(&params)).await {
            Ok(list) => {
                self.watches.heard(&self.id);
                listing.page = list.items.into_iter();
                listing.next = list.metadata.continue_.filter(|token| !token.is_empty());
                let version = list.metadata.resource_version.filter(|version| !version.is_empty());
                match (&listing.next, version) {
                    (Some(_), _) => {}
                    (None, Some(version)) => listing.version = Some(version),
                    (None, None) => {
                        return (self.failed(WatchAttempt::List, &WatchError::NoVersion), WatchState::Start);
                    }
                }
                (None, WatchState::Listing(listing))
            }
            // The list took so long that its continue token has expired.
            Err(error) if error.code() == 410 => (self.list_anew(WatchAttempt::List, &error), WatchState::Start),
            Err(error) => (self.failed(WatchAttempt::List, &error), WatchState::Start),
        }
    }

    async fn begin_watch(&mut self, version: String) -> WatchStep<K> {
        sleep_until(self.not_before).await;
        let lasts = rand::rng().random_range(self.timing.lasts_seconds.clone());
        let params = WatchParams {
            label_selector: self.labels.clone(),
            timeout: Some(lasts),
            bookmarks: true,
            ..WatchParams::default()
        };
        let asked = Instant::now();
        match answer(self.timing.answer, self.api.watch(&params, &version)).await {
            Ok(events) => {
                let since = Instant::now();
                let until = asked + Duration::from_secs(u64::from(lasts)) - self.timing.in_time;
                let open = OpenWatch { version, events: events.boxed(), since, until, is_up: false };
                (None, WatchState::Watching(open))
            }
            // The API server is too busy for a watch, and a list would be more work for it.
            Err(error) if error.code() == 429 => {
                (self.failed(WatchAttempt::Watch, &error), WatchState::Listed { version })
            }
            Err(error) if error.code() == 410 => (self.list_anew(WatchAttempt::Watch, &error), WatchState::Start),
            // Meanwhile etcd may have been restored, so that this version lies in the future.
            Err(error) => (self.failed(WatchAttempt::Watch, &error), WatchState::Start),
        }
    }

    async fn follow(&mut self, mut open: OpenWatch<K>) -> WatchStep<K> {
        let settled = open.since + self.timing.settled;
        let overdue = open.until + self.timing.in_time + self.timing.overdue;
        let bound = if open.is_up { overdue } else { settled };
        match timeout_at(bound, open.events.next()).await {
            Err(_) if open.is_up => {
                debug!(watch = ?self.id, "watch reached its maximum age; restarting");
                (None, WatchState::Start)
            }
            Err(_) => {
                self.watches.up(&self.id);
                open.is_up = true;
                (None, WatchState::Watching(open))
            }
            Ok(Some(Ok(WatchEvent::Error(status)))) => {
                self.ended_by_error(&open, &WatchError::Kube(kube::Error::Api(status)))
            }
            Ok(Some(Ok(event))) => self.on_event(open, event),
            Ok(Some(Err(error))) => self.ended(open, &WatchError::Kube(error)),
            Ok(None) => self.ended(open, &WatchError::EndedEarly),
        }
    }

    /// The API server ends the watch and says why; most often its version is too old.
    fn ended_by_error(&mut self, open: &OpenWatch<K>, error: &WatchError) -> WatchStep<K> {
        self.proven(open);
        if error.code() == 410 {
            return (self.list_anew(WatchAttempt::Watch, error), WatchState::Start);
        }
        (self.failed(WatchAttempt::Watch, error), WatchState::Start)
    }

    /// The watch ended. If its time was over, the next one goes on where this one was. If not, the API server was stopped or cut off,
    /// and may serve another state of etcd now.
    fn ended(&mut self, open: OpenWatch<K>, error: &WatchError) -> WatchStep<K> {
        self.proven(&open);
        if open.is_up && Instant::now() >= open.until {
            let is_silent = self.heard_at.elapsed() >= self.timing.silence;
            return (None, if is_silent { WatchState::Start } else { WatchState::Listed { version: open.version } });
        }
        (self.list_anew(WatchAttempt::Watch, error), WatchState::Start)
    }

    /// Lists anew after something that is normal once. It counts as a failure if it happens again and again.
    fn list_anew(&mut self, attempt: WatchAttempt, error: &WatchError) -> Option<WatchItem<K>> {
        if self.failures >= REPORTED_FROM {
            return self.failed(attempt, error);
        }
        debug!(watch = ?self.id, verb = attempt.verb(), %error, "watch ended; restarting");
        self.pause(watch_failure::LONGEST_WAIT);
        None
    }

    fn on_event(&mut self, mut open: OpenWatch<K>, event: WatchEvent<Guarded<K>>) -> WatchStep<K> {
        let version = match &event {
            WatchEvent::Added(object) | WatchEvent::Modified(object) | WatchEvent::Deleted(object) => {
                object.resource_version().unwrap_or_default()
            }
            WatchEvent::Bookmark(bookmark) => bookmark.metadata.resource_version.clone(),
            WatchEvent::Error(_) => String::new(),
        };
        if version.is_empty() {
            return (self.failed(WatchAttempt::Watch, &WatchError::NoVersion), WatchState::Start);
        }
        self.watches.up(&self.id);
        open.is_up = true;
        self.proven(&open);
        self.note_version(&version, false);
        open.version = version;
        let event = match event {
            WatchEvent::Added(object) | WatchEvent::Modified(object) => Some(Event::Apply(object)),
            WatchEvent::Deleted(object) => Some(Event::Delete(object)),
            WatchEvent::Bookmark(_) | WatchEvent::Error(_) => None,
        };
        (event.map(Ok), WatchState::Watching(open))
    }

    /// Resets the backoff after a watch that lasted.
    fn proven(&mut self, open: &OpenWatch<K>) {
        if open.since.elapsed() >= self.timing.proven {
            self.failures = 0;
        }
    }

    /// Plans the next attempt, later after each failure.
    fn pause(&mut self, longest: Duration) {
        self.failures = self.failures.saturating_add(1);
        let wait = Backoff::new(self.timing.wait, longest).after(self.failures);
        self.not_before = Instant::now() + spread(wait, 0.5..=1.0, rand::random());
    }

    /// Reports a failure, and plans the next attempt.
    fn failed(&mut self, attempt: WatchAttempt, error: &WatchError) -> Option<WatchItem<K>> {
        let resource = K::plural(&());
        let failure = watch_failure::failure(attempt, &resource, self.id.namespace.is_some(), error);
        let is_refusal = failure.is_refusal();
        debug!(watch = ?self.id, verb = attempt.verb(), %error, "list or watch failed");
        let lasted = self.watches.failed(&self.id, failure);
        self.pause(if is_refusal { watch_failure::LONGEST_WAIT_REFUSED } else { watch_failure::LONGEST_WAIT });
        if is_refusal && lasted >= self.timing.given_up && !self.is_listed && !self.is_given_up {
            self.is_given_up = true;
            return Some(Err(ListRefused));
        }
        None
    }

    /// Remembers the version, and tells if a list is older than what was seen before: then etcd was restored.
    fn note_version(&mut self, version: &str, is_list: bool) {
        self.heard_at = Instant::now();
        let version = version.parse().ok();
        if is_list
            && let (Some(before), Some(now)) = (self.last_version, version)
            && now < before
        {
            self.watches.went_back(before, now);
        }
        self.last_version = version.or(self.last_version);
    }
}

/// The answer to a request, if it comes in time.
async fn answer<T>(within: Duration, request: impl Future<Output = kube::Result<T>>) -> Result<T, WatchError> {
    match timeout(within, request).await {
        Ok(answer) => answer.map_err(WatchError::Kube),
        Err(_) => Err(WatchError::NoAnswer(within)),
    }
}

#[cfg(test)]
#[path = "watch_tests.rs"]
mod tests;
