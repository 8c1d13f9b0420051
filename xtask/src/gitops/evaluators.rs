//! What kstatus and Argo CD make of objects, as the program in testbed/go/health tells.

use std::io;
use std::path::Path;
use std::process::{ExitStatus, Stdio};

use kube::api::DynamicObject;
use serde::Deserialize;
use testbed::{AssetsError, Program, assets};
use tokio::io::AsyncWriteExt as _;
use tokio::process::Command;

use crate::root;

/// The health checks of Argo CD that are shipped.
const CONFIG_MAP: &str = "examples/argocd/argocd-cm.yaml";

/// Why objects could not be evaluated.
#[derive(Debug, thiserror::Error)]
pub enum EvaluatorError {
    /// The program is not there and cannot be built.
    #[error(transparent)]
    Assets(#[from] AssetsError),
    /// It cannot be run.
    #[error("cannot run {program}: {0}", program = Program::GitopsHealth)]
    Run(#[from] io::Error),
    /// It failed; it has said why.
    #[error("{program} failed ({status}): {errors}", program = Program::GitopsHealth)]
    Failed {
        /// How it ended.
        status: ExitStatus,
        /// What it said.
        errors: String,
    },
    /// Objects cannot be written, or its lines cannot be read.
    #[error("{program} is not understood: {0}", program = Program::GitopsHealth)]
    Json(#[from] serde_json::Error),
}

/// What one tool makes of an object.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Verdict {
    /// In a word; empty if it makes nothing of it.
    pub status: String,
    /// In a sentence.
    #[serde(default)]
    pub message: String,
}

/// What both make of an object.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Health {
    /// kstatus.
    pub kstatus: Verdict,
    /// Argo CD with the health checks that are shipped.
    pub argocd: Verdict,
}

/// The evaluations of `objects`, in their order.
///
/// # Errors
/// When the program cannot be built or run, or fails.
pub async fn evaluate(objects: &[&DynamicObject]) -> Result<Vec<Health>, EvaluatorError> {
    let program = assets::ensure(Program::GitopsHealth).await?;
    run(&program, objects).await
}

async fn run(program: &Path, objects: &[&DynamicObject]) -> Result<Vec<Health>, EvaluatorError> {
    let mut input = Vec::new();
    for object in objects {
        serde_json::to_writer(&mut input, object)?;
        input.push(b'\n');
    }
    let mut command = Command::new(program);
    command.arg("--argocd-cm").arg(root().join(CONFIG_MAP)).kill_on_drop(true);
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
    let stdin = child.stdin.take();
    let feed = async move {
        if let Some(mut stdin) = stdin {
            stdin.write_all(&input).await?;
        }
        Ok::<(), io::Error>(())
    };
    let (fed, output) = tokio::join!(feed, child.wait_with_output());
    let output = output?;
    if !output.status.success() {
        let errors = String::from_utf8_lossy(&output.stderr).trim().to_owned();
        return Err(EvaluatorError::Failed { status: output.status, errors });
    }
    fed?;
    serde_json::Deserializer::from_slice(&output.stdout).into_iter().collect::<Result<_, _>>().map_err(Into::into)
}
