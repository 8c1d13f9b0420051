//! Checks on credentials before they are used: a bad key is a clear error here, not a puzzling 401 later.

use secrecy::{ExposeSecret as _, SecretString};

use crate::digest;

/// Why a credential cannot be used, as a clause after "it cannot be used:". Names the key, never its value.
#[derive(Clone, Debug, thiserror::Error, PartialEq, Eq)]
pub enum CredentialError {
    /// The Secret has none of the keys (or none of the pairs of keys) that make a credential.
    #[error("it has no {expected}")]
    Missing {
        /// The keys that would do, as a phrase.
        expected: &'static str,
    },
    /// The key is there, with nothing in it.
    #[error("{key} is empty")]
    Empty {
        /// The key of the Secret.
        key: &'static str,
    },
    /// The value ends with a line break, as `echo` and editors leave it.
    #[error("{key} ends with a line break; store the value without it (printf or echo -n)")]
    LineBreak {
        /// The key of the Secret.
        key: &'static str,
    },
    /// The value has characters that no key has and no HTTP header may carry.
    #[error("{key} holds a blank, a control character or a character outside of ASCII")]
    Malformed {
        /// The key of the Secret.
        key: &'static str,
    },
}

/// Where the values of a Secret come from: a key to its bytes, as in a Secret's `data`.
pub trait SecretSource {
    /// The value of one key, if the Secret has it.
    fn value(&self, key: &str) -> Option<&[u8]>;
}

impl<V: AsRef<[u8]>> SecretSource for std::collections::BTreeMap<String, V> {
    fn value(&self, key: &str) -> Option<&[u8]> {
        self.get(key).map(AsRef::as_ref)
    }
}

/// A checked value for the key, or none when the Secret does not have it.
pub(super) fn read(source: &dyn SecretSource, key: &'static str) -> Result<Option<SecretString>, CredentialError> {
    let Some(bytes) = source.value(key) else { return Ok(None) };
    let text = std::str::from_utf8(bytes).map_err(|_| CredentialError::Malformed { key })?;
    check(key, text)?;
    Ok(Some(SecretString::from(text)))
}

/// A value that an HTTP header can carry unchanged: printable ASCII without blanks.
pub(super) fn check(key: &'static str, value: &str) -> Result<(), CredentialError> {
    if value.is_empty() {
        Err(CredentialError::Empty { key })
    } else if value.bytes().all(|byte| byte.is_ascii_graphic()) {
        Ok(())
    } else if value.trim_end_matches(['\r', '\n']).bytes().all(|byte| byte.is_ascii_graphic()) {
        Err(CredentialError::LineBreak { key })
    } else {
        Err(CredentialError::Malformed { key })
    }
}

/// [`check`] for a value that is already kept as a secret.
pub(super) fn check_secret(key: &'static str, value: &SecretString) -> Result<(), CredentialError> {
    check(key, value.expose_secret())
}

/// SHA-256 over the parts of a credential, in hex: equal for equal credentials. Meant for maps in memory; not for display.
pub(super) fn fingerprint(parts: &[&SecretString]) -> String {
    digest::hex(parts.iter().map(|part| part.expose_secret()))
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &str = "NCLOUD_SECRET_KEY";

    #[test]
    fn values_are_checked_and_never_shown() {
        assert_eq!(check(KEY, "abcDEF0123+/="), Ok(()));
        assert_eq!(check(KEY, ""), Err(CredentialError::Empty { key: KEY }));
        assert_eq!(check(KEY, "hunter22\n"), Err(CredentialError::LineBreak { key: KEY }));
        assert_eq!(check(KEY, "hunter22\r\n"), Err(CredentialError::LineBreak { key: KEY }));
        for bad in ["hun ter22", "hunter22\nX-Evil: 1", "hunter\u{0}22", "hunterß22", " hunter22"] {
            let error = check(KEY, bad).unwrap_err();
            assert_eq!(error, CredentialError::Malformed { key: KEY }, "{bad:?}");
            assert!(!format!("{error} {error:?}").contains("hunter"));
        }
    }

    #[test]
    fn a_secret_that_is_not_text_is_malformed() {
        let data = std::collections::BTreeMap::from([(KEY.to_owned(), vec![0xff, 0xfe])]);
        assert_eq!(read(&data, KEY).unwrap_err(), CredentialError::Malformed { key: KEY });
        assert!(read(&data, "OTHER").unwrap().is_none());
    }

    #[test]
    fn fingerprints_tell_credentials_apart() {
        let [ab, c, a, bc] = ["ab", "c", "a", "bc"].map(SecretString::from);
        assert_ne!(fingerprint(&[&ab, &c]), fingerprint(&[&a, &bc]));
        assert_eq!(fingerprint(&[&ab, &c]), fingerprint(&[&SecretString::from("ab"), &c]));
    }
}
