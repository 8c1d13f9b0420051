//! The one lock around everything a stand-in knows.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use serde::Serialize;
use tokio::sync::watch;

use crate::error::StartError;
use crate::exchange::{Call, CloudReply, Now};
use crate::faults::Faults;
use crate::model::NcpQuirks;
use crate::seed::Seed;
use crate::state::CloudState;
use crate::traffic::{Booking, Operation, RequestRecord, Traffic};
use crate::{kakao, ncp};

/// How far the stand-in's time is from the computer's.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct CloudClock {
    /// Seconds by which what changes over time is ahead.
    pub advanced_seconds: i64,
    /// Seconds by which the Date header, and the clock a client's timestamp is held against, is ahead.
    pub skew_seconds: i64,
}

impl CloudClock {
    pub(crate) fn now(self) -> Now {
        let now = Timestamp::now();
        let ahead = |seconds| now.checked_add(SignedDuration::from_secs(seconds)).unwrap_or(now);
        Now { state: ahead(self.advanced_seconds), wall: ahead(self.skew_seconds) }
    }
}

/// Everything a stand-in knows.
pub(crate) struct Simulation {
    pub(crate) clock: CloudClock,
    pub(crate) state: CloudState,
    pub(crate) faults: Faults,
    pub(crate) traffic: Traffic,
}

impl Simulation {
    fn new(seed: &Seed) -> Result<Self, StartError> {
        let clock = CloudClock::default();
        let state = CloudState::new(seed, clock.now().state)?;
        let mut faults = Faults::default();
        for fault in seed.faults.iter().cloned() {
            faults.add(fault)?;
        }
        Ok(Self { clock, state, faults, traffic: Traffic::default() })
    }

    /// The clouds' own answer to a request.
    fn answer(&mut self, call: &Call, quirks: NcpQuirks) -> CloudReply {
        let now = self.clock.now();
        if call.operation.is_ncp() || (call.operation == Operation::Unknown && call.uri.path().starts_with("/clouddb/"))
        {
            ncp::answer(&mut self.state.ncp, call, now, quirks)
        } else {
            kakao::answer(&mut self.state.kakao, call, now)
        }
    }
}

/// The simulation, shared by all connections.
#[derive(Clone)]
pub(crate) struct SharedSimulation {
    simulation: Arc<Mutex<Simulation>>,
    seed: Arc<Seed>,
    changed: Arc<watch::Sender<()>>,
}

impl SharedSimulation {
    pub(crate) fn new(seed: Seed) -> Result<Self, StartError> {
        let simulation = Arc::new(Mutex::new(Simulation::new(&seed)?));
        Ok(Self { simulation, seed: Arc::new(seed), changed: Arc::new(watch::Sender::new(())) })
    }

    /// Everything; a panic elsewhere leaves it usable.
    pub(crate) fn lock(&self) -> MutexGuard<'_, Simulation> {
        self.simulation.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Back to the seed: no faults but its own, no requests, the clock as it was.
    pub(crate) fn reset(&self) -> Result<(), StartError> {
        let mut fresh = Simulation::new(&self.seed)?;
        let mut simulation = self.lock();
        // Requests under way end in the new figures, so their numbers must not be given out again.
        fresh.traffic.continue_after(&simulation.traffic);
        *simulation = fresh;
        Ok(())
    }

    /// Records a request; its end is recorded when the returned value is dropped.
    pub(crate) fn begin(&self, record: RequestRecord) -> OpenRequest {
        let booking = self.lock().traffic.begin(record);
        self.changed.send_replace(());
        OpenRequest { shared: self.clone(), booking, status: None }
    }

    /// Carries out a request.
    pub(crate) fn answer(&self, call: &Call, quirks: NcpQuirks) -> CloudReply {
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
pub(crate) struct OpenRequest {
    shared: SharedSimulation,
    booking: Booking,
    status: Option<u16>,
}

impl OpenRequest {
    /// The request is answered with this status.
    pub(crate) fn answered(mut self, status: u16) {
        self.status = Some(status);
    }
}

impl Drop for OpenRequest {
    fn drop(&mut self) {
        self.shared.lock().traffic.end(&self.booking, self.status);
        self.shared.changed.send_replace(());
    }
}
