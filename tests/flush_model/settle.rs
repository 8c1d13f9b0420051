//! That no state is a dead end: from every state in which no process is at work, one process without any trouble brings
//! every request to a verdict, settles its claim and lets go of it.

use std::hash::{DefaultHasher, Hash as _, Hasher as _};

use managed_redis_operator::api::flush_request::FlushPhase;
use managed_redis_operator::controllers::flush_request::Effect;

use crate::Model;
use crate::step::Fate;
use crate::world::{STAGES, World, hash_snapshot};

/// Reconciles that are enough for one request: a few for each stage of the clock.
const ENOUGH: usize = 4 * STAGES.len();
/// Steps that are enough for one reconcile.
const ENOUGH_STEPS: usize = 50;

impl Model {
    /// True for states with a process at work: its next step or its crash leads to those that are looked at.
    pub fn comes_to_an_end(&self, world: &World) -> bool {
        if world.workers.iter().any(Option::is_some) || !world.flights.is_empty() {
            return true;
        }
        let key = fingerprint(world);
        if self.settled.lock().unwrap().contains(&key) {
            return true;
        }
        let mut world = world.clone();
        let ended = (0..world.slots.len()).all(|slot| self.settle(&mut world, slot)) && world.executed.len() <= 1;
        if ended {
            self.settled.lock().unwrap().insert(key);
        }
        ended
    }

    fn settle(&self, world: &mut World, slot: usize) -> bool {
        for _ in 0..ENOUGH {
            let Some(version) = world.slots[slot].current.clone() else { return true };
            let mut worker = self.start(slot, &version);
            let mut last = None;
            for _ in 0..ENOUGH_STEPS {
                let effect = self.next_effect(world, &mut worker);
                match self.perform(world, worker, &effect, Fate::Works) {
                    Some(next) => worker = next,
                    None => {
                        last = Some(effect);
                        break;
                    }
                }
            }
            match last {
                None => return false,
                Some(Effect::Done) => return self.is_settled(world, slot),
                Some(_) => {}
            }
            world.settling = false;
            world.stage = (world.stage + 1).min(STAGES.len() - 1);
        }
        false
    }

    /// A verdict, no finalizer, and, after a sweep, no claim for an attempt that was not executed.
    fn is_settled(&self, world: &mut World, slot: usize) -> bool {
        let Some(version) = &world.slots[slot].current else { return true };
        let request = &version.snapshot;
        if world.claim.as_ref().is_some_and(|claim| claim.is_unused(request)) {
            world.claim = None;
        }
        let keeps_claim = matches!(request.phase(), FlushPhase::Succeeded | FlushPhase::Unknown);
        let held = world.claim.as_ref().is_some_and(|claim| claim.is_for(&request.uid, request.attempt_id()));
        request.phase().is_terminal() && !request.finalizer && (keeps_claim || !held)
    }
}

/// Everything that a process without trouble can come to see.
fn fingerprint(world: &World) -> u64 {
    let mut hasher = DefaultHasher::new();
    for slot in &world.slots {
        slot.current.is_some().hash(&mut hasher);
        if let Some(version) = &slot.current {
            hash_snapshot(&version.snapshot, &mut hasher);
        }
    }
    (&world.claim, world.stage, world.settling, &world.executed).hash(&mut hasher);
    hasher.finish()
}
