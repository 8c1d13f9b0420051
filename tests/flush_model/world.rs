//! The world a flush request lives in: API server, cloud, clock, and operator processes in the middle of a reconcile.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use managed_redis_operator::api::conditions::{self, READY};
use managed_redis_operator::api::flush_request::{FlushPhase, RedisFlushRequestSpec, RedisFlushRequestStatus};
use managed_redis_operator::api::shared::LocalRef;
use managed_redis_operator::controllers::flush_request::{Effect, HeldClaim, PlanTime, Session, StoredRequest};

pub(crate) const INSTANCE: &str = "4711";
pub(crate) const REQUEST_ID: &str = "spring-sale";

/// Wall-clock times, in seconds since the first request was created: a second attempt fits before the start deadline (10
/// min), the third is past it, and the fourth past every limit of the protocol.
pub(crate) const STAGES: [i64; 7] = [0, 60, 660, 2 * DAY, 2 * DAY + 60, 2 * DAY + 660, 4 * DAY];
/// The stages that can be reached while there is trouble; the rest is for requests created late to come to an end.
pub(crate) const TROUBLED_STAGES: usize = 3;
const DAY: i64 = 24 * 3600;
const EPOCH: i64 = 1_790_000_000;

/// One stored version of an object. The version number takes the place of the resourceVersion.
#[derive(Clone, Debug)]
pub struct Version {
    pub number: u8,
    pub snapshot: Arc<StoredRequest>,
    print: u64,
}

impl Version {
    fn new(number: u8, snapshot: StoredRequest) -> Self {
        let print = print(|hasher| hash_snapshot(&snapshot, hasher));
        Self { number, snapshot: Arc::new(snapshot), print }
    }
}

impl PartialEq for Version {
    fn eq(&self, other: &Self) -> bool {
        (self.number, self.print) == (other.number, other.print)
    }
}

/// An object of one name over time.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Slot {
    pub current: Option<Version>,
    /// The versions before, newest first: what a stale read can show and a restore can bring back.
    pub earlier: Vec<Version>,
}

/// Versions kept for stale reads and restores.
const KEPT: usize = 3;

/// A process in the middle of a reconcile.
#[derive(Clone, Debug)]
pub struct Worker {
    pub slot: usize,
    pub session: Session,
    /// The version that its writes carry.
    pub version: u8,
    /// Whether it stood still for longer than a send may take.
    pub paused: bool,
}

/// A [`Worker`] between two steps, with the step it has decided on. The world may change before it is taken.
#[derive(Clone, Debug)]
pub struct Process {
    pub worker: Arc<Worker>,
    pub effect: Arc<Effect>,
    print: u64,
}

impl Process {
    pub fn new(worker: Worker, effect: Effect) -> Self {
        let print = print(|hasher| {
            worker.hash(hasher);
            std::mem::discriminant(&effect).hash(hasher);
            if let Effect::WriteStatus(write) | Effect::BeginAttempt(write) = &effect {
                hash_status(&write.status, true, hasher);
            }
        });
        Self { worker: Arc::new(worker), effect: Arc::new(effect), print }
    }

    pub fn print(&self) -> u64 {
        self.print
    }
}

impl PartialEq for Process {
    fn eq(&self, other: &Self) -> bool {
        self.print == other.print
    }
}

fn print(hash: impl FnOnce(&mut DefaultHasher)) -> u64 {
    let mut hasher = DefaultHasher::new();
    hash(&mut hasher);
    hasher.finish()
}

/// Something that left a process and arrives later, or never.
#[derive(Clone, Debug, PartialEq)]
pub enum Flight {
    Object { slot: usize, on: u8, next: Arc<StoredRequest> },
    Claim(Arc<HeldClaim>),
    Flush { uid: String },
}

/// What is left of each kind of trouble.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Budget {
    /// Crashes, pauses, lost answers, stale reads, refusals: all of them together.
    pub faults: u8,
    /// Flushes that the cloud refuses with proof, which is no fault of anybody.
    pub refusals: u8,
    pub deletions: u8,
    pub creations: u8,
    /// Restores of an earlier status, of none, or of one without its phase into the living object.
    pub restores: u8,
}

/// A state of the world.
#[derive(Clone, Debug, PartialEq)]
pub struct World {
    pub slots: Vec<Slot>,
    pub claim: Option<Arc<HeldClaim>>,
    /// What a stale read of the claim shows.
    pub claim_before: Option<Arc<HeldClaim>>,
    pub workers: [Option<Process>; 2],
    pub flights: Vec<Flight>,
    pub stage: usize,
    pub settling: bool,
    pub budget: Budget,
    /// Flushes the cloud executed, by the UID of the request that sent them.
    pub executed: Vec<String>,
    /// Whether the operator ever wrote another phase over a final one.
    pub final_phase_left: bool,
    /// Whether a flush was ever sent that did not hold the claim for its own attempt at that moment.
    pub sent_without_claim: bool,
    /// Whether a request was ever refused as executed already, though nothing was and that could be told.
    pub refused_in_vain: bool,
    /// Whether a read ever showed a claim that was released: the API server is assumed not to do that, and whoever believes it
    /// refuses in vain, though nothing worse.
    pub claim_read_stale: bool,
    /// Whether a status was ever restored.
    pub restored: bool,
    /// Whether a request was ever sent again after an attempt proven not to be executed.
    pub retried: bool,
}

pub(crate) fn time(stage: usize) -> Timestamp {
    Timestamp::from_second(EPOCH + STAGES[stage]).unwrap()
}

pub(crate) fn fresh_object(slot: usize, uid: &str, stage: usize) -> StoredRequest {
    StoredRequest {
        namespace: "shop".to_owned(),
        name: format!("flush-{slot}"),
        uid: uid.to_owned(),
        resource_version: String::new(),
        generation: 1,
        created_at: time(stage),
        deleted_at: None,
        finalizer: false,
        requested_at: None,
        spec: RedisFlushRequestSpec {
            cluster_ref: LocalRef { name: "cart".to_owned() },
            confirm: INSTANCE.to_owned(),
            request_id: Some(REQUEST_ID.to_owned()),
            not_after: None,
            start_deadline: Duration::from_secs(600).into(),
            ttl_after_finished: None,
        },
        status: Default::default(),
    }
}

impl World {
    pub fn new(requests: usize, budget: Budget) -> Self {
        let mut world = Self {
            slots: vec![Slot::default(); requests],
            claim: None,
            claim_before: None,
            workers: [None, None],
            flights: Vec::new(),
            stage: 0,
            settling: false,
            budget,
            executed: Vec::new(),
            final_phase_left: false,
            sent_without_claim: false,
            refused_in_vain: false,
            claim_read_stale: false,
            restored: false,
            retried: false,
        };
        for slot in 0..requests {
            world.create(slot);
        }
        world
    }

    pub fn now(&self) -> Timestamp {
        time(self.stage)
    }

    pub fn clock(&self, paused: bool) -> PlanTime {
        let since_attempt_began = Duration::from_secs(if paused { 21 } else { 1 });
        PlanTime { now: self.now(), since_attempt_began }
    }

    pub fn create(&mut self, slot: usize) {
        let generation = 2 - self.budget.creations.min(2);
        let uid = format!("uid-{slot}-{generation}");
        let snapshot = fresh_object(slot, &uid, self.stage);
        self.slots[slot].earlier.clear();
        self.slots[slot].current = Some(Version::new(self.unused_version(slot), snapshot));
    }

    /// Stores a new version of an object, or removes it if it is being deleted and nothing holds it any more.
    pub fn store(&mut self, slot: usize, snapshot: StoredRequest) -> Option<Version> {
        let number = self.unused_version(slot);
        let before = self.slots[slot].current.take()?;
        self.slots[slot].earlier.insert(0, before);
        self.slots[slot].earlier.truncate(KEPT);
        if snapshot.deleted_at.is_some() && !snapshot.finalizer {
            self.slots[slot].earlier.clear();
            return None;
        }
        let version = Version::new(number, snapshot);
        self.slots[slot].current = Some(version.clone());
        Some(version)
    }

    /// The smallest version number that nothing in the world knows: only equality of versions ever matters.
    fn unused_version(&self, slot: usize) -> u8 {
        let known = |number: &u8| {
            let stored = &self.slots[slot];
            stored.current.iter().chain(&stored.earlier).any(|version| version.number == *number)
                || self
                    .workers
                    .iter()
                    .flatten()
                    .map(|process| &process.worker)
                    .any(|worker| worker.slot == slot && worker.version == *number)
                || self
                    .flights
                    .iter()
                    .any(|flight| matches!(flight, Flight::Object { slot: of, on, .. } if *of == slot && on == number))
        };
        (0..u8::MAX).find(|number| !known(number)).unwrap()
    }

    /// The smallest attempt ID that nothing in the world knows: what a random ID is to those who only compare.
    pub fn unused_attempt(&self) -> String {
        let known = |id: &str| {
            self.claims().any(|claim| claim.attempt_id == id)
                || self.snapshots().any(|snapshot| snapshot.attempt_id() == id)
                || self.workers.iter().flatten().map(|process| &process.worker).any(|worker| {
                    let session = &worker.session;
                    session.fresh_attempt_id == id || session.own.as_ref().is_some_and(|own| own.id == id)
                })
        };
        (0..u8::MAX).map(|number| format!("attempt-{number}")).find(|id| !known(id)).unwrap()
    }

    pub fn unused_lease(&self) -> String {
        let known = |id: &str| self.claims().any(|claim| claim.lease_uid == id);
        (0..u8::MAX).map(|number| format!("lease-{number}")).find(|id| !known(id)).unwrap()
    }

    /// Forgets what nothing can bring back any more, so that worlds that differ in it alone are one.
    pub fn forget(&mut self) {
        if self.budget.faults == 0 {
            self.claim_before = None;
            if self.budget.restores == 0 {
                self.slots.iter_mut().for_each(|slot| slot.earlier.clear());
            }
        }
    }

    fn claims(&self) -> impl Iterator<Item = &HeldClaim> {
        let in_sessions = self.workers.iter().flatten().filter_map(|process| match &process.worker.session.claim {
            managed_redis_operator::controllers::flush_request::ObservedClaim::Present(claim) => Some(claim),
            _ => None,
        });
        let in_flight = self.flights.iter().filter_map(|flight| match flight {
            Flight::Claim(claim) => Some(&**claim),
            Flight::Object { .. } | Flight::Flush { .. } => None,
        });
        self.claim.iter().chain(&self.claim_before).map(|claim| &**claim).chain(in_sessions).chain(in_flight)
    }

    fn snapshots(&self) -> impl Iterator<Item = &StoredRequest> {
        let stored = self.slots.iter().flat_map(|slot| slot.current.iter().chain(&slot.earlier));
        let in_sessions = self.workers.iter().flatten().map(|process| &process.worker.session.object);
        let in_flight = self.flights.iter().filter_map(|flight| match flight {
            Flight::Object { next, .. } => Some(&**next),
            Flight::Claim(_) | Flight::Flush { .. } => None,
        });
        stored.map(|version| &*version.snapshot).chain(in_sessions).chain(in_flight)
    }

    pub fn phases(&self) -> impl Iterator<Item = (FlushPhase, &StoredRequest)> {
        self.slots.iter().flat_map(|slot| &slot.current).map(|version| (version.snapshot.phase(), &*version.snapshot))
    }

    /// Whether something was flushed, or nobody can tell: the request that holds the claim is gone, or has a verdict without
    /// proof that its attempt was not executed.
    pub fn may_have_flushed(&self) -> bool {
        let flying = self.flights.iter().any(|flight| matches!(flight, Flight::Flush { .. }));
        let held_by = |claim: &HeldClaim| self.phases().find(|(_, request)| request.uid == claim.request_uid);
        let in_doubt = self.claim.as_ref().is_some_and(|claim| {
            held_by(claim).is_none_or(|(phase, request)| phase.is_terminal() && !claim.is_unused(request))
        });
        flying || in_doubt || self.claim_read_stale || self.restored || !self.executed.is_empty()
    }

    pub fn executed_by(&self, uid: &str) -> usize {
        self.executed.iter().filter(|by| *by == uid).count()
    }
}

/// Hashes what the plan decides by, which depends on the phase. The rest (the message of a verdict, the cloud's answer, the
/// conditions but for the reason of Ready) is only ever copied or shown: worlds that differ in it alone are one.
pub(crate) fn hash_snapshot(snapshot: &StoredRequest, state: &mut impl Hasher) {
    (&snapshot.uid, snapshot.created_at, snapshot.deleted_at, snapshot.finalizer).hash(state);
    hash_status(&snapshot.status, snapshot.finalizer, state);
}

fn hash_status(status: &RedisFlushRequestStatus, finalizer: bool, state: &mut impl Hasher) {
    let attempt = status.attempt.as_ref().map(|attempt| (&attempt.id, attempt.not_executed));
    (status.phase, attempt, status.sent_time.is_some()).hash(state);
    match status.phase.unwrap_or(FlushPhase::Pending) {
        FlushPhase::Pending | FlushPhase::Accepted => {
            (&status.message, &status.target).hash(state);
            for time in [&status.next_attempt_time, &status.sent_time] {
                time.as_ref().map(|time| time.0).hash(state);
            }
            conditions::find(&status.conditions, READY).map(|ready| &ready.reason).hash(state);
        }
        FlushPhase::Sending => {}
        FlushPhase::Succeeded
        | FlushPhase::Failed
        | FlushPhase::Unknown
        | FlushPhase::Rejected
        | FlushPhase::Expired => {
            if finalizer {
                status.finished_time.as_ref().map(|time| time.0).hash(state);
            }
        }
    }
}

impl Hash for Version {
    fn hash<H: Hasher>(&self, state: &mut H) {
        (self.number, self.print).hash(state);
    }
}

impl Hash for Flight {
    fn hash<H: Hasher>(&self, state: &mut H) {
        match self {
            Self::Object { slot, on, next } => {
                (0, slot, on).hash(state);
                hash_snapshot(next, state);
            }
            Self::Claim(claim) => (1, claim).hash(state),
            Self::Flush { uid } => (2, uid).hash(state),
        }
    }
}

impl Hash for Process {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.print.hash(state);
    }
}

impl Hash for Worker {
    fn hash<H: Hasher>(&self, state: &mut H) {
        let session = &self.session;
        (self.slot, self.version, self.paused, session.object_is_stale, session.gone).hash(state);
        hash_snapshot(&session.object, state);
        (&session.reference, &session.claim, &session.holder, &session.own).hash(state);
        if session.object.phase() != FlushPhase::Sending {
            (&session.cloud, &session.others).hash(state);
        }
    }
}

impl Hash for World {
    fn hash<H: Hasher>(&self, state: &mut H) {
        for slot in &self.slots {
            slot.current.hash(state);
            slot.earlier.hash(state);
        }
        (&self.claim, &self.claim_before, &self.workers, &self.flights).hash(state);
        (self.stage, self.settling, self.budget, &self.executed).hash(state);
        (self.final_phase_left, self.sent_without_claim, self.refused_in_vain, self.claim_read_stale).hash(state);
        (self.restored, self.retried).hash(state);
    }
}
