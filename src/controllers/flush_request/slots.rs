//! How many flush requests read from a cloud at once.
//!
//! A request that waits for a cloud has left its worker, so that a cloud that hangs holds up no other flush. Slots bound these
//! requests instead: some for each namespace, of these fewer for one connection, and fewer still for one instance. The other
//! requests wait in order, without a task or a connection of their own, and are reconciled when a slot is free. No namespace
//! ever waits for another.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::api::RedisFlushRequest;
use crate::object_key::ObjectKey;
use crate::runtime::trigger::Trigger;

/// Requests of one namespace that read from clouds at once.
const OF_A_NAMESPACE: usize = 16;
/// Requests of these at one site with one Secret: as many as the reads that a connection has under way at once.
const OF_A_CONNECTION: usize = 4;
/// Requests of these about one instance, so that one that hangs leaves room for its neighbours.
const OF_AN_INSTANCE: usize = 2;

/// What a request reads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SlotSubject {
    /// Site of the instance.
    pub site: &'static str,
    /// Name of the Secret with the credential.
    pub secret: String,
    /// Number of the instance.
    pub instance_no: String,
}

/// The requests of one namespace.
#[derive(Debug, Default)]
struct Tenant {
    reading: Vec<Arc<SlotSubject>>,
    /// By name, in the order in which they came. A request stays until it has a slot or needs none any more.
    waiting: VecDeque<(String, Arc<SlotSubject>)>,
}

#[derive(Debug)]
struct SlotTable {
    tenants: Mutex<HashMap<String, Tenant>>,
    trigger: Trigger<RedisFlushRequest>,
}

/// The slots of all namespaces.
#[derive(Clone, Debug)]
pub struct FlushSlots(Arc<SlotTable>);

/// The slot of one request. Dropping it triggers the reconcile of the next.
#[derive(Debug)]
pub struct FlushSlot {
    table: Arc<SlotTable>,
    namespace: String,
    subject: Arc<SlotSubject>,
}

impl FlushSlots {
    /// No request waits yet; `trigger` starts the reconcile of the next.
    pub fn new(trigger: Trigger<RedisFlushRequest>) -> Self {
        Self(Arc::new(SlotTable { tenants: Mutex::default(), trigger }))
    }

    /// A slot for a request, or none: then its reconcile is triggered when it can try again.
    pub fn take(&self, request: &ObjectKey, subject: SlotSubject) -> Option<FlushSlot> {
        let (namespace, name) = (request.namespace(), request.name());
        let subject = Arc::new(subject);
        let mut tenants = self.0.lock();
        let tenant = tenants.entry(namespace.to_owned()).or_default();
        if !tenant.may_go(name, &subject) {
            match tenant.waiting.iter_mut().find(|(waiting, _)| waiting == name) {
                Some((_, about)) => *about = subject,
                None => tenant.waiting.push_back((name.to_owned(), subject)),
            }
            return None;
        }
        tenant.waiting.retain(|(waiting, _)| waiting != name);
        tenant.reading.push(Arc::clone(&subject));
        Some(FlushSlot { table: Arc::clone(&self.0), namespace: namespace.to_owned(), subject })
    }

    /// The request does not wait for a slot any more.
    pub fn leave(&self, request: &ObjectKey) {
        self.0.change(request.namespace(), |tenant| tenant.waiting.retain(|(waiting, _)| waiting != request.name()));
    }
}

impl Tenant {
    /// The waiting requests whose turn it is, in order, and the slots that are then taken. A triggered request keeps its place
    /// until its reconcile runs, so that no later one overtakes it.
    fn next(&self, until: Option<&str>) -> (Vec<&str>, Vec<Arc<SlotSubject>>) {
        let (mut next, mut taken) = (Vec::new(), self.reading.clone());
        for (name, subject) in &self.waiting {
            if taken.len() >= OF_A_NAMESPACE || until == Some(name.as_str()) {
                break;
            }
            if fits(&taken, subject) {
                taken.push(Arc::clone(subject));
                next.push(name.as_str());
            }
        }
        (next, taken)
    }

    fn may_go(&self, name: &str, subject: &SlotSubject) -> bool {
        fits(&self.next(Some(name)).1, subject)
    }
}

/// Whether there is a slot beside those that are taken.
fn fits(taken: &[Arc<SlotSubject>], subject: &SlotSubject) -> bool {
    let of_connection = taken.iter().filter(|other| (other.site, &other.secret) == (subject.site, &subject.secret));
    let of_instance = taken.iter().filter(|other| other.as_ref() == subject);
    taken.len() < OF_A_NAMESPACE && of_connection.count() < OF_A_CONNECTION && of_instance.count() < OF_AN_INSTANCE
}

impl Drop for FlushSlot {
    fn drop(&mut self) {
        self.table.change(&self.namespace, |tenant| {
            if let Some(mine) = tenant.reading.iter().position(|subject| Arc::ptr_eq(subject, &self.subject)) {
                tenant.reading.swap_remove(mine);
            }
        });
    }
}

impl SlotTable {
    /// Changes the requests of a namespace and triggers those whose turn has come.
    fn change(&self, namespace: &str, change: impl FnOnce(&mut Tenant)) {
        let mut tenants = self.lock();
        let Some(tenant) = tenants.get_mut(namespace) else { return };
        change(tenant);
        for name in tenant.next(None).0 {
            self.trigger.trigger_requested(ObjectKey::new(namespace, name));
        }
        if tenant.reading.is_empty() && tenant.waiting.is_empty() {
            tenants.remove(namespace);
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, Tenant>> {
        // Every change is whole before anything else is called, so a poisoned lock still guards a sound value.
        self.tenants.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::runtime::trigger::TriggerStream;

    fn slots() -> (FlushSlots, TriggerStream) {
        let (waker, wakes) = Trigger::channel();
        (FlushSlots::new(waker), wakes)
    }

    fn key(name: &str) -> ObjectKey {
        ObjectKey::new("shop", name)
    }

    fn subject(site: &'static str, secret: &str, instance: usize) -> SlotSubject {
        SlotSubject { site, secret: secret.to_owned(), instance_no: instance.to_string() }
    }

    fn woken(wakes: &mut TriggerStream) -> Vec<String> {
        std::iter::from_fn(|| wakes.try_recv().ok()).map(|(key, _)| key.name().to_owned()).collect()
    }

    #[test]
    fn an_instance_that_hangs_leaves_room_on_its_connection_and_that_on_its_namespace() {
        let (slots, _wakes) = slots();
        let mut held = Vec::new();
        let mut take = |namespace: &str, name: String, subject| {
            let slot = slots.take(&ObjectKey::new(namespace, &name), subject);
            let got = slot.is_some();
            held.extend(slot);
            got
        };
        let hanging = (0..40).filter(|n| take("shop", format!("a-{n}"), subject("Public", "key", 1))).count();
        assert_eq!(hanging, OF_AN_INSTANCE);
        assert!(take("shop", "other-instance".to_owned(), subject("Public", "key", 2)));
        let more = (0..40).filter(|n| take("shop", format!("b-{n}"), subject("Public", "key", 10 + n))).count();
        assert_eq!(hanging + 1 + more, OF_A_CONNECTION);
        assert!(take("shop", "other-site".to_owned(), subject("Gov", "key", 1)));
        assert!(take("shop", "other-secret".to_owned(), subject("Public", "key-2", 1)));
        for n in 0..100 {
            take("shop", format!("c-{n}"), subject("Fin", &format!("key-{n}"), n));
        }
        assert!(!take("shop", "late".to_owned(), subject("Fin", "key-late", 1)));
        assert!(take("bank", "a-1".to_owned(), subject("Public", "key", 1)), "another namespace waits for none of it");
        assert_eq!(held.len(), OF_A_NAMESPACE + 1);
    }

    #[test]
    fn who_waits_goes_in_order_and_nobody_overtakes() {
        let (slots, mut wakes) = slots();
        let about = || subject("Public", "key", 1);
        let first = slots.take(&key("a"), about()).unwrap();
        let second = slots.take(&key("b"), about()).unwrap();
        for name in ["c", "d", "c"] {
            assert!(slots.take(&key(name), about()).is_none());
        }
        drop(first);
        assert_eq!(woken(&mut wakes), ["c"]);
        assert!(slots.take(&key("d"), about()).is_none(), "it is c's turn");
        assert!(slots.take(&key("new"), about()).is_none(), "it is c's turn");
        let third = slots.take(&key("c"), about()).unwrap();
        drop(second);
        assert_eq!(woken(&mut wakes), ["d"]);
        slots.leave(&key("d"));
        assert_eq!(woken(&mut wakes), ["new"], "d needs it no more");
        slots.leave(&key("new"));
        drop(third);
        assert!(slots.0.lock().is_empty(), "nothing is left behind");
    }

    proptest! {
        /// Whatever comes and goes, the bounds hold, and once everybody has ended nobody was forgotten and nothing is left.
        #[test]
        fn nobody_is_forgotten(steps in proptest::collection::vec((0usize..3, 0usize..12, 0usize..4), 1..200)) {
            let (slots, mut wakes) = slots();
            let mut held: HashMap<usize, FlushSlot> = HashMap::new();
            let mut waiting: std::collections::BTreeSet<usize> = std::collections::BTreeSet::new();
            for (step, who, about) in steps {
                match step {
                    0 | 1 if !held.contains_key(&who) => {
                        match slots.take(&key(&who.to_string()), subject("Public", "key", about)) {
                            Some(slot) => {
                                waiting.remove(&who);
                                held.insert(who, slot);
                            }
                            None => drop(waiting.insert(who)),
                        }
                    }
                    _ => drop(held.remove(&who)),
                }
                prop_assert!(held.len() <= OF_A_CONNECTION);
            }
            held.clear();
            while !waiting.is_empty() {
                let woken = woken(&mut wakes);
                prop_assert!(!woken.is_empty(), "{:?} wait for nothing", waiting);
                for name in woken {
                    let who: usize = name.parse().unwrap();
                    if waiting.contains(&who) && slots.take(&key(&name), subject("Public", "key", 0)).is_some() {
                        waiting.remove(&who);
                    }
                }
            }
            prop_assert!(slots.0.lock().is_empty());
        }
    }
}
