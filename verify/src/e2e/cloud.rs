//! The fake cloud as a pod, and its admin API, reached through the API server.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Context as _, anyhow};
use harness::describe;
use http::{Method, Request};
use k8s_openapi::api::core::v1::{Pod, Service};
use kube::Client;
use kube::api::{Api, PostParams};
use serde::Deserialize;
use serde_json::{Value, json};

use super::namespace::restricted;
use super::until::until;

/// Where the fake cloud runs.
pub(super) const NAMESPACE: &str = "managed-redis-e2e-clouds";
/// What errors call it.
const ADMIN: &str = "the fake cloud's admin API";
const NAME: &str = "fake-cloud";
const PORT: u16 = 18080;
const ADMIN_PORT: u16 = 18081;
const READY_WITHIN: Duration = Duration::from_secs(60);

/// The fake cloud in the cluster.
#[derive(Clone)]
pub(super) struct ClusterCloud {
    client: Client,
    /// Base URL of both clouds for pods. It is an address, since the cluster need not have DNS.
    pub url: String,
}

/// What was really done to the clouds.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub(super) struct Effects {
    /// Flushes by instance.
    pub flushes: BTreeMap<String, u64>,
    /// Applied parameter groups by cluster.
    pub applies: BTreeMap<String, u64>,
}

impl Effects {
    /// How often an instance was flushed.
    pub(super) fn flushes_of(&self, instance: &str) -> u64 {
        self.flushes.get(instance).copied().unwrap_or_default()
    }
}

impl ClusterCloud {
    /// Starts it.
    ///
    /// # Errors
    /// When its pod is not ready in time.
    pub(super) async fn start(client: &Client, image: &str) -> anyhow::Result<Self> {
        restricted(client, NAMESPACE).await?;
        let pods: Api<Pod> = Api::namespaced(client.clone(), NAMESPACE);
        let services: Api<Service> = Api::namespaced(client.clone(), NAMESPACE);
        let create = PostParams::default();
        pods.create(&create, &pod(image)).await.context("cannot create the fake cloud's pod")?;
        let service = services.create(&create, &service()).await;
        let service = service.context("cannot create the fake cloud's service")?;
        let address = service.spec.and_then(|spec| spec.cluster_ip).unwrap_or_default();
        let cloud = Self { client: client.clone(), url: format!("http://{address}:{PORT}") };
        until("the fake cloud answers", READY_WITHIN, || async {
            Ok(cloud.send(Method::GET, "/healthz", None).await.map(drop).map_err(|error| describe(&error)))
        })
        .await?;
        Ok(cloud)
    }

    async fn send(&self, method: Method, path: &str, body: Option<&Value>) -> anyhow::Result<String> {
        let uri = format!("/api/v1/namespaces/{NAMESPACE}/pods/{NAME}:{ADMIN_PORT}/proxy{path}");
        let body = body.map(|body| body.to_string().into_bytes()).unwrap_or_default();
        let request =
            Request::builder().method(&method).uri(&uri).header("content-type", "application/json").body(body);
        let request = request.context(ADMIN)?;
        self.client.request_text(request).await.with_context(|| format!("{ADMIN}: {method} {path}"))
    }

    async fn read(&self, path: &str) -> anyhow::Result<Value> {
        let text = self.send(Method::GET, path, None).await?;
        serde_json::from_str(&text).map_err(|error| anyhow!("{ADMIN}: GET {path}: {error}: {text}"))
    }

    /// What was really done to the clouds.
    ///
    /// # Errors
    /// When the admin API does not answer.
    pub(super) async fn effects(&self) -> anyhow::Result<Effects> {
        let value = self.read("/effects").await?;
        serde_json::from_value(value).with_context(|| format!("{ADMIN}: GET /effects"))
    }

    /// Lets the next flush of an instance go wrong in some way, or take long.
    ///
    /// # Errors
    /// When the fault is refused.
    pub(super) async fn fault_next_flush(&self, instance: &str, kind: Value) -> anyhow::Result<()> {
        let fault = json!({"operation": "ncp.flush", "target": instance, "times": 1, "kind": kind});
        self.send(Method::POST, "/faults", Some(&fault)).await.map(drop)
    }

    /// Makes an NCP instance.
    ///
    /// # Errors
    /// When it is refused.
    pub(super) async fn add_instance(&self, number: &str) -> anyhow::Result<()> {
        let instance = json!({
            "cloudDBInstanceNo": number,
            "cloudDBServiceName": format!("e2e-{number}"),
            "cloudDBServerInstanceList": [{
                "cloudDBServerInstanceNo": format!("{number}1"),
                "cloudDBServerName": format!("e2e-{number}-001"),
                "cloudDBServerRole": {"code": "M", "codeName": "Master"},
                "privateDnsName": format!("e2e-{number}.cdb.shop.example"),
            }],
        });
        self.send(Method::POST, "/ncp/instances", Some(&instance)).await.map(drop)
    }

    /// Changes the state of an NCP instance.
    ///
    /// # Errors
    /// When it is refused.
    pub(super) async fn set_instance_state(&self, number: &str, state: &str) -> anyhow::Result<()> {
        let change = json!({"cloudDBInstanceStatusName": state});
        self.send(Method::PATCH, &format!("/ncp/instances/{number}"), Some(&change)).await.map(drop)
    }

    /// Makes a KakaoCloud cluster whose parameter group never holds.
    ///
    /// # Errors
    /// When it is refused.
    pub(super) async fn add_broken_cluster(&self, id: &str, name: &str) -> anyhow::Result<()> {
        let cluster = json!({
            "objectId": id,
            "name": name,
            "endpoints": {"primaryEndpoint": format!("{name}.kr-central-2.memstore.shop.example")},
            "parameterGroupId": "e81b6d0c-25f9-4a7e-8c34-d1f07a9b5399",
            "parameterGroupName": name,
            "parameterGroupSyncStatus": "Error-Sync",
            "behaviour": {"applyFailures": 1_000_000},
        });
        self.send(Method::POST, "/kakao/clusters", Some(&cluster)).await.map(drop)
    }
}

fn pod(image: &str) -> Pod {
    serde_json::from_value(json!({
        "metadata": {"name": NAME, "labels": {"app": NAME}},
        "spec": {
            "automountServiceAccountToken": false,
            "securityContext": {"runAsNonRoot": true, "seccompProfile": {"type": "RuntimeDefault"}},
            "containers": [{
                "name": NAME,
                "image": image,
                "imagePullPolicy": "IfNotPresent",
                "ports": [{"containerPort": PORT}, {"containerPort": ADMIN_PORT}],
                "readinessProbe": {"httpGet": {"path": "/healthz", "port": ADMIN_PORT}, "periodSeconds": 1},
                "securityContext": {
                    "allowPrivilegeEscalation": false,
                    "readOnlyRootFilesystem": true,
                    "capabilities": {"drop": ["ALL"]},
                },
            }],
        },
    }))
    .unwrap_or_default()
}

fn service() -> Service {
    serde_json::from_value(json!({
        "metadata": {"name": NAME},
        "spec": {"selector": {"app": NAME}, "ports": [{"port": PORT}]},
    }))
    .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_objects_are_well_formed() {
        assert_eq!(pod("a:1").spec.unwrap().containers[0].image.as_deref(), Some("a:1"));
        assert_eq!(service().spec.unwrap().ports.unwrap()[0].port, i32::from(PORT));
    }
}
