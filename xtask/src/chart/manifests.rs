//! What the chart renders against what else the repository holds: `crds/` and `deploy/`.

use anyhow::ensure;
use delivery::{chart, crds, helm};
use harness::root;
use serde_json::Value;
use testbed::{Program, assets};
use tokio::process::Command;

use super::cases::{self, ChartCase, text};
use super::objects::{self, ChartObject, Id};

/// The CRDs of every render are those of `crds/`, and the dashboard is its file.
///
/// # Errors
/// With the name of one that is not.
pub(super) fn check_crds(rendered: &[ChartCase]) -> anyhow::Result<()> {
    let wanted: Vec<Value> = crds::shipped()?.iter().map(|crd| serde_json::json!(crd)).collect();
    let dashboard = text(&chart::folder().join("files/dashboard.json"))?;
    for (case, object) in rendered.iter().flat_map(|case| case.objects.iter().map(move |object| (case, object))) {
        let good = match object.id.kind.as_str() {
            "CustomResourceDefinition" => wanted
                .iter()
                .any(|crd| crd["metadata"]["name"] == object.id.name && same(&crd["spec"], &object.value["spec"])),
            "ConfigMap" => object.value["data"]["managed-redis.json"] == dashboard.trim_end(),
            _ => true,
        };
        ensure!(good, "case {}: {} is not what its source says", case.name, object.id);
    }
    let default = cases::default(rendered)?;
    let count = default.objects.iter().filter(|object| object.id.kind == "CustomResourceDefinition").count();
    ensure!(count == wanted.len(), "the chart has {count} CRDs, crds/ has {}", wanted.len());
    Ok(())
}

/// Equality in which 0 and 0.0 are the same: YAML writers differ in it.
fn same(a: &Value, b: &Value) -> bool {
    match (a, b) {
        (Value::Number(a), Value::Number(b)) => a.as_f64() == b.as_f64(),
        (Value::Array(a), Value::Array(b)) => a.len() == b.len() && a.iter().zip(b).all(|(a, b)| same(a, b)),
        (Value::Object(a), Value::Object(b)) => {
            a.len() == b.len() && a.iter().all(|(key, value)| b.get(key).is_some_and(|other| same(value, other)))
        }
        _ => a == b,
    }
}

/// `deploy/install.yaml` is what kustomize makes of `deploy/`, and both are the chart's default.
///
/// # Errors
/// With the names of objects that differ.
pub(super) async fn check_deploy(rendered: &[ChartCase]) -> anyhow::Result<()> {
    let arguments = ["kustomize", "deploy"];
    let mut kubectl = Command::new(assets::ensure(Program::Kubectl).await?);
    kubectl.args(arguments).current_dir(root()).kill_on_drop(true);
    let kustomized = objects::read("deploy", &helm::output("kubectl", &arguments, kubectl).await?)?;
    let installed = objects::read("deploy/install.yaml", &text(&root().join("deploy/install.yaml"))?)?;
    let values = |objects: &[ChartObject]| -> Vec<(Id, Value)> {
        objects.iter().map(|object| (object.id.clone(), object.value.clone())).collect()
    };
    agree("kubectl kustomize deploy", &values(&kustomized), "deploy/install.yaml", &values(&installed))?;
    let comparable = |objects: &[ChartObject]| -> Vec<(Id, Value)> {
        let kept = objects.iter().filter(|object| object.id.kind != "Namespace");
        kept.map(|object| (object.id.clone(), essence(&object.value))).collect()
    };
    let default = cases::default(rendered)?;
    agree("deploy/install.yaml", &comparable(&installed), "the chart's default", &comparable(&default.objects))
}

fn agree(one: &str, a: &[(Id, Value)], other: &str, b: &[(Id, Value)]) -> anyhow::Result<()> {
    let differing = |from: &[(Id, Value)], than: &[(Id, Value)]| -> Vec<String> {
        let is_same =
            |(id, value): &&(Id, Value)| than.iter().any(|(other, theirs)| other == id && same(value, theirs));
        from.iter().filter(|object| !is_same(object)).map(|(id, _)| id.to_string()).collect()
    };
    let (of_one, of_other) = (differing(a, b), differing(b, a));
    ensure!(of_one.is_empty() && of_other.is_empty(), "{}", {
        let list = |ids: &[String]| if ids.is_empty() { "nothing".to_owned() } else { ids.join(", ") };
        format!("{one} and {other} differ: the one in {}; the other in {}", list(&of_one), list(&of_other))
    });
    Ok(())
}

/// An object without what a chart says of its release: labels that carry no meaning, selectors, arguments.
fn essence(object: &Value) -> Value {
    match object {
        Value::Object(fields) => {
            let kept = fields.iter().filter_map(|(key, value)| match key.as_str() {
                "selector" | "matchLabels" | "annotations" | "args" => None,
                "labels" => meaningful(value).map(|labels| (key.clone(), labels)),
                _ => Some((key.clone(), essence(value))),
            });
            Value::Object(kept.collect())
        }
        Value::Array(items) => Value::Array(items.iter().map(essence).collect()),
        other => other.clone(),
    }
}

/// The labels by which roles are aggregated, if any.
fn meaningful(labels: &Value) -> Option<Value> {
    let Value::Object(labels) = labels else { return None };
    let kept: serde_json::Map<String, Value> = labels
        .iter()
        .filter(|(key, _)| key.starts_with("rbac.authorization.k8s.io/"))
        .map(|(key, value)| (key.clone(), value.clone()))
        .collect();
    (!kept.is_empty()).then_some(Value::Object(kept))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn differences_are_named_from_both_sides() {
        let id = |name: &str| Id {
            api_version: "v1".to_owned(),
            kind: "A".to_owned(),
            namespace: String::new(),
            name: name.to_owned(),
        };
        let (a, b) = ([(id("x"), json!({ "n": 0 })), (id("y"), json!(1))], [(id("x"), json!({ "n": 0.0 }))]);
        assert!(agree("one", &b, "other", &b).is_ok());
        let error = agree("one", &a, "other", &b).unwrap_err().to_string();
        assert_eq!(error, "one and other differ: the one in v1 A y; the other in nothing");
    }

    #[test]
    fn the_essence_keeps_labels_that_mean_something() {
        let role =
            json!({ "metadata": { "labels": { "a": "b", "rbac.authorization.k8s.io/aggregate-to-view": "true" } } });
        let wanted = json!({ "metadata": { "labels": { "rbac.authorization.k8s.io/aggregate-to-view": "true" } } });
        assert_eq!(essence(&role), wanted);
        assert_eq!(essence(&json!({ "spec": { "args": [1], "labels": { "a": "b" } } })), json!({ "spec": {} }));
    }
}
