//! Model check of the flush protocol: the very `plan` that the operator runs, in a world that does its worst.
//!
//! Two processes (overlapping leaders) work on the requests; every step can be lost, delayed, refused or answered with
//! something stale, processes crash and stand still between any two steps, and requests are deleted, re-created and
//! restored from a backup. The number of such troubles in one history is bounded, everything else is exhaustive.

#![allow(clippy::unwrap_used, clippy::panic, clippy::print_stdout, reason = "the model is test code")]

mod settle;
mod step;
mod world;

use std::collections::HashSet;
use std::sync::Mutex;
use std::time::Instant;

use managed_redis_operator::api::flush_request::FlushPhase;
use managed_redis_operator::controllers::flush_request::{Effect, StoredRequest};
use stateright::{Checker, HasDiscoveries, Property};

use step::{Action, Fate, flush, misled};
use world::{Budget, Flight, Process, TROUBLED_STAGES, Worker, World};

/// A guard of the protocol, taken away.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flaw {
    /// All guards are in place.
    None,
    /// No claim of another process is ever seen, neither by a read nor by the creation of one.
    Claim,
    /// A claim that a read does not show can be created although it exists by now.
    ClaimOverwritten,
    /// Writes do not carry the resourceVersion.
    ResourceVersion,
    /// Final phases are read as Pending.
    FinalPhases,
    /// Every attempt that a status outside of Sending knows is taken for one that was not executed.
    Proof,
    /// A process that finds Sending takes itself for the one that began it.
    Resend,
    /// A send is not used up before it begins, and a lost answer is not reported.
    Latch,
    /// The claim is deleted without its UID as precondition.
    ReleasePrecondition,
    /// Every claim of another request counts as one under which something was sent.
    Holder,
    /// The claim is not read again after the request that holds it.
    ClaimNotReadAgain,
}

/// What is checked.
pub struct Model {
    /// Operator processes: two are leaders that overlap.
    pub processes: usize,
    /// Requests of the same request ID and target.
    pub requests: usize,
    /// How much trouble there is.
    pub budget: Budget,
    /// Which guard is missing.
    pub flaw: Flaw,
    /// Worlds of which it is known that they come to an end; see [`settle`].
    pub settled: Mutex<HashSet<u64>>,
}

const ONE_FLUSH: &str = "at most one flush is executed";
const FINAL: &str = "a final phase is never left";
const CLAIMED: &str = "nothing is sent without the claim";
const REFUSED_WITH_CAUSE: &str = "a request is refused as executed already only if that is so, or nobody can tell";
const TRUE_NO: &str = "a request said not to be executed was not";
const TRUE_YES: &str = "a request said to be executed was";
const VERDICT: &str = "every request comes to a verdict once trouble ends";

const PROPERTIES: [&str; 7] = [ONE_FLUSH, FINAL, CLAIMED, REFUSED_WITH_CAUSE, TRUE_NO, TRUE_YES, VERDICT];
/// Ends that must be reachable, or the rest would say little.
const GOALS: [&str; 6] = ["Succeeded", "Expired", "Unknown", "Rejected", "Failed", "Succeeded at the second attempt"];

impl stateright::Model for Model {
    type State = World;
    type Action = Action;

    fn init_states(&self) -> Vec<World> {
        vec![World::new(self.requests, self.budget)]
    }

    fn actions(&self, world: &World, actions: &mut Vec<Action>) {
        let trouble = world.budget.faults > 0;
        for worker in (0..world.workers.len()).rev().take(self.processes) {
            match &world.workers[worker] {
                None => self.starts(world, worker, trouble, actions),
                Some(busy) => {
                    let can_be =
                        |fate: &Fate| trouble || *fate == Fate::Works || is_refusal(world, &busy.effect, *fate);
                    let fates = self.fates(&busy.effect).iter().filter(|fate| can_be(fate));
                    actions.extend(fates.map(|fate| Action::Step { worker, fate: *fate }));
                    if trouble {
                        actions.push(Action::Crash { worker });
                        if !busy.worker.paused
                            && busy.worker.session.own.as_ref().is_some_and(|own| own.outcome.is_none())
                        {
                            actions.push(Action::Pause { worker });
                        }
                    }
                }
            }
        }
        actions.extend((0..world.flights.len()).map(|flight| Action::Land { flight }));
        if world.stage + 1 < TROUBLED_STAGES {
            actions.push(Action::Tick);
        }
        if world.settling {
            actions.push(Action::Settle);
        }
        for slot in 0..world.slots.len() {
            self.interference(world, slot, actions);
        }
    }

    fn next_state(&self, last: &World, action: Action) -> Option<World> {
        let mut world = last.clone();
        let refused = match action {
            Action::Step { worker, fate } => {
                last.workers[worker].as_ref().is_some_and(|process| is_refusal(last, &process.effect, fate))
            }
            _ => false,
        };
        let cost = match action {
            _ if refused => false,
            Action::Start { back, .. } => back > 0,
            Action::Step { fate, .. } => fate != Fate::Works,
            Action::StartMisled { .. } | Action::Crash { .. } | Action::Pause { .. } | Action::Strip { .. } => true,
            Action::Land { .. }
            | Action::Tick
            | Action::Settle
            | Action::Delete { .. }
            | Action::Recreate { .. }
            | Action::Restore { .. }
            | Action::LosePhase { .. } => false,
        };
        world.budget.faults -= u8::from(cost);
        world.budget.refusals -= u8::from(refused);
        self.act(&mut world, action);
        world.forget();
        Some(world)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        vec![
            Property::always(ONE_FLUSH, |_, world: &World| world.executed.len() <= 1),
            Property::always(FINAL, |_, world: &World| !world.final_phase_left),
            Property::always(CLAIMED, |_, world: &World| !world.sent_without_claim),
            Property::always(REFUSED_WITH_CAUSE, |_, world: &World| !world.refused_in_vain),
            Property::always(TRUE_NO, |_, world: &World| {
                // A restored status can say anything of an attempt that it does not know.
                world.restored
                    || world.phases().all(|(phase, request)| {
                        !matches!(phase, FlushPhase::Failed | FlushPhase::Rejected | FlushPhase::Expired)
                            || world.executed_by(&request.uid) == 0
                    })
            }),
            Property::always(TRUE_YES, |_, world: &World| {
                world.phases().all(|(phase, request)| {
                    !matches!(phase, FlushPhase::Accepted | FlushPhase::Succeeded)
                        || world.executed_by(&request.uid) == 1
                })
            }),
            Property::always(VERDICT, |model: &Self, world: &World| model.comes_to_an_end(world)),
            Property::sometimes(GOALS[0], |_, world: &World| reached(world, FlushPhase::Succeeded)),
            Property::sometimes(GOALS[2], |_, world: &World| reached(world, FlushPhase::Unknown)),
            Property::sometimes(GOALS[1], |_, world: &World| reached(world, FlushPhase::Expired)),
            Property::sometimes(GOALS[3], |_, world: &World| reached(world, FlushPhase::Rejected)),
            Property::sometimes(GOALS[4], |_, world: &World| reached(world, FlushPhase::Failed)),
            Property::sometimes(GOALS[5], |_, world: &World| world.retried && reached(world, FlushPhase::Succeeded)),
        ]
    }
}

/// Whether this is a refusal by the cloud that costs no fault.
fn is_refusal(world: &World, effect: &Effect, fate: Fate) -> bool {
    world.budget.refusals > 0
        && matches!(effect, Effect::Send { .. })
        && matches!(fate, Fate::RefusedForNow | Fate::RefusedForGood)
}

fn reached(world: &World, phase: FlushPhase) -> bool {
    world.phases().any(|(reached, _)| reached == phase)
}

impl Model {
    fn starts(&self, world: &World, worker: usize, trouble: bool, actions: &mut Vec<Action>) {
        for (slot, stored) in world.slots.iter().enumerate() {
            if stored.current.is_some() {
                actions.push(Action::Start { worker, slot, back: 0 });
            }
            if trouble {
                actions.extend((1..=stored.earlier.len()).map(|back| Action::Start { worker, slot, back }));
                if stored.current.is_some() {
                    actions.extend([true, false].map(|missing| Action::StartMisled { worker, slot, missing }));
                }
            }
        }
    }

    fn interference(&self, world: &World, slot: usize, actions: &mut Vec<Action>) {
        match &world.slots[slot].current {
            Some(version) => {
                if world.budget.deletions > 0 && version.snapshot.deleted_at.is_none() {
                    actions.push(Action::Delete { slot });
                }
                if world.budget.faults > 0 && version.snapshot.finalizer {
                    actions.push(Action::Strip { slot });
                }
                if world.budget.restores > 0 && version.snapshot.status != Default::default() {
                    actions.extend((0..=world.slots[slot].earlier.len()).map(|back| Action::Restore { slot, back }));
                    let lost = [None, Some(FlushPhase::Pending)];
                    actions.extend(lost.map(|to| Action::LosePhase { slot, to }));
                }
            }
            None if world.budget.creations > 0 => actions.push(Action::Recreate { slot }),
            None => {}
        }
    }

    fn act(&self, world: &mut World, action: Action) {
        match action {
            Action::Start { worker, slot, back } => {
                let stored = &world.slots[slot];
                let version = if back == 0 { stored.current.as_ref() } else { stored.earlier.get(back - 1) };
                let started = version.map(|version| self.start(slot, version));
                self.go_on(world, worker, started);
            }
            Action::StartMisled { worker, slot, missing } => {
                let mut started = self.start(slot, world.slots[slot].current.as_ref().unwrap());
                started.session.reference = misled(missing);
                self.go_on(world, worker, Some(started));
            }
            Action::Step { worker, fate } => {
                let process = world.workers[worker].take().unwrap();
                let busy = self.perform(world, Worker::clone(&process.worker), &process.effect, fate);
                self.go_on(world, worker, busy);
            }
            Action::Crash { worker } => world.workers[worker] = None,
            Action::Pause { worker } => {
                let mut busy = Worker::clone(&world.workers[worker].take().unwrap().worker);
                busy.paused = true;
                self.go_on(world, worker, Some(busy));
            }
            Action::Land { flight } => match world.flights.remove(flight) {
                Flight::Object { slot, on, next, .. } => drop(self.put(world, slot, on, StoredRequest::clone(&next))),
                Flight::Claim(held) => drop(self.create_claim(world, held)),
                Flight::Flush { uid } => flush(world, uid),
            },
            Action::Tick => world.stage += 1,
            Action::Settle => world.settling = false,
            Action::Delete { slot } => {
                world.budget.deletions -= 1;
                let now = world.now();
                self.edit(world, slot, |object| object.deleted_at = Some(now));
            }
            Action::Strip { slot } => {
                self.edit(world, slot, |object| object.finalizer = false);
            }
            Action::Recreate { slot } => {
                world.budget.creations -= 1;
                world.create(slot);
            }
            Action::LosePhase { slot, to } => {
                world.budget.restores -= 1;
                world.restored = true;
                self.edit(world, slot, |object| object.status.phase = to);
            }
            Action::Restore { slot, back } => {
                world.budget.restores -= 1;
                world.restored = true;
                let earlier = world.slots[slot].earlier.get(back).map(|version| version.snapshot.status.clone());
                self.edit(world, slot, |object| object.status = earlier.unwrap_or_default());
            }
        }
    }

    /// Puts a process back into the world, unless its reconcile is over, and the processes in order: they are alike.
    fn go_on(&self, world: &mut World, worker: usize, busy: Option<Worker>) {
        world.workers[worker] = busy.and_then(|mut busy| {
            let effect = self.next_effect(world, &mut busy);
            let over = matches!(effect, Effect::Wait(_) | Effect::Done | Effect::Delete);
            (!over).then(|| Process::new(busy, effect))
        });
        world.workers.sort_by_key(|process| process.as_ref().map(Process::print));
    }

    fn edit(&self, world: &mut World, slot: usize, edit: impl FnOnce(&mut StoredRequest)) {
        if let Some(current) = &world.slots[slot].current {
            let mut next = StoredRequest::clone(&current.snapshot);
            edit(&mut next);
            world.store(slot, next);
        }
    }
}

/// Nothing that can be taken away or added.
const CALM: Budget = Budget { faults: 0, refusals: 0, deletions: 0, creations: 0, restores: 0 };

fn model(processes: usize, requests: usize, budget: Budget, flaw: Flaw) -> Model {
    Model { processes, requests, budget, flaw, settled: Mutex::default() }
}

/// Explores everything that can be reached, and fails with a way to a broken property if there is one.
fn check(name: &str, processes: usize, requests: usize, budget: Budget) {
    let started = Instant::now();
    let checker = stateright::Model::checker(model(processes, requests, budget, Flaw::None))
        .finish_when(HasDiscoveries::AnyFailures)
        .spawn_dfs()
        .join();
    println!(
        "{name}: {} states ({} transitions, depth {}) in {:.0?}",
        checker.unique_state_count(),
        checker.state_count(),
        checker.max_depth(),
        started.elapsed()
    );
    let discoveries = checker.discoveries();
    let broken = PROPERTIES.iter().find_map(|property| discoveries.get(property).map(|path| (property, path)));
    if let Some((property, path)) = broken {
        panic!("{name}: it does not hold that {property}:\n{}", told(&path.clone().into_actions()));
    }
    let needs_trouble = ["Failed", "Succeeded at the second attempt"];
    let trouble = budget.faults > 0 || budget.refusals > 0;
    let rejects = budget.faults > 0 || budget.creations > 0 || requests > 1;
    for goal in GOALS {
        let possible = if goal == "Rejected" { rejects } else { trouble || !needs_trouble.contains(&goal) };
        assert_eq!(discoveries.contains_key(goal), possible, "{name}: reaches {goal}");
    }
}

/// The checker must find what a missing guard leads to, or its silence would mean nothing.
fn finds(flaw: Flaw, processes: usize, requests: usize, budget: Budget, property: &'static str) {
    let checker = stateright::Model::checker(model(processes, requests, budget, flaw))
        .finish_when(HasDiscoveries::AllOf([property].into()))
        .spawn_bfs()
        .join();
    let path = checker.discovery(property).unwrap_or_else(|| panic!("{flaw:?} goes unnoticed"));
    println!(
        "{flaw:?}: after {} states, broken: {property}, by\n{}",
        checker.unique_state_count(),
        told(&path.into_actions())
    );
}

fn told(actions: &[Action]) -> String {
    actions.iter().map(|action| format!("  {action:?}\n")).collect()
}

#[test]
fn overlapping_leaders_and_one_fault() {
    check("overlapping leaders, one fault", 2, 1, Budget { faults: 1, ..CALM });
}

#[test]
fn overlapping_leaders_and_a_request_created_again() {
    check("overlapping leaders, created again", 2, 1, Budget { deletions: 1, creations: 1, ..CALM });
}

#[test]
fn overlapping_leaders_and_a_restored_status() {
    check("overlapping leaders, restored status", 2, 1, Budget { restores: 1, ..CALM });
}

#[test]
fn overlapping_leaders_and_two_requests_of_one_id() {
    check("overlapping leaders, two requests of one ID", 2, 2, CALM);
}

#[test]
#[ignore = "takes many minutes: for changes of the protocol"]
fn overlapping_leaders_two_requests_of_one_id_and_a_refusal() {
    check("overlapping leaders, two requests, a refusal", 2, 2, Budget { refusals: 1, ..CALM });
}

#[test]
fn one_fault_two_requests_of_one_id_and_a_refusal() {
    check("one fault, two requests, a refusal", 1, 2, Budget { faults: 1, refusals: 1, ..CALM });
}

#[test]
fn three_faults() {
    check("three faults", 1, 1, Budget { faults: 3, ..CALM });
}

#[test]
fn two_faults_and_a_request_created_again() {
    check("two faults, created again", 1, 1, Budget { faults: 2, deletions: 1, creations: 1, restores: 0, ..CALM });
}

#[test]
fn one_fault_a_request_created_again_and_a_restored_status() {
    check(
        "one fault, created again, restored status",
        1,
        1,
        Budget { faults: 1, deletions: 1, creations: 1, restores: 1, ..CALM },
    );
}

#[test]
fn one_fault_and_two_requests_of_one_id_created_again() {
    check(
        "one fault, two requests, created again",
        1,
        2,
        Budget { faults: 1, deletions: 1, creations: 1, restores: 0, ..CALM },
    );
}

#[test]
#[ignore = "takes many minutes: for changes of the protocol"]
fn overlapping_leaders_and_two_faults() {
    check("overlapping leaders, two faults", 2, 1, Budget { faults: 2, ..CALM });
}

#[test]
#[ignore = "takes many minutes: for changes of the protocol"]
fn overlapping_leaders_a_fault_and_a_restored_status() {
    check("overlapping leaders, one fault, restored status", 2, 1, Budget { faults: 1, restores: 1, ..CALM });
}

#[test]
#[ignore = "takes many minutes: for changes of the protocol"]
fn overlapping_leaders_a_fault_and_a_request_created_again() {
    let budget = Budget { faults: 1, deletions: 1, creations: 1, restores: 0, ..CALM };
    check("overlapping leaders, one fault, created again", 2, 1, budget);
}

#[test]
#[ignore = "takes many minutes: for changes of the protocol"]
fn overlapping_leaders_a_fault_and_two_requests_of_one_id() {
    check("overlapping leaders, one fault, two requests of one ID", 2, 2, Budget { faults: 1, ..CALM });
}

#[test]
fn without_the_claim_a_second_flush_is_found() {
    finds(Flaw::Claim, 1, 1, Budget { deletions: 1, creations: 1, ..CALM }, ONE_FLUSH);
}

#[test]
fn without_an_exclusive_claim_a_second_flush_is_found() {
    finds(Flaw::ClaimOverwritten, 2, 2, CALM, ONE_FLUSH);
}

#[test]
fn without_proof_of_what_was_not_executed_a_second_flush_is_found() {
    finds(Flaw::Proof, 1, 1, Budget { restores: 1, ..CALM }, ONE_FLUSH);
}

#[test]
fn without_final_phases_first_a_lost_verdict_is_found() {
    finds(Flaw::FinalPhases, 1, 1, CALM, FINAL);
}

#[test]
fn with_resending_a_second_flush_is_found() {
    finds(Flaw::Resend, 1, 1, Budget { faults: 1, ..CALM }, ONE_FLUSH);
}

#[test]
fn without_the_latch_a_second_flush_is_found() {
    finds(Flaw::Latch, 1, 1, Budget { faults: 1, ..CALM }, ONE_FLUSH);
}

#[test]
#[ignore = "takes minutes: it needs a fault, two leaders and two requests to go wrong"]
fn without_the_precondition_of_the_release_a_second_flush_is_found() {
    finds(Flaw::ReleasePrecondition, 2, 2, Budget { faults: 1, ..CALM }, ONE_FLUSH);
}

#[test]
fn without_a_look_at_the_holder_a_refusal_in_vain_is_found() {
    finds(Flaw::Holder, 2, 2, Budget { refusals: 1, ..CALM }, REFUSED_WITH_CAUSE);
}

#[test]
fn without_a_second_look_at_the_claim_a_refusal_in_vain_is_found() {
    finds(Flaw::ClaimNotReadAgain, 2, 2, Budget { refusals: 1, deletions: 1, ..CALM }, REFUSED_WITH_CAUSE);
}

/// The resourceVersion guards the verdict; what keeps a flush from being sent twice is the claim.
#[test]
fn without_the_resource_version_a_lost_verdict_is_found() {
    finds(Flaw::ResourceVersion, 2, 1, CALM, FINAL);
    // A guard can be missing without harm to what another one guards too.
    let checker = stateright::Model::checker(model(2, 1, CALM, Flaw::ResourceVersion)).spawn_dfs().join();
    checker.assert_no_discovery(ONE_FLUSH);
}
