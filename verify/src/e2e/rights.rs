//! Each right of the chart's roles is needed: without it, something fails that names it.
//!
//! For each verb on each resource there is a release of its own, in a namespace of its own, which it alone watches; its
//! roles are those of the chart without that one verb. All see the same course of events, in which every right is used once.
//! What shows that a right is missed is the API server's refusal in the log, `cannot VERB resource "RESOURCE"`, or the
//! operator's own sentence in the status of an object.

use std::time::{Duration, Instant};

use anyhow::{Context as _, anyhow, ensure};
use delivery::chart;
use delivery::examples::expected::ExampleOutcomes;
use delivery::examples::manifests;
use futures::stream::{StreamExt as _, TryStreamExt as _};
use k8s_openapi::api::core::v1::{ConfigMap, Namespace, Pod};
use kube::ResourceExt as _;
use kube::api::{Api, DeleteParams, DynamicObject, ListParams, LogParams, Patch, PatchParams};
use managed_redis_operator::api::RedisClusterRef;
use serde_json::{Value, json};

use super::cloud::ClusterCloud;
use super::cluster::TestCluster;
use super::logs::{self, is_forbidden};
use super::namespace::restricted;
use super::release::{self, RELEASE, Role};
use super::until::{NotInTime, until};

/// Stands for a case's namespace in the rendered manifests.
const PLACEHOLDER: &str = "managed-redis-e2e-rights";
/// How many releases are looked at at once.
const AT_ONCE: usize = 8;
/// How long a missing right may take to be noticed.
const WITHIN: Duration = Duration::from_secs(90);
/// The cluster whose parameter group never holds.
const BROKEN: &str = "7f3d1c52-9be4-4a06-8d1f-5e2a90c4b7d1";
const REFERENCE: &str = "reference";

/// A verb on a resource.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Right {
    verb: String,
    resource: String,
}

impl std::fmt::Display for Right {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {}", self.verb, self.resource)
    }
}

/// A release without one right, or with all.
struct RightsCase {
    number: usize,
    without: Option<Right>,
}

impl RightsCase {
    fn namespace(&self) -> String {
        format!("{PLACEHOLDER}-{}", self.number)
    }

    /// Number of the case's own NCP instance.
    fn instance(&self) -> String {
        format!("9{:05}", self.number)
    }

    fn is_without(&self, verb: &str, resource: &str) -> bool {
        self.without.as_ref().is_some_and(|right| right.verb == verb && right.resource == resource)
    }
}

/// Tries every right, and once none missing.
///
/// # Errors
/// With the rights whose lack was not noticed.
pub(super) async fn each_needed(cluster: &TestCluster, cloud: &ClusterCloud) -> anyhow::Result<String> {
    let started = Instant::now();
    let rendered = render(cluster, cloud).await?;
    let rights: Vec<Right> = roles(&rendered).flat_map(rights).collect();
    cloud.add_broken_cluster(BROKEN, "e2e-rights").await?;
    let without = rights.iter().cloned().map(Some).chain([None]);
    let cases: Vec<RightsCase> = without.enumerate().map(|(number, without)| RightsCase { number, without }).collect();
    let outcomes: Vec<Option<String>> = futures::stream::iter(&cases)
        .map(|case| try_case(cluster, cloud, &rendered, case))
        .buffer_unordered(AT_ONCE)
        .try_collect()
        .await?;
    let unnoticed: Vec<String> = outcomes.into_iter().flatten().collect();
    ensure!(unnoticed.is_empty(), "{}", unnoticed.join("\n"));
    Ok(format!("{} rights, each missed when it is gone ({} s)", rights.len(), started.elapsed().as_secs()))
}

/// The chart's objects for one namespace, without what belongs to the whole cluster.
async fn render(cluster: &TestCluster, cloud: &ClusterCloud) -> anyhow::Result<Vec<Value>> {
    let mut values = release::values(cloud, &cluster.images.operator, Role::Present);
    values["watchNamespaces"] = json!([PLACEHOLDER]);
    values["replicas"] = json!(1);
    values["crds"] = json!({"install": false});
    values["config"]["logFilter"] = json!("info,managed_redis_operator=debug,kube_client=off,kube_runtime=off");
    let file = release::write(cluster, &values)?;
    let (chart, file) = (chart::folder().to_string_lossy().into_owned(), file.to_string_lossy().into_owned());
    let text = cluster.helm.run(&["template", RELEASE, &chart, "--namespace", PLACEHOLDER, "--values", &file]).await?;
    let objects: Vec<Option<Value>> =
        serde_saphyr::from_multiple(&text).map_err(|error| anyhow!("the chart's objects: {error}"))?;
    let kept = ["ServiceAccount", "Role", "RoleBinding", "Deployment"];
    Ok(objects.into_iter().flatten().filter(|object| kept.iter().any(|kind| object["kind"] == *kind)).collect())
}

fn roles(objects: &[Value]) -> impl Iterator<Item = &Value> {
    objects.iter().filter(|object| object["kind"] == "Role")
}

/// Every verb on every resource of a role.
fn rights(role: &Value) -> Vec<Right> {
    let texts = |value: &Value| -> Vec<String> {
        value.as_array().into_iter().flatten().filter_map(Value::as_str).map(str::to_owned).collect()
    };
    let mut rights = Vec::new();
    for rule in role["rules"].as_array().into_iter().flatten() {
        for resource in texts(&rule["resources"]) {
            rights.extend(texts(&rule["verbs"]).into_iter().map(|verb| Right { verb, resource: resource.clone() }));
        }
    }
    rights
}

/// The role without a right: each resource has a rule of its own then.
fn without(role: &Value, right: &Right) -> Value {
    let mut role = role.clone();
    let mut rules = Vec::new();
    for rule in role["rules"].as_array().into_iter().flatten() {
        for resource in rule["resources"].as_array().into_iter().flatten() {
            let verbs = rule["verbs"].as_array().into_iter().flatten();
            let verbs: Vec<&Value> =
                verbs.filter(|verb| !(*resource == *right.resource && **verb == *right.verb)).collect();
            if !verbs.is_empty() {
                rules.push(json!({"apiGroups": rule["apiGroups"], "resources": [resource], "verbs": verbs}));
            }
        }
    }
    role["rules"] = Value::Array(rules);
    role
}

/// Installs a case, lets everything happen that uses rights, and waits until the lack was noticed. None if it was.
async fn try_case(
    cluster: &TestCluster,
    cloud: &ClusterCloud,
    rendered: &[Value],
    case: &RightsCase,
) -> anyhow::Result<Option<String>> {
    let namespace = case.namespace();
    restricted(&cluster.client, &namespace).await?;
    let instance = case.instance();
    cloud.add_instance(&instance).await?;
    // The claim of this attempt is given back, which takes the right to delete it.
    let busy = json!({"tooManyRequests": {"retryAfterSeconds": 1}});
    cloud.fault_next_flush(&instance, busy).await?;
    for object in rendered.iter().map(|object| adapted(object, case)).chain(tenant(case)) {
        apply(cluster, &namespace, object).await?;
    }
    let outcome = match &case.without {
        Some(right) => noticed(cluster, cloud, case, right).await,
        None => nothing_missed(cluster, cloud, case).await,
    };
    let namespaces: Api<Namespace> = Api::all(cluster.client.clone());
    namespaces.delete(&namespace, &DeleteParams::default()).await.context("cannot delete a namespace")?;
    match outcome {
        Ok(()) => Ok(None),
        Err(error) => {
            let NotInTime { what, last, .. } = error.downcast()?;
            Ok(Some(format!("{what}: {last}")))
        }
    }
}

async fn noticed(cluster: &TestCluster, cloud: &ClusterCloud, case: &RightsCase, right: &Right) -> anyhow::Result<()> {
    let sign = match (right.verb.as_str(), right.resource.as_str()) {
        ("get", "secrets") => "The operator may not get Secret".to_owned(),
        (verb, resource) => format!("cannot {verb} resource \"{resource}\""),
    };
    let mut nudges = Nudges::default();
    until(&format!("the lack of {right} is noticed"), WITHIN, || {
        let (sign, nudge) = (&sign, nudges.next());
        async move {
            nudge.give(cluster, cloud, case).await?;
            let told = told(cluster, case).await?;
            Ok(if told.contains(sign.as_str()) { Ok(()) } else { Err(summary(&told)) })
        }
    })
    .await
}

/// With all rights, everything happens and nothing is refused.
async fn nothing_missed(cluster: &TestCluster, cloud: &ClusterCloud, case: &RightsCase) -> anyhow::Result<()> {
    let mut nudges = Nudges::default();
    let flushes: Api<managed_redis_operator::api::RedisFlushRequest> =
        Api::namespaced(cluster.client.clone(), &case.namespace());
    until("with all rights, a request is flushed and deleted after its time", WITHIN, || {
        let (nudge, flushes) = (nudges.next(), &flushes);
        async move {
            nudge.give(cluster, cloud, case).await?;
            let left = flushes.list(&ListParams::default()).await.context("cannot list flush requests")?;
            let flushed = cloud.effects().await?.flushes_of(&case.instance());
            let phase = left.items.first().and_then(|request| request.status.as_ref()?.phase);
            Ok(if flushed == 1 && left.items.is_empty() {
                Ok(())
            } else {
                Err(format!("{flushed} flushes, the request is {phase:?}"))
            })
        }
    })
    .await?;
    let told = told(cluster, case).await?;
    let refused: Vec<&str> = told.lines().filter(|line| is_forbidden(line)).collect();
    ensure!(refused.is_empty(), "with all rights:\n{}", refused.join("\n"));
    Ok(())
}

/// What happens to the objects from look to look: the ConfigMap gets another name, which deletes the old one; somebody changes
/// it, which is put right; the instance stops and runs again, which repeats an event.
#[derive(Default)]
struct Nudges(u32);

/// One of them.
enum Nudge {
    RenameConfigMap,
    ChangeConfigMap,
    State(&'static str),
    None,
}

impl Nudges {
    fn next(&mut self) -> Nudge {
        self.0 += 1;
        match self.0 % 40 {
            10 | 30 => Nudge::State("stopped"),
            20 | 0 => Nudge::State("running"),
            tick if tick % 10 == 3 => Nudge::ChangeConfigMap,
            tick if tick % 5 == 0 => Nudge::RenameConfigMap,
            _ => Nudge::None,
        }
    }
}

impl Nudge {
    async fn give(self, cluster: &TestCluster, cloud: &ClusterCloud, case: &RightsCase) -> anyhow::Result<()> {
        match self {
            Self::None => Ok(()),
            Self::State(state) if case.is_without("patch", "events") => {
                cloud.set_instance_state(&case.instance(), state).await?;
                ask_again(cluster, case).await
            }
            Self::ChangeConfigMap if case.is_without("patch", "configmaps") => {
                for name in ["connection", "renamed"] {
                    change_config_map(cluster, case, name).await?;
                }
                ask_again(cluster, case).await
            }
            Self::State(_) | Self::ChangeConfigMap => Ok(()),
            Self::RenameConfigMap => {
                let api: Api<RedisClusterRef> = Api::namespaced(cluster.client.clone(), &case.namespace());
                let found = api.get(REFERENCE).await.context("cannot read the reference")?;
                // Once the status tells of the ConfigMap, the operator knows what to delete when it is to be another.
                let made = found.status.and_then(|status| status.connection_config_map);
                if made.as_deref() == Some("connection") {
                    patch_reference(cluster, case, &json!({"spec": {"connectionConfigMap": {"name": "renamed"}}}))
                        .await?;
                }
                Ok(())
            }
        }
    }
}

/// Asks for a fresh read of the reference.
async fn ask_again(cluster: &TestCluster, case: &RightsCase) -> anyhow::Result<()> {
    let token = format!("{:x}", rand::random::<u32>());
    let annotations = json!({"managedredis.dev/reconcile-requested-at": token});
    patch_reference(cluster, case, &json!({"metadata": {"annotations": annotations}})).await
}

/// Changes a ConfigMap that the operator has made, if it has made it.
async fn change_config_map(cluster: &TestCluster, case: &RightsCase, name: &str) -> anyhow::Result<()> {
    let api: Api<ConfigMap> = Api::namespaced(cluster.client.clone(), &case.namespace());
    let changed = json!({"data": {"host": "changed.example"}});
    match api.patch(name, &PatchParams::default(), &Patch::Merge(&changed)).await {
        Err(kube::Error::Api(status)) if status.code == 404 => Ok(()),
        outcome => outcome.map(drop).context("cannot change a ConfigMap"),
    }
}

async fn patch_reference(cluster: &TestCluster, case: &RightsCase, patch: &Value) -> anyhow::Result<()> {
    let api: Api<RedisClusterRef> = Api::namespaced(cluster.client.clone(), &case.namespace());
    let patched = api.patch(REFERENCE, &PatchParams::default(), &Patch::Merge(patch)).await;
    patched.map(drop).context("cannot change the reference")
}

/// The objects of a case's tenant.
fn tenant(case: &RightsCase) -> Vec<Value> {
    let object = |kind: &str, name: &str, rest: Value| {
        let mut object = json!({"apiVersion": "managedredis.dev/v1alpha1", "kind": kind, "metadata": {"name": name}});
        object["spec"] = rest;
        object
    };
    let secret = |name: &str, data: Value| json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name}, "stringData": data});
    vec![
        secret(
            "ncp",
            json!({"NCLOUD_ACCESS_KEY": "DEMOACCESSKEY0000000",
            "NCLOUD_SECRET_KEY": "DEMOSECRETKEY000000000000000000000000000"}),
        ),
        secret("kakaocloud", json!({"KAKAOCLOUD_TOKEN": "demo-kakao-token"})),
        object(
            "RedisClusterRef",
            REFERENCE,
            json!({
                "ncp": {"cloudDBInstanceNo": case.instance(), "credentialsSecretRef": {"name": "ncp"}},
                "connectionConfigMap": {"name": "connection"},
            "pollInterval": "10s",
            }),
        ),
        object(
            "RedisClusterRef",
            "broken",
            json!({
                "kakaoCloud": {"clusterID": BROKEN, "credentialsSecretRef": {"name": "kakaocloud"}},
            "pollInterval": "10s",
            }),
        ),
        object(
            "RedisParameterSync",
            "broken",
            json!({
                "clusterRef": {"name": "broken"}, "retry": {"initialBackoff": "1s"},
            }),
        ),
        object(
            "RedisFlushRequest",
            "flush",
            json!({
                "clusterRef": {"name": REFERENCE}, "confirm": case.instance(), "ttlAfterFinished": "1s",
            }),
        ),
    ]
}

/// A rendered object for a case.
fn adapted(object: &Value, case: &RightsCase) -> Value {
    let object = match &case.without {
        Some(right) if object["kind"] == "Role" => without(object, right),
        Some(_) | None => object.clone(),
    };
    replaced(object, &case.namespace())
}

/// The value with the case's namespace in the place of the placeholder.
fn replaced(value: Value, namespace: &str) -> Value {
    match value {
        Value::String(text) => Value::String(text.replace(PLACEHOLDER, namespace)),
        Value::Array(items) => items.into_iter().map(|item| replaced(item, namespace)).collect(),
        Value::Object(fields) => fields.into_iter().map(|(key, value)| (key, replaced(value, namespace))).collect(),
        other => other,
    }
}

async fn apply(cluster: &TestCluster, namespace: &str, object: Value) -> anyhow::Result<()> {
    let mut object: DynamicObject = serde_json::from_value(object).map_err(|error| anyhow!("an object: {error}"))?;
    object.metadata.namespace = None;
    let mut refused = ExampleOutcomes::new();
    manifests::apply(&cluster.client, namespace, &object, &mut refused).await?;
    ensure!(refused.is_empty(), "{} is refused: {refused:?}", object.name_any());
    Ok(())
}

/// What the operator has told so far: the log of the case's pod, of its container before as well, and the objects. It is
/// kept in a file for who has to find out why.
async fn told(cluster: &TestCluster, case: &RightsCase) -> anyhow::Result<String> {
    let namespace = case.namespace();
    let objects = cluster.kubectl(&["get", "managedredis", "--namespace", &namespace, "--output=json"]).await?;
    let pods: Api<Pod> = Api::namespaced(cluster.client.clone(), &namespace);
    let list = pods.list(&ListParams::default()).await.context("cannot list pods")?;
    let mut text = objects;
    for pod in &list.items {
        for previous in [true, false] {
            let params = LogParams { previous, ..LogParams::default() };
            // A container that has not started, or not ended before, has no log.
            text += &pods.logs(&pod.name_any(), &params).await.unwrap_or_default();
        }
    }
    std::fs::write(logs::folder().join(format!("{namespace}.txt")), &text)?;
    // As JSON, what the API server said has its quotes escaped, some of it twice.
    Ok(text.replace('\\', ""))
}

/// The end of what was told.
fn summary(told: &str) -> String {
    let lines: Vec<&str> = told.lines().collect();
    format!("the log ends:\n{}", lines.get(lines.len().saturating_sub(8)..).unwrap_or_default().join("\n"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn role() -> Value {
        json!({"kind": "Role", "rules": [
            {"apiGroups": ["a"], "resources": ["x", "y"], "verbs": ["get", "list"]},
            {"apiGroups": ["a"], "resources": ["x"], "verbs": ["delete"]},
        ]})
    }

    #[test]
    fn every_verb_of_every_resource_is_a_right() {
        let told: Vec<String> = rights(&role()).iter().map(ToString::to_string).collect();
        assert_eq!(told, ["get x", "list x", "get y", "list y", "delete x"]);
    }

    #[test]
    fn one_right_goes_and_the_others_stay() {
        for gone in rights(&role()) {
            let left = rights(&without(&role(), &gone));
            let wanted: Vec<Right> = rights(&role()).into_iter().filter(|right| *right != gone).collect();
            assert_eq!(left, wanted, "without {gone}");
        }
    }

    #[test]
    fn the_namespace_is_put_everywhere() {
        let object = json!({"a": [{"b": format!("--watch-namespace={PLACEHOLDER}")}]});
        assert_eq!(replaced(object, "n-1"), json!({"a": [{"b": "--watch-namespace=n-1"}]}));
    }
}
