//! What can happen next: a process takes the step that the plan names, with one of the fates a step can have, or the
//! world does something to it.

use std::sync::Arc;

use managed_redis_operator::api::Provider;
use managed_redis_operator::api::Reason;
use managed_redis_operator::api::cluster_ref::NcpSite;
use managed_redis_operator::api::conditions::{self, READY};
use managed_redis_operator::api::flush_request::FlushPhase;
use managed_redis_operator::cloud::{CloudError, ErrorKind, Executed, FlushReceipt, ObservedCache};
use managed_redis_operator::controllers::flush_request::{
    Claim, Effect, EffectReport, HeldClaim, Holder, ObjectKey, ObservedCaches, ObservedClaim, ObservedReference,
    Others, OwnAttempt, SendOutcome, Session, StoredRequest, TargetCache, plan,
};

use crate::world::{Flight, INSTANCE, Version, Worker, World};
use crate::{Flaw, Model};

/// The fate of a step. All but the first cost a fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// It works and is answered.
    Works,
    /// It works, and the answer is lost.
    AnswerLost,
    /// It never arrives.
    Dropped,
    /// It arrives later, after the sender has given up on it.
    Late,
    /// It is refused with proof, for now (429, say); for a read, it fails.
    RefusedForNow,
    /// It is refused with proof, for good.
    RefusedForGood,
    /// A read shows what was there before.
    Stale,
}

/// Something that happens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// A process starts a reconcile with a read of the request, `back` versions ago.
    Start { worker: usize, slot: usize, back: usize },
    /// A process starts one while the reference is missing, or leads elsewhere.
    StartMisled { worker: usize, slot: usize, missing: bool },
    /// A process takes its next step.
    Step { worker: usize, fate: Fate },
    /// A process dies.
    Crash { worker: usize },
    /// A process stands still for a minute.
    Pause { worker: usize },
    /// A delayed message arrives.
    Land { flight: usize },
    /// The clock moves on.
    Tick,
    /// The cloud is done with a flush.
    Settle,
    /// Somebody deletes the request.
    Delete { slot: usize },
    /// Somebody takes the finalizer off by hand.
    Strip { slot: usize },
    /// Somebody creates a request of the same name and request ID again.
    Recreate { slot: usize },
    /// Somebody restores an earlier status into the living request; none at all if there is no version so far back.
    Restore { slot: usize, back: usize },
    /// The phase alone gets lost, or is set back.
    LosePhase { slot: usize, to: Option<FlushPhase> },
}

pub(crate) fn target() -> TargetCache {
    TargetCache { site: NcpSite::Public, instance_no: INSTANCE.to_owned(), name: None }
}

fn elsewhere() -> TargetCache {
    TargetCache { instance_no: "815".to_owned(), ..target() }
}

impl Model {
    /// What the plan wants of a worker next. Reads that nothing races with are answered on the way.
    pub fn next_effect(&self, world: &World, worker: &mut Worker) -> Effect {
        worker.session.fresh_attempt_id = world.unused_attempt();
        loop {
            let effect = plan(&worker.session, world.clock(worker.paused));
            let report = match &effect {
                Effect::ReadReference => EffectReport::Reference(ObservedReference::Target(target())),
                Effect::ReadCloud(_) => EffectReport::Cloud(list(world)),
                Effect::ReadOthers(_) => EffectReport::Others(others(world, worker.slot)),
                Effect::GiveUp(_) => EffectReport::Nothing,
                Effect::BeginAttempt(_) => return effect,
                _ => {
                    worker.session.fresh_attempt_id.clear();
                    return effect;
                }
            };
            worker.session.begin(&effect);
            worker.session.absorb(report);
        }
    }

    /// The fates that the next step of a worker can have.
    pub fn fates(&self, effect: &Effect) -> &'static [Fate] {
        use Fate::{AnswerLost, Dropped, Late, RefusedForGood, RefusedForNow, Stale, Works};
        match effect {
            Effect::Send { .. } => &[Works, AnswerLost, Dropped, Late, RefusedForNow, RefusedForGood],
            Effect::BeginAttempt(_) | Effect::WriteStatus(_) | Effect::AddFinalizer | Effect::RemoveFinalizer(_) => {
                &[Works, AnswerLost, Dropped, Late]
            }
            Effect::CreateClaim(_) => &[Works, AnswerLost, Dropped, Late, RefusedForNow],
            Effect::ReleaseClaim(_) => &[Works, AnswerLost, Dropped, RefusedForNow],
            Effect::ReadObject => &[Works, Stale],
            Effect::ReadClaim(_) | Effect::ReadHolder(_) => &[Works, Stale, RefusedForNow],
            _ => &[Works],
        }
    }

    /// Starts a reconcile from a version of the request.
    pub fn start(&self, slot: usize, version: &Version) -> Worker {
        let object = self.shown(&version.snapshot);
        let mut session = Session::new(object, String::new(), "operator-0".to_owned());
        if self.flaw == Flaw::Resend
            && session.object.phase() == FlushPhase::Sending
            && let Some(attempt) = session.object.status.attempt.clone()
        {
            session.own = Some(OwnAttempt { id: attempt.id, outcome: None });
        }
        Worker { slot, session, version: version.number, paused: false }
    }

    /// A version as the process sees it.
    fn shown(&self, snapshot: &StoredRequest) -> StoredRequest {
        let mut snapshot = snapshot.clone();
        if self.flaw == Flaw::FinalPhases && snapshot.phase().is_terminal() {
            snapshot.status.phase = Some(FlushPhase::Pending);
        }
        if self.flaw == Flaw::Proof && snapshot.phase() != FlushPhase::Sending {
            snapshot.status.sent_time = None;
            snapshot.status.attempt.iter_mut().for_each(|attempt| attempt.not_executed = true);
        }
        snapshot
    }

    /// Lets a worker do an effect and learn what came of it; none if the reconcile is over.
    pub fn perform(&self, world: &mut World, mut worker: Worker, effect: &Effect, fate: Fate) -> Option<Worker> {
        if !(self.flaw == Flaw::Latch && matches!(effect, Effect::Send { .. })) {
            worker.session.begin(effect);
        }
        let report = match effect {
            Effect::Wait(_) | Effect::Done | Effect::Delete => return None,
            Effect::ReadObject => match (&world.slots[worker.slot].current, fate) {
                (None, _) => EffectReport::Gone,
                (Some(_), Fate::Stale) if world.slots[worker.slot].earlier.is_empty() => return Some(worker),
                (Some(current), _) => {
                    let earlier = world.slots[worker.slot].earlier.first();
                    let version = if fate == Fate::Stale { earlier.unwrap_or(current) } else { current };
                    worker.version = version.number;
                    EffectReport::Object(Box::new(self.shown(&version.snapshot)))
                }
            },
            Effect::ReadClaim(_) => EffectReport::Claim(match fate {
                Fate::Stale if world.claim.is_none() && world.claim_before.is_some() => {
                    world.claim_read_stale = true;
                    view(world.claim_before.as_ref())
                }
                Fate::RefusedForNow => ObservedClaim::Failed("forbidden".to_owned()),
                _ if self.flaw == Flaw::Claim => ObservedClaim::Absent,
                Fate::Stale => view(world.claim_before.as_ref()),
                _ => view(world.claim.as_ref()),
            }),
            Effect::ReadHolder(claim) => EffectReport::Holder(claim.clone(), self.holder(world, claim, fate)),
            Effect::AddFinalizer => self.write(world, &mut worker, fate, |object| object.finalizer = true),
            Effect::RemoveFinalizer(_) => self.write(world, &mut worker, fate, |object| object.finalizer = false),
            Effect::BeginAttempt(write) | Effect::WriteStatus(write) => {
                self.write(world, &mut worker, fate, |object| object.status = write.status.clone())
            }
            Effect::CreateClaim(claim) => self.claim(world, claim, fate),
            Effect::ReleaseClaim(claim) => self.release(world, claim, fate),
            Effect::Send { .. } => self.send(world, &worker, fate),
            Effect::ReadReference | Effect::ReadCloud(_) | Effect::ReadOthers(_) | Effect::GiveUp(_) => {
                EffectReport::Nothing
            }
        };
        let claim = (self.flaw == Flaw::ClaimNotReadAgain && matches!(report, EffectReport::Holder(..)))
            .then(|| worker.session.claim.clone());
        worker.session.absorb(report);
        if let Some(claim) = claim {
            worker.session.claim = claim;
        }
        Some(worker)
    }

    /// What the request that holds a claim is seen to say.
    fn holder(&self, world: &World, claim: &HeldClaim, fate: Fate) -> Holder {
        if self.flaw == Flaw::Holder {
            return Holder::Spent;
        }
        if fate == Fate::RefusedForNow {
            return Holder::Failed("forbidden".to_owned());
        }
        let of = |version: &&Version| version.snapshot.uid == claim.request_uid;
        let slot = world.slots.iter().find(|slot| slot.current.iter().any(|version| of(&version)));
        let earlier = slot.and_then(|slot| slot.earlier.first()).filter(|_| fate == Fate::Stale);
        let version = earlier.or(slot.and_then(|slot| slot.current.as_ref()));
        Holder::of(claim, version.map(|version| &*version.snapshot))
    }

    fn write(
        &self,
        world: &mut World,
        worker: &mut Worker,
        fate: Fate,
        edit: impl FnOnce(&mut StoredRequest),
    ) -> EffectReport {
        let mut next = worker.session.object.clone();
        edit(&mut next);
        let (slot, on) = (worker.slot, worker.version);
        match fate {
            Fate::Dropped => EffectReport::ObjectUncertain,
            Fate::Late => {
                world.flights.push(Flight::Object { slot, on, next: Arc::new(next) });
                EffectReport::ObjectUncertain
            }
            _ => match self.put(world, slot, on, next) {
                Put::Refused => EffectReport::ObjectUncertain,
                Put::Gone => EffectReport::Gone,
                Put::Stored(_) if fate == Fate::AnswerLost => EffectReport::ObjectUncertain,
                Put::Stored(version) => {
                    worker.version = version.number;
                    EffectReport::Object(Box::new(StoredRequest::clone(&version.snapshot)))
                }
            },
        }
    }

    /// The API server's side of a write: it takes it only on the version that it was made from.
    pub fn put(&self, world: &mut World, slot: usize, on: u8, mut next: StoredRequest) -> Put {
        let Some(current) = &world.slots[slot].current else { return Put::Gone };
        if current.snapshot.uid != next.uid || (current.number != on && self.flaw != Flaw::ResourceVersion) {
            return Put::Refused;
        }
        // What the writer cannot know or set.
        next.deleted_at = current.snapshot.deleted_at;
        let before = current.snapshot.phase();
        let ready = conditions::find(&next.status.conditions, READY);
        world.refused_in_vain |= !before.is_terminal()
            && ready.and_then(Reason::of) == Some(Reason::AlreadyExecuted)
            && !world.may_have_flushed();
        world.final_phase_left |= before.is_terminal() && next.phase() != before;
        world.retried |= before == FlushPhase::Pending
            && next.phase() == FlushPhase::Sending
            && !current.snapshot.attempt_id().is_empty();
        world.store(slot, next).map_or(Put::Gone, Put::Stored)
    }

    fn claim(&self, world: &mut World, claim: &Claim, fate: Fate) -> EffectReport {
        let held = Arc::new(HeldClaim {
            lease_name: claim.key.lease_name(),
            lease_uid: world.unused_lease(),
            request_uid: claim.request_uid.clone(),
            namespace: claim.namespace.clone(),
            name: claim.name.clone(),
            attempt_id: claim.attempt_id.clone(),
            claimed_at: None,
        });
        match fate {
            Fate::RefusedForNow => EffectReport::Claim(ObservedClaim::Failed("forbidden".to_owned())),
            Fate::Dropped => EffectReport::ClaimUncertain,
            Fate::Late => {
                world.flights.push(Flight::Claim(held));
                EffectReport::ClaimUncertain
            }
            _ if !self.create_claim(world, held.clone()) => EffectReport::ClaimUncertain,
            Fate::AnswerLost => EffectReport::ClaimUncertain,
            _ => EffectReport::Claim(view(Some(&held))),
        }
    }

    /// The API server's side of the claim's creation: it makes one only where none is.
    pub fn create_claim(&self, world: &mut World, held: Arc<HeldClaim>) -> bool {
        if world.claim.is_some() && !matches!(self.flaw, Flaw::Claim | Flaw::ClaimOverwritten) {
            return false;
        }
        world.claim_before = world.claim.replace(held);
        true
    }

    fn release(&self, world: &mut World, claim: &HeldClaim, fate: Fate) -> EffectReport {
        if matches!(fate, Fate::Works | Fate::AnswerLost)
            && (self.flaw == Flaw::ReleasePrecondition
                || world.claim.as_ref().is_some_and(|held| held.lease_uid == claim.lease_uid))
        {
            world.claim_before = world.claim.take();
        }
        match fate {
            Fate::Works => EffectReport::Released,
            Fate::RefusedForNow => EffectReport::Claim(ObservedClaim::Failed("forbidden".to_owned())),
            _ => EffectReport::ClaimUncertain,
        }
    }

    fn send(&self, world: &mut World, worker: &Worker, fate: Fate) -> EffectReport {
        let session = &worker.session;
        let attempt = session.object.attempt_id();
        world.sent_without_claim |=
            !world.claim.as_ref().is_some_and(|claim| claim.is_for(&session.object.uid, attempt));
        let uid = session.object.uid.clone();
        match fate {
            Fate::Works | Fate::AnswerLost => flush(world, uid),
            Fate::Late => world.flights.push(Flight::Flush { uid }),
            _ => {}
        }
        EffectReport::Sent(match fate {
            Fate::Works => {
                SendOutcome::Answered(FlushReceipt { return_code: Some("0".to_owned()), ..FlushReceipt::default() })
            }
            Fate::RefusedForNow => failed(ErrorKind::RateLimited, false),
            Fate::RefusedForGood => failed(ErrorKind::BadRequest, false),
            _ if self.flaw == Flaw::Latch => return EffectReport::Nothing,
            _ => failed(ErrorKind::Unavailable, true),
        })
    }
}

/// What became of a write.
pub enum Put {
    Stored(Version),
    Refused,
    Gone,
}

/// The cloud executes a flush.
pub(crate) fn flush(world: &mut World, uid: String) {
    world.executed.push(uid);
    world.settling = true;
}

fn failed(kind: ErrorKind, maybe_executed: bool) -> SendOutcome {
    SendOutcome::Failed(CloudError {
        provider: Provider::Ncp,
        operation: "flushCloudDBInstance",
        kind,
        executed: if maybe_executed { Executed::Unknown } else { Executed::No },
        http_status: None,
        code: None,
        message: "as told".to_owned(),
        trace_id: None,
        retry_after: None,
    })
}

fn view(claim: Option<&Arc<HeldClaim>>) -> ObservedClaim {
    claim.map_or(ObservedClaim::Absent, |claim| ObservedClaim::Present(HeldClaim::clone(claim)))
}

fn list(world: &World) -> ObservedCaches {
    let state = if world.settling { "settingup" } else { "running" };
    ObservedCaches::Caches(vec![ObservedCache { number: INSTANCE.to_owned(), name: None, state: state.to_owned() }])
}

fn others(world: &World, slot: usize) -> Others {
    let busy = world.slots.iter().enumerate().filter(|(other, _)| *other != slot).any(|(_, other)| {
        let phase = other.current.as_ref().map(|version| version.snapshot.phase());
        matches!(phase, Some(FlushPhase::Sending | FlushPhase::Accepted))
    });
    if busy { Others::Busy(ObjectKey::new("shop", "other")) } else { Others::Free }
}

pub(crate) fn misled(missing: bool) -> ObservedReference {
    if missing { ObservedReference::Missing } else { ObservedReference::Target(elsewhere()) }
}
