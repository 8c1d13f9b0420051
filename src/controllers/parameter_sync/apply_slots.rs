//! Which objects request applications from a connection at the same time.
//!
//! A request waits at the connection's rate limit. If a thousand objects waited there, each in a reconcile of its own, no worker
//! would be left for what a person just changed. So only a few objects of a connection hold a slot at once; the others release
//! their worker and are triggered in the order in which they came.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::api::RedisParameterSync;
use crate::object_key::ObjectKey;
use crate::runtime::trigger::Trigger;

/// Slots of one connection: as many as it has mutations under way.
const SLOTS: usize = 2;

#[derive(Debug, Default)]
struct ConnectionSlots {
    taken: usize,
    waiting: VecDeque<ObjectKey>,
}

#[derive(Debug)]
struct SlotTable {
    connections: Mutex<HashMap<String, ConnectionSlots>>,
    trigger: Trigger<RedisParameterSync>,
}

/// The slots of all connections.
#[derive(Clone, Debug)]
pub(super) struct ApplySlots(Arc<SlotTable>);

/// The slot of one object at one connection. Dropping it triggers the object that waits longest.
#[derive(Debug)]
pub(super) struct ApplySlot {
    table: Arc<SlotTable>,
    connection: String,
}

impl ApplySlots {
    /// Slots that are all free; `trigger` is for the objects that wait.
    pub(super) fn new(trigger: Trigger<RedisParameterSync>) -> Self {
        Self(Arc::new(SlotTable { connections: Mutex::default(), trigger }))
    }

    /// A slot at a connection. If none is free, the object waits and is triggered when it can try again.
    pub(super) fn acquire(&self, connection: &str, key: &ObjectKey) -> Option<ApplySlot> {
        let mut connections = self.0.lock();
        let slots = connections.entry(connection.to_owned()).or_default();
        let position = slots.waiting.iter().position(|waiting| waiting == key);
        if slots.taken >= SLOTS {
            if position.is_none() {
                slots.waiting.push_back(key.clone());
            }
            return None;
        }
        if let Some(position) = position {
            slots.waiting.remove(position);
        }
        slots.taken += 1;
        Some(ApplySlot { table: Arc::clone(&self.0), connection: connection.to_owned() })
    }

    /// An object waits for no slot any more.
    pub(super) fn withdraw(&self, key: &ObjectKey) {
        let mut connections = self.0.lock();
        for slots in connections.values_mut() {
            slots.waiting.retain(|waiting| waiting != key);
        }
        connections.retain(|_, slots| slots.taken > 0 || !slots.waiting.is_empty());
    }
}

impl Drop for ApplySlot {
    fn drop(&mut self) {
        let next = {
            let mut connections = self.table.lock();
            let Some(slots) = connections.get_mut(&self.connection) else { return };
            slots.taken = slots.taken.saturating_sub(1);
            let next = slots.waiting.pop_front();
            if slots.taken == 0 && slots.waiting.is_empty() {
                connections.remove(&self.connection);
            }
            next
        };
        if let Some(next) = next {
            self.table.trigger.trigger(next);
        }
    }
}

impl SlotTable {
    fn lock(&self) -> MutexGuard<'_, HashMap<String, ConnectionSlots>> {
        self.connections.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::runtime::trigger::TriggerStream;

    fn slots() -> (ApplySlots, TriggerStream) {
        let (trigger, stream) = Trigger::channel();
        (ApplySlots::new(trigger), stream)
    }

    fn acquire(slots: &ApplySlots, connection: &str, name: &str) -> Option<ApplySlot> {
        slots.acquire(connection, &ObjectKey::new("shop", name))
    }

    fn triggered(stream: &mut TriggerStream) -> Vec<String> {
        std::iter::from_fn(|| stream.try_recv().ok()).map(|(key, _)| key.name().to_owned()).collect()
    }

    #[test]
    fn a_few_ask_at_once_and_the_others_follow_in_order() {
        let (slots, mut stream) = slots();
        let first = acquire(&slots, "c-1", "a").unwrap();
        let second = acquire(&slots, "c-1", "b").unwrap();
        for name in ["c", "d", "c"] {
            assert!(acquire(&slots, "c-1", name).is_none());
        }
        assert!(acquire(&slots, "c-2", "c").is_some(), "another connection");
        drop(first);
        assert_eq!(triggered(&mut stream), ["c"], "waits only once");
        let third = acquire(&slots, "c-1", "c").unwrap();
        drop((second, third));
        assert_eq!(triggered(&mut stream), ["d"]);
        assert!(slots.0.lock().is_empty(), "nothing is left behind");
    }

    #[test]
    fn an_object_that_needs_no_slot_any_more_is_passed_over() {
        let (slots, mut stream) = slots();
        let held = [acquire(&slots, "c-1", "a"), acquire(&slots, "c-1", "b")];
        assert!(acquire(&slots, "c-1", "c").is_none());
        assert!(slots.acquire("c-1", &ObjectKey::new("bank", "c")).is_none());
        slots.withdraw(&ObjectKey::new("shop", "c"));
        drop(held);
        let (key, _) = stream.try_recv().unwrap();
        assert_eq!((key.namespace(), key.name()), ("bank", "c"));
    }
}
