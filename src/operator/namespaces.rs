//! Warns about namespaces of --watch-namespace that do not exist.
//!
//! This needs no further right: an event is created in each of them as a dry run, which the API server refuses with 404 if the
//! namespace does not exist. An operator whose rights come from Roles is refused with 403 instead; then the watches report that
//! (`watch_failure.rs`).

use std::collections::BTreeSet;
use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::ObjectReference;
use k8s_openapi::api::events::v1::Event;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;
use kube::api::{Api, ObjectMeta, PostParams};
use kube::{Client, Resource as _};
use tracing::{info, warn};

use crate::api::FIELD_MANAGER;
use crate::runtime::watch_health::places;

/// Time between two checks.
const LOOK_EVERY: Duration = Duration::from_secs(300);

/// Checks now and then, and logs what has changed. `is_empty` says whether no object of a namespace is known: only then it may not
/// exist.
pub(crate) async fn watch_over(client: &Client, namespaces: &[String], is_empty: impl Fn(&str) -> bool) {
    let mut every = tokio::time::interval(LOOK_EVERY);
    let mut told = BTreeSet::new();
    loop {
        every.tick().await;
        let mut missing = BTreeSet::new();
        for namespace in namespaces.iter().filter(|namespace| is_empty(namespace)) {
            if is_missing(client, namespace).await.unwrap_or(told.contains(namespace)) {
                missing.insert(namespace.clone());
            }
        }
        tell(&told, &missing);
        told = missing;
    }
}

fn tell(before: &BTreeSet<String>, now: &BTreeSet<String>) {
    let words = |names: Vec<&String>| places(&names.into_iter().map(|name| Some(name.as_str())).collect::<Vec<_>>());
    let gone: Vec<&String> = now.difference(before).collect();
    if !gone.is_empty() {
        let verb = if gone.len() == 1 { "does" } else { "do" };
        warn!("{} {verb} not exist; objects in it are seen once it is created (see --watch-namespace)", words(gone));
    }
    let made: Vec<&String> = before.difference(now).collect();
    if !made.is_empty() {
        info!("{} was created", words(made));
    }
}

/// Whether the namespace does not exist; none if the API server does not say.
async fn is_missing(client: &Client, namespace: &str) -> Option<bool> {
    let api: Api<Event> = Api::namespaced(client.clone(), namespace);
    let trial = PostParams { dry_run: true, field_manager: Some(FIELD_MANAGER.to_owned()) };
    match api.create(&trial, &event(namespace)).await {
        Ok(_) => Some(false),
        Err(kube::Error::Api(status)) => match status.code {
            404 => Some(true),
            403 | 429 | 500.. => None,
            _ => Some(false),
        },
        Err(_) => None,
    }
}

fn event(namespace: &str) -> Event {
    let name = "managed-redis-operator-looks-for-the-namespace".to_owned();
    Event {
        metadata: ObjectMeta { name: Some(name), namespace: Some(namespace.to_owned()), ..ObjectMeta::default() },
        event_time: Some(MicroTime(Timestamp::now())),
        action: Some("Look".to_owned()),
        reason: Some("Look".to_owned()),
        type_: Some("Normal".to_owned()),
        reporting_controller: Some(FIELD_MANAGER.to_owned()),
        reporting_instance: Some(FIELD_MANAGER.to_owned()),
        regarding: Some(ObjectReference {
            api_version: Some("v1".to_owned()),
            kind: Some(k8s_openapi::api::core::v1::Namespace::kind(&()).into_owned()),
            name: Some(namespace.to_owned()),
            namespace: Some(namespace.to_owned()),
            ..ObjectReference::default()
        }),
        ..Event::default()
    }
}
