//! Why a list or a watch failed, in words.

use std::time::Duration;

use super::watch_health::{WatchAttempt, WatchFailure};

/// The longest wait between two attempts.
pub(crate) const LONGEST_WAIT: Duration = Duration::from_secs(20);
/// The same if the API server refuses access, which only a person can change.
pub(crate) const LONGEST_WAIT_REFUSED: Duration = Duration::from_secs(60);
/// Characters after which a message is cut.
const MESSAGE_LENGTH: usize = 400;

/// Why a list or a watch failed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum WatchError {
    /// The request failed.
    #[error("{}", causes(.0))]
    Kube(kube::Error),
    /// No answer came in time.
    #[error("the API server did not answer within {} s", .0.as_secs())]
    NoAnswer(Duration),
    /// The answer has no version from which a watch could begin.
    #[error("the API server's answer has no resourceVersion")]
    NoVersion,
    /// The watch was accepted, but ended before its time.
    #[error("the watch was accepted, but ended too early")]
    EndedEarly,
}

impl WatchError {
    /// The HTTP status of the API server's answer, or 0.
    pub(crate) fn code(&self) -> u16 {
        match self {
            Self::Kube(kube::Error::Api(status)) => status.code,
            _ => 0,
        }
    }
}

/// The failure in words, with what to do about it.
pub(crate) fn failure(attempt: WatchAttempt, resource: &str, is_namespaced: bool, error: &WatchError) -> WatchFailure {
    let message = match error {
        WatchError::Kube(kube::Error::Api(status)) if !status.message.is_empty() => status.message.clone(),
        WatchError::Kube(kube::Error::Api(status)) => format!("the API server answered with status {}", status.code),
        other => other.to_string(),
    };
    let advice = match error.code() {
        400 => "Check --label-selector and the version of the API server.",
        401 => "Check the operator's service account token or kubeconfig.",
        403 if is_namespaced => {
            "Check that the namespace exists, and that the operator's Role and RoleBinding are in it (see docs/install.md)."
        }
        403 => "Check that the operator's ClusterRole and ClusterRoleBinding are there (see docs/install.md).",
        404 => "Install the CRDs with `managed-redis-operator crds | kubectl apply --server-side -f -`.",
        0 => "The operator tries again; if it lasts, check the network between it and the API server.",
        _ => "The operator tries again; if it lasts, look at the API server.",
    };
    WatchFailure { attempt, resource: resource.to_owned(), code: error.code(), message: one_line(&message), advice }
}

/// A message as a part of a sentence: on one line, of bounded length, without a full stop.
fn one_line(message: &str) -> String {
    let plain = |letter: char| if letter.is_control() { ' ' } else { letter };
    let text: String = message.trim().chars().map(plain).take(MESSAGE_LENGTH).collect();
    text.trim_end_matches(['.', ' ']).to_owned()
}

/// The error with its causes, each once.
fn causes(error: &kube::Error) -> String {
    if let kube::Error::Api(status) = error {
        return format!("{}: {}", status.code, status.message);
    }
    let mut text = error.to_string();
    let mut cause = std::error::Error::source(error);
    while let Some(error) = cause {
        let more = error.to_string();
        if !text.contains(&more) {
            text = format!("{text}: {more}");
        }
        cause = error.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use kube::core::Status;

    use super::*;

    fn api(code: u16, message: &str) -> WatchError {
        WatchError::Kube(kube::Error::Api(Status::failure(message, "").with_code(code).boxed()))
    }

    fn of(error: &WatchError) -> WatchFailure {
        failure(WatchAttempt::List, "redisclusterrefs", true, error)
    }

    #[test]
    fn each_failure_says_what_to_do() {
        for (error, message, advice) in [
            (api(403, "it is forbidden."), "it is forbidden", "RoleBinding"),
            (api(401, "Unauthorized"), "Unauthorized", "token"),
            (api(400, "unable to parse\r\nrequirement"), "unable to parse  requirement", "--label-selector"),
            (api(404, ""), "the API server answered with status 404", "CRDs"),
            (api(503, "not now"), "not now", "look at the API server"),
            (WatchError::NoAnswer(Duration::from_secs(60)), "the API server did not answer within 60 s", "network"),
        ] {
            let failure = of(&error);
            assert_eq!(failure.message, message);
            assert!(failure.advice.contains(advice), "{failure:?}");
        }
        assert!(of(&api(403, "")).is_refusal() && !of(&api(503, "")).is_refusal());
        assert!(of(&api(500, &"x".repeat(5000))).message.len() <= MESSAGE_LENGTH);
    }

    #[test]
    fn no_error_is_shown_as_only_rust_can_read_it() {
        assert_eq!(api(403, "it is forbidden").to_string(), "403: it is forbidden");
        let io = std::io::Error::other("connection refused");
        let text = WatchError::Kube(kube::Error::ReadEvents(io)).to_string();
        assert_eq!(text, "Error reading events stream: connection refused");
    }
}
