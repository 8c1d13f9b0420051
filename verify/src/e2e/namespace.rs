//! Namespaces of the tests.

use std::time::Duration;

use anyhow::Context as _;
use k8s_openapi::api::core::v1::{Namespace, ServiceAccount};
use kube::Client;
use kube::api::{Api, Patch, PatchParams};
use serde_json::json;

use super::until::until;

const ACCOUNT_WITHIN: Duration = Duration::from_secs(60);
const FIELD_MANAGER: &str = "xtask-e2e";

/// A namespace that enforces the restricted Pod Security Standard
/// (<https://kubernetes.io/docs/concepts/security/pod-security-standards/#restricted>).
///
/// # Errors
/// When it is refused.
pub(super) async fn restricted(client: &Client, name: &str) -> anyhow::Result<()> {
    let namespace = json!({
        "apiVersion": "v1",
        "kind": "Namespace",
        "metadata": {"name": name, "labels": {
            "pod-security.kubernetes.io/enforce": "restricted",
            "pod-security.kubernetes.io/enforce-version": "latest",
        }},
    });
    let api: Api<Namespace> = Api::all(client.clone());
    let params = PatchParams::apply(FIELD_MANAGER);
    let applied = api.patch(name, &params, &Patch::Apply(&namespace)).await;
    applied.with_context(|| format!("cannot create the namespace {name}"))?;
    // A controller makes it a moment later; no pod is accepted before.
    let accounts: Api<ServiceAccount> = Api::namespaced(client.clone(), name);
    until(&format!("the namespace {name} has its default service account"), ACCOUNT_WITHIN, || async {
        let found = accounts.get_opt("default").await.context("cannot read a service account")?;
        Ok(found.map(drop).ok_or_else(|| "there is none".to_owned()))
    })
    .await
}
