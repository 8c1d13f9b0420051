//! The reasons: one word for programs, in conditions and in events, that says why.

use std::fmt;
use std::str::FromStr;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;

/// Declares the reasons once: the word of a reason is the name of its variant; `needs person` marks those that last until a person acts.
macro_rules! reasons {
    ($($(#[$doc:meta])+ $name:ident $(needs $person:ident)?,)+) => {
        /// Why a condition has its status, or why an event was published. `docs/conditions.md` has them for users.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Reason {
            $($(#[$doc])+ $name,)+
        }

        impl Reason {
            /// All reasons, in the order of `docs/conditions.md`.
            pub const ALL: &[Self] = &[$(Self::$name,)+];

            /// The word in `status.conditions[].reason` and in events.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self {
                    $(Self::$name => stringify!($name),)+
                }
            }

            /// Whether it lasts until a person acts. What lasts is `Stalled`, all else heals by itself.
            ///
            /// This is the rule; a case that differs (a ConfigMap that a quota refuses, a request in its final phase) says so itself.
            #[must_use]
            pub const fn needs_a_person(self) -> bool {
                match self {
                    $(Self::$name => !stringify!($($person)?).is_empty(),)+
                }
            }
        }
    };
}

reasons! {
    // What all kinds say of the cloud.
    /// The cloud was read.
    ObserveSucceeded,
    /// The first read of the cloud is under way.
    Observing,
    /// The Secret does not exist, lacks a key, or may not be read.
    CredentialsNotFound needs person,
    /// The cloud does not accept the credential.
    CredentialsRejected needs person,
    /// The credential may not do this.
    PermissionDenied needs person,
    /// The operator has no endpoint for the region or site.
    UnknownRegion needs person,
    /// The cloud asked for fewer requests.
    RateLimited,
    /// The cloud cannot be reached, or fails.
    CloudUnavailable,
    /// The cloud answered in a way that its documentation does not describe.
    UnexpectedResponse,
    /// The cloud has no such Redis.
    ClusterNotFound needs person,
    /// More than one Redis has the name.
    AmbiguousName needs person,
    /// `spec.suspend` is set.
    Suspended,
    /// The last good read is more than three intervals old.
    ObservationStale,
    /// The operator cannot read the object, or its spec has no single target.
    InvalidObject needs person,
    /// The RedisClusterRef that the spec names does not exist.
    ReferenceNotFound needs person,
    /// The cloud does not offer this for the Redis that is referred to.
    NotSupported needs person,
    // RedisClusterRef.
    /// The Redis serves.
    Running,
    /// The cloud is changing the Redis.
    Progressing,
    /// The Redis does not serve, and the cloud is not changing it.
    NotRunning,
    /// The cloud names no state, or one that this version does not know.
    UnknownState,
    /// The ConfigMap exists and belongs to another object.
    ConfigMapNotOwned needs person,
    /// This operator was started without the right to keep ConfigMaps.
    ConfigMapsDisabled needs person,
    /// The ConfigMap cannot be read or written. Whether a person has to act depends on the cause.
    ConfigMapFailed,
    // RedisParameterSync.
    /// All clusters are In-Sync.
    InSync,
    /// The cloud is at work, or has not been read yet.
    Waiting,
    /// The operator asked the cloud to apply a parameter group and waits for the result.
    Applying,
    /// An application failed; the next attempt has a time.
    BackingOff,
    /// All attempts of a failure episode failed.
    RetriesExhausted needs person,
    /// The object is about more clusters than one object covers.
    TooManyClusters needs person,
    /// The spec selects no cluster.
    NoClusters,
    /// `spec.clusterSelector` cannot be used.
    InvalidSelector needs person,
    /// No cluster with a parameter group has been read.
    NotRead,
    /// Event: the cloud was asked to apply parameter groups.
    ParameterApplyRequested,
    /// Event: the application of parameter groups failed.
    ParameterApplyFailed,
    /// Event: clusters became In-Sync.
    ParameterInSync,
    // RedisFlushRequest.
    /// Other flush requests go first.
    Queued,
    /// The RedisClusterRef is suspended.
    ReferenceSuspended,
    /// The RedisClusterRef does not show its instance yet.
    ReferenceNotReady,
    /// The RedisClusterRef pointed to another instance just before the flush was sent.
    ReferenceChanged,
    /// The cloud's list does not have the instance.
    TargetNotFound,
    /// The cloud's list has the instance more than once.
    TargetAmbiguous,
    /// The instance is not running.
    TargetNotRunning,
    /// Another flush, or another operation of the cloud, is at the instance.
    TargetBusy,
    /// The claim, a Lease, cannot be read or created.
    ClaimUnavailable,
    /// Another request of the same ID holds the claim and has no verdict yet.
    ClaimHeld,
    /// The operator's process stood still between the first write and the send; nothing was sent.
    ProcessPaused,
    /// The operator was told to stop before the send; nothing was sent.
    OperatorStopping,
    /// The deadline passed just before the send; nothing was sent.
    DeadlinePassed,
    /// The request was deleted just before the send; nothing was sent.
    Deleted,
    /// The flush is being sent.
    Sending,
    /// The cloud accepted the flush; the instance is not running again yet.
    Accepted,
    /// The cloud accepted the flush long ago, and the instance does not run.
    NotRunningAgain needs person,
    /// The cloud accepted the flush and the instance runs again.
    FlushSucceeded,
    /// The cloud refused the flush: it has no such instance.
    InstanceNotFound needs person,
    /// The cloud refused the flush as it was sent.
    BadRequest needs person,
    /// `spec.confirm` is not the number of the instance that the reference points to.
    ConfirmMismatch needs person,
    /// A request of the same ID has flushed this instance before.
    AlreadyExecuted needs person,
    /// The deadline passed and nothing was sent.
    DeadlineExceeded needs person,
    /// The operator ended while it was sending; the flush may or may not have been executed.
    Interrupted needs person,
    /// The status contradicts the claim or itself; the flush may or may not have been executed.
    StatusLost needs person,
    /// Event: the API server refuses to store the status.
    WriteRefused needs person,
    /// Event: the request was deleted after the flush was accepted, so its end is not watched.
    NotWatched,
    /// Event: the request was deleted before anything was sent.
    Cancelled,
}

impl Reason {
    /// The reason of a condition; none for a word that this version does not know, written by an older or a newer operator.
    #[must_use]
    pub fn of(condition: &Condition) -> Option<Self> {
        condition.reason.parse().ok()
    }
}

/// A word that is no reason of this version.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a reason that this version of the operator knows")]
pub struct UnknownReason;

impl FromStr for Reason {
    type Err = UnknownReason;

    fn from_str(word: &str) -> Result<Self, UnknownReason> {
        Self::ALL.iter().copied().find(|reason| reason.as_str() == word).ok_or(UnknownReason)
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_reason_is_read_back_from_its_word_and_an_unknown_word_is_tolerated() {
        for reason in Reason::ALL {
            assert_eq!(reason.as_str().parse(), Ok(*reason));
        }
        assert_eq!("OfANewerOperator".parse::<Reason>(), Err(UnknownReason));
    }

    fn page(name: &str) -> String {
        std::fs::read_to_string(format!("{}/docs/{name}", env!("CARGO_MANIFEST_DIR"))).unwrap()
    }

    /// The cells of each row of the tables whose header has a cell `heading`, from that cell on.
    fn rows<'a>(page: &'a str, heading: &str) -> Vec<Vec<&'a str>> {
        let mut column = None;
        let mut rows = Vec::new();
        for line in page.lines() {
            let Some(row) = line.strip_prefix("| ") else {
                column = column.filter(|_| line.starts_with("|--"));
                continue;
            };
            let cells: Vec<&str> = row.split('|').map(str::trim).collect();
            match column {
                Some(column) => rows.push(cells[column..].to_vec()),
                None => column = cells.iter().position(|cell| *cell == heading),
            }
        }
        rows
    }

    #[test]
    fn docs_have_each_reason_and_whether_it_needs_a_person() {
        let page = page("conditions.md");
        let documented: Vec<(&str, bool)> =
            rows(&page, "reason").iter().map(|cells| (cells[0].trim_matches('`'), cells[3] == "yes")).collect();
        let known: Vec<(&str, bool)> =
            Reason::ALL.iter().map(|reason| (reason.as_str(), reason.needs_a_person())).collect();
        assert_eq!(documented, known);
    }

    #[test]
    fn other_tables_of_the_docs_name_reasons_that_there_are() {
        let page = page("gitops.md");
        let words: Vec<&str> =
            rows(&page, "Ready").iter().filter_map(|cells| cells[0].split_once(' ')?.1.into()).collect();
        assert!(words.len() > 50, "{} rows were read", words.len());
        for word in words {
            assert!(word.parse::<Reason>().is_ok(), "{word}");
        }
    }
}
