//! Who may flush: the roles for users, and the chart's admission policy, asked as those users.

use anyhow::{Context as _, ensure};
use delivery::chart::{self, RELEASE};
use delivery::helm::Helm;
use k8s_openapi::api::rbac::v1::{Role, RoleBinding};
use kube::api::{Api, PostParams};
use managed_redis_operator::api::{RedisClusterRef, RedisFlushRequest};
use serde_json::{Value, json};
use testbed::{ApiServer, User};

use super::release::{self, eventually};

/// The tenants' namespace.
const TENANT: &str = "default";
/// Users, and the role each is given.
const EDITOR: &str = "chart-editor";
const FLUSHER: &str = "chart-flusher";
const FLUSHER_OF_ONE: &str = "chart-flusher-of-one";

/// The users the API server has to know.
pub(super) fn users() -> Vec<User> {
    [EDITOR, FLUSHER, FLUSHER_OF_ONE].map(|name| User { name: name.to_owned(), groups: Vec::new() }).into()
}

/// Installs the chart with the policy and asks what each user may do.
///
/// # Errors
/// When one may do more or less than promised.
pub(super) async fn check(helm: &Helm, server: &ApiServer) -> anyhow::Result<()> {
    let here = chart::folder().to_string_lossy().into_owned();
    release::install(helm, RELEASE, &here, &["--create-namespace", "--set", "flushPolicy.enabled=true"]).await?;
    grant(server).await?;
    // The policy works a moment after it was accepted.
    let refused = || async {
        Ok(match flush(server, FLUSHER_OF_ONE, "orders").await? {
            Err(answer) if answer.contains("needs the verb flush on redisclusterrefs") => Ok(()),
            Err(answer) => Err(answer),
            Ok(()) => Err("it is accepted".to_owned()),
        })
    };
    eventually("a flush of a target without the right to it is refused", refused).await?;
    for (user, target) in [(FLUSHER_OF_ONE, "carts"), (FLUSHER, "carts"), (FLUSHER, "orders")] {
        let answer = flush(server, user, target).await?;
        ensure!(answer.is_ok(), "{user} may not flush {target}: {}", answer.err().unwrap_or_default());
    }
    let answer = flush(server, EDITOR, "carts").await?;
    let by_rbac = answer.as_ref().is_err_and(|answer| answer.contains("cannot create resource \"redisflushrequests\""));
    ensure!(by_rbac, "an editor may flush, or is refused for another reason: {answer:?}");
    let answer = reference(server, EDITOR).await?;
    ensure!(answer.is_ok(), "an editor may not make references: {}", answer.err().unwrap_or_default());
    let answer = reference(server, FLUSHER).await?;
    ensure!(answer.is_err(), "a flusher may make references");
    release::remove(helm, RELEASE).await
}

/// Binds the users to the chart's roles, and one to a role for a single target.
async fn grant(server: &ApiServer) -> anyhow::Result<()> {
    let client = server.client()?;
    let role: Role = object(json!({
        "metadata": { "name": FLUSHER_OF_ONE },
        "rules": [
            { "apiGroups": ["managedredis.dev"], "resources": ["redisflushrequests"], "verbs": ["create"] },
            { "apiGroups": ["managedredis.dev"], "resources": ["redisclusterrefs"], "resourceNames": ["carts"],
              "verbs": ["flush"] },
        ],
    }))?;
    let created = Api::namespaced(client.clone(), TENANT).create(&PostParams::default(), &role).await;
    created?;
    let (editor, flusher) = (format!("{RELEASE}-editor"), format!("{RELEASE}-flusher"));
    for (user, kind, role) in [
        (EDITOR, "ClusterRole", &editor),
        (FLUSHER, "ClusterRole", &flusher),
        (FLUSHER_OF_ONE, "Role", &FLUSHER_OF_ONE.to_owned()),
    ] {
        let binding: RoleBinding = object(json!({
            "metadata": { "name": user },
            "roleRef": { "apiGroup": "rbac.authorization.k8s.io", "kind": kind, "name": role },
            "subjects": [{ "apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": user }],
        }))?;
        Api::namespaced(client.clone(), TENANT).create(&PostParams::default(), &binding).await?;
    }
    Ok(())
}

/// What the API server says to a user who asks for a flush.
async fn flush(server: &ApiServer, user: &str, target: &str) -> anyhow::Result<Result<(), String>> {
    let request: RedisFlushRequest = object(json!({
        "metadata": { "name": "tried" },
        "spec": { "clusterRef": { "name": target }, "confirm": "882701" },
    }))?;
    let api: Api<RedisFlushRequest> = Api::namespaced(server.user(user)?.client()?, TENANT);
    answer(api.create(&PostParams { dry_run: true, ..PostParams::default() }, &request).await)
}

/// What the API server says to a user who makes a reference.
async fn reference(server: &ApiServer, user: &str) -> anyhow::Result<Result<(), String>> {
    let reference: RedisClusterRef = object(json!({
        "metadata": { "name": "tried" },
        "spec": { "ncp": { "cloudDBInstanceNo": "882701", "credentialsSecretRef": { "name": "ncp" } } },
    }))?;
    let api: Api<RedisClusterRef> = Api::namespaced(server.user(user)?.client()?, TENANT);
    answer(api.create(&PostParams { dry_run: true, ..PostParams::default() }, &reference).await)
}

fn answer<K>(result: Result<K, kube::Error>) -> anyhow::Result<Result<(), String>> {
    match result {
        Ok(_) => Ok(Ok(())),
        Err(kube::Error::Api(status)) => Ok(Err(status.message.clone())),
        Err(error) => Err(error.into()),
    }
}

fn object<K: serde::de::DeserializeOwned>(value: Value) -> anyhow::Result<K> {
    serde_json::from_value(value).context("an object of the check is no Kubernetes object")
}
