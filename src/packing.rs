//! Values in few bytes: JSON, compressed with a dictionary of what all values have in common, such as the names of fields.

use serde::Serialize;
use serde::de::DeserializeOwned;

/// What objects of this operator look like. It is only a means of compression: what is not in it takes more bytes when packed.
/// It never leaves the process, so any version may change it. `cargo xtask generate` writes it from the types of the API.
const DICTIONARY: &[u8] = include_bytes!("packing-dictionary.txt");

/// A value, packed. Equal values give equal bytes, as long as the process lives.
///
/// # Errors
/// When the value cannot be written as JSON, such as a map whose keys are no strings.
pub fn pack<T: Serialize>(value: &T) -> Result<Box<[u8]>, serde_json::Error> {
    let json = serde_json::to_vec(value)?;
    Ok(lz4_flex::block::compress_prepend_size_with_dict(&json, DICTIONARY).into())
}

/// Unpacks a value. None if the bytes are not a packed value of that type.
pub fn unpack<T: DeserializeOwned>(packed: &[u8]) -> Option<T> {
    let json = lz4_flex::block::decompress_size_prepended_with_dict(packed, DICTIONARY).ok()?;
    serde_json::from_slice(&json).ok()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::*;

    #[test]
    fn a_cluster_takes_less_than_half_of_its_json() {
        let cluster = json!({
            "id": "00000001-0d1c-4b2a-9f3e-000000000001", "name": "orders", "engine": "Redis", "engineVersion": "7.2.11",
            "port": 6379, "mode": "Standalone", "highAvailability": true, "shardCount": 0, "nodeCount": 2,
            "endpoints": { "primary": "orders-primary.memstore.example", "read": "orders-read.memstore.example" },
            "subnetIDs": ["5b0e7c1a-3d42-4f6b-9a57-1c8f0d2e6b01"], "license": "BSD-3-Clause",
        });
        let packed = pack(&cluster).unwrap();
        assert!(packed.len() * 2 < cluster.to_string().len(), "{} of {}", packed.len(), cluster.to_string().len());
        assert_eq!(unpack::<Value>(&packed), Some(cluster));
    }

    proptest! {
        #[test]
        fn whatever_is_packed_comes_out_again(text in "\\PC{0,200}", numbers in proptest::collection::vec(any::<i64>(), 0..50)) {
            let value = json!({ "name": text, "numbers": numbers });
            let packed = pack(&value).unwrap();
            prop_assert_eq!(&packed, &pack(&value).unwrap());
            prop_assert_eq!(unpack::<Value>(&packed), Some(value));
        }

        #[test]
        fn bytes_that_are_no_packed_value_are_refused_without_a_panic(bytes in proptest::collection::vec(any::<u8>(), 4..100)) {
            // The first four bytes are the length, for which memory is taken.
            let mut bytes = bytes;
            bytes[2..4].fill(0);
            let _: Option<Value> = unpack(&bytes);
        }
    }
}
