//! What all fuzz targets share.

pub mod property;

/// A fuzz target for a decoder.
#[macro_export]
macro_rules! target {
    ($decode:path) => {
        libfuzzer_sys::fuzz_target!(|input: &[u8]| $crate::property::holds($decode, input));
    };
}
