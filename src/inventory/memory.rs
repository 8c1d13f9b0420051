//! A bound on the memory that the instances of all connections take together. The clouds decide how many there are and how large they
//! are, so without a bound a few credentials of a hostile cloud could take all memory.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, LazyLock};

/// What the instances of the process may take: some 55,000 ordinary ones.
const MOST_BYTES: usize = 48 << 20;
/// What an instance takes beside its packed bytes: its struct, its ID and name, and its entries in two maps.
const OVERHEAD_BYTES: usize = 500;

static OF_THE_PROCESS: LazyLock<MemoryLimit> = LazyLock::new(|| MemoryLimit::new(MOST_BYTES));

/// The memory for instances. Clones share it.
#[derive(Clone, Debug)]
pub(crate) struct MemoryLimit {
    used: Arc<AtomicUsize>,
    most: usize,
}

/// A share of it, given back when it is dropped.
#[derive(Debug)]
pub(crate) struct MemoryShare {
    used: Arc<AtomicUsize>,
    bytes: usize,
}

impl Default for MemoryLimit {
    /// The limit that all connections share.
    fn default() -> Self {
        OF_THE_PROCESS.clone()
    }
}

impl MemoryLimit {
    /// A limit of so many bytes.
    pub(crate) fn new(most: usize) -> Self {
        Self { used: Arc::default(), most }
    }

    /// Whether another instance may be kept.
    pub(crate) fn is_left(&self) -> bool {
        self.used.load(Ordering::Relaxed) < self.most
    }

    /// Takes a share for an instance of so many packed bytes, also when nothing is left: the caller asks before.
    pub(crate) fn take(&self, packed_bytes: usize) -> MemoryShare {
        let bytes = packed_bytes + OVERHEAD_BYTES;
        self.used.fetch_add(bytes, Ordering::Relaxed);
        MemoryShare { used: Arc::clone(&self.used), bytes }
    }
}

impl Drop for MemoryShare {
    fn drop(&mut self) {
        self.used.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_share_is_given_back() {
        let memory = MemoryLimit::new(1000);
        let first = memory.take(100);
        assert!(memory.is_left());
        let second = memory.take(0);
        assert!(!memory.is_left());
        drop(first);
        assert!(memory.is_left());
        drop(second);
        assert_eq!(memory.used.load(Ordering::Relaxed), 0);
    }
}
