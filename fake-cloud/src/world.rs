//! The one lock around everything a stand-in knows.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use serde::Serialize;
use tokio::sync::watch;

use crate::exchange::{Call, Now, Reply};
use crate::faults::Faults;
use crate::model::NcpQuirks;
use crate::seed::Seed;
use crate::server::StartError;
use crate::state::State;
use crate::traffic::{Booking, Operation, RequestRecord, Traffic};
use crate::{kakao, ncp};

/// How far the stand-in's time is from the computer's.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Clock {
    /// Seconds by which what changes over time is ahead.
    pub advanced_seconds: i64,
    /// Seconds by which the Date header, and the clock a client's timestamp is held against, is ahead.
    pub skew_seconds: i64,
}

impl Clock {
    pub(crate) fn now(self) -> Now {
        let now = Timestamp::now();
        let ahead = |seconds| now.checked_add(SignedDuration::from_secs(seconds)).unwrap_or(now);
        Now { state: ahead(self.advanced_seconds), wall: ahead(self.skew_seconds) }
    }
}

/// Everything a stand-in knows.
pub(crate) struct World {
    pub(crate) clock: Clock,
    pub(crate) state: State,
    pub(crate) faults: Faults,
    pub(crate) traffic: Traffic,
}

impl World {
    fn new(seed: &Seed) -> Result<Self, StartError> {
        let clock = Clock::default();
        let state = State::new(seed, clock.now().state)?;
        let mut faults = Faults::default();
        for fault in seed.faults.iter().cloned() {
            faults.add(fault)?;
        }
        Ok(Self { clock, state, faults, traffic: Traffic::default() })
    }

    /// The clouds' own answer to a request.
    fn answer(&mut self, call: &Call, quirks: NcpQuirks) -> Reply {
        let now = self.clock.now();
        if call.operation.is_ncp() || (call.operation == Operation::Unknown && call.uri.path().starts_with("/clouddb/"))
        {
            ncp::answer(&mut self.state.ncp, call, now, quirks)
        } else {
            kakao::answer(&mut self.state.kakao, call, now)
        }
    }
}

/// The world, shared by all connections.
#[derive(Clone)]
pub(crate) struct Shared {
    world: Arc<Mutex<World>>,
    seed: Arc<Seed>,
    changed: Arc<watch::Sender<()>>,
}

impl Shared {
    pub(crate) fn new(seed: Seed) -> Result<Self, StartError> {
        let world = Arc::new(Mutex::new(World::new(&seed)?));
        Ok(Self { world, seed: Arc::new(seed), changed: Arc::new(watch::Sender::new(())) })
    }

    /// Everything; a panic elsewhere leaves it usable.
    pub(crate) fn lock(&self) -> MutexGuard<'_, World> {
        self.world.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Back to the seed: no faults but its own, no requests, the clock as it was.
    pub(crate) fn reset(&self) -> Result<(), StartError> {
        let mut fresh = World::new(&self.seed)?;
        let mut world = self.lock();
        // Requests under way end in the new figures, so their numbers must not be given out again.
        fresh.traffic.continue_after(&world.traffic);
        *world = fresh;
        Ok(())
    }

    /// Books a request; its end is booked when the value given back is dropped.
    pub(crate) fn begin(&self, record: RequestRecord) -> Open {
        let booking = self.lock().traffic.begin(record);
        self.changed.send_replace(());
        Open { shared: self.clone(), booking, status: None }
    }

    /// Carries out a request.
    pub(crate) fn answer(&self, call: &Call, quirks: NcpQuirks) -> Reply {
        let reply = self.lock().answer(call, quirks);
        self.changed.send_replace(());
        reply
    }

    /// Waits until `holds`, looked at after every request's beginning, effect and end, or until the time is up.
    pub(crate) async fn wait_until(&self, limit: Duration, holds: impl Fn() -> bool) -> bool {
        let mut changes = self.changed.subscribe();
        let watching = async {
            while !holds() {
                if changes.changed().await.is_err() {
                    return;
                }
            }
        };
        tokio::time::timeout(limit, watching).await.is_ok()
    }
}

/// A request under way.
pub(crate) struct Open {
    shared: Shared,
    booking: Booking,
    status: Option<u16>,
}

impl Open {
    /// The request is answered with this status.
    pub(crate) fn answered(mut self, status: u16) {
        self.status = Some(status);
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.shared.lock().traffic.end(&self.booking, self.status);
        self.shared.changed.send_replace(());
    }
}
