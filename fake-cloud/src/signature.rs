//! The gateway's signature, version 2: `x-ncp-apigw-signature-v2`.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hmac::digest::InvalidLength;
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

/// The signature of one request: `base64(HMAC-SHA256(secret, METHOD + " " + path-and-query + "\n" + timestamp + "\n" +
/// access key))`. The body is not signed.
///
/// # Errors
/// HMAC takes keys of any length, so none in practice.
pub fn sign(
    secret_key: &str,
    method: &str,
    path_and_query: &str,
    timestamp: &str,
    access_key: &str,
) -> Result<String, InvalidLength> {
    let mut mac = Hmac::<Sha256>::new_from_slice(secret_key.as_bytes())?;
    mac.update(format!("{method} {path_and_query}\n{timestamp}\n{access_key}").as_bytes());
    Ok(STANDARD.encode(mac.finalize().into_bytes()))
}

#[cfg(test)]
mod tests {
    use super::sign;

    const ACCESS: &str = "TESTACCESSKEY000000";
    const SECRET: &str = "TESTSECRETKEY0000000000000000000000000000";
    const TIMESTAMP: &str = "1546221796556";

    #[test]
    fn signs_the_path_of_a_post() {
        let signature = sign(SECRET, "POST", "/clouddb/v2/flushCloudDBInstance", TIMESTAMP, ACCESS);
        assert_eq!(signature, Ok("X4NqSddmR9tnKtjvD+n207jPlucM/mrOhGAGV8SHsNg=".into()));
    }

    #[test]
    fn signs_the_query_of_a_get() {
        let path = "/clouddb/v2/getCloudDBInstanceList?dbKindCode=REDIS&responseFormatType=json";
        let signature = sign(SECRET, "GET", path, TIMESTAMP, ACCESS);
        assert_eq!(signature, Ok("EC3RSeTr5a8Iy+ohw7Jiv3gNXNa0MX12csjInISnZbM=".into()));
    }
}
