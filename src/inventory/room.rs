//! How much memory the pictures of all connections may take together. Clouds decide how many and how large they are, so without a
//! bound a few credentials of a cloud that means harm take all there is.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, LazyLock};

/// What the pictures of the process may take: some 55,000 ordinary ones.
const MOST_BYTES: usize = 48 << 20;
/// What a picture takes beside its packed bytes: itself, its ID and name, and its places in two maps.
const OVERHEAD_BYTES: usize = 500;

static OF_THE_PROCESS: LazyLock<Room> = LazyLock::new(|| Room::new(MOST_BYTES));

/// The memory for pictures. Clones share it.
#[derive(Clone, Debug)]
pub struct Room {
    used: Arc<AtomicUsize>,
    most: usize,
}

/// A part of it, given back when it is dropped.
#[derive(Debug)]
pub struct Taken {
    used: Arc<AtomicUsize>,
    bytes: usize,
}

impl Default for Room {
    /// The one that all connections share.
    fn default() -> Self {
        OF_THE_PROCESS.clone()
    }
}

impl Room {
    /// Room for so many bytes.
    pub fn new(most: usize) -> Self {
        Self { used: Arc::default(), most }
    }

    /// Whether there is room for another picture.
    pub fn is_left(&self) -> bool {
        self.used.load(Ordering::Relaxed) < self.most
    }

    /// Takes room for a picture of so many packed bytes, also when there is none left: whether to begin is for the caller to ask.
    pub fn take(&self, packed_bytes: usize) -> Taken {
        let bytes = packed_bytes + OVERHEAD_BYTES;
        self.used.fetch_add(bytes, Ordering::Relaxed);
        Taken { used: Arc::clone(&self.used), bytes }
    }
}

impl Drop for Taken {
    fn drop(&mut self) {
        self.used.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn room_is_given_back() {
        let room = Room::new(1000);
        let first = room.take(100);
        assert!(room.is_left());
        let second = room.take(0);
        assert!(!room.is_left());
        drop(first);
        assert!(room.is_left());
        drop(second);
        assert_eq!(room.used.load(Ordering::Relaxed), 0);
    }
}
