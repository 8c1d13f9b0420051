//! An attempt that came to no whole answer: what it says, and whether the cloud may have acted on it.

use std::time::Duration;

use super::body::BodyError;
use super::error::{ErrorKind, Failure, TransportStage};
use super::split::{MAX_ENVELOPE_BYTES, SplitError};

/// An attempt without a whole answer.
pub(super) struct ExchangeError {
    /// The word for metrics.
    pub(super) code: &'static str,
    pub(super) failure: Failure,
}

impl ExchangeError {
    pub(super) fn from_reqwest(error: &reqwest::Error, answered: Option<u16>) -> Self {
        let (code, stage) = match answered {
            _ if error.is_builder() => ("not_sent", TransportStage::NotSent),
            None if error.is_connect() => ("connect", TransportStage::Connect),
            _ if error.is_timeout() => ("timeout", TransportStage::Exchange),
            Some(_) => ("body", TransportStage::Exchange),
            None if is_closed_early(error) => ("reset", TransportStage::Exchange),
            None => ("transport", TransportStage::Exchange),
        };
        let what = match code {
            "connect" => "no connection could be made",
            "timeout" => "no complete answer came in time",
            "body" => "the answer broke off",
            "reset" => "the connection was closed before an answer came",
            "not_sent" => "the request could not be built",
            _ => "the exchange failed",
        };
        let message = format!("{what} ({})", describe(error));
        Self { code, failure: Failure::new(ErrorKind::Unavailable, message).executed(stage.executed()) }
    }

    pub(super) fn timeout(what: &'static str) -> Self {
        Self { code: "timeout", failure: Failure::new(ErrorKind::Unavailable, what) }
    }

    pub(super) fn in_answer(self, status: u16, trace: Option<String>, retry_after: Option<Duration>) -> Self {
        Self { failure: self.failure.status(status).trace(trace).retry_after(retry_after), ..self }
    }
}

impl From<BodyError> for ExchangeError {
    fn from(error: BodyError) -> Self {
        // What cannot be decompressed will not get better; what broke off may.
        let (code, failure) = match error {
            BodyError::TooLarge(limit) => {
                ("too_large", Failure::unexpected(format!("the body is larger than {limit} bytes after decompression")))
            }
            BodyError::TinyPieces => {
                ("body", Failure::unexpected("the body comes in thousands of pieces of a few bytes each"))
            }
            BodyError::Undecodable(error) => {
                ("body", Failure::unexpected(format!("the body cannot be decompressed ({error})")))
            }
            BodyError::BrokenOff => {
                let message = "the answer broke off (its compression has no end)";
                ("body", Failure::new(ErrorKind::Unavailable, message))
            }
            BodyError::Split(SplitError::LargeEnvelope) => {
                let message =
                    format!("it sent more than {MAX_ENVELOPE_BYTES} bytes beside the list that was asked for");
                ("too_large", Failure::unexpected(message))
            }
            BodyError::Split(SplitError::Separators) => {
                ("body", Failure::unexpected("it sent a body that is not valid JSON: a list without commas"))
            }
            BodyError::Split(SplitError::TwoLists) => {
                ("body", Failure::unexpected("it sent the list that was asked for twice in one answer"))
            }
            BodyError::Refused(failure) => ("refused", *failure),
        };
        Self { code, failure }
    }
}

/// The error and what caused it, the outermost first.
fn causes(error: &reqwest::Error) -> impl Iterator<Item = &(dyn std::error::Error + 'static)> {
    std::iter::successors(Some(error as &(dyn std::error::Error + 'static)), |cause| cause.source())
}

/// Whether the peer closed or reset the connection in mid-exchange.
fn is_closed_early(error: &reqwest::Error) -> bool {
    use std::io::ErrorKind as Io;
    const CLOSED: [Io; 5] =
        [Io::ConnectionReset, Io::ConnectionAborted, Io::BrokenPipe, Io::UnexpectedEof, Io::NotConnected];
    causes(error).any(|cause| match cause.downcast_ref::<std::io::Error>() {
        Some(io) => CLOSED.contains(&io.kind()),
        // hyper's words for a connection that ended before the head of an answer.
        None => cause.to_string() == "connection closed before message completed",
    })
}

/// The innermost cause: the outer layers repeat the URL and say "error sending request".
pub(super) fn describe(error: &reqwest::Error) -> String {
    causes(error).last().map(ToString::to_string).unwrap_or_default()
}
