//! What all fuzz targets share.

pub mod property;

/// A fuzz target for a decoder, with what it may use (`property`).
#[macro_export]
macro_rules! target {
    ($decode:path, $allowance:ident) => {
        libfuzzer_sys::fuzz_target!(|input: &[u8]| $crate::property::holds(
            $decode,
            $crate::property::$allowance,
            input
        ));
    };
}
