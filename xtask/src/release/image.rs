//! The image as it is published.

/// The image, by the name it will be published under.
#[derive(Debug, Clone)]
pub(super) struct PublishedImage {
    /// Its name without tag.
    pub repository: String,
    /// Tag.
    pub version: String,
    /// Digest of the index of its architectures.
    pub digest: String,
}

impl PublishedImage {
    /// Its name, which no later push can give to something else.
    pub(super) fn name(&self) -> String {
        format!("{}:{}@{}", self.repository, self.version, self.digest)
    }
}
