//! What kstatus and Argo CD make of objects, as the program in testbed/go/health tells.

use std::io;
use std::path::Path;
use std::process::Stdio;

use anyhow::{Context as _, bail};
use harness::root;
use kube::api::DynamicObject;
use serde::Deserialize;
use testbed::{Program, assets};
use tokio::io::AsyncWriteExt as _;
use tokio::process::Command;

/// The health checks of Argo CD that are shipped.
const CONFIG_MAP: &str = "examples/argocd/argocd-cm.yaml";

/// How one tool judges an object.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub(super) struct ToolVerdict {
    /// In a word; empty if it has no judgement.
    pub status: String,
    /// In a sentence.
    #[serde(default)]
    pub message: String,
}

/// How both tools judge an object.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub(super) struct ToolHealth {
    /// kstatus.
    pub kstatus: ToolVerdict,
    /// Argo CD with the health checks that are shipped.
    pub argocd: ToolVerdict,
}

/// The evaluations of `objects`, in their order.
///
/// # Errors
/// When the program cannot be built or run, or fails.
pub(super) async fn evaluate(objects: &[&DynamicObject]) -> anyhow::Result<Vec<ToolHealth>> {
    let program = assets::ensure(Program::GitopsHealth).await?;
    run(&program, &root().join(CONFIG_MAP), objects).await
}

fn cannot_run() -> String {
    format!("cannot run {}", Program::GitopsHealth)
}

async fn run(program: &Path, config_map: &Path, objects: &[&DynamicObject]) -> anyhow::Result<Vec<ToolHealth>> {
    let mut input = Vec::new();
    for object in objects {
        serde_json::to_writer(&mut input, object)?;
        input.push(b'\n');
    }
    let mut command = Command::new(program);
    command.arg("--argocd-cm").arg(config_map).kill_on_drop(true);
    let mut child =
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().with_context(cannot_run)?;
    let stdin = child.stdin.take();
    let feed = async move {
        if let Some(mut stdin) = stdin {
            stdin.write_all(&input).await?;
        }
        Ok::<(), io::Error>(())
    };
    let (fed, output) = tokio::join!(feed, child.wait_with_output());
    let output = output.with_context(cannot_run)?;
    if !output.status.success() {
        let errors = String::from_utf8_lossy(&output.stderr).trim().to_owned();
        bail!("{} failed ({}): {errors}", Program::GitopsHealth, output.status);
    }
    fed.with_context(cannot_run)?;
    serde_json::Deserializer::from_slice(&output.stdout)
        .into_iter()
        .collect::<Result<_, _>>()
        .with_context(|| format!("{} is not understood", Program::GitopsHealth))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const SCRIPTS: &str = r#"
apiVersion: v1
kind: ConfigMap
data:
  resource.customizations.health.shop.example_Good: |
    local last
    for _, word in ipairs(obj.status.words) do last = word end
    if obj.metadata.generation == 2 then return {status = "Healthy", message = last} end
  resource.customizations.health.shop.example_Endless: while true do end
  resource.customizations.health.shop.example_Invalid: return {status = "Splendid"}
  resource.customizations.health.shop.example_Failing: return {status = obj.spec.missing.field}
  resource.customizations.health.shop.example_Stringy: return {status = string.upper("healthy")}
  resource.customizations.health.shop.example_Silent: local nothing
"#;

    fn object(kind: &str, deleted: bool) -> DynamicObject {
        let mut object = json!({
            "apiVersion": "shop.example/v1", "kind": kind, "metadata": { "name": "a", "generation": 2 },
            "status": { "observedGeneration": 2, "words": ["first", "last"] },
        });
        if deleted {
            object["metadata"]["deletionTimestamp"] = "2026-05-01T00:00:00Z".into();
        }
        serde_json::from_value(object).unwrap()
    }

    /// What holds in Argo CD: scripts have no string library and a second of time, and one that fails makes an object Unknown.
    #[tokio::test]
    async fn scripts_run_as_in_argo_cd() {
        let folder = tempfile::tempdir().unwrap();
        let config_map = folder.path().join("argocd-cm.yaml");
        std::fs::write(&config_map, SCRIPTS).unwrap();
        let program = assets::ensure(Program::GitopsHealth).await.unwrap();
        let kinds = ["Good", "Endless", "Invalid", "Failing", "Stringy", "Silent", "Unheard"];
        let mut objects: Vec<DynamicObject> = kinds.map(|kind| object(kind, false)).into();
        objects.push(object("Good", true));
        let found = run(&program, &config_map, &objects.iter().collect::<Vec<_>>()).await.unwrap();
        let argocd: Vec<&str> = found.iter().map(|health| health.argocd.status.as_str()).collect();
        assert_eq!(argocd, ["Healthy", "Unknown", "Unknown", "Unknown", "Unknown", "", "", "Progressing"]);
        assert_eq!(found[0].argocd.message, "last");
        let kstatus: Vec<&str> = found.iter().map(|health| health.kstatus.status.as_str()).collect();
        assert_eq!((kstatus[0], kstatus[7]), ("Current", "Terminating"));
    }

    #[tokio::test]
    async fn what_is_no_config_map_is_refused() {
        let program = assets::ensure(Program::GitopsHealth).await.unwrap();
        let error = run(&program, &root().join("deploy/namespace.yaml"), &[]).await.unwrap_err().to_string();
        assert!(error.contains("expected a ConfigMap"), "{error}");
    }
}
