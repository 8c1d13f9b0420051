//! What the one send of an attempt came to, and what follows from it.

use std::time::Duration;

use crate::api::Reason;
use crate::api::flush_request::FlushResponse;
use crate::cloud::{CloudError, ErrorKind, Executed, FlushReceipt};

/// Characters of one text of the cloud that a status keeps. A status that grows too large cannot be written, and a verdict that
/// cannot be written is lost.
const MAX_TEXT_CHARS: usize = 300;

/// A text of the cloud, cut to the length that a status keeps.
pub(super) fn shortened(text: &str) -> String {
    text.chars().take(MAX_TEXT_CHARS).collect()
}

/// Why a process that was about to send did not.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum NotSent {
    /// The process stood still between its first write and the send.
    Paused,
    /// The process was told to stop.
    Stopping,
    /// Other flushes of the connection were under way, for longer than a send may wait.
    Queued,
    /// The deadline passed in between.
    DeadlinePassed,
    /// The request was deleted in between.
    Deleted,
    /// The reference leads to another cache now, or to none.
    ReferenceChanged,
    /// The claim could not be created or read.
    ClaimUnavailable(String),
    /// Another request was faster to claim; the sentence names it.
    ClaimedByAnother(String),
}

/// What the one send of an attempt came to.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum SendOutcome {
    /// The process decided not to send.
    NotSent(NotSent),
    /// There was no client of the cloud to send with.
    NoClient {
        /// What kind of problem that is.
        kind: ErrorKind,
        /// The problem, as a sentence.
        message: String,
    },
    /// The send began, and its answer is not known.
    NoAnswer,
    /// The cloud answered in the documented form.
    Answered(FlushReceipt),
    /// The call failed; the error says whether the flush may have been executed.
    Failed(CloudError),
}

/// What follows from a [`SendOutcome`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Consequence {
    /// The cloud accepted it.
    Accepted,
    /// Proven not executed, worth another attempt after at least this time.
    TryAgain(Duration),
    /// Proven not executed, and another attempt would end the same way.
    Refused,
    /// It may have been executed.
    Unknown,
}

impl From<Result<FlushReceipt, CloudError>> for SendOutcome {
    fn from(result: Result<FlushReceipt, CloudError>) -> Self {
        let short = |text: Option<String>| text.as_deref().map(shortened);
        match result {
            Ok(receipt) => Self::Answered(FlushReceipt {
                trace_id: short(receipt.trace_id),
                return_code: short(receipt.return_code),
                return_message: short(receipt.return_message),
                state: short(receipt.state),
                ..receipt
            }),
            Err(error) => Self::Failed(CloudError {
                code: short(error.code),
                message: shortened(&error.message),
                trace_id: short(error.trace_id),
                ..error
            }),
        }
    }
}

impl SendOutcome {
    /// What follows: success only for a receipt that says so, another attempt or a refusal only with proof, else
    /// [`Consequence::Unknown`].
    #[must_use]
    pub fn consequence(&self) -> Consequence {
        match self {
            Self::NotSent(_) => Consequence::TryAgain(Duration::ZERO),
            Self::NoClient { kind, .. } => not_executed(*kind, None),
            Self::Answered(receipt) if receipt.is_accepted() => Consequence::Accepted,
            Self::Failed(error) if error.executed == Executed::No => not_executed(error.kind, error.retry_after),
            Self::NoAnswer | Self::Answered(_) | Self::Failed(_) => Consequence::Unknown,
        }
    }

    /// The reason of conditions and events.
    #[must_use]
    pub fn reason(&self) -> Reason {
        match self {
            Self::NotSent(NotSent::Paused) => Reason::ProcessPaused,
            Self::NotSent(NotSent::Stopping) => Reason::OperatorStopping,
            Self::NotSent(NotSent::Queued) => Reason::Queued,
            Self::NotSent(NotSent::DeadlinePassed) => Reason::DeadlinePassed,
            Self::NotSent(NotSent::Deleted) => Reason::Deleted,
            Self::NotSent(NotSent::ReferenceChanged) => Reason::ReferenceChanged,
            Self::NotSent(NotSent::ClaimUnavailable(_)) => Reason::ClaimUnavailable,
            Self::NotSent(NotSent::ClaimedByAnother(_)) => Reason::ClaimHeld,
            Self::Answered(receipt) if receipt.is_accepted() => Reason::Accepted,
            Self::Answered(_) => Reason::UnexpectedResponse,
            Self::NoClient { kind, .. } => reason_of(*kind),
            Self::NoAnswer => reason_of(ErrorKind::Unavailable),
            Self::Failed(error) => reason_of(error.kind),
        }
    }

    /// What goes to `status.response`; none if the cloud said nothing.
    #[must_use]
    pub fn response(&self) -> Option<FlushResponse> {
        let response = match self {
            Self::NotSent(_) | Self::NoClient { .. } | Self::NoAnswer => FlushResponse::default(),
            Self::Answered(receipt) => FlushResponse {
                http_status: receipt.http_status.map(i32::from),
                trace_id: receipt.trace_id.clone(),
                return_code: receipt.return_code.clone(),
                return_message: receipt.return_message.clone(),
                total_rows: receipt.total_rows,
            },
            Self::Failed(error) => FlushResponse {
                http_status: error.http_status.map(i32::from),
                trace_id: error.trace_id.clone(),
                return_code: error.code.clone(),
                return_message: error.http_status.is_some().then(|| error.message.clone()),
                total_rows: None,
            },
        };
        (response != FlushResponse::default()).then_some(response)
    }
}

/// What follows from a failure that is proven not to have executed the flush: the same flush may work a moment later, or never.
fn not_executed(kind: ErrorKind, retry_after: Option<Duration>) -> Consequence {
    match kind {
        ErrorKind::RateLimited | ErrorKind::Busy | ErrorKind::Unavailable => {
            Consequence::TryAgain(retry_after.unwrap_or_default())
        }
        ErrorKind::CredentialsRejected
        | ErrorKind::PermissionDenied
        | ErrorKind::NotFound
        | ErrorKind::BadRequest
        | ErrorKind::UnexpectedResponse => Consequence::Refused,
    }
}

/// The reason of a failed flush.
pub(super) fn reason_of(kind: ErrorKind) -> Reason {
    match kind {
        ErrorKind::CredentialsRejected => Reason::CredentialsRejected,
        ErrorKind::PermissionDenied => Reason::PermissionDenied,
        ErrorKind::NotFound => Reason::InstanceNotFound,
        ErrorKind::RateLimited => Reason::RateLimited,
        ErrorKind::Busy => Reason::TargetBusy,
        ErrorKind::BadRequest => Reason::BadRequest,
        ErrorKind::Unavailable => Reason::CloudUnavailable,
        ErrorKind::UnexpectedResponse => Reason::UnexpectedResponse,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::Provider;

    #[test]
    fn no_text_of_the_cloud_makes_a_status_too_large() {
        let long = "가".repeat(100_000);
        let receipt = FlushReceipt {
            http_status: Some(200),
            trace_id: Some(long.clone()),
            return_code: Some(long.clone()),
            return_message: Some(long.clone()),
            total_rows: Some(i32::MAX),
            state: Some(long.clone()),
        };
        let stored = serde_json::to_string(&SendOutcome::from(Ok(receipt)).response()).unwrap();
        assert!(stored.len() < 4096, "{} bytes", stored.len());
        let error = CloudError {
            http_status: Some(400),
            code: Some(long.clone()),
            message: long.clone(),
            trace_id: Some(long),
            ..CloudError::sample(Provider::Ncp, "flushCloudDBInstance", ErrorKind::Busy)
        };
        let stored = serde_json::to_string(&SendOutcome::from(Err(error)).response()).unwrap();
        assert!(stored.len() < 4096, "{} bytes", stored.len());
    }
}
