//! What holds of every decoder and every input: it does not panic, and it uses a bounded amount of memory. What a decoder
//! understands has more properties, which are checked in `cloud::testing` and `inventory::testing`.

use peak_alloc::PeakAlloc;

/// What a decoder of a single object may use whatever its input, in bytes: a few lists of 1,024 elements.
pub const SINGLE: usize = 4 << 20;
/// The same for a list, which is kept whole here: more than a thousand entries with all that they can have.
pub const LIST: usize = 48 << 20;
/// Bytes it may use besides for each byte of its input.
const FACTOR: usize = 16;

#[global_allocator]
static ALLOCATOR: PeakAlloc = PeakAlloc;

/// Decodes an input. Memory is counted of the whole process: call it in one thread at a time.
///
/// # Panics
/// When the decoder panics, or uses more memory than it may.
pub fn holds(decode: impl FnOnce(&[u8]), allowance: usize, input: &[u8]) {
    let before = ALLOCATOR.current_usage();
    ALLOCATOR.reset_peak_usage();
    decode(input);
    let used = ALLOCATOR.peak_usage().saturating_sub(before);
    let (length, allowed) = (input.len(), allowance + FACTOR * input.len());
    assert!(used <= allowed, "{length} bytes of input use {used} bytes, more than the {allowed} they may");
}
