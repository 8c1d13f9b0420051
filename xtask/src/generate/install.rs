//! `deploy/install.yaml`: what `deploy/kustomization.yaml` names, as one file for `kubectl apply -f`.

use anyhow::{Context as _, bail};
use serde::Deserialize;

use super::{Files, HEADER, crds, not_yaml, read};

const FOLDER: &str = "deploy";

/// The parts of a kustomization that are used here.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Kustomization {
    #[serde(rename = "apiVersion")]
    _api_version: String,
    #[serde(rename = "kind")]
    _kind: String,
    namespace: String,
    resources: Vec<String>,
    images: Vec<ImageName>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct ImageName {
    name: String,
    new_name: String,
    new_tag: String,
}

/// The file and its path. The resources' texts are put one after the other, so that their comments stay.
pub(super) fn file(generated: &Files) -> anyhow::Result<(String, String)> {
    let name = format!("{FOLDER}/kustomization.yaml");
    let kustomization: Kustomization = serde_saphyr::from_str(&read(&name)?).with_context(|| not_yaml(&name))?;
    check_version(&name, &kustomization)?;
    let mut text =
        format!("{HEADER}# What deploy/kustomization.yaml names, as one file: kubectl apply -f deploy/install.yaml\n");
    for resource in &kustomization.resources {
        if resource == "../crds" {
            let of_folder = |path: &str| path.starts_with("crds/") && path != crds::kustomization();
            for crd in generated.iter().filter(|(path, _)| of_folder(path)).map(|(_, text)| text) {
                append(&mut text, crd.strip_prefix(HEADER).unwrap_or(crd));
            }
        } else {
            let path = format!("{FOLDER}/{resource}");
            let part = generated.get(&path).cloned().map_or_else(|| read(&path), Ok)?;
            append(&mut text, &with_images(&part, &kustomization.images));
        }
    }
    let path = format!("{FOLDER}/install.yaml");
    check_namespaces(&path, &text, &kustomization.namespace)?;
    Ok((path, text))
}

fn append(text: &mut String, part: &str) {
    text.push_str("---\n");
    text.push_str(part.trim_end());
    text.push('\n');
}

/// The image that is named is the one of this version.
fn check_version(name: &str, kustomization: &Kustomization) -> anyhow::Result<()> {
    let version = env!("CARGO_PKG_VERSION");
    match kustomization.images.iter().find(|image| image.new_tag != version) {
        Some(image) => bail!("{name}: the image {} is of version {}, but this is {version}", image.name, image.new_tag),
        None => Ok(()),
    }
}

fn with_images(text: &str, images: &[ImageName]) -> String {
    let line = |line: &str| match line.split_once("image: ") {
        Some((before, image)) => match images.iter().find(|known| known.name == image) {
            Some(known) => format!("{before}image: {}:{}\n", known.new_name, known.new_tag),
            None => format!("{line}\n"),
        },
        None => format!("{line}\n"),
    };
    text.lines().map(line).collect()
}

/// The kustomization's namespace is only repeated by kustomize: what kubectl reads as one file has to say it itself.
fn check_namespaces(name: &str, text: &str, namespace: &str) -> anyhow::Result<()> {
    const CLUSTER_SCOPED: [&str; 4] = ["CustomResourceDefinition", "Namespace", "ClusterRole", "ClusterRoleBinding"];
    let objects: Vec<serde_json::Value> = serde_saphyr::from_multiple(text).with_context(|| not_yaml(name))?;
    for object in objects {
        let kind = object["kind"].as_str().unwrap_or_default();
        if !CLUSTER_SCOPED.contains(&kind) && object["metadata"]["namespace"] != namespace {
            bail!("{name}: {kind} {} has to say namespace: {namespace}", object["metadata"]["name"]);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn images_are_replaced_by_name() {
        let images = [ImageName { name: "a".to_owned(), new_name: "reg/a".to_owned(), new_tag: "1".to_owned() }];
        assert_eq!(
            with_images("  image: a\n  image: ab\n# image\n", &images),
            "  image: reg/a:1\n  image: ab\n# image\n"
        );
    }

    #[test]
    fn an_object_without_its_namespace_is_found() {
        let text = "kind: Namespace\nmetadata: {name: a}\n---\nkind: Role\nmetadata: {name: b}\n";
        let error = check_namespaces("x.yaml", text, "a").unwrap_err().to_string();
        assert_eq!(error, "x.yaml: Role \"b\" has to say namespace: a");
        check_namespaces("x.yaml", &text.replace("name: b", "name: b, namespace: a"), "a").unwrap();
    }

    #[test]
    fn it_has_every_object_once_and_the_namespace_before_what_is_in_it() {
        let (_, text) = file(&crds::files().unwrap()).unwrap();
        let objects: Vec<serde_json::Value> = serde_saphyr::from_multiple(&text).unwrap();
        let kinds: Vec<&str> = objects.iter().map(|object| object["kind"].as_str().unwrap()).collect();
        let (crds, rest) = kinds.split_at(managed_redis_operator::api::crds().len());
        assert!(crds.iter().all(|kind| *kind == "CustomResourceDefinition"), "{kinds:?}");
        assert_eq!(rest[0], "Namespace");
        assert!(text.contains(&format!("image: managed-redis-operator:{}\n", env!("CARGO_PKG_VERSION"))));
    }
}
