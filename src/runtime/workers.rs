//! The workers of a controller. They bound the concurrent reconciles; a reconcile that has to wait for long can leave its worker to
//! another one.

use std::sync::Arc;

use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};

/// The workers of one controller.
#[derive(Debug)]
pub(crate) struct Workers {
    free: Arc<Semaphore>,
    left: Arc<Notify>,
}

/// One of them, for one reconcile. Dropped when the reconcile ends, or left earlier.
#[derive(Debug)]
pub struct Worker {
    _permit: OwnedSemaphorePermit,
    left: Arc<Notify>,
}

impl Workers {
    /// This many workers.
    pub(crate) fn new(count: u16) -> Self {
        Self { free: Arc::new(Semaphore::new(usize::from(count))), left: Arc::default() }
    }

    /// A free worker, if there is one.
    pub(crate) fn take(&self) -> Option<Worker> {
        let permit = Arc::clone(&self.free).try_acquire_owned().ok()?;
        Some(Worker { _permit: permit, left: Arc::clone(&self.left) })
    }

    /// Waits until a reconcile has left its worker before its end.
    pub(crate) async fn one_is_left(&self) {
        self.left.notified().await;
    }
}

impl Worker {
    /// Leaves the worker to another reconcile before a long wait. The caller must bound by other means how many reconciles wait at
    /// once.
    pub fn leave(self) {
        let left = Arc::clone(&self.left);
        drop(self);
        left.notify_one();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_worker_that_is_left_is_free_and_told_of() {
        let workers = Workers::new(2);
        let (first, second) = (workers.take().unwrap(), workers.take().unwrap());
        assert!(workers.take().is_none());
        first.leave();
        workers.one_is_left().await;
        let third = workers.take().unwrap();
        assert!(workers.take().is_none());
        drop((second, third));
        assert!(workers.take().is_some() && workers.take().is_some());
    }
}
