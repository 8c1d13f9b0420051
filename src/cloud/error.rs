//! What can go wrong in a talk with a cloud, in terms that a controller can act on and a person can read.

use std::borrow::Cow;
use std::fmt;
use std::time::Duration;

use secrecy::SecretString;

use super::credential::CredentialError;
use super::endpoint::UnknownEndpoint;
use super::redact::Redactor;
use crate::api::Provider;
use crate::text::one_line;

/// Longest text that an error takes over from an answer, in characters.
pub(crate) const MAX_MESSAGE_CHARS: usize = 300;
/// Longest code or trace ID that an error takes over from an answer, in characters.
pub(crate) const MAX_WORD_CHARS: usize = 64;
/// Shown instead of a text that repeats a part of the credential.
const ECHO: &str = "the answer repeats a part of the credential, so its text is not shown";

/// The kind of failure. It decides whether the owner of the key, the cloud or nobody has to act.
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
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
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
    /// A failure of which only this is known, for tests; they set what else they need.
    #[cfg(test)]
    pub(crate) fn sample(provider: Provider, operation: &'static str, kind: ErrorKind) -> Self {
        Self {
            provider,
            operation,
            kind,
            http_status: None,
            code: None,
            message: String::new(),
            trace_id: None,
            retry_after: None,
            executed: Executed::No,
        }
    }

    /// Whether the other one says the same, so that a status that has told this one need not be written anew: numbers, IDs of
    /// requests and times differ from one answer to the next.
    #[must_use]
    pub fn says_the_same_as(&self, other: &Self) -> bool {
        self.is_like(other) && gist(&self.message) == gist(&other.message)
    }

    /// Whether the other one is the same kind of failure, in any words.
    #[must_use]
    pub fn is_like(&self, other: &Self) -> bool {
        let of = |error: &Self| (error.provider, error.operation, error.kind, error.http_status);
        of(self) == of(other) && self.code == other.code
    }

    /// An answer to a read of which a part cannot be used, in words that hold nothing of the answer.
    pub(crate) fn unexpected(provider: Provider, operation: &'static str, problem: &'static str) -> Self {
        Failure::unexpected(problem).executed(Executed::No).into_error(provider, operation, &[])
    }
}

/// A text without the words that have digits.
fn gist(text: &str) -> Vec<&str> {
    let word_ends = |character: char| character.is_whitespace() || ",;:()[]{}\"'`=/".contains(character);
    text.split(word_ends).filter(|word| !word.is_empty() && !word.bytes().any(|byte| byte.is_ascii_digit())).collect()
}

impl fmt::Display for CloudError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let provider = self.provider;
        match self.kind {
            ErrorKind::CredentialsRejected => write!(f, "{provider} rejected the credentials")?,
            ErrorKind::PermissionDenied => write!(f, "{provider} denied access")?,
            ErrorKind::NotFound => write!(f, "{provider} found no such object")?,
            ErrorKind::RateLimited => write!(f, "{provider} limits the request rate")?,
            ErrorKind::Busy => write!(f, "{provider} is busy with another operation on the object")?,
            ErrorKind::BadRequest => write!(f, "{provider} refused the request")?,
            ErrorKind::Unavailable => write!(f, "{provider} is unavailable")?,
            ErrorKind::UnexpectedResponse => write!(f, "{provider} returned an unexpected response")?,
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
            write!(f, "; retry in {} s", wait.as_secs().max(1))?;
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
    #[error("the HTTP client cannot be built ({0})")]
    Http(String),
}

/// A failure before it is known whose it is, with text as it came. Becomes a [`CloudError`] in one place, where secrets
/// are removed before anything is shortened.
#[derive(Clone, Debug)]
pub(crate) struct Failure {
    pub(crate) kind: ErrorKind,
    pub(crate) http_status: Option<u16>,
    pub(crate) code: Option<String>,
    /// What we say. A text of the program itself, borrowed, cannot repeat anything of an answer.
    pub(crate) message: Cow<'static, str>,
    /// The cloud's own message. Not shown when it refuses a credential: such a message may repeat the request.
    pub(crate) said: Option<String>,
    pub(crate) trace_id: Option<String>,
    pub(crate) retry_after: Option<Duration>,
    pub(crate) executed: Executed,
}

impl Failure {
    /// A failure of which only the kind is known. Whether the request was executed is unknown until more is proven.
    pub(crate) fn new(kind: ErrorKind, message: impl Into<Cow<'static, str>>) -> Self {
        Self {
            kind,
            http_status: None,
            code: None,
            message: message.into(),
            said: None,
            trace_id: None,
            retry_after: None,
            executed: Executed::Unknown,
        }
    }

    /// An answer without the documented shape.
    pub(crate) fn unexpected(message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(ErrorKind::UnexpectedResponse, message)
    }

    /// A request that was refused in this process.
    pub(crate) fn not_sent(kind: ErrorKind, message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(kind, message).executed(TransportStage::NotSent.executed())
    }

    pub(crate) fn status(mut self, status: u16) -> Self {
        self.http_status = Some(status);
        self
    }

    pub(crate) fn said(mut self, said: Option<String>) -> Self {
        self.said = said;
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

    /// The same, each text one short line that repeats nothing of the secrets.
    pub(crate) fn redacted(mut self, redactor: &Redactor) -> Self {
        let word = |word: String| redactor.word(&word, MAX_WORD_CHARS);
        let text = |text: &str| {
            let clean = one_line(text, MAX_MESSAGE_CHARS);
            if redactor.repeats(&clean) { ECHO.to_owned() } else { clean }
        };
        self.code = self.code.and_then(word);
        self.trace_id = self.trace_id.and_then(word);
        if let Cow::Owned(message) = &self.message {
            self.message = Cow::Owned(text(message));
        }
        self.said = self.said.as_deref().map(text);
        self
    }

    /// Whether a credential is refused.
    fn is_about_the_credential(&self) -> bool {
        matches!(self.kind, ErrorKind::CredentialsRejected | ErrorKind::PermissionDenied)
            || matches!(self.http_status, Some(401 | 403))
    }

    /// The public error: nothing in it repeats `secrets`, and each text is one short line. Our words stand before the cloud's,
    /// which may be long and would push them out.
    pub(crate) fn into_error(
        mut self,
        provider: Provider,
        operation: &'static str,
        secrets: &[&SecretString],
    ) -> CloudError {
        if self.is_about_the_credential() {
            self.said = None;
        }
        let redactor = Redactor::new(secrets.iter().copied());
        let Self { kind, http_status, code, message, said, trace_id, retry_after, executed } = self.redacted(&redactor);
        let said = said.filter(|said| !said.is_empty());
        let message = match said {
            None => message.into_owned(),
            Some(said) if message.is_empty() || message == said => said,
            Some(said) => one_line(&format!("{message}; it says: {said}"), MAX_MESSAGE_CHARS),
        };
        CloudError { provider, operation, kind, http_status, code, message, trace_id, retry_after, executed }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_text_is_one_sentence_with_what_a_person_needs() {
        let failure =
            Failure::new(ErrorKind::CredentialsRejected, "check NCLOUD_SECRET_KEY;\nit says: \u{1b}[31mno".to_owned())
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
            "KakaoCloud limits the request rate (listClusters); retry in 1 s"
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
        assert!(!format!("{error} {error:?}").contains("hunter22"), "{error:?}");
        assert!(error.message.chars().count() <= MAX_MESSAGE_CHARS);
        assert_eq!((error.code.as_deref(), error.trace_id.as_deref()), (Some("[redacted]"), Some("[redacted]")));
    }

    #[test]
    fn what_differs_in_numbers_alone_says_the_same() {
        let error = |message: &'static str| Failure::unexpected(message).into_error(Provider::Ncp, "x", &[]);
        let same = |one: &'static str, other: &'static str| error(one).says_the_same_as(&error(other));
        assert!(same("no host for request 7f3a-11 after 3 s", "no host for request 9c2b-12 after 30 s"));
        assert!(!same("the body is larger than 67108864 bytes", "it sent an HTML page"));
        let status = |status| Failure::unexpected("a").status(status).into_error(Provider::Ncp, "x", &[]);
        assert!(!status(200).says_the_same_as(&status(502)));
    }

    #[test]
    fn an_echo_is_told_but_not_shown() {
        let secret = SecretString::from("hunter22hunter22");
        let failure = Failure::new(ErrorKind::BadRequest, "our words").said(Some("echo: hunter22".to_owned()));
        let error = failure.status(400).into_error(Provider::Ncp, "flushCloudDBInstance", &[&secret]);
        assert_eq!(error.message, format!("our words; it says: {ECHO}"));
    }

    #[test]
    fn who_refuses_a_credential_is_not_quoted() {
        for (kind, status) in [
            (ErrorKind::CredentialsRejected, 401),
            (ErrorKind::PermissionDenied, 403),
            (ErrorKind::CredentialsRejected, 500),
            (ErrorKind::BadRequest, 403),
        ] {
            let failure = Failure::new(kind, "our words").said(Some("its words".to_owned()));
            let error = failure.status(status).code(Some("200".to_owned())).into_error(Provider::Ncp, "x", &[]);
            assert_eq!((error.message.as_str(), error.code.as_deref()), ("our words", Some("200")));
        }
        let failure = Failure::new(ErrorKind::BadRequest, "our words").said(Some("its words".to_owned())).status(400);
        assert_eq!(failure.into_error(Provider::Ncp, "x", &[]).message, "our words; it says: its words");
    }

    #[test]
    fn only_an_exchange_can_have_taken_effect() {
        assert_eq!(TransportStage::NotSent.executed(), Executed::No);
        assert_eq!(TransportStage::Connect.executed(), Executed::No);
        assert_eq!(TransportStage::Exchange.executed(), Executed::Unknown);
    }
}
