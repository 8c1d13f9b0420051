//! How many flushes one connection sends at once.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// As many as a connection has mutations under way. Beyond that it would hold a flush back by itself, after the last look at the
/// time, and for as long as the others take.
const AT_ONCE: usize = 2;

/// The flushes under way, by connection.
#[derive(Debug, Default)]
pub struct Sends(Mutex<HashMap<String, Weak<Semaphore>>>);

impl Sends {
    /// The right to send now, dropped when the answer is there; none if it did not come free in time.
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
        let sends = Sends::default();
        let first = sends.take("c-1", Duration::ZERO).await.unwrap();
        let second = sends.take("c-1", Duration::ZERO).await.unwrap();
        assert!(sends.take("c-1", Duration::ZERO).await.is_none());
        let other = sends.take("c-2", Duration::ZERO).await;
        assert!(other.is_some(), "another connection");
        drop(first);
        assert!(sends.take("c-1", Duration::ZERO).await.is_some());
        drop((second, other));
        drop(sends.take("c-3", Duration::ZERO).await);
        assert_eq!(sends.0.lock().unwrap().len(), 1, "connections that send nothing are forgotten");
    }
}
