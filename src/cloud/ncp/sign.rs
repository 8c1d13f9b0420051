//! NCP's API gateway signature, version 2.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit as _, Mac as _};
use reqwest::Method;
use reqwest::header::{HeaderMap, HeaderValue};
use secrecy::{ExposeSecret as _, SecretString};
use sha2::Sha256;

use super::super::error::{ErrorKind, Failure};
use super::super::transport::{Authorize, Clock};
use super::NcpCredentials;

/// Signs every attempt afresh: a timestamp more than five minutes off is refused.
pub(super) struct Signer {
    credentials: NcpCredentials,
    clock: Clock,
}

impl Signer {
    pub(super) fn new(credentials: NcpCredentials, clock: Clock) -> Self {
        Self { credentials, clock }
    }
}

impl Authorize for Signer {
    fn headers(&self, method: &Method, path_and_query: &str) -> Result<HeaderMap, Failure> {
        let NcpCredentials { access_key, secret_key } = &self.credentials;
        let timestamp = (self.clock)().as_millisecond().to_string();
        let signature = signature(method.as_str(), path_and_query, &timestamp, access_key, secret_key);
        let value = |text: &str, sensitive: bool| {
            let mut value = HeaderValue::from_str(text)
                .map_err(|_| Failure::not_sent(ErrorKind::BadRequest, "the signature headers cannot be built"))?;
            value.set_sensitive(sensitive);
            Ok::<_, Failure>(value)
        };
        let mut headers = HeaderMap::with_capacity(3);
        headers.insert("x-ncp-apigw-timestamp", value(&timestamp, false)?);
        headers.insert("x-ncp-iam-access-key", value(access_key.expose_secret(), true)?);
        headers.insert("x-ncp-apigw-signature-v2", value(&signature, true)?);
        Ok(headers)
    }

    fn secrets(&self) -> Vec<&SecretString> {
        vec![&self.credentials.secret_key, &self.credentials.access_key]
    }
}

/// base64(HMAC-SHA256(secret key, METHOD + " " + path and query + "\n" + timestamp + "\n" + access key)), no newline at the
/// end. The body is not part of it.
fn signature(
    method: &str,
    path_and_query: &str,
    timestamp: &str,
    access_key: &SecretString,
    secret_key: &SecretString,
) -> String {
    // HMAC takes keys of every length, so there always is a result.
    let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(secret_key.expose_secret().as_bytes()) else {
        return String::new();
    };
    for part in [method, " ", path_and_query, "\n", timestamp, "\n", access_key.expose_secret()] {
        mac.update(part.as_bytes());
    }
    STANDARD.encode(mac.finalize().into_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;

    fn credentials() -> NcpCredentials {
        NcpCredentials {
            access_key: "TESTACCESSKEY000000".into(),
            secret_key: "TESTSECRETKEY0000000000000000000000000000".into(),
        }
    }

    #[test]
    fn vectors() {
        for (method, path, expected) in [
            ("POST", "/clouddb/v2/flushCloudDBInstance", "X4NqSddmR9tnKtjvD+n207jPlucM/mrOhGAGV8SHsNg="),
            (
                "GET",
                "/clouddb/v2/getCloudDBInstanceList?dbKindCode=REDIS&responseFormatType=json",
                "EC3RSeTr5a8Iy+ohw7Jiv3gNXNa0MX12csjInISnZbM=",
            ),
        ] {
            let NcpCredentials { access_key, secret_key } = credentials();
            assert_eq!(signature(method, path, "1546221796556", &access_key, &secret_key), expected);
        }
    }

    #[test]
    fn headers_carry_the_clock_and_hide_the_keys() {
        let clock: Clock = Arc::new(|| jiff::Timestamp::from_millisecond(1_546_221_796_556).unwrap());
        let signer = Signer::new(credentials(), clock);
        let headers = signer.headers(&Method::POST, "/clouddb/v2/flushCloudDBInstance").unwrap();
        assert_eq!(headers["x-ncp-apigw-timestamp"], "1546221796556");
        assert_eq!(headers["x-ncp-apigw-signature-v2"], "X4NqSddmR9tnKtjvD+n207jPlucM/mrOhGAGV8SHsNg=");
        let shown = format!("{headers:?}");
        assert!(!shown.contains("TESTACCESS") && !shown.contains("X4Nq"), "{shown}");
        assert!(!headers.contains_key("x-ncp-apigw-api-key"));
    }
}
