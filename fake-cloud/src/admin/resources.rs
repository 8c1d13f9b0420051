//! Clusters and instances in the admin API: the same five verbs for both.

use axum::Router;
use axum::body::Bytes;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::routing::get;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value, json};

use super::{AdminAnswer, AdminError, answer, ok, read};
use crate::handle::StateHandle;
use crate::model::{KakaoCluster, NcpInstance};
use crate::state::StateError;

/// Something the clouds hold many of.
pub(super) trait Resource: Serialize + DeserializeOwned + Clone + Send + 'static {
    /// The key of a list.
    const LIST: &'static str;
    /// What a person calls it.
    const KIND: &'static str;
    /// The field with the ID.
    const ID: &'static str;
    fn list(handle: &StateHandle) -> Vec<Self>;
    fn get(handle: &StateHandle, id: &str) -> Option<Self>;
    fn add(handle: &StateHandle, value: Self) -> Result<String, StateError>;
    fn update(handle: &StateHandle, id: &str, change: impl FnOnce(&mut Self)) -> Result<Self, StateError>;
    fn remove(handle: &StateHandle, id: &str) -> Option<Self>;
}

impl Resource for KakaoCluster {
    const LIST: &'static str = "clusters";
    const KIND: &'static str = "cluster";
    const ID: &'static str = "objectId";

    fn list(handle: &StateHandle) -> Vec<Self> {
        handle.kakao_clusters()
    }

    fn get(handle: &StateHandle, id: &str) -> Option<Self> {
        handle.kakao_cluster(id)
    }

    fn add(handle: &StateHandle, value: Self) -> Result<String, StateError> {
        handle.add_kakao_cluster(value)
    }

    fn update(handle: &StateHandle, id: &str, change: impl FnOnce(&mut Self)) -> Result<Self, StateError> {
        handle.update_kakao_cluster(id, change)
    }

    fn remove(handle: &StateHandle, id: &str) -> Option<Self> {
        handle.remove_kakao_cluster(id)
    }
}

impl Resource for NcpInstance {
    const LIST: &'static str = "instances";
    const KIND: &'static str = "instance";
    const ID: &'static str = "cloudDBInstanceNo";

    fn list(handle: &StateHandle) -> Vec<Self> {
        handle.ncp_instances()
    }

    fn get(handle: &StateHandle, id: &str) -> Option<Self> {
        handle.ncp_instance(id)
    }

    fn add(handle: &StateHandle, value: Self) -> Result<String, StateError> {
        handle.add_ncp_instance(value)
    }

    fn update(handle: &StateHandle, id: &str, change: impl FnOnce(&mut Self)) -> Result<Self, StateError> {
        handle.update_ncp_instance(id, change)
    }

    fn remove(handle: &StateHandle, id: &str) -> Option<Self> {
        handle.remove_ncp_instance(id)
    }
}

/// The routes of one kind.
pub(super) fn routes<T: Resource>(path: &str) -> Router<StateHandle> {
    Router::new()
        .route(path, get(list::<T>).post(add::<T>))
        .route(&format!("{path}/{{id}}"), get(one::<T>).put(put::<T>).patch(patch::<T>).delete(remove::<T>))
}

fn not_found<T: Resource>(id: &str) -> AdminError {
    StateError::NotFound { kind: T::KIND, id: id.to_owned() }.into()
}

async fn list<T: Resource>(State(handle): State<StateHandle>) -> AdminAnswer {
    let mut body = Map::new();
    body.insert(T::LIST.into(), json!(T::list(&handle)));
    ok(&body)
}

async fn one<T: Resource>(State(handle): State<StateHandle>, Path(id): Path<String>) -> AdminAnswer {
    ok(&T::get(&handle, &id).ok_or_else(|| not_found::<T>(&id))?)
}

async fn add<T: Resource>(State(handle): State<StateHandle>, body: Bytes) -> AdminAnswer {
    let id = T::add(&handle, read(&body)?)?;
    Ok(answer(StatusCode::CREATED, &T::get(&handle, &id)))
}

/// Puts a value in place of the one there, or adds it. The ID may be left out of the body.
async fn put<T: Resource>(State(handle): State<StateHandle>, Path(id): Path<String>, body: Bytes) -> AdminAnswer {
    let mut fields: Map<String, Value> = read(&body)?;
    if fields.entry(T::ID).or_insert_with(|| id.as_str().into()) != id.as_str() {
        return Err(AdminError::bad_request(format!("{} in the body is not {id}", T::ID)));
    }
    let value: T = read(Value::Object(fields).to_string().as_bytes())?;
    if T::get(&handle, &id).is_none() {
        T::add(&handle, value)?;
        return Ok(answer(StatusCode::CREATED, &T::get(&handle, &id)));
    }
    ok(&T::update(&handle, &id, |current| *current = value)?)
}

/// Changes the fields named in the body; objects are merged, anything else is replaced, null stays null.
async fn patch<T: Resource>(State(handle): State<StateHandle>, Path(id): Path<String>, body: Bytes) -> AdminAnswer {
    let changes: Map<String, Value> = read(&body)?;
    let mut refusal = None;
    let current = T::update(&handle, &id, |current| {
        match merged(current, changes) {
            Ok(value) => *current = value,
            Err(error) => refusal = Some(error),
        };
    })?;
    refusal.map_or_else(|| ok(&current), Err)
}

fn merged<T: Resource>(current: &T, changes: Map<String, Value>) -> Result<T, AdminError> {
    let mut value = serde_json::to_value(current).map_err(|error| AdminError::bad_request(error.to_string()))?;
    merge(&mut value, Value::Object(changes));
    read(value.to_string().as_bytes())
}

fn merge(current: &mut Value, change: Value) {
    match (current, change) {
        (Value::Object(current), Value::Object(changes)) => {
            for (name, change) in changes {
                merge(current.entry(name).or_insert(Value::Null), change);
            }
        }
        (current, change) => *current = change,
    }
}

async fn remove<T: Resource>(
    State(handle): State<StateHandle>,
    Path(id): Path<String>,
) -> Result<StatusCode, AdminError> {
    T::remove(&handle, &id).map(|_| StatusCode::NO_CONTENT).ok_or_else(|| not_found::<T>(&id))
}
