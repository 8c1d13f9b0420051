//! Why the cloud could not be asked, or did not answer, in the words of the conditions.

use crate::api::conditions;
use crate::cloud::{CloudError, ErrorKind, SetupError};

/// A reason and a sentence.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct Problem {
    /// The condition's reason.
    pub reason: &'static str,
    /// What happened and what to do.
    pub message: String,
    /// Whether it waits for somebody (Stalled), or heals by itself.
    pub needs_a_person: bool,
}

impl Problem {
    /// A problem that waits for somebody.
    pub fn stalled(reason: &'static str, message: impl Into<String>) -> Self {
        Self { reason, message: conditions::shown(&message.into()), needs_a_person: true }
    }

    /// A problem that heals by itself.
    pub fn passing(reason: &'static str, message: impl Into<String>) -> Self {
        Self { reason, message: conditions::shown(&message.into()), needs_a_person: false }
    }
}

impl From<&CloudError> for Problem {
    fn from(error: &CloudError) -> Self {
        let (reason, needs_a_person) = match error.kind {
            ErrorKind::CredentialsRejected => ("CredentialsRejected", true),
            ErrorKind::PermissionDenied => ("PermissionDenied", true),
            ErrorKind::RateLimited => ("RateLimited", false),
            ErrorKind::Busy | ErrorKind::Unavailable => ("CloudUnavailable", false),
            // A list that is "not found" or "bad" says nothing about one cluster, only that the API is not as documented.
            ErrorKind::NotFound | ErrorKind::BadRequest | ErrorKind::UnexpectedResponse => {
                ("UnexpectedResponse", false)
            }
        };
        Self { reason, message: error.to_string(), needs_a_person }
    }
}

impl From<&SetupError> for Problem {
    fn from(error: &SetupError) -> Self {
        use crate::cloud::CredentialError;
        let reason = match error {
            SetupError::Endpoint(_) => "UnknownRegion",
            SetupError::Credential(CredentialError::Missing { .. }) => "CredentialsNotFound",
            SetupError::Credential(_) => "CredentialsRejected",
            SetupError::Settings(_) | SetupError::Http(_) => "CloudUnavailable",
        };
        Self::stalled(reason, error.to_string())
    }
}
