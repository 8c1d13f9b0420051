//! KakaoCloud: Redis (`/v1/…`) and IAM (`/identity/v3/auth/tokens`).

use axum::http::header::{ALLOW, HeaderName};
use axum::http::{HeaderValue, Method, StatusCode};
use jiff::{SignedDuration, Timestamp};
use secrecy::ExposeSecret as _;
use serde::Serialize;
use serde_json::json;

use crate::exchange::{Call, CloudReply, JSON, Now};
use crate::model::{ClusterBody, KakaoCluster, KakaoFlavor, cluster_body};
use crate::state::{ApplyRefusal, KakaoState};
use crate::token_request::TokenRequest;
use crate::traffic::Operation;

const SUBJECT_TOKEN: HeaderName = HeaderName::from_static("x-subject-token");

/// The answer to a request to KakaoCloud.
pub(crate) fn answer(state: &mut KakaoState, call: &Call, now: Now) -> CloudReply {
    let method = match call.operation {
        Operation::KakaoIamToken | Operation::KakaoParameterGroupApply => Method::POST,
        Operation::Unknown => return error(StatusCode::NOT_FOUND, "there is no such API"),
        _ => Method::GET,
    };
    if call.method != method {
        let reply = error(StatusCode::METHOD_NOT_ALLOWED, "the method is not allowed here");
        return reply.header(ALLOW, HeaderValue::from_static(if method == Method::GET { "GET" } else { "POST" }));
    }
    if call.operation == Operation::KakaoIamToken {
        return issue_token(state, call, now);
    }
    if !state.token_holds(call.header("x-auth-token"), now.state) {
        return error(StatusCode::UNAUTHORIZED, "the token is missing, wrong or has expired");
    }
    let id = call.targets.first().map(String::as_str).unwrap_or_default();
    match call.operation {
        Operation::KakaoVersions => CloudReply::json(StatusCode::OK, &state.versions),
        Operation::KakaoFlavors => CloudReply::json(StatusCode::OK, &Flavors { flavors: &state.flavors }),
        Operation::KakaoClustersList => list(state, call, now),
        Operation::KakaoParameterGroupApply => apply(state, call, id, now),
        _ => match state.get(id, now.state) {
            Some(cluster) => CloudReply::json(StatusCode::OK, &cluster_body(cluster, false)),
            None => no_cluster(id),
        },
    }
}

#[derive(Serialize)]
struct Flavors<'a> {
    flavors: &'a [KakaoFlavor],
}

#[derive(Serialize)]
struct ListedClusters<'a> {
    clusters: Vec<ClusterBody<'a>>,
}

fn list(state: &mut KakaoState, call: &Call, now: Now) -> CloudReply {
    let (mut id, mut name) = (None, None);
    for (field, value) in call.fields() {
        match field.as_ref() {
            "parameterGroupId" => id = Some(value),
            "parameterGroupName" => name = Some(value),
            _ => return error(StatusCode::BAD_REQUEST, &format!("the query parameter {field} is not known")),
        }
    }
    let wanted = |cluster: &&KakaoCluster| {
        id.as_ref().is_none_or(|id| cluster.parameter_group_id.as_deref() == Some(id))
            && name.as_ref().is_none_or(|name| cluster.parameter_group_name.as_deref() == Some(name))
    };
    let clusters = state.list(now.state).filter(wanted).map(|cluster| cluster_body(cluster, true)).collect();
    CloudReply::json(StatusCode::OK, &ListedClusters { clusters })
}

fn apply(state: &mut KakaoState, call: &Call, id: &str, now: Now) -> CloudReply {
    if !call.body.is_empty() {
        return error(StatusCode::BAD_REQUEST, "this request takes no body");
    }
    match state.apply_parameter_group(id, now.state) {
        Ok(()) => CloudReply::json(StatusCode::OK, &json!({"objectId": id})),
        Err(ApplyRefusal::NotFound) => no_cluster(id),
        Err(ApplyRefusal::NoParameterGroup) => {
            error(StatusCode::BAD_REQUEST, &format!("cluster {id} has no parameter group"))
        }
        Err(ApplyRefusal::Busy(status)) => error(StatusCode::CONFLICT, &format!("cluster {id} is {status}")),
    }
}

fn no_cluster(id: &str) -> CloudReply {
    error(StatusCode::NOT_FOUND, &format!("there is no cluster {id}"))
}

/// An error as the sister services of KakaoCloud Redis send it: the code is a string.
pub(crate) fn error(status: StatusCode, message: &str) -> CloudReply {
    CloudReply::json(status, &json!({"error": {"code": status.as_str(), "message": message}}))
}

/// An error as IAM sends it: the code is a number.
fn iam_error(status: StatusCode, message: &str) -> CloudReply {
    let title = status.canonical_reason().unwrap_or_default();
    CloudReply::json(status, &json!({"error": {"code": status.as_u16(), "title": title, "message": message}}))
}

fn issue_token(state: &mut KakaoState, call: &Call, now: Now) -> CloudReply {
    if call.content_type() != JSON {
        return iam_error(StatusCode::UNSUPPORTED_MEDIA_TYPE, "the content type must be application/json");
    }
    let Some(request) = TokenRequest::parse(&call.body) else {
        return iam_error(StatusCode::BAD_REQUEST, "the body is not a token request");
    };
    let TokenRequest { methods, credential_id, credential_secret } = request;
    if methods != ["application_credential"] {
        return iam_error(StatusCode::BAD_REQUEST, "the one method known is application_credential");
    }
    let issued = state.issue_token(&credential_id, credential_secret.expose_secret(), now.state);
    let Some((token, lifetime)) = issued else {
        return iam_error(StatusCode::UNAUTHORIZED, "the request you have made requires authentication");
    };
    let Ok(header) = HeaderValue::from_str(&token) else {
        return iam_error(StatusCode::INTERNAL_SERVER_ERROR, "the token cannot be sent");
    };
    let end = now.wall.checked_add(SignedDuration::from_secs(lifetime.into())).unwrap_or(Timestamp::MAX);
    let body = json!({"token": {
        "methods": ["application_credential"],
        "issued_at": microseconds(now.wall),
        "expires_at": microseconds(end),
        "user": {"id": "6f1d0c2b9a8e4d7f", "name": "platform", "domain": {"id": "shop", "name": "shop"}},
    }});
    CloudReply::json(StatusCode::CREATED, &body).header(SUBJECT_TOKEN, header)
}

/// RFC 3339 with microseconds and Z.
fn microseconds(time: Timestamp) -> String {
    time.strftime("%Y-%m-%dT%H:%M:%S.%6fZ").to_string()
}
