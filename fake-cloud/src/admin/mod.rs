//! The admin API: everything [`StateHandle`] can do, as JSON over HTTP. It has no protection: loopback only.

mod resources;

use std::collections::BTreeMap;
use std::time::Duration;

use axum::Router;
use axum::body::Bytes;
use axum::extract::{Path, Query, State};
use axum::http::{StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use axum::routing::{delete, get, post, put};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::delivery::whole;
use crate::error::StartError;
use crate::exchange::CloudReply;
use crate::faults::{Fault, FaultError};
use crate::handle::StateHandle;
use crate::model::{KakaoCluster, KakaoFlavor, NcpInstance};
use crate::seed::{KakaoCredential, NcpKey};
use crate::state::StateError;

/// Ten years: farther than that no test needs to go.
const MOST_SECONDS: i64 = 10 * 366 * 24 * 60 * 60;

/// All routes.
pub(crate) fn router(handle: StateHandle) -> Router {
    Router::new()
        .merge(resources::routes::<KakaoCluster>("/kakao/clusters"))
        .merge(resources::routes::<NcpInstance>("/ncp/instances"))
        .route("/kakao/tokens", get(tokens).post(add_token).delete(revoke_tokens))
        .route("/kakao/token-lifetime", put(set_token_lifetime))
        .route("/kakao/credentials", put(set_credentials))
        .route("/kakao/versions", put(set_versions))
        .route("/kakao/flavors", put(set_flavors))
        .route("/ncp/keys", put(set_keys))
        .route("/faults", get(faults).post(add_fault).delete(clear_faults))
        .route("/faults/{id}", delete(remove_fault))
        .route("/requests", get(requests))
        .route("/effects", get(effects))
        .route("/clock", get(clock).post(set_clock))
        .route("/reset", post(reset))
        .route("/healthz", get(async || "ok\n"))
        .fallback(
            |uri: Uri| async move { AdminError::new(StatusCode::NOT_FOUND, format!("there is no {}", uri.path())) },
        )
        .method_not_allowed_fallback(async || {
            AdminError::new(StatusCode::METHOD_NOT_ALLOWED, "the method is not allowed here")
        })
        .with_state(handle)
}

/// A refusal: a status and a message.
#[derive(Debug)]
struct AdminError {
    status: StatusCode,
    message: String,
}

impl AdminError {
    fn new(status: StatusCode, message: impl Into<String>) -> Self {
        Self { status, message: message.into() }
    }

    fn bad_request(message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, message)
    }
}

impl IntoResponse for AdminError {
    fn into_response(self) -> Response {
        answer(self.status, &json!({"error": self.message}))
    }
}

impl From<StateError> for AdminError {
    fn from(error: StateError) -> Self {
        let status = match error {
            StateError::AlreadyExists { .. } => StatusCode::CONFLICT,
            StateError::NotFound { .. } => StatusCode::NOT_FOUND,
            StateError::Invalid(_) => StatusCode::BAD_REQUEST,
        };
        Self::new(status, error.to_string())
    }
}

impl From<FaultError> for AdminError {
    fn from(error: FaultError) -> Self {
        Self::bad_request(error.to_string())
    }
}

impl From<StartError> for AdminError {
    fn from(error: StartError) -> Self {
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, error.to_string())
    }
}

type AdminAnswer = Result<Response, AdminError>;

fn answer(status: StatusCode, body: &impl Serialize) -> Response {
    whole(CloudReply::json(status, body))
}

fn ok(body: &impl Serialize) -> AdminAnswer {
    Ok(answer(StatusCode::OK, body))
}

/// Reads a body of JSON, whatever its content type.
fn read<T: DeserializeOwned>(body: &[u8]) -> Result<T, AdminError> {
    serde_json::from_slice(body).map_err(|error| AdminError::bad_request(format!("the body cannot be read: {error}")))
}

async fn tokens(State(handle): State<StateHandle>) -> AdminAnswer {
    ok(&json!({"valid": handle.valid_kakao_tokens()}))
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct NewToken {
    token: String,
    expires_in_seconds: Option<u32>,
}

async fn add_token(State(handle): State<StateHandle>, body: Bytes) -> AdminAnswer {
    let NewToken { token, expires_in_seconds } = read(&body)?;
    if token.is_empty() {
        return Err(AdminError::bad_request("the token must not be empty"));
    }
    handle.add_kakao_token(token, expires_in_seconds);
    Ok(answer(StatusCode::CREATED, &json!({"valid": handle.valid_kakao_tokens()})))
}

async fn revoke_tokens(State(handle): State<StateHandle>) -> AdminAnswer {
    ok(&json!({"revoked": handle.revoke_kakao_tokens()}))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Lifetime {
    seconds: u32,
}

async fn set_token_lifetime(State(handle): State<StateHandle>, body: Bytes) -> AdminAnswer {
    let Lifetime { seconds } = read(&body)?;
    handle.set_kakao_token_lifetime(seconds);
    ok(&json!({"seconds": seconds}))
}

async fn set_credentials(State(handle): State<StateHandle>, body: Bytes) -> AdminAnswer {
    let credentials: Vec<KakaoCredential> = read(&body)?;
    let known = credentials.len();
    handle.set_kakao_credentials(credentials);
    ok(&json!({"known": known}))
}

async fn set_versions(State(handle): State<StateHandle>, body: Bytes) -> AdminAnswer {
    let versions: Vec<String> = read(&body)?;
    handle.set_kakao_versions(versions.iter().cloned());
    ok(&versions)
}

async fn set_flavors(State(handle): State<StateHandle>, body: Bytes) -> AdminAnswer {
    let flavors: Vec<KakaoFlavor> = read(&body)?;
    handle.set_kakao_flavors(flavors.clone());
    ok(&flavors)
}

async fn set_keys(State(handle): State<StateHandle>, body: Bytes) -> AdminAnswer {
    let keys: Vec<NcpKey> = read(&body)?;
    let known = keys.len();
    handle.set_ncp_keys(keys);
    ok(&json!({"known": known}))
}

async fn faults(State(handle): State<StateHandle>) -> AdminAnswer {
    ok(&json!({"faults": handle.faults()}))
}

async fn add_fault(State(handle): State<StateHandle>, body: Bytes) -> AdminAnswer {
    let id = handle.inject(read::<Fault>(&body)?)?;
    Ok(answer(StatusCode::CREATED, &json!({"id": id})))
}

async fn clear_faults(State(handle): State<StateHandle>) -> StatusCode {
    handle.clear_faults();
    StatusCode::NO_CONTENT
}

async fn remove_fault(State(handle): State<StateHandle>, Path(id): Path<String>) -> Result<StatusCode, AdminError> {
    match id.parse().is_ok_and(|id| handle.remove_fault(id)) {
        true => Ok(StatusCode::NO_CONTENT),
        false => Err(AdminError::new(StatusCode::NOT_FOUND, format!("there is no fault {id}"))),
    }
}

async fn requests(State(handle): State<StateHandle>, Query(mut query): Query<BTreeMap<String, String>>) -> AdminAnswer {
    let last = match query.remove("last").map(|text| text.parse::<usize>()) {
        None => 100,
        Some(Ok(last)) => last,
        Some(Err(_)) => return Err(AdminError::bad_request("last must be a number of requests")),
    };
    if let Some(name) = query.keys().next() {
        return Err(AdminError::bad_request(format!("the query parameter {name} is not known; there is last")));
    }
    let recent = handle.recent_requests();
    let shown = &recent[recent.len().saturating_sub(last)..];
    ok(&json!({"operations": handle.request_counts(), "recent": shown}))
}

async fn effects(State(handle): State<StateHandle>) -> AdminAnswer {
    ok(&json!({"flushes": handle.all_flushes(), "applies": handle.all_applies()}))
}

async fn clock(State(handle): State<StateHandle>) -> AdminAnswer {
    ok(&clock_body(&handle))
}

fn clock_body(handle: &StateHandle) -> Value {
    let clock = handle.clock();
    json!({"advancedSeconds": clock.advanced_seconds, "skewSeconds": clock.skew_seconds, "now": handle.now()})
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
#[derive(Default)]
struct ClockChange {
    /// Added to what the clock was advanced by before.
    advance_seconds: Option<u32>,
    /// In place of the skew before.
    skew_seconds: Option<i64>,
}

async fn set_clock(State(handle): State<StateHandle>, body: Bytes) -> AdminAnswer {
    let ClockChange { advance_seconds, skew_seconds } = read(&body)?;
    let advance = advance_seconds.unwrap_or_default();
    let advanced = handle.clock().advanced_seconds.saturating_add(advance.into());
    if advanced > MOST_SECONDS || skew_seconds.is_some_and(|skew| skew.unsigned_abs() > MOST_SECONDS.unsigned_abs()) {
        return Err(AdminError::bad_request("the clock can be moved by no more than ten years"));
    }
    handle.advance(Duration::from_secs(advance.into()));
    if let Some(skew) = skew_seconds {
        handle.set_skew(skew);
    }
    ok(&clock_body(&handle))
}

async fn reset(State(handle): State<StateHandle>) -> Result<StatusCode, AdminError> {
    handle.reset()?;
    Ok(StatusCode::NO_CONTENT)
}
