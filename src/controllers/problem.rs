//! Why the cloud could not be asked, or did not answer, as the conditions say it.

use crate::api::{Reason, TargetError, conditions};
use crate::cloud::{CloudError, CredentialError, ErrorKind, SetupError};
use crate::text::full_stop;

/// A reason and a sentence.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct Problem {
    /// The condition's reason.
    pub reason: Reason,
    /// What happened and what to do.
    pub message: String,
    /// Whether it waits for a person (Stalled), or heals by itself. For most problems the reason decides.
    pub needs_a_person: bool,
}

impl Problem {
    /// A problem that waits for a person if its reason does.
    pub fn new(reason: Reason, message: impl Into<String>) -> Self {
        Self { reason, message: conditions::shown(&message.into()), needs_a_person: reason.needs_a_person() }
    }

    /// A problem that waits for a person, whatever the rule for its reason is.
    pub fn stalled(reason: Reason, message: impl Into<String>) -> Self {
        Self { needs_a_person: true, ..Self::new(reason, message) }
    }
}

impl From<&CloudError> for Problem {
    fn from(error: &CloudError) -> Self {
        let reason = match error.kind {
            ErrorKind::CredentialsRejected => Reason::CredentialsRejected,
            ErrorKind::PermissionDenied => Reason::PermissionDenied,
            ErrorKind::RateLimited => Reason::RateLimited,
            ErrorKind::Busy | ErrorKind::Unavailable => Reason::CloudUnavailable,
            // A list that is "not found" or "bad" says nothing about one cluster, only that the API is not as documented.
            ErrorKind::NotFound | ErrorKind::BadRequest | ErrorKind::UnexpectedResponse => Reason::UnexpectedResponse,
        };
        Self { reason, message: full_stop(&error.to_string()), needs_a_person: reason.needs_a_person() }
    }
}

impl From<&SetupError> for Problem {
    fn from(error: &SetupError) -> Self {
        let reason = match error {
            SetupError::Endpoint(_) => Reason::UnknownRegion,
            SetupError::Credential(CredentialError::Missing { .. }) => Reason::CredentialsNotFound,
            SetupError::Credential(_) => Reason::CredentialsRejected,
            SetupError::Settings(_) | SetupError::Http(_) => Reason::CloudUnavailable,
        };
        // A client that cannot be built from the flags and the Secret cannot be built a moment later either.
        Self::stalled(reason, full_stop(&format!("The connection cannot be set up: {error}")))
    }
}

impl From<TargetError> for Problem {
    fn from(error: TargetError) -> Self {
        Self::new(Reason::InvalidObject, full_stop(&format!("The target is not valid: {error}")))
    }
}
