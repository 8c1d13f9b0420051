//! Kubernetes objects in YAML text.

use std::fmt;

use anyhow::anyhow;
use serde_json::Value;

/// What names an object in a cluster.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Id {
    /// Group and version.
    pub api_version: String,
    /// Kind.
    pub kind: String,
    /// Namespace; empty for an object outside of namespaces.
    pub namespace: String,
    /// Name.
    pub name: String,
}

impl fmt::Display for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let slash = if self.namespace.is_empty() { "" } else { "/" };
        write!(f, "{} {} {}{slash}{}", self.api_version, self.kind, self.namespace, self.name)
    }
}

/// An object, and the text it was read from.
#[derive(Clone, Debug)]
pub(super) struct ChartObject {
    /// What names it.
    pub id: Id,
    /// Its text, comments and all.
    pub text: String,
    /// The object.
    pub value: Value,
}

/// The objects of a stream of documents, sorted. `what` says in errors where it is from.
///
/// # Errors
/// When a document is not YAML or no object.
pub(super) fn read(what: &str, text: &str) -> anyhow::Result<Vec<ChartObject>> {
    let mut objects = Vec::new();
    let mut document = String::new();
    for line in text.lines().chain(["---"]) {
        if line != "---" {
            document.push_str(line);
            document.push('\n');
            continue;
        }
        let text = std::mem::take(&mut document);
        if text.lines().any(|line| !line.trim().is_empty() && !line.starts_with('#')) {
            objects.push(object(what, text.trim().to_owned())?);
        }
    }
    objects.sort_by(|a, b| a.id.cmp(&b.id));
    Ok(objects)
}

fn object(what: &str, text: String) -> anyhow::Result<ChartObject> {
    let wrong = |reason: String| anyhow!("{what} is no Kubernetes object: {reason}");
    let value: Value = serde_saphyr::from_str(&text).map_err(|error| wrong(format!("{error}\n{text}")))?;
    let part = |pointer| value.pointer(pointer).and_then(Value::as_str).unwrap_or_default().to_owned();
    let id = Id {
        api_version: part("/apiVersion"),
        kind: part("/kind"),
        namespace: part("/metadata/namespace"),
        name: part("/metadata/name"),
    };
    if [&id.api_version, &id.kind, &id.name].iter().any(|part| part.is_empty()) {
        return Err(wrong(format!("it lacks apiVersion, kind or a name:\n{text}")));
    }
    Ok(ChartObject { id, text, value })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn documents_become_objects_in_order() {
        let text = "---\n# only a comment\n---\n# b\nkind: B\napiVersion: v1\nmetadata: {name: first, namespace: of}\n---\n\n---\nkind: A\napiVersion: v1\nmetadata: {name: second}\n";
        let objects = read("test", text).unwrap();
        let ids: Vec<String> = objects.iter().map(|object| object.id.to_string()).collect();
        assert_eq!(ids, ["v1 A second", "v1 B of/first"]);
        assert!(objects[1].text.starts_with("# b\nkind: B"));
    }

    #[test]
    fn what_is_no_object_is_an_error() {
        assert!(read("test", "kind: A\nmetadata: {name: second}\n").is_err());
        assert!(read("test", "a: [\n").is_err());
    }
}
