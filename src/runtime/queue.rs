//! The queue of a controller: each object once, what a person waits for first. Values only: the time is an argument.

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::fmt;
use std::sync::Arc;
use std::time::Instant;

/// Namespace and name of an object. Cheap to clone; store, queue and reconcile share one.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ObjectKey(Arc<(Box<str>, Box<str>)>);

impl ObjectKey {
    /// The key of an object.
    pub fn new(namespace: &str, name: &str) -> Self {
        Self(Arc::new((namespace.into(), name.into())))
    }

    /// Its namespace.
    pub fn namespace(&self) -> &str {
        &self.0.0
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.0.1
    }
}

impl fmt::Debug for ObjectKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.namespace(), self.name())
    }
}

/// How soon an object's turn comes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Lane {
    /// It is time again, or the cloud changed.
    Periodic,
    /// A person waits: a new object, a changed spec, a requested read. Goes before all that is periodic.
    Interactive,
}

#[derive(Clone, Copy, Debug, Default)]
struct Slot {
    /// It is being reconciled; it never is twice at once.
    running: bool,
    /// It is to be reconciled, now or when the reconcile under way ends.
    waiting: Option<Lane>,
    /// It is to be reconciled again at that time.
    due: Option<Instant>,
    /// It was deleted while it is being reconciled.
    gone: bool,
}

/// The objects of one kind that are to be reconciled, now or later.
#[derive(Debug, Default)]
pub struct Queue {
    slots: HashMap<ObjectKey, Slot>,
    interactive: VecDeque<ObjectKey>,
    periodic: VecDeque<ObjectKey>,
    later: BTreeSet<(Instant, ObjectKey)>,
}

impl Queue {
    /// The object is to be reconciled soon.
    pub fn push(&mut self, key: &ObjectKey, lane: Lane) {
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

    /// The object whose turn it is. It counts as being reconciled until [`Queue::done`].
    pub fn pop(&mut self, now: Instant) -> Option<ObjectKey> {
        while let Some((_, key)) = self.later.first().filter(|(due, _)| *due <= now).cloned() {
            self.push(&key, Lane::Periodic);
        }
        loop {
            let (key, lane) = match self.interactive.pop_front() {
                Some(key) => (key, Lane::Interactive),
                None => (self.periodic.pop_front()?, Lane::Periodic),
            };
            // An object that moved to the other lane, or is gone, has left its place behind.
            if let Some(slot) = self.slots.get_mut(&key).filter(|slot| !slot.running && slot.waiting == Some(lane)) {
                slot.waiting = None;
                slot.running = true;
                return Some(key);
            }
        }
    }

    /// A reconcile has ended; the object is looked at again at `again`, if nothing happens before.
    pub fn done(&mut self, key: &ObjectKey, again: Instant) {
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

    /// The object is gone. One of the same name that comes after it waits until the reconcile under way ends.
    pub fn remove(&mut self, key: &ObjectKey) {
        if let Some(slot) = self.slots.get_mut(key).filter(|slot| slot.running) {
            (slot.waiting, slot.gone) = (None, true);
            return;
        }
        if let Some(Slot { due: Some(due), .. }) = self.slots.remove(key) {
            self.later.remove(&(due, key.clone()));
        }
    }

    /// When the next object becomes due, if none waits now.
    pub fn next_due(&self) -> Option<Instant> {
        self.later.first().map(|(due, _)| *due)
    }

    fn line_up(&mut self, key: ObjectKey, lane: Lane) {
        match lane {
            Lane::Interactive => self.interactive.push_back(key),
            Lane::Periodic => self.periodic.push_back(key),
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
            queue.push(&key(name), Lane::Periodic);
        }
        queue.push(&key("d"), Lane::Interactive);
        queue.push(&key("c"), Lane::Interactive);
        queue.push(&key("c"), Lane::Periodic);
        assert_eq!(drain(&mut queue, now), ["d", "c", "a", "b"]);
    }

    #[test]
    fn an_object_is_never_reconciled_twice_at_once_and_no_push_is_lost() {
        let (mut queue, now) = (Queue::default(), Instant::now());
        queue.push(&key("a"), Lane::Periodic);
        assert_eq!(drain(&mut queue, now), ["a"]);
        queue.push(&key("a"), Lane::Periodic);
        queue.push(&key("a"), Lane::Interactive);
        assert!(queue.pop(now).is_none(), "it is being reconciled");
        queue.done(&key("a"), now + Duration::from_secs(60));
        assert_eq!(drain(&mut queue, now), ["a"], "it changed meanwhile");
    }

    #[test]
    fn an_object_comes_back_when_it_is_due_or_pushed_whichever_is_first() {
        let (mut queue, now) = (Queue::default(), Instant::now());
        let later = now + Duration::from_secs(60);
        for name in ["a", "b"] {
            queue.push(&key(name), Lane::Periodic);
        }
        drain(&mut queue, now);
        for name in ["a", "b"] {
            queue.done(&key(name), later);
        }
        assert_eq!((queue.next_due(), queue.pop(now)), (Some(later), None));
        queue.push(&key("b"), Lane::Interactive);
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
        queue.push(&key("a"), Lane::Interactive);
        assert_eq!(drain(&mut queue, now), ["a"]);
        queue.remove(&key("a"));
        queue.push(&key("a"), Lane::Interactive);
        assert_eq!(queue.pop(now), None, "the old one is being reconciled");
        queue.done(&key("a"), now);
        assert_eq!(drain(&mut queue, now), ["a"]);
        queue.remove(&key("a"));
        queue.done(&key("a"), now);
        assert!(queue.slots.is_empty() && queue.next_due().is_none(), "nothing is left of it");
    }

    proptest! {
        /// Whatever happens, an object that was pushed is popped, and never while it is being reconciled.
        #[test]
        fn nothing_is_lost_and_nothing_runs_twice(steps in proptest::collection::vec((0u8..4, 0u8..4), 0..200)) {
            let (mut queue, now) = (Queue::default(), Instant::now());
            let (mut running, mut owed) = (std::collections::BTreeSet::new(), std::collections::BTreeSet::new());
            for (step, object) in steps {
                let object = key(&object.to_string());
                match step {
                    0 | 1 => {
                        queue.push(&object, if step == 0 { Lane::Periodic } else { Lane::Interactive });
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
