//! What the one send of an attempt came to, and what follows from it.

use std::time::Duration;

use crate::api::flush_request::FlushResponse;

/// The return code of success, of the flush as of every NCP operation.
const SUCCESS: &str = "0";

/// Kind of a failed call; the words of the cloud layer's errors.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum FailureKind {
    /// The cloud does not accept the key or the signature.
    CredentialsRejected,
    /// The credential may not do this.
    PermissionDenied,
    /// The instance does not exist.
    NotFound,
    /// Too many requests.
    RateLimited,
    /// Another operation runs on the instance.
    Busy,
    /// The cloud refuses the request as it is.
    BadRequest,
    /// No connection, a timeout, a reset, or an HTTP 5xx.
    Unavailable,
    /// An answer that is not what the API documents.
    UnexpectedResponse,
}

impl FailureKind {
    /// The reason of conditions and events.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::CredentialsRejected => "CredentialsRejected",
            Self::PermissionDenied => "PermissionDenied",
            Self::NotFound => "InstanceNotFound",
            Self::RateLimited => "RateLimited",
            Self::Busy => "TargetBusy",
            Self::BadRequest => "BadRequest",
            Self::Unavailable => "CloudUnavailable",
            Self::UnexpectedResponse => "UnexpectedResponse",
        }
    }

    /// Whether the same flush may work a moment later, given that it was not executed.
    fn is_transient(self) -> bool {
        match self {
            Self::RateLimited | Self::Busy | Self::Unavailable => true,
            Self::CredentialsRejected
            | Self::PermissionDenied
            | Self::NotFound
            | Self::BadRequest
            | Self::UnexpectedResponse => false,
        }
    }
}

/// A flush that the cloud answered with a well-formed response.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct FlushReply {
    /// HTTP status.
    pub http_status: Option<u16>,
    /// The cloud's ID of the request.
    pub trace_id: Option<String>,
    /// `returnCode`; "0" is success.
    pub return_code: Option<String>,
    /// `returnMessage`.
    pub return_message: Option<String>,
    /// `totalRows`.
    pub total_rows: Option<i32>,
    /// State of the instance, if the answer lists it.
    pub state: Option<String>,
}

impl FlushReply {
    /// Whether the cloud accepted the flush.
    fn is_success(&self) -> bool {
        self.return_code.as_deref() == Some(SUCCESS)
    }
}

/// A flush that failed, in the cloud layer's terms.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct SendError {
    /// What kind of failure.
    pub kind: FailureKind,
    /// Whether the cloud may have acted on it nevertheless: false only if it is proven that it did not.
    pub maybe_executed: bool,
    /// HTTP status; none without an answer.
    pub http_status: Option<u16>,
    /// The cloud's error code.
    pub code: Option<String>,
    /// What happened, one line without secrets.
    pub message: String,
    /// The cloud's ID of the request.
    pub trace_id: Option<String>,
    /// How long the cloud asked to wait.
    pub retry_after: Option<Duration>,
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
    /// The reference leads to another instance now, or to none.
    ReferenceChanged,
    /// The claim could not be created or read.
    ClaimUnavailable(String),
    /// Another request was faster to claim; the sentence names it.
    ClaimedByAnother(String),
}

/// What the one send of an attempt came to.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum SendOutcome {
    /// Nothing left this process.
    NotSent(NotSent),
    /// The cloud answered.
    Replied(FlushReply),
    /// The cloud refused, or there is no answer to rely on.
    Failed(SendError),
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

impl SendOutcome {
    /// The outcome that stands from the moment a send begins until its answer is known.
    #[must_use]
    pub fn without_answer() -> Self {
        Self::Failed(SendError {
            kind: FailureKind::Unavailable,
            maybe_executed: true,
            http_status: None,
            code: None,
            message: "the call did not come back".to_owned(),
            trace_id: None,
            retry_after: None,
        })
    }

    /// What follows: success only for return code 0, another attempt or a refusal only with proof, else [`Consequence::Unknown`].
    #[must_use]
    pub fn consequence(&self) -> Consequence {
        match self {
            Self::NotSent(_) => Consequence::TryAgain(Duration::ZERO),
            Self::Replied(reply) if reply.is_success() => Consequence::Accepted,
            Self::Failed(error) if !error.maybe_executed && error.kind.is_transient() => {
                Consequence::TryAgain(error.retry_after.unwrap_or_default())
            }
            Self::Failed(error) if !error.maybe_executed => Consequence::Refused,
            Self::Replied(_) | Self::Failed(_) => Consequence::Unknown,
        }
    }

    /// The reason of conditions and events.
    #[must_use]
    pub fn reason(&self) -> &'static str {
        match self {
            Self::NotSent(NotSent::Paused) => "ProcessPaused",
            Self::NotSent(NotSent::Stopping) => "OperatorStopping",
            Self::NotSent(NotSent::Queued) => "Queued",
            Self::NotSent(NotSent::DeadlinePassed) => "DeadlinePassed",
            Self::NotSent(NotSent::Deleted) => "Deleted",
            Self::NotSent(NotSent::ReferenceChanged) => "ReferenceChanged",
            Self::NotSent(NotSent::ClaimUnavailable(_)) => "ClaimUnavailable",
            Self::NotSent(NotSent::ClaimedByAnother(_)) => "ClaimHeld",
            Self::Replied(reply) if reply.is_success() => "Accepted",
            Self::Replied(_) => "UnexpectedResponse",
            Self::Failed(error) => error.kind.as_str(),
        }
    }

    /// What goes to `status.response`; none if the cloud said nothing.
    #[must_use]
    pub fn response(&self) -> Option<FlushResponse> {
        let response = match self {
            Self::NotSent(_) => FlushResponse::default(),
            Self::Replied(reply) => FlushResponse {
                http_status: reply.http_status.map(i32::from),
                trace_id: reply.trace_id.clone(),
                return_code: reply.return_code.clone(),
                return_message: reply.return_message.clone(),
                total_rows: reply.total_rows,
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
