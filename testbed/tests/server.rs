//! A real server: what a test can do with it.

use std::collections::BTreeMap;
use std::time::Duration;

use k8s_openapi::api::core::v1::{ConfigMap, Namespace, Pod};
use k8s_openapi::api::rbac::v1::{PolicyRule, Role, RoleBinding, RoleRef, Subject};
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::api::{Api, ApiResource, DynamicObject, GroupVersionKind, ListParams, ObjectMeta, PostParams};
use serde_json::json;
use testbed::{ApiServer, Options, TestbedError, User};

type Outcome = Result<(), Box<dyn std::error::Error>>;

fn config_map(name: &str, value: &str) -> ConfigMap {
    ConfigMap {
        metadata: ObjectMeta { name: Some(name.to_owned()), ..ObjectMeta::default() },
        data: Some(BTreeMap::from([("value".to_owned(), value.to_owned())])),
        ..ConfigMap::default()
    }
}

fn is_forbidden<T>(result: &Result<T, kube::Error>) -> bool {
    matches!(result, Err(kube::Error::Api(status)) if status.code == 403)
}

#[tokio::test]
async fn the_default_namespaces_are_there() -> Outcome {
    let server = ApiServer::shared().await?;
    let namespaces = Api::<Namespace>::all(server.client()?).list(&ListParams::default()).await?;
    let names: Vec<_> = namespaces.iter().filter_map(|namespace| namespace.metadata.name.as_deref()).collect();
    assert!(names.contains(&"default") && names.contains(&"kube-system"), "{names:?}");
    let version = server.client()?.apiserver_version().await?;
    let folders = testbed::assets::Folders::from_env()?;
    if folders.assets.is_none() {
        assert_eq!(version.git_version, folders.version(testbed::Program::KubeApiserver));
    }
    Ok(())
}

#[tokio::test]
async fn namespaces_keep_tests_apart() -> Outcome {
    let server = ApiServer::shared().await?;
    let (one, other) = tokio::try_join!(server.namespace("apart"), server.namespace("apart"))?;
    assert_ne!(one.name(), other.name());
    one.api::<ConfigMap>().create(&PostParams::default(), &config_map("settings", "one")).await?;
    assert_eq!(one.api::<ConfigMap>().get("settings").await?.data, config_map("settings", "one").data);
    assert_eq!(other.api::<ConfigMap>().get_opt("settings").await?, None);
    Ok(())
}

#[tokio::test]
async fn kubectl_takes_the_kubeconfig() -> Outcome {
    let server = ApiServer::shared().await?;
    let namespace = server.namespace("kubectl").await?;
    namespace.api::<ConfigMap>().create(&PostParams::default(), &config_map("settings", "by hand")).await?;
    let mut kubectl = server.kubectl().await?;
    kubectl.args(["--namespace", namespace.name(), "get", "configmap", "settings", "--output=jsonpath={.data.value}"]);
    let output = kubectl.output().await?;
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(String::from_utf8_lossy(&output.stdout), "by hand");
    Ok(())
}

#[tokio::test]
async fn pods_are_accepted_without_a_controller_manager() -> Outcome {
    let namespace = ApiServer::shared().await?.namespace("pod").await?;
    let pod: Pod = serde_json::from_value(json!({
        "metadata": {"name": "idle"},
        "spec": {"containers": [{"name": "idle", "image": "registry.example/idle:1"}]},
    }))?;
    let created = namespace.api::<Pod>().create(&PostParams::default(), &pod).await?;
    assert_eq!(created.status.and_then(|status| status.phase).as_deref(), Some("Pending"));
    Ok(())
}

#[tokio::test]
async fn a_service_account_may_do_what_its_role_says() -> Outcome {
    let server = ApiServer::shared().await?;
    let namespace = server.namespace("rbac").await?;
    let access = server.service_account(namespace.name(), "reader").await?;
    let maps: Api<ConfigMap> = Api::namespaced(access.client()?, namespace.name());
    assert!(is_forbidden(&maps.list(&ListParams::default()).await));

    let metadata = ObjectMeta { name: Some("reader".to_owned()), ..ObjectMeta::default() };
    let rule = PolicyRule {
        api_groups: Some(vec![String::new()]),
        resources: Some(vec!["configmaps".to_owned()]),
        verbs: vec!["list".to_owned()],
        ..PolicyRule::default()
    };
    let role = Role { metadata: metadata.clone(), rules: Some(vec![rule]) };
    namespace.api::<Role>().create(&PostParams::default(), &role).await?;
    let binding = RoleBinding {
        metadata,
        role_ref: RoleRef {
            api_group: Some("rbac.authorization.k8s.io".to_owned()),
            kind: "Role".to_owned(),
            name: "reader".to_owned(),
        },
        subjects: Some(vec![Subject {
            kind: "ServiceAccount".to_owned(),
            name: "reader".to_owned(),
            namespace: Some(namespace.name().to_owned()),
            ..Subject::default()
        }]),
    };
    namespace.api::<RoleBinding>().create(&PostParams::default(), &binding).await?;

    // The authorizer learns of the role by a watch of its own.
    let allowed = async {
        while is_forbidden(&maps.list(&ListParams::default()).await) {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(30), allowed).await?;
    assert!(is_forbidden(&maps.create(&PostParams::default(), &config_map("written", "")).await));

    // The same identity by way of its kubeconfig.
    let mut kubectl = tokio::process::Command::new(server.kubectl_path().await?);
    kubectl.arg("--kubeconfig").arg(access.kubeconfig_path()).args(["auth", "whoami"]);
    kubectl.arg("--cache-dir").arg(server.folder().join("kubectl-cache"));
    let output = kubectl.args(["--output=jsonpath={.status.userInfo.username}"]).output().await?;
    let user = format!("system:serviceaccount:{}:reader", namespace.name());
    assert_eq!(String::from_utf8_lossy(&output.stdout), user, "{}", String::from_utf8_lossy(&output.stderr));
    Ok(())
}

#[tokio::test]
async fn installed_crds_are_served_at_once() -> Outcome {
    let server = ApiServer::shared().await?;
    let crd = |kind: &str| -> Result<CustomResourceDefinition, serde_json::Error> {
        let lower = kind.to_lowercase();
        serde_json::from_value(json!({
            "metadata": {"name": format!("{lower}s.testbed.example")},
            "spec": {
                "group": "testbed.example",
                "scope": "Namespaced",
                "names": {"kind": kind, "plural": format!("{lower}s")},
                "versions": [{
                    "name": "v1", "served": true, "storage": true,
                    "schema": {"openAPIV3Schema": {"type": "object", "properties": {
                        "spec": {"type": "object", "properties": {"size": {"type": "integer"}}}}}},
                }],
            },
        }))
    };
    let crds = [crd("Gadget")?, crd("Widget")?];
    let client = server.client()?;
    // As two test binaries would do it.
    tokio::try_join!(testbed::crds::install(&client, &crds), testbed::crds::install(&client, &crds))?;

    let namespace = server.namespace("crds").await?;
    let resource = ApiResource::from_gvk(&GroupVersionKind::gvk("testbed.example", "v1", "Widget"));
    let widgets: Api<DynamicObject> = Api::namespaced_with(client, namespace.name(), &resource);
    let widget = |size: serde_json::Value| DynamicObject::new("w", &resource).data(json!({"spec": {"size": size}}));
    let refused = widgets.create(&PostParams::default(), &widget(json!("large"))).await;
    assert!(matches!(refused, Err(kube::Error::Api(status)) if status.code == 422));
    widgets.create(&PostParams::default(), &widget(json!(3))).await?;
    Ok(())
}

#[tokio::test]
async fn a_crd_that_is_refused_says_why() -> Outcome {
    let server = ApiServer::shared().await?;
    let crd: CustomResourceDefinition = serde_json::from_value(json!({
        "metadata": {"name": "wrong.testbed.example"},
        "spec": {
            "group": "testbed.example", "scope": "Namespaced", "names": {"kind": "Thing", "plural": "things"},
            "versions": [{"name": "v1", "served": true, "storage": true, "schema": {"openAPIV3Schema": {"type": "object"}}}],
        },
    }))?;
    let error = testbed::crds::install(&server.client()?, &[crd]).await.unwrap_err();
    assert!(error.to_string().contains("must be spec.names.plural"), "{error}");
    Ok(())
}

#[tokio::test]
async fn a_restarted_server_keeps_address_data_and_users() -> Outcome {
    let jane = User { name: "jane".to_owned(), groups: vec!["testers".to_owned()] };
    let mut server = ApiServer::start(Options { users: vec![jane], ..Options::default() }).await?;
    let namespace = server.namespace("restart").await?;
    let maps = namespace.api::<ConfigMap>();
    let before = maps.create(&PostParams::default(), &config_map("settings", "kept")).await?;
    let (url, jane) = (server.url(), server.user("jane")?.clone());

    server.restart_apiserver().await?;
    assert_eq!(server.url(), url);
    assert_eq!(maps.get("settings").await?, before);
    let seen = Api::<ConfigMap>::namespaced(jane.client()?, namespace.name()).get("settings").await;
    let message = seen.unwrap_err().to_string();
    assert!(message.contains("User \"jane\" cannot get"), "{message}");
    assert!(matches!(server.user("john"), Err(TestbedError::UnknownUser(name)) if name == "john"));
    server.stop().await;
    Ok(())
}

#[tokio::test]
async fn a_server_that_does_not_start_shows_its_log() {
    let options = Options { apiserver_args: vec!["--no-such-flag".to_owned()], ..Options::default() };
    let error = ApiServer::start(options).await.unwrap_err();
    assert!(matches!(error, TestbedError::Ended { .. }), "{error}");
    assert!(error.to_string().contains("no-such-flag"), "{error}");
}
