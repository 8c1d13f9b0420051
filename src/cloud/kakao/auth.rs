//! Tokens of KakaoCloud IAM: issued and renewed, one request at a time for a credential.

use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use reqwest::Method;
use reqwest::header::{HeaderMap, HeaderValue};
use secrecy::{ExposeSecret as _, SecretString};
use serde_json::json;
use tokio::sync::Mutex;
use tokio::time::Instant;

use super::super::error::{CloudError, ErrorKind, Failure};
use super::super::limits::Lane;
use super::super::response::{Response, read_object};
use super::super::transport::{
    Attempts, Authorize, Clock, Operation, Refuse, Request, RequestPayload, Transport, decode_bytes,
};
use super::model::TokenBody;
use super::refusal::{Subject, refusal};
use crate::api::Provider;

/// Tokens are renewed this long before they end.
const RENEW_EARLY: SignedDuration = SignedDuration::from_mins(5);
/// And up to this much earlier, so that many operators do not renew in the same second.
const RENEW_JITTER: SignedDuration = SignedDuration::from_mins(1);
/// Pause after a renewal that failed while the token in hand is still good.
const RENEW_AGAIN: SignedDuration = SignedDuration::from_secs(30);

/// A token and when to replace it.
pub(super) struct IamToken {
    header: HeaderValue,
    secret: SecretString,
    expires_at: Timestamp,
    renew_at: Timestamp,
}

impl IamToken {
    fn new(secret: SecretString, expires_at: Timestamp, renew_at: Timestamp) -> Result<Self, Failure> {
        let mut header = HeaderValue::from_str(secret.expose_secret())
            .map_err(|_| Failure::unexpected("the token cannot be used as a header"))?;
        header.set_sensitive(true);
        Ok(Self { header, secret, expires_at, renew_at })
    }

    /// The same token, to be renewed a little later.
    fn renewed_later(&self, now: Timestamp) -> Self {
        let renew_at = now.checked_add(RENEW_AGAIN).unwrap_or(self.expires_at);
        Self { header: self.header.clone(), secret: self.secret.clone(), expires_at: self.expires_at, renew_at }
    }
}

impl Authorize for IamToken {
    fn headers(&self, _: &Method, _: &str) -> Result<HeaderMap, Failure> {
        let mut headers = HeaderMap::with_capacity(1);
        headers.insert("x-auth-token", self.header.clone());
        Ok(headers)
    }

    fn secrets(&self) -> Vec<&SecretString> {
        vec![&self.secret]
    }
}

/// Where tokens come from.
pub(super) enum TokenSource {
    /// `KAKAOCLOUD_TOKEN`, used as it is.
    Fixed(SecretString),
    /// An application credential.
    Issued(Box<Issuer>),
}

pub(super) struct Issuer {
    iam: Transport,
    clock: Clock,
    credential: ApplicationCredential,
    /// Locked while a token is issued, so that there is one request at a time.
    state: Mutex<IssuerState>,
}

#[derive(Default)]
struct IssuerState {
    token: Option<Arc<IamToken>>,
    /// The last failure and its time: callers that asked before it get it too, instead of asking IAM again.
    failed: Option<(Instant, CloudError)>,
}

impl TokenSource {
    pub(super) fn fixed(token: SecretString) -> Self {
        Self::Fixed(token)
    }

    pub(super) fn issued(iam: Transport, clock: Clock, id: SecretString, secret: SecretString) -> Self {
        let credential = ApplicationCredential { id, secret };
        Self::Issued(Box::new(Issuer { iam, clock, credential, state: Mutex::default() }))
    }

    /// Whether a rejected token can be replaced.
    pub(super) fn is_renewable(&self) -> bool {
        matches!(self, Self::Issued(_))
    }

    /// The token to use now.
    pub(super) async fn token(&self, attempts: Attempts) -> Result<Arc<IamToken>, CloudError> {
        match self {
            Self::Fixed(secret) => fixed_token(secret),
            Self::Issued(issuer) => issuer.token(None, attempts).await,
        }
    }

    /// A token other than `rejected`: a new one, unless it was renewed in the meantime.
    pub(super) async fn renew(
        &self,
        rejected: &Arc<IamToken>,
        attempts: Attempts,
    ) -> Result<Arc<IamToken>, CloudError> {
        match self {
            Self::Fixed(secret) => fixed_token(secret),
            Self::Issued(issuer) => issuer.token(Some(rejected), attempts).await,
        }
    }
}

fn fixed_token(secret: &SecretString) -> Result<Arc<IamToken>, CloudError> {
    IamToken::new(secret.clone(), Timestamp::MAX, Timestamp::MAX)
        .map(Arc::new)
        .map_err(|failure| failure.into_error(Provider::KakaoCloud, IssueToken::NAME, &[secret]))
}

impl Issuer {
    /// The token in hand if it is good, else a new one. Callers that wait for the lock share its outcome.
    async fn token(&self, rejected: Option<&Arc<IamToken>>, attempts: Attempts) -> Result<Arc<IamToken>, CloudError> {
        let asked_at = Instant::now();
        let mut state = self.state.lock().await;
        let now = (self.clock)();
        let is_good = |token: &Arc<IamToken>| {
            token.expires_at > now && !rejected.is_some_and(|rejected| Arc::ptr_eq(rejected, token))
        };
        let in_hand = state.token.clone().filter(is_good);
        if let Some(token) = in_hand.as_ref().filter(|token| token.renew_at > now) {
            return Ok(token.clone());
        }
        if let Some((_, error)) = state.failed.as_ref().filter(|(failed_at, _)| *failed_at >= asked_at) {
            return Err(error.clone());
        }
        let outcome = match (self.issue(attempts).await, in_hand) {
            (Err(error), Some(token)) => {
                tracing::warn!(%error, "the token could not be renewed early; the current one stays in use");
                Ok(token.renewed_later(now))
            }
            (outcome, _) => outcome,
        }
        .map(Arc::new);
        *state = match &outcome {
            Ok(token) => IssuerState { token: Some(token.clone()), failed: None },
            Err(error) => IssuerState { token: None, failed: Some((Instant::now(), error.clone())) },
        };
        outcome
    }

    async fn issue(&self, attempts: Attempts) -> Result<IamToken, CloudError> {
        let issued = self.iam.run(&IssueToken { credential: &self.credential }, &self.credential, attempts).await?;
        let renew_at = renew_at(issued.issued_at, issued.expires_at, rand::random_range(0.0..1.0));
        IamToken::new(issued.token, issued.expires_at, renew_at)
            .map_err(|failure| failure.into_error(Provider::KakaoCloud, IssueToken::NAME, &self.credential.secrets()))
    }
}

/// When to renew a token: five to six minutes before its end by `jitter` (0..1), but not in the first half of its life.
fn renew_at(issued_at: Timestamp, expires_at: Timestamp, jitter: f64) -> Timestamp {
    let life = expires_at.duration_since(issued_at);
    let early = RENEW_EARLY + RENEW_JITTER.mul_f64(jitter.clamp(0.0, 1.0));
    expires_at.checked_sub(early.min(life / 2)).unwrap_or(expires_at)
}

struct ApplicationCredential {
    id: SecretString,
    secret: SecretString,
}

/// IAM is authorised by the body; there is no header.
impl Authorize for ApplicationCredential {
    fn headers(&self, _: &Method, _: &str) -> Result<HeaderMap, Failure> {
        Ok(HeaderMap::new())
    }

    fn secrets(&self) -> Vec<&SecretString> {
        vec![&self.secret, &self.id]
    }
}

/// `POST /identity/v3/auth/tokens` at IAM. Repeating it does no harm: it makes another token.
struct IssueToken<'a> {
    credential: &'a ApplicationCredential,
}

struct Issued {
    token: SecretString,
    issued_at: Timestamp,
    expires_at: Timestamp,
}

impl Operation for IssueToken<'_> {
    type Output = Issued;
    type Entries = ();
    const NAME: &'static str = "issueToken";
    const LANE: Lane = Lane::Read;

    fn request(&self) -> Request {
        let ApplicationCredential { id, secret } = self.credential;
        let body = json!({"auth": {"identity": {
            "methods": ["application_credential"],
            "application_credential": {"id": id.expose_secret(), "secret": secret.expose_secret()},
        }}});
        let path = ["identity", "v3", "auth", "tokens"].map(str::to_owned).to_vec();
        Request { method: Method::POST, path, payload: RequestPayload::Json(body) }
    }

    fn decode(&self, response: &Response, (): (), _: Refuse<'_>) -> Result<Issued, Failure> {
        if !response.is_success() {
            return Err(iam_refusal(response));
        }
        let unexpected = |message: &'static str| response.failure(ErrorKind::UnexpectedResponse, message);
        let token = response
            .headers
            .get("x-subject-token")
            .and_then(|value| value.to_str().ok())
            .filter(|token| !token.is_empty())
            .map(SecretString::from)
            .ok_or_else(|| unexpected("the answer has no token in its header X-Subject-Token"))?;
        let body: TokenBody = read_object(response)?;
        let expires_at = body.token.and_then(|token| token.expires_at);
        let expires_at = expires_at.ok_or_else(|| unexpected("field token.expires_at: not a time in RFC 3339"))?;
        if expires_at <= response.received_at {
            return Err(unexpected("the new token has already ended; check the clock of this machine"));
        }
        Ok(Issued { token, issued_at: response.received_at, expires_at })
    }
}

/// Reads the answer to a request for a token, for the property tests and the fuzz targets.
pub(super) fn decode_token(response: Response, refuse: Refuse<'_>) -> Result<Timestamp, Failure> {
    let credential = ApplicationCredential { id: "id".into(), secret: "secret".into() };
    decode_bytes(&IssueToken { credential: &credential }, response, refuse).map(|issued| issued.expires_at)
}

/// IAM says 404 for an ID that it does not know, which is a wrong credential; without its error body it is a wrong endpoint.
fn iam_refusal(response: &Response) -> Failure {
    let mut failure = refusal(response, Subject::Collection);
    if response.status == 404 && failure.code.is_some() {
        failure.kind = ErrorKind::CredentialsRejected;
    }
    if failure.kind == ErrorKind::CredentialsRejected {
        failure.message = "the application credential was not accepted; check its ID, secret and expiry".into();
    }
    failure
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn renewal_is_early_with_jitter_but_not_in_the_first_half() {
        let at = |text: &str| text.parse::<Timestamp>().unwrap();
        let start = at("2026-11-22T00:00:00Z");
        for (end, jitter, expected) in [
            ("2026-11-22T12:00:00Z", 0.0, "2026-11-22T11:55:00Z"),
            ("2026-11-22T12:00:00Z", 0.5, "2026-11-22T11:54:30Z"),
            ("2026-11-22T12:00:00Z", 1.0, "2026-11-22T11:54:00Z"),
            ("2026-11-22T00:04:00Z", 0.0, "2026-11-22T00:02:00Z"),
            ("2026-11-22T00:00:10Z", 1.0, "2026-11-22T00:00:05Z"),
        ] {
            assert_eq!(renew_at(start, at(end), jitter), at(expected), "{end} {jitter}");
        }
    }
}
