//! The limits of one connection: a token bucket, bounded concurrency, and the pause that a Retry-After asks for.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use governor::{DefaultDirectRateLimiter, Quota, RateLimiter};
use tokio::sync::{Semaphore, SemaphorePermit, watch};
use tokio::time::Instant;

/// Reads of one connection that may be under way at once.
const CONCURRENT_READS: usize = 4;
/// Mutations of one connection that may be under way at once, beside the reads.
const CONCURRENT_MUTATIONS: usize = 2;
/// Bytes of one permit of a [`MemoryBudget`].
const BUDGET_UNIT: usize = 1 << 10;
/// Longest pause that a Retry-After can cause: a wrong header must not silence a connection for a day.
pub(crate) const MAX_RETRY_AFTER: Duration = Duration::from_secs(600);

/// Reads and mutations wait in lanes of their own, so that neither concurrency limit starves the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Lane {
    /// May be repeated.
    Read,
    /// Is sent once, and goes before reads that wait for the token bucket; a read lets one mutation pass, not a stream of them.
    Mutation,
}

/// The connection is paused for longer than the caller wants to wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Paused {
    /// Time until the pause ends.
    pub(crate) remaining: Duration,
}

/// The entrance to one connection.
pub(crate) struct Gate {
    bucket: DefaultDirectRateLimiter,
    reads: LaneLimits,
    mutations: LaneLimits,
    mutations_at_bucket: watch::Sender<AtBucket>,
    paused_until: Mutex<Option<Instant>>,
}

/// The mutations at the token bucket.
#[derive(Clone, Copy, Debug, Default)]
struct AtBucket {
    waiting: usize,
    /// How many went on, ever.
    gone: u64,
}

struct LaneLimits {
    slots: Semaphore,
    /// Held while waiting for a token: one request of each lane waits at the bucket, in order of arrival.
    turn: tokio::sync::Mutex<()>,
}

impl LaneLimits {
    fn new(slots: usize) -> Self {
        Self { slots: Semaphore::new(slots), turn: tokio::sync::Mutex::new(()) }
    }
}

/// A request may go; dropped when its answer has been read.
pub(crate) struct Permit<'gate> {
    _slot: Option<SemaphorePermit<'gate>>,
}

/// Counts a mutation as waiting for as long as it lives, also when its caller gives up.
struct WaitingMutation<'gate>(&'gate watch::Sender<AtBucket>);

impl<'gate> WaitingMutation<'gate> {
    fn new(at_bucket: &'gate watch::Sender<AtBucket>) -> Self {
        at_bucket.send_modify(|at_bucket| at_bucket.waiting += 1);
        Self(at_bucket)
    }

    fn goes(&self) {
        self.0.send_modify(|at_bucket| at_bucket.gone += 1);
    }
}

impl Drop for WaitingMutation<'_> {
    fn drop(&mut self) {
        self.0.send_modify(|at_bucket| at_bucket.waiting = at_bucket.waiting.saturating_sub(1));
    }
}

impl Gate {
    /// A gate that lets `qps` requests a second pass, `burst` of them at once after a rest.
    pub(crate) fn new(qps: f64, burst: u32) -> Self {
        let period = Duration::try_from_secs_f64(1.0 / qps).unwrap_or(Duration::from_secs(1));
        let period = period.max(Duration::from_nanos(1));
        let burst = std::num::NonZeroU32::new(burst).unwrap_or(std::num::NonZeroU32::MIN);
        let quota = Quota::with_period(period).map_or(Quota::per_second(burst), |quota| quota.allow_burst(burst));
        Self {
            bucket: RateLimiter::direct(quota),
            reads: LaneLimits::new(CONCURRENT_READS),
            mutations: LaneLimits::new(CONCURRENT_MUTATIONS),
            mutations_at_bucket: watch::Sender::default(),
            paused_until: Mutex::new(None),
        }
    }

    /// Waits for a slot, a token and the end of a pause.
    ///
    /// # Errors
    /// [`Paused`] at once when the pause lasts longer than `patience`.
    pub(crate) async fn enter(&self, lane: Lane, patience: Duration) -> Result<Permit<'_>, Paused> {
        self.wait_for_pause(patience).await?;
        let limits = match lane {
            Lane::Read => &self.reads,
            Lane::Mutation => &self.mutations,
        };
        // The semaphore is never closed, so there always is a permit.
        let slot = limits.slots.acquire().await.ok();
        let waiting = (lane == Lane::Mutation).then(|| WaitingMutation::new(&self.mutations_at_bucket));
        let turn = limits.turn.lock().await;
        if lane == Lane::Read {
            let before = self.mutations_at_bucket.borrow().gone;
            let may_go = |mutations: &AtBucket| mutations.waiting == 0 || mutations.gone > before;
            // Cannot fail: the sender lives in self.
            let _ = self.mutations_at_bucket.subscribe().wait_for(may_go).await;
        }
        self.wait_for_pause(patience).await?;
        self.bucket.until_ready().await;
        // An answer may have brought a pause while this request waited for its token.
        self.wait_for_pause(patience).await?;
        if let Some(mutation) = &waiting {
            mutation.goes();
        }
        drop(turn);
        Ok(Permit { _slot: slot })
    }

    /// Holds back every request of the connection for `wait`, capped; a shorter wait never cuts a longer one.
    pub(crate) fn pause(&self, wait: Duration) {
        let until = Instant::now() + wait.min(MAX_RETRY_AFTER);
        let mut paused = self.paused_until.lock().unwrap_or_else(PoisonError::into_inner);
        *paused = Some(paused.map_or(until, |earlier| earlier.max(until)));
    }

    /// Time until the pause ends; none without a pause.
    fn pause_left(&self) -> Option<Duration> {
        let paused = *self.paused_until.lock().unwrap_or_else(PoisonError::into_inner);
        paused.map(|until| until.saturating_duration_since(Instant::now())).filter(|left| !left.is_zero())
    }

    async fn wait_for_pause(&self, patience: Duration) -> Result<(), Paused> {
        while let Some(remaining) = self.pause_left() {
            if remaining > patience {
                return Err(Paused { remaining });
            }
            tokio::time::sleep(remaining).await;
        }
        Ok(())
    }
}

/// Memory that is shared by all connections of the process. A share is taken as a whole, in order of arrival, so no request waits for
/// the rest of one while it holds a part.
pub(crate) struct MemoryBudget {
    permits: Semaphore,
    total: usize,
}

impl MemoryBudget {
    /// A budget of so many bytes.
    pub(crate) fn new(bytes: usize) -> Self {
        let total = bytes / BUDGET_UNIT;
        Self { permits: Semaphore::new(total), total }
    }

    /// Waits for a share of so many bytes, or for all there are if they are fewer; given back when it is dropped.
    pub(crate) async fn share(&self, bytes: usize) -> Option<SemaphorePermit<'_>> {
        let units = u32::try_from(bytes.div_ceil(BUDGET_UNIT).min(self.total)).unwrap_or(u32::MAX);
        // The semaphore is never closed, so there always is a permit.
        self.permits.acquire_many(units).await.ok()
    }
}

/// The wait that a `Retry-After` header asks for (RFC 9110: seconds, or an HTTP date), capped; none if it is neither.
pub(crate) fn parse_retry_after(value: &str, now: SystemTime) -> Option<Duration> {
    let value = value.trim();
    let wait = if !value.is_empty() && value.bytes().all(|byte| byte.is_ascii_digit()) {
        // More digits than fit are longer than the cap.
        value.parse().map_or(MAX_RETRY_AFTER, Duration::from_secs)
    } else {
        httpdate::parse_http_date(value).ok()?.duration_since(now).unwrap_or_default()
    };
    Some(wait.min(MAX_RETRY_AFTER))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// So slow that a second token never comes within a test.
    const NEVER: f64 = 0.001;

    #[test]
    fn retry_after_is_seconds_or_a_date() {
        let now = httpdate::parse_http_date("Sun, 22 Nov 2026 10:00:00 GMT").unwrap();
        for (value, expected) in [
            ("0", Some(0)),
            ("17", Some(17)),
            (" 17 ", Some(17)),
            ("86400", Some(600)),
            ("99999999999999999999999", Some(600)),
            ("Sun, 22 Nov 2026 10:01:30 GMT", Some(90)),
            ("Sun, 22 Nov 2026 09:00:00 GMT", Some(0)),
            ("Mon, 22 Nov 2027 10:00:00 GMT", Some(600)),
            ("-1", None),
            ("1.5", None),
            ("soon", None),
            ("", None),
        ] {
            assert_eq!(parse_retry_after(value, now), expected.map(Duration::from_secs), "{value:?}");
        }
    }

    proptest::proptest! {
        #[test]
        fn retry_after_never_panics_and_is_capped(value in "\\PC{0,40}") {
            assert!(parse_retry_after(&value, SystemTime::UNIX_EPOCH).is_none_or(|wait| wait <= MAX_RETRY_AFTER));
        }
    }

    #[tokio::test]
    async fn a_budget_is_never_exceeded_and_serves_in_order() {
        let budget = MemoryBudget::new(10 << 10);
        let first = budget.share(6 << 10).await;
        let mut large = Box::pin(budget.share(1 << 30));
        let mut small = Box::pin(budget.share(1));
        assert!(futures::poll!(&mut large).is_pending(), "it wants all there is");
        assert!(futures::poll!(&mut small).is_pending(), "it came later");
        drop(first);
        let large = large.await;
        assert!(futures::poll!(&mut small).is_pending());
        drop(large);
        assert!(small.await.is_some());
    }

    #[tokio::test]
    async fn a_pause_longer_than_patience_is_an_answer() {
        let gate = Gate::new(100.0, 10);
        gate.pause(Duration::from_secs(60));
        // A shorter one does not end a longer one.
        gate.pause(Duration::from_secs(1));
        for lane in [Lane::Read, Lane::Mutation] {
            let paused = gate.enter(lane, Duration::from_secs(30)).await.err().unwrap();
            assert!(paused.remaining > Duration::from_secs(50) && paused.remaining <= Duration::from_secs(60));
        }
    }

    #[tokio::test]
    async fn a_short_pause_is_waited_for() {
        let gate = Gate::new(100.0, 10);
        let started = Instant::now();
        gate.pause(Duration::from_millis(80));
        assert!(gate.enter(Lane::Read, Duration::from_secs(5)).await.is_ok());
        assert!(started.elapsed() >= Duration::from_millis(80));
    }

    #[tokio::test]
    async fn reads_at_once_are_bounded_and_leave_room_for_mutations() {
        let gate = Gate::new(1000.0, 1000);
        let mut permits = Vec::new();
        for _ in 0..CONCURRENT_READS {
            permits.push(gate.enter(Lane::Read, Duration::ZERO).await.unwrap());
        }
        let mut read = Box::pin(gate.enter(Lane::Read, Duration::ZERO));
        assert!(futures::poll!(&mut read).is_pending());
        assert!(gate.enter(Lane::Mutation, Duration::ZERO).await.is_ok());
        permits.pop();
        assert!(read.await.is_ok());
    }

    #[tokio::test]
    async fn reads_wait_for_a_waiting_mutation_though_there_are_tokens() {
        let gate = Gate::new(1000.0, 1000);
        let turn = gate.mutations.turn.lock().await;
        let mut mutation = Box::pin(gate.enter(Lane::Mutation, Duration::ZERO));
        assert!(futures::poll!(&mut mutation).is_pending());
        let mut read = Box::pin(gate.enter(Lane::Read, Duration::ZERO));
        assert!(futures::poll!(&mut read).is_pending());
        drop(turn);
        let permit = mutation.await.unwrap();
        // It waits for a mutation to go, not for it to end.
        assert!(read.await.is_ok());
        drop(permit);
    }

    #[tokio::test]
    async fn a_stream_of_mutations_does_not_starve_reads() {
        let gate = Gate::new(1000.0, 1000);
        // One mutation waits at the bucket as long as the test lasts, as in a stream that never ends.
        let _next = WaitingMutation::new(&gate.mutations_at_bucket);
        let mut read = Box::pin(gate.enter(Lane::Read, Duration::ZERO));
        assert!(futures::poll!(&mut read).is_pending());
        drop(gate.enter(Lane::Mutation, Duration::ZERO).await.unwrap());
        assert!(read.await.is_ok(), "one has passed");
    }

    #[tokio::test]
    async fn a_mutation_that_gives_up_lets_reads_pass() {
        let gate = Gate::new(NEVER, 1);
        drop(gate.enter(Lane::Mutation, Duration::ZERO).await.unwrap());
        let mut mutation = Box::pin(gate.enter(Lane::Mutation, Duration::ZERO));
        assert!(futures::poll!(&mut mutation).is_pending());
        assert_eq!(gate.mutations_at_bucket.borrow().waiting, 1);
        drop(mutation);
        assert_eq!(gate.mutations_at_bucket.borrow().waiting, 0);
    }
}
