//! The queue of a controller: each object once, and those that a person waits for first. Pure: the time is an argument.

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::time::Instant;

use crate::object_key::ObjectKey;

/// How soon an object is reconciled.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum QueueLane {
    /// Its time has come, or something in the cloud changed.
    Periodic,
    /// A person waits: a new object, a changed spec, a requested refresh. Goes before all that is periodic.
    Interactive,
}

#[derive(Clone, Copy, Debug, Default)]
struct QueueSlot {
    /// It is being reconciled. It is never reconciled twice at once.
    running: bool,
    /// It waits to be reconciled, now or when the reconcile under way ends.
    waiting: Option<QueueLane>,
    /// When it is reconciled again, if nothing happens before.
    due: Option<Instant>,
    /// It was deleted while it is being reconciled.
    gone: bool,
    /// How many reconciles failed in a row.
    failures: u32,
}

/// The objects of one kind that will be reconciled, now or later.
#[derive(Debug, Default)]
pub(crate) struct Queue {
    slots: HashMap<ObjectKey, QueueSlot>,
    interactive: VecDeque<ObjectKey>,
    periodic: VecDeque<ObjectKey>,
    later: BTreeSet<(Instant, ObjectKey)>,
}

impl Queue {
    /// Reconciles the object soon.
    pub(crate) fn push(&mut self, key: &ObjectKey, lane: QueueLane) {
        let slot = self.slots.entry(key.clone()).or_default();
        slot.gone = false;
        if let Some(due) = slot.due.take() {
            self.later.remove(&(due, key.clone()));
        }
        if slot.waiting >= Some(lane) {
            return;
        }
        slot.waiting = Some(lane);
        if !slot.running {
            self.line_up(key.clone(), lane);
        }
    }

    /// The next object. It counts as being reconciled until [`Queue::done`] or [`Queue::failed`].
    pub(crate) fn pop(&mut self, now: Instant) -> Option<ObjectKey> {
        while let Some((_, key)) = self.later.first().filter(|(due, _)| *due <= now).cloned() {
            self.push(&key, QueueLane::Periodic);
        }
        loop {
            let (key, lane) = match self.interactive.pop_front() {
                Some(key) => (key, QueueLane::Interactive),
                None => (self.periodic.pop_front()?, QueueLane::Periodic),
            };
            // An object that moved to the other lane, or is gone, leaves a stale entry behind.
            if let Some(slot) = self.slots.get_mut(&key).filter(|slot| !slot.running && slot.waiting == Some(lane)) {
                slot.waiting = None;
                slot.running = true;
                return Some(key);
            }
        }
    }

    /// A reconcile has ended well. The object is reconciled again at `again`, if nothing happens before.
    pub(crate) fn done(&mut self, key: &ObjectKey, again: Instant) {
        if let Some(slot) = self.slots.get_mut(key) {
            slot.failures = 0;
            self.ended(key, again);
        }
    }

    /// A reconcile has failed. The object is reconciled again at the time that `again` gives for so many failures in a row.
    /// Returns their number.
    pub(crate) fn failed(&mut self, key: &ObjectKey, again: impl FnOnce(u32) -> Instant) -> u32 {
        let Some(slot) = self.slots.get_mut(key) else { return 1 };
        slot.failures = slot.failures.saturating_add(1);
        let failures = slot.failures;
        self.ended(key, again(failures));
        failures
    }

    fn ended(&mut self, key: &ObjectKey, again: Instant) {
        let Some(slot) = self.slots.get_mut(key) else { return };
        slot.running = false;
        match slot.waiting {
            Some(lane) => self.line_up(key.clone(), lane),
            None if slot.gone => drop(self.slots.remove(key)),
            None => {
                slot.due = Some(again);
                self.later.insert((again, key.clone()));
            }
        }
    }

    /// The object is gone. A new one of the same name waits until the reconcile under way ends.
    pub(crate) fn remove(&mut self, key: &ObjectKey) {
        if let Some(slot) = self.slots.get_mut(key).filter(|slot| slot.running) {
            (slot.waiting, slot.gone, slot.failures) = (None, true, 0);
            return;
        }
        if let Some(QueueSlot { due: Some(due), .. }) = self.slots.remove(key) {
            self.later.remove(&(due, key.clone()));
        }
    }

    /// When the next object becomes due.
    pub(crate) fn next_due(&self) -> Option<Instant> {
        self.later.first().map(|(due, _)| *due)
    }

    fn line_up(&mut self, key: ObjectKey, lane: QueueLane) {
        match lane {
            QueueLane::Interactive => self.interactive.push_back(key),
            QueueLane::Periodic => self.periodic.push_back(key),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proptest::prelude::*;

    use super::*;

    fn key(name: &str) -> ObjectKey {
        ObjectKey::new("shop", name)
    }

    fn drain(queue: &mut Queue, now: Instant) -> Vec<String> {
        std::iter::from_fn(|| queue.pop(now)).map(|key| key.name().to_owned()).collect()
    }

    #[test]
    fn what_a_person_waits_for_goes_first_and_each_object_once() {
        let (mut queue, now) = (Queue::default(), Instant::now());
        for name in ["a", "b", "c", "b"] {
            queue.push(&key(name), QueueLane::Periodic);
        }
        queue.push(&key("d"), QueueLane::Interactive);
        queue.push(&key("c"), QueueLane::Interactive);
        queue.push(&key("c"), QueueLane::Periodic);
        assert_eq!(drain(&mut queue, now), ["d", "c", "a", "b"]);
    }

    #[test]
    fn an_object_is_never_reconciled_twice_at_once_and_no_push_is_lost() {
        let (mut queue, now) = (Queue::default(), Instant::now());
        queue.push(&key("a"), QueueLane::Periodic);
        assert_eq!(drain(&mut queue, now), ["a"]);
        queue.push(&key("a"), QueueLane::Periodic);
        queue.push(&key("a"), QueueLane::Interactive);
        assert!(queue.pop(now).is_none(), "it is being reconciled");
        queue.done(&key("a"), now + Duration::from_secs(60));
        assert_eq!(drain(&mut queue, now), ["a"], "it changed meanwhile");
    }

    #[test]
    fn an_object_comes_back_when_it_is_due_or_pushed_whichever_is_first() {
        let (mut queue, now) = (Queue::default(), Instant::now());
        let later = now + Duration::from_secs(60);
        for name in ["a", "b"] {
            queue.push(&key(name), QueueLane::Periodic);
        }
        drain(&mut queue, now);
        for name in ["a", "b"] {
            queue.done(&key(name), later);
        }
        assert_eq!((queue.next_due(), queue.pop(now)), (Some(later), None));
        queue.push(&key("b"), QueueLane::Interactive);
        assert_eq!(drain(&mut queue, now), ["b"]);
        assert_eq!(drain(&mut queue, later), ["a"], "b is not due again while it is being reconciled");
        queue.done(&key("a"), later);
        queue.remove(&key("a"));
        assert_eq!((queue.next_due(), drain(&mut queue, later)), (None, vec![]), "it is gone");
        queue.done(&key("a"), later);
        assert_eq!(queue.next_due(), None, "a reconcile that ends after its object does not bring it back");
    }

    #[test]
    fn an_object_that_comes_anew_waits_for_the_end_of_what_is_done_to_the_old_one() {
        let (mut queue, now) = (Queue::default(), Instant::now());
        queue.push(&key("a"), QueueLane::Interactive);
        assert_eq!(drain(&mut queue, now), ["a"]);
        queue.remove(&key("a"));
        queue.push(&key("a"), QueueLane::Interactive);
        assert_eq!(queue.pop(now), None, "the old one is being reconciled");
        queue.done(&key("a"), now);
        assert_eq!(drain(&mut queue, now), ["a"]);
        queue.remove(&key("a"));
        queue.done(&key("a"), now);
        assert!(queue.slots.is_empty() && queue.next_due().is_none(), "nothing is left of it");
    }

    #[test]
    fn failures_in_a_row_are_counted_until_a_success_or_the_end_of_the_object() {
        let (mut queue, now) = (Queue::default(), Instant::now());
        let mut attempt = |end: fn(&mut Queue, Instant) -> u32| {
            queue.push(&key("a"), QueueLane::Periodic);
            assert_eq!(queue.pop(now), Some(key("a")));
            end(&mut queue, now)
        };
        fn fail(queue: &mut Queue, now: Instant) -> u32 {
            queue.failed(&key("a"), |_| now)
        }
        fn succeed(queue: &mut Queue, now: Instant) -> u32 {
            queue.done(&key("a"), now);
            0
        }
        fn fail_after_its_end(queue: &mut Queue, now: Instant) -> u32 {
            queue.remove(&key("a"));
            queue.failed(&key("a"), |_| now)
        }
        let attempts = [fail, fail, succeed, fail, fail, fail_after_its_end, fail];
        assert_eq!(attempts.map(&mut attempt), [1, 2, 0, 1, 2, 1, 1]);
    }

    proptest! {
        /// An object that was pushed is popped, and never while it is being reconciled.
        #[test]
        fn nothing_is_lost_and_nothing_runs_twice(steps in proptest::collection::vec((0u8..4, 0u8..4), 0..200)) {
            let (mut queue, now) = (Queue::default(), Instant::now());
            let (mut running, mut owed) = (std::collections::BTreeSet::new(), std::collections::BTreeSet::new());
            for (step, object) in steps {
                let object = key(&object.to_string());
                match step {
                    0 | 1 => {
                        queue.push(&object, if step == 0 { QueueLane::Periodic } else { QueueLane::Interactive });
                        owed.insert(object);
                    }
                    2 => if let Some(popped) = queue.pop(now) {
                        prop_assert!(owed.remove(&popped));
                        prop_assert!(running.insert(popped));
                    },
                    _ => if running.remove(&object) {
                        queue.done(&object, now + Duration::from_secs(1));
                    },
                }
            }
            for object in std::mem::take(&mut running) {
                queue.done(&object, now + Duration::from_secs(1));
            }
            while let Some(popped) = queue.pop(now) {
                prop_assert!(owed.remove(&popped));
            }
            prop_assert!(owed.is_empty());
        }
    }
}
