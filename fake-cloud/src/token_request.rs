//! The body with which a client asks KakaoCloud IAM for a token.

use secrecy::SecretString;
use serde::Deserialize;

/// What a token request asks for.
pub(crate) struct TokenRequest {
    /// The ways in which the client wants to authenticate.
    pub(crate) methods: Vec<String>,
    /// The application credential's ID.
    pub(crate) credential_id: String,
    /// The application credential's secret.
    pub(crate) credential_secret: SecretString,
}

impl TokenRequest {
    /// Reads a body; none if it is no token request or has a field that IAM does not know.
    pub(crate) fn parse(body: &[u8]) -> Option<Self> {
        let body: TokenRequestBody = serde_json::from_slice(body).ok()?;
        let Identity { methods, application_credential: credential } = body.auth.identity;
        Some(Self { methods, credential_id: credential.id, credential_secret: credential.secret })
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct TokenRequestBody {
    auth: Auth,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Auth {
    identity: Identity,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Identity {
    methods: Vec<String>,
    application_credential: SentCredential,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct SentCredential {
    id: String,
    secret: SecretString,
}
