//! What holds of every decoder and every input: it does not panic, and it uses memory in proportion to the input. What a decoder
//! understands has more properties, which it checks itself (`cloud::testing`).

use peak_alloc::PeakAlloc;

/// What a decoder may use whatever its input, in bytes: buffers, a few objects.
const ALLOWANCE: usize = 256 * 1024;
/// Bytes it may use for each byte of its input.
const FACTOR: usize = 64;

#[global_allocator]
static ALLOCATOR: PeakAlloc = PeakAlloc;

/// Decodes an input. Memory is counted of the whole process: call it in one thread at a time.
///
/// # Panics
/// When the decoder panics, or uses more memory than it may.
pub fn holds(decode: impl FnOnce(&[u8]), input: &[u8]) {
    let before = ALLOCATOR.current_usage();
    ALLOCATOR.reset_peak_usage();
    decode(input);
    let used = ALLOCATOR.peak_usage().saturating_sub(before);
    let (length, allowed) = (input.len(), ALLOWANCE + FACTOR * input.len());
    assert!(used <= allowed, "{length} bytes of input use {used} bytes, more than the {allowed} they may");
}
