//! How many flushes one connection sends at once.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// As many as the mutations that a connection has under way. The connection would hold back a further flush by itself, after the
/// last look at the time and for as long as the others take.
const AT_ONCE: usize = 2;

/// The permits to send, by connection.
#[derive(Debug, Default)]
pub struct SendPermits(Mutex<HashMap<String, Weak<Semaphore>>>);

impl SendPermits {
    /// The permit to send now, to be dropped when the answer has come; none if no permit came free in time.
    pub async fn take(&self, connection: &str, within: Duration) -> Option<OwnedSemaphorePermit> {
        let semaphore = self.of(connection);
        tokio::time::timeout(within, semaphore.acquire_owned()).await.ok()?.ok()
    }

    fn of(&self, connection: &str) -> Arc<Semaphore> {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(found) = all.get(connection).and_then(Weak::upgrade) {
            return found;
        }
        all.retain(|_, unused| unused.strong_count() > 0);
        let new = Arc::new(Semaphore::new(AT_ONCE));
        all.insert(connection.to_owned(), Arc::downgrade(&new));
        new
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn two_at_once_of_a_connection_and_no_waiting_beyond_the_bound() {
        let permits = SendPermits::default();
        let first = permits.take("c-1", Duration::ZERO).await.unwrap();
        let second = permits.take("c-1", Duration::ZERO).await.unwrap();
        assert!(permits.take("c-1", Duration::ZERO).await.is_none());
        let other = permits.take("c-2", Duration::ZERO).await;
        assert!(other.is_some(), "another connection");
        drop(first);
        assert!(permits.take("c-1", Duration::ZERO).await.is_some());
        drop((second, other));
        drop(permits.take("c-3", Duration::ZERO).await);
        assert_eq!(permits.0.lock().unwrap().len(), 1, "connections that send nothing are forgotten");
    }
}
