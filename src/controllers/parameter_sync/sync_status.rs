//! The sync status of a parameter group: an open set of words of the cloud.

/// A sync status word, parsed for comparison. Statuses show the cloud's own word, unchanged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum SyncStatus {
    /// `In-Sync`: the group is applied. The only word with a meaning of its own.
    InSync,
    /// Any other word, in lower case. `spec.retryOn` decides whether it is retried.
    Other(String),
}

impl SyncStatus {
    /// Parses a word; neither its case nor blanks around it matter.
    pub(super) fn parse(word: &str) -> Self {
        match word.trim().to_lowercase() {
            word if word == "in-sync" => Self::InSync,
            word => Self::Other(word),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_compared_without_case() {
        assert_eq!(SyncStatus::parse(" in-SYNC "), SyncStatus::InSync);
        assert_eq!(SyncStatus::parse("Error-Sync"), SyncStatus::parse("error-sync"));
        assert_ne!(SyncStatus::parse("Error-Sync"), SyncStatus::parse("Suspended"));
    }
}
