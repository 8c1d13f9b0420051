//! Lists the objects of a kind and watches them from there on, for as long as the stream is polled.
//!
//! kube's `watcher` does the same, but shows no bookmarks, so a watch that will never bring anything looks like one where nothing
//! happens; it forgets its backoff with every list it attempts; and after an outage it goes on from the version it had, which lies in
//! the future if etcd was restored from a snapshot: the API server accepts that, and sends nothing until it is reached.

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
use super::watch_failure::{self, Trouble};
use super::watch_health::{Attempt, WatchId};
use super::watches::Watches;

/// Store listed at once. With its managedFields an object takes 10 KB on the way, and with annotations and labels as large as the
/// API server lets them be a hundred times that; a page stands in memory two or three times while it is read.
const PAGE_SIZE: u32 = 50;
/// How long things may take. Tests are faster.
#[derive(Clone, Debug)]
struct Timing {
    /// For a page of a list, or to accept a watch.
    answer: Duration,
    /// After which time without a word the objects are listed anew, although watches began and ended as they should. The API
    /// server sends a bookmark before the end of a watch, but only if something happened that the watch does not show.
    silence: Duration,
    /// A watch that lasted for so long, or brought something, is up.
    settled: Duration,
    /// A watch that lasted for so long ends the backoff.
    proven: Duration,
    /// How long a watch is asked to last, in seconds; a part of it is left to chance, so that not all end together.
    lasts_seconds: std::ops::Range<u32>,
    /// How much sooner it may end, as the API server's clock may run faster.
    in_time: Duration,
    /// How much it may outlive its time; then nobody is there to end it.
    overdue: Duration,
    /// The first wait of the backoff.
    wait: Duration,
    /// A namespace that refuses its first list for so long is done without. It is not the first refusal: an API server that has
    /// just started refuses everybody for a moment.
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

/// A watch that ends before its time is told if so many attempts before were in vain: the API server ends all watches of a kind
/// when its CRD changes, and all watches when it restarts.
const TOLD_FROM: u32 = 2;

/// The API server has refused to list the objects for a while, so nobody should wait for them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Refused;

/// What a watch brings.
pub type Heard<K> = Result<Event<Guarded<K>>, Refused>;

/// The wait after a failure. Values only: time and chance are arguments.
#[derive(Clone, Copy, Debug, Default)]
struct Backoff {
    failures: u32,
}

impl Backoff {
    /// `first`, twice that, four times … up to `longest`, of which `chance` (0 to 1) takes away up to a half.
    fn after_failure(&mut self, first: Duration, longest: Duration, chance: f64) -> Duration {
        self.failures = self.failures.saturating_add(1);
        let whole = first.saturating_mul(1 << self.failures.saturating_sub(1).min(9)).min(longest);
        whole.mul_f64(1.0 - chance.clamp(0.0, 1.0) / 2.0)
    }
}

/// A list under way.
struct Listing<K> {
    page: std::vec::IntoIter<Guarded<K>>,
    next: Option<String>,
    /// The version of the whole list, once its last page is here.
    version: Option<String>,
    _turn: Option<OwnedSemaphorePermit>,
}

/// A watch that the API server has accepted.
struct Open<K> {
    version: String,
    events: BoxStream<'static, kube::Result<WatchEvent<Guarded<K>>>>,
    since: Instant,
    /// When the API server is to end it.
    until: Instant,
    is_up: bool,
}

enum State<K> {
    Start,
    Listing(Listing<K>),
    Listed { version: String },
    Watching(Open<K>),
}

type Step<K> = (Option<Heard<K>>, State<K>);

struct Watch<K> {
    api: Api<Guarded<K>>,
    labels: Option<String>,
    id: WatchId,
    watches: Arc<Watches>,
    timing: Timing,
    backoff: Backoff,
    not_before: Instant,
    /// When a list, an event or a bookmark last came.
    heard_at: Instant,
    /// The version of the last list or event.
    last_version: Option<u64>,
    is_listed: bool,
    is_given_up: bool,
    _place: Option<OwnedSemaphorePermit>,
}

/// What happens to the objects of a kind, beginning with a list of them. It never ends. Each watch is asked to last
/// `lasts_seconds`, or up to a tenth less.
pub fn events<K: Watched + Debug>(
    api: Api<Guarded<K>>,
    labels: Option<String>,
    id: WatchId,
    watches: Arc<Watches>,
    lasts_seconds: u32,
) -> impl Stream<Item = Heard<K>> + Send {
    let mut watch = Watch::new(api, labels, id, watches);
    watch.timing.lasts_seconds = lasts_seconds.saturating_sub(lasts_seconds / 10)..lasts_seconds.saturating_add(1);
    stream::unfold((watch, State::Start), |(mut watch, mut state)| async {
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
            backoff: Backoff::default(),
            not_before: Instant::now(),
            heard_at: Instant::now(),
            last_version: None,
            is_listed: false,
            is_given_up: false,
            _place: None,
        }
    }

    async fn step(&mut self, state: State<K>) -> Step<K> {
        match state {
            State::Start => self.begin_list().await,
            State::Listing(listing) => self.list(listing).await,
            State::Listed { version } => self.begin_watch(version).await,
            State::Watching(open) => self.follow(open).await,
        }
    }

    async fn begin_list(&mut self) -> Step<K> {
        sleep_until(self.not_before).await;
        if self._place.is_none() {
            self._place = self.watches.place(&self.id).await;
        }
        let turn = self.watches.turn_to_list().await;
        let listing = Listing { page: Vec::new().into_iter(), next: None, version: None, _turn: turn };
        (Some(Ok(Event::Init)), State::Listing(listing))
    }

    async fn list(&mut self, mut listing: Listing<K>) -> Step<K> {
        if let Some(object) = listing.page.next() {
            return (Some(Ok(Event::InitApply(object))), State::Listing(listing));
        }
        if let Some(version) = listing.version {
            self.is_listed = true;
            self.note_version(&version, true);
            return (Some(Ok(Event::InitDone)), State::Listed { version });
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
                    (None, None) => return (self.failed(Attempt::List, &Trouble::NoVersion), State::Start),
                }
                (None, State::Listing(listing))
            }
            // The list took so long that its pages have expired.
            Err(trouble) if trouble.code() == 410 => (self.begins_anew(Attempt::List, &trouble), State::Start),
            Err(trouble) => (self.failed(Attempt::List, &trouble), State::Start),
        }
    }

    async fn begin_watch(&mut self, version: String) -> Step<K> {
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
                let open = Open { version, events: events.boxed(), since, until, is_up: false };
                (None, State::Watching(open))
            }
            // It is too busy for a watch, and a list would be more work for it.
            Err(trouble) if trouble.code() == 429 => (self.failed(Attempt::Watch, &trouble), State::Listed { version }),
            Err(trouble) if trouble.code() == 410 => (self.begins_anew(Attempt::Watch, &trouble), State::Start),
            // Anything may have happened meanwhile, even a restore of etcd, after which this version lies in the future.
            Err(trouble) => (self.failed(Attempt::Watch, &trouble), State::Start),
        }
    }

    async fn follow(&mut self, mut open: Open<K>) -> Step<K> {
        let settled = open.since + self.timing.settled;
        let overdue = open.until + self.timing.in_time + self.timing.overdue;
        let bound = if open.is_up { overdue } else { settled };
        match timeout_at(bound, open.events.next()).await {
            Err(_) if open.is_up => {
                debug!(watch = ?self.id, "the watch outlived its time; listing anew");
                (None, State::Start)
            }
            Err(_) => {
                self.watches.up(&self.id);
                open.is_up = true;
                (None, State::Watching(open))
            }
            Ok(Some(Ok(WatchEvent::Error(status)))) => {
                self.ended_by_error(&open, &Trouble::Kube(kube::Error::Api(status)))
            }
            Ok(Some(Ok(event))) => self.take_in(open, event),
            Ok(Some(Err(error))) => self.ended(open, &Trouble::Kube(error)),
            Ok(None) => self.ended(open, &Trouble::EndedEarly),
        }
    }

    /// The API server ends the watch and says why; most often its version is too old.
    fn ended_by_error(&mut self, open: &Open<K>, trouble: &Trouble) -> Step<K> {
        self.proven(open);
        if trouble.code() == 410 {
            return (self.begins_anew(Attempt::Watch, trouble), State::Start);
        }
        (self.failed(Attempt::Watch, trouble), State::Start)
    }

    /// The watch ended. If its time was over, the next one goes on where it was. If not, the API server has been stopped or cut
    /// off, and what it serves now may be another state of etcd.
    fn ended(&mut self, open: Open<K>, trouble: &Trouble) -> Step<K> {
        self.proven(&open);
        if open.is_up && Instant::now() >= open.until {
            let is_silent = self.heard_at.elapsed() >= self.timing.silence;
            return (None, if is_silent { State::Start } else { State::Listed { version: open.version } });
        }
        (self.begins_anew(Attempt::Watch, trouble), State::Start)
    }

    /// What happened is a part of life and followed by a list; it is a failure if it happens again and again.
    fn begins_anew(&mut self, attempt: Attempt, trouble: &Trouble) -> Option<Heard<K>> {
        if self.backoff.failures >= TOLD_FROM {
            return self.failed(attempt, trouble);
        }
        debug!(watch = ?self.id, verb = attempt.verb(), error = %trouble, "listing anew");
        self.pause(watch_failure::LONGEST_WAIT);
        None
    }

    fn take_in(&mut self, mut open: Open<K>, event: WatchEvent<Guarded<K>>) -> Step<K> {
        let version = match &event {
            WatchEvent::Added(object) | WatchEvent::Modified(object) | WatchEvent::Deleted(object) => {
                object.resource_version().unwrap_or_default()
            }
            WatchEvent::Bookmark(bookmark) => bookmark.metadata.resource_version.clone(),
            WatchEvent::Error(_) => String::new(),
        };
        if version.is_empty() {
            return (self.failed(Attempt::Watch, &Trouble::NoVersion), State::Start);
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
        (event.map(Ok), State::Watching(open))
    }

    /// A watch that lasted ends the backoff.
    fn proven(&mut self, open: &Open<K>) {
        if open.since.elapsed() >= self.timing.proven {
            self.backoff = Backoff::default();
        }
    }

    /// Waits before the next attempt, the longer the more attempts were in vain.
    fn pause(&mut self, longest: Duration) {
        let chance = rand::rng().random_range(0.0..1.0);
        self.not_before = Instant::now() + self.backoff.after_failure(self.timing.wait, longest, chance);
    }

    /// Tells of a failure and pauses.
    fn failed(&mut self, attempt: Attempt, trouble: &Trouble) -> Option<Heard<K>> {
        let resource = K::plural(&());
        let failure = watch_failure::failure(attempt, &resource, self.id.namespace.is_some(), trouble);
        let is_refusal = failure.is_refusal();
        debug!(watch = ?self.id, verb = attempt.verb(), error = %trouble, "the attempt failed");
        let lasted = self.watches.failed(&self.id, failure);
        self.pause(if is_refusal { watch_failure::LONGEST_WAIT_REFUSED } else { watch_failure::LONGEST_WAIT });
        if is_refusal && lasted >= self.timing.given_up && !self.is_listed && !self.is_given_up {
            self.is_given_up = true;
            return Some(Err(Refused));
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
async fn answer<T>(within: Duration, request: impl Future<Output = kube::Result<T>>) -> Result<T, Trouble> {
    match timeout(within, request).await {
        Ok(answer) => answer.map_err(Trouble::Kube),
        Err(_) => Err(Trouble::NoAnswer(within)),
    }
}

#[cfg(test)]
#[path = "watch_tests.rs"]
mod tests;
