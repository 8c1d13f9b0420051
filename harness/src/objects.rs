//! Namespaces and Secrets, and waiting for what becomes of an object.

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use fake_cloud::{KAKAO_CREDENTIAL_ID, KAKAO_CREDENTIAL_SECRET, NCP_ACCESS_KEY, NCP_SECRET_KEY};
use k8s_openapi::api::core::v1::{Namespace, Secret};
use kube::api::{Api, DeleteParams, ObjectMeta, PostParams};
use kube::runtime::wait::await_condition;
use kube::{Client, Resource, ResourceExt as _};
use serde::Serialize;
use serde::de::DeserializeOwned;

/// The Secret with a KakaoCloud credential that the fake cloud accepts.
pub const KAKAO_SECRET: &str = "kakaocloud";
/// The Secret with an NCP key that the fake cloud accepts.
pub const NCP_SECRET: &str = "ncp";

fn named(name: &str) -> ObjectMeta {
    ObjectMeta { name: Some(name.to_owned()), ..ObjectMeta::default() }
}

/// Creates a namespace.
///
/// # Errors
/// When the API server refuses it.
pub async fn namespace(client: &Client, name: &str) -> Result<()> {
    let namespace = Namespace { metadata: named(name), ..Namespace::default() };
    let created = Api::all(client.clone()).create(&PostParams::default(), &namespace).await;
    created.map(drop).with_context(|| format!("cannot create the namespace {name}"))
}

/// Creates a Secret, or replaces it.
///
/// # Errors
/// When the API server refuses it.
pub async fn secret(api: &Api<Secret>, name: &str, data: BTreeMap<String, String>) -> Result<()> {
    let secret = Secret { metadata: named(name), string_data: Some(data), ..Secret::default() };
    let failed = || format!("cannot write the Secret {name}");
    // Deleted first: a patch would keep the keys that are no longer wanted.
    if api.get_opt(name).await.with_context(failed)?.is_some() {
        api.delete(name, &DeleteParams::default()).await.with_context(failed)?;
    }
    api.create(&PostParams::default(), &secret).await.map(drop).with_context(failed)
}

/// The data of a Secret with the KakaoCloud credential that the fake cloud accepts.
#[must_use]
pub fn kakao_secret() -> BTreeMap<String, String> {
    data([
        ("KAKAOCLOUD_APPLICATION_CREDENTIAL_ID", KAKAO_CREDENTIAL_ID),
        ("KAKAOCLOUD_APPLICATION_CREDENTIAL_SECRET", KAKAO_CREDENTIAL_SECRET),
    ])
}

/// The data of a Secret with the NCP key that the fake cloud accepts.
#[must_use]
pub fn ncp_secret() -> BTreeMap<String, String> {
    ncp_secret_of(NCP_ACCESS_KEY, NCP_SECRET_KEY)
}

/// The data of a Secret with another NCP key.
#[must_use]
pub fn ncp_secret_of(access_key: &str, secret_key: &str) -> BTreeMap<String, String> {
    data([("NCLOUD_ACCESS_KEY", access_key), ("NCLOUD_SECRET_KEY", secret_key)])
}

fn data(pairs: [(&str, &str); 2]) -> BTreeMap<String, String> {
    pairs.map(|(key, value)| (key.to_owned(), value.to_owned())).into()
}

/// Waits until something holds of an object, and gives it back as it was then.
///
/// # Errors
/// When it does not within the time, with the object as it was last seen; when the watch fails.
pub async fn until<K>(api: Api<K>, name: &str, what: &str, within: Duration, holds: impl Fn(&K) -> bool) -> Result<K>
where
    K: Resource + Clone + Debug + DeserializeOwned + Serialize + Send + 'static,
{
    let last: Arc<Mutex<Option<K>>> = Arc::default();
    let seen = Arc::clone(&last);
    let condition = move |object: Option<&K>| {
        *seen.lock().unwrap_or_else(PoisonError::into_inner) = object.cloned();
        object.is_some_and(&holds)
    };
    let why = match tokio::time::timeout(within, await_condition(api, name, condition)).await {
        Ok(Ok(Some(found))) => return Ok(found),
        Ok(Ok(None)) => "it is gone".to_owned(),
        Ok(Err(error)) => format!("the watch failed ({error})"),
        Err(_) => format!("it took more than {} s", within.as_secs()),
    };
    let mut shown = last.lock().unwrap_or_else(PoisonError::into_inner).clone();
    if let Some(object) = &mut shown {
        object.managed_fields_mut().clear();
    }
    let text = shown.map_or_else(|| "(none)".to_owned(), |object| serde_saphyr::to_string(&object).unwrap_or_default());
    bail!("{name}: {what}: {why}; it was last seen as\n{text}")
}
