//! Hashes of several parts, in which ("ab", "c") and ("a", "bc") differ. A leaf.

use std::hash::{DefaultHasher, Hash, Hasher as _};

use sha2::{Digest as _, Sha256};

/// SHA-256 over the parts, each with its length before it, as hexadecimal digits. Stable for all time: names of stored objects are
/// made of it.
pub(crate) fn hex<P: AsRef<[u8]>>(parts: impl IntoIterator<Item = P>) -> String {
    let mut hash = Sha256::new();
    for part in parts {
        let bytes = part.as_ref();
        hash.update((bytes.len() as u64).to_be_bytes());
        hash.update(bytes);
    }
    hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
}

/// A number that is the same for equal values within one build of the program, and nearly always differs for different ones. For
/// comparisons in memory; not for what is stored.
pub(crate) fn number(value: impl Hash) -> u64 {
    let mut hasher = DefaultHasher::new();
    value.hash(&mut hasher);
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_digits_are_stable_and_keep_the_parts_apart() {
        assert_eq!(hex(["abc"]), "c3494ca1a2cf8eeb8a11ded316fb55b83c3bbbedb6313cd50415251e5d09e12f");
        assert_ne!(hex(["ab", "c"]), hex(["a", "bc"]));
        assert_ne!(hex(["ab", ""]), hex(["ab"]));
    }

    #[test]
    fn equal_values_have_one_number() {
        assert_eq!(number(("a", 1)), number(("a", 1)));
        assert_ne!(number(("ab", "c")), number(("a", "bc")));
    }
}
