//! Numbers of lists and of catalogs, so that neither is mistaken for the other.

/// The number of a list of one connection, counted by when it began. The first list is round 1; the default is "before any list".
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Round(u64);

impl Round {
    /// The round of the list after this one.
    #[must_use]
    pub(super) const fn next(self) -> Self {
        Self(self.0 + 1)
    }
}

/// Counts the changes of a connection's catalog.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct CatalogVersion(u64);

impl CatalogVersion {
    /// The version after this one.
    #[must_use]
    pub(super) const fn next(self) -> Self {
        Self(self.0 + 1)
    }
}
