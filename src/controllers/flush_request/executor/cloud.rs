//! The calls of the cloud: the list, and the one send of an attempt.

use std::time::Duration;

use jiff::Timestamp;
use tracing::info;

use super::super::claim::FlushUnit;
use super::super::effect::SEND_WITHIN;
use super::super::facts::{ObservedCaches, TargetCache};
use super::super::messages;
use super::super::outcome::{NotSent, SendOutcome, shortened};
use super::super::session::Session;
use super::super::slots::SlotSubject;
use super::Executor;
use crate::api::Reason;
use crate::cloud::{ErrorKind, Flush, ObservedCache};
use crate::controllers::problem::Problem;
use crate::controllers::subscription;
use crate::object_key::ObjectKey;

/// The longest that a read of the list may take, tries and waits included: a reconcile that sends afterwards has to end before its
/// own deadline.
const READ_WITHIN: Duration = Duration::from_secs(45);

impl Executor {
    /// Reads the cloud's list when it is the request's turn. From then on the request waits outside of the workers.
    pub(super) async fn ask_cloud(&mut self, target: &TargetCache) -> ObservedCaches {
        if !self.has_slot(target) {
            return ObservedCaches::Queued;
        }
        if let Some(worker) = self.worker.take() {
            worker.leave();
        }
        tokio::select! {
            read = tokio::time::timeout(READ_WITHIN, self.read_caches(target)) => {
                read.unwrap_or_else(|_| ObservedCaches::Failed {
                    reason: Reason::CloudUnavailable,
                    message: messages::list_timed_out(READ_WITHIN),
                })
            }
            // Another process asks instead.
            () = self.ctx.stopping.cancelled() => ObservedCaches::Queued,
        }
    }

    /// Takes a slot for this reconcile, if it has none yet. Without one the request keeps its place in the queue.
    fn has_slot(&mut self, target: &TargetCache) -> bool {
        let resolved = self.reference.as_ref().and_then(|reference| reference.spec.target().ok());
        if self.slot.is_none()
            && let Some(secret) = resolved.map(|target| target.secret().to_owned())
        {
            let subject = SlotSubject { site: target.site.as_str(), secret, instance_no: target.instance_no.clone() };
            self.slot = self.ctx.slots.take(&ObjectKey::of(&self.object.metadata), subject);
            self.queued = self.slot.is_none();
        }
        self.slot.is_some()
    }

    async fn read_caches(&self, target: &TargetCache) -> ObservedCaches {
        let client = match self.client(false).await {
            Ok((client, _)) => client,
            Err(problem) => return failed(&problem),
        };
        let mut found = client.find(&target.instance_no).await;
        if matches!(&found, Err(error) if error.kind == ErrorKind::CredentialsRejected) {
            // The Secret may have changed meanwhile.
            if let Ok((client, _)) = self.client(true).await {
                found = client.find(&target.instance_no).await;
            }
        }
        match found {
            Ok(caches) => ObservedCaches::Caches(caches.into_iter().map(bounded).collect()),
            Err(error) => failed(&Problem::from(&error)),
        }
    }

    /// The flush of the reference's connection, and the connection's label.
    async fn client(&self, anew: bool) -> Result<(Box<dyn Flush>, String), Problem> {
        let gone = || Problem::new(Reason::ReferenceNotFound, "the reference is gone");
        let reference = self.reference.as_ref().ok_or_else(gone)?;
        let (client, connection) = subscription::client(&self.ctx, reference, anew).await?;
        let no_flush = || Problem::new(Reason::NotSupported, "the reference is not one of NCP");
        Ok((client.flush().ok_or_else(no_flush)?, connection))
    }

    /// The one send of an attempt.
    pub(super) async fn send(&self, session: &Session, unit: &FlushUnit, attempt_id: &str) -> SendOutcome {
        let (client, connection) = match self.client(false).await {
            Ok(found) => found,
            Err(problem) => return no_client(problem),
        };
        let time_left = self.attempt_began.map(|began| SEND_WITHIN.saturating_sub(began.elapsed())).unwrap_or_default();
        let permit = tokio::select! {
            permit = self.ctx.permits.take(&connection, time_left) => permit,
            () = self.ctx.stopping.cancelled() => None,
        };
        if let Some(why) = self.stands_in_the_way(session) {
            return SendOutcome::NotSent(why);
        }
        let Some(_permit) = permit else { return SendOutcome::NotSent(NotSent::Queued) };
        // Last look before the request leaves: a process that stood still in between must not send.
        if self.attempt_began.is_none_or(|began| began.elapsed() > SEND_WITHIN) {
            return SendOutcome::NotSent(NotSent::Paused);
        }
        let request_id = session.object.request_id();
        info!(instance = %unit.instance_no, attempt = attempt_id, request = %request_id, "sending the flush");
        let outcome = SendOutcome::from(client.send(&unit.instance_no).await);
        info!(instance = %unit.instance_no, attempt = attempt_id, outcome = outcome.reason().as_str(), "the flush returned");
        outcome
    }

    /// What has come in the way of the send while it waited for a permit.
    fn stands_in_the_way(&self, session: &Session) -> Option<NotSent> {
        // A process that is about to end could be cut off before the answer; another one sends instead.
        if self.ctx.stopping.is_cancelled() {
            return Some(NotSent::Stopping);
        }
        // It may have passed while other flushes of the connection went first.
        (Timestamp::now() >= session.object.deadline().at).then_some(NotSent::DeadlinePassed)
    }
}

fn failed(problem: &Problem) -> ObservedCaches {
    ObservedCaches::Failed { reason: problem.reason, message: problem.message.clone() }
}

/// A cache with texts that a status can keep.
fn bounded(cache: ObservedCache) -> ObservedCache {
    ObservedCache { name: cache.name.as_deref().map(shortened), state: shortened(&cache.state), ..cache }
}

/// There was no client to send with, so nothing was sent. Another attempt follows, unless the credential is the problem.
fn no_client(problem: Problem) -> SendOutcome {
    let kind = match problem.reason {
        Reason::CredentialsNotFound | Reason::CredentialsRejected => ErrorKind::CredentialsRejected,
        _ => ErrorKind::Unavailable,
    };
    SendOutcome::NoClient { kind, message: problem.message }
}
