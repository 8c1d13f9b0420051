//! The task that keeps one connection fresh. It decides nothing: [`ConnectionState`](super::connection_state) says what is due.

use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt as _;
use futures::future::{Fuse, FusedFuture as _, FutureExt as _};
use futures::stream::FuturesUnordered;
use tokio::time::Instant;
use tracing::{debug, info, warn};

use super::client::CloudClient;
use super::connection::Connection;
use super::connection_state::{LONGEST_WAIT, Moment, NewRead};
use super::list::{Listed, unreadable_among};
use super::subscriber::{Notification, NotifySubscriber};
use crate::cloud::CloudError;

/// How long versions and flavors are believed.
const CATALOG_FRESH: Duration = Duration::from_secs(3600);
/// How soon a catalog that failed is read again.
const CATALOG_RETRY: Duration = Duration::from_secs(300);
/// How long the first list waits for the catalog, so that a status need not be written twice.
const CATALOG_PATIENCE: Duration = Duration::from_secs(2);

/// Reads over one connection.
pub(super) struct Poller {
    pub(super) connection: Arc<Connection>,
    pub(super) notify: NotifySubscriber,
}

impl Poller {
    /// Keeps the connection fresh until the task is dropped. Neither a list, nor a single read, nor the catalog waits for another
    /// of them.
    pub(super) async fn run(self) {
        self.wait_for_start().await;
        let mut catalog_due = Instant::now() + self.read_first_catalog().await;
        let mut reads = FuturesUnordered::new();
        let (list, catalog) = (Fuse::terminated(), Fuse::terminated());
        tokio::pin!(list, catalog);
        loop {
            let now = Moment::now();
            let mut until = now.instant + LONGEST_WAIT;
            if list.is_terminated() {
                let due = self.connection.lock().next_list();
                if due <= now.instant {
                    list.set(self.list().fuse());
                } else {
                    until = until.min(due);
                }
            }
            let read = self.connection.lock().next_read(now);
            match read {
                Ok(read) => {
                    reads.push(self.read(read));
                    continue;
                }
                Err(at) => until = until.min(at),
            }
            if catalog.is_terminated() && self.connection.lock().is_healthy() {
                if catalog_due <= now.instant {
                    catalog.set(self.read_catalog(self.connection.client()).fuse());
                } else {
                    until = until.min(catalog_due);
                }
            }
            tokio::select! {
                () = &mut list, if !list.is_terminated() => {}
                Some(()) = reads.next(), if !reads.is_empty() => {}
                wait = &mut catalog, if !catalog.is_terminated() => catalog_due = Instant::now() + wait,
                () = self.connection.changed.notified() => {}
                () = tokio::time::sleep_until(until) => {}
            }
        }
    }

    /// Waits until the first list is due.
    async fn wait_for_start(&self) {
        loop {
            let due = self.connection.lock().first_list_due();
            if due <= Instant::now() {
                return;
            }
            tokio::select! {
                () = self.connection.changed.notified() => {}
                () = tokio::time::sleep_until(due) => {}
            }
        }
    }

    async fn list(&self) {
        let started = self.connection.lock().begin_list(Moment::now());
        let client = self.client(started.with_retries);
        // Each cluster is compared while the list is read, so that one that did not change is never held twice.
        let outcome = client.list(&|row| self.connection.lock().recognise(row)).await;
        self.log_list(outcome.as_deref());
        let notifications = self.connection.lock().end_list(started, outcome, Moment::now());
        self.notify(notifications);
    }

    /// Logs how a list ended; unreadable entries only when their number changes, for they may stay unreadable.
    fn log_list(&self, outcome: Result<&[Listed], &CloudError>) {
        let connection = self.connection.label();
        let clusters = match outcome {
            Ok(clusters) => clusters,
            Err(error) => return warn!(connection, %error, "the list failed"),
        };
        let (unreadable, first) = unreadable_among(clusters);
        let has_changed = self.connection.lock().note_unreadable(unreadable);
        match first {
            _ if !has_changed => {}
            Some(error) => warn!(connection, unreadable, %error, "entries of the list cannot be read"),
            None => info!(connection, "all entries of the list can be read again"),
        }
        debug!(connection, clusters = clusters.len(), unreadable, "listed");
    }

    async fn read(&self, read: NewRead) {
        let outcome = self.client(read.with_retries).read(&read.id).await;
        let notifications = self.connection.lock().end_read(read, outcome, Moment::now());
        self.notify(notifications);
    }

    /// Reads the catalog before the first list, if that takes only a moment. Returns how long to wait until the next time.
    async fn read_first_catalog(&self) -> Duration {
        let client = self.client(false);
        let read = tokio::time::timeout(CATALOG_PATIENCE, self.read_catalog(&client)).await;
        read.unwrap_or(CATALOG_PATIENCE)
    }

    /// Reads versions and flavors. Returns how long to wait until the next time.
    async fn read_catalog(&self, client: &CloudClient) -> Duration {
        let (catalog, is_whole) = client.catalog().await;
        self.connection.lock().offered(catalog);
        if is_whole { CATALOG_FRESH } else { CATALOG_RETRY }
    }

    fn client(&self, with_retries: bool) -> CloudClient {
        let client = self.connection.client();
        if with_retries { client.clone() } else { client.without_retries() }
    }

    fn notify(&self, notifications: Vec<Notification>) {
        for (subscriber, urgency) in notifications {
            (self.notify)(&subscriber, urgency);
        }
    }
}
