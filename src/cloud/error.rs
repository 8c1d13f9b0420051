//! What can go wrong in a talk with a cloud, in terms that a controller can act on and a person can read.

use std::fmt;
use std::time::Duration;

use secrecy::{ExposeSecret as _, SecretString};

use super::credential::CredentialError;
use super::endpoint::UnknownEndpoint;
use super::{Provider, words};

/// Longest text that an error takes over from an answer, in characters.
const MAX_MESSAGE_CHARS: usize = 300;
/// Longest code or trace ID that an error takes over from an answer, in characters.
const MAX_WORD_CHARS: usize = 64;
/// Shorter "secrets" are not searched for: replacing every `a` of a message helps nobody.
const MIN_REDACTED_LEN: usize = 4;

/// What kind of failure it is; decides who has to act (the key's owner, the cloud, nobody yet).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ErrorKind {
    /// The cloud does not accept the key, secret, signature or token.
    CredentialsRejected,
    /// The credential is good, but may not do this.
    PermissionDenied,
    /// The one object that was asked for does not exist. Never the result of a list.
    NotFound,
    /// Too many requests; see `retry_after`.
    RateLimited,
    /// Another operation runs on the object: the same request can work later.
    Busy,
    /// The cloud refuses the request as it is; sending it again does not help.
    BadRequest,
    /// No connection, a timeout, a reset, or an HTTP 5xx.
    Unavailable,
    /// An answer that is not what the API documents: wrong types, HTML, a redirect, too large.
    UnexpectedResponse,
}

/// Whether a mutation may have taken effect although the call failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Executed {
    /// Proven: the cloud did not act on the request.
    No,
    /// It may have acted; the request must not be sent again by itself.
    Unknown,
}

/// How far a request came when the transport failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum TransportStage {
    /// It never left the process: refused by a limit, or it could not be built.
    NotSent,
    /// No connection came to be (DNS, TCP, TLS, proxy), so not one byte of the request was sent.
    Connect,
    /// A connection existed: the request may have arrived.
    Exchange,
}

impl TransportStage {
    /// Whether a mutation may have taken effect when its request failed at this stage.
    #[must_use]
    pub const fn executed(self) -> Executed {
        match self {
            Self::NotSent | Self::Connect => Executed::No,
            Self::Exchange => Executed::Unknown,
        }
    }
}

/// A failed cloud operation. Its text never holds a secret of the connection: [`Failure::into_error`] removes them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CloudError {
    /// The cloud that was asked.
    pub provider: Provider,
    /// The API's name of the operation, e.g. `flushCloudDBInstance`.
    pub operation: &'static str,
    /// What kind of failure it is.
    pub kind: ErrorKind,
    /// HTTP status of the answer; none without an answer.
    pub http_status: Option<u16>,
    /// The cloud's own error code, unchanged.
    pub code: Option<String>,
    /// What happened, one line of at most 300 characters without control characters.
    pub message: String,
    /// The cloud's identifier of the request, for its support.
    pub trace_id: Option<String>,
    /// How long the cloud asked to wait, capped.
    pub retry_after: Option<Duration>,
    /// Whether a mutation may have taken effect. Always [`Executed::No`] for reads.
    pub executed: Executed,
}

impl std::error::Error for CloudError {}

impl CloudError {
    /// An answer to a read of which a part cannot be used, in words that hold nothing of the answer.
    pub(crate) fn unexpected(provider: Provider, operation: &'static str, problem: &str) -> Self {
        Failure::unexpected(problem).executed(Executed::No).into_error(provider, operation, &[])
    }
}

impl fmt::Display for CloudError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let provider = self.provider;
        match self.kind {
            ErrorKind::CredentialsRejected => write!(f, "{provider} rejected the credentials")?,
            ErrorKind::PermissionDenied => write!(f, "{provider} does not permit this credential the operation")?,
            ErrorKind::NotFound => write!(f, "{provider} does not know the object")?,
            ErrorKind::RateLimited => write!(f, "{provider} limits the rate of requests")?,
            ErrorKind::Busy => write!(f, "{provider} is busy with another operation on the object")?,
            ErrorKind::BadRequest => write!(f, "{provider} refused the request")?,
            ErrorKind::Unavailable => write!(f, "{provider} could not be reached or failed")?,
            ErrorKind::UnexpectedResponse => write!(f, "{provider} gave an answer that cannot be understood")?,
        }
        write!(f, " ({}", self.operation)?;
        if let Some(status) = self.http_status {
            write!(f, ", HTTP {status}")?;
        }
        if let Some(code) = &self.code {
            write!(f, ", code {code}")?;
        }
        if let Some(trace_id) = &self.trace_id {
            write!(f, ", trace {trace_id}")?;
        }
        write!(f, ")")?;
        if !self.message.is_empty() {
            write!(f, ": {}", self.message)?;
        }
        if let Some(wait) = self.retry_after {
            write!(f, "; next try in {} s", wait.as_secs().max(1))?;
        }
        Ok(())
    }
}

/// Why a connection could not be set up. Nothing was sent.
#[derive(Clone, Debug, thiserror::Error, PartialEq, Eq)]
pub enum SetupError {
    /// The region or site has no configured endpoint.
    #[error(transparent)]
    Endpoint(#[from] UnknownEndpoint),
    /// The credential cannot be used as it is.
    #[error(transparent)]
    Credential(#[from] CredentialError),
    /// A setting makes no sense.
    #[error("{0}")]
    Settings(String),
    /// The HTTP client could not be built, e.g. because no TLS roots were found.
    #[error("the HTTP client cannot be set up: {0}")]
    Http(String),
}

/// A failure before it is known whose it is, with text as it came. Becomes a [`CloudError`] in one place, where secrets
/// are removed before anything is shortened.
#[derive(Clone, Debug)]
pub(crate) struct Failure {
    pub(crate) kind: ErrorKind,
    pub(crate) http_status: Option<u16>,
    pub(crate) code: Option<String>,
    pub(crate) message: String,
    pub(crate) trace_id: Option<String>,
    pub(crate) retry_after: Option<Duration>,
    pub(crate) executed: Executed,
}

impl Failure {
    /// A failure of which nothing is known but its kind; whether it was executed is unknown until someone proves more.
    pub(crate) fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Self {
            kind,
            http_status: None,
            code: None,
            message: message.into(),
            trace_id: None,
            retry_after: None,
            executed: Executed::Unknown,
        }
    }

    /// An answer without the documented shape.
    pub(crate) fn unexpected(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::UnexpectedResponse, message)
    }

    /// A request that was refused in this process.
    pub(crate) fn not_sent(kind: ErrorKind, message: impl Into<String>) -> Self {
        Self::new(kind, message).executed(TransportStage::NotSent.executed())
    }

    pub(crate) fn status(mut self, status: u16) -> Self {
        self.http_status = Some(status);
        self
    }

    pub(crate) fn code(mut self, code: Option<String>) -> Self {
        self.code = code;
        self
    }

    pub(crate) fn trace(mut self, trace_id: Option<String>) -> Self {
        self.trace_id = trace_id;
        self
    }

    pub(crate) fn retry_after(mut self, wait: Option<Duration>) -> Self {
        self.retry_after = wait;
        self
    }

    pub(crate) fn executed(mut self, executed: Executed) -> Self {
        self.executed = executed;
        self
    }

    /// Whether the same read may work a moment later.
    pub(crate) fn is_transient(&self) -> bool {
        matches!(self.kind, ErrorKind::Unavailable | ErrorKind::RateLimited)
    }

    /// The public error: `secrets` are replaced wherever an answer echoed them, then texts are made one short line.
    pub(crate) fn into_error(
        self,
        provider: Provider,
        operation: &'static str,
        secrets: &[&SecretString],
    ) -> CloudError {
        let word = |text: String| {
            let clean = words::one_line(&redact(text, secrets), MAX_WORD_CHARS);
            (!clean.is_empty()).then_some(clean)
        };
        CloudError {
            provider,
            operation,
            kind: self.kind,
            http_status: self.http_status,
            code: self.code.and_then(word),
            message: words::one_line(&redact(self.message, secrets), MAX_MESSAGE_CHARS),
            trace_id: self.trace_id.and_then(word),
            retry_after: self.retry_after,
            executed: self.executed,
        }
    }
}

fn redact(mut text: String, secrets: &[&SecretString]) -> String {
    for secret in secrets.iter().map(|secret| secret.expose_secret()) {
        if secret.len() >= MIN_REDACTED_LEN && text.contains(secret) {
            text = text.replace(secret, "[redacted]");
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_text_is_one_sentence_with_what_a_person_needs() {
        let failure = Failure::new(ErrorKind::CredentialsRejected, "check NCLOUD_SECRET_KEY;\nit says: \u{1b}[31mno")
            .status(401)
            .code(Some("200".to_owned()))
            .trace(Some("7f3a".to_owned()));
        assert_eq!(
            failure.into_error(Provider::Ncp, "getCloudDBInstanceList", &[]).to_string(),
            "NCP rejected the credentials (getCloudDBInstanceList, HTTP 401, code 200, trace 7f3a): \
             check NCLOUD_SECRET_KEY; it says: [31mno"
        );
        let failure = Failure::new(ErrorKind::RateLimited, "").retry_after(Some(Duration::from_millis(20)));
        assert_eq!(
            failure.into_error(Provider::KakaoCloud, "listClusters", &[]).to_string(),
            "KakaoCloud limits the rate of requests (listClusters); next try in 1 s"
        );
    }

    #[test]
    fn echoed_secrets_are_removed_before_anything_is_cut() {
        let secret = SecretString::from("hunter22hunter22");
        // The secret lies across the place where the message is cut.
        let message = format!("{} {}", "x".repeat(MAX_MESSAGE_CHARS - 8), "hunter22hunter22");
        let error = Failure::unexpected(message)
            .code(Some("E-hunter22hunter22".to_owned()))
            .trace(Some("hunter22hunter22".to_owned()))
            .into_error(Provider::Ncp, "flushCloudDBInstance", &[&secret]);
        assert!(!format!("{error} {error:?}").contains("hunter"), "{error:?}");
        assert!(error.message.chars().count() <= MAX_MESSAGE_CHARS);
        assert_eq!(error.code.as_deref(), Some("E-[redacted]"));
    }

    #[test]
    fn only_an_exchange_can_have_taken_effect() {
        assert_eq!(TransportStage::NotSent.executed(), Executed::No);
        assert_eq!(TransportStage::Connect.executed(), Executed::No);
        assert_eq!(TransportStage::Exchange.executed(), Executed::Unknown);
    }
}
