//! Says which namespaces of --watch-namespace do not exist.
//!
//! No right is asked for that: an event is created in them for trial only (a dry run), which the API server refuses with 404 where
//! there is no such namespace. Who has rights in the namespace by a Role may not even do that if it is not there; then the watches
//! say that they are refused (`watch_failure.rs`).

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
use crate::controllers::context::Context;
use crate::runtime::watch_health::places;

/// How often it is looked again.
const LOOK_EVERY: Duration = Duration::from_secs(300);

/// Looks now and then, and tells what has changed.
pub async fn watch_over(ctx: &Context, namespaces: &[String]) {
    let mut every = tokio::time::interval(LOOK_EVERY);
    let mut told = BTreeSet::new();
    loop {
        every.tick().await;
        let mut missing = BTreeSet::new();
        for namespace in namespaces.iter().filter(|namespace| is_empty(ctx, namespace)) {
            if is_missing(&ctx.client, namespace).await.unwrap_or(told.contains(namespace)) {
                missing.insert(namespace.clone());
            }
        }
        tell(&told, &missing);
        told = missing;
    }
}

/// Whether nothing in the namespace is known: where there are objects, there is a namespace.
fn is_empty(ctx: &Context, namespace: &str) -> bool {
    ctx.cluster_refs.is_empty_in(namespace)
        && ctx.parameter_syncs.is_empty_in(namespace)
        && ctx.flush_requests.is_empty_in(namespace)
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

/// Whether there is no such namespace; none if the API server does not say.
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
