//! Whose turn it is to ask a connection for applications.
//!
//! A request waits at the connection's rate limit. If a thousand objects waited there, each in a reconcile of its own, no worker
//! would be left for what a person just changed. So only a few objects of a connection ask at once; the others leave their
//! worker and are woken in the order in which they came.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::api::RedisParameterSync;
use crate::runtime::queue::Lane;
use crate::runtime::trigger::Trigger;

/// Store of one connection that ask at once: as many as its mutations under way.
const AT_ONCE: usize = 2;

/// Namespace and name.
type Key = (String, String);

#[derive(Debug, Default)]
struct Queue {
    taken: usize,
    waiting: VecDeque<Key>,
}

#[derive(Debug)]
struct Shared {
    queues: Mutex<HashMap<String, Queue>>,
    waker: Trigger<RedisParameterSync>,
}

/// The turns of all connections.
#[derive(Clone, Debug)]
pub struct Turns(Arc<Shared>);

/// The turn of one object at one connection; dropped when it has asked, which wakes the next.
#[derive(Debug)]
pub struct Turn {
    shared: Arc<Shared>,
    connection: String,
}

impl Turns {
    /// Nobody waits yet; `waker` wakes who is next.
    pub fn new(waker: Trigger<RedisParameterSync>) -> Self {
        Self(Arc::new(Shared { queues: Mutex::default(), waker }))
    }

    /// A turn at a connection, or none: then the object is woken when it can try again.
    pub fn take(&self, connection: &str, namespace: &str, name: &str) -> Option<Turn> {
        let mut queues = self.0.lock();
        let queue = queues.entry(connection.to_owned()).or_default();
        let at = queue.waiting.iter().position(|(ns, waiting)| ns == namespace && waiting == name);
        if queue.taken >= AT_ONCE {
            if at.is_none() {
                queue.waiting.push_back((namespace.to_owned(), name.to_owned()));
            }
            return None;
        }
        if let Some(at) = at {
            queue.waiting.remove(at);
        }
        queue.taken += 1;
        Some(Turn { shared: Arc::clone(&self.0), connection: connection.to_owned() })
    }

    /// An object waits for no turn any more.
    pub fn leave(&self, namespace: &str, name: &str) {
        let mut queues = self.0.lock();
        for queue in queues.values_mut() {
            queue.waiting.retain(|(ns, waiting)| ns != namespace || waiting != name);
        }
        queues.retain(|_, queue| queue.taken > 0 || !queue.waiting.is_empty());
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        let next = {
            let mut queues = self.shared.lock();
            let Some(queue) = queues.get_mut(&self.connection) else { return };
            queue.taken = queue.taken.saturating_sub(1);
            let next = queue.waiting.pop_front();
            if queue.taken == 0 && queue.waiting.is_empty() {
                queues.remove(&self.connection);
            }
            next
        };
        if let Some((namespace, name)) = next {
            self.shared.waker.wake_in(Lane::Periodic, &namespace, &name);
        }
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, HashMap<String, Queue>> {
        self.queues.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::runtime::trigger::TriggerStream;

    fn turns() -> (Turns, TriggerStream) {
        let (waker, wakes) = Trigger::channel();
        (Turns::new(waker), wakes)
    }

    fn woken(wakes: &mut TriggerStream) -> Vec<String> {
        std::iter::from_fn(|| wakes.try_recv().ok()).map(|(key, _)| key.name().to_owned()).collect()
    }

    #[test]
    fn a_few_ask_at_once_and_the_others_follow_in_order() {
        let (turns, mut wakes) = turns();
        let first = turns.take("c-1", "shop", "a").unwrap();
        let second = turns.take("c-1", "shop", "b").unwrap();
        for name in ["c", "d", "c"] {
            assert!(turns.take("c-1", "shop", name).is_none());
        }
        assert!(turns.take("c-2", "shop", "c").is_some(), "another connection");
        drop(first);
        assert_eq!(woken(&mut wakes), ["c"], "waits only once");
        let third = turns.take("c-1", "shop", "c").unwrap();
        drop((second, third));
        assert_eq!(woken(&mut wakes), ["d"]);
        assert!(turns.0.lock().is_empty(), "nothing is left behind");
    }

    #[test]
    fn who_needs_no_turn_any_more_is_passed_over() {
        let (turns, mut wakes) = turns();
        let held = [turns.take("c-1", "shop", "a"), turns.take("c-1", "shop", "b")];
        assert!(turns.take("c-1", "shop", "c").is_none() && turns.take("c-1", "bank", "c").is_none());
        turns.leave("shop", "c");
        drop(held);
        let (key, _) = wakes.try_recv().unwrap();
        assert_eq!((key.namespace(), key.name()), ("bank", "c"));
    }
}
