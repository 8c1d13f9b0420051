//! The calls of the cloud: the list, and the one send of an attempt.

use std::time::Duration;

use jiff::Timestamp;
use tracing::info;

use super::super::outcome::{FailureKind, FlushReply, NotSent, SendError, SendOutcome};
use super::super::plan::SEND_WITHIN;
use super::super::session::{CloudView, Instance, Session, Target};
use super::super::slots::Subject;
use super::{Executor, sentence};
use crate::api::Reason;
use crate::cloud::ncp::NcpClient;
use crate::cloud::{CloudError, ErrorKind, Executed, ncp};
use crate::controllers::cluster_ref::target;
use crate::controllers::problem::Problem;
use crate::inventory::Source;

/// The longest that a read of the list may take, tries and waits included: a reconcile that sends afterwards has to end before its
/// own deadline.
const READ_WITHIN: Duration = Duration::from_secs(45);

/// Characters of one text of the cloud that the status keeps.
const MAX_TEXT_CHARS: usize = 300;

impl Executor {
    /// Reads the cloud's list when it is the request's turn. From then on the request waits outside of the workers.
    pub(super) async fn ask_cloud(&mut self, session: &Session, target: &Target) -> CloudView {
        if self.slot.is_none() {
            let Some(ncp) = self.reference.as_ref().and_then(|reference| reference.spec.ncp.as_ref()) else {
                return CloudView::Queued;
            };
            let subject = Subject {
                site: target.site.as_str(),
                secret: ncp.credentials_secret_ref.name.clone(),
                instance_no: target.instance_no.clone(),
            };
            self.slot = self.ctx.flush_slots.take(&session.object.namespace, &session.object.name, subject);
            self.queued = self.slot.is_none();
        }
        if self.queued {
            return CloudView::Queued;
        }
        if let Some(worker) = self.worker.take() {
            worker.leave();
        }
        tokio::select! {
            seen = tokio::time::timeout(READ_WITHIN, self.read_cloud(target)) => seen.unwrap_or_else(|_| CloudView::Failed {
                reason: "CloudUnavailable",
                message: format!("no complete answer came within {} s.", READ_WITHIN.as_secs()),
            }),
            // Another process asks instead.
            () = self.ctx.stopping.cancelled() => CloudView::Queued,
        }
    }

    async fn read_cloud(&self, target: &Target) -> CloudView {
        let client = match self.client(false).await {
            Ok((client, _)) => client,
            Err(problem) => {
                return CloudView::Failed { reason: problem.reason.as_str(), message: sentence(&problem.message) };
            }
        };
        let mut seen = client.instance(&target.instance_no).await;
        if matches!(&seen, Err(error) if error.kind == ErrorKind::CredentialsRejected) {
            // The Secret may have changed meanwhile.
            if let Ok((client, _)) = self.client(true).await {
                seen = client.instance(&target.instance_no).await;
            }
        }
        match seen {
            Ok(found) => CloudView::Instances(found.into_iter().map(|instance| entry(&instance, target)).collect()),
            Err(error) => {
                let problem = Problem::from(&error);
                CloudView::Failed { reason: problem.reason.as_str(), message: sentence(&problem.message) }
            }
        }
    }

    /// The client of the reference's connection, and the connection's label.
    async fn client(&self, anew: bool) -> Result<(NcpClient, String), Problem> {
        let gone = || Problem::new(Reason::ReferenceNotFound, "the reference is gone");
        let reference = self.reference.as_ref().ok_or_else(gone)?;
        match target::client(&self.ctx, reference, anew).await? {
            (Source::Ncp(client), connection) => Ok((client, connection)),
            (Source::Kakao(_), _) => Err(Problem::new(Reason::NotSupported, "the reference is not one of NCP")),
        }
    }

    /// The one send of an attempt.
    pub(super) async fn send(&self, session: &Session, target: &Target, attempt_id: &str) -> SendOutcome {
        let (client, connection) = match self.client(false).await {
            Ok(found) => found,
            Err(problem) => return not_sent_for(&problem),
        };
        let time_left = self.attempt_began.map(|began| SEND_WITHIN.saturating_sub(began.elapsed())).unwrap_or_default();
        let turn = tokio::select! {
            turn = self.ctx.flush_sends.take(&connection, time_left) => turn,
            () = self.ctx.stopping.cancelled() => None,
        };
        // A process that is about to end could be cut off before the answer; another one sends instead.
        if self.ctx.stopping.is_cancelled() {
            return SendOutcome::NotSent(NotSent::Stopping);
        }
        // It may have passed while other flushes of the connection went first.
        if Timestamp::now() >= session.object.deadline().at {
            return SendOutcome::NotSent(NotSent::DeadlinePassed);
        }
        let Some(_turn) = turn else { return SendOutcome::NotSent(NotSent::Queued) };
        // Last look before the request leaves: a process that stood still in between must not send.
        if self.attempt_began.is_none_or(|began| began.elapsed() > SEND_WITHIN) {
            return SendOutcome::NotSent(NotSent::Paused);
        }
        info!(instance = %target.instance_no, attempt = attempt_id, request = %session.object.request_id(), "sending the flush");
        let outcome = match client.flush(&target.instance_no).await {
            Ok(reply) => SendOutcome::Replied(of_reply(&reply, target)),
            Err(error) => SendOutcome::Failed(of_error(&error)),
        };
        info!(instance = %target.instance_no, attempt = attempt_id, outcome = outcome.reason(), "the flush came back");
        outcome
    }
}

fn entry(instance: &ncp::Instance, target: &Target) -> Instance {
    Instance {
        instance_no: instance.no.clone().unwrap_or_else(|| target.instance_no.clone()),
        service_name: instance.service_name.as_deref().map(short),
        state: instance.status.as_deref().map(short).unwrap_or_default(),
    }
}

/// There was no client to send with, so nothing was sent.
fn not_sent_for(problem: &Problem) -> SendOutcome {
    let kind = match problem.reason {
        Reason::CredentialsNotFound | Reason::CredentialsRejected => FailureKind::CredentialsRejected,
        _ => FailureKind::Unavailable,
    };
    SendOutcome::Failed(SendError {
        kind,
        maybe_executed: false,
        http_status: None,
        code: None,
        message: problem.message.clone(),
        trace_id: None,
        retry_after: None,
    })
}

/// A text of the cloud that goes into the status, cut to a length at which the API server still takes the whole: a status that
/// cannot be written is a verdict that is lost.
fn short(text: &str) -> String {
    text.chars().take(MAX_TEXT_CHARS).collect()
}

fn of_reply(reply: &ncp::FlushReply, target: &Target) -> FlushReply {
    let is_it = |instance: &&ncp::Instance| instance.no.as_ref() == Some(&target.instance_no);
    FlushReply {
        http_status: Some(reply.http_status),
        state: reply.instances.iter().find(is_it).and_then(|instance| instance.status.as_deref().map(short)),
        trace_id: reply.trace_id.as_deref().map(short),
        return_code: Some(short(&reply.return_code)),
        return_message: reply.return_message.as_deref().map(short),
        total_rows: reply.total_rows.and_then(|rows| i32::try_from(rows).ok()),
    }
}

fn of_error(error: &CloudError) -> SendError {
    let kind = match error.kind {
        ErrorKind::CredentialsRejected => FailureKind::CredentialsRejected,
        ErrorKind::PermissionDenied => FailureKind::PermissionDenied,
        ErrorKind::NotFound => FailureKind::NotFound,
        ErrorKind::RateLimited => FailureKind::RateLimited,
        ErrorKind::Busy => FailureKind::Busy,
        ErrorKind::BadRequest => FailureKind::BadRequest,
        ErrorKind::Unavailable => FailureKind::Unavailable,
        ErrorKind::UnexpectedResponse => FailureKind::UnexpectedResponse,
    };
    SendError {
        kind,
        maybe_executed: error.executed == Executed::Unknown,
        http_status: error.http_status,
        code: error.code.as_deref().map(short),
        message: short(&error.message),
        trace_id: error.trace_id.as_deref().map(short),
        retry_after: error.retry_after,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::cluster_ref::NcpSite;

    #[test]
    fn no_text_of_the_cloud_makes_a_status_too_large() {
        let target = Target { site: NcpSite::Public, instance_no: "1".to_owned(), service_name: None };
        let long = "가".repeat(100_000);
        let reply = ncp::FlushReply {
            http_status: 200,
            trace_id: Some(long.clone()),
            return_code: long.clone(),
            return_message: Some(long.clone()),
            total_rows: Some(i64::MAX),
            instances: Vec::new(),
        };
        let stored = serde_json::to_string(&SendOutcome::Replied(of_reply(&reply, &target)).response()).unwrap();
        assert!(stored.len() < 4096, "{} bytes", stored.len());
        let error = CloudError {
            provider: crate::cloud::Provider::Ncp,
            operation: "flushCloudDBInstance",
            kind: ErrorKind::Busy,
            executed: Executed::No,
            http_status: Some(400),
            code: Some(long.clone()),
            message: long.clone(),
            trace_id: Some(long),
            retry_after: None,
        };
        let stored = serde_json::to_string(&SendOutcome::Failed(of_error(&error)).response()).unwrap();
        assert!(stored.len() < 4096, "{} bytes", stored.len());
    }
}
